//! `people:` who can be paged, and how.

use std::{collections::BTreeMap, path::Path};

use serde_saphyr::Spanned;

use super::{Source, raw, report::Report};
use crate::{
    domain::{
        duration,
        oncall::{NotifyRule, NotifyRules, Person},
        schedule::{PersonId, zone},
        severity::Severity,
    },
    playbook::yaml,
};

/// Kinds of contacts. Not each of them can be delivered by this build; [`super::Outside`] says which can.
const KINDS: [&str; 10] = [
    "console",
    "slack",
    "matrix",
    "webhook",
    "email",
    "sms",
    "voice",
    "pagerduty",
    "telegram",
    "ntfy",
];

pub(super) fn read(
    source: &Source,
    raw: &raw::Person,
    people: &[Person],
    report: &mut Report<'_>,
) -> Option<Person> {
    let id = report.id(source, "people", &raw.id, people.iter().map(|p| p.id.0.as_str()))?;
    let time_zone = raw.time_zone.as_ref();
    let time_zone = time_zone.and_then(|name| report.check(source.at(name), zone(&name.value)));
    let contacts = contacts(source, raw, report);
    let notify = rules(source, raw, &contacts, report);
    let name = raw.name.clone().filter(|name| !name.trim().is_empty());
    let name = name.map_or_else(|| id.clone(), |n| n.chars().filter(|c| !c.is_control()).collect());
    Some(Person { id: PersonId(id), name, zone: time_zone, contacts, notify })
}

fn contacts(
    source: &Source,
    raw: &raw::Person,
    report: &mut Report<'_>,
) -> BTreeMap<String, String> {
    let mut contacts = BTreeMap::new();
    for (kind, address) in &raw.contacts {
        let place = source.at(address);
        if kind == "from" {
            match from_file(&source.path, &address.value) {
                Ok(private) => {
                    for (kind, address) in private {
                        if report.reference(place, "kind of contact", &kind, KINDS.into_iter())
                            && let Some(()) = report.check(place, address_fits(&kind, &address))
                        {
                            contacts.insert(kind, address);
                        }
                    }
                }
                Err(reason) => report.error(place, &reason),
            }
        } else if report.reference(place, "kind of contact", kind, KINDS.into_iter())
            && let Some(()) = report.check(place, address_fits(kind, &address.value))
        {
            contacts.insert(kind.clone(), address.value.clone());
        }
    }
    contacts
}

/// Contacts kept out of git: `file:/run/secrets/ana.yaml`. Nothing of the content gets into the message.
fn from_file(near: &Path, reference: &str) -> Result<BTreeMap<String, String>, String> {
    let usage = "write contacts: { from: file:/run/secrets/ana.yaml }";
    let path =
        reference.strip_prefix("file:").ok_or_else(|| format!("this is not a file; {usage}"))?;
    let path = near.parent().unwrap_or(Path::new("")).join(path);
    let shown = path.display();
    let text = super::files::read(&path).map_err(|reason| {
        format!("cannot read the contacts in {shown}: {reason}; mount the file, or {usage}")
    })?;
    yaml::read(&shown.to_string(), &text).map_err(|_| {
        format!("{shown} is not a map of contacts; write slack: U024BE7LH, one a line")
    })
}

/// True for an address the kind can have. What was written is not repeated: it may come from a secret file.
fn address_fits(kind: &str, address: &str) -> Result<(), String> {
    let id = |starts: &[char]| {
        address.strip_prefix(starts).is_some_and(|rest| {
            rest.len() >= 6 && rest.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        })
    };
    let matrix =
        || address.starts_with('@') && address.split_once(':').is_some_and(|(_, s)| !s.is_empty());
    let phone = || {
        let digits = address.strip_prefix('+').unwrap_or("");
        (6..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
    };
    let plain = !address.is_empty()
        && address.len() <= 256
        && !address.chars().any(|c| c.is_control() || c.is_whitespace());
    let (fits, example) = match kind {
        "slack" => (id(&['U', 'W']), "the member id, U024BE7LH (profile, Copy member ID)"),
        "matrix" => (matrix(), "\"@ana:example.org\""),
        "email" => (
            address.split_once('@').is_some_and(|(n, h)| !n.is_empty() && !h.is_empty()),
            "ana@example.org",
        ),
        "sms" | "voice" => (phone(), "\"+15550100\", in quotes"),
        _ => (true, "text without spaces"),
    };
    if fits && plain {
        Ok(())
    } else {
        Err(format!("this is not an address of kind {kind}; write {example}"))
    }
}

fn rules(
    source: &Source,
    raw: &raw::Person,
    contacts: &BTreeMap<String, String>,
    report: &mut Report<'_>,
) -> NotifyRules {
    let mut by_severity = BTreeMap::new();
    let mut default = None;
    for (severity, lines) in &raw.notify.value {
        let rules = lines.value.iter().filter_map(|line| rule(source, line, contacts, report));
        let rules: Vec<NotifyRule> = rules.collect();
        let place = source.at(lines);
        if lines.value.is_empty() {
            report.error(place, &format!("`{severity}` says nothing; write at least [ {{ at: 0m, by: [slack] }} ], or leave it out"));
        } else {
            deliverable(source, raw, severity, lines, &rules, report);
        }
        if severity == "default" {
            default = Some(rules);
        } else if let Some(severity) = report.check(place, severity.parse::<Severity>()) {
            by_severity.insert(severity, rules);
        }
    }
    if default.is_none() {
        let place = source.at(&raw.notify);
        report.error(place, "`default` is missing; add default: [ { at: 0m, by: [slack] } ] for severities without lines of their own");
    }
    NotifyRules { by_severity, default: default.unwrap_or_default() }
}

fn rule(
    source: &Source,
    line: &raw::Rule,
    contacts: &BTreeMap<String, String>,
    report: &mut Report<'_>,
) -> Option<NotifyRule> {
    let at = report.check(source.at(&line.at), duration::parse(&line.at.value));
    if line.by.is_empty() {
        report.error(source.at(&line.at), "this line has no `by`; write by: [slack]");
    }
    let mut by = Vec::new();
    for kind in &line.by {
        let known = contacts.keys().map(String::as_str);
        if report.reference(source.at(kind), "contact of this person of kind", &kind.value, known) {
            by.push(kind.value.clone());
        }
    }
    Some(NotifyRule { at: at?, by })
}

/// Says when lines, or all of them, cannot be delivered with this configuration.
fn deliverable(
    source: &Source,
    raw: &raw::Person,
    severity: &str,
    lines: &Spanned<Vec<raw::Rule>>,
    rules: &[NotifyRule],
    report: &mut Report<'_>,
) {
    let transports = report.outside.transports.clone();
    for kind in lines.value.iter().flat_map(|line| &line.by) {
        if KINDS.contains(&kind.value.as_str()) && !transports.contains(&kind.value) {
            let kind_name = &kind.value;
            report.warning(source.at(kind), &format!("nothing is configured that delivers by {kind_name}; add `{kind_name}:` to the configuration, or take it out here"));
        }
    }
    let reaches = |rule: &NotifyRule| rule.by.iter().any(|kind| transports.contains(kind));
    if !rules.is_empty() && !rules.iter().any(reaches) {
        let id = &raw.id.value;
        let message = format!(
            "no line of `{severity}` can be delivered: {id} would never be paged; configured are {}",
            transports.iter().cloned().collect::<Vec<_>>().join(", ")
        );
        if report.outside.has_real_channels() {
            report.error(source.at(lines), &message);
        } else {
            report.warning(source.at(lines), &message);
        }
    }
}
