//! `net.dns`: what a name resolves to, as the daemon itself resolves it.
//!
//! The system's resolver is asked, because everything else in the daemon asks it too: with its search domains, `/etc/hosts`
//! and cache. It does not tell a server that failed from servers that did not answer, and it shows no record types but
//! addresses: see docs/adr/0031.

use std::{io, net::IpAddr, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    clients::one_line,
    domain::{
        evidence::{Origin, Passage},
        template::{Filled, Input},
    },
    steps::{Context, Effect, Failure, Need, Outcome, Step, span::Span},
};

/// Looks up a name as the daemon does. Nothing is connected to, so `egress.allow` need not hold the addresses, and the output
/// says of each whether it does; but where it is empty, nothing is looked up either.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dns {
    /// The name, a template: `hms.data.svc`. Also `host:port`, whose port is dropped.
    pub name: Input<HostName>,
    /// Addresses that must be among the answer; others may be there too.
    #[serde(default)]
    pub expect: Vec<IpAddr>,
    /// How long the look-up may take, 100ms to 15s; default 5s.
    #[serde(default)]
    pub timeout: Option<Span<100, 15_000>>,
}

/// What came back.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Answer {
    /// The name as it was looked up.
    pub name: String,
    /// How it went.
    pub state: State,
    /// The addresses, at most 50, each once.
    pub addresses: Vec<Address>,
    /// Expected addresses that are not there.
    pub missing: Vec<String>,
    /// How long it took, milliseconds.
    pub latency_ms: u64,
    /// The resolver's words for a failure; empty when it resolved.
    pub reason: String,
}

/// An address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Address {
    /// The address.
    pub ip: String,
    /// True when steps of playbooks may reach it: it is within `egress.allow`.
    pub allowed: bool,
}

/// How a look-up went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It has addresses.
    Resolved,
    /// The servers say that there is no such name, or that it has no address (NXDOMAIN, or no data).
    NoSuchName,
    /// No server gave an answer that counts: they failed (SERVFAIL), refused, or did not answer the resolver.
    ServerFailed,
    /// The resolver did not come back in time.
    Timeout,
    /// Another error of the system.
    Failed,
}

/// A name that may be looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(pub String);

const TIMEOUT: Duration = Duration::from_secs(5);
/// Most addresses kept.
const MAX_ADDRESSES: usize = 50;

impl Filled for HostName {
    const WHAT: &'static str = "a host name";

    fn parse(text: &str) -> Result<Self, String> {
        let shown: String = text.chars().take(80).collect();
        let bad = || format!("`{}` is not a host name", shown.escape_debug());
        // A port is what the label `instance` has after the name.
        let name = match text.rsplit_once(':') {
            Some((host, port)) if port.parse::<u16>().is_ok() && !host.contains(':') => host,
            Some(_) | None => text,
        };
        let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if name.is_empty() || name.len() > 253 || !name.chars().all(usable) {
            return Err(bad());
        }
        Ok(Self(name.to_owned()))
    }
}

impl Step for Dns {
    const KIND: &'static str = "net.dns";
    const EFFECT: Effect = Effect::Read;
    const NEEDS: &'static [Need] = &[];
    const EXAMPLE: &'static str = "name: hms.data.svc\nexpect: [10.1.2.3]\ntimeout: 3s";
    type Output = Answer;

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Answer>, Failure> {
        let HostName(name) = self.name.fill(context.scope)?;
        context.http.check_name(&name, &format!("look up {name}"))?;
        let limit = self.timeout.map_or(TIMEOUT, Span::get);
        let start = context.clock.monotonic();
        let looked = tokio::select! {
            biased;
            found = tokio::net::lookup_host((name.as_str(), 0)) => {
                Some(found.map(|found| found.map(|address| address.ip()).collect::<Vec<_>>()))
            }
            () = context.clock.sleep(limit) => None,
        };
        let took = context.clock.monotonic().saturating_sub(start);
        let latency_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let (state, found, reason) = match looked {
            None => (State::Timeout, vec![], format!("no answer within {} ms", limit.as_millis())),
            Some(Err(error)) => (failed(&error), vec![], one_line(&error.to_string(), 200)),
            Some(Ok(mut found)) => {
                found.sort();
                found.dedup();
                found.truncate(MAX_ADDRESSES);
                let state = if found.is_empty() { State::NoSuchName } else { State::Resolved };
                (state, found, String::new())
            }
        };
        let missing = self.expect.iter().filter(|ip| !found.contains(ip));
        let missing: Vec<String> = missing.map(ToString::to_string).collect();
        let addresses = found.into_iter().map(|ip| Address {
            ip: ip.to_string(),
            allowed: context.http.check_address(ip, "look").is_ok(),
        });
        let addresses = addresses.collect();
        let answer = Answer { name, state, addresses, missing, latency_ms, reason };
        Ok(outcome(answer))
    }
}

