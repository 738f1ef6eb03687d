//! What must happen because of what happened: events become jobs. Pure.

use jiff::Timestamp;
use serde_json::json;

use super::{evidence, pages};
use crate::{
    domain::{
        ids::IncidentId,
        incident::{Decision, Event, Incident},
        severity::Severity,
    },
    store::{Changes, NewJob, Repeat},
};

/// Adds the jobs that a decision asks for.
pub fn add(changes: &mut Changes, before: Option<&Incident>, decision: &Decision, now: Timestamp) {
    let state = &decision.state;
    wake(changes, before, state, now);
    for event in &decision.events {
        match event {
            Event::StepTaken { .. } => changes.jobs.extend(pages::orders(state, event, now)),
            Event::Diagnosing { .. } if !is_quiet(state) => changes.jobs.push(diagnose(state, now)),
            // What was left out while the storm spoke for it.
            Event::LeftStorm { .. } if !state.playbooks.is_empty() => {
                changes.jobs.push(diagnose(state, now));
            }
            Event::Noted { by, text } => {
                let key = format!("note:{}", state.seq);
                changes.jobs.extend(evidence::notes(state, &key, by, text, "", now));
            }
            Event::AckReminded { .. } => {
                changes.jobs.extend(evidence::mention_acker(state, "still on it?", now));
            }
            Event::Fired { .. } if state.ack.is_some() && before.is_some() => {
                changes.jobs.extend(evidence::mention_acker(state, "more alerts fire", now));
            }
            _ => {}
        }
    }
    storm(changes, before, decision, now);
    // A mute that only moved says nothing that a card shows.
    let is_only_moved = |event: &Event| matches!(event, Event::SuppressionMoved { .. });
    if is_quiet(state) || decision.events.iter().all(is_only_moved) {
        return;
    }
    // A channel that just refused the card is tried again with the next change, not because of its own refusal.
    let refused: Vec<&String> = decision
        .events
        .iter()
        .filter_map(
            |e| if let Event::PostFailed { channel, .. } = e { Some(channel) } else { None },
        )
        .collect();
    // When nothing else happened, a channel that waits for its own next attempt is not hurried: two dead channels would
    // keep each other busy.
    let only_refused = refused.len() == decision.events.len();
    for channel in state.channels.iter().filter(|channel| !refused.contains(channel)) {
        let repeat = if only_refused { Repeat::Keep } else { Repeat::Replace };
        changes.jobs.push(NewJob { repeat, ..post(state, channel, now) });
    }
}

/// Another member of the storm speaks for it.
fn is_quiet(state: &Incident) -> bool {
    state.storm.as_ref().is_some_and(|place| place.quiet)
}

/// A member changed in a way its storm shows: the storm looks at its members anew.
fn storm(changes: &mut Changes, before: Option<&Incident>, decision: &Decision, now: Timestamp) {
    let state = &decision.state;
    let shows = |event: &Event| {
        matches!(
            event,
            Event::JoinedStorm(_)
                | Event::LeftStorm { .. }
                | Event::SeverityChanged { .. }
                | Event::RunEnded(_)
                | Event::Resolved { .. }
                | Event::Reopened { .. }
                | Event::Suppressed { .. }
                | Event::SuppressionMoved { .. }
                | Event::SuppressionEnded { .. }
        )
    };
    if decision.events.iter().any(shows) {
        let places = [Some(state), before].into_iter().flatten().filter_map(|i| i.storm.as_ref());
        changes.jobs.extend(places.map(|place| look_at_storm(place.storm, now)));
    }
    if state.is_storm() && decision.events.iter().any(|e| matches!(e, Event::Acknowledged { .. })) {
        changes.jobs.push(look_at_storm(state.id, now));
    }
}

/// The job that looks at a storm's members.
pub fn look_at_storm(storm: IncidentId, now: Timestamp) -> NewJob {
    NewJob {
        key: format!("storm:{storm}"),
        kind: "storm",
        incident: Some(storm),
        due: now,
        priority: 1,
        payload: json!({}),
        repeat: Repeat::Replace,
    }
}

/// The one wake-up an incident owns.
fn wake(changes: &mut Changes, before: Option<&Incident>, state: &Incident, now: Timestamp) {
    let key = wake_key(state.id);
    match state.wake.due() {
        // What is due already is planned anew: the job that wakes it now may be the one that ends with this change.
        Some(due) if due <= now || before.is_none_or(|b| b.wake != state.wake) => {
            changes.jobs.push(wake_job(state, due.max(now)));
        }
        Some(_) => {}
        None => changes.cancelled.push(key),
    }
}

/// The job that wakes an incident.
pub fn wake_job(state: &Incident, due: Timestamp) -> NewJob {
    NewJob {
        key: wake_key(state.id),
        kind: "wake",
        incident: Some(state.id),
        due,
        priority: priority(state.severity),
        payload: json!({}),
        repeat: Repeat::Replace,
    }
}

fn wake_key(id: IncidentId) -> String {
    format!("wake:{id}")
}

fn diagnose(state: &Incident, now: Timestamp) -> NewJob {
    NewJob {
        key: format!("diagnose:{}", state.id),
        kind: "diagnose",
        incident: Some(state.id),
        due: now,
        priority: priority(state.severity),
        payload: json!({}),
        repeat: Repeat::Replace,
    }
}

/// The job that brings a channel's card up to date.
pub fn post(state: &Incident, channel: &str, now: Timestamp) -> NewJob {
    NewJob {
        key: format!("post:{}:{channel}", state.id),
        kind: "post",
        incident: Some(state.id),
        due: now,
        priority: priority(state.severity) + 1,
        payload: json!({ "channel": channel }),
        repeat: Repeat::Replace,
    }
}

/// P0 first.
pub fn priority(severity: Severity) -> i64 {
    match severity {
        Severity::P0 => 0,
        Severity::P1 => 2,
        Severity::P2 => 4,
        Severity::P3 => 6,
    }
}
