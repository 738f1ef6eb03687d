//! An answer that is good for a moment, asked for by one caller while the others wait for it.

use std::time::Duration;

use tokio::sync::Mutex;

use crate::ops::clock::Clock;

/// The last answer and when it was given.
pub struct Cached<T> {
    good_for: Duration,
    last: Mutex<Option<(Duration, T)>>,
}

impl<T: Clone> Cached<T> {
    /// Nothing yet; answers will be good for this long.
    pub fn new(good_for: Duration) -> Self {
        Self { good_for, last: Mutex::new(None) }
    }

    /// The last answer while it is good, else a new one.
    pub async fn get(&self, clock: &Clock, ask: impl Future<Output = T>) -> T {
        let mut last = self.last.lock().await;
        let now = clock.monotonic();
        match &*last {
            Some((at, answer)) if now.saturating_sub(*at) < self.good_for => answer.clone(),
            Some(_) | None => {
                let answer = ask.await;
                *last = Some((clock.monotonic(), answer.clone()));
                answer
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_is_asked_for_again_only_when_it_is_old() {
        let (clock, hand) = Clock::manual(jiff::Timestamp::UNIX_EPOCH);
        let cached = Cached::new(Duration::from_secs(1));
        assert_eq!(cached.get(&clock, async { 1 }).await, 1);
        hand.advance(Duration::from_millis(999));
        assert_eq!(cached.get(&clock, async { 2 }).await, 1);
        hand.advance(Duration::from_millis(1));
        assert_eq!(cached.get(&clock, async { 3 }).await, 3);
    }
}
