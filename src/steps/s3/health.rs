//! `s3.health`: how a bucket is, layer by layer.
//!
//! A bucket that does not answer is a finding, not a failed step: the diagnosis is exactly what was asked for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{
    clients::s3::{Canary, Deadlines, Ladder, Rung, RungState},
    domain::{
        evidence::{Origin, Passage},
        template::{Filled, Input},
    },
    steps::{Context, Effect, Failure, Need, Outcome, Step, span::Span},
};

/// Climbs from DNS over TCP, TLS and MinIO's health pages to a signed HEAD and a list of one key, and says which layer does
/// not answer. It takes at most 17 seconds. With `canary` it also writes, reads and deletes a small object.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Health {
    /// A name under the cluster's `s3:`; by default the only one there, else `main`.
    pub bucket: Option<Input<String>>,
    /// Write, read and delete a small object whose key begins so, such as `ops/canary`. Its key is the same in every attempt
    /// of this step; a crash may leave it behind. Without it nothing is written.
    pub canary: Option<Input<CanaryKey>>,
    /// A rung that takes longer is called slow; default 2s.
    pub slow: Option<Span<1, 10_000>>,
}

/// The beginning of a key that the canary may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanaryKey(String);

/// What the climb found.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Found {
    /// The bucket's configured name.
    pub name: String,
    /// The bucket's own name.
    pub bucket: String,
    /// True when no rung failed.
    pub healthy: bool,
    /// `ok`, `slow`, or the kind of the first failed rung: `access_denied`, `clock_skew`, `storage_full`, …
    pub verdict: String,
    /// S3's code of the failure, such as `SlowDown`; empty when there was none.
    pub code: String,
    /// Days until the server's certificate ends; null without TLS.
    pub certificate_days: Option<i64>,
    /// How many seconds the server's clock is ahead of ours; null when it did not say.
    pub clock_skew_seconds: Option<i64>,
    /// The server has MinIO's health pages.
    pub minio: bool,
    /// The rungs that were tried.
    pub rungs: Vec<Rung>,
    /// All rungs together, milliseconds.
    pub total_ms: u64,
}

impl Filled for CanaryKey {
    const WHAT: &'static str = "the beginning of a key, such as ops/canary";