/// What the system's words mean; `getaddrinfo` gives no number through Rust. glibc's words first, then musl's.
fn failed(error: &io::Error) -> State {
    let text = error.to_string();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(&["Temporary failure in name resolution", "Try again", "Non-recoverable failure"]) {
        State::ServerFailed
    } else if says(&[
        "Name or service not known",
        "No address associated",
        "Name does not resolve",
        "Name has no usable address",
    ]) {
        State::NoSuchName
    } else {
        State::Failed
    }
}

fn outcome(answer: Answer) -> Outcome<Answer> {
    let Answer { name, state, addresses, missing, latency_ms, reason } = &answer;
    let mut text = match state {
        State::Resolved => {
            let list: Vec<&str> = addresses.iter().map(|a| a.ip.as_str()).collect();
            format!("dns {name}: {} in {latency_ms} ms", list.join(", "))
        }
        State::NoSuchName => format!("dns {name}: no_such_name: {reason}"),
        State::ServerFailed => format!("dns {name}: server_failed: {reason}"),
        State::Timeout => format!("dns {name}: timeout: {reason}"),
        State::Failed => format!("dns {name}: failed: {reason}"),
    };
    if *state == State::Resolved && !missing.is_empty() {
        text = format!("{text}, MISSING {}", missing.join(", "));
    }
    let passages = vec![Passage::new(Origin::Probe, name, &text)];
    Outcome { value: answer, passages, summary: text }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::bench::Bench, *};
    use crate::domain::template::Scope;

    async fn look(step: Dns) -> Outcome<Answer> {
        step.run(&Bench::new().context()).await.unwrap()
    }

    #[tokio::test]
    async fn a_name_becomes_its_addresses_and_what_is_missing_is_said() {
        let expect = vec!["127.0.0.1".parse().unwrap(), "10.9.9.9".parse().unwrap()];
        let outcome = look(Dns { name: "localhost:8080".into(), expect, timeout: None }).await;
        assert_eq!(
            (outcome.value.name.as_str(), outcome.value.state),
            ("localhost", State::Resolved)
        );
        assert!(outcome.value.addresses.iter().any(|a| a.ip == "127.0.0.1" && !a.allowed));
        assert_eq!(outcome.value.missing, ["10.9.9.9"]);
        assert!(outcome.summary.ends_with(", MISSING 10.9.9.9"), "{}", outcome.summary);
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_is_a_finding() {
        let outcome =
            look(Dns { name: "no-such-host.invalid".into(), expect: vec![], timeout: None }).await;
        // Without any name server at all, as in a build without network, it is the server that failed.
        let fits = matches!(outcome.value.state, State::NoSuchName | State::ServerFailed);
        assert!(fits && outcome.value.addresses.is_empty(), "{:?}", outcome.value);
    }

    #[test]
    fn the_words_of_the_system_are_understood() {
        let state = |text: &str| {
            failed(&io::Error::other(format!("failed to lookup address information: {text}")))
        };
        assert_eq!(state("Name or service not known"), State::NoSuchName);
        assert_eq!(state("Name does not resolve"), State::NoSuchName);
        assert_eq!(state("Temporary failure in name resolution"), State::ServerFailed);
        assert_eq!(state("Try again"), State::ServerFailed);
        assert_eq!(state("System error"), State::Failed);
    }

    #[tokio::test]
    async fn a_hostile_label_skips_the_step() {
        let mut bench = Bench::new();
        let step = Dns { name: "{{labels.host}}".into(), expect: vec![], timeout: None };
        let long = "x".repeat(65_536);
        for bad in ["", "a b", "a\0", "u@h", "h/x", "a:b:1", ":1", &long] {
            bench.scope = Scope::default().with("labels", json!({ "host": bad }));
            let failure = step.run(&bench.context()).await.unwrap_err();
            assert!(matches!(failure, Failure::Skipped(_)), "{bad:?}: {failure}");
        }
    }
}
