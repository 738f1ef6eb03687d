//! `recorder:`, `egress:` and `log:`: what the daemon keeps, reaches and says.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    problem::Problems,
    value::{ByteSize, Duration, Network},
};

/// Evidence of pods that will be gone when it is needed: the status, exit codes, events and last log lines of the pods of
/// every cluster with Kubernetes access.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Recorder {
    /// Whose logs are followed.
    pub follow: Follow,
    /// Logs followed at once, per cluster; 0 to 5000. A log that is not followed is read once when its container ends badly
    /// or its pod is being deleted.
    pub max_streams: u32,
    /// Namespaces that are watched, at most 50. None: all of them, which needs the permission for the whole cluster.
    pub namespaces: Vec<String>,
    /// Label selectors of more pods to record, besides Spark's drivers and executors, at most 10: `app=hive-metastore`.
    pub selectors: Vec<String>,
    /// Evidence is kept for this long; at least 1h.
    pub keep: Duration,
    /// At most this much evidence in the store; the oldest goes first. At least 16MiB.
    pub max_bytes: ByteSize,
    /// At most this much evidence in memory, per cluster; what is stored already goes first. At least 4MiB.
    pub max_memory: ByteSize,
}

/// Whose logs are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Follow {
    /// Nobody's.
    None,
    /// Those of Spark drivers.
    Drivers,
    /// Those of pods that failed and run again.
    Failing,
    /// Those of every recorded pod.
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
            namespaces: vec![],
            selectors: vec![],
            max_memory: ByteSize::new(64 << 20),
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
        if self.max_memory < ByteSize::new(4 << 20) {
            problems.add("recorder.max_memory", "must be at least 4MiB");
        }
        if self.namespaces.len() > 50 {
            problems.add("recorder.namespaces", "names more than 50; leave it empty to watch all");
        }
        let name = |text: &str| {
            let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            (1..=63).contains(&text.len()) && text.bytes().all(inner)
        };
        if let Some(bad) = self.namespaces.iter().find(|namespace| !name(namespace)) {
            let shown: String = bad.chars().take(63).collect();
            let shown = shown.escape_debug();
            problems
                .add("recorder.namespaces", format!("`{shown}` is not the name of a namespace"));
        }
        if self.selectors.len() > 10 {
            problems.add("recorder.selectors", "has more than 10 selectors");
        }
        let selects = |text: &str| {
            let fine = |b: u8| b.is_ascii_alphanumeric() || b"-_./=!(), ".contains(&b);
            !text.trim().is_empty() && text.len() <= 500 && text.bytes().all(fine)
        };
        if self.selectors.iter().any(|selector| !selects(selector)) {
            let hint =
                "has one that is no label selector; write `app=hive-metastore` or `app in (a,b)`";
            problems.add("recorder.selectors", hint);
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
