//! `net.tls`: what certificate a server shows, and whether this machine trusts it.
//!
//! Every certificate is looked at, also an expired, self-made or foreign one: which of these it is, is the answer.

use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;

use super::{
    dns::HostName,
    tcp::{self, HostPort},
};
use crate::{
    clients::{
        self,
        http::Trust,
        one_line,
        tls::{self, Certificate, Problem, Seen},
    },
    domain::{
        evidence::{Origin, Passage},
        template::Input,
    },
    steps::{Context, Effect, Failure, Need, Outcome, Step, span::Span},
};

/// Shakes hands with a TLS server and closes; nothing is sent. The address must be within `egress.allow`. Trust is judged
/// with the certificates of this machine, as for everything else the daemon calls.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// `host:port`, a template: `{{labels.instance}}`.
    pub address: Input<HostPort>,
    /// The name the certificate must have, when it is not the address's host.
    #[serde(default)]
    pub name: Option<Input<HostName>>,
    /// A certificate that ends sooner is not healthy; days, 0 to 365, default 14.
    #[serde(default)]
    pub min_days: MinDays,
    /// How long look-up, connect and handshake may take together, 100ms to 15s; default 5s.
    #[serde(default)]
    pub timeout: Option<Span<100, 15_000>>,
}

/// Number of days.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "i64")]
#[schemars(inline)]
pub struct MinDays(#[schemars(range(min = 0, max = 365))] i64);

impl Default for MinDays {
    fn default() -> Self {
        Self(14)
    }
}

impl TryFrom<i64> for MinDays {
    type Error = String;

    fn try_from(days: i64) -> Result<Self, String> {
        if (0..=365).contains(&days) {
            Ok(Self(days))
        } else {
            Err("`min_days` is 0 to 365".to_owned())
        }
    }
}

/// What was seen.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Probe {
    /// The address as asked for.
    pub address: String,
    /// True when the handshake ended, the certificate is trusted, and does not end within `min_days`.
    pub healthy: bool,
    /// `shaken` when the handshake ended; else `refused`, `timeout`, `unresolved`, `unreachable` or `broken`.
    pub state: String,
    /// `TLSv1.3` or `TLSv1.2`; empty without a handshake.
    pub protocol: String,
    /// What is wrong with the certificate.
    pub problems: Vec<Problem>,
    /// Days until the first certificate of the chain ends, rounded down; null without a certificate.
    pub days_left: Option<i64>,
    /// The server's certificate first, then its chain; at most 10.
    pub chain: Vec<Certificate>,
    /// How long it took, milliseconds.
    pub latency_ms: u64,
    /// Words for what is wrong; empty when nothing is.
    pub reason: String,
}

const TIMEOUT: Duration = Duration::from_secs(5);

impl Step for Tls {
    const KIND: &'static str = "net.tls";
    const EFFECT: Effect = Effect::Read;
    const NEEDS: &'static [Need] = &[];
    const EXAMPLE: &'static str = r#"address: "{{labels.instance}}"
name: minio.data.svc
min_days: 14"#;
    type Output = Probe;

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Probe>, Failure> {
        self.probe(context, Trust::Untrusted).await
    }
}

impl Tls {
    async fn probe(&self, context: &Context<'_>, trust: Trust) -> Result<Outcome<Probe>, Failure> {
        let target = self.address.fill(context.scope)?;
        let name = self.name.as_ref().map(|name| name.fill(context.scope)).transpose()?;
        let name = name.map_or_else(|| target.host().to_owned(), |name| name.0);
        let limit = self.timeout.map_or(TIMEOUT, Span::get);
        let start = context.clock.monotonic();
        let (state, seen) = within(limit, &target, &name, context, trust).await?;
        let took = context.clock.monotonic().saturating_sub(start);
        let latency_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let days_left = seen.days_left(context.clock.now());
        let soon = days_left.is_some_and(|days| days < self.min_days.0);
        let healthy = seen.broken.is_empty() && seen.problems.is_empty() && !soon;
        let Seen { protocol, chain, problems, reason, broken } = seen;
        let reason = if broken.is_empty() { reason } else { broken };
        let state = state.to_owned();
        let address = target.shown();
        let probe = Probe {
            address,
            healthy,
            state,
            protocol,
            problems,
            days_left,
            chain,
            latency_ms,
            reason,
        };
        Ok(outcome(probe, soon))
    }
}

/// The handshake, or that it took too long. Err only when the guard refuses every address, or nothing can be judged.
async fn within(
    limit: Duration,
    target: &HostPort,
    name: &str,
    context: &Context<'_>,
    trust: Trust,
) -> clients::Result<(&'static str, Seen)> {
    let shaking = async {
        match tcp::open(target, context, trust).await? {
            Ok(stream) => shake(stream, name, context.clock.now()).await,
            Err((state, broken)) => Ok((state.word(), Seen { broken, ..Seen::default() })),
        }
    };
    tokio::select! {
        biased;
        outcome = shaking => outcome,
        () = context.clock.sleep(limit) => {
            let broken = format!("no handshake within {} ms", limit.as_millis());
            Ok(("timeout", Seen { broken, ..Seen::default() }))
        }
    }
}

async fn shake(
    stream: TcpStream,
    name: &str,
    now: Timestamp,
) -> clients::Result<(&'static str, Seen)> {
    let seen = tls::inspect(stream, name, now).await;
    let seen = seen.map_err(|why| {
        clients::Error::new(
            clients::Kind::Refused,
            format!("look at the certificate of {name}"),
            why,
        )
    })?;
    Ok((if seen.broken.is_empty() { "shaken" } else { "broken" }, seen))
}

fn outcome(probe: Probe, soon: bool) -> Outcome<Probe> {
    let Probe { address, state, protocol, problems, days_left, latency_ms, reason, chain, .. } =
        &probe;
    let days = days_left.map_or_else(String::new, |days| match (days, soon) {
        (days, _) if days < 0 => format!(", certificate ended {} days ago", -days),
        (days, true) => format!(", certificate ends in {days} days, SOON"),
        (days, false) => format!(", certificate ends in {days} days"),
    });
    let head = format!("tls {address}");
    let text = if state != "shaken" {
        format!("{head}: {state}: {reason}{days}")
    } else if problems.is_empty() {
        format!("{head}: {protocol} trusted in {latency_ms} ms{days}")
    } else {
        let words: Vec<&str> = problems.iter().map(|problem| problem.word()).collect();
        format!("{head}: {protocol} {}{days}: {reason}", words.join(", "))
    };
    let mut lines = vec![text.clone()];
    for certificate in chain {
        let Certificate { subject, issuer, names, not_after, .. } = certificate;
        let names = one_line(&names.join(" "), 300);
        lines.push(format!(
            "{head} certificate: for {subject} ({names}), by {issuer}, until {not_after}"
        ));
    }
    let passages = lines.into_iter().map(|line| Passage::new(Origin::Probe, address, line));
    let passages = passages.collect();
    Outcome { value: probe, passages, summary: text }
}

#[cfg(test)]
mod tests;
