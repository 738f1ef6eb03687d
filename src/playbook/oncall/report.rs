//! Collects what is wrong, each with its place, while reading goes on: all mistakes are said at once.

use serde_saphyr::{Location, Spanned};

use super::{Outside, Source};
use crate::{domain::suggest::closest, playbook::diagnostic::Diagnostic};

/// A place in one of the files.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub source: &'a Source,
    at: (u64, u64),
}

/// What was found so far.
pub(super) struct Report<'a> {
    pub outside: &'a Outside,
    pub found: Vec<Diagnostic>,
}

impl Source {
    /// The place of a value.
    pub(super) fn at<T>(&self, value: &Spanned<T>) -> Place<'_> {
        self.place(value.referenced)
    }

    fn place(&self, location: Location) -> Place<'_> {
        Place { source: self, at: (location.line(), location.column()) }
    }
}

impl Report<'_> {
    /// Says what is wrong; a hint follows after `; `.
    pub(super) fn error(&mut self, place: Place<'_>, message: &str) {
        let Place { source, at } = place;
        self.found.push(Diagnostic::error(&source.name, &source.text, at, message));
    }

    /// Says what a person should look at.
    pub(super) fn warning(&mut self, place: Place<'_>, message: &str) {
        let Place { source, at } = place;
        self.found.push(Diagnostic::warning(&source.name, &source.text, at, message));
    }

    /// The value, or nothing once the mistake is noted.
    pub(super) fn check<T>(&mut self, place: Place<'_>, value: Result<T, String>) -> Option<T> {
        value.map_err(|message| self.error(place, &message)).ok()
    }

    /// Notes a reference to something that is not there, with the name that was probably meant.
    pub(super) fn reference<'k>(
        &mut self,
        place: Place<'_>,
        what: &str,
        id: &str,
        mut known: impl Iterator<Item = &'k str> + Clone,
    ) -> bool {
        if known.clone().any(|name| name == id) {
            return true;
        }
        let shown: String = id.chars().take(64).flat_map(char::escape_debug).collect();
        let names: Vec<&str> = known.by_ref().take(200).collect();
        let hint = match closest(id, &names) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None if names.is_empty() => format!("there is no {what} at all"),
            None => format!("there is {}", names.join(", ")),
        };
        self.error(place, &format!("there is no {what} `{shown}`; {hint}"));
        false
    }

    /// A new id: well-formed, and not seen before.
    pub(super) fn id<'k>(
        &mut self,
        source: &Source,
        what: &str,
        id: &Spanned<String>,
        mut seen: impl Iterator<Item = &'k str>,
    ) -> Option<String> {
        let place = source.at(id);
        let id = &id.value;
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if !(1..=63).contains(&id.len()) || !id.bytes().all(plain) {
            self.error(place, "this is not an id; use letters, digits, - _ and ., at most 63");
            return None;
        }
        if seen.any(|other| other == id) {
            self.error(place, &format!("there are two {what} with the id `{id}`; rename one"));
            return None;
        }
        Some(id.clone())
    }
}
