//! "Something was committed": a hint for loops that look for work, in this process and in the others.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{Error, Result};
use crate::ops::clock::Clock;

/// The topic of deliveries; the others are kinds of jobs.
pub const DELIVERIES: &str = "deliveries";

/// How often there was news.
#[derive(Default)]
struct Counts {
    by_topic: BTreeMap<&'static str, u64>,
    /// That may be of any topic.
    any: u64,
}

impl Counts {
    fn of(&self, topics: &[&str]) -> u64 {
        let counts = topics.iter().filter_map(|topic| self.by_topic.get(topic));
        counts.fold(self.any, |sum, count| sum.wrapping_add(*count))
    }
}

/// Counts commits; cheap to clone.
#[derive(Clone)]
pub struct Changed {
    counts: watch::Sender<Counts>,
    ours: watch::Sender<u64>,
    id: Arc<str>,
    clock: Clock,
}

impl Changed {
    /// Nothing yet.
    pub fn new(clock: Clock) -> Result<Self> {
        let mut random = [0_u8; 8];
        getrandom::fill(&mut random)
            .map_err(|error| Error::Failed(format!("no randomness: {error}")))?;
        let id = format!("{:016x}", u64::from_be_bytes(random)).into();
        let (counts, ours) = (watch::Sender::default(), watch::Sender::new(0));
        Ok(Self { counts, ours, id, clock })
    }

    /// This store among the replicas.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Sees every commit of these topics that we know of.
    pub fn news(&self, topics: &'static [&'static str]) -> News {
        let counts = self.counts.subscribe();
        let seen = counts.borrow().of(topics);
        News { counts, topics, seen }
    }

    /// Sees our own commits.
    pub fn ours(&self) -> watch::Receiver<u64> {
        self.ours.subscribe()
    }

    /// We committed something of any topic.
    pub fn here(&self) {
        self.ours.send_modify(|commits| *commits = commits.wrapping_add(1));
        self.theirs();
    }

    /// We committed something of these topics, and nothing that a loop waits for beside.
    pub fn here_of(&self, topics: impl IntoIterator<Item = &'static str>) {
        let mut topics = topics.into_iter().peekable();
        if topics.peek().is_none() {
            return;
        }
        self.counts.send_modify(|counts| {
            for topic in topics {
                let count = counts.by_topic.entry(topic).or_default();
                *count = count.wrapping_add(1);
            }
        });
        self.ours.send_modify(|commits| *commits = commits.wrapping_add(1));
    }

    /// Another replica says that it committed.
    pub fn theirs(&self) {
        self.counts.send_modify(|counts| counts.any = counts.any.wrapping_add(1));
    }

    /// Waits.
    pub async fn sleep(&self, duration: Duration) {
        self.clock.sleep(duration).await;
    }
}

/// What one loop waits for.
pub struct News {
    counts: watch::Receiver<Counts>,
    topics: &'static [&'static str],
    seen: u64,
}

impl News {
    /// What was committed until now is known.
    pub fn mark_unchanged(&mut self) {
        self.seen = self.counts.borrow_and_update().of(self.topics);
    }

    /// Until something of its topics is committed that was not known.
    pub async fn changed(&mut self) {
        let (topics, seen) = (self.topics, self.seen);
        drop(self.counts.wait_for(|counts| counts.of(topics) != seen).await);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_loop_wakes_for_its_topics_only() {
        let changed = Changed::new(Clock::System).unwrap();
        let mut pages = changed.news(&["page", "deliver"]);
        assert!(pages.changed().now_or_never().is_none());
        changed.here_of([DELIVERIES, "post"]);
        changed.here_of([]);
        assert!(pages.changed().now_or_never().is_none());
        changed.here_of(["post", "deliver"]);
        assert!(pages.changed().now_or_never().is_some());
        assert!(pages.changed().now_or_never().is_some(), "until it is marked as known");
        pages.mark_unchanged();
        assert!(pages.changed().now_or_never().is_none());
        changed.theirs();
        assert!(pages.changed().now_or_never().is_some(), "others do not say what it is");
    }
}
