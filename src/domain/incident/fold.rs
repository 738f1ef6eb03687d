//! `(state, event) -> state`: total, and the only place that changes an incident.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{
    Ack, Event, FORMAT, Incident, Line, MAX_ITEMS, MAX_LINES, NoWake, Resolution, Round, Status,
    Wake, show,
};
use crate::domain::{ids::IncidentId, severity::Severity, verdict};

/// Applies one event. The first event of an incident is [`Event::Opened`] and needs no state.
pub fn fold(state: Option<Incident>, id: IncidentId, at: Timestamp, event: &Event) -> Incident {
    let mut state = state.unwrap_or_else(|| blank(id, at));
    state.seq += 1;
    state.format = state.format.max(FORMAT);
    state.changed_at = at;
    apply(&mut state, at, event);
    if let Some(text) = show::line(event) {
        if state.lines.len() == MAX_LINES {
            state.lines.remove(0);
        }
        state.lines.push(Line { at, text });
    }
    state
}

fn blank(id: IncidentId, at: Timestamp) -> Incident {
    Incident {
        id,
        source: String::new(),
        key: String::new(),
        title: String::new(),
        cluster: String::new(),
        labels: crate::domain::alert::Labels::new(),
        annotations: crate::domain::alert::Labels::new(),
        generator_url: String::new(),
        external_url: String::new(),
        status: Status::Triggered,
        severity: Severity::P2,
        peak: Severity::P2,
        since: at,
        opened_at: at,
        resolved_at: None,
        resolution: None,
        opening: 1,
        firing: 0,
        members: 0,
        flaps: 0,
        truncated: 0,
        targets: BTreeSet::new(),
        team: String::new(),
        policy: String::new(),
        channels: BTreeSet::new(),
        user_channel: None,
        user_max: None,
        owner_asked: false,
        storm: None,
        named: vec![],
        playbooks: BTreeSet::new(),
        rounds: 0,
        round: None,
        ack: None,
        wake: Wake::Never(NoWake::PolicyWithoutPages),
        paused: None,
        suppressed_by: None,
        stale: None,
        running: 0,
        runs_done: 0,
        verdicts: vec![],
        caveats: vec![],
        lines: vec![],
        changed_at: at,
        seq: 0,
        format: FORMAT,
        newer: BTreeMap::new(),
    }
}

fn apply(state: &mut Incident, at: Timestamp, event: &Event) {
    match event {
        Event::Opened { .. } | Event::Routed { .. } | Event::Fired { .. } | Event::Ended { .. } => {
            membership(state, event);
        }
        Event::RoundStarted { .. }
        | Event::Held { .. }
        | Event::PageBroughtForward { .. }
        | Event::StepTaken { .. }
        | Event::NobodyToPage { .. }
        | Event::Paged(_)
        | Event::PageDelivered { .. }
        | Event::PageFailed { .. }
        | Event::PageDropped { .. }
        | Event::EscalatedNow { .. } => escalation(state, at, event),
        Event::Diagnosing { .. }
        | Event::NoPlaybook
        | Event::RunStarted { .. }
        | Event::RunEnded(_)
        | Event::Caveat { .. }
        | Event::OwnerAsked { .. }
        | Event::OwnerTookIt { .. } => diagnosis(state, event),
        Event::Acknowledged { .. }
        | Event::AckReminded { .. }
        | Event::AckExtended { .. }
        | Event::AckExpired { .. }
        | Event::Snoozed { .. }
        | Event::SnoozeEnded => ack(state, at, event),
        Event::SeverityChanged { to, .. } => {
            state.severity = *to;
            state.peak = state.peak.max(*to);
        }
        Event::Suppressed { .. }
        | Event::SuppressionMoved { .. }
        | Event::SuppressionEnded { .. }
        | Event::Stale { .. }
        | Event::Found => asked(state, event),
        Event::Settling { until } => {
            let before = std::mem::replace(&mut state.wake, Wake::Settle(*until));
            state.paused = Some(Box::new(before));
        }
        Event::Unsettled { next } => {
            let paused = state.paused.take().map_or(Wake::Step(at), |wake| *wake);
            state.wake = match next {
                Some(next) => moved(&paused, *next),
                None => paused,
            };
        }
        Event::SetBack { by_ms } => set_back(state, *by_ms),
        Event::Resolved { how, look_again, .. } => resolved(state, at, how, *look_again),
        Event::Reopened { .. } => reopened(state),
        Event::Mitigated { .. } => state.status = Status::Mitigated,
        Event::NothingDue { reason } => {
            state.round = None;
            set_wake(state, Wake::Never(*reason));
        }
        Event::StormSized { .. } | Event::JoinedStorm(_) | Event::LeftStorm { .. } => {
            storm(state, event);
        }
        Event::PostFailed { .. }
        | Event::Noted { .. }
        | Event::Silenced { .. }
        | Event::Newer { .. } => {}
    }
}

