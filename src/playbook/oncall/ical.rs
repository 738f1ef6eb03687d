//! Holidays from an iCalendar file: the dates of all-day events. Nothing else is read; what would be lost is refused.

use std::collections::BTreeSet;

use jiff::{Span, civil::Date};

/// Most holidays in one file.
const MAX_DAYS: usize = 10_000;

/// Longest event, days.
const LONGEST: i64 = 60;

/// The dates of all all-day events that are not cancelled. `DTEND` is the first day after, as the format says.
pub(super) fn holidays(text: &str) -> Result<BTreeSet<Date>, String> {
    if !text.trim_start_matches('\u{feff}').trim_start().starts_with("BEGIN:VCALENDAR") {
        return Err("this is not an iCalendar file; it must begin with BEGIN:VCALENDAR".to_owned());
    }
    let mut days = BTreeSet::new();
    let mut event: Option<Event> = None;
    for line in unfold(text) {
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        let (name, parameters) = name.split_once(';').unwrap_or((name, ""));
        match (name.to_ascii_uppercase().as_str(), &mut event) {
            ("BEGIN", None) if value.eq_ignore_ascii_case("VEVENT") => {
                event = Some(Event::default());
            }
            ("END", Some(ended)) if value.eq_ignore_ascii_case("VEVENT") => {
                ended.days(&mut days)?;
                event = None;
            }
            ("DTSTART", Some(event)) if all_day(parameters) => event.start = Some(date(value)?),
            ("DTEND", Some(event)) if all_day(parameters) => event.end = Some(date(value)?),
            ("RRULE" | "RDATE", Some(_)) => {
                return Err("this calendar has repeating events, which are not read; export each day as an event of its own".to_owned());
            }
            ("STATUS", Some(event)) => event.cancelled = value.eq_ignore_ascii_case("CANCELLED"),
            _ => {}
        }
    }
    Ok(days)
}

#[derive(Default)]
struct Event {
    start: Option<Date>,
    end: Option<Date>,
    cancelled: bool,
}

impl Event {
    fn days(&self, into: &mut BTreeSet<Date>) -> Result<(), String> {
        let Some(start) = self.start.filter(|_| !self.cancelled) else {
            return Ok(());
        };
        let beyond = |_| "an event lies beyond the calendar".to_owned();
        let end = match self.end {
            Some(end) if end > start => end,
            Some(_) | None => start.checked_add(Span::new().days(1)).map_err(beyond)?,
        };
        if start.checked_add(Span::new().days(LONGEST)).map_err(beyond)? < end {
            return Err(format!(
                "the event at {start} is longer than {LONGEST} days; holidays are days"
            ));
        }
        into.extend(start.series(Span::new().days(1)).take_while(|day| *day < end));
        if into.len() > MAX_DAYS {
            return Err(format!("this calendar has more than {MAX_DAYS} holidays"));
        }
        Ok(())
    }
}

fn all_day(parameters: &str) -> bool {
    parameters.split(';').any(|p| p.eq_ignore_ascii_case("VALUE=DATE"))
}

fn date(value: &str) -> Result<Date, String> {
    let bad = || "an all-day event has no date of the form 20261225".to_owned();
    let value = value.trim();
    let digits = value.len() == 8 && value.bytes().all(|b| b.is_ascii_digit());
    let number: u32 = value.parse().ok().filter(|_| digits).ok_or_else(bad)?;
    let part = |n: u32| i8::try_from(n % 100).unwrap_or(0);
    let year = i16::try_from(number / 10_000).map_err(|_| bad())?;
    Date::new(year, part(number / 100), part(number)).map_err(|_| bad())
}

/// Lines, with continuations (a leading space or tab) joined to the line before.
fn unfold(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix([' ', '\t']), lines.last_mut()) {
            (Some(more), Some(last)) => last.push_str(more),
            (Some(_) | None, _) => lines.push(line.trim_end_matches('\r').to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calendar(body: &str) -> String {
        format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{body}END:VCALENDAR\r\n")
    }

    fn event(body: &str) -> String {
        calendar(&format!("BEGIN:VEVENT\r\n{body}END:VEVENT\r\n"))
    }

    fn dates(text: &str) -> Vec<String> {
        holidays(text).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn all_day_events_are_holidays_and_their_end_is_the_day_after() {
        let christmas = "DTSTART;VALUE=DATE:20261225\r\nDTEND;VALUE=DATE:20261227\r\nSUMMARY:Christ\r\n mas\r\n";
        assert_eq!(dates(&event(christmas)), ["2026-12-25", "2026-12-26"]);
        assert_eq!(dates(&event("DTSTART;VALUE=DATE:20260101\n")), ["2026-01-01"]);
        assert_eq!(dates(&event("DTSTART;\r\n VALUE=DATE:20260101\r\n")), ["2026-01-01"]);
    }

    #[test]
    fn meetings_and_cancelled_events_are_not() {
        assert!(dates(&event("DTSTART:20261225T100000Z\r\n")).is_empty());
        assert!(dates(&event("DTSTART;VALUE=DATE:20261225\r\nSTATUS:CANCELLED\r\n")).is_empty());
        assert!(dates(&calendar("")).is_empty());
    }

    #[test]
    fn what_would_be_read_wrongly_is_refused() {
        for bad in [
            String::new(),
            "\0".to_owned(),
            "people: []".to_owned(),
            event("DTSTART;VALUE=DATE:20261225\r\nRRULE:FREQ=YEARLY\r\n"),
            event("DTSTART;VALUE=DATE:2026-12-25\r\n"),
            event("DTSTART;VALUE=DATE:20261399\r\n"),
            event("DTSTART;VALUE=DATE:99991231\r\n"),
            event("DTSTART;VALUE=DATE:20260101\r\nDTEND;VALUE=DATE:20270101\r\n"),
        ] {
            assert!(holidays(&bad).is_err(), "{bad}");
        }
    }
}