    fn parse(text: &str) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
        let odd = |part: &str| part.is_empty() || part == "." || part == "..";
        if text.len() > 200 || !text.chars().all(plain) || text.split('/').any(odd) {
            return Err("it is letters, digits, `-`, `_`, `.` and `/`, at most 200".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

impl Step for Health {
    const KIND: &'static str = "s3.health";
    const EFFECT: Effect = Effect::Idempotent;
    const NEEDS: &'static [Need] = &[];
    const EXAMPLE: &'static str = "bucket: lake\ncanary: ops/canary\nslow: 2s";
    type Output = Found;

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Found>, Failure> {
        let (name, client) = super::bucket(context, self.bucket.as_ref())?;
        let canary = self.canary.as_ref().map(|c| c.fill(context.scope)).transpose()?;
        let canary = canary.map(|begin| canary_of(&begin, context.idempotency_key));
        let mut deadlines = Deadlines::default();
        if let Some(slow) = self.slow {
            deadlines.slow = slow.get();
        }
        let ladder = client.ladder(&deadlines, canary.as_ref(), context.clock).await;
        Ok(outcome(name, client.bucket().to_owned(), ladder))
    }
}

/// One key for all attempts of this step, and another for every other step: two that run at once do not meet.
fn canary_of(begin: &CanaryKey, idempotency_key: &str) -> Canary {
    let digest = Sha256::digest(idempotency_key.as_bytes());
    let number = digest.iter().take(8).fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    let key = format!("{}.{number:016x}", begin.0);
    Canary { key, body: b"a test of paramedic; may be deleted\n".to_vec() }
}

fn outcome(name: String, bucket: String, ladder: Ladder) -> Outcome<Found> {
    let verdict = ladder.verdict();
    let Ladder { rungs, certificate_days, clock_skew_seconds, minio } = ladder;
    let lines: Vec<String> = rungs.iter().map(|rung| line(&name, rung)).collect();
    // The rung whose kind the verdict is; of a failed HEAD, the list knows more.
    let told = rungs.iter().rposition(|r| r.kind.is_some_and(|kind| kind.word() == verdict));
    let told = told.or_else(|| rungs.iter().position(|r| r.state == RungState::Slow));
    let summary = match told.and_then(|at| lines.get(at)) {
        Some(line) => format!("{verdict}: {line}"),
        None => format!("s3 {name}: {verdict}"),
    };
    let source = format!("bucket {name}");
    let passages = lines.into_iter().map(|text| Passage::new(Origin::Storage, &source, text));
    let passages = passages.collect();
    let code = rungs.iter().map(|rung| rung.code.as_str()).find(|code| !code.is_empty());
    let value = Found {
        name,
        bucket,
        healthy: rungs.iter().all(|rung| rung.kind.is_none()),
        verdict: verdict.to_owned(),
        code: code.unwrap_or_default().to_owned(),
        certificate_days,
        clock_skew_seconds,
        minio,
        total_ms: rungs.iter().map(|rung| rung.latency_ms).sum(),
        rungs,
    };
    Outcome { value, passages, summary }
}

/// The canonical line of a rung, which signatures match.
fn line(name: &str, rung: &Rung) -> String {
    let Rung { name: rung_name, state, latency_ms, kind, status, code, reason } = rung;
    let head = format!("s3 {name} {}", rung_name.word());
    match state {
        RungState::Ok if reason.is_empty() => format!("{head}: ok in {latency_ms} ms"),
        RungState::Ok => format!("{head}: ok in {latency_ms} ms ({reason})"),
        RungState::Slow if reason.is_empty() => format!("{head}: slow, {latency_ms} ms"),
        RungState::Slow => format!("{head}: slow, {latency_ms} ms ({reason})"),
        RungState::Failed => {
            let kind = kind.map_or("unexpected", |kind| kind.word());
            let mut said = vec![format!("{head}: FAILED after {latency_ms} ms: {kind}")];
            if let Some(status) = status {
                said.push(format!(": HTTP {status}"));
            }
            for more in [code, reason].into_iter().filter(|more| !more.is_empty()) {
                said.push(": ".to_owned());
                said.push(more.clone());
            }
            said.concat()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::s3::{FailureKind, RungName};

    fn rung(name: RungName) -> Rung {
        Rung {
            name,
            state: RungState::Ok,
            latency_ms: 3,
            kind: None,
            status: None,
            code: String::new(),
            reason: String::new(),
        }
    }

    #[test]
    fn every_rung_is_one_canonical_line_and_the_summary_quotes_the_one_that_knows_most() {
        let failed = |name, code: &str, reason: &str| Rung {
            state: RungState::Failed,
            kind: Some(FailureKind::BadCredentials),
            status: Some(403),
            code: code.to_owned(),
            reason: reason.to_owned(),
            ..rung(name)
        };
        let head =
            Rung { kind: Some(FailureKind::AccessDenied), ..failed(RungName::HeadBucket, "", "") };
        let list = failed(RungName::List, "InvalidAccessKeyId", "no such key");
        let ladder = Ladder { rungs: vec![rung(RungName::Dns), head, list], ..Ladder::default() };
        let outcome = outcome("lake".to_owned(), "data-lake".to_owned(), ladder);
        let lines: Vec<_> = outcome.passages.iter().map(|p| p.text.as_str()).collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        s3 lake dns: ok in 3 ms
        s3 lake head_bucket: FAILED after 3 ms: access_denied: HTTP 403
        s3 lake list: FAILED after 3 ms: bad_credentials: HTTP 403: InvalidAccessKeyId: no such key
        ");
        insta::assert_snapshot!(outcome.summary, @"bad_credentials: s3 lake list: FAILED after 3 ms: bad_credentials: HTTP 403: InvalidAccessKeyId: no such key");
        assert_eq!(
            (outcome.value.code.as_str(), outcome.value.healthy),
            ("InvalidAccessKeyId", false)
        );
    }

    #[test]
    fn a_canary_has_one_key_for_all_attempts_of_a_step_and_cannot_leave_its_place() {
        let begin = CanaryKey::parse("ops/canary").unwrap();
        let key = |of| canary_of(&begin, of).key;
        assert_eq!(key("run-1/a"), key("run-1/a"));
        assert_ne!(key("run-1/a"), key("run-2/a"));
        assert!(key("run-1/a").starts_with("ops/canary."));
        for bad in ["", "/x", "x/", "a//b", "../x", "a/./b", "a b", "ä", "a?b", &"x".repeat(201)] {
            assert!(CanaryKey::parse(bad).is_err(), "{bad}");
        }
    }
}