fn asked(state: &mut Incident, event: &Event) {
    match event {
        Event::Suppressed { by, until } => {
            let before = std::mem::replace(&mut state.wake, Wake::Suppression(*until));
            state.paused = Some(Box::new(before));
            state.suppressed_by = Some(by.clone());
        }
        Event::SuppressionMoved { by, until } => {
            state.wake = Wake::Suppression(*until);
            state.suppressed_by = Some(by.clone());
        }
        Event::SuppressionEnded { .. } => {
            state.suppressed_by = None;
            // Who put it off until then meant it.
            let snooze = state.paused.take().filter(|wake| matches!(**wake, Wake::Snooze(_)));
            if let Some(snooze) = snooze {
                state.wake = *snooze;
            }
        }
        Event::Stale { since } => state.stale = Some(*since),
        Event::Found => state.stale = None,
        _ => {}
    }
}

fn storm(state: &mut Incident, event: &Event) {
    match event {
        Event::StormSized { members, open, named, verdicts } => {
            (state.members, state.firing) = (*members, *open);
            state.named.clone_from(named);
            state.verdicts.clone_from(verdicts);
        }
        Event::JoinedStorm(place) => {
            state.storm = Some(place.clone());
            state.round = None;
            set_wake(state, Wake::Never(NoWake::InStorm));
        }
        Event::LeftStorm { .. } => state.storm = None,
        _ => {}
    }
}

fn membership(state: &mut Incident, event: &Event) {
    match event {
        Event::Opened {
            source,
            key,
            title,
            cluster,
            labels,
            annotations,
            generator_url,
            external_url,
            severity,
            since,
        } => {
            state.source.clone_from(source);
            state.key.clone_from(key);
            state.title.clone_from(title);
            state.cluster.clone_from(cluster);
            state.labels.clone_from(labels);
            state.annotations.clone_from(annotations);
            state.generator_url.clone_from(generator_url);
            state.external_url.clone_from(external_url);
            (state.severity, state.peak, state.since) = (*severity, *severity, *since);
        }
        Event::Routed { team, policy, channels, user_channel, user_max } => {
            state.user_max = *user_max;
            state.team.clone_from(team);
            state.policy.clone_from(policy);
            state.channels.extend(channels.iter().cloned());
            state.user_channel.clone_from(user_channel);
        }
        Event::Fired { again, firing, members, targets, truncated, .. } => {
            (state.firing, state.members) = (*firing, *members);
            state.flaps += again;
            state.stale = None;
            state.truncated = (*truncated).max(state.truncated);
            let room = MAX_ITEMS.saturating_sub(state.targets.len());
            state.targets.extend(targets.iter().take(room).cloned());
        }
        Event::Ended { firing, .. } => state.firing = *firing,
        _ => {}
    }
}

