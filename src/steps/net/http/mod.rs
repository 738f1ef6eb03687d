//! `net.http`: one request to an address, and whether the answer was the expected one.

use std::time::Duration;

use regex::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    clients::{
        Kind,
        http::{Method as HttpMethod, Request, Response, Trust, Url},
    },
    domain::{
        evidence::{Origin, Passage},
        template::{Filled, Input},
    },
    steps::{Context, Effect, Failure, Need, Outcome, Step, span::Span},
};

/// Sends one request and says what came back. The address must be within `egress.allow`. Redirects are not followed: a
/// redirect is an answer.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// The address, a template: `http://{{labels.instance}}/health`. No user, no password.
    pub url: Input<Address>,
    /// `GET` or `HEAD`; default `GET`.
    #[serde(default)]
    pub method: Method,
    /// The status that is expected, 100 to 599; default any from 200 to 399.
    #[serde(default)]
    #[schemars(range(min = 100, max = 599))]
    pub expect_status: Option<u16>,
    /// A regular expression that must match somewhere in the first 64 KiB of the body.
    #[serde(default)]
    pub expect_body: Option<Pattern>,
    /// How long everything may take, 100ms to 15s; default 5s.
    #[serde(default)]
    pub timeout: Option<Span<100, 15_000>>,
}

/// A request's method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// With the body.
    #[default]
    Get,
    /// Headers only.
    Head,
}

/// What came back.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Probe {
    /// The address, without its query.
    pub url: String,
    /// True when the answer was the expected one.
    pub healthy: bool,
    /// The status; null when there was no answer.
    pub status: Option<u16>,
    /// How long it took, milliseconds.
    pub latency_ms: u64,
    /// What was wrong; empty when healthy.
    pub reason: String,
}

/// An `http` or `https` address without credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(Url);

/// A regular expression, checked when the playbook is loaded.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

const TIMEOUT: Duration = Duration::from_secs(5);
/// How much of the body is searched.
const MAX_BODY: usize = 64 * 1024;
/// Longest pattern, bytes, and the most memory its program may take.
const MAX_PATTERN: usize = 1024;
const MAX_PROGRAM: usize = 1024 * 1024;

impl Step for Http {
    const KIND: &'static str = "net.http";
    const EFFECT: Effect = Effect::Read;
    const NEEDS: &'static [Need] = &[];
    const EXAMPLE: &'static str = r#"url: "http://{{labels.instance}}/health"
expect_status: 200
expect_body: '"status":\s*"ok"'
timeout: 5s"#;
    type Output = Probe;

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Probe>, Failure> {
        self.probe(context, Trust::Untrusted).await
    }
}

impl Http {
    async fn probe(&self, context: &Context<'_>, trust: Trust) -> Result<Outcome<Probe>, Failure> {
        let Address(url) = self.url.fill(context.scope)?;
        let (method, word) = match self.method {
            Method::Get => (HttpMethod::GET, "GET"),
            Method::Head => (HttpMethod::HEAD, "HEAD"),
        };
        let shown = shown(&url);
        let request = Request::new(method, url, format!("{word} {shown}"))
            .timeout(self.timeout.map_or(TIMEOUT, Span::get))
            .max_bytes(MAX_BODY)
            .trust(trust);
        let start = context.clock.monotonic();
        let answer = context.http.send(request).await;
        let took = context.clock.monotonic().saturating_sub(start);
        let latency_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);

        let (status, reason, told) = match answer {
            Ok(response) => {
                let reason = self.unexpected(&response).unwrap_or_default();
                let status = response.status;
                let told = format!("{status} in {latency_ms} ms");
                let told = if reason.is_empty() { told } else { format!("{told} ({reason})") };
                (Some(status), reason, told)
            }
            Err(error) => match error.kind {
                Kind::Unreachable | Kind::Timeout | Kind::Malformed => {
                    let reason = format!("{}: {}", error.kind.label(), error.reason);
                    let told = format!("failed after {latency_ms} ms: {reason}");
                    (None, reason, told)
                }
                Kind::Denied | Kind::NotFound | Kind::Throttled { .. } | Kind::Refused => {
                    return Err(error.into());
                }
            },
        };
        let text = format!("{word} {shown}: {told}");
        let value =
            Probe { url: shown.clone(), healthy: reason.is_empty(), status, latency_ms, reason };
        let passages = vec![Passage::new(Origin::Probe, shown, text.clone())];
        Ok(Outcome { value, passages, summary: text })
    }

    /// What is wrong with an answer.
    fn unexpected(&self, response: &Response) -> Option<String> {
        let fits = match self.expect_status {
            Some(expected) if response.status != expected => {
                return Some(format!("expected {expected}"));
            }
            Some(_) => true,
            None => (200..400).contains(&response.status),
        };
        if !fits {
            return Some("expected 200 to 399".to_owned());
        }
        let Pattern(pattern) = self.expect_body.as_ref()?;
        let body = String::from_utf8_lossy(&response.body);
        (!pattern.is_match(&body)).then(|| format!("the body does not match `{pattern}`"))
    }
}

/// An address for people: queries carry tokens.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

impl Filled for Address {
    const WHAT: &'static str = "an http or https address";

    fn parse(text: &str) -> Result<Self, String> {
        let shown: String = text.chars().take(80).collect();
        let bad = |why: &str| format!("`{}` {why}", shown.escape_debug());
        if text.len() > 2048 || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(bad("is too long for an address, or has white space in it"));
        }
        // `http:///health`, a host that came out empty, would otherwise mean the host `health`.
        if text.contains(":///") {
            return Err(bad("names no host"));
        }
        let url: Url = text.parse().map_err(|error| bad(&format!("is no address: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad("does not start with http:// or https://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("the address has a user or password in it; remove them".to_owned());
        }
        Ok(Self(url))
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.len() > MAX_PATTERN {
            let why = format!("this pattern is {} bytes long; at most {MAX_PATTERN}", text.len());
            return Err(de::Error::custom(why));
        }
        let built = RegexBuilder::new(&text).size_limit(MAX_PROGRAM).build();
        built.map(Self).map_err(de::Error::custom)
    }
}

impl JsonSchema for Pattern {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Pattern".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "regex", "maxLength": MAX_PATTERN })
    }
}

#[cfg(test)]
mod tests;
