//! The claim loop: due jobs are claimed with a lease and run, most urgent first.
//!
//! The lease is renewed while a job runs. A job whose lease could not be renewed for two thirds of its length stands still, and
//! is dropped when the lease is lost: another worker may have it by then. What a job did is committed by the job itself, with its fence.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use anyhow::Context as _;
use jiff::SignedDuration;
use tokio::sync::Semaphore;

use super::Engine;
use crate::{
    domain::incident::Command,
    engine::{change::Along, correlate::Applied, deliver::backoff},
    ops::{
        guard::{Guard, is_away},
        lifecycle::Tasks,
        metrics as names,
    },
    store::{self, Again, Claim, Job, JobEnd, News},
};

/// Longest sleep when nothing is due: other replicas may add work.
const IDLE: Duration = Duration::from_secs(1);
/// Before a look at jobs that another replica was claiming.
const CLAIMED_ELSEWHERE: Duration = Duration::from_millis(5);
/// Before a job that only a newer replica can do comes back to us.
const GIVE_WAY: SignedDuration = SignedDuration::from_secs(1);
/// Between two looks at what the store holds.
const GAUGES: Duration = Duration::from_secs(15);
/// What may run at once: pages and timers, cards, diagnoses. A storm of one cannot starve another.
const LANES: [Lane; 3] = [
    (&["wake", "page", "deliver", "storm", "periodic"], 16),
    (&["post", "evidence"], 16),
    (&["diagnose", "run"], 8),
];
/// Long polls of chat servers; never pumped by hand.
const SYNC: Lane = (&["sync"], 4);

/// Kinds, and how many of them at once.
type Lane = (&'static [&'static str], usize);

/// Every kind of job.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    LANES.into_iter().chain([SYNC]).flat_map(|(kinds, _)| kinds.iter().copied())
}

impl Engine {
    /// Starts the recorder, the correlator and one claim loop per lane.
    pub fn start(&self, tasks: &Tasks) {
        self.recorder.start(tasks);
        self.keep_teams(tasks);
        self.watch_store(tasks);
        let engine = self.clone();
        let stop = tasks.stop().clone();
        tasks.spawn("engine.correlate", async move {
            let mut news = engine.store.news(&[store::DELIVERIES]);
            while !stop.draining.is_cancelled() {
                news.mark_unchanged();
                let applied = engine.apply_next().await.unwrap_or_else(|error| {
                    tracing::warn!(error = format!("{error:#}"), "the store did not answer");
                    Applied::Failed
                });
                tokio::select! {
                    () = engine.until_more(applied, &mut news) => {}
                    () = stop.draining.cancelled() => {}
                }
            }
            // Another replica goes on at once; without this, when our turn ends by itself.
            drop(engine.store.end_turns(&engine.owner).await);
            Ok(())
        });
        let engine = self.clone();
        let stop = tasks.stop().clone();
        tasks.spawn("engine.gauges", async move {
            while !stop.draining.is_cancelled() {
                if let Err(error) = engine.check_clock().await {
                    tracing::debug!(error = format!("{error:#}"), "the clock is looked at again");
                }
                if let Err(error) = engine.set_gauges().await {
                    tracing::debug!(error = format!("{error:#}"), "the gauges keep their values");
                }
                tokio::select! {
                    () = engine.clock.sleep(GAUGES) => {}
                    () = stop.draining.cancelled() => {}
                }
            }
            Ok(())
        });
        for (kinds, width) in LANES.into_iter().chain([SYNC]) {
            let engine = self.clone();
            let tasks_of_lane = tasks.clone();
            tasks.spawn("engine.worker", async move {
                engine.work(kinds, width, &tasks_of_lane).await;
                Ok(())
            });
        }
    }

    /// After a delivery: at once, when something came, or after a pause.
    async fn until_more(&self, applied: Applied, news: &mut News) {
        match applied {
            Applied::Something => {}
            Applied::Nothing => tokio::select! {
                () = news.changed() => {}
                () = self.clock.sleep(IDLE) => {}
            },
            Applied::Failed => self.clock.sleep(IDLE).await,
        }
    }

