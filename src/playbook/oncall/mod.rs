//! Reads the on-call files: one file, or a folder of them, as one whole. Either everything fits together, or nothing is
//! used and every mistake is said with its place.

mod files;
mod ical;
mod people;
mod policies;
mod raw;
mod report;
mod schedules;

use std::{collections::BTreeSet, path::Path};

use jiff::Timestamp;

use self::{files::Source, report::Report, schedules::Planned};
use super::{diagnostic::Diagnostic, yaml};
use crate::domain::{
    oncall::{OnCall, Parts},
    schedule::Schedule,
};

/// What the files may refer to but do not hold.
#[derive(Clone, Debug)]
pub struct Outside {
    /// Names of the configured channels.
    pub channels: BTreeSet<String>,
    /// Kinds that can deliver with this configuration.
    pub transports: BTreeSet<String>,
    /// `default_policy` of the configuration.
    pub default_policy: Option<String>,
    /// For gaps in the next 90 days.
    pub now: Timestamp,
}

/// Files that fit together.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The model.
    pub oncall: OnCall,
    /// What a person should look at.
    pub warnings: Vec<Diagnostic>,
}

impl Outside {
    /// True when somebody can be reached otherwise than on the console.
    fn has_real_channels(&self) -> bool {
        self.transports.iter().any(|kind| kind != "console")
    }
}

/// Reads a file or a folder. On error all diagnostics, warnings included, in the order of files and lines.
pub fn load(path: &Path, outside: &Outside) -> Result<Loaded, Vec<Diagnostic>> {
    let sources = files::sources(path)?;
    let mut report = Report { outside, found: Vec::new() };
    let mut parsed: Vec<(&Source, raw::File)> = Vec::new();
    for source in &sources {
        match yaml::read(&source.name, &source.text) {
            Ok(file) => parsed.push((source, file)),
            Err(diagnostic) => report.found.push(diagnostic),
        }
    }
    // Without one file, references to what it holds would all look wrong.
    if !report.found.is_empty() {
        return Err(report.found);
    }
    let parts = assemble(&parsed, &mut report);
    if let Some(id) = &outside.default_policy
        && !parts.policies.iter().any(|policy| policy.id == *id)
    {
        let message = format!(
            "there is no policy `{}`, which `default_policy` of the configuration names",
            id.escape_debug()
        );
        report.found.push(Diagnostic::error(&path.display().to_string(), "", (0, 0), &message));
    }
    let mut found = report.found;
    found.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    if found.iter().any(Diagnostic::is_error) {
        return Err(found);
    }
    Ok(Loaded { oncall: OnCall::new(parts), warnings: found })
}

/// People first, then what refers to them.
fn assemble(parsed: &[(&Source, raw::File)], report: &mut Report<'_>) -> Parts {
    let mut parts = Parts::default();
    for (source, file) in parsed {
        for person in &file.people {
            parts.people.extend(people::read(source, person, &parts.people, report));
        }
        for (id, raw) in &file.calendars {
            if parts.calendars.contains_key(id) {
                report.error(
                    source.at(raw),
                    &format!("there are two calendars with the id `{id}`; rename one"),
                );
            }
            let calendar = schedules::read_calendar(source, raw, report);
            parts.calendars.insert(id.clone(), calendar);
        }
    }
    let overrides = parsed
        .iter()
        .flat_map(|(source, file)| file.overrides.iter().map(move |raw| Planned { source, raw }));
    let overrides: Vec<Planned<'_>> = overrides.collect();
    for (source, file) in parsed {
        for raw in &file.schedules {
            let known = (parts.schedules.as_slice(), parts.people.as_slice());
            let schedule = schedules::read(source, raw, &overrides, known, report);
            parts.schedules.extend(schedule);
        }
    }
    for Planned { source, raw } in &overrides {
        let id = &raw.value.schedule;
        report.reference(
            source.at(id),
            "schedule",
            &id.value,
            parts.schedules.iter().map(Schedule::id),
        );
    }
    for (source, file) in parsed {
        for raw in &file.policies {
            parts.policies.extend(policies::read(source, raw, &parts, report));
        }
    }
    for (source, file) in parsed {
        for raw in &file.teams {
            parts.teams.extend(policies::read_team(source, raw, &parts, report));
        }
    }
    parts
}
