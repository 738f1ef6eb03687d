//! Narrow clients of the outside world. They return domain types and one error type; they know nothing of playbooks.

pub mod alertmanager;
pub mod hive;
pub mod http;
pub mod kube;
pub mod loki;
pub mod postgres;
pub mod prometheus;
pub mod s3;
pub mod spark;
pub mod tls;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, LazyLock},
    time::Duration,
};

use regex::Regex;

/// An enum whose variants have one word each, the same in output, text and documentation.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident => $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$variant_doc])* $variant),* }

        impl $name {
            /// The word for it, the same everywhere.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }
    };
}
use words;

/// Somebody's words on one line, without control characters, at most `limit` characters.
pub fn one_line(text: &str, limit: usize) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let mut line = String::new();
    for word in words.filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        // Enough to know that it is too long; a hostile text may have megabytes.
        if line.len() > limit.saturating_mul(8) {
            break;
        }
    }
    match line.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// A log's text as a person reads it and a pattern matches it: no terminal sequences, no control characters but line ends
/// and tabs.
pub fn readable(text: &str) -> String {
    static COLOUR: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new("\u{1b}\\[[0-9;?]*[A-Za-z]").ok());
    let text = COLOUR.as_ref().map_or(text.into(), |colour| colour.replace_all(text, ""));
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

/// What kind of failure this is; it alone decides retry, breaker and metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No connection: DNS, refused, reset, TLS.
    Unreachable,
    /// Connected, but no complete answer in time.
    Timeout,
    /// 401 or 403, or refused by our own egress guard.
    Denied,
    /// It does not exist.
    NotFound,
    /// Asked to slow down.
    Throttled {
        /// How long to wait, when the other side said so.
        after: Option<Duration>,
    },
    /// An answer we cannot read.
    Malformed,
    /// The other side understood and said no, or failed (4xx, 5xx).
    Refused,
}

impl Kind {
    /// True when the same call may succeed a little later.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Unreachable | Self::Timeout | Self::Throttled { .. })
    }

    /// The metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Denied => "denied",
            Self::NotFound => "not_found",
            Self::Throttled { .. } => "throttled",
            Self::Malformed => "malformed",
            Self::Refused => "refused",
        }
    }
}

/// A failed call: the operation with its operands, and why. Never holds a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What kind.
    pub kind: Kind,
    /// What was attempted: `read the log of pod spark-prod/etl-driver`.
    pub operation: String,
    /// What happened: `connection refused`.
    pub reason: String,
}

impl Error {
    /// A failed operation.
    pub fn new(kind: Kind, operation: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { kind, operation: operation.into(), reason: reason.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not {}: {}", self.operation, self.reason)
    }
}

impl std::error::Error for Error {}

/// What every client returns.
pub type Result<T> = std::result::Result<T, Error>;

/// The clients of one configured cluster; `None` where nothing is configured.
#[derive(Clone)]
pub struct Cluster {
    /// Its key in the configuration; also the value of the `cluster` label that selects it.
    pub name: String,
    /// The Kubernetes API.
    pub kube: Option<kube::Client>,
    /// Spark's REST API, wherever a driver or History Server answers it.
    pub spark: spark::Client,
    /// Prometheus.
    pub prometheus: Option<prometheus::Client>,
    /// Metastores by name.
    pub metastores: BTreeMap<String, hive::Client>,
    /// The database of a metastore, as its name in `databases`.
    pub metastore_databases: BTreeMap<String, String>,
    /// Databases by name.
    pub databases: BTreeMap<String, postgres::Client>,
    /// Buckets by name.
    pub buckets: BTreeMap<String, s3::Client>,
    /// Loki.
    pub loki: Option<loki::Client>,
}

impl Cluster {
    /// A cluster of which nothing but Spark's REST API can be asked.
    pub fn new(name: impl Into<String>, spark: spark::Client) -> Self {
        Self {
            name: name.into(),
            kube: None,
            spark,
            prometheus: None,
            metastores: BTreeMap::new(),
            metastore_databases: BTreeMap::new(),
            databases: BTreeMap::new(),
            buckets: BTreeMap::new(),
            loki: None,
        }
    }
}

/// All configured clusters.
#[derive(Clone, Default)]
pub struct Clusters {
    by_name: BTreeMap<String, Arc<Cluster>>,
}

impl Clusters {
    /// From the configured ones.
    pub fn new(clusters: impl IntoIterator<Item = Cluster>) -> Self {
        Self { by_name: clusters.into_iter().map(|c| (c.name.clone(), Arc::new(c))).collect() }
    }

    /// The cluster of an alert: by its `cluster` label; without a label, the only one there is.
    pub fn for_label(&self, label: &str) -> Option<&Arc<Cluster>> {
        match (label, self.by_name.len()) {
            ("", 1) => self.by_name.values().next(),
            ("", _) => self.by_name.get("default"),
            (name, _) => self.by_name.get(name),
        }
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Cluster>> {
        self.by_name.values()
    }
}