    async fn work(&self, kinds: &'static [&'static str], width: usize, tasks: &Tasks) {
        let room = Arc::new(Semaphore::new(width));
        let stop = tasks.stop();
        let mut news = self.store.news(kinds);
        while !stop.draining.is_cancelled() {
            let Ok(slot) = Arc::clone(&room).acquire_owned().await else { return };
            let limit = 1 + room.available_permits();
            news.mark_unchanged();
            let asked = self.clock.monotonic();
            let claim = Claim { owner: &self.owner, kinds, limit, lease: self.store.lease() };
            let jobs = self.store.claim(claim).await.unwrap_or_else(|error| {
                tracing::warn!(%error, "no jobs could be claimed");
                vec![]
            });
            drop(slot);
            let claimed = jobs.len();
            for job in jobs {
                let Ok(slot) = Arc::clone(&room).acquire_owned().await else { return };
                let engine = self.clone();
                tasks.spawn("engine.job", async move {
                    engine.run_leased(job, asked).await;
                    drop(slot);
                    Ok(())
                });
            }
            if claimed < limit {
                // What is due all the same is locked by another replica, which is claiming it.
                let least = if claimed == 0 { CLAIMED_ELSEWHERE } else { Duration::ZERO };
                tokio::select! {
                    () = self.idle(kinds, &mut news, least) => {}
                    () = stop.draining.cancelled() => {}
                }
            }
        }
    }

    /// Until something may be due, and for this long at least while there is no news.
    async fn idle(&self, kinds: &[&str], news: &mut News, mut least: Duration) {
        loop {
            let due = self.store.next_due(kinds).await.ok().flatten();
            let wait = due.map_or(IDLE, |due| {
                Duration::try_from(due.duration_since(self.now())).unwrap_or_default().min(IDLE)
            });
            let wait = wait.max(least);
            if wait.is_zero() {
                return;
            }
            tokio::select! {
                () = news.changed() => news.mark_unchanged(),
                () = self.clock.sleep(wait) => return,
            }
            least = Duration::ZERO;
        }
    }

    /// Claims and runs everything that is due now, in this task; for tests and `demo --once`. Returns how many jobs ran.
    pub async fn pump(&self) -> anyhow::Result<usize> {
        let mut ran = 0;
        self.recorder.flush().await?;
        while self.apply_next().await? != Applied::Nothing {}
        for lane in 0..LANES.len() {
            for job in self.claim_lane(lane).await? {
                self.run_leased(job, self.clock.monotonic()).await;
                ran += 1;
            }
        }
        Ok(ran)
    }

    /// Claims what is due in a lane, by its number from 0; nothing in lanes beyond those that are pumped by hand.
    pub async fn claim_lane(&self, lane: usize) -> Result<Vec<Job>, store::Error> {
        let Some((kinds, limit)) = LANES.get(lane).copied() else { return Ok(vec![]) };
        let lease = self.store.lease();
        self.store.claim(Claim { owner: &self.owner, kinds, limit, lease }).await
    }

    /// Runs a job that was claimed after `asked`, monotonic, and renews its lease meanwhile.
    pub async fn run_leased(&self, job: Job, asked: Duration) {
        let (id, fence) = (job.id, job.fence);
        let lease = self.store.lease();
        let renewed = AtomicU64::new(millis(asked));
        let age = || {
            let then = Duration::from_millis(renewed.load(Ordering::Relaxed));
            self.clock.monotonic().saturating_sub(then)
        };
        let renewing = async {
            let mut wait = (lease / 3).saturating_sub(age());
            loop {
                self.clock.sleep(wait).await;
                wait = lease / 3;
                let asked = self.clock.monotonic();
                // A store that hangs must not keep us past the lease.
                let answer = tokio::select! {
                    biased;
                    answer = self.store.renew(id, fence, lease) => answer.ok(),
                    () = self.clock.sleep(lease / 3) => None,
                };
                match answer {
                    Some(true) => renewed.store(millis(asked), Ordering::Relaxed),
                    None if age() < lease * 2 / 3 => {}
                    Some(false) | None => break,
                }
            }
        };
        let is_fresh = || age() < lease * 2 / 3 || is_away(Guard::Pause) || is_away(Guard::Fence);
        let (mut running, mut renewing) = (pin!(self.run_job(&job)), pin!(renewing));
        let has_it = poll_fn(|cx| {
            // After a pause of this process another worker may have the job: nothing more is done before the lease is renewed.
            let was_fresh = is_fresh();
            // What is done is done, although the lease may be lost at the same moment.
            if was_fresh && running.as_mut().poll(cx).is_ready() {
                return Poll::Ready(true);
            }
            if renewing.as_mut().poll(cx).is_ready() {
                return Poll::Ready(false);
            }
            let goes_on = !was_fresh && is_fresh();
            if goes_on { running.as_mut().poll(cx).map(|()| true) } else { Poll::Pending }
        });
        if !has_it.await {
            tracing::warn!(job.key, "the lease was lost; another worker has this job");
        }
    }

    async fn run_job(&self, job: &Job) {
        let outcome = match job.kind.as_str() {
            "wake" => self.run_wake(job).await,
            "page" => self.run_page(job).await,
            "deliver" => self.run_deliver(job).await,
            "storm" => self.run_storm(job).await,
            "post" => self.run_post(job).await,
            "evidence" => self.run_evidence(job).await,
            "diagnose" => self.run_diagnose(job).await,
            "run" => self.run_run(job).await,
            "periodic" => self.run_periodic(job).await,
            "sync" => self.run_sync(job).await,
            other => Err(anyhow::anyhow!("no code for jobs of kind `{other}`")),
        };
        let label = if outcome.is_ok() { "ok" } else { "error" };
        let kind = job.kind.clone();
        metrics::counter!(names::JOBS, "kind" => kind, "outcome" => label).increment(1);
        let Err(error) = outcome else { return };
        if lost(&error) {
            return tracing::warn!(job.key, "another worker has this job now");
        }
        tracing::warn!(
            job.key,
            job.attempt,
            error = format!("{error:#}"),
            "a job failed and runs again"
        );
        let now = self.now();
        // What only a newer replica can read waits for it, and not longer for each time that it comes back to us.
        let newer = matches!(store_error(&error), Some(store::Error::NewerIncident(_)));
        let wait = if newer { GIVE_WAY } else { backoff(job.attempt) };
        let again = Again {
            due: now.saturating_add(wait).unwrap_or(now),
            unclear: true,
            free: newer,
            reason: format!("{error:#}"),
            payload: None,
        };
        let end = JobEnd { id: job.id, fence: job.fence, again: Some(again) };
        // If this fails too, the lease runs out and the job is claimed again.
        if let Err(error) = self.end_job(end).await {
            tracing::warn!(job.key, %error, "the failure could not be recorded");
        }
    }

    async fn run_wake(&self, job: &Job) -> anyhow::Result<()> {
        let id = job.incident.context("a wake-up without an incident")?;
        let mut end = JobEnd { id: job.id, fence: job.fence, again: None };
        let incident = self.store.incident(id).await?.context("its incident is gone")?.incident;
        let now = self.now();
        if let Some(due) = incident.wake.due().filter(|due| *due > now) {
            // Early: the clock was set back, or the wake-up was moved. It must not be lost.
            end.again = Some(Again::later(due, "not due yet"));
            return Ok(self.end_job(end).await?);
        }
        let along = Along { not_before: now, ..Along::job(end) };
        self.change(id, vec![Command::Wake], along).await?;
        Ok(())
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// True when another worker owns the job now.
fn lost(error: &anyhow::Error) -> bool {
    store_error(error) == Some(&store::Error::LostJob)
}

/// What the store said, if it is the cause.
pub(super) fn store_error(error: &anyhow::Error) -> Option<&store::Error> {
    match error.downcast_ref::<super::change::Error>() {
        Some(super::change::Error::Store(error)) => Some(error),
        Some(_) | None => error.downcast_ref::<store::Error>(),
    }
}
