//! What must be true, whatever happened. The store keeps a history of its own by triggers, in the order of its commits.

use std::collections::{BTreeMap, BTreeSet};

use paramedic::{
    domain::{
        ids::IncidentId,
        incident::{Event, Resolution, Wake, fold},
    },
    store::{Filter, sim::World},
};
use serde_json::Value;

use crate::run::Run;

/// Triggers that write the history.
const HISTORY: [&str; 5] = [
    "CREATE TABLE sim_history (seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, number BIGINT NOT NULL, text TEXT NOT NULL)",
    "CREATE TRIGGER sim_stored AFTER INSERT ON deliveries BEGIN INSERT INTO sim_history (kind, number, text) VALUES ('stored', NEW.id, CAST(NEW.body AS TEXT)); END",
    "CREATE TRIGGER sim_applied AFTER DELETE ON deliveries BEGIN INSERT INTO sim_history (kind, number, text) VALUES ('applied', OLD.id, ''); END",
    "CREATE TRIGGER sim_event AFTER INSERT ON timeline BEGIN INSERT INTO sim_history (kind, number, text) VALUES ('event', NEW.incident_id, NEW.event); END",
    "CREATE TRIGGER sim_claimed AFTER UPDATE ON jobs WHEN NEW.fence > OLD.fence BEGIN INSERT INTO sim_history (kind, number, text) VALUES ('claimed', NEW.fence, NEW.job_key); END",
];

/// One commit's trace: order, kind, number, text.
type Row = (i64, String, i64, String);

pub async fn keep_history(world: &World) {
    for sql in HISTORY {
        let _: Vec<(i64,)> = world.ask(sql).await.unwrap();
    }
}

/// The history, read.
struct History {
    events: Vec<(i64, IncidentId, Event)>,
    claims: BTreeMap<(String, i64), i64>,
    stored: BTreeMap<i64, String>,
    applied: Vec<(i64, i64)>,
}

impl History {
    async fn read(world: &World) -> Self {
        let rows: Vec<Row> = world
            .ask("SELECT seq, kind, number, text FROM sim_history ORDER BY seq")
            .await
            .unwrap();
        let mut history = Self {
            events: vec![],
            claims: BTreeMap::new(),
            stored: BTreeMap::new(),
            applied: vec![],
        };
        for (seq, kind, number, text) in rows {
            match kind.as_str() {
                "event" => history.events.push((
                    seq,
                    IncidentId(number),
                    serde_json::from_str(&text).unwrap(),
                )),
                "claimed" => drop(history.claims.insert((text, number), seq)),
                "stored" => drop(history.stored.insert(number, text)),
                _ => history.applied.push((seq, number)),
            }
        }
        history
    }

    fn of(&self, id: IncidentId) -> impl Iterator<Item = (i64, &Event)> {
        self.events.iter().filter(move |(_, of, _)| *of == id).map(|(seq, _, event)| (*seq, event))
    }
}

/// What the store tells of each incident, for whoever looks for a reason.
pub async fn timelines(run: &Run) -> Vec<String> {
    let mut lines = vec![];
    for (_, id, event) in History::read(&run.world).await.events {
        let told = serde_json::to_string(&event).unwrap();
        lines.push(format!("{id} {}", told.chars().take(300).collect::<String>()));
    }
    lines.sort_by_key(|line| line.split(' ').next().map(str::to_owned));
    lines
}

/// Everything that is wrong at the end of a run.
pub async fn judge(run: &Run) -> Vec<String> {
    let history = History::read(&run.world).await;
    let mut wrong = vec![];
    states(run, &history, &mut wrong).await;
    members(run, &mut wrong).await;
    pages(run, &history, &mut wrong);
    late_pages(run, &history, &mut wrong);
    steps(&history, &mut wrong);
    resolutions(&history, &mut wrong);
    orphans(run, &mut wrong).await;
    wrong
}

/// Nobody holds a job who does not work on it.
async fn orphans(run: &Run, wrong: &mut Vec<String>) {
    let held: Vec<(String, i64)> =
        run.world.ask("SELECT job_key, fence FROM jobs WHERE state = 'running'").await.unwrap();
    let at_work: BTreeSet<&(String, i64)> = run
        .replicas
        .iter()
        .flat_map(|replica| &replica.actors)
        .filter_map(|actor| actor.job.as_ref())
        .collect();
    for job in held {
        if !at_work.contains(&job) {
            wrong.push(format!("{} #{} is held by nobody at work", job.0, job.1));
        }
    }
}

