//! What may wait until people are at work: business hours and digests.

use std::collections::BTreeSet;

use jiff::{Span, Timestamp, civil::Date, tz::TimeZone};

use super::policy::Digest;
use crate::domain::schedule::{Days, Window, instant, time, zone};

/// Days ahead that are searched for an opening; a calendar that stays closed longer holds nothing back.
const HORIZON_DAYS: i64 = 400;

/// Opening hours in one time zone, less its holidays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calendar {
    /// Zone of the hours and of the holidays.
    pub zone: TimeZone,
    /// When it is open.
    pub hours: Window,
    /// Closed on these days; an opening that began the evening before runs on.
    pub holidays: BTreeSet<Date>,
}

/// A page or post that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Until then.
    pub until: Timestamp,
    /// And what happens then.
    pub kind: HoldKind,
}

/// Why something waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HoldKind {
    /// The round starts when this calendar opens.
    BusinessHours {
        /// Its id.
        calendar: String,
    },
    /// The incident goes into the digest of this channel.
    Digest {
        /// Its name.
        channel: String,
    },
}

impl Calendar {
    /// True in opening hours.
    pub fn is_open(&self, at: Timestamp) -> bool {
        self.opens(at) == Some(at)
    }

    /// `at` itself in opening hours, else the next opening; `None` when it stays closed for 400 days.
    pub fn opens(&self, at: Timestamp) -> Option<Timestamp> {
        let today = at.to_zoned(self.zone.clone()).date();
        (-2..=HORIZON_DAYS)
            .filter_map(|days| today.checked_add(Span::new().days(days)).ok())
            .filter(|date| !self.holidays.contains(date))
            .filter_map(|date| self.hours.on(date, &self.zone))
            .find(|opening| opening.end > at)
            .map(|opening| opening.start.max(at))
    }
}

impl Digest {
    /// A checked digest. `when` is days and a time, optionally with its zone: `Mon-Fri 09:30 Europe/Berlin`.
    pub fn new(when: &str, default_zone: &str, channel: &str) -> Result<Self, String> {
        let mut words: Vec<&str> = when.split_whitespace().collect();
        let zone_name = match words.last() {
            Some(last) if last.contains('/') || *last == "UTC" => {
                words.pop().unwrap_or(default_zone)
            }
            Some(_) | None => default_zone,
        };
        zone(zone_name)?;
        let digest =
            Self { when: words.join(" "), zone: zone_name.to_owned(), channel: channel.to_owned() };
        digest.parts()?;
        Ok(digest)
    }

    /// The first digest after this instant; `None` only for values that [`Digest::new`] refuses.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let zone = zone(&self.zone).ok()?;
        let (days, at) = self.parts().ok()?;
        let today = after.to_zoned(zone.clone()).date();
        (-1..=8)
            .filter_map(|ahead| today.checked_add(Span::new().days(ahead)).ok())
            .filter(|date| days.contains(date.weekday()))
            .map(|date| instant(date.to_datetime(at), &zone))
            .find(|due| *due > after)
    }

    fn parts(&self) -> Result<(Days, jiff::civil::Time), String> {
        let words: Vec<&str> = self.when.split([' ', ',']).filter(|w| !w.is_empty()).collect();
        match words.split_last() {
            Some((at, [])) => Ok((Days::ALL, time(at)?)),
            Some((at, days)) => Ok((Days::parse(days.iter().copied())?, time(at)?)),
            None => Err("a digest needs a time; write \"Mon-Fri 09:30\"".to_owned()),
        }
    }
}
