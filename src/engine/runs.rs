//! One execution of a playbook: steps in parallel as their needs allow, each recorded as it ends, verdicts at the end.
//!
//! A crash keeps what is recorded and gives the rest one fresh deadline. A failed step never hides the others; what
//! failed is said on the card.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::Context as _;
use futures::{StreamExt as _, stream::FuturesUnordered};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Engine, change::Along, evidence, memory::Memory};
use crate::{
    domain::{
        evidence::{Evidence, Findings, StepState},
        incident::{Command, Incident, RunEnd},
        redact,
        target::Target,
        template::Scope,
        verdict::{Owner, Verdict},
    },
    ops::{lifecycle, metrics as names},
    playbook::{
        model::{Playbook, StepDef},
        plan::{self, Ready},
    },
    steps::{Context, Effect, Failure},
    store::{Changes, Job, JobEnd, Run, RunState},
};

/// Steps of one run at once.
const PARALLEL: usize = 6;
/// Most text kept of one passage, bytes.
const MAX_PASSAGE: usize = 512 * 1024;
/// Most JSON kept of one step, bytes.
const MAX_VALUE: usize = 512 * 1024;
/// Distinct targets with the same user error within half an hour that make it a platform matter.
const PLATFORM_WIDE: i64 = 3;

impl Engine {
    /// Runs a `run` job.
    pub(super) async fn run_run(&self, job: &Job) -> anyhow::Result<()> {
        let id = job.payload["run"].as_str().context("a run job without a run")?;
        let end = JobEnd { id: job.id, fence: job.fence, again: None };
        let run = self.store.run(id).await?.context("its run is gone")?;
        if run.state == RunState::Ended {
            return Ok(self.end_job(end).await?);
        }
        let incident = self.store.incident(run.incident).await?.context("its incident is gone")?;
        let incident = incident.incident;
        let catalog = self.catalog.get();
        let Some(playbook) = catalog.playbooks.iter().find(|p| p.name == run.playbook).cloned()
        else {
            let reason = format!("playbook {} was removed while it ran", run.playbook);
            return self.end_run(run, end, vec![], vec![reason], vec![]).await;
        };
        let mut evidence: Vec<Evidence> = self.store.steps(id).await?.into_values().collect();
        let base = base_scope(&run, &incident);
        let holding = (job.id, job.fence);
        let limit = if job.attempt > 1 {
            playbook.limits.deadline
        } else {
            Duration::try_from(run.deadline.duration_since(self.now())).unwrap_or_default()
        };
        let remarks = self.drive(&run, &playbook, &base, &mut evidence, limit, holding).await?;
        let signatures = Arc::clone(&catalog.signatures);
        let (wanted, all) = (playbook.verdicts.clone(), evidence.clone());
        let verdicts = lifecycle::blocking(move || signatures.diagnose(&all, &wanted)).await?;
        let said =
            evidence.iter().flat_map(|step| caveat(step).into_iter().chain(said_beside(step)));
        let caveats = remarks.into_iter().chain(said).collect();
        self.end_run(run, end, verdicts, caveats, evidence).await
    }

    /// Runs what can run until all has ended or the time is over; records each end. Returns remarks for the card.
    async fn drive(
        &self,
        run: &Run,
        playbook: &Playbook,
        base: &Scope,
        evidence: &mut Vec<Evidence>,
        limit: Duration,
        holding: (i64, i64),
    ) -> anyhow::Result<Vec<String>> {
        let over = self.clock.sleep(limit);
        tokio::pin!(over);
        let mut running = BTreeSet::new();
        let mut flying = FuturesUnordered::new();
        loop {
            let now = plan::progress(playbook, base, evidence, &running);
            if !now.skipped.is_empty() {
                self.record(run, &now.skipped, holding).await?;
                evidence.extend(now.skipped);
                continue;
            }
            if now.finished {
                return Ok(now.remarks);
            }
            for ready in now.ready.into_iter().take(PARALLEL.saturating_sub(running.len())) {
                running.insert(ready.key.clone());
                flying.push(self.run_step(run, &playbook.steps[ready.step], ready, holding));
            }
            tokio::select! {
                Some(ended) = flying.next() => {
                    let ended = ended?;
                    running.remove(&ended.step);
                    self.record(run, std::slice::from_ref(&ended), holding).await?;
                    evidence.push(ended);
                }
                () = &mut over => {
                    let reason = format!("the playbook's deadline of {limit:?} was over");
                    let rest = plan::abandon(playbook, base, evidence, &reason);
                    self.record(run, &rest, holding).await?;
                    evidence.extend(rest);
                    return Ok([now.remarks, vec![format!("playbook {}: {reason}", playbook.name)]].concat());
                }
            }
        }
    }

    async fn record(
        &self,
        run: &Run,
        ended: &[Evidence],
        holding: (i64, i64),
    ) -> anyhow::Result<()> {
        let steps = ended.iter().map(|evidence| (run.id.clone(), evidence.clone())).collect();
        let changes = Changes { steps, holding: Some(holding), ..Changes::default() };
        Ok(self.store.commit(changes, self.now()).await?)
    }

