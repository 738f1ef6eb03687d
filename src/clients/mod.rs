//! Narrow clients of the outside world. They return domain types and one error type; they know nothing of playbooks.

pub mod alertmanager;
pub mod hive;
pub mod http;
pub mod kube;
pub mod prometheus;
pub mod spark;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

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
