//! `server:` where the daemon listens, and who may use it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    problem::{Problems, is_name},
    value::{Listen, Secret, Url},
};

/// Where the daemon listens, and who may use its UI and API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Address and port of the UI, the API and the alert intake. Beyond this machine only when every source has a
    /// credential.
    pub listen: Listen,
    /// The address people reach it by; links in cards and pages start with it. Default: `http://` and the listen address.
    pub public_url: Option<Url>,
    /// Who may use the UI and the API, by name. None on a loopback address: everybody is `responder`. None elsewhere: nobody
    /// may.
    pub tokens: BTreeMap<String, Token>,
}

/// A person or a program with access to the UI and the API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// The bearer token.
    pub secret: Secret,
    /// What it may do.
    pub role: Role,
}

/// What somebody may do; each role includes the ones before it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look.
    Viewer,
    /// Acknowledge, snooze, silence, resolve, note.
    Responder,
    /// Everything.
    Admin,
}

impl Default for Server {
    fn default() -> Self {
        Self { listen: Listen::loopback(9095), public_url: None, tokens: BTreeMap::new() }
    }
}

impl Server {
    /// The start of every link, without a slash at its end.
    pub fn link_base(&self) -> String {
        self.public_url.as_ref().map_or_else(|| format!("http://{}", self.listen), Url::to_string)
    }

    pub(super) fn validate(&self, problems: &mut Problems) {
        for name in self.tokens.keys().filter(|name| !is_name(name)) {
            problems.name("server.tokens", name);
        }
    }
}
