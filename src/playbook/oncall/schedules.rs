//! `schedules:`, `overrides:` and `calendars:`.

use std::{collections::BTreeSet, path::Path};

use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, DateTime, Time},
    tz::TimeZone,
};
use serde_saphyr::Spanned;

use super::{Source, files, ical, raw, report::Report};
use crate::domain::{
    duration,
    oncall::{Calendar, Person},
    schedule::{
        Cadence, Change, Days, Layer, Override, PersonId, Rotation, Schedule, Version, Window,
        time, weekday, zone,
    },
};

/// How far ahead gaps are looked for.
const HORIZON: SignedDuration = SignedDuration::from_hours(90 * 24);

/// An override with its schedule, before they are put together.
pub(super) struct Planned<'a> {
    pub source: &'a Source,
    pub raw: &'a Spanned<raw::Override>,
}

pub(super) fn read(
    source: &Source,
    raw: &raw::Schedule,
    overrides: &[Planned<'_>],
    (schedules, people): (&[Schedule], &[Person]),
    report: &mut Report<'_>,
) -> Option<Schedule> {
    let id = report.id(source, "schedules", &raw.id, schedules.iter().map(Schedule::id))?;
    // The mistake is noted; the schedule stays, so that what refers to it is not blamed as well.
    let time_zone = report.check(source.at(&raw.time_zone), zone(&raw.time_zone.value));
    let time_zone = time_zone.unwrap_or(TimeZone::UTC);
    if raw.layers.is_empty() {
        report
            .error(source.at(&raw.id), "this schedule has no layers; nobody would ever be on call");
    }
    let layers: Vec<Option<Layer>> = raw
        .layers
        .iter()
        .map(|layer| read_layer(source, layer, &time_zone, people, report))
        .collect();
    let mine = overrides.iter().filter(|planned| planned.raw.value.schedule.value == id);
    let mine: Vec<Option<Override>> =
        mine.map(|planned| read_override(planned, &time_zone, people, report)).collect();
    // A schedule with a mistake in it is not judged for gaps.
    let complete = layers.iter().all(Option::is_some) && mine.iter().all(Option::is_some);
    let schedule = Schedule::new(
        id,
        time_zone,
        layers.into_iter().flatten().collect(),
        mine.into_iter().flatten().collect(),
    );
    if complete && !raw.layers.is_empty() {
        warn_of_gaps(source, raw, &schedule, report);
    }
    Some(schedule)
}

fn warn_of_gaps(
    source: &Source,
    raw: &raw::Schedule,
    schedule: &Schedule,
    report: &mut Report<'_>,
) {
    let now = report.outside.now;
    let gaps = schedule.gaps(now..now.checked_add(HORIZON).unwrap_or(Timestamp::MAX));
    if let Some(first) = gaps.first() {
        let local = |at: Timestamp| {
            at.to_zoned(schedule.zone().clone()).strftime("%Y-%m-%d %H:%M").to_string()
        };
        let more = if gaps.len() > 1 {
            format!(" and {} more gaps", gaps.len() - 1)
        } else {
            String::new()
        };
        let message = format!(
            "nobody is on call from {} to {} ({}){more} in the next 90 days; add a layer or an override",
            local(first.start),
            local(first.end),
            raw.time_zone.value,
        );
        report.warning(source.at(&raw.id), &message);
    }
}

fn read_layer(
    source: &Source,
    raw: &Spanned<raw::Layer>,
    time_zone: &TimeZone,
    people: &[Person],
    report: &mut Report<'_>,
) -> Option<Layer> {
    let place = source.at(raw);
    let layer = &raw.value;
    let since = report.check(source.at(&layer.since), since(layer));
    let cadence = report.check(place, cadence(layer));
    let versions = versions(source, layer, people, report);
    let only =
        layer.only.as_ref().map(|only| window(source, &only.days, (&only.from, &only.to), report));
    let only = match only {
        None => None,
        Some(window) => Some(window?),
    };
    let rotation = Rotation::new(cadence?, since?, time_zone.clone());
    let rotation = report.check(place, rotation)?;
    report.check(place, Layer::new(rotation, versions?, only, time_zone.clone()))
}

fn since(layer: &raw::Layer) -> Result<DateTime, String> {
    let text = &layer.since.value;
    let date = text.parse::<Date>().ok().filter(|_| text.len() == 10);
    if layer.every.is_some() {
        return text
            .parse::<DateTime>()
            .map_err(|_| "this is not a date and time; write since: 2026-01-05T09:00".to_owned());
    }
    date.map(|date| date.to_datetime(Time::midnight()))
        .ok_or_else(|| "this is not a date; write since: 2026-01-05".to_owned())
}

fn cadence(layer: &raw::Layer) -> Result<Cadence, String> {
    let usage = "write rotate: weekly with handoff: \"Mon 09:00\", or at: [\"06:00\", \"14:00\", \"22:00\"], or every: 8h";
    match (&layer.rotate, layer.at.as_slice(), &layer.every) {
        (Some(rotate), [], None) => {
            let handoff = layer.handoff.as_ref().map_or("", |handoff| handoff.value.trim());
            let words = handoff.split_once(char::is_whitespace);
            match (rotate.value.as_str(), words) {
                ("daily", None) if !handoff.is_empty() => Ok(Cadence::Daily { at: time(handoff)? }),
                ("daily", _) => Err("a daily rotation needs a time; write handoff: \"09:00\"".to_owned()),
                ("weekly", Some((day, at))) => Ok(Cadence::Weekly { day: weekday(day)?, at: time(at)? }),
                ("weekly", None) => {
                    Err("a weekly rotation needs a day and a time; write handoff: \"Mon 09:00\"".to_owned())
                }
                ("monthly", Some((day, at))) => {
                    let day = day.parse().map_err(|_| "this is not a day of a month; write handoff: \"31 09:00\"".to_owned())?;
                    Ok(Cadence::Monthly { day, at: time(at)? })
                }
                ("monthly", None) => {
                    Err("a monthly rotation needs a day and a time; write handoff: \"1 09:00\"".to_owned())
                }
                _ => Err("`rotate` is weekly, daily or monthly; for several handoffs a day write at: [\"06:00\", \"18:00\"]".to_owned()),
            }
        }
        _ if layer.handoff.is_some() => Err(format!("`handoff` belongs to `rotate`; {usage}")),
        (None, times, None) if !times.is_empty() => {
            let times: Result<Vec<_>, String> =
                times.iter().map(|text| time(&text.value)).collect();
            Ok(Cadence::Shifts { at: times? })
        }
        (None, [], Some(every)) => Ok(Cadence::Elapsed { every: duration::parse(&every.value)? }),
        _ => Err(format!("a layer needs exactly one of `rotate`, `at` and `every`; {usage}")),
    }
}

fn versions(
    source: &Source,
    layer: &raw::Layer,
    people: &[Person],
    report: &mut Report<'_>,
) -> Option<Vec<Version>> {
    let known = people.iter().map(|p| p.id.0.as_str());
    let mut plain = Version { from: None, people: Vec::new(), first: None };
    let mut versions = Vec::new();
    let mut fine = true;
    for member in &layer.people {
        let place = source.at(member);
        match &member.value {
            raw::Member::Person(id) => {
                fine &= report.reference(place, "person", id, known.clone());
                plain.people.push(PersonId(id.clone()));
            }
            raw::Member::Version(version) => {
                let date = version.from.value.parse::<Date>();
                let date =
                    date.map_err(|_| "this is not a date; write from: 2026-01-05".to_owned());
                let from = report.check(place, date);
                fine &= from.is_some();
                for id in version.list.iter().chain(&version.first) {
                    fine &= report.reference(place, "person", &id.value, known.clone());
                }
                let list = version.list.iter().map(|id| PersonId(id.value.clone())).collect();
                let first = version.first.as_ref().map(|id| PersonId(id.value.clone()));
                versions.push(Version { from, people: list, first });
            }
        }
        if !plain.people.is_empty() && !versions.is_empty() {
            report.error(place, "a list holds either people or versions of the list; write every version as { from: 2026-01-05, list: [ana, raj] }");
            return None;
        }
    }
    if versions.is_empty() {
        versions.push(plain);
    }
    fine.then_some(versions)
}

fn window(
    source: &Source,
    days: &[raw::Text],
    (from, to): (&raw::Text, &raw::Text),
    report: &mut Report<'_>,
) -> Option<Window> {
    let set = Days::parse(days.iter().map(|day| day.value.as_str()));
    let set = report.check(source.at(days.first().unwrap_or(from)), set);
    let start = report.check(source.at(from), time(&from.value));
    let end = report.check(source.at(to), time(&to.value));
    Some(Window::new(set?, start?, end?))
}

fn read_override(
    planned: &Planned<'_>,
    time_zone: &TimeZone,
    people: &[Person],
    report: &mut Report<'_>,
) -> Option<Override> {
    let Planned { source, raw: spanned } = planned;
    let raw = &spanned.value;
    let place = source.at(*spanned);
    let named = [&raw.replace, &raw.with, &raw.add, &raw.remove];
    let known = people.iter().map(|p| p.id.0.as_str());
    let mut fine = true;
    for id in named.into_iter().flatten() {
        fine &= report.reference(source.at(id), "person", &id.value, known.clone());
    }
    let id = |text: &raw::Text| PersonId(text.value.clone());
    let change = match (&raw.replace, &raw.with, &raw.add, &raw.remove) {
        (Some(who), Some(with), None, None) => Ok(Change::Replace { who: id(who), with: id(with) }),
        (None, None, Some(who), None) => Ok(Change::Add(id(who))),
        (None, None, None, Some(who)) => Ok(Change::Remove(id(who))),
        _ => Err("an override does one thing; write replace: ana, with: raj, or add: mei, or remove: mei".to_owned()),
    };
    let change = report.check(place, change);
    let from = report.check(source.at(&raw.from), moment(&raw.from.value, time_zone));
    let to = report.check(source.at(&raw.to), moment(&raw.to.value, time_zone));
    let created = raw.created.as_ref();
    let created =
        created.and_then(|text| report.check(source.at(text), moment(&text.value, time_zone)));
    let (from, to) = (from?, to?);
    if to <= from {
        report.error(
            source.at(&raw.to),
            "this override ends before it begins; `to` must be after `from`",
        );
        return None;
    }
    let change = change.filter(|_| fine)?;
    Some(Override { from, to, change, reason: raw.reason.clone(), created })
}

/// A civil time in the schedule's zone, or an instant with its offset.
fn moment(text: &str, time_zone: &TimeZone) -> Result<Timestamp, String> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(instant);
    }
    let civil: DateTime = text.parse().map_err(|_| {
        "this is not a date and time; write 2026-12-24T09:00, in the schedule's time zone"
            .to_owned()
    })?;
    let instant = time_zone.to_ambiguous_timestamp(civil).compatible();
    instant.map_err(|_| "this date is beyond the calendar".to_owned())
}

pub(super) fn read_calendar(
    source: &Source,
    raw: &Spanned<raw::Calendar>,
    report: &mut Report<'_>,
) -> Calendar {
    let raw = &raw.value;
    let time_zone = report.check(source.at(&raw.time_zone), zone(&raw.time_zone.value));
    let hours = window(source, &raw.days, (&raw.from, &raw.to), report);
    let mut holidays = BTreeSet::new();
    if let Some(file) = &raw.holidays {
        let path = source.path.parent().unwrap_or(Path::new("")).join(&file.value);
        let shown = path.display();
        let read = files::read(&path)
            .map_err(|reason| {
                format!("cannot read the holidays in {shown}: {reason}; the path is relative to this file")
            })
            .and_then(|text| ical::holidays(&text));
        holidays = report.check(source.at(file), read).unwrap_or_default();
    }
    let always = || Window::new(Days::ALL, Time::midnight(), Time::midnight());
    Calendar {
        zone: time_zone.unwrap_or(TimeZone::UTC),
        hours: hours.unwrap_or_else(always),
        holidays,
    }
}
