//! Which playbooks an incident's alerts lead to, on which targets. Alerts that lead to the same target share one run.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{Engine, change::Along, effects::priority, memory::Memory};
use crate::{
    domain::{
        alert::{Alert, Status},
        ids::IncidentId,
        incident::{Command, Incident, Matched, RunEnd, correlate},
        target::Target,
    },
    playbook::{catalog::Answer, model::Playbook, plan},
    steps::{self, target::Past},
    store::{Job, JobEnd, NewJob, Repeat, Run, RunState},
};

/// Members looked at to find targets; more share the caveat.
const MAX_MEMBERS: i64 = 200;
/// Alerts a run's scope shows.
const MAX_ALERTS: usize = 50;
/// Longest search for the targets of one playbook.
const RESOLVE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(20);

/// A target with the members that lead to it.
type Found = BTreeMap<String, (Option<Target>, Vec<correlate::Member>)>;

impl Engine {
    /// The playbooks that these alerts lead to.
    pub(super) fn matched(&self, fired: &[&Alert]) -> Vec<Matched> {
        let catalog = self.catalog.get();
        let mut matched: BTreeMap<String, Matched> = BTreeMap::new();
        for alert in fired {
            let scope = plan::alert_scope(&alert.labels, &alert.annotations, vec![]);
            for (playbook, severity) in catalog.matching(&alert.labels, &scope) {
                let entry = matched.entry(playbook.name.clone()).or_insert_with(|| Matched {
                    playbook: playbook.name.clone(),
                    severity,
                    hold_page: playbook.limits.hold_page,
                    post_to: playbook.post_to.clone(),
                });
                entry.severity = entry.severity.max(severity);
            }
        }
        matched.into_values().collect()
    }

    /// Playbooks that may be meant but whose condition could not be answered: they do not run, and the card says so.
    pub(super) fn unanswered(&self, fired: &[&Alert]) -> Vec<String> {
        let catalog = self.catalog.get();
        let mut said = Vec::new();
        for alert in fired {
            let scope = plan::alert_scope(&alert.labels, &alert.annotations, vec![]);
            for (playbook, reason) in catalog.unanswered(&alert.labels, &scope) {
                said.push(format!("playbook {} did not run: {reason}", playbook.name));
            }
        }
        said
    }

    /// Runs a `diagnose` job: starts the runs that are not there yet.
    pub(super) async fn run_diagnose(&self, job: &Job) -> anyhow::Result<()> {
        let id = job.incident.context("a diagnosis without an incident")?;
        let incident = self.store.incident(id).await?.context("its incident is gone")?.incident;
        let end = JobEnd { id: job.id, fence: job.fence, again: None };
        if !incident.is_open() {
            return Ok(self.end_job(end).await?);
        }
        let members = self.store.members(id, MAX_MEMBERS).await?;
        let firing: Vec<correlate::Member> =
            members.into_iter().filter(|m| m.status == Status::Firing).collect();
        let known = self.store.runs(id).await?;
        let catalog = self.catalog.get();
        let mut along = Along::job(end);
        let mut commands = vec![];
        for playbook in &catalog.playbooks {
            let mine: Vec<&correlate::Member> =
                firing.iter().filter(|member| answers(playbook, member)).collect();
            if mine.is_empty() {
                continue;
            }
            let (found, caveats) = self.targets(id, playbook, &mine).await;
            commands.extend(caveats.into_iter().map(Command::Caveat));
            for (key, (target, members)) in found {
                let run = self.new_run(&incident, playbook, &key, target, &members);
                if known.iter().any(|known| known.id == run.id) {
                    continue;
                }
                commands.push(Command::RunStarted {
                    playbook: playbook.name.clone(),
                    target: run.target.as_ref().map(Target::label).unwrap_or_default(),
                });
                if let Some(earlier) = cooling(&known, &run, playbook) {
                    commands.push(Command::RunEnded(repeated(earlier)));
                    // Its row says that this opening has had its run; the cooldown still counts from the real one.
                    along.changes.runs.push(Run {
                        id: run.id,
                        opening: run.opening,
                        ..earlier.clone()
                    });
                    continue;
                }
                along.changes.jobs.push(run_job(&incident, &run));
                along.changes.runs.push(run);
            }
        }
        self.change(id, commands, along).await?;
        Ok(())
    }

    /// The targets of one playbook: most alerts first, at most `max_targets`.
    async fn targets(
        &self,
        incident: IncidentId,
        playbook: &Playbook,
        members: &[&correlate::Member],
    ) -> (Found, Vec<String>) {
        let memory = Memory::new(self, incident, &playbook.name);
        let mut found = Found::new();
        let mut caveats = self.strangers(members);
        let Some(spec) = &playbook.target else {
            return (without_target("alert", members), caveats);
        };
        for member in members {
            let label = member.labels.get("cluster").map_or("", String::as_str);
            let cluster = self.clusters.for_label(label);
            let scope = plan::alert_scope(&member.labels, &member.annotations, vec![]);
            let past = Past { memory: &memory, now: self.now() };
            let cluster = cluster.map(AsRef::as_ref);
            let search = steps::target::resolve(spec, &scope, cluster, label, past);
            let targets = tokio::time::timeout(RESOLVE_TIMEOUT, search).await;
            match targets.unwrap_or_else(|_| Err("the search for it took too long".to_owned())) {
                Ok(targets) if !targets.is_empty() => {
                    for target in targets {
                        let entry = found.entry(target.key()).or_insert((Some(target), vec![]));
                        entry.1.push((*member).clone());
                    }
                }
                Ok(_) => caveats.push(format!("playbook {}: no target found", playbook.name)),
                Err(reason) => caveats.push(format!("playbook {}: {reason}", playbook.name)),
            }
        }
        if found.is_empty() {
            // Steps that need no target still run; the others say why not.
            found = without_target("none", members);
        }
        let max = playbook.limits.max_targets;
        if found.len() > max {
            let rest = found.len() - max;
            caveats.push(format!(
                "playbook {}: {rest} more targets were not looked at",
                playbook.name
            ));
            let mut by_size: Vec<_> = found.into_iter().collect();
            by_size.sort_by_key(|(_, (_, members))| std::cmp::Reverse(members.len()));
            found = by_size.into_iter().take(max).collect();
        }
        (found, caveats)
    }

