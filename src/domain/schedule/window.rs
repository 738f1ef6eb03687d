//! Parts of a week in civil time: `Fri, Sat 22:00-06:00`. A night belongs to the day it starts.
//!
//! Both edges are civil times under the same rule as handoffs (a gap shifts forward, a fold takes the first pass). So a
//! window 02:00-03:00 is empty on the night the clocks go forward and lasts two hours when they go back.

use std::{fmt, ops::Range};

use jiff::{
    Timestamp, ToSpan as _,
    civil::{Date, Time, Weekday},
    tz::TimeZone,
};

use super::zone::instant;

/// A set of weekdays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Days(u8);

/// Days of the week with a time from and a time to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    days: Days,
    from: Time,
    to: Time,
}

const NAMES: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

impl Days {
    /// Every day.
    pub const ALL: Self = Self(0b111_1111);

    /// Reads day names and ranges: `["Mon-Thu", "Sat"]`. Never empty.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut set = 0;
        for word in words {
            let (first, last) = word.split_once('-').unwrap_or((word, word));
            let (first, last) = (weekday(first)?, weekday(last)?);
            let mut day = first;
            set |= bit(day);
            while day != last {
                day = day.next();
                set |= bit(day);
            }
        }
        if set == 0 {
            Err("no day is named; write Mon, Tue or Mon-Fri".to_owned())
        } else {
            Ok(Self(set))
        }
    }

    /// True when the day belongs to the set.
    pub fn contains(self, day: Weekday) -> bool {
        self.0 & bit(day) != 0
    }
}

fn bit(day: Weekday) -> u8 {
    1 << day.to_monday_zero_offset()
}

/// Reads `Mon` or `Monday`.
pub fn weekday(word: &str) -> Result<Weekday, String> {
    let word = word.trim();
    let long = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
    (0i8..)
        .zip(NAMES.iter().zip(long))
        .find(|(_, (short, long))| {
            word.eq_ignore_ascii_case(short) || word.eq_ignore_ascii_case(long)
        })
        .and_then(|(index, _)| Weekday::from_monday_zero_offset(index).ok())
        .ok_or_else(|| {
            let shown: String = word.chars().take(32).collect();
            format!(
                "`{}` is not a day; write Mon, Tue, Wed, Thu, Fri, Sat or Sun",
                shown.escape_debug()
            )
        })
}

/// Reads `09:00`; `24:00` is the midnight that ends the day.
pub fn time(word: &str) -> Result<Time, String> {
    let read = |text: &str, below: i8| -> Option<i8> {
        let two_digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|n| two_digits && *n < below)
    };
    let word = word.trim();
    if word == "24:00" {
        return Ok(Time::midnight());
    }
    word.split_once(':')
        .and_then(|(hour, minute)| Time::new(read(hour, 24)?, read(minute, 60)?, 0, 0).ok())
        .ok_or_else(|| {
            let shown: String = word.chars().take(32).collect();
            format!("`{}` is not a time of day; write \"09:00\"", shown.escape_debug())
        })
}

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named: Vec<_> = (0..7).filter(|i| self.0 & (1 << i) != 0).map(|i| NAMES[i]).collect();
        f.write_str(&named.join(", "))
    }
}

impl Window {
    /// From a time to a time on these days; `to` at or before `from` means the next day.
    pub fn new(days: Days, from: Time, to: Time) -> Self {
        Self { days, from, to }
    }

    /// The opening that starts on this date: `[start, end)`; `None` when the day is not in the set or nothing is left of it.
    pub fn on(&self, date: Date, zone: &TimeZone) -> Option<Range<Timestamp>> {
        if !self.days.contains(date.weekday()) {
            return None;
        }
        let last = if self.to <= self.from { date.checked_add(1.day()).ok()? } else { date };
        let start = instant(date.to_datetime(self.from), zone);
        let end = instant(last.to_datetime(self.to), zone);
        (start < end).then_some(start..end)
    }