fn escalation(state: &mut Incident, at: Timestamp, event: &Event) {
    match event {
        Event::RoundStarted { number, severity, policy, first_due, assignee, .. } => {
            state.rounds = *number;
            state.owner_asked = false;
            state.round = Some(Round {
                number: *number,
                started_at: at,
                severity: *severity,
                policy: (**policy).clone(),
                taken: None,
                fallback: false,
                targets: 0,
                empty: 0,
                assignee: assignee.clone(),
            });
            if state.is_open() {
                state.status = Status::Triggered;
            }
            state.ack = None;
            set_wake(state, Wake::Step(*first_due));
        }
        Event::Held { until, digest, .. } => {
            let wake = if *digest { Wake::Digest(*until) } else { Wake::Hold(*until) };
            set_wake(state, wake);
        }
        Event::PageBroughtForward { due } => state.wake = Wake::Step(*due),
        Event::EscalatedNow { .. } => set_wake(state, Wake::Step(at)),
        Event::StepTaken { step, page, post, fallback, next, .. } => {
            state.channels.extend(post.iter().cloned());
            if let Some(round) = &mut state.round {
                round.taken = Some(*step);
                (round.fallback, round.targets, round.empty) = (*fallback, page.len(), 0);
            }
            if let Some(next) = next {
                set_wake(state, Wake::Step(*next));
            }
        }
        Event::NobodyToPage { round: number, .. } => {
            let all_empty = match &mut state.round {
                Some(round) if round.number == *number => {
                    round.empty += 1;
                    round.empty >= round.targets && !round.fallback
                }
                Some(_) | None => false,
            };
            bring_forward(state, at, all_empty);
        }
        Event::PageFailed { page, last_hope, .. } => {
            let round = state.round.as_ref();
            let counts = round.is_some_and(|r| r.number == page.round && !r.fallback);
            bring_forward(state, at, counts && *last_hope);
        }
        _ => {}
    }
}

/// The next step comes at once; a new pass of an exhausted policy keeps its time, or it would spin.
fn bring_forward(state: &mut Incident, at: Timestamp, wanted: bool) {
    let round = state.round.as_ref();
    if let Wake::Step(due) = state.wake
        && wanted
        && due > at
        && round.is_some_and(|r| r.policy.next_step(r.severity, r.taken).is_some())
    {
        state.wake = Wake::Step(at);
    }
}

fn diagnosis(state: &mut Incident, event: &Event) {
    match event {
        Event::Diagnosing { playbooks } => state.playbooks.extend(playbooks.iter().cloned()),
        Event::RunStarted { .. } => state.running += 1,
        Event::RunEnded(end) => {
            state.running = (state.running - 1).max(0);
            state.runs_done += 1;
            let known = std::mem::take(&mut state.verdicts);
            state.verdicts = verdict::rank(known.into_iter().chain(end.verdicts.iter().cloned()));
            state.verdicts.truncate(MAX_ITEMS);
            end.caveats.iter().for_each(|text| caveat(state, text));
        }
        Event::Caveat { text } => caveat(state, text),
        Event::OwnerAsked { channel } => {
            state.owner_asked = true;
            state.channels.insert(channel.clone());
        }
        Event::OwnerTookIt { .. } => {
            state.round = None;
            set_wake(state, Wake::Never(NoWake::UserErrorAccepted));
        }
        _ => {}
    }
}

fn caveat(state: &mut Incident, text: &str) {
    if state.caveats.len() < MAX_ITEMS && !state.caveats.iter().any(|known| known == text) {
        state.caveats.push(text.to_owned());
    }
}

