//! Reads the logs that the index wants, and follows those it may follow.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;

use super::{
    Recorder, Site,
    log::{LogJob, Unread},
    record::TAIL,
};
use crate::{
    clients::{
        Error, Kind,
        kube::{Log, LogQuery},
    },
    domain::redact::redact,
    ops::lifecycle::{self, Stop, Tasks},
};

/// Logs of one cluster read at once.
const READERS: usize = 8;
/// Last lines asked for.
const LINES: usize = 500;
/// Between looks for logs whose next attempt is due.
const LOOK: Duration = Duration::from_secs(1);
/// Before a log that broke off is followed again; and while that is forbidden.
const FOLLOW_AGAIN: SignedDuration = SignedDuration::from_secs(5);
const FORBIDDEN_AGAIN: SignedDuration = SignedDuration::from_secs(60);
/// The name of the trouble with logs.
pub(super) const LOGS: &str = "logs";

impl Recorder {
    /// Starts the readers of a cluster.
    pub(super) fn read_all(&self, site: &Arc<Site>, tasks: &Tasks) {
        for _ in 0..READERS {
            let (recorder, site, stop) = (self.clone(), Arc::clone(site), tasks.stop().clone());
            tasks.spawn("engine.recorder.logs", async move {
                recorder.read_wanted(&site, &stop).await;
                Ok(())
            });
        }
        let (recorder, site, tasks_of_streams) = (self.clone(), Arc::clone(site), tasks.clone());
        tasks.spawn("engine.recorder.streams", async move {
            recorder.follow_all(&site, &tasks_of_streams).await;
            Ok(())
        });
    }

    async fn read_wanted(&self, site: &Site, stop: &Stop) {
        while !stop.draining.is_cancelled() {
            let now = self.0.clock.now();
            let Some(job) = site.with(|index| index.take_read(now)) else {
                tokio::select! {
                    () = site.to_read.notified() => {}
                    () = self.0.clock.sleep(LOOK) => {}
                    () = stop.draining.cancelled() => {}
                }
                continue;
            };
            let outcome = read(site, &job).await;
            let now = self.0.clock.now();
            site.with(|index| index.read(&job, outcome, now));
            site.to_store.notify_one();
        }
    }

    async fn follow_all(&self, site: &Arc<Site>, tasks: &Tasks) {
        let stop = tasks.stop().clone();
        while !stop.draining.is_cancelled() {
            let now = self.0.clock.now();
            while let Some(job) = site.with(|index| index.take_stream(now)) {
                let (recorder, site, stop) = (self.clone(), Arc::clone(site), stop.clone());
                tasks.spawn("engine.recorder.follow", async move {
                    let again = tokio::select! {
                        again = recorder.follow(&site, &job) => again,
                        () = recorder.until_another_leads(&site) => FOLLOW_AGAIN,
                        () = stop.draining.cancelled() => FOLLOW_AGAIN,
                    };
                    let now = recorder.0.clock.now();
                    let again = now.saturating_add(again).unwrap_or(now);
                    site.with(|index| index.stream_ended(&job, now, again));
                    site.to_store.notify_one();
                    site.to_follow.notify_one();
                    Ok(())
                });
            }
            tokio::select! {
                () = site.to_follow.notified() => {}
                () = self.0.clock.sleep(LOOK) => {}
                () = stop.draining.cancelled() => {}
            }
        }
    }

    /// Follows one log to its end; when to follow it again, if it goes on.
    async fn follow(&self, site: &Site, job: &LogJob) -> SignedDuration {
        let mut following = match site.kube.follow(&query(job)).await {
            Ok(following) => following,
            Err(error) if error.kind == Kind::Denied => {
                site.troubled(LOGS, &error);
                return FORBIDDEN_AGAIN;
            }
            Err(_) => return FOLLOW_AGAIN,
        };
        let mut first = true;
        // How it ends says nothing: the watch tells how the container stands.
        while let Ok(Some(lines)) = following.next().await {
            let lines = redact(&lines);
            let now = self.0.clock.now();
            site.with(|index| index.streamed(job, &lines, first, now));
            site.to_store.notify_one();
            first = false;
        }
        FOLLOW_AGAIN
    }
}

fn query(job: &LogJob) -> LogQuery {
    LogQuery {
        namespace: job.namespace.clone(),
        pod: job.pod.clone(),
        container: job.key.container.clone(),
        previous: job.previous,
        tail_lines: LINES,
        ..LogQuery::default()
    }
}

async fn read(site: &Site, job: &LogJob) -> Result<Log, (Unread, String)> {
    let log = match site.kube.log_tail(&query(job), TAIL).await {
        Ok(log) => log,
        Err(error) => {
            let how = match error.kind {
                Kind::NotFound => Unread::Gone,
                Kind::Denied => Unread::Denied,
                Kind::Unreachable | Kind::Timeout | Kind::Throttled { .. } => Unread::Later,
                Kind::Malformed | Kind::Refused => Unread::Never,
            };
            if how == Unread::Denied {
                site.troubled(LOGS, &unnamed(&error));
            }
            return Err((how, error.reason));
        }
    };
    site.works(LOGS);
    // The node's own words, in place of a log it has removed already.
    if let Some(said) = log
        .text
        .lines()
        .next()
        .filter(|line| line.starts_with("unable to retrieve container logs for"))
    {
        return Err((Unread::Never, said.chars().take(300).collect()));
    }
    let masked = lifecycle::blocking(move || Log { text: redact(&log.text).into_owned(), ..log });
    masked.await.map_err(|error| (Unread::Never, error.to_string()))
}

/// The permission is missing for all pods alike: said once, not once per pod.
fn unnamed(error: &Error) -> Error {
    Error { operation: "read the logs of pods".to_owned(), ..error.clone() }
}
