//! The only door to time. Production reads the system clock; tests hold a clock they advance by hand.
//!
//! Wall time ([`Clock::now`]) is what people and rows see; monotonic time ([`Clock::monotonic`]) bounds leases
//! and never goes back. A manual clock moves both together unless a test moves the wall alone.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

/// A source of time; cheap to clone.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The machine's clocks.
    #[default]
    System,
    /// A clock that moves only when told to.
    Manual(Manual),
}

/// The state behind [`Clock::Manual`].
#[derive(Clone, Debug)]
pub struct Manual {
    state: Arc<Mutex<(Timestamp, Duration)>>,
    moved: watch::Sender<Duration>,
}

impl Clock {
    /// A manual clock that shows `start`.
    pub fn manual(start: Timestamp) -> (Self, Manual) {
        let manual = Manual {
            state: Arc::new(Mutex::new((start, Duration::ZERO))),
            moved: watch::Sender::new(Duration::ZERO),
        };
        (Self::Manual(manual.clone()), manual)
    }

    /// Wall time.
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub fn now(&self) -> Timestamp {
        match self {
            Self::System => Timestamp::now(),
            Self::Manual(m) => m.read().0,
        }
    }

    /// Time since an arbitrary start; never goes back.
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
    pub fn monotonic(&self) -> Duration {
        static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        match self {
            Self::System => START.get_or_init(std::time::Instant::now).elapsed(),
            Self::Manual(m) => m.read().1,
        }
    }

    /// Waits `duration` of this clock's monotonic time.
    #[allow(clippy::disallowed_methods, reason = "the one place that sleeps")]
    pub async fn sleep(&self, duration: Duration) {
        match self {
            Self::System => tokio::time::sleep(duration).await,
            Self::Manual(m) => {
                let until = m.read().1 + duration;
                // An error means the clock itself is gone, and so is whoever could advance it.
                drop(m.moved.subscribe().wait_for(|at| *at >= until).await);
            }
        }
    }
}

impl Manual {
    fn read(&self) -> (Timestamp, Duration) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves wall and monotonic time forward and wakes every sleeper that is due.
    pub fn advance(&self, by: Duration) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 += SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
        state.1 += by;
        self.moved.send_replace(state.1);
    }

    /// Sets the wall clock alone, as an NTP step or an operator would.
    pub fn set_wall(&self, now: Timestamp) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0 = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sleeper_wakes_when_the_clock_reaches_it_and_not_before() {
        let (clock, hand) = Clock::manual(Timestamp::UNIX_EPOCH);
        let sleeper = clock.sleep(Duration::from_secs(10));
        tokio::pin!(sleeper);
        assert!(futures::poll!(&mut sleeper).is_pending());
        hand.advance(Duration::from_secs(9));
        assert!(futures::poll!(&mut sleeper).is_pending());
        hand.advance(Duration::from_secs(1));
        assert!(futures::poll!(&mut sleeper).is_ready());
    }

    #[test]
    fn setting_the_wall_back_leaves_monotonic_time_alone() {
        let (clock, hand) = Clock::manual(Timestamp::UNIX_EPOCH);
        hand.advance(Duration::from_secs(5));
        hand.set_wall(Timestamp::UNIX_EPOCH);
        assert_eq!(
            (clock.now(), clock.monotonic()),
            (Timestamp::UNIX_EPOCH, Duration::from_secs(5))
        );
    }
}
