//! When turns begin. Turn `k` starts at the civil time anchor + k periods, made an instant by the "compatible" rule.
//!
//! Every start is computed from the anchor, never from the start before it: a chain of weekly steps from a 02:30 that does
//! not exist in spring would stay at 03:30 for ever. No pointer is stored, so an answer after any downtime is the same.
//! A turn whose date a zone skipped (Apia, 2011-12-30) starts together with the next one: it has no length but it counts.

use std::time::Duration;

use jiff::{
    SignedDuration, Span, Timestamp,
    civil::{Date, DateTime, Time, Weekday},
    tz::TimeZone,
};

use super::zone::instant;

/// How often people hand over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cadence {
    /// Every week.
    Weekly {
        /// Day of the handoff.
        day: Weekday,
        /// Time of the handoff.
        at: Time,
    },
    /// Every day.
    Daily {
        /// Time of the handoff.
        at: Time,
    },
    /// Every month; a day the month does not have is its last one.
    Monthly {
        /// 1 to 31.
        day: i8,
        /// Time of the handoff.
        at: Time,
    },
    /// At these times of every day, by the clock on the wall: 1 to 24, ascending.
    Shifts {
        /// Times of the handoffs.
        at: Vec<Time>,
    },
    /// Every so many hours of elapsed time: the wall-clock time shifts when the clocks change.
    Elapsed {
        /// At least one minute.
        every: Duration,
    },
}

/// A cadence with its anchor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    cadence: Cadence,
    /// Civil start of turn 0.
    anchor: DateTime,
    zone: TimeZone,
}

impl Rotation {
    /// A rotation whose first turn starts at the cadence's first time on or after the date of `since`. Only
    /// [`Cadence::Elapsed`] looks at the time of `since`.
    pub fn new(cadence: Cadence, since: DateTime, zone: TimeZone) -> Result<Self, String> {
        let date = since.date();
        let beyond = |_| "the date is beyond the calendar".to_owned();
        let anchor = match &cadence {
            Cadence::Weekly { day, at } => {
                let days = date.weekday().until(*day);
                date.checked_add(Span::new().days(days)).map_err(beyond)?.to_datetime(*at)
            }
            Cadence::Daily { at } => date.to_datetime(*at),
            Cadence::Monthly { day, at } => {
                if !(1..=31).contains(day) {
                    return Err(format!("there is no day {day} of a month; write 1 to 31"));
                }
                let this = month_day(date.first_of_month(), *day);
                let next = || date.first_of_month().checked_add(Span::new().months(1));
                let first =
                    if this >= date { this } else { month_day(next().map_err(beyond)?, *day) };
                first.to_datetime(*at)
            }
            Cadence::Shifts { at } => match at.first() {
                Some(first) if at.len() <= 24 && at.is_sorted_by(|a, b| a < b) => {
                    date.to_datetime(*first)
                }
                _ => return Err("write 1 to 24 times of day, ascending".to_owned()),
            },
            Cadence::Elapsed { every } if *every >= Duration::from_mins(1) => since,
            Cadence::Elapsed { .. } => return Err("an elapsed turn lasts at least 1m".to_owned()),
        };
        Ok(Self { cadence, anchor, zone })
    }

    /// The civil date a turn nominally starts on.
    pub(super) fn date_of(&self, turn: i64) -> Date {
        match self.cadence {
            Cadence::Elapsed { .. } => self.start(turn).to_zoned(self.zone.clone()).date(),
            Cadence::Weekly { .. }
            | Cadence::Daily { .. }
            | Cadence::Monthly { .. }
            | Cadence::Shifts { .. } => self.civil_start(turn).map_or(Date::MAX, DateTime::date),
        }
    }

    /// When a turn starts. Turn 0 is the first; beyond the calendar it is the last instant there is.
    pub fn start(&self, turn: i64) -> Timestamp {
        if let Cadence::Elapsed { every } = self.cadence {
            let seconds = i64::try_from(every.as_secs()).unwrap_or(i64::MAX).saturating_mul(turn);
            return instant(self.anchor, &self.zone)
                .checked_add(SignedDuration::from_secs(seconds))
                .unwrap_or(Timestamp::MAX);
        }
        self.civil_start(turn).map_or(Timestamp::MAX, |civil| instant(civil, &self.zone))
    }

    fn civil_start(&self, turn: i64) -> Option<DateTime> {
        let (date, time) = (self.anchor.date(), self.anchor.time());
        let days = |days: i64| date.checked_add(Span::new().try_days(days).ok()?).ok();
        match &self.cadence {
            Cadence::Weekly { .. } => Some(days(turn.checked_mul(7)?)?.to_datetime(time)),
            Cadence::Daily { .. } => Some(days(turn)?.to_datetime(time)),
            Cadence::Monthly { day, .. } => {
                let months = Span::new().try_months(turn).ok()?;
                let month = date.first_of_month().checked_add(months).ok()?;
                Some(month_day(month, *day).to_datetime(time))
            }
            Cadence::Shifts { at } => {
                let count = i64::try_from(at.len()).ok()?;
                let index = usize::try_from(turn.rem_euclid(count)).ok()?;
                Some(days(turn.div_euclid(count))?.to_datetime(*at.get(index)?))
            }
            Cadence::Elapsed { .. } => None,
        }
    }

    /// The turn that is running: the last whose start is not after `at`; `None` before the first.
    pub fn turn_at(&self, at: Timestamp) -> Option<i64> {
        let (guess, margin) = self.estimate(at);
        (guess - margin..=guess + margin).rev().find(|turn| *turn >= 0 && self.start(*turn) <= at)
    }

    /// The first start after this instant.
    pub fn next_start(&self, after: Timestamp) -> Timestamp {
        let (_, margin) = self.estimate(after);
        let from = self.turn_at(after).map_or(0, |turn| turn + 1);
        // The minimum of a few: in a gap, 02:30 becomes 03:30 and comes after the 03:15 of the next turn.
        let near = (from..=from + 2 * margin).map(|turn| self.start(turn));
        near.filter(|start| *start > after).min().unwrap_or(Timestamp::MAX)
    }

    /// The turn by civil arithmetic, and how far it can be off because of the zone's changes.
    fn estimate(&self, at: Timestamp) -> (i64, i64) {
        let date = at.to_zoned(self.zone.clone()).date();
        let anchor = self.anchor.date();
        let days = date.duration_since(anchor).as_hours() / 24;
        match &self.cadence {
            Cadence::Weekly { .. } => (days.div_euclid(7), 2),
            Cadence::Daily { .. } => (days, 2),
            Cadence::Monthly { .. } => {
                let months = |d: Date| i64::from(d.year()) * 12 + i64::from(d.month());
                (months(date) - months(anchor), 2)
            }
            Cadence::Shifts { at } => {
                let count = i64::try_from(at.len()).unwrap_or(24);
                (days * count, 2 * count)
            }
            Cadence::Elapsed { every } => {
                let elapsed = at.duration_since(instant(self.anchor, &self.zone)).as_secs();
                let every = i64::try_from(every.as_secs()).unwrap_or(i64::MAX);
                (elapsed.div_euclid(every), 1)
            }
        }
    }
}

/// This day of the month, or its last one.
fn month_day(first_of_month: Date, day: i8) -> Date {
    let day = day.clamp(1, first_of_month.days_in_month());
    first_of_month.with().day(day).build().unwrap_or(first_of_month)
}
