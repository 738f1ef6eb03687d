//! Who is paged when, as written; [`super::plan`] says what comes next.

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::domain::{schedule::PersonId, severity::Severity};

/// An escalation policy. Serialisable: a round keeps the policy it started with, as references; people and contacts are
/// looked up when a page is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Unique.
    pub id: String,
    /// In order; `at` never decreases.
    pub steps: Vec<PolicyStep>,
    /// The whole list again.
    pub repeat: Option<Repeat>,
    /// The fallback: until somebody answers.
    pub then: Option<Then>,
    /// An acknowledgement ends after this; a severity without an entry keeps it.
    pub ack_expires: BTreeMap<Severity, Duration>,
    /// Severities that do not page at once. Never P0 or P1.
    pub hold: BTreeMap<Severity, HoldRule>,
}

/// One line of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyStep {
    /// Counts from the round's start.
    pub at: Duration,
    /// Who is paged; may be empty.
    pub page: Vec<PageTarget>,
    /// Channels that get the card; may be empty.
    pub post: Vec<String>,
    /// Only these severities; empty: all.
    pub only: Vec<Severity>,
}

/// `repeat: { every: 15m, times: 3 }`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repeat {
    /// From the last step to the first step of the next pass.
    pub every: Duration,
    /// Passes after the first.
    pub times: u32,
}

/// `then: { page: […], every: 30m }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Then {
    /// Never empty.
    pub page: Vec<PageTarget>,
    /// From the last step, and between the pages; at least one minute.
    pub every: Duration,
}

/// What may wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldRule {
    /// Until the calendar with this id opens.
    Until(String),
    /// Collected and posted.
    Digest(Digest),
}

/// A post at fixed times instead of a page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// `Mon-Fri 09:30`.
    pub when: String,
    /// IANA name of the zone of `when`.
    pub zone: String,
    /// The channel that gets it.
    pub channel: String,
}

/// Who a step pages. Written `schedule:primary` or `person:ana`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum PageTarget {
    /// Whoever is on call when the page is sent.
    Schedule(String),
    /// This person.
    Person(PersonId),
}

impl FromStr for PageTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("schedule", id)) if !id.is_empty() => Ok(Self::Schedule(id.to_owned())),
            Some(("person", id)) if !id.is_empty() => Ok(Self::Person(id.into())),
            Some(("channel", _)) => {
                Err("a channel cannot be paged: pages go to persons and schedules; use `post:`"
                    .to_owned())
            }
            Some(_) | None => {
                let shown: String = text.chars().take(64).collect();
                Err(format!(
                    "`{}` cannot be paged; write schedule:<id> or person:<id>",
                    shown.escape_debug()
                ))
            }
        }
    }
}

impl fmt::Display for PageTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Schedule(id) => write!(f, "schedule:{id}"),
            Self::Person(id) => write!(f, "person:{id}"),
        }
    }
}

impl TryFrom<String> for PageTarget {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<PageTarget> for String {
    fn from(target: PageTarget) -> Self {
        target.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_read_as_it_is_written() {
        for text in ["schedule:primary", "person:ana"] {
            assert_eq!(text.parse::<PageTarget>().unwrap().to_string(), text);
        }
        for bad in ["", "ana", "schedule:", "person:", "team:data", "\0", "schedule"] {
            assert!(bad.parse::<PageTarget>().is_err(), "{bad}");
        }
        insta::assert_snapshot!("channel:ops".parse::<PageTarget>().unwrap_err(), @"a channel cannot be paged: pages go to persons and schedules; use `post:`");
    }
}