/// Each state is the fold of its timeline, each open incident wakes, and no alarm says that something was lost.
async fn states(run: &Run, history: &History, wrong: &mut Vec<String>) {
    let store = &run.store;
    for id in store.without_wake_up().await.unwrap() {
        wrong.push(format!("{id} has lost its wake-up"));
    }
    // One of the last moment is applied in the next.
    let (waiting, oldest) = store.backlog().await.unwrap();
    let is_late = |at: jiff::Timestamp| store.now().duration_since(at).as_secs() > 10;
    if oldest.is_some_and(is_late) {
        wrong.push(format!("{waiting} deliveries were never applied"));
    }
    let all = Filter { open: None, before: None, limit: 500 };
    for summary in store.incidents(all).await.unwrap() {
        let id: IncidentId = summary.id.parse().unwrap();
        let state = store.incident(id).await.unwrap().unwrap().incident;
        let timeline = store.timeline(id, 0, 100_000).await.unwrap();
        let refolded =
            timeline.iter().fold(None, |state, (_, at, event)| Some(fold(state, id, *at, event)));
        if refolded.as_ref() != Some(&state) {
            wrong.push(format!("{id} is not the fold of its timeline"));
        }
        if state.is_open() && !state.is_storm() {
            let counts = store.member_counts(id).await.unwrap();
            if counts != (state.firing, state.members) {
                wrong.push(format!(
                    "{id} counts {:?}, and has {counts:?}",
                    (state.firing, state.members)
                ));
            }
        }
        if state.title.starts_with("Paramedic: ") {
            wrong.push(format!("{id} is an alarm: {}", state.title));
        }
        let round = state.round_number();
        let began = timeline.iter().rev().find(|(_, _, e)| matches!(e, Event::RoundStarted { .. }));
        // One that began as the run ended has its page on the way.
        let is_old = began.is_some_and(|(_, at, _)| store.now().duration_since(*at).as_secs() > 60);
        let reached = run
            .phone
            .pages
            .iter()
            .any(|page| page.incident == id.to_string() && page.round == round);
        // What is muted has its round once it notifies again.
        let is_muted = matches!(state.wake, Wake::Suppression(_));
        if state.is_paging(round) && state.firing > 0 && is_old && !reached && !is_muted {
            wrong.push(format!(
                "nobody was paged in round {round} of {id}, which is {}",
                state.status.word()
            ));
        }
    }
    let opened =
        history.events.iter().filter(|(_, _, event)| matches!(event, Event::Opened { .. })).count();
    if opened == 0 {
        wrong.push("nothing ever happened".to_owned());
    }
}

/// What fires is what Alertmanager says, and has its open incident.
async fn members(run: &Run, wrong: &mut Vec<String>) {
    let known = run.store.firing_members("default").await.unwrap();
    let placed: BTreeSet<&str> =
        known.iter().filter(|m| m.is_open).map(|m| m.fingerprint.as_str()).collect();
    for (index, alert) in run.am.alerts.iter().enumerate() {
        let name = format!("{}/{}", alert.labels["alertname"], alert.labels["instance"]);
        let fires = known.iter().any(|m| m.fingerprint == alert.fingerprint);
        if alert.firing && !run.am.is_muted(index) && !placed.contains(alert.fingerprint.as_str()) {
            wrong.push(format!("{name} fires and has no open incident"));
        }
        if fires != alert.said && !(fires && alert.shown) {
            wrong.push(format!(
                "{name} fires here: {fires}; Alertmanager's last word: {}",
                alert.said
            ));
        }
    }
}

