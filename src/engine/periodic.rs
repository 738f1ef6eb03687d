//! Leased loops: a row each, so that exactly one replica runs each of them, and another takes over when it dies.

use std::{collections::BTreeMap, time::Duration};

use jiff::SignedDuration;

use super::{
    Engine,
    alarm::Alarm,
    change::include,
    dead_man, effects,
    posts::LONGEST_WAIT,
    reconcile,
    retention::{SIZE_EVERY, SIZE_LOOP},
};
use crate::{
    domain::{
        ids::IncidentId,
        incident::{CLOCK_SLACK, Command},
    },
    ops::metrics as names,
    store::{self, Again, Changes, Job, JobEnd, NewJob, Repeat},
};

/// Every loop: key, interval.
const LOOPS: [(&str, Duration); 3] = [
    ("periodic:invariants", Duration::from_mins(1)),
    ("periodic:heartbeats", Duration::from_secs(30)),
    ("periodic:retention", Duration::from_mins(10)),
];

/// Until a loop that this version does not know comes back to us.
const OF_OTHERS: Duration = Duration::from_mins(1);
/// What was tried is never tried again later than so, or a clock planned it that was ahead.
const LONGEST_WAITS: [(&[&str], Duration); 2] = [
    (&["page", "deliver"], Duration::from_mins(2)),
    (&["post", "evidence", "diagnose", "run"], LONGEST_WAIT),
];
/// Incidents set back by one look.
const MAX_SET_BACK: i64 = 500;

impl Engine {
    /// Every loop there is here, and its interval.
    fn loops(&self) -> Vec<(String, Duration)> {
        let mut loops: Vec<_> =
            LOOPS.iter().map(|(key, every)| ((*key).to_owned(), *every)).collect();
        let dead_man = self.options.dead_man.iter();
        loops.extend(dead_man.map(|dead_man| (dead_man::LOOP.to_owned(), dead_man.every)));
        let size = self.options.max_size.map(|_| (SIZE_LOOP.to_owned(), SIZE_EVERY));
        loops.extend(size);
        let asked = self.options.sources.iter().filter(|(_, s)| !s.alertmanagers.is_empty());
        loops
            .extend(asked.map(|(name, _)| (format!("{}{name}", reconcile::KEY), reconcile::EVERY)));
        loops
    }

    /// Finds what a clock planned that was ahead and was set back since. Without this a page that was planned then would
    /// wait until the clock is there again. No loop with a row: the loops' own rows may be planned too late.
    pub async fn check_clock(&self) -> anyhow::Result<()> {
        let now = self.now();
        let lease = self.store.lease();
        let until = super::deliver::after(now, lease);
        let latest = super::deliver::after(until, CLOCK_SLACK);
        let leases = self.store.pull_in_leases(latest, until).await?;
        if leases > 0 {
            tracing::warn!(
                leases,
                "jobs were leased by a clock that was ahead; they end as others do"
            );
        }
        for (kinds, longest) in LONGEST_WAITS {
            let latest = super::deliver::after(now, longest.saturating_add(CLOCK_SLACK));
            let attempts = self.store.pull_in_attempts(kinds, latest, now).await?;
            if attempts > 0 {
                tracing::warn!(attempts, "attempts were planned by a clock that was ahead");
            }
        }
        for (key, every) in self.loops() {
            let latest = super::deliver::after(now, every.saturating_add(CLOCK_SLACK));
            if self.store.pull_in_loop(&key, latest, now).await? {
                tracing::warn!(key, "a loop was planned by a clock that was ahead; it runs now");
            }
        }
        let after = super::deliver::after(now, CLOCK_SLACK);
        for (id, _) in self.store.decided_after(after, MAX_SET_BACK).await? {
            self.set_back(id).await?;
        }
        Ok(())
    }

    async fn set_back(&self, id: IncidentId) -> anyhow::Result<()> {
        let Some(stored) = self.store.incident(id).await? else { return Ok(()) };
        let now = self.now();
        // As it is now: another replica may have set it back since it was found.
        let by = stored.incident.changed_at.duration_since(now);
        let ahead = Duration::try_from(by).ok().filter(|ahead| *ahead > CLOCK_SLACK);
        let Some(ahead) = ahead else { return Ok(()) };
        let by_ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        let decision = self.decide(&stored.incident, vec![Command::SetBack(ahead)], now)?;
        let mut changes = Changes::default();
        include(&mut changes, Some(&stored.incident), &decision, Some(stored.version), now);
        tracing::warn!(incident.id = %id, ahead_ms = by_ms, "decided by a clock that was ahead; what it planned comes as much earlier");
        match self.store.commit(changes, now).await {
            // Something happened to it meanwhile, by the clock of now.
            Ok(()) | Err(store::Error::Conflict) => Ok(()),
            Err(other) => Err(other.into()),
        }
    }

