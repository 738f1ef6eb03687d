//! The watches of one cluster, and how often they are tried again.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use super::{Recorder, Site, index::Index};
use crate::{
    clients::{
        Error, Kind,
        kube::{Seen, Watch},
    },
    ops::lifecycle::{Stop, Tasks},
};

/// Longest wait before a failed watch is tried again.
const LONGEST: Duration = Duration::from_secs(30);
/// Wait while the permission is missing.
const DENIED: Duration = Duration::from_mins(1);
/// Wait when streams end again and again without bringing anything.
const BARREN: Duration = Duration::from_secs(1);

/// Puts what was seen into the index.
type Feed<T> = fn(&mut Index, usize, Seen<T>, Timestamp);

impl Recorder {
    /// Starts all watches of a cluster.
    pub(super) fn watch_all(&self, site: &Arc<Site>, tasks: &Tasks) {
        for (id, (namespace, labels)) in site.watches.iter().enumerate() {
            let watch = site.kube.watch_pods(namespace, labels);
            let what = format!("pods {namespace} {labels}");
            let work = self.clone().watch(Arc::clone(site), id, what, watch, Index::pod, tasks);
            tasks.spawn("engine.recorder.pods", work);
        }
        for namespace in &site.namespaces {
            let watch = site.kube.watch_events(namespace);
            let what = format!("events {namespace}");
            let feed: Feed<_> = |index, _, seen, now| index.event(seen, now);
            let work = self.clone().watch(Arc::clone(site), 0, what, watch, feed, tasks);
            tasks.spawn("engine.recorder.events", work);
        }
    }

    fn watch<T: Send + Sync + 'static>(
        self,
        site: Arc<Site>,
        id: usize,
        what: String,
        mut watch: Watch<T>,
        feed: Feed<T>,
        tasks: &Tasks,
    ) -> impl Future<Output = anyhow::Result<()>> + Send + 'static {
        let stop: Stop = tasks.stop().clone();
        async move {
            let mut pace = Pace::default();
            loop {
                let seen = tokio::select! {
                    seen = watch.next() => seen,
                    () = stop.draining.cancelled() => return Ok(()),
                };
                let wait = match seen {
                    Ok(seen) => {
                        if let Seen::Unreadable(which) = &seen {
                            tracing::warn!(
                                cluster = site.cluster,
                                which,
                                "an object was skipped: it cannot be read"
                            );
                        }
                        // A list may work where a watch is refused: only what changes says that all is well.
                        if matches!(seen, Seen::Watching | Seen::Changed(_) | Seen::Deleted(_)) {
                            site.works(&what);
                        }
                        let wait = pace.went_on(&seen);
                        let now = self.0.clock.now();
                        site.with(|index| feed(index, id, seen, now));
                        site.to_read.notify_one();
                        site.to_follow.notify_one();
                        site.to_store.notify_one();
                        wait
                    }
                    Err(error) => {
                        let error = with_hint(error, &site);
                        site.troubled(&what, &error);
                        Some(pace.failed(&error))
                    }
                };
                let Some(wait) = wait else { continue };
                tokio::select! {
                    () = self.0.clock.sleep(wait) => {}
                    () = stop.draining.cancelled() => return Ok(()),
                }
            }
        }
    }
}

/// A cluster-wide watch that is forbidden has another way out than the permission.
fn with_hint(error: Error, site: &Site) -> Error {
    let everywhere = site.namespaces.iter().any(String::is_empty);
    if error.kind != Kind::Denied || !everywhere {
        return error;
    }
    let reason = format!("{}; or name the namespaces in `recorder.namespaces`", error.reason);
    Error { reason, ..error }
}

/// How long to wait before the next call.
#[derive(Default)]
struct Pace {
    failures: u32,
    barren: u32,
}

impl Pace {
    fn went_on<T>(&mut self, seen: &Seen<T>) -> Option<Duration> {
        match seen {
            Seen::Ended | Seen::Expired => {
                self.barren += 1;
                (self.barren > 1).then_some(BARREN)
            }
            Seen::Relisting | Seen::Unreadable(_) => None,
            Seen::Listed(_)
            | Seen::Complete
            | Seen::Watching
            | Seen::Changed(_)
            | Seen::Deleted(_) => {
                // An empty list between two expiries is no progress, and an open stream none either.
                if !matches!(seen, Seen::Complete | Seen::Watching) {
                    self.barren = 0;
                }
                self.failures = 0;
                None
            }
        }
    }

    fn failed(&mut self, error: &Error) -> Duration {
        let doubled = Duration::from_secs(1 << self.failures.min(5)).min(LONGEST);
        self.failures += 1;
        match error.kind {
            Kind::Denied => DENIED,
            Kind::Throttled { after: Some(after) } => after.clamp(doubled, Duration::from_mins(5)),
            Kind::Unreachable
            | Kind::Timeout
            | Kind::NotFound
            | Kind::Throttled { after: None }
            | Kind::Malformed
            | Kind::Refused => doubled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: Kind) -> Error {
        Error::new(kind, "watch", "no")
    }

    #[test]
    fn failures_wait_longer_each_time_and_progress_forgets_them() {
        let mut pace = Pace::default();
        let mut wait = || pace.failed(&error(Kind::Unreachable)).as_secs();
        assert_eq!(
            [wait(), wait(), wait(), wait(), wait(), wait(), wait()],
            [1, 2, 4, 8, 16, 30, 30]
        );
        assert_eq!(pace.went_on(&Seen::Changed(())), None);
        assert_eq!(pace.failed(&error(Kind::Refused)).as_secs(), 1);
        assert_eq!(pace.failed(&error(Kind::Denied)), DENIED);
        let after = Some(Duration::from_secs(7));
        assert_eq!(pace.failed(&error(Kind::Throttled { after })).as_secs(), 7);
    }

    #[test]
    fn streams_that_end_at_once_are_not_opened_in_a_tight_loop() {
        let mut pace = Pace::default();
        assert_eq!(pace.went_on::<()>(&Seen::Ended), None);
        assert_eq!(pace.went_on::<()>(&Seen::Ended), Some(BARREN));
        assert_eq!(pace.went_on::<()>(&Seen::Expired), Some(BARREN));
        pace.went_on(&Seen::Changed(()));
        assert_eq!(pace.went_on::<()>(&Seen::Expired), None);
    }
}
