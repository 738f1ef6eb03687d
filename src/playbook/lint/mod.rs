//! From a playbook as written to one the engine can run, with every mistake and its place.
//!
//! Reading stops at the first mistake in the form; from there on all mistakes are collected.

mod graph;
mod outputs;
pub(super) mod steps;

use std::{collections::BTreeMap, time::Duration};

use jiff::civil::Date;
use serde_saphyr::{Location, Spanned};
use sha2::Digest as _;

use super::{
    diagnostic::Diagnostic,
    model::{Limits, Matching, Playbook, SeverityRule},
    raw::{RawLimits, RawMatch, RawPlaybook, RawSeverity, Span},
    source::hex,
    yaml,
};
use crate::domain::{
    duration,
    matcher::Matcher,
    severity::Severity,
    signature::{Book, covers},
    suggest::closest,
    template::Reference,
};

/// After this many days without a look, `check` warns.
const REVIEW_DAYS: i32 = 180;

/// Reads one playbook. `None` when it has errors; warnings may come with it.
pub fn playbook(
    file: &str,
    text: &str,
    book: &Book,
    today: Date,
) -> (Option<Playbook>, Vec<Diagnostic>) {
    let raw: RawPlaybook = match yaml::read(file, text) {
        Ok(raw) => raw,
        Err(diagnostic) => return (None, vec![diagnostic]),
    };
    let mut lint = Lint { file, text, found: Vec::new() };
    let playbook = lint.playbook(raw, book, today);
    lint.found.sort_by_key(|found| (found.line, found.column));
    let refused = lint.found.iter().any(Diagnostic::is_error);
    ((!refused).then_some(playbook), lint.found)
}

/// SHA-256 of a text, hex.
pub(super) fn digest(text: &str) -> String {
    hex(&sha2::Sha256::digest(text))
}

struct Lint<'a> {
    file: &'a str,
    text: &'a str,
    found: Vec<Diagnostic>,
}

type Place = (u64, u64);

fn place(at: &Location) -> Place {
    (at.line(), at.column())
}

