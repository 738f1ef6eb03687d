//! `paramedic oncall now`: who is on call, until when, and who is next.

use std::fmt;

use anyhow::{Context as _, bail};
use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};
use serde::Serialize;

use crate::{
    config::Config,
    domain::{
        oncall::OnCall,
        schedule::{PersonId, Schedule, zone, zone_name},
        suggest::closest,
    },
    playbook::{
        self,
        diagnostic::Diagnostic,
        oncall::{Loaded, Outside},
    },
};

/// How far ahead the next handoff is looked for.
const HORIZON: SignedDuration = SignedDuration::from_hours(366 * 24);

/// The on-call files of a configuration; without `oncall.dir` the built-in operator.
pub fn load(config: &Config, now: Timestamp) -> Result<Loaded, Vec<Diagnostic>> {
    match &config.oncall.dir {
        Some(path) => playbook::oncall::load(path, &outside(config, now)),
        None => Ok(Loaded { oncall: OnCall::builtin(), warnings: Vec::new() }),
    }
}

/// What the on-call files may refer to with this configuration.
pub fn outside(config: &Config, now: Timestamp) -> Outside {
    Outside {
        channels: config.channels.keys().cloned().collect(),
        transports: config.transports().into_iter().map(ToOwned::to_owned).collect(),
        default_policy: config.default_policy.clone(),
        now,
    }
}

/// Shows who is on call.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Now {
    /// At this time instead of now: "2026-12-25 03:12 Europe/Berlin" or 2026-12-25T02:12:00Z
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// Only this schedule
    #[arg(long, value_name = "ID")]
    pub schedule: Option<String>,
}

/// The answer: text by `Display`, JSON and YAML by `Serialize`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Watch {
    /// The instant asked about.
    pub at: Timestamp,
    /// In the order of the files.
    pub schedules: Vec<Duty>,
}

/// One schedule at that instant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Duty {
    /// Its id.
    pub schedule: String,
    /// Its zone; the text output uses it.
    pub time_zone: String,
    /// The first is the primary; empty: nobody.
    pub on_call: Vec<Who>,
    /// When that changes; none: not within a year.
    pub until: Option<Timestamp>,
    /// Who is on call from then.
    pub next: Vec<Who>,
}

/// A person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Who {
    /// Id.
    pub id: PersonId,
    /// Name.
    pub name: String,
}

impl Now {
    /// Answers from the on-call files; `now` is used when no time was asked for.
    pub fn run(&self, oncall: &OnCall, now: Timestamp) -> anyhow::Result<Watch> {
        let all = &oncall.parts().schedules;
        let chosen: Vec<&Schedule> = match &self.schedule {
            None => all.iter().collect(),
            Some(id) => {
                let known: Vec<&str> = all.iter().map(Schedule::id).collect();
                vec![oncall.schedule(id).with_context(|| missing("schedule", id, &known))?]
            }
        };
        let zone = chosen.first().map_or(TimeZone::UTC, |schedule| schedule.zone().clone());
        let at = match &self.at {
            None => now,
            Some(text) => moment(text, &zone)?.timestamp(),
        };
        let schedules = chosen.into_iter().map(|schedule| duty(oncall, schedule, at)).collect();
        Ok(Watch { at, schedules })
    }
}

fn duty(oncall: &OnCall, schedule: &Schedule, at: Timestamp) -> Duty {
    let horizon = at.checked_add(HORIZON).unwrap_or(Timestamp::MAX);
    let until = schedule.next_handoff(at, horizon);
    let named = |ids: Vec<PersonId>| ids.into_iter().map(|id| who(oncall, id)).collect();
    Duty {
        schedule: schedule.id().to_owned(),
        time_zone: zone_name(schedule.zone()).to_owned(),
        on_call: named(schedule.on_call(at)),
        until,
        next: until.map_or_else(Vec::new, |until| named(schedule.on_call(until))),
    }
}

pub(super) fn who(oncall: &OnCall, id: PersonId) -> Who {
    let name = oncall.person(&id).map_or_else(|| id.0.clone(), |person| person.name.clone());
    Who { id, name }
}

/// `there is no policy x; did you mean y?`
pub(super) fn missing(what: &str, id: &str, known: &[&str]) -> String {
    let hint = match closest(id, known) {
        Some(meant) => format!("did you mean {meant}?"),
        None if known.is_empty() => format!("the on-call files have no {what} at all"),
        None => format!("there is {}", known.join(", ")),
    };
    let shown: String = id.chars().take(64).flat_map(char::escape_debug).collect();
    format!("there is no {what} `{shown}`; {hint}")
}

/// Reads `2026-12-25 03:12 Europe/Berlin`, the same without a zone (then it is in `default`), or an instant with its offset.
pub(super) fn moment(text: &str, default: &TimeZone) -> anyhow::Result<jiff::Zoned> {
    let text = text.trim();
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(instant.to_zoned(default.clone()));
    }
    let (civil, name) = match text.rsplit_once(char::is_whitespace) {
        Some((civil, name)) if name.starts_with(|c: char| c.is_ascii_alphabetic()) => {
            (civil.trim(), Some(name))
        }
        Some(_) | None => (text, None),
    };
    let zone = name.map_or_else(|| Ok(default.clone()), zone).map_err(anyhow::Error::msg)?;
    let Ok(civil) = civil.parse::<DateTime>() else {
        let shown: String = text.chars().take(64).flat_map(char::escape_debug).collect();
        bail!(
            "`{shown}` is not a time; write \"2026-12-25 03:12 Europe/Berlin\" or 2026-12-25T02:12:00Z"
        );
    };
    zone.to_ambiguous_zoned(civil).compatible().context("this time is beyond the calendar")
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name == self.id.0 {
            f.pad(&self.name)
        } else {
            f.pad(&format!("{} ({})", self.name, self.id))
        }
    }
}

pub(super) fn names(people: &[Who]) -> String {
    let names: Vec<String> = people.iter().map(ToString::to_string).collect();
    if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
}

/// `Mon 2026-12-28 09:00 CET`.
pub(super) fn local(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%a %Y-%m-%d %H:%M %Z").to_string()
}

/// Columns as wide as their widest cell, two spaces apart.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}  "));
        cells.collect::<String>().trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

impl fmt::Display for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.schedules.is_empty() {
            return write!(
                f,
                "There is no schedule; `deploy/examples/oncall.yaml` is one to start from."
            );
        }
        let head = ["schedule", "on call", "until", "next"].map(ToOwned::to_owned).to_vec();
        let mut rows = vec![head];
        for duty in &self.schedules {
            let zone = zone(&duty.time_zone).unwrap_or(TimeZone::UTC);
            let until = duty
                .until
                .map_or_else(|| "no change within a year".to_owned(), |at| local(at, &zone));
            let next = if duty.until.is_some() { names(&duty.next) } else { String::new() };
            rows.push(vec![duty.schedule.clone(), names(&duty.on_call), until, next]);
        }
        f.write_str(&table(&rows))
    }
}
