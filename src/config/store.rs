//! `store:` where incidents are kept.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{problem::Problems, value::Secret};

/// Where incidents are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// `sqlite:<file>` for one replica, `postgres://user@host/database` for several. Default: `paramedic.db` in
    /// `$STATE_DIRECTORY`, else in `./data`.
    pub url: String,
    /// The password of the PostgreSQL user.
    pub password: Option<Secret>,
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
            (None, _) => {
                problems.add("store.url", "must be sqlite:<file> or postgres://user@host/database");
            }
        }
    }
}