impl Lint<'_> {
    fn error(&mut self, at: Place, message: &str) {
        self.found.push(Diagnostic::error(self.file, self.text, at, message));
    }

    fn playbook(&mut self, raw: RawPlaybook, book: &Book, today: Date) -> Playbook {
        self.words(&raw);
        let reviewed = raw.reviewed.as_ref().and_then(|date| self.reviewed(date, today));
        let matches = self.matches(raw.matches, place(&raw.name.referenced));
        if let Some(condition) = &raw.condition {
            let roots = ["labels", "annotations", "alerts"];
            self.roots(condition.references(), condition.source(), condition.position(), &roots);
        }
        let target = raw.target.inspect(|target| {
            let value = serde_json::to_value(target).unwrap_or_default();
            for use_of in steps::uses(&value) {
                let roots = ["labels", "annotations", "alerts"];
                self.roots(&use_of.references, &use_of.source, use_of.at, &roots);
            }
        });
        for remedy in &raw.remedies {
            let action = &remedy.action;
            let message = format!(
                "the remedy `{}` is not supported yet; remove `remedies`, or describe it in a signature's remedy text",
                action.value
            );
            self.error(place(&action.referenced), &message);
        }
        for channel in &raw.post_to {
            if channel.value.trim().is_empty() {
                self.error(
                    place(&channel.referenced),
                    "a channel has no name; write its key under `channels:`",
                );
            }
        }
        Playbook {
            severity: raw.severity.and_then(|severity| self.severity(severity)),
            limits: self.limits(raw.limits),
            verdicts: self.verdicts(raw.verdicts, book),
            steps: self.steps(raw.steps, place(&raw.name.referenced)),
            name: raw.name.value,
            title: raw.title,
            summary: raw.summary,
            owner: raw.owner.value,
            reviewed,
            file: self.file.to_owned(),
            digest: digest(self.text),
            matches,
            condition: raw.condition,
            target,
            post_to: raw.post_to.into_iter().map(|channel| channel.value).collect(),
        }
    }

    fn words(&mut self, raw: &RawPlaybook) {
        let name = raw.name.value.as_str();
        let good = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            && name.len() <= 63;
        if !good {
            let message = "this is not a playbook's name; write lower-case letters, digits and dashes: spark-executor-lost";
            self.error(place(&raw.name.referenced), message);
        }
        let owner = raw.owner.value.as_str();
        let named = ["team:", "person:"].iter().find_map(|prefix| owner.strip_prefix(prefix));
        if named.is_none_or(|name| name.trim().is_empty()) {
            self.error(
                place(&raw.owner.referenced),
                "this is not an owner; write team:data-platform or person:ana",
            );
        }
    }

    fn reviewed(&mut self, text: &Spanned<String>, today: Date) -> Option<Date> {
        let at = place(&text.referenced);
        let Ok(date) = text.value.parse::<Date>() else {
            self.error(at, "this is not a date; write 2026-01-31");
            return None;
        };
        let days = today.since(date).map_or(0, |span| span.get_days());
        if days > REVIEW_DAYS {
            let message = format!(
                "last reviewed {days} days ago; read it again, then set `reviewed` to the day you did"
            );
            self.found.push(Diagnostic::warning(self.file, self.text, at, &message));
        }
        Some(date)
    }

    fn matches(&mut self, entries: Vec<RawMatch>, name: Place) -> Vec<Matching> {
        if entries.is_empty() {
            self.error(
                name,
                "no alert can reach this playbook: `match` is empty; write at least one matcher",
            );
        }
        let mut matches = Vec::new();
        let mut places = Vec::new();
        for entry in entries {
            match entry {
                RawMatch::One(text) => {
                    places.push(place(&text.referenced));
                    matches.extend(self.matcher(&text).map(Matching::One));
                }
                RawMatch::Any(texts) => {
                    let at = texts.first().map_or(name, |text| place(&text.referenced));
                    places.push(at);
                    if texts.is_empty() {
                        self.error(name, "no alert can reach this playbook: `any` is empty; write at least one matcher");
                    }
                    let any = texts.iter().filter_map(|text| self.matcher(text)).collect();
                    matches.push(Matching::Any(any));
                }
            }
        }
        if self.found.iter().all(|found| !found.is_error()) {
            self.reachable(&matches, &places);
        }
        matches
    }

    fn matcher(&mut self, text: &Spanned<String>) -> Option<Matcher> {
        Matcher::parse(&text.value)
            .map_err(|message| self.error(place(&text.referenced), &message))
            .ok()
    }

    /// `a="x"` fixes a label's value; whatever else is asked of that label must agree.
    fn reachable(&mut self, matches: &[Matching], places: &[Place]) {
        for fixed in matches {
            let Matching::One(fixed) = fixed else { continue };
            let Some(value) = fixed.exact() else { continue };
            let labels = BTreeMap::from([(fixed.name().to_owned(), value.to_owned())]);
            for (other, at) in matches.iter().zip(places) {
                let contradiction = match other {
                    Matching::One(other) => other.name() == fixed.name() && !other.matches(&labels),
                    Matching::Any(any) => any
                        .iter()
                        .all(|other| other.name() == fixed.name() && !other.matches(&labels)),
                };
                if contradiction {
                    let message = format!(
                        "no alert can reach this playbook: this contradicts {fixed}; remove one of them"
                    );
                    return self.error(*at, &message);
                }
            }
        }
    }

    fn severity(&mut self, raw: RawSeverity) -> Option<SeverityRule> {
        match raw {
            RawSeverity::Fixed(text) => text
                .value
                .parse::<Severity>()
                .map(SeverityRule::Fixed)
                .map_err(|message| self.error(place(&text.referenced), &message))
                .ok(),
            RawSeverity::Map(map) => {
                let Some(label) = map.from.value.strip_prefix("labels.").filter(|l| !l.is_empty())
                else {
                    self.error(
                        place(&map.from.referenced),
                        "severity comes from a label; write labels.severity",
                    );
                    return None;
                };
                Some(SeverityRule::Map { label: label.to_owned(), map: map.map })
            }
        }
    }

    fn limits(&mut self, raw: RawLimits) -> Limits {
        let minutes = |n: u64| Duration::from_secs(n * 60);
        let second = Duration::from_secs(1);
        Limits {
            deadline: self.span(raw.deadline, second, minutes(30), Duration::from_secs(90)),
            cooldown: self.span(raw.cooldown, Duration::ZERO, minutes(24 * 60), minutes(10)),
            hold_page: self.span(raw.hold_page, Duration::ZERO, minutes(1), Duration::ZERO),
            max_targets: self.number(raw.max_targets, 1, 20, 5),
        }
    }

    fn span(
        &mut self,
        span: Option<Spanned<Span>>,
        low: Duration,
        high: Duration,
        default: Duration,
    ) -> Duration {
        let Some(span) = span else { return default };
        if span.value.0 < low || span.value.0 > high {
            let (low, high) = (duration::format(low), duration::format(high));
            let message = format!("this is out of bounds; write {low} to {high}");
            self.error(place(&span.referenced), &message);
        }
        span.value.0
    }

    fn number<N: Copy + PartialOrd + std::fmt::Display>(
        &mut self,
        number: Option<Spanned<N>>,
        low: N,
        high: N,
        default: N,
    ) -> N {
        let Some(number) = number else { return default };
        if number.value < low || number.value > high {
            let message = format!("this is out of bounds; write {low} to {high}");
            self.error(place(&number.referenced), &message);
        }
        number.value
    }

    fn verdicts(&mut self, globs: Vec<Spanned<String>>, book: &Book) -> Vec<String> {
        for glob in &globs {
            if !book.ids().any(|id| covers(&glob.value, id)) {
                let ids: Vec<&str> = book.ids().collect();
                let hint = closest(&glob.value, &ids).map_or_else(
                    || "`*` is one path segment, `**` any".to_owned(),
                    |id| format!("did you mean `{id}`?"),
                );
                let message = format!("no signature is called `{}`; {hint}", glob.value);
                self.error(place(&glob.referenced), &message);
            }
        }
        globs.into_iter().map(|glob| glob.value).collect()
    }

    /// Refuses names that do not exist where this text stands.
    fn roots(&mut self, references: &[Reference], source: &str, at: Place, roots: &[&str]) {
        for reference in references {
            let root = reference.path.first().map_or("", String::as_str);
            if !root.is_empty() && !roots.contains(&root) {
                let hint = closest(root, roots).map_or_else(
                    || format!("there is {}", roots.join(", ")),
                    |known| format!("did you mean `{known}`?"),
                );
                let place = self.inside(at, source, reference.offset);
                self.error(place, &format!("there is no `{root}` here; {hint}"));
            }
        }
    }

    /// The place of a byte of a text that starts at `at`; its start, when the text is written over several lines.
    fn inside(&self, at: Place, source: &str, offset: usize) -> Place {
        let Some(line) = self.text.lines().nth(usize::try_from(at.0).unwrap_or(0).wrapping_sub(1))
        else {
            return at;
        };
        let skip = usize::try_from(at.1).unwrap_or(1).saturating_sub(1);
        let rest: String = line.chars().skip(skip).collect();
        let before = source.get(..offset).unwrap_or_default().chars().count() as u64;
        let quoted = rest.strip_prefix(['"', '\'']);
        if rest.starts_with(source) {
            (at.0, at.1 + before)
        } else if quoted.is_some_and(|rest| rest.starts_with(source)) {
            (at.0, at.1 + 1 + before)
        } else {
            at
        }
    }
}

#[cfg(test)]
mod tests;
