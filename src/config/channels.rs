//! `channels:` and the sections of their kinds: where cards go.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    problem::{Problems, is_name},
    value::{Rate, Secret, Url},
};

/// A place that gets cards. Its name is what playbooks, policies and teams use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// Standard output of the daemon.
    Console,
    /// A Slack channel: `"#spark-oncall"` or its id.
    Slack(String),
    /// A Matrix room: `"#data:example.org"` or `"!id:example.org"`.
    Matrix(String),
    /// An address that gets signed JSON (Standard Webhooks).
    Webhook(Url),
}

/// The Slack app. Needed by channels and contacts of kind `slack`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Slack {
    /// The bot token, `xoxb-…`.
    pub token: Secret,
    /// The app's signing secret; without it buttons do not work.
    #[serde(default)]
    pub signing_secret: Option<Secret>,
    /// Another address of the Web API, with a `/` at its end: a proxy, a test. None: Slack's own.
    #[serde(default)]
    pub api_url: Option<Url>,
}

/// The Matrix account. Needed by channels and contacts of kind `matrix`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Matrix {
    /// The homeserver's client address.
    pub homeserver: Url,
    /// The access token of the bot's one device; keep the device, or repeats are no longer recognised.
    pub token: Secret,
    /// Send in clear text to rooms whose members expect encryption. Refused by default: it would leak.
    #[serde(default)]
    pub clear_text_in_encrypted_rooms: bool,
    /// Messages to one room, sustained: `1/s`. The default is what a homeserver allows that was not configured; beyond what
    /// yours allows it answers 429, and the message waits as long as it says.
    #[serde(default = "Matrix::rate")]
    pub rate: Rate,
    /// Messages to one room at once, at least 1.
    #[serde(default = "Matrix::burst")]
    pub burst: u32,
}

impl Matrix {
    fn rate() -> Rate {
        Rate::per_minute(12)
    }

    fn burst() -> u32 {
        10
    }

    pub(super) fn validate(&self, problems: &mut Problems) {
        if self.burst == 0 {
            problems.add("matrix.burst", "must be at least 1");
        }
    }
}

/// Signing of webhook channels. Needed by channels and contacts of kind `webhook`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// The key receivers check, `whsec_…`.
    pub secret: Secret,
}

impl Channel {
    /// Its kind, as in `contacts` of a person.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Console => "console",
            Self::Slack(_) => "slack",
            Self::Matrix(_) => "matrix",
            Self::Webhook(_) => "webhook",
        }
    }

    /// Where it is on the other side; empty for the console.
    pub fn address(&self) -> &str {
        match self {
            Self::Console => "",
            Self::Slack(address) | Self::Matrix(address) => address,
            Self::Webhook(url) => url.as_str(),
        }
    }

    pub(super) fn validate(&self, name: &str, kinds: &[&str], problems: &mut Problems) {
        let key = format!("channels.{name}");
        if !is_name(name) {
            problems.name("channels", name);
        }
        if !kinds.contains(&self.kind()) {
            let kind = self.kind();
            problems.add(&key, format!("is a {kind} channel, but there is no `{kind}:` section"));
        }
        let fits = |address: &str, starts: [char; 2]| {
            let rest = address.strip_prefix(starts).unwrap_or("");
            !rest.is_empty() && !rest.chars().any(|c| c.is_control() || c.is_whitespace())
        };
        match self {
            Self::Slack(address) if !fits(address, ['#', 'C']) && !fits(address, ['G', 'D']) => {
                problems
                    .add(key, "must name a Slack channel: \"#spark-oncall\" or its id, C024BE91L");
            }
            Self::Matrix(room) if !fits(room, ['#', '!']) => {
                problems.add(
                    key,
                    "must name a Matrix room: \"#data:example.org\" or \"!id:example.org\"",
                );
            }
            Self::Console | Self::Slack(_) | Self::Matrix(_) | Self::Webhook(_) => {}
        }
    }
}
