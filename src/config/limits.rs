//! `recorder:`, `egress:` and `log:`: what the daemon keeps, reaches and says.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    problem::Problems,
    value::{ByteSize, Duration, Network},
};

/// Evidence of pods that will be gone when it is needed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Recorder {
    /// Whose logs are followed.
    pub follow: Follow,
    /// Logs followed at once, per cluster; 0 to 5000.
    pub max_streams: u32,
    /// Evidence is kept for this long.
    pub keep: Duration,
    /// At most this much evidence; the oldest of resolved incidents goes first.
    pub max_bytes: ByteSize,
}

/// Whose logs are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Follow {
    /// Nobody's; pod states and events are recorded all the same.
    None,
    /// Spark drivers.
    Drivers,
    /// Spark drivers and executors.
    All,
}

/// Which networks steps may reach at addresses that come from playbooks or alerts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Egress {
    /// Networks. The configured services can always be reached; link-local addresses, the cloud's metadata service and
    /// loopback never.
    pub allow: Vec<Network>,
}

/// Log output, on standard error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug` or `trace`, with exceptions per module: `info,paramedic::engine=debug`.
    pub level: String,
    /// How lines look.
    pub format: Format,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// `text` on a terminal, `json` elsewhere.
    #[default]
    Auto,
    /// For people.
    Text,
    /// One object a line.
    Json,
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            follow: Follow::Drivers,
            max_streams: 200,
            keep: Duration::from_mins(7 * 24 * 60),
            max_bytes: ByteSize::new(2 << 30),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: Format::Auto }
    }
}

impl Recorder {
    pub(super) fn validate(&self, problems: &mut Problems) {
        if self.max_streams > 5000 {
            problems.add("recorder.max_streams", "must be at most 5000");
        }
        if self.keep < Duration::from_mins(60) {
            problems.add("recorder.keep", "must be at least 1h");
        }
        if self.max_bytes < ByteSize::new(16 << 20) {
            problems.add("recorder.max_bytes", "must be at least 16MiB");
        }
    }
}

impl Log {
    /// Whether lines are JSON; `None`: the terminal decides.
    pub fn json(&self) -> Option<bool> {
        match self.format {
            Format::Auto => None,
            Format::Text => Some(false),
            Format::Json => Some(true),
        }
    }

    pub(super) fn validate(&self, problems: &mut Problems) {
        if let Err(reason) = self.level.parse::<tracing_subscriber::filter::EnvFilter>() {
            problems.add(
                "log.level",
                format!("is not a log level: {reason}; write info or info,paramedic=debug"),
            );
        }
    }
}
