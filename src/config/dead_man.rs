//! `dead_man:` who notices when this daemon does not run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    problem::Problems,
    value::{Duration, Url},
};

/// A ping to a checker outside of everything that Paramedic depends on, which alarms when it stays away. It leaves only after
/// a write to the store, and while webhooks are applied and no page waits overdue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadMan {
    /// Gets a `GET`; any 2xx is an answer. It is never logged: whoever knows it can ping in our place.
    pub url: Url,
    /// How often; 30s to 1h. Let the checker wait for two of them.
    #[serde(default = "every")]
    pub every: Duration,
}

fn every() -> Duration {
    Duration::from_mins(1)
}

impl DeadMan {
    pub(super) fn validate(&self, problems: &mut Problems) {
        if !(Duration::from_secs(30)..=Duration::from_mins(60)).contains(&self.every) {
            problems.add("dead_man.every", "must be 30s to 1h");
        }
    }
}