/// Every page that left arrived, and once.
fn pages(run: &Run, history: &History, wrong: &mut Vec<String>) {
    let mut asked: BTreeMap<(String, i64, String), (usize, usize)> = BTreeMap::new();
    for (_, id, event) in &history.events {
        let (page, counts) = match event {
            Event::Paged(page) => (page, (1, 0)),
            Event::PageDelivered { page, .. } => (page, (0, 1)),
            _ => continue,
        };
        let entry = asked.entry((id.to_string(), page.round, page.name.clone())).or_default();
        *entry = (entry.0 + counts.0, entry.1 + counts.1);
    }
    let mut got: BTreeMap<(String, i64, String), usize> = BTreeMap::new();
    for page in run.phone.pages.iter().filter(|page| page.incident.starts_with("INC-")) {
        *got.entry((page.incident.clone(), page.round, page.person.clone())).or_default() += 1;
    }
    for (key, got) in &got {
        let asked = asked.get(key).map_or(0, |(paged, _)| *paged);
        if *got > asked {
            wrong.push(format!("{key:?} was asked for {asked} pages and got {got}"));
        }
    }
    for (key, (paged, delivered)) in &asked {
        if delivered > paged {
            wrong.push(format!("{key:?}: {paged} pages were asked for, {delivered} delivered"));
        }
        let got = got.get(key).copied().unwrap_or_default();
        if *delivered > got {
            wrong.push(format!(
                "{key:?}: {delivered} pages were delivered, as we say, and {got} came"
            ));
        }
    }
}

/// No page of a round leaves after the round's ack, unless its job was claimed before.
fn late_pages(run: &Run, history: &History, wrong: &mut Vec<String>) {
    for left in &run.network.state().left {
        let mut parts = left.job.0.split(':').skip_while(|part| *part != "page").skip(1);
        let (Some(id), Some(round)) = (parts.next(), parts.next()) else { continue };
        let (Ok(id), Ok(round)) = (id.parse::<IncidentId>(), round.parse::<i64>()) else {
            continue;
        };
        let Some(claimed) = history.claims.get(&left.job) else { continue };
        let acked = history.of(id).find(
            |(_, event)| matches!(event, Event::Acknowledged { round: of, .. } if *of == round),
        );
        if let Some((acked, _)) = acked.filter(|(acked, _)| acked < claimed) {
            wrong.push(format!(
                "{} left after its round was acknowledged ({acked} < {claimed})",
                left.id
            ));
        }
    }
}

/// A step that pages pages somebody, says that there is nobody, or its round ends first.
fn steps(history: &History, wrong: &mut Vec<String>) {
    let last = history.events.last().map_or(0, |(seq, _, _)| *seq);
    let mut taken = BTreeSet::new();
    for (seq, id, event) in &history.events {
        let Event::StepTaken { round, page, step, .. } = event else { continue };
        if !taken.insert((*id, *round, step.to_string())) {
            wrong.push(format!("{step} of round {round} of {id} was taken twice"));
        }
        if page.is_empty() || *seq + 60 > last {
            continue;
        }
        let answered =
            history.of(*id).filter(|(after, _)| after > seq).any(|(_, event)| match event {
                Event::Paged(page) | Event::PageFailed { page, .. } => page.round == *round,
                Event::NobodyToPage { round: of, .. } => of == round,
                Event::Acknowledged { .. }
                | Event::Snoozed { .. }
                | Event::Resolved { .. }
                | Event::Suppressed { .. }
                | Event::JoinedStorm(_)
                | Event::RoundStarted { .. } => true,
                _ => false,
            });
        if !answered {
            wrong.push(format!("{step} of round {round} of {id} was taken, and nobody was paged"));
        }
    }
}

/// No incident ends while one of its alerts fires, as far as was applied.
fn resolutions(history: &History, wrong: &mut Vec<String>) {
    let mut firing: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut names: BTreeMap<IncidentId, String> = BTreeMap::new();
    let mut applied = history.applied.iter().peekable();
    for (seq, id, event) in &history.events {
        while let Some((_, delivery)) = applied.next_if(|(at, _)| at < seq) {
            let body: Value = serde_json::from_str(&history.stored[delivery]).unwrap();
            for alert in body["alerts"].as_array().unwrap() {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let of = firing.entry(text(&alert["labels"]["alertname"])).or_default();
                let fingerprint = text(&alert["fingerprint"]);
                if alert["status"] == "firing" {
                    of.insert(fingerprint);
                } else {
                    of.remove(&fingerprint);
                }
            }
        }
        match event {
            Event::Opened { labels, .. } => {
                names.insert(*id, labels.get("alertname").cloned().unwrap_or_default());
            }
            Event::Resolved { how: Resolution::AllResolved, .. } => {
                let still = firing.get(&names[id]).filter(|still| !still.is_empty());
                if let Some(still) = still {
                    wrong.push(format!("{id} resolved while {still:?} of {} fired", names[id]));
                }
            }
            _ => {}
        }
    }
}
