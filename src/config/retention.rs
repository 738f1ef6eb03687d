//! `retention:` for how long what is over is kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{problem::Problems, value::Duration};

/// For how long what is over is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Incidents that were resolved longer ago than this are deleted, with timeline, alerts, evidence and messages; at least 1d.
    /// Open ones never are, nor storms with an open member.
    pub incidents: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self { incidents: Duration::from_mins(90 * 24 * 60) }
    }
}

impl Retention {
    pub(super) fn validate(&self, problems: &mut Problems) {
        if self.incidents < Duration::from_mins(24 * 60) {
            problems.add("retention.incidents", "must be at least 1d");
        }
    }
}
