//! When the store counts as lost and as back: pure, fed with looks.
//!
//! Only time that was **seen** counts, and a look sees at most [`SEEN`] of it. A process that stood still for 40 s (SIGSTOP, a
//! suspended machine) has looked once in all that time, so it has seen a few seconds of it, and its next look finds the store in
//! order. The wall clock is not asked: set by hours, it neither raises nor hides anything.

use std::time::Duration;

/// Between two looks.
pub const TICK: Duration = Duration::from_secs(5);
/// What one look can vouch for.
const SEEN: Duration = Duration::from_secs(10);
/// Without a successful write for longer than this, the store is lost; with writes for as long, it is back.
const LOST: Duration = Duration::from_secs(30);
/// Between two alarms of one outage.
const REPEAT: Duration = Duration::from_mins(15);

/// What was seen so far, in monotonic time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    looked: Duration,
    /// The last look that found a write to succeed, or the start.
    written: Duration,
    /// Seen without a successful write since then.
    silent: Duration,
    outage: Option<Outage>,
}

/// An outage that was alarmed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outage {
    began: Duration,
    /// The alarm said last, from 0.
    turn: u32,
    /// Writes succeed again since.
    back: Option<Duration>,
    /// Seen with successful writes since then.
    good: Duration,
}

/// What there is to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Nothing.
    None,
    /// Nobody can be paged; the how manieth time this is said, from 0.
    Lost {
        /// The same on all replicas.
        turn: u32,
    },
    /// It takes writes again.
    Back {
        /// How long it did not.
        lasted: Duration,
    },
}

impl Watch {
    /// Begins to look.
    pub fn new(now: Duration) -> Self {
        Self { looked: now, written: now, silent: Duration::ZERO, outage: None }
    }

    /// A look: whether a write succeeded since the last one.
    pub fn look(&mut self, now: Duration, written: bool) -> News {
        let seen = now.saturating_sub(self.looked).min(SEEN);
        self.looked = now;
        if written {
            (self.written, self.silent) = (now, Duration::ZERO);
        } else {
            self.silent += seen;
        }
        let Some(outage) = &mut self.outage else {
            if self.silent <= LOST {
                return News::None;
            }
            let began = self.written;
            self.outage = Some(Outage { began, turn: 0, back: None, good: Duration::ZERO });
            return News::Lost { turn: 0 };
        };
        if !written {
            (outage.back, outage.good) = (None, Duration::ZERO);
            let due = now.saturating_sub(outage.began).as_secs() / REPEAT.as_secs();
            let due = u32::try_from(due).unwrap_or(u32::MAX);
            if due <= outage.turn {
                return News::None;
            }
            outage.turn = due;
            return News::Lost { turn: due };
        }
        let back = *outage.back.get_or_insert(now);
        if back < now {
            outage.good += seen;
        }
        if outage.good < LOST {
            return News::None;
        }
        let lasted = back.saturating_sub(outage.began);
        self.outage = None;
        News::Back { lasted }
    }

    /// True from the first alarm until the store counts as back.
    pub fn is_lost(&self) -> bool {
        self.outage.is_some()
    }

    /// For how long no write succeeded; zero while the store is in order.
    pub fn silence(&self) -> Duration {
        if self.silent.is_zero() {
            Duration::ZERO
        } else {
            self.looked.saturating_sub(self.written)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Looks every tick; what was said, with its second.
    fn looks(watch: &mut Watch, span: std::ops::Range<u64>, written: bool) -> Vec<(u64, News)> {
        let looks = span.step_by(5).map(|at| (at, watch.look(seconds(at), written)));
        looks.filter(|(_, news)| *news != News::None).collect()
    }

    #[test]
    fn an_outage_is_said_after_more_than_30_s_then_every_15_min_and_its_end_once() {
        let mut watch = Watch::new(seconds(0));
        assert_eq!(looks(&mut watch, 5..100, true), []);
        let said = looks(&mut watch, 100..2_000, false);
        let lost = |at, turn| (at, News::Lost { turn });
        // The last write was at 95; 30 s are not more than 30 s.
        assert_eq!(said, [lost(130, 0), lost(995, 1), lost(1_895, 2)]);
        assert_eq!(watch.silence(), seconds(1_900));
        let said = looks(&mut watch, 2_000..3_000, true);
        assert_eq!(said, [(2_030, News::Back { lasted: seconds(1_905) })]);
        assert_eq!(watch.silence(), Duration::ZERO);
    }

    #[test]
    fn a_short_trouble_is_not_said() {
        let mut watch = Watch::new(seconds(0));
        for minute in 0..60 {
            let at = minute * 60;
            assert_eq!(looks(&mut watch, at + 5..at + 35, true), []);
            assert_eq!(looks(&mut watch, at + 35..at + 65, false), []);
        }
    }

    #[test]
    fn a_process_that_stood_still_has_seen_no_outage() {
        let mut watch = Watch::new(seconds(0));
        looks(&mut watch, 5..10, true);
        // It wakes an hour later in the middle of a look whose time is up, twice.
        assert_eq!(watch.look(seconds(3_600), false), News::None);
        assert_eq!(watch.look(seconds(7_200), false), News::None);
        assert_eq!(watch.look(seconds(7_201), true), News::None);
        assert_eq!(watch.silence(), Duration::ZERO);
    }

    #[test]
    fn a_store_that_comes_and_goes_is_one_outage() {
        let mut watch = Watch::new(seconds(0));
        let mut said = looks(&mut watch, 5..60, false);
        for round in 1..10 {
            let at = round * 60;
            said.extend(looks(&mut watch, at..at + 25, true));
            said.extend(looks(&mut watch, at + 25..at + 60, false));
        }
        assert_eq!(said, [(35, News::Lost { turn: 0 })]);
    }
}
