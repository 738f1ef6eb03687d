//! `net.tcp`: whether something accepts connections at an address.
//!
//! The name is resolved once, every address is shown to the egress guard, and the connection goes to a checked address:
//! a second look-up could answer differently.

use std::{io, net::SocketAddr, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;

use crate::{
    clients::{self, http::Trust},
    domain::{
        evidence::{Origin, Passage},
        template::{Filled, Input},
    },
    steps::{Context, Effect, Failure, Need, Outcome, Step, span::Span},
};

/// Opens one TCP connection and closes it at once. The address must be within `egress.allow`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tcp {
    /// `host:port`, a template: `{{labels.instance}}`.
    pub address: Input<HostPort>,
    /// How long look-up and connect may take together, 100ms to 15s; default 5s.
    #[serde(default)]
    pub timeout: Option<Span<100, 15_000>>,
}

/// What happened.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Probe {
    /// The address as asked for.
    pub address: String,
    /// True when a connection was made.
    pub open: bool,
    /// `open`, `refused`, `timeout`, `unresolved` or `unreachable`.
    pub state: State,
    /// How long it took, milliseconds.
    pub latency_ms: u64,
    /// The system's words for a failure; empty when open.
    pub reason: String,
}

/// How a connection attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Accepted.
    Open,
    /// Nothing listens there.
    Refused,
    /// No answer in time.
    Timeout,
    /// The name has no address.
    Unresolved,
    /// Another network error.
    Unreachable,
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    host: String,
    port: u16,
}

const TIMEOUT: Duration = Duration::from_secs(5);

impl Step for Tcp {
    const KIND: &'static str = "net.tcp";
    const EFFECT: Effect = Effect::Read;
    const NEEDS: &'static [Need] = &[];
    const EXAMPLE: &'static str = r#"address: "{{labels.instance}}"
timeout: 3s"#;
    type Output = Probe;

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Probe>, Failure> {
        self.probe(context, Trust::Untrusted).await
    }
}

impl Tcp {
    async fn probe(&self, context: &Context<'_>, trust: Trust) -> Result<Outcome<Probe>, Failure> {
        let target = self.address.fill(context.scope)?;
        let limit = self.timeout.map_or(TIMEOUT, Span::get);
        let start = context.clock.monotonic();
        let (state, reason) = within(limit, &target, context, trust).await?;
        let took = context.clock.monotonic().saturating_sub(start);
        let latency_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);

        let address = target.shown();
        let text = match state {
            State::Open => format!("tcp {address}: open in {latency_ms} ms"),
            State::Refused => format!("tcp {address}: refused"),
            State::Timeout => format!("tcp {address}: timeout: {reason}"),
            State::Unresolved => format!("tcp {address}: unresolved: {reason}"),
            State::Unreachable => format!("tcp {address}: unreachable: {reason}"),
        };
        let passages = vec![Passage::new(Origin::Probe, &address, text.clone())];
        let open = state == State::Open;
        let value = Probe { address, open, state, latency_ms, reason };
        Ok(Outcome { value, passages, summary: text })
    }
}

async fn within(
    limit: Duration,
    target: &HostPort,
    context: &Context<'_>,
    trust: Trust,
) -> clients::Result<(State, String)> {
    tokio::select! {
        biased;
        outcome = attempt(target, context, trust) => outcome,
        () = context.clock.sleep(limit) => {
            Ok((State::Timeout, format!("no connection within {} ms", limit.as_millis())))
        }
    }
}

/// Whether a connection can be made. Err only when the guard refuses every address.
async fn attempt(
    target: &HostPort,
    context: &Context<'_>,
    trust: Trust,
) -> clients::Result<(State, String)> {
    Ok(match open(target, context, trust).await? {
        Ok(_) => (State::Open, String::new()),
        Err(failure) => failure,
    })
}

