//! "Something was committed": a hint for loops that look for work, in this process and in the others.

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;

use super::{Error, Result};
use crate::ops::clock::Clock;

/// Counts commits; cheap to clone.
#[derive(Clone)]
pub struct Changed {
    all: watch::Sender<u64>,
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
        Ok(Self { all: watch::Sender::new(0), ours: watch::Sender::new(0), id, clock })
    }

    /// This store among the replicas.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Sees every commit that we know of.
    pub fn all(&self) -> watch::Receiver<u64> {
        self.all.subscribe()
    }

    /// Sees our own commits.
    pub fn ours(&self) -> watch::Receiver<u64> {
        self.ours.subscribe()
    }

    /// We committed.
    pub fn here(&self) {
        self.ours.send_modify(|commits| *commits = commits.wrapping_add(1));
        self.theirs();
    }

    /// Another replica says that it committed.
    pub fn theirs(&self) {
        self.all.send_modify(|commits| *commits = commits.wrapping_add(1));
    }

    /// Waits.
    pub async fn sleep(&self, duration: Duration) {
        self.clock.sleep(duration).await;
    }
}
