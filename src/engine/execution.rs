//! The steps of one execution of a playbook: in parallel as their needs allow, retried, bounded and masked.
//!
//! Where their ends are recorded is the caller's: the store for a run of the daemon, nowhere for a diagnosis from a
//! terminal. Both go through this one code, so both find the same.

use std::{collections::BTreeSet, time::Duration};

use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use serde_json::Value;

use crate::{
    clients::{self, Cluster},
    domain::{
        evidence::{Evidence, Findings, StepState},
        redact,
        target::Target,
        template::Scope,
    },
    ops::{clock::Clock, lifecycle, metrics as names},
    playbook::{
        model::{Playbook, StepDef},
        plan::{self, Ready},
    },
    steps::{Context, Effect, Failure, Memory},
};

/// Steps of one run at once.
const PARALLEL: usize = 6;
/// Most text kept of one passage, bytes.
const MAX_PASSAGE: usize = 512 * 1024;
/// Most JSON kept of one step, bytes.
const MAX_VALUE: usize = 512 * 1024;

/// The end of a recording.
pub type Recorded<'a> = BoxFuture<'a, anyhow::Result<()>>;

/// Keeps steps that ended.
pub type Record<'a> = dyn Fn(Vec<Evidence>) -> Recorded<'a> + Sync + 'a;

/// One execution of a playbook on one target.
pub struct Execution<'a> {
    /// Names it in idempotency keys and logs.
    pub id: &'a str,
    /// What to run.
    pub playbook: &'a Playbook,
    /// What every step sees, as [`plan::run_scope`] makes it.
    pub base: &'a Scope,
    /// What it is about.
    pub target: Option<&'a Target>,
    /// Clients of the target's cluster.
    pub cluster: Option<&'a Cluster>,
    /// HTTP with the egress guard.
    pub http: &'a clients::http::Client,
    /// What is remembered.
    pub memory: &'a dyn Memory,
    /// Time.
    pub clock: &'a Clock,
}

impl Execution<'_> {
    /// Runs what can run until all has ended or the time is over; records each end. `evidence` holds what ended before
    /// and gets the rest. Returns remarks for people. Fails only when recording does.
    pub async fn drive(
        &self,
        evidence: &mut Vec<Evidence>,
        limit: Duration,
        record: &Record<'_>,
    ) -> anyhow::Result<Vec<String>> {
        let over = self.clock.sleep(limit);
        tokio::pin!(over);
        let mut running = BTreeSet::new();
        let mut flying = FuturesUnordered::new();
        loop {
            let now = plan::progress(self.playbook, self.base, evidence, &running);
            if !now.skipped.is_empty() {
                record(now.skipped.clone()).await?;
                evidence.extend(now.skipped);
                continue;
            }
            if now.finished {
                return Ok(now.remarks);
            }
            for ready in now.ready.into_iter().take(PARALLEL.saturating_sub(running.len())) {
                running.insert(ready.key.clone());
                flying.push(self.step(&self.playbook.steps[ready.step], ready, record));
            }
            tokio::select! {
                // What ended counts although the deadline is over at the same moment.
                biased;
                Some(ended) = flying.next() => {
                    let ended = ended?;
                    running.remove(&ended.step);
                    record(vec![ended.clone()]).await?;
                    evidence.push(ended);
                }
                () = &mut over => {
                    let reason = format!("the playbook's deadline of {limit:?} was over");
                    let rest = plan::abandon(self.playbook, self.base, evidence, &reason);
                    record(rest.clone()).await?;
                    evidence.extend(rest);
                    let said = format!("playbook {}: {reason}", self.playbook.name);
                    return Ok([now.remarks, vec![said]].concat());
                }
            }
        }
    }

    /// One step, with its retries; its failure is evidence, never an error.
    async fn step(
        &self,
        step: &StepDef,
        ready: Ready,
        record: &Record<'_>,
    ) -> anyhow::Result<Evidence> {
        let started = self.clock.monotonic();
        if step.effect == Effect::Once {
            // If we die now, nobody knows whether it happened: a person decides, it is never repeated.
            let reason = "it was started and its outcome is not known";
            let uncertain = plan::without(step, ready.key.clone(), StepState::Uncertain, reason);
            record(vec![uncertain]).await?;
        }
        let (state, reason, findings) = match self.attempts(step, &ready).await {
            Ok(findings) => (StepState::Done, String::new(), bounded(findings).await?),
            Err(Failure::Skipped(reason)) => (StepState::Skipped, reason, Findings::default()),
            Err(failure @ Failure::Client(_)) => {
                (StepState::Failed, failure.to_string(), Findings::default())
            }
        };
        let took = self.clock.monotonic().saturating_sub(started);
        let kind = step.spec.kind();
        let label = match state {
            StepState::Done => "done",
            StepState::Skipped => "skipped",
            StepState::Failed => "failed",
            StepState::Uncertain => "uncertain",
        };
        metrics::counter!(names::STEPS, "kind" => kind, "state" => label).increment(1);
        metrics::histogram!(names::STEP_SECONDS, "kind" => kind).record(took.as_secs_f64());
        tracing::info!(
            run.id = self.id,
            step.kind = kind,
            step.key = ready.key,
            state = label,
            reason,
            "step ended"
        );
        Ok(Evidence {
            step: ready.key,
            kind: kind.to_owned(),
            state,
            reason: redact::redact(&reason).into_owned(),
            findings,
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        })
    }

    async fn attempts(&self, step: &StepDef, ready: &Ready) -> Result<Findings, Failure> {
        let idempotency_key = format!("{}/{}", self.id, ready.key);
        let context = Context {
            scope: &ready.scope,
            target: self.target,
            cluster: self.cluster,
            http: self.http,
            memory: self.memory,
            clock: self.clock,
            idempotency_key: &idempotency_key,
        };
        let mut attempt = 0;
        loop {
            let once = tokio::time::timeout(step.timeout, step.spec.run(&context)).await;
            let outcome = once.unwrap_or_else(|_| Err(too_slow(step)));
            let again = match &outcome {
                Err(Failure::Client(error)) => {
                    error.kind.is_transient()
                        && attempt < step.retries
                        && step.effect != Effect::Once
                }
                Ok(_) | Err(Failure::Skipped(_)) => false,
            };
            if !again {
                return outcome;
            }
            self.clock.sleep(Duration::from_millis(500 << attempt.min(4))).await;
            attempt += 1;
        }
    }
}

fn too_slow(step: &StepDef) -> Failure {
    Failure::Client(clients::Error::new(
        clients::Kind::Timeout,
        format!("finish {} in time", step.spec.kind()),
        format!("no answer within {:?}", step.timeout),
    ))
}

/// Redacted and capped: what is kept of a step.
async fn bounded(mut findings: Findings) -> anyhow::Result<Findings> {
    lifecycle::blocking(move || {
        for passage in &mut findings.passages {
            if passage.text.len() > MAX_PASSAGE {
                // The end of a log says more than its beginning.
                let from = passage.text.ceil_char_boundary(passage.text.len() - MAX_PASSAGE);
                passage.text.drain(..from);
                passage.cut = true;
            }
            passage.text = redact::redact(&passage.text).into_owned();
        }
        redact::redact_json(&mut findings.value);
        findings.summary = redact::redact(&findings.summary).into_owned();
        if findings.value.to_string().len() > MAX_VALUE {
            findings.value = Value::Null;
            findings.summary.push_str(" (result too large to keep)");
        }
        findings
    })
    .await
}
