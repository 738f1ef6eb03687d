//! The store's time. Due times and leases compare it, so all replicas must have the same: with PostgreSQL it is the server's,
//! read again with every claim and carried on by this process's monotonic clock in between, which nobody sets.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use super::{
    Connection,
    db::{DbError, server_time},
};
use crate::ops::clock::Clock;

/// Tells the time; cheap to clone.
#[derive(Clone)]
pub struct Time {
    clock: Clock,
    /// The server's clock, where a simulation plays it.
    played: Option<Clock>,
    /// The server's time, and when it was that on our monotonic clock.
    server: Arc<Mutex<Option<(Timestamp, Duration)>>>,
}

impl Time {
    /// The process's time, until a server is asked.
    pub fn new(clock: Clock, played: Option<Clock>) -> Self {
        Self { clock, played, server: Arc::default() }
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        match *self.server.lock().unwrap_or_else(PoisonError::into_inner) {
            None => self.clock.now(),
            Some((time, then)) => {
                let since = self.clock.monotonic().saturating_sub(then);
                let since = SignedDuration::try_from(since).unwrap_or(SignedDuration::MAX);
                time.saturating_add(since).unwrap_or(Timestamp::MAX)
            }
        }
    }

    /// Asks the server. A clock that is moved by hand is the only time there is.
    pub async fn ask(&self, db: &mut Connection) -> Result<(), DbError> {
        let before = self.clock.monotonic();
        if let Some(server) = &self.played {
            self.learn(server.now(), before, before);
            return Ok(());
        }
        if matches!(self.clock, Clock::Manual(_)) {
            return Ok(());
        }
        if let Some(time) = server_time(db).await? {
            let after = self.clock.monotonic();
            self.learn(super::instant(time), before, after);
        }
        Ok(())
    }

    fn learn(&self, time: Timestamp, before: Duration, after: Duration) {
        let then = before + after.saturating_sub(before) / 2;
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some((time, then));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_learned_the_servers_time_counts_and_setting_our_wall_clock_changes_nothing() {
        let (clock, hand) = Clock::manual(Timestamp::UNIX_EPOCH);
        let time = Time::new(clock, None);
        assert_eq!(time.now(), Timestamp::UNIX_EPOCH);
        hand.advance(Duration::from_secs(4));
        let server: Timestamp = "2026-11-23T03:00:00Z".parse().unwrap();
        time.learn(server, Duration::from_secs(2), Duration::from_secs(4));
        assert_eq!(time.now(), server + SignedDuration::from_secs(1), "half of the way back");
        hand.set_wall(Timestamp::UNIX_EPOCH);
        hand.advance(Duration::from_secs(10));
        assert_eq!(time.now(), server + SignedDuration::from_secs(11));
    }
}