    /// The opening that covers this instant.
    pub fn covering(&self, at: Timestamp, zone: &TimeZone) -> Option<Range<Timestamp>> {
        let today = at.to_zoned(zone.clone()).date();
        // Two days back: a zone may skip a whole date (Apia, 2011-12-30).
        (0..=2)
            .filter_map(|back| self.on(today.checked_sub(back.days()).ok()?, zone))
            .find(|opening| opening.contains(&at))
    }

    /// The first edge, opening or closing, after this instant.
    pub fn next_edge(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let today = after.to_zoned(zone.clone()).date();
        (-2i64..=8)
            .filter_map(|day| self.on(today.checked_add(day.days()).ok()?, zone))
            .flat_map(|opening| [opening.start, opening.end])
            .filter(|edge| *edge > after)
            .min()
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clock = |t: Time| format!("{:02}:{:02}", t.hour(), t.minute());
        write!(f, "{} {}-{}", self.days, clock(self.from), clock(self.to))
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::{super::zone::zone, *};

    fn hours(opening: Option<Range<Timestamp>>) -> Option<i64> {
        opening.map(|o| o.end.duration_since(o.start).as_hours())
    }

    #[test]
    fn a_window_in_the_clock_change_is_empty_in_spring_and_double_in_autumn() {
        let berlin = zone("Europe/Berlin").unwrap();
        let window = Window::new(Days::ALL, time("02:00").unwrap(), time("03:00").unwrap());
        assert_eq!(hours(window.on(date(2026, 3, 28), &berlin)), Some(1));
        assert_eq!(hours(window.on(date(2026, 3, 29), &berlin)), None);
        assert_eq!(hours(window.on(date(2026, 10, 25), &berlin)), Some(2));
    }

    #[test]
    fn a_night_belongs_to_the_day_it_starts() {
        let berlin = zone("Europe/Berlin").unwrap();
        let days = Days::parse(["Fri", "Sat"]).unwrap();
        let window = Window::new(days, time("22:00").unwrap(), time("06:00").unwrap());
        let covers = |text: &str| window.covering(text.parse().unwrap(), &berlin).is_some();
        assert!(!covers("2026-01-09T20:59:59Z"), "Friday before 22:00");
        assert!(covers("2026-01-09T21:00:00Z"), "Friday 22:00");
        assert!(covers("2026-01-11T04:59:59Z"), "Sunday before 06:00 is Saturday's night");
        assert!(!covers("2026-01-11T05:00:00Z"), "half-open: 06:00 is out");
        assert!(!covers("2026-01-11T22:00:00Z"), "Sunday night");
        assert_eq!(hours(window.on(date(2026, 3, 28), &berlin)), Some(7));
        assert_eq!(
            window.next_edge("2026-01-11T05:00:00Z".parse().unwrap(), &berlin),
            Some("2026-01-16T21:00:00Z".parse().unwrap())
        );
    }

    #[test]
    fn from_midnight_to_midnight_is_the_whole_day() {
        let window = Window::new(Days::ALL, time("00:00").unwrap(), time("24:00").unwrap());
        assert_eq!(hours(window.on(date(2026, 1, 1), &TimeZone::UTC)), Some(24));
    }

    #[test]
    fn days_and_times_are_read_strictly() {
        assert_eq!(Days::parse(["Mon-Wed", "sunday"]).unwrap().to_string(), "Mon, Tue, Wed, Sun");
        assert_eq!(Days::parse(["Sat-Mon"]).unwrap().to_string(), "Mon, Sat, Sun");
        assert!(Days::parse([]).is_err());
        for bad in ["", "Mo", "Mon-", "Mon--Fri", "\0"] {
            assert!(Days::parse([bad]).is_err(), "{bad}");
        }
        for bad in ["", "9:00", "24:01", "12:60", "0900", "+9:00", "-1:00", "09:00:00"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }
}
