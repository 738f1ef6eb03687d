//! A diagnosis: a playbook that asks a host which may fail or hang, repairs something once, and writes a note.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use paramedic::{
    clients::http::{HeaderMap, Response},
    domain::{
        ids::IncidentId,
        incident::{Event, Wake},
    },
    playbook::catalog::Catalog,
    steps::Effect,
    store::{Filter, Run as Found, RunState},
};

use crate::{oracle::History, rng::Rng, run::Run};

pub const HOST: &str = "svc.sim";
/// Who asks for it does what must happen once.
pub const REPAIR: &str = "/repair";
/// Ends of a deadline, a lease and a few attempts after it began, a run has ended.
const LONGEST: SignedDuration = SignedDuration::from_mins(5);
/// A page that nothing hinders leaves as soon.
const AT_ONCE: SignedDuration = SignedDuration::from_secs(10);
/// What the signature is called on cards.
const TITLE: &str = "The service is sick";

const PLAYBOOK: &str = "
name: sick-service
title: A service is sick
summary: Asks it, and repairs it.
owner: team:data
match: [ 'alertname=~\"Slow|ClusterDown\"' ]
limits: { deadline: 60s, cooldown: 1m }
steps:
  - id: health
    net.http: { url: 'http://svc.sim/health', timeout: 15s }
  - id: ready
    net.http: { url: 'http://svc.sim/ready', timeout: 5s }
  - id: repair
    needs: [health]
    net.http: { url: 'http://svc.sim/repair', timeout: 10s }
  - id: said
    incident.note: { text: '{{steps.health.url}} was asked' }
verdicts: [ 'sim/*' ]
";
const SIGNATURES: &str = "
signatures:
  - id: sim/sick
    title: The service is sick
    owner: platform
    confidence: 0.9
    any: [ { in: [probe], line: 'svc.sim/health' } ]
    remedy: Wait.
";

/// The files of it.
pub fn write(folder: &Path) {
    std::fs::create_dir_all(folder.join("signatures")).unwrap();
    std::fs::write(folder.join("sick.yaml"), PLAYBOOK).unwrap();
    std::fs::write(folder.join("signatures/sick.yaml"), SIGNATURES).unwrap();
}

/// No kind of today must happen only once; here one does.
pub fn with_repair_once(catalog: &Catalog) -> Catalog {
    let playbooks = catalog.playbooks.iter().map(|playbook| {
        let mut playbook = (**playbook).clone();
        playbook.steps.iter_mut().filter(|step| step.id == "repair").for_each(|step| {
            step.effect = Effect::Once;
        });
        Arc::new(playbook)
    });
    let signatures = Arc::clone(&catalog.signatures);
    Catalog::of(playbooks.collect(), signatures, vec![], catalog.digest.clone())
}

/// The host, which is sick now and then.
pub fn answer(rng: &mut Rng) -> Response {
    let status = if rng.chance(3_000) { 503 } else { 200 };
    Response { status, headers: HeaderMap::new(), body: b"{}".to_vec(), cut: false }
}

pub async fn judge(run: &Run, history: &History, wrong: &mut Vec<String>) {
    once(run, wrong);
    let found: Vec<(String,)> = run.world.ask("SELECT run FROM runs").await.unwrap();
    let found: Vec<Found> = found.iter().map(|(run,)| serde_json::from_str(run).unwrap()).collect();
    let now = run.store.now();
    for one in &found {
        if one.state == RunState::Running && now.duration_since(one.started_at) > LONGEST {
            wrong.push(format!("the diagnosis {} has not ended", one.id));
        }
    }
    let all = Filter { open: None, before: None, limit: 500 };
    for summary in run.store.incidents(all).await.unwrap() {
        let id: IncidentId = summary.id.parse().unwrap();
        let state = run.store.incident(id).await.unwrap().unwrap().incident;
        let mine = || found.iter().filter(|one| one.incident == id && one.opening == state.opening);
        let lately = now.duration_since(state.changed_at) <= SignedDuration::from_mins(1);
        let running = mine().filter(|one| one.state == RunState::Running).count();
        if running == 0 && state.running > 0 && !lately {
            wrong.push(format!("{id} says that {} diagnoses go on", state.running));
        }
        if mine().any(|one| !one.verdicts.is_empty()) && state.verdicts.is_empty() {
            wrong.push(format!("{id} does not know its verdict"));
        }
        let cards = || run.slack.messages().filter(|m| m.key.starts_with("post:"));
        let card = cards().find(|m| m.incident == id.to_string());
        if !state.verdicts.is_empty() && !lately && !card.is_some_and(|m| m.text.contains(TITLE)) {
            wrong.push(format!("the card of {id} does not say its verdict"));
        }
        if run.rates.calm && !matches!(state.wake, Wake::Suppression(_)) {
            punctual(run, id, wrong).await;
        }
    }
    if run.rates.calm && history.events.iter().any(|(_, _, e)| is_diagnosing(e)) && found.is_empty()
    {
        wrong.push("nothing was ever diagnosed".to_owned());
    }
}

fn is_diagnosing(event: &Event) -> bool {
    matches!(event, Event::Diagnosing { .. })
}

/// Where nothing goes wrong no page waits, whatever its diagnosis does.
async fn punctual(run: &Run, id: IncidentId, wrong: &mut Vec<String>) {
    let timeline = run.store.timeline(id, 0, 100_000).await.unwrap();
    let mut began: Option<Timestamp> = None;
    for (_, at, event) in timeline {
        match event {
            Event::RoundStarted { .. } => began = Some(at),
            Event::StepTaken { .. } => {
                let late = began.take().filter(|began| at.duration_since(*began) > AT_ONCE);
                if let Some(began) = late {
                    wrong.push(format!("{id} began at {began}, its first step was at {at}"));
                }
            }
            Event::Suppressed { .. } | Event::Settling { .. } | Event::Acknowledged { .. } => {
                began = None;
            }
            _ => {}
        }
    }
}

/// What must happen once left once.
fn once(run: &Run, wrong: &mut Vec<String>) {
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    let network = run.network.state();
    for one in network.left.iter().filter(|left| left.job.0.starts_with("run:")) {
        *left.entry(&one.job.0).or_default() += 1;
    }
    for (run, times) in left.into_iter().filter(|(_, times)| *times > 1) {
        wrong.push(format!("{run} repaired {times} times"));
    }
}
