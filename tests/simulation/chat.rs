//! What must be true of Slack and Matrix: nothing stands there twice, cards say what is, and pages are those that were asked for.

use std::{collections::BTreeMap, time::Duration};

use paramedic::{
    domain::{ids::IncidentId, incident::Event},
    store::Filter,
};

use crate::{matrix, oracle::History, run::Run, slack::Message};

/// After the store's time leapt ahead, a worker that goes on may send what another one has taken over: for so long.
const LEAP: Duration = Duration::from_secs(45);
/// People by their ids.
const NAMES: [(&str, &str); 2] = [("ana", "Ana Lima"), ("raj", "Raj Patel")];

/// What happened within so many seconds of the end has its messages on the way.
const ON_THE_WAY: i64 = 60;

pub async fn judge(run: &Run, history: &History, wrong: &mut Vec<String>) {
    repeats(run, wrong);
    cards(run, wrong).await;
    pages(run, history, wrong);
}

/// Slack shows everything that it takes, so nobody may send twice.
fn repeats(run: &Run, wrong: &mut Vec<String>) {
    let mut seen: BTreeMap<(&str, &str), Vec<&Message>> = BTreeMap::new();
    for message in run.slack.messages() {
        let what = if message.key.starts_with("post:") { &message.incident } else { &message.key };
        seen.entry((what, message.thread.as_deref().unwrap_or_default()))
            .or_default()
            .push(message);
    }
    let leaps = run.clocks.leaps(run.is_file);
    for ((what, _), messages) in seen {
        let after_leap = |m: &&Message| leaps.iter().any(|at| *at <= m.at && m.at <= *at + LEAP);
        if messages.len() > 1 && !messages[1..].iter().all(after_leap) {
            let at: Vec<Duration> = messages.iter().map(|message| message.at).collect();
            wrong.push(format!("{what} stands in Slack more than once, since {at:?}"));
        }
    }
}

/// Each incident's card says what it is, once in Matrix too.
async fn cards(run: &Run, wrong: &mut Vec<String>) {
    let all = Filter { open: None, before: None, limit: 500 };
    for summary in run.store.incidents(all).await.unwrap() {
        let id: IncidentId = summary.id.parse().unwrap();
        let state = run.store.incident(id).await.unwrap().unwrap().incident;
        let text = id.to_string();
        let in_room =
            run.matrix.messages.iter().filter(|m| {
                m.room == matrix::ROOM && m.thread.is_none() && incident(&m.body) == text
            });
        let in_room: Vec<&matrix::Message> = in_room.collect();
        if in_room.len() > 1 {
            wrong.push(format!("{id} has {} cards in Matrix", in_room.len()));
        }
        if run.store.now().duration_since(state.changed_at).as_secs() <= ON_THE_WAY {
            continue;
        }
        let card = run.slack.messages().find(|m| m.incident == text && m.key.starts_with("post:"));
        let shown = card.and_then(|card| card.revision);
        // A mute that only moves says nothing that a card shows, and a channel's refusal may wait for the next news.
        let timeline = run.store.timeline(id, 0, 100_000).await.unwrap();
        let is_minor = |event: &Event| {
            matches!(event, Event::SuppressionMoved { .. } | Event::PostFailed { .. })
        };
        let last =
            timeline.iter().rev().find(|(_, _, event)| !is_minor(event)).map(|(seq, ..)| *seq);
        if shown < last {
            wrong.push(format!("{id} is at {last:?}, its card in Slack at {shown:?}"));
        }
        let shown = in_room.first().and_then(|card| card.body.lines().next());
        if !shown.is_some_and(|line| line.contains(&format!(" {} · ", state.status.word()))) {
            wrong.push(format!("{id} is {}, its card in Matrix: {shown:?}", state.status.word()));
        }
    }
}

/// Who was paged by Slack and Matrix, and how often.
fn pages(run: &Run, history: &History, wrong: &mut Vec<String>) {
    let mut asked: BTreeMap<(String, String), (usize, usize)> = BTreeMap::new();
    for (_, id, event) in &history.events {
        let (page, paged) = match event {
            Event::Paged(page) => (page, true),
            Event::PageDelivered { page, .. } => (page, false),
            _ => continue,
        };
        if page.transport != "slack" && page.transport != "matrix" {
            continue;
        }
        let entry = asked.entry((id.to_string(), page.name.clone())).or_default();
        *entry = (entry.0 + usize::from(paged), entry.1 + usize::from(!paged));
    }
    let mut got: BTreeMap<(String, String), usize> = BTreeMap::new();
    for message in run.slack.messages().filter(|m| m.key.starts_with("page:")) {
        let person = NAMES.iter().find(|(id, _)| message.key.split(':').nth(4) == Some(id));
        let (_, person) = person.unwrap();
        *got.entry((message.incident.clone(), (*person).to_owned())).or_default() += 1;
    }
    for message in &run.matrix.messages {
        let Some(rest) = message.body.strip_prefix("PAGE for ") else { continue };
        let (_, person) = NAMES.iter().find(|(_, name)| rest.starts_with(name)).unwrap();
        let id = incident(&message.body);
        *got.entry((id, (*person).to_owned())).or_default() += 1;
    }
    let leapt = !run.clocks.leaps(run.is_file).is_empty();
    for (key, got) in &got {
        let asked = asked.get(key).map_or(0, |(paged, _)| *paged);
        if *got > asked && !key.0.is_empty() && !(leapt && key.1 == NAMES[1].1) {
            wrong.push(format!("{key:?}: {asked} pages in chat were asked for, {got} came"));
        }
    }
    for (key, (paged, delivered)) in &asked {
        let got = got.get(key).copied().unwrap_or_default();
        if delivered > paged || *delivered > got {
            let counts = format!("{paged} asked for, {delivered} delivered, as we say, {got} came");
            wrong.push(format!("{key:?}: pages in chat: {counts}"));
        }
    }
}

/// Whose card it is, or is in it.
fn incident(text: &str) -> String {
    let headline = text.lines().find(|line| line.contains(" · INC-")).unwrap_or_default();
    let (_, id) = headline.rsplit_once(" · ").unwrap_or_default();
    id.to_owned()
}