/// Resolves, checks, connects: the connection, or how it failed. Err only when the guard refuses every address.
pub(super) async fn open(
    target: &HostPort,
    context: &Context<'_>,
    trust: Trust,
) -> clients::Result<Result<TcpStream, (State, String)>> {
    let operation = format!("connect to {}", target.shown());
    let found = match tokio::net::lookup_host((target.host.as_str(), target.port)).await {
        Ok(found) => found,
        Err(error) => return Ok(Err((State::Unresolved, error.to_string()))),
    };
    let mut denied = None;
    let mut allowed: Vec<SocketAddr> = vec![];
    for address in found {
        match (trust, context.http.check_address(address.ip(), &operation)) {
            (Trust::Configured, _) | (Trust::Untrusted, Ok(())) => allowed.push(address),
            (Trust::Untrusted, Err(why)) => denied = Some(why),
        }
    }
    if let (true, Some(why)) = (allowed.is_empty(), denied) {
        return Err(why);
    }
    Ok(TcpStream::connect(allowed.as_slice()).await.map_err(|error| {
        let state = match error.kind() {
            io::ErrorKind::ConnectionRefused => State::Refused,
            io::ErrorKind::TimedOut => State::Timeout,
            _ => State::Unreachable,
        };
        (state, error.to_string())
    }))
}

impl State {
    /// Its word.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Unresolved => "unresolved",
            Self::Unreachable => "unreachable",
        }
    }
}

impl HostPort {
    /// The host, an IPv6 address without brackets.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// As it was written.
    pub(super) fn shown(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl Filled for HostPort {
    const WHAT: &'static str = "host:port";

    fn parse(text: &str) -> Result<Self, String> {
        let shown: String = text.chars().take(80).collect();
        let bad = || format!("`{}` is not host:port", shown.escape_debug());
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let port: u16 = port.parse().map_err(|_| bad())?;
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if host.is_empty() || host.len() > 253 || port == 0 || !host.chars().all(usable) {
            return Err(bad());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::bench::Bench, *};
    use crate::{clients::Kind, domain::template::Scope};

    async fn probe(address: &str) -> Outcome<Probe> {
        let step = Tcp { address: address.into(), timeout: None };
        step.probe(&Bench::new().context(), Trust::Configured).await.unwrap()
    }

    #[tokio::test]
    async fn an_open_and_a_refused_port_are_told_apart() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let open = probe(&address).await;
        assert_eq!((open.value.state, open.value.open), (State::Open, true));
        assert!(open.summary.starts_with(&format!("tcp {address}: open in ")), "{}", open.summary);
        drop(listener);
        let refused = probe(&address).await;
        assert_eq!((refused.value.state, refused.value.open), (State::Refused, false));
        assert_eq!(refused.passages[0].text, format!("tcp {address}: refused"));
    }

    #[tokio::test]
    async fn a_name_without_an_address_is_a_finding() {
        let outcome = probe("no-such-host.invalid:80").await;
        assert_eq!(outcome.value.state, State::Unresolved);
        assert!(outcome.summary.starts_with("tcp no-such-host.invalid:80: unresolved: "));
    }

    #[tokio::test]
    async fn an_address_the_guard_does_not_allow_fails_the_step() {
        let bench = Bench::new();
        for address in ["127.0.0.1:22", "169.254.169.254:80", "[::1]:22", "localhost:22"] {
            let step = Tcp { address: address.into(), timeout: None };
            let Failure::Client(error) = step.run(&bench.context()).await.unwrap_err() else {
                panic!("{address} is denied, not skipped")
            };
            assert_eq!(error.kind, Kind::Denied, "{address}");
        }
    }

    #[tokio::test]
    async fn a_hostile_label_skips_the_step() {
        let mut bench = Bench::new();
        let step = Tcp { address: "{{labels.instance}}".into(), timeout: None };
        let long = format!("{}:1", "x".repeat(65_536));
        for bad in ["", ":", "host", "host:0", "a b:1", "a\0:1", "u@h:1", "h:1/x", &long] {
            bench.scope = Scope::default().with("labels", json!({ "instance": bad }));
            let failure = step.run(&bench.context()).await.unwrap_err();
            assert!(matches!(failure, Failure::Skipped(_)), "{bad:?}: {failure}");
        }
    }
}
