//! One transaction: everything that one decision changes, as data.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{
    Connection, Error, JobEnd, NewJob, Progress, Result, Run, Sent, Store, ahead, db::give_way,
    deliveries, incidents, jobs, members, messages, millis, query, runs,
};
use crate::{
    domain::{
        alert::Rejected,
        evidence::Evidence,
        ids::IncidentId,
        incident::{Event, Incident, correlate::Member},
    },
    ops::guard::{Guard, is_away},
};

/// An incident's new state.
#[derive(Clone, Debug, PartialEq)]
pub struct IncidentChange {
    /// After the events.
    pub state: Incident,
    /// The version it was decided on; `None`: it is new.
    pub version: Option<i64>,
    /// What happened.
    pub events: Vec<Event>,
}

/// What one transaction changes. All of it happens, or nothing.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// The job whose outcome this is: checked first, ended last.
    pub job: Option<JobEnd>,
    /// The job (id, fence) that goes on and must still be ours.
    pub holding: Option<(i64, i64)>,
    /// How far deliveries got.
    pub deliveries: Vec<Progress>,
    /// Incidents.
    pub incidents: Vec<IncidentChange>,
    /// Alerts.
    pub members: Vec<Member>,
    /// Alerts that could not be read, with their source.
    pub rejected: Vec<(String, Rejected)>,
    /// Runs.
    pub runs: Vec<Run>,
    /// Finished steps, with their run.
    pub steps: Vec<(String, Evidence)>,
    /// Messages.
    pub messages: Vec<Sent>,
    /// New or moved jobs.
    pub jobs: Vec<NewJob>,
    /// Jobs that are not needed any more, by key; running ones are left to end.
    pub cancelled: Vec<String>,
    /// Incidents whose jobs come earlier by so many milliseconds.
    pub pulled_in: Vec<(IncidentId, i64)>,
    /// Named cursors.
    pub cursors: Vec<(String, String)>,
}

/// Attempts of a transaction that keeps meeting another one that waits for it.
const ATTEMPTS: usize = 10;

impl Changes {
    /// The order in which rows are locked is the same for all transactions: delivery, incidents, their jobs, the rest. Two
    /// that touch the same rows then wait in line instead of for each other. Jobs and messages keep their order: it is a meaning.
    fn in_order(mut self) -> Self {
        self.incidents.sort_by_key(|change| change.state.id);
        self.members.sort_by(|a, b| (&a.source, &a.fingerprint).cmp(&(&b.source, &b.fingerprint)));
        self.cursors.sort_by(|a, b| a.0.cmp(&b.0));
        self
    }
}

impl Store {
    /// Commits `changes`, decided at `now`.
    pub async fn commit(&self, changes: Changes, now: Timestamp) -> Result<()> {
        let (mut changes, mut apart) = (changes.in_order(), Changes::default());
        if is_away(Guard::Outbox) {
            apart.jobs = std::mem::take(&mut changes.jobs);
        }
        self.commit_all(changes, now).await?;
        if apart.jobs.is_empty() { Ok(()) } else { self.commit_all(apart, now).await }
    }

    async fn commit_all(&self, changes: Changes, now: Timestamp) -> Result<()> {
        let kinds: BTreeSet<&'static str> = changes.jobs.iter().map(|job| job.kind).collect();
        let changes = std::sync::Arc::new(changes);
        for times in 0..ATTEMPTS {
            let changes = std::sync::Arc::clone(&changes);
            let write = self.db.write(move |db| {
                Box::pin(async move {
                    if times > 0 {
                        give_way(db, times).await?;
                    }
                    write(db, &changes, now).await
                })
            });
            match write.await {
                // Nothing of it happened, and every condition is checked again.
                Err(Error::InTheWay) => {}
                Ok(true) => {
                    self.changed.here();
                    return Ok(());
                }
                Ok(false) => {
                    self.changed.here_of(kinds);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::InTheWay)
    }
}

/// Everything that one decision changes. Fails as a whole when the job, an incident or the delivery is not what it was. True
/// when other jobs than the new ones may be due earlier than anybody knows.
async fn write(db: &mut Connection, changes: &Changes, now: Timestamp) -> Result<bool> {
    for progress in &changes.deliveries {
        deliveries::progress(db, *progress).await?;
    }
    incidents::lock(db, &changes.incidents).await?;
    let ending = changes.job.as_ref().map(|end| (end.id, end.fence));
    if let Some((id, fence)) = ending.or(changes.holding) {
        jobs::is_ours(db, id, fence).await?;
    }
    for change in &changes.incidents {
        let IncidentChange { state, version, events } = change;
        incidents::save(db, state, *version, events, now).await?;
    }
    for member in &changes.members {
        members::save(db, member).await?;
    }
    for (source, rejected) in &changes.rejected {
        query("INSERT INTO rejected (source, at, path, reason) VALUES ($1, $2, $3, $4)")
            .bind(source)
            .bind(millis(now))
            .bind(&rejected.path)
            .bind(&rejected.reason)
            .execute(&mut *db)
            .await?;
    }
    for run in &changes.runs {
        runs::save(db, run).await?;
    }
    for (run, evidence) in &changes.steps {
        runs::save_step(db, run, evidence, now).await?;
    }
    for sent in &changes.messages {
        messages::save(db, sent).await?;
    }
    for (name, value) in &changes.cursors {
        query("INSERT INTO cursors (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value")
            .bind_key(name)
            .bind(value)
            .execute(&mut *db)
            .await?;
    }
    for (incident, by) in &changes.pulled_in {
        ahead::pull_in(db, *incident, *by, now).await?;
    }
    for key in &changes.cancelled {
        jobs::cancel(db, key).await?;
    }
    for job in &changes.jobs {
        jobs::add(db, job).await?;
    }
    let again = match &changes.job {
        Some(end) => jobs::end(db, end).await?,
        None => false,
    };
    Ok(again || !changes.pulled_in.is_empty())
}
