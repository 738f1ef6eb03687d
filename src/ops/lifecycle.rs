//! Every task of the process is started here: named, traced, tracked, stopped together.
//!
//! The two-stage stop: [`Stop::draining`] first (no new work; running work finishes), then [`Stop::stopped`]
//! (everything ends now). A task that dies by panic or error asks the whole process to drain: a daemon that limps on
//! without its pager is worse than a restart.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

/// Starts and tracks tasks.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    services: TaskTracker,
    stop: Stop,
    dead: Arc<std::sync::OnceLock<String>>,
}

/// The two stop signals.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Take no new work; finish what runs.
    pub draining: CancellationToken,
    /// End now.
    pub stopped: CancellationToken,
}

impl Tasks {
    /// The stop signals every task should watch.
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Starts a task. Its error or panic is logged once, and drains the process.
    pub fn spawn<F>(&self, name: &'static str, work: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.track(&self.tracker, name, work);
    }

    /// Starts a task that works for other tasks, such as a store's writer. It need not watch [`Stop::draining`]: a stop does
    /// not wait for it, and tells it to end once the others have.
    pub fn serve<F>(&self, name: &'static str, work: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.track(&self.services, name, work);
    }

    /// The same on a thread of its own, for work that blocks its thread.
    #[allow(clippy::disallowed_methods, reason = "the one place that starts a thread")]
    pub fn serve_apart<F>(&self, name: &'static str, work: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let (done, ended) = tokio::sync::oneshot::channel();
        let runtime = tokio::runtime::Handle::current();
        let work = work.instrument(tracing::info_span!("task", task.name = name));
        let thread = std::thread::Builder::new().name(name.to_owned());
        let started = thread.spawn(move || drop(done.send(runtime.block_on(work))));
        self.serve(name, async move {
            started.context("its thread did not start")?;
            ended.await.context("its thread panicked")?
        });
    }

    #[allow(clippy::disallowed_methods, reason = "the one place that spawns")]
    fn track<F>(&self, tracker: &TaskTracker, name: &'static str, work: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let span = tracing::info_span!("task", task.name = name);
        let (stop, dead) = (self.stop.clone(), Arc::clone(&self.dead));
        let inner = tokio::spawn(tracker.track_future(work.instrument(span)));
        tracker.spawn(async move {
            let reason = match inner.await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => format!("{error:#}"),
                Err(join) if join.is_cancelled() => return,
                Err(join) => format!("panicked: {join}"),
            };
            tracing::error!(task.name = name, reason, "a task died; the process stops");
            drop(dead.set(format!("{name}: {reason}")));
            stop.draining.cancel();
        });
    }

    /// Drains, waits at most `grace`, then stops. Returns the name and reason of a task that died, if one did.
    pub async fn shut_down(&self, grace: Duration) -> Option<String> {
        self.stop.draining.cancel();
        self.tracker.close();
        self.services.close();
        // Late or not, everything ends now.
        drop(tokio::time::timeout(grace, self.tracker.wait()).await);
        self.stop.stopped.cancel();
        let rest = async {
            self.tracker.wait().await;
            self.services.wait().await;
        };
        if tokio::time::timeout(Duration::from_secs(5), rest).await.is_err() {
            let left = self.tracker.len() + self.services.len();
            tracing::warn!(left, "tasks still running at exit");
        }
        self.dead.get().cloned()
    }

    /// The task that died, if one did.
    pub fn dead(&self) -> Option<&str> {
        self.dead.get().map(String::as_str)
    }
}

#[cfg(feature = "simulation")]
thread_local! {
    static IN_PLACE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// From now on [`blocking`] does its work at once on this thread, where a simulation decides what happens when.
#[cfg(feature = "simulation")]
pub fn block_in_place(on: bool) {
    IN_PLACE.set(on);
}

/// Runs CPU-heavy or blocking work off the async threads.
#[allow(clippy::disallowed_methods, reason = "the one place that blocks a pool thread")]
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> anyhow::Result<T> {
    #[cfg(feature = "simulation")]
    if IN_PLACE.get() {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await.map_err(anyhow::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dead_task_drains_the_process_and_is_named() {
        let tasks = Tasks::default();
        tasks.spawn("pager", async { anyhow::bail!("lost") });
        tasks.stop().draining.cancelled().await;
        assert_eq!(tasks.shut_down(Duration::from_secs(1)).await.as_deref(), Some("pager: lost"));
    }

    #[tokio::test]
    async fn a_service_has_a_thread_of_its_own_whose_death_drains_the_process_too() {
        let tasks = Tasks::default();
        let here = std::thread::current().id();
        tasks.serve_apart("store", async move {
            assert_eq!(std::thread::current().id(), here, "it runs elsewhere");
            Ok(())
        });
        tasks.stop().draining.cancelled().await;
        let dead = tasks.shut_down(Duration::from_secs(1)).await.unwrap();
        assert!(dead.starts_with("store: its thread panicked"), "{dead}");
    }

    #[tokio::test]
    async fn a_service_does_not_hold_up_the_stop_and_ends_after_the_others() {
        let tasks = Tasks::default();
        let (draining, stopped) = (tasks.stop().draining.clone(), tasks.stop().stopped.clone());
        let (asked, mut questions) = tokio::sync::mpsc::channel::<&str>(1);
        let service = stopped.clone();
        tasks.serve("store", async move {
            while questions.recv().await.is_some() {}
            service.cancelled().await;
            Ok(())
        });
        tasks.spawn("worker", async move {
            draining.cancelled().await;
            anyhow::ensure!(!stopped.is_cancelled(), "stopped before it could finish");
            asked.send("one more write").await?;
            Ok(())
        });
        // An hour of grace, of which nothing is used.
        let stop = tasks.shut_down(Duration::from_hours(1));
        let stop = tokio::time::timeout(Duration::from_mins(1), stop).await;
        assert_eq!(stop.expect("it stops when the worker ends"), None);
    }

    #[tokio::test]
    async fn a_task_that_ignores_draining_is_told_to_stop() {
        let tasks = Tasks::default();
        let stopped = tasks.stop().stopped.clone();
        tasks.spawn("slow", async move {
            stopped.cancelled().await;
            Ok(())
        });
        assert_eq!(tasks.shut_down(Duration::from_millis(1)).await, None);
    }
}
