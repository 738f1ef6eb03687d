//! `sources:` who sends alerts.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    problem::{Problems, is_label, is_name},
    value::{Duration, Secret, Url},
};
use crate::domain::matcher::Matcher;

/// A sender of alerts: one Alertmanager, or the members of one cluster of them. It posts to
/// `/api/v1/alertmanager/<name>`; without a name the source is `default`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Source {
    /// The bearer token it sends. At most one of `token`, `basic` and `hmac`.
    pub token: Option<Secret>,
    /// The user and password it sends.
    pub basic: Option<Basic>,
    /// The secret a Grafana contact point signs its bodies with.
    pub hmac: Option<Secret>,
    /// Labels added to each alert that does not have them; `cluster` selects an entry of `clusters`.
    pub labels: BTreeMap<String, String>,
    /// The name of our receiver in Alertmanager: alerts routed to it that never came are taken in.
    pub receiver: String,
    /// All instances, asked each minute: silences, missed alerts, lost resolves. None: they are never asked.
    pub alertmanagers: Vec<Url>,
    /// What makes two alerts the same.
    pub identity: Identity,
    /// An alert that always fires; when it stays away, the alerting itself is broken. None: nobody notices that.
    pub heartbeat: Option<Heartbeat>,
}

/// A user and a password.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Basic {
    /// The user's name.
    pub user: String,
    /// The password.
    pub password: Secret,
}

/// What makes two alerts the same.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Identity {
    /// Labels that do not distinguish alerts, such as the `replica` of a Prometheus pair.
    pub ignore: Vec<String>,
}

/// A watchdog alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Heartbeat {
    /// Matchers that must all hold: `['alertname="Watchdog"']`.
    pub r#match: Vec<String>,
    /// How often it arrives; at least 10s.
    #[serde(default = "every")]
    pub every: Duration,
    /// How many may be missed before a P1 opens; 1 to 100.
    #[serde(default = "miss")]
    pub miss: u32,
}

fn every() -> Duration {
    Duration::from_mins(5)
}

fn miss() -> u32 {
    3
}

impl Default for Source {
    fn default() -> Self {
        Self {
            token: None,
            basic: None,
            hmac: None,
            labels: BTreeMap::new(),
            receiver: "paramedic".to_owned(),
            alertmanagers: Vec::new(),
            identity: Identity::default(),
            heartbeat: None,
        }
    }
}

impl Source {
    /// True when a request needs no credential.
    pub fn is_open(&self) -> bool {
        self.token.is_none() && self.basic.is_none() && self.hmac.is_none()
    }

    pub(super) fn validate(&self, name: &str, problems: &mut Problems) {
        let key = format!("sources.{name}");
        if !is_name(name) {
            problems.name("sources", name);
        }
        let credentials = [self.token.is_some(), self.basic.is_some(), self.hmac.is_some()]
            .iter()
            .filter(|c| **c)
            .count();
        if credentials > 1 {
            problems.add(&key, "has more than one of `token`, `basic` and `hmac`; keep one");
        }
        if self
            .basic
            .as_ref()
            .is_some_and(|basic| basic.user.is_empty() || basic.user.contains(':'))
        {
            problems.add(format!("{key}.basic.user"), "must not be empty or hold a colon");
        }
        for label in self.labels.keys().chain(&self.identity.ignore).filter(|l| !is_label(l)) {
            problems.add(&key, format!("`{}` is not a label name", label.escape_debug()));
        }
        if let Some(heartbeat) = &self.heartbeat {
            if heartbeat.r#match.is_empty() {
                problems.add(
                    format!("{key}.heartbeat.match"),
                    "needs at least one matcher: 'alertname=\"Watchdog\"'",
                );
            }
            for matcher in &heartbeat.r#match {
                if let Err(reason) = Matcher::parse(matcher) {
                    problems.add(format!("{key}.heartbeat.match"), reason);
                }
            }
            if heartbeat.every < Duration::from_secs(10) {
                problems.add(format!("{key}.heartbeat.every"), "must be at least 10s");
            }
            if !(1..=100).contains(&heartbeat.miss) {
                problems.add(format!("{key}.heartbeat.miss"), "must be 1 to 100");
            }
        }
    }
}