    /// What to say of alerts whose cluster is none of ours: the steps that look at it are skipped, the others run.
    fn strangers(&self, members: &[&correlate::Member]) -> Vec<String> {
        let known: Vec<&str> = self.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
        if known.is_empty() {
            return vec![];
        }
        let labels = members.iter().map(|m| m.labels.get("cluster").map_or("", String::as_str));
        let strange: BTreeSet<&str> =
            labels.filter(|label| self.clusters.for_label(label).is_none()).collect();
        let all = known.join(", ");
        let said = |label: &str| match label {
            "" => format!(
                "the alert has no label `cluster`, and none of the configured clusters is called `default`: {all}"
            ),
            label => {
                let label: String = label.chars().take(63).collect();
                format!(
                    "cluster `{}` is not configured; configured are: {all}",
                    label.escape_debug()
                )
            }
        };
        strange.into_iter().take(3).map(said).collect()
    }

    fn new_run(
        &self,
        incident: &Incident,
        playbook: &Playbook,
        key: &str,
        target: Option<Target>,
        members: &[correlate::Member],
    ) -> Run {
        let now = self.now();
        let labels = correlate::common(members.iter().map(|m| &m.labels));
        let annotations = correlate::common(members.iter().map(|m| &m.annotations));
        let alert = |m: &correlate::Member| json!({ "labels": m.labels, "annotations": m.annotations, "starts_at": m.starts_at });
        let alerts: Vec<Value> = members.iter().take(MAX_ALERTS).map(alert).collect();
        let deadline = SignedDuration::try_from(playbook.limits.deadline).unwrap_or_default();
        let cluster = labels.get("cluster").cloned().unwrap_or_default();
        Run {
            id: format!("{}/{}/{}/{key}", incident.id, incident.opening, playbook.name),
            incident: incident.id,
            playbook: playbook.name.clone(),
            digest: playbook.digest.clone(),
            opening: incident.opening,
            target,
            cluster,
            state: RunState::Running,
            started_at: now,
            deadline: now.saturating_add(deadline).unwrap_or(now),
            ended_at: None,
            scope: json!({ "labels": labels, "annotations": annotations, "alerts": alerts }),
            verdicts: vec![],
            caveats: vec![],
        }
    }
}

/// One run for all, or where they come from several clusters one for each: its steps look at one.
fn without_target(key: &str, members: &[&correlate::Member]) -> Found {
    let cluster = |m: &correlate::Member| m.labels.get("cluster").cloned().unwrap_or_default();
    let clusters: BTreeSet<String> = members.iter().map(|m| cluster(m)).collect();
    let mut found = Found::new();
    for member in members {
        let key = match (clusters.len(), cluster(member)) {
            (0 | 1, _) => key.to_owned(),
            (_, cluster) => format!("{key}/{cluster}"),
        };
        found.entry(key).or_insert((None, vec![])).1.push((*member).clone());
    }
    found
}

/// An earlier run of the same playbook and target that is too young to repeat.
fn cooling<'a>(known: &'a [Run], run: &Run, playbook: &Playbook) -> Option<&'a Run> {
    let cooldown = SignedDuration::try_from(playbook.limits.cooldown).unwrap_or_default();
    known.iter().find(|earlier| {
        let ended = earlier.ended_at.map(|at| run.started_at.duration_since(at));
        earlier.playbook == run.playbook
            && earlier.target == run.target
            && ended.is_some_and(|ago| ago < cooldown)
    })
}

fn answers(playbook: &Playbook, member: &correlate::Member) -> bool {
    let scope = plan::alert_scope(&member.labels, &member.annotations, vec![]);
    let answer = playbook.answer(&member.labels, &scope);
    matches!(answer, Answer::Matched { .. })
}

fn repeated(earlier: &Run) -> RunEnd {
    RunEnd {
        playbook: earlier.playbook.clone(),
        target: earlier.target.as_ref().map(Target::label).unwrap_or_default(),
        verdicts: earlier.verdicts.clone(),
        caveats: vec![format!(
            "playbook {}: its findings are from before the alert fired again (cooldown)",
            earlier.playbook
        )],
        incomplete: true,
    }
}

/// The job that carries a run out.
pub fn run_job(incident: &Incident, run: &Run) -> NewJob {
    NewJob {
        key: format!("run:{}", run.id),
        kind: "run",
        incident: Some(incident.id),
        due: run.started_at,
        priority: priority(incident.severity),
        payload: json!({ "run": run.id }),
        repeat: Repeat::Keep,
    }
}
