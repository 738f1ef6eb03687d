//! `store:` where incidents are kept.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    problem::Problems,
    value::{ByteSize, Duration, Secret},
};

/// Where incidents are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// `sqlite:<file>` for one replica, `postgres://user@host:port/database` for several. Default: `paramedic.db` in
    /// `$STATE_DIRECTORY`, else in `./data`. PostgreSQL over a network: add `?sslmode=verify-full`, and
    /// `&sslrootcert=<file>` for a private authority; without, the connection is encrypted if the server offers it, and the
    /// server is not verified.
    pub url: String,
    /// The password of the PostgreSQL user.
    pub password: Option<Secret>,
    /// Connections to PostgreSQL, at most, per replica; 2 to 100. One more listens for the work of other replicas.
    pub connections: u32,
    /// Longest wait for a connection to PostgreSQL; 100ms to 1m. Beyond it a webhook gets 503.
    pub acquire_timeout: Duration,
    /// Longest statement on PostgreSQL, waiting for locks included; 1s to 5m. A transaction may take three times as long.
    pub statement_timeout: Duration,
    /// Most that it may hold; at least 16MiB. Beyond it the evidence of incidents that are over is deleted, the longest resolved
    /// first; when that is not enough, webhooks get 503 and people are paged. What counts is the rows: the files may be larger
    /// by what was deleted and is used again. None: no limit.
    pub max_size: Option<ByteSize>,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            url: String::new(),
            password: None,
            connections: 10,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(10),
            max_size: None,
        }
    }
}

impl Store {
    /// Fills in the default place.
    pub(super) fn locate(&mut self, state_directory: Option<&str>) {
        if self.url.is_empty() {
            // systemd separates several directories by colons.
            let first = state_directory.and_then(|all| all.split(':').next());
            let folder = first.filter(|folder| !folder.is_empty()).unwrap_or("data");
            self.url = format!("sqlite:{}", Path::new(folder).join("paramedic.db").display());
        }
    }

    pub(super) fn validate(&self, problems: &mut Problems) {
        let postgres =
            self.url.strip_prefix("postgres://").or_else(|| self.url.strip_prefix("postgresql://"));
        match (postgres, self.url.strip_prefix("sqlite:")) {
            (Some(rest), _) => {
                let user = rest.split(['/', '?']).next().unwrap_or("").rsplit_once('@');
                if user.is_some_and(|(user, _)| user.contains(':')) || rest.contains("password=") {
                    problems.add(
                        "store.url",
                        "must not hold a password; write `store.password: { file: … }` or `{ env: … }`",
                    );
                }
            }
            (None, Some(file)) if !file.is_empty() => {
                if self.password.is_some() {
                    problems.add("store.password", "is for PostgreSQL; SQLite has none");
                }
            }
            // The simulated store of tests.
            (None, _) if cfg!(feature = "simulation") && self.url.starts_with("sim:") => {}
            (None, _) => {
                problems.add("store.url", "must be sqlite:<file> or postgres://user@host/database");
            }
        }
        if self.max_size.is_some_and(|size| size < ByteSize::new(16 << 20)) {
            problems.add("store.max_size", "must be at least 16MiB");
        }
        if !(2..=100).contains(&self.connections) {
            problems.add("store.connections", "must be 2 to 100");
        }
        let (least, most) = (std::time::Duration::from_millis(100), Duration::from_mins(1).get());
        if !(least..=most).contains(&self.acquire_timeout.get()) {
            problems.add("store.acquire_timeout", "must be 100ms to 1m");
        }
        let (least, most) = (Duration::from_secs(1).get(), Duration::from_mins(5).get());
        if !(least..=most).contains(&self.statement_timeout.get()) {
            problems.add("store.statement_timeout", "must be 1s to 5m");
        }
    }
}
