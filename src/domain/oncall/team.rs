//! Who owns an alert. Ownership decides routing: the first team that fits.

use std::collections::BTreeMap;

use crate::domain::{matcher::Matcher, severity::Severity};

/// A team.
#[derive(Clone, Debug, PartialEq)]
pub struct Team {
    /// Unique; also the value of the namespace annotation `paramedic.io/team`.
    pub id: String,
    /// The team owns an alert when any of these fits.
    pub owns: Vec<Matcher>,
    /// The policy of its incidents.
    pub policy: String,
    /// Channels that get the cards of its incidents.
    pub channels: Vec<String>,
    /// Where verdicts of owner class `user` go.
    pub user_errors: Option<UserErrors>,
}

/// `user_errors: { channel: data-eng, max: P1 }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserErrors {
    /// The channel of those who own the jobs.
    pub channel: String,
    /// The highest severity that may go there instead of a page: P2 unless raised to P1.
    pub max: Severity,
}

impl Team {
    /// True when a matcher fits; a missing label is "".
    pub fn owns(&self, labels: &BTreeMap<String, String>) -> bool {
        self.owns.iter().any(|matcher| matcher.matches(labels))
    }
}