    /// One step, with its retries; its failure is evidence, never an error.
    async fn run_step(
        &self,
        run: &Run,
        step: &StepDef,
        ready: Ready,
        holding: (i64, i64),
    ) -> anyhow::Result<Evidence> {
        let started = self.clock.monotonic();
        if step.spec.effect() == Effect::Once {
            // If we die now, nobody knows whether it happened: a person decides, it is never repeated.
            let reason = "it was started and its outcome is not known";
            let uncertain = plan::without(step, ready.key.clone(), StepState::Uncertain, reason);
            self.record(run, &[uncertain], holding).await?;
        }
        let (state, reason, findings) = match self.attempts(run, step, &ready).await {
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
        tracing::info!(incident.id = %run.incident, step.kind = kind, step.key = ready.key, state = label, reason, "step ended");
        Ok(Evidence {
            step: ready.key,
            kind: kind.to_owned(),
            state,
            reason: redact::redact(&reason).into_owned(),
            findings,
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        })
    }

    async fn attempts(
        &self,
        run: &Run,
        step: &StepDef,
        ready: &Ready,
    ) -> Result<Findings, Failure> {
        let name = run.target.as_ref().map_or(run.cluster.as_str(), Target::cluster);
        let cluster = self.clusters.for_label(name);
        let memory = Memory::new(self, run.incident, &run.playbook);
        let idempotency_key = format!("{}/{}", run.id, ready.key);
        let context = Context {
            scope: &ready.scope,
            target: run.target.as_ref(),
            cluster: cluster.map(AsRef::as_ref),
            http: &self.http,
            memory: &memory,
            clock: &self.clock,
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
                        && step.spec.effect() != Effect::Once
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

    async fn end_run(
        &self,
        mut run: Run,
        end: JobEnd,
        verdicts: Vec<Verdict>,
        mut caveats: Vec<String>,
        evidence: Vec<Evidence>,
    ) -> anyhow::Result<()> {
        let now = self.now();
        let mut incomplete = evidence.iter().any(|step| step.state == StepState::Failed);
        if let Some(best) = verdicts.first().filter(|best| best.owner == Owner::User) {
            let since = now.saturating_sub(SignedDuration::from_mins(30)).unwrap_or(Timestamp::MIN);
            let others = self.store.targets_with_verdict(&best.id, since).await?;
            if others + 1 >= PLATFORM_WIDE {
                incomplete = true;
                caveats.push(format!(
                    "{others} other targets failed the same way within 30 minutes: this may be the platform, not the user"
                ));
            }
        }
        run.state = RunState::Ended;
        run.ended_at = Some(now);
        run.verdicts.clone_from(&verdicts);
        run.caveats.clone_from(&caveats);
        let ended = RunEnd {
            playbook: run.playbook.clone(),
            target: run.target.as_ref().map(Target::label).unwrap_or_default(),
            verdicts,
            caveats,
            incomplete,
        };
        let id = run.incident;
        let incident = self.store.incident(id).await?.context("its incident is gone")?.incident;
        let mut along = Along::job(end);
        if run.opening != incident.opening {
            // It reopened meanwhile and has runs of its own: what this one found is of the time before.
            along.changes.runs.push(run);
            self.change(id, vec![], along).await?;
            return Ok(());
        }
        along.changes.jobs.extend(evidence::of_run(&incident, &run.id, &ended, now));
        along.changes.runs.push(run);
        self.change(id, vec![Command::RunEnded(ended)], along).await?;
        Ok(())
    }
}

/// What every step of a run sees.
fn base_scope(run: &Run, incident: &Incident) -> Scope {
    let mut scope = Scope::default();
    for name in ["labels", "annotations", "alerts"] {
        scope.set(name, run.scope[name].clone());
    }
    let incident = json!({
        "id": incident.id.to_string(),
        "title": incident.title,
        "severity": incident.severity.to_string(),
        "status": incident.status.word(),
        "team": incident.team,
        "since": incident.since.to_string(),
    });
    plan::run_scope(scope, run.target.as_ref(), incident)
}

fn too_slow(step: &StepDef) -> Failure {
    Failure::Client(crate::clients::Error::new(
        crate::clients::Kind::Timeout,
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

/// What a step wants said beside its findings: the texts of its output `remarks`.
fn said_beside(step: &Evidence) -> Vec<String> {
    let remarks = step.findings.value.get("remarks").and_then(Value::as_array);
    remarks.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// What the card must say of a step that brought nothing; a condition that plainly does not hold is no news.
fn caveat(step: &Evidence) -> Option<String> {
    match step.state {
        StepState::Done => None,
        StepState::Failed => Some(format!("{} failed: {}", step.kind, step.reason)),
        StepState::Uncertain => Some(format!("{}: {}", step.kind, step.reason)),
        StepState::Skipped => {
            let plain = step.reason.ends_with("does not hold") || step.reason.ends_with("is empty");
            (!plain).then(|| format!("{} was skipped: {}", step.kind, step.reason))
        }
    }
}