fn ack(state: &mut Incident, at: Timestamp, event: &Event) {
    match event {
        Event::Acknowledged { by, round, expires_at, remind_at } => {
            state.status = Status::Acknowledged;
            state.ack = Some(Ack {
                by: by.clone(),
                at,
                round: *round,
                severity: state.severity,
                expires_at: *expires_at,
                targets: state.targets.clone(),
            });
            state.round = None;
            let wake = match state.storm {
                Some(_) => Wake::Never(NoWake::InStorm),
                None => ack_wake(*expires_at, *remind_at),
            };
            set_wake(state, wake);
        }
        Event::AckExtended { expires_at, remind_at, .. } => {
            if let Some(ack) = &mut state.ack {
                ack.expires_at = Some(*expires_at);
            }
            set_wake(state, ack_wake(Some(*expires_at), *remind_at));
        }
        Event::AckReminded { expires_at } => state.wake = Wake::AckExpiry(*expires_at),
        Event::Snoozed { until, .. } => {
            state.round = None;
            set_wake(state, Wake::Snooze(*until));
        }
        // For an expired ack or snooze, the round that follows sets status and wake.
        _ => {}
    }
}

fn ack_wake(expires_at: Option<Timestamp>, remind_at: Option<Timestamp>) -> Wake {
    match (remind_at, expires_at) {
        (Some(remind), _) => Wake::AckReminder(remind),
        (None, Some(expiry)) => Wake::AckExpiry(expiry),
        (None, None) => Wake::Never(NoWake::AckDoesNotExpire),
    }
}

fn set_back(state: &mut Incident, by_ms: i64) {
    let by = SignedDuration::from_millis(by_ms);
    let earlier = |at: Timestamp| at.saturating_sub(by).unwrap_or(at);
    let wake =
        |wake: &Wake| wake.due().map_or_else(|| wake.clone(), |due| moved(wake, earlier(due)));
    state.wake = wake(&state.wake);
    state.paused = state.paused.take().map(|paused| Box::new(wake(&paused)));
    if let Some(round) = &mut state.round {
        round.started_at = earlier(round.started_at);
    }
    if let Some(ack) = &mut state.ack {
        ack.at = earlier(ack.at);
        ack.expires_at = ack.expires_at.map(earlier);
    }
    state.resolved_at = state.resolved_at.map(earlier);
}

fn resolved(state: &mut Incident, at: Timestamp, how: &Resolution, look_again: Option<Timestamp>) {
    state.status = Status::Resolved;
    state.resolved_at = Some(at);
    state.resolution = Some(how.clone());
    state.round = None;
    (state.paused, state.suppressed_by, state.stale) = (None, None, None);
    state.wake = look_again.map_or(Wake::Never(NoWake::Over), Wake::StillFiring);
}

fn reopened(state: &mut Incident) {
    state.status = Status::Triggered;
    state.opening += 1;
    (state.resolved_at, state.resolution, state.ack, state.paused) = (None, None, None, None);
    state.storm = None;
    // Evidence of the earlier opening stays on the timeline; the card shows this opening's.
    state.verdicts.clear();
    state.caveats.clear();
    (state.running, state.runs_done) = (0, 0);
}

/// While it settles or is suppressed, a new wake-up waits behind that.
fn set_wake(state: &mut Incident, wake: Wake) {
    match state.wake {
        Wake::Settle(_) | Wake::Suppression(_) if state.paused.is_some() => {
            state.paused = Some(Box::new(wake));
        }
        _ => state.wake = wake,
    }
}

fn moved(wake: &Wake, to: Timestamp) -> Wake {
    match wake {
        Wake::Step(_) => Wake::Step(to),
        Wake::AckReminder(_) => Wake::AckReminder(to),
        Wake::AckExpiry(_) => Wake::AckExpiry(to),
        Wake::Snooze(_) => Wake::Snooze(to),
        Wake::Suppression(_) => Wake::Suppression(to),
        Wake::Settle(_) => Wake::Settle(to),
        Wake::Hold(_) => Wake::Hold(to),
        Wake::Digest(_) => Wake::Digest(to),
        Wake::StillFiring(_) => Wake::StillFiring(to),
        Wake::Never(reason) => Wake::Never(*reason),
    }
}
