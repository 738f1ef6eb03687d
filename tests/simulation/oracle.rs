//! What must be true, whatever happened. The store keeps a history of its own by triggers, in the order of its commits.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use paramedic::{
    domain::{
        ids::IncidentId,
        incident::{Event, Resolution, Wake, fold},
        severity::Severity,
    },
    store::{Filter, sim::World},
};
use serde_json::Value;

use crate::{
    alertmanager::{Alert, Alertmanager, SOURCES},
    chat, diagnosis, heartbeat,
    phone::Page,
    run::Run,
};

/// A store that took no writes for so long was said to be lost, and its end was said so long after.
const SAID: Duration = Duration::from_mins(1);
/// Whom the default policy falls back to.
const PEOPLE: usize = 2;

/// Triggers that write the history.
const HISTORY: [&str; 6] = [
    "CREATE TABLE sim_history (seq INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, number BIGINT NOT NULL, text TEXT NOT NULL)",
    "CREATE TRIGGER sim_stored AFTER INSERT ON deliveries BEGIN INSERT INTO sim_history (kind, number, text) VALUES ('stored', NEW.id, NEW.source || ' ' || CAST(NEW.body AS TEXT)); END",
    "CREATE TRIGGER sim_applied AFTER DELETE ON deliveries BEGIN INSERT INTO sim_history (kind, number, text) VALUES ('applied', OLD.id, ''); END",
    "CREATE TRIGGER sim_undone AFTER UPDATE ON members WHEN json_extract(NEW.member, '$.last_seq') < json_extract(OLD.member, '$.last_seq') BEGIN INSERT INTO sim_history (kind, number, text) VALUES ('undone', json_extract(NEW.member, '$.last_seq'), NEW.member); END",
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
pub struct History {
    pub events: Vec<(i64, IncidentId, Event)>,
    claims: BTreeMap<(String, i64), i64>,
    stored: BTreeMap<i64, String>,
    applied: Vec<(i64, i64)>,
    undone: Vec<(i64, String)>,
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
            undone: vec![],
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
                "applied" => history.applied.push((seq, number)),
                _ => history.undone.push((number, text)),
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
    // The last word on an alert is never one of before.
    let undone = history.undone.iter();
    wrong.extend(
        undone.map(|(number, member)| format!("delivery {number} was applied again: {member}")),
    );
    chat::judge(run, &history, &mut wrong).await;
    diagnosis::judge(run, &history, &mut wrong).await;
    heartbeat::judge(run, &mut wrong).await;
    outages(run, &mut wrong);
    urgent(&history, &mut wrong);
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
    let is_late = |at: Timestamp| store.now().duration_since(at).as_secs() > 10;
    if oldest.is_some_and(is_late) {
        wrong.push(format!("{waiting} deliveries were never applied"));
    }
    // What happened as the run ended has its messages on the way.
    let is_old = |at: &Timestamp| store.now().duration_since(*at).as_secs() > 60;
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
        let card = run.phone.cards.get(&id.to_string());
        let shown = card.and_then(|card| card["status"].as_str()).unwrap_or("nothing");
        let changed = timeline.last().is_some_and(|(_, at, _)| !is_old(at));
        if shown != state.status.word() && !changed {
            wrong.push(format!("{id} is {}, its card says {shown}", state.status.word()));
        }
        let round = state.round_number();
        let began = timeline.iter().rev().find(|(_, _, e)| matches!(e, Event::RoundStarted { .. }));
        let began = began.is_some_and(|(_, at, _)| is_old(at));
        let reached = run
            .phone
            .pages
            .iter()
            .any(|page| page.incident == id.to_string() && page.round == round);
        // What is muted has its round once it notifies again.
        let is_muted = matches!(state.wake, Wake::Suppression(_));
        if state.is_paging(round) && state.firing > 0 && began && !reached && !is_muted {
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

/// What fires is what its Alertmanager says, and has its open incident, in its own source.
async fn members(run: &Run, wrong: &mut Vec<String>) {
    for am in &run.ams {
        let known = run.store.firing_members(SOURCES[am.source]).await.unwrap();
        for alert in &am.alerts {
            let fires = known.iter().any(|m| m.fingerprint == alert.fingerprint);
            // What Alertmanager forgot without a word is over, as its API says.
            let is_missing = !fires && !alert.firing;
            if fires != alert.said && !(fires && alert.shown) && !is_missing {
                wrong.push(format!(
                    "{} fires here: {fires}; Alertmanager's last word: {}",
                    name(am, alert),
                    alert.said
                ));
            }
        }
    }
    wrong.extend(not_adopted(run, Duration::ZERO).await);
}

/// Alerts that have notified for so long, and have no open incident of their source.
pub async fn not_adopted(run: &Run, long: Duration) -> Vec<String> {
    let mut missing = vec![];
    for am in &run.ams {
        let known = run.store.firing_members(SOURCES[am.source]).await.unwrap();
        let placed: BTreeSet<&str> =
            known.iter().filter(|m| m.is_open).map(|m| m.fingerprint.as_str()).collect();
        let clear =
            am.alerts.iter().filter(|alert| alert.clear.is_some_and(|at| at + long <= run.now()));
        let lost = clear.filter(|alert| !placed.contains(alert.fingerprint.as_str()));
        missing.extend(lost.map(|alert| format!("{} has no open incident", name(am, alert))));
    }
    missing
}

fn name(am: &Alertmanager, alert: &Alert) -> String {
    let (name, instance) = (&alert.labels["alertname"], &alert.labels["instance"]);
    format!("{name}/{instance} of {}", SOURCES[am.source])
}

/// A store that is lost for long is said: by all replicas once, and its end once.
fn outages(run: &Run, wrong: &mut Vec<String>) {
    let said = |what: &str| -> Vec<&Page> {
        let about = |page: &&Page| page.title.contains(what);
        run.phone.pages.iter().filter(about).collect()
    };
    let (lost, back) = (said("its store cannot be reached"), said("its store is back"));
    let disk = run.disk.lock().unwrap();
    if run.rates.disk == 0 && disk.outages.is_empty() && !lost.is_empty() {
        wrong.push("an outage was said that was none".to_owned());
    }
    for outage in disk.outages.iter().filter(|outage| outage.to >= outage.from + SAID) {
        let within = |pages: &[&Page], from, to| {
            pages.iter().filter(|page| (from..to).contains(&page.at)).count()
        };
        // Whoever was sent for is sent for once, although each replica says it.
        let times = within(&lost, outage.from, outage.to + SAID);
        if outage.seen_by_all && times > PEOPLE {
            wrong.push(format!("{outage:?} was said {times} times"));
        }
        let cut = |(from, to): &(Duration, Duration)| *from <= outage.to && *to >= outage.from;
        let is_quiet = run.rates.network == 0 && !run.partitions.iter().any(cut);
        if is_quiet && outage.seen && times == 0 {
            wrong.push(format!("{outage:?} was said to nobody"));
        }
        let end = outage.to..outage.to + 2 * SAID;
        if run.deaths.iter().any(|at| (outage.from..end.end).contains(at)) {
            continue;
        }
        let times = within(&back, end.start, end.end);
        if outage.seen_by_all && times > PEOPLE {
            wrong.push(format!("the end of {outage:?} was said {times} times"));
        }
    }
}

/// Each P0 has a page of its own, unless it ended first.
fn urgent(history: &History, wrong: &mut Vec<String>) {
    let last = history.events.last().map_or(0, |(seq, _, _)| *seq);
    for (seq, id, event) in &history.events {
        let Event::Opened { severity: Severity::P0, .. } = event else { continue };
        let settled = |event: &Event| {
            matches!(
                event,
                Event::Paged(_)
                    | Event::PageFailed { .. }
                    | Event::NobodyToPage { .. }
                    | Event::Suppressed { .. }
                    | Event::Settling { .. }
                    | Event::Acknowledged { .. }
                    | Event::Resolved { .. }
            )
        };
        if !history.of(*id).any(|(_, event)| settled(event)) && *seq + 60 <= last {
            wrong.push(format!("{id} is a P0 without a page of its own"));
        }
    }
}

/// Every page that left arrived, and once.
fn pages(run: &Run, history: &History, wrong: &mut Vec<String>) {
    let mut asked: BTreeMap<(String, i64, String), (usize, usize)> = BTreeMap::new();
    for (_, id, event) in &history.events {
        let (page, counts) = match event {
            Event::Paged(page) if page.transport == "webhook" => (page, (1, 0)),
            Event::PageDelivered { page, .. } if page.transport == "webhook" => (page, (0, 1)),
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
                "{} #{} left after its round was acknowledged ({acked} < {claimed})",
                left.job.0, left.job.1
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
            let (source, body) = history.stored[delivery].split_once(' ').unwrap();
            let body: Value = serde_json::from_str(body).unwrap();
            // What a poll took in: anything that was heard since it asked has the last word.
            if body["groupKey"].is_null() {
                continue;
            }
            for alert in body["alerts"].as_array().unwrap() {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let name = format!("{source} {}", text(&alert["labels"]["alertname"]));
                let of = firing.entry(name).or_default();
                let fingerprint = text(&alert["fingerprint"]);
                if alert["status"] == "firing" {
                    of.insert(fingerprint);
                } else {
                    of.remove(&fingerprint);
                }
            }
        }
        match event {
            Event::Opened { source, labels, .. } => {
                names.insert(*id, format!("{source} {}", labels["alertname"]));
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