    /// Makes sure that every loop has its row.
    pub async fn plant_loops(&self) -> Result<(), crate::store::Error> {
        let now = self.now();
        let row = |key: &str, kind| NewJob {
            key: key.to_owned(),
            kind,
            incident: None,
            due: now,
            priority: 1,
            payload: serde_json::json!({}),
            repeat: Repeat::Keep,
        };
        let mut jobs: Vec<NewJob> =
            self.loops().iter().map(|(key, _)| row(key, "periodic")).collect();
        if self.channels.transport("matrix").is_some() {
            jobs.push(row("sync:matrix", "sync"));
        }
        self.store.commit(Changes { jobs, ..Changes::default() }, now).await
    }

    /// Runs a loop once and plans its next turn.
    pub(super) async fn run_periodic(&self, job: &Job) -> anyhow::Result<()> {
        if let Some(source) = job.key.strip_prefix(reconcile::KEY) {
            return self.run_reconcile(job, source).await;
        }
        let ping = self.options.dead_man.is_some();
        let ours = self.loops().into_iter().find(|(key, _)| *key == job.key);
        // Ours, and not configured any more; or of another version.
        let is_off = [dead_man::LOOP, SIZE_LOOP].contains(&job.key.as_str());
        let every = ours.map(|(_, every)| every).or((!is_off).then_some(OF_OTHERS));
        match job.key.as_str() {
            "periodic:invariants" => self.check_invariants().await?,
            dead_man::LOOP if ping => self.ping_dead_man().await,
            "periodic:heartbeats" => self.check_heartbeats().await?,
            "periodic:retention" => {
                self.store.bury_tombstones(self.now()).await?;
                self.recorder.prune().await?;
                self.forget_old_incidents().await?;
                self.store.forget().await?;
            }
            SIZE_LOOP => self.make_room().await?,
            dead_man::LOOP => {}
            // A newer replica planted it and will not do so again; it takes it sooner or later.
            other => tracing::debug!(job.key = other, "a loop of another version; left to it"),
        }
        let now = self.now();
        let next = every.and_then(|every| SignedDuration::try_from(every).ok());
        let again = next
            .map(|every| Again::later(now.saturating_add(every).unwrap_or(now), "its next turn"));
        self.end_job(JobEnd { id: job.id, fence: job.fence, again }).await?;
        Ok(())
    }

    /// No page waits overdue. The wake-up invariant: an open incident owns a future wake-up or a reason why not. A violation is mended, counted
    /// and paged.
    pub async fn check_invariants(&self) -> anyhow::Result<()> {
        self.check_storms().await?;
        self.check_overdue().await?;
        let lost = self.store.without_wake_up().await?;
        for id in &lost {
            metrics::counter!(names::INVARIANT_VIOLATIONS, "invariant" => "wake_up").increment(1);
            if let Some(stored) = self.store.incident(*id).await? {
                let now = self.now();
                let due = stored.incident.wake.due().unwrap_or(now).max(now);
                let jobs = vec![effects::wake_job(&stored.incident, due)];
                self.store.commit(Changes { jobs, ..Changes::default() }, now).await?;
            }
        }
        if !lost.is_empty() {
            let ids: Vec<String> = lost.iter().map(ToString::to_string).collect();
            self.self_alarm(&Alarm::lost_wake_ups(&ids.join(", "))).await?;
        }
        Ok(())
    }

    /// Sets the gauges of what the store holds. Each replica does, because each is scraped; it is no loop with a row.
    pub async fn set_gauges(&self) -> anyhow::Result<()> {
        #[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
        let float = |count: i64| count as f64;
        metrics::gauge!(names::INCIDENTS_OPEN).set(float(self.store.open_count().await?));
        let (waiting, oldest) = self.store.backlog().await?;
        metrics::gauge!(names::DELIVERIES_WAITING).set(float(waiting));
        let age = oldest.map_or(0.0, |oldest| self.now().duration_since(oldest).as_secs_f64());
        metrics::gauge!(names::DELIVERIES_OLDEST_SECONDS).set(age);
        let counts: BTreeMap<_, _> = self.store.job_counts().await?.into_iter().collect();
        for kind in super::worker::kinds() {
            let count = counts.get(kind).copied().unwrap_or(0);
            metrics::gauge!(names::JOBS_WAITING, "kind" => kind).set(float(count));
        }
        self.set_size_gauge().await?;
        self.recorder.set_gauges();
        Ok(())
    }
}
