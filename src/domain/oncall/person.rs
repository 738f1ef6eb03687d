//! People, how they can be reached, and how they want to be paged.

use std::{collections::BTreeMap, time::Duration};

use jiff::tz::TimeZone;

use crate::domain::{schedule::PersonId, severity::Severity};

/// Somebody who can be paged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Unique.
    pub id: PersonId,
    /// For people to read.
    pub name: String,
    /// For times shown to this person; `None`: UTC.
    pub zone: Option<TimeZone>,
    /// Channel kind to address: `slack` to `U024BE7LH`. An empty address is a channel with one fixed address.
    pub contacts: BTreeMap<String, String>,
    /// How to page this person.
    pub notify: NotifyRules,
}

/// Each line once per page, until the page is acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifyRules {
    /// Severities with rules of their own.
    pub by_severity: BTreeMap<Severity, Vec<NotifyRule>>,
    /// All others; never empty.
    pub default: Vec<NotifyRule>,
}

/// One line of a person's rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifyRule {
    /// Counts from the page.
    pub at: Duration,
    /// Channel kinds, all at once.
    pub by: Vec<String>,
}

impl Person {
    /// This person's address on a kind of channel.
    pub fn contact(&self, transport: &str) -> Option<&str> {
        self.contacts.get(transport).map(String::as_str)
    }

    /// The lines that apply to a page of this severity.
    pub fn rules(&self, severity: Severity) -> &[NotifyRule] {
        self.notify.by_severity.get(&severity).unwrap_or(&self.notify.default)
    }
}
