//! One execution of a playbook: steps in parallel as their needs allow, each recorded as it ends, verdicts at the end.
//!
//! A crash keeps what is recorded and gives the rest one fresh deadline. A failed step never hides the others; what
//! failed is said on the card.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    Engine,
    change::Along,
    evidence,
    execution::{Execution, Recorded},
    memory::Memory,
};
use crate::{
    domain::{
        evidence::{Evidence, StepState},
        incident::{Command, Incident, RunEnd},
        target::Target,
        template::Scope,
        verdict::{Owner, Verdict},
    },
    ops::lifecycle,
    playbook::{model::Playbook, plan},
    store::{Changes, Job, JobEnd, Run, RunState},
};

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
        let edited = (playbook.digest != run.digest && !evidence.is_empty()).then(|| {
            // Answers to the old questions are none to the new ones.
            evidence.clear();
            format!("playbook {} was edited while it ran: all of it ran again", playbook.name)
        });
        let base = base_scope(&run, &incident);
        let holding = (job.id, job.fence);
        // From now: it may have waited for a worker, and clocks may have been set since.
        let limit = playbook.limits.deadline;
        let remarks = self.drive(&run, &playbook, &base, &mut evidence, limit, holding).await?;
        let signatures = Arc::clone(&catalog.signatures);
        let (wanted, all) = (playbook.verdicts.clone(), evidence.clone());
        let verdicts = lifecycle::blocking(move || signatures.diagnose(&all, &wanted)).await?;
        let said =
            evidence.iter().flat_map(|step| caveat(step).into_iter().chain(said_beside(step)));
        let caveats = edited.into_iter().chain(remarks).chain(said).collect();
        self.end_run(run, end, verdicts, caveats, evidence).await
    }

    /// Runs the playbook's steps; records each end with the job's fence. Returns remarks for the card.
    async fn drive(
        &self,
        run: &Run,
        playbook: &Playbook,
        base: &Scope,
        evidence: &mut Vec<Evidence>,
        limit: Duration,
        holding: (i64, i64),
    ) -> anyhow::Result<Vec<String>> {
        let name = run.target.as_ref().map_or(run.cluster.as_str(), Target::cluster);
        let cluster = self.clusters.for_label(name);
        let memory = Memory::new(self, run.incident, &run.playbook);
        let execution = Execution {
            id: &run.id,
            playbook,
            base,
            target: run.target.as_ref(),
            cluster: cluster.map(AsRef::as_ref),
            http: &self.http,
            memory: &memory,
            clock: &self.clock,
        };
        let record = |ended| -> Recorded<'_> { Box::pin(self.record(run, ended, holding)) };
        execution.drive(evidence, limit, &record).await
    }

    async fn record(
        &self,
        run: &Run,
        ended: Vec<Evidence>,
        holding: (i64, i64),
    ) -> anyhow::Result<()> {
        let steps = ended.into_iter().map(|evidence| (run.id.clone(), evidence)).collect();
        let changes = Changes { steps, holding: Some(holding), ..Changes::default() };
        Ok(self.store.commit(changes, self.now()).await?)
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
