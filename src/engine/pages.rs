//! Pages: from a policy's step to persons, and from a person to their transports.
//!
//! A step's targets are resolved when the page is due, not when the round began, so overrides and number fixes apply. Each
//! person gets every line of their personal rules as a job of its own; an ack makes the later ones end without a word.

use std::time::Duration;

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Engine, change::Along, deliver::Order, effects::priority};
use crate::{
    domain::{
        incident::{Command, Event, Incident, Pager},
        oncall::{PageTarget, Person, StepRef},
    },
    store::{Again, Job, JobEnd, NewJob, Repeat},
};

/// Between looks whether a paused page may go on.
const PAUSE: SignedDuration = SignedDuration::from_secs(5);

/// The same while its alerts are muted.
const PAUSE_MUTED: SignedDuration = SignedDuration::from_mins(1);

/// A step's target, to be resolved to persons.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageOrder {
    /// The round.
    pub round: i64,
    /// The step.
    pub step: StepRef,
    /// Whom.
    pub target: PageTarget,
    /// How late the step was taken, milliseconds.
    pub late_ms: i64,
}

/// The jobs of a step that was just taken.
pub fn orders(state: &Incident, event: &Event, now: Timestamp) -> Vec<NewJob> {
    let Event::StepTaken { round, step, page, late_ms, .. } = event else { return vec![] };
    let order = |target: &PageTarget| {
        let order =
            PageOrder { round: *round, step: *step, target: target.clone(), late_ms: *late_ms };
        NewJob {
            key: format!("page:{}:{round}:{}:{target}", state.id, slug(*step)),
            kind: "page",
            incident: Some(state.id),
            due: now,
            priority: priority(state.severity),
            payload: serde_json::to_value(order).unwrap_or_default(),
            repeat: Repeat::Keep,
        }
    };
    page.iter().map(order).collect()
}

/// A step in a key: `l0.1`, `t3`.
pub fn slug(step: StepRef) -> String {
    match step {
        StepRef::List { pass, index } => format!("l{pass}.{index}"),
        StepRef::Then { turn } => format!("t{turn}"),
    }
}

impl Engine {
    /// Runs a `page` job.
    pub(super) async fn run_page(&self, job: &Job) -> anyhow::Result<()> {
        let mut order: PageOrder =
            serde_json::from_value(job.payload.clone()).context("page order")?;
        let id = job.incident.context("a page without an incident")?;
        let end = JobEnd { id: job.id, fence: job.fence, again: None };
        let stored = self.store.incident(id).await?.context("its incident is gone")?;
        let incident = stored.incident;
        if let Some(wait) = paused(&incident, self.now()) {
            let again = Again::later(wait, "every alert is over; waiting whether one fires again");
            self.end_job(JobEnd { again: Some(again), ..end }).await?;
            return Ok(());
        }
        if !incident.is_paging(order.round) {
            self.end_job(end).await?;
            return Ok(());
        }
        let oncall = self.oncall.get();
        let now = self.now();
        // A page that itself waited (for a restart, for a worker) is late by that too.
        let waited = i64::try_from(now.duration_since(job.due).as_millis()).unwrap_or(i64::MAX);
        order.late_ms = order.late_ms.saturating_add(waited.max(0));
        let persons: Vec<&Person> =
            oncall.resolve(&order.target, now).iter().filter_map(|id| oncall.person(id)).collect();
        if persons.is_empty() {
            let nobody = Command::Nobody { round: order.round, target: order.target };
            self.change(id, vec![nobody], Along::job(end)).await?;
            return Ok(());
        }
        let mut along = Along::job(end);
        let mut commands = vec![];
        for person in persons {
            let lines = self.lines(&incident, person, &order, now);
            let pagers: Vec<Pager> = lines.iter().map(|(_, order)| order.page.clone()).collect();
            if pagers.is_empty() {
                commands.push(Command::PageFailed {
                    page: pager(person, order.round, "any transport"),
                    reason: "no contact of theirs has a configured channel".to_owned(),
                    last_hope: true,
                });
            }
            commands.push(Command::Paging(pagers));
            along.changes.jobs.extend(lines.into_iter().map(|(_, order)| order.job(&incident)));
        }
        self.change(id, commands, along).await?;
        Ok(())
    }

    /// A person's rule lines as deliveries.
    fn lines(
        &self,
        incident: &Incident,
        person: &Person,
        order: &PageOrder,
        now: Timestamp,
    ) -> Vec<(Duration, Order)> {
        let rules = person.rules(incident.severity);
        let lines = rules.iter().enumerate().flat_map(|(line, rule)| {
            rule.by.iter().map(move |transport| (line, rule.at, transport.as_str()))
        });
        let usable = |transport: &str| {
            person.contact(transport).filter(|_| self.channels.transport(transport).is_some())
        };
        let make = |(line, at, transport): (usize, Duration, &str)| {
            let address = usable(transport)?;
            let due = now.saturating_add(SignedDuration::try_from(at).ok()?).ok()?;
            Some((
                at,
                Order {
                    key: format!(
                        "page:{}:{}:{}:{}:{line}:{transport}",
                        incident.id,
                        order.round,
                        slug(order.step),
                        person.id
                    ),
                    page: pager(person, order.round, transport),
                    address: address.to_owned(),
                    why: format!("{} of policy {}, {}", order.step, incident.policy, order.target),
                    late_ms: order.late_ms,
                    due,
                    began: None,
                    tried: vec![],
                },
            ))
        };
        lines.filter_map(make).collect()
    }

    /// Ends a job that changes nothing else.
    pub(super) async fn end_job(&self, end: JobEnd) -> Result<(), crate::store::Error> {
        let changes = crate::store::Changes { job: Some(end), ..Default::default() };
        self.store.commit(changes, self.now()).await
    }
}

/// Until when pages wait because the incident settles or is muted. What ends that early ends the wait too, so it is short.
pub fn paused(incident: &Incident, now: Timestamp) -> Option<Timestamp> {
    let soon = |until: Timestamp, pause| until.min(now.saturating_add(pause).unwrap_or(until));
    // The end of a mute begins a round with pages of its own.
    let muted = incident.wake.muted_until().map(|until| soon(until, PAUSE_MUTED));
    incident.wake.settles_until().map(|until| soon(until, PAUSE)).or(muted)
}

/// A page's name on the timeline.
pub fn pager(person: &Person, round: i64, transport: &str) -> Pager {
    Pager {
        round,
        person: person.id.to_string(),
        name: person.name.clone(),
        transport: transport.to_owned(),
    }
}
