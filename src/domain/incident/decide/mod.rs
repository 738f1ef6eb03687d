//! `(state, command, world) -> events`: what happens, without doing it.
//!
//! Each decision folds its own events as it goes, so a later step of the same decision sees the earlier one's effect.

mod storm;

use std::{collections::BTreeSet, time::Duration};

use jiff::{SignedDuration, Timestamp};

use super::{
    CLOCK_SLACK, Command, Env, Event, Incident, NoWake, Observation, Opening, Refusal, Resolution,
    RunEnd, Wake, Who, fold,
};
use crate::domain::{
    ids::IncidentId,
    oncall::{HoldKind, OnCall, PageTarget, Policy},
    schedule::PersonId,
    severity::Severity,
    verdict::Owner,
};

/// A decision: what happened, and the state after it.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The state after all events.
    pub state: Incident,
    /// In order; empty when the command changes nothing.
    pub events: Vec<Event>,
}

/// Most a first page may wait for a verdict.
const MAX_HOLD_PAGE: Duration = Duration::from_mins(1);
/// Least confidence of a user verdict that may replace a page.
const USER_CONFIDENCE: f64 = 0.9;
/// A policy without `then` starts over after this: an exhausted policy never goes silent.
const EXHAUSTED_AGAIN: Duration = Duration::from_mins(30);
/// The reminder comes this long before an ack expires.
const REMIND_BEFORE: Duration = Duration::from_mins(10);

/// Decides a command. `state` is `None` exactly when the command opens the incident.
pub fn decide(state: &Incident, command: Command, env: &Env<'_>) -> Result<Decision, Refusal> {
    let mut now = Deciding { state: state.clone(), events: vec![], env };
    if !matches!(command, Command::SetBack(_)) {
        now.set_back();
    }
    now.command(command)?;
    Ok(Decision { state: now.state, events: now.events })
}

/// Opens an incident with its first command ([`Command::Observe`] or [`Command::Declare`]).
pub fn open(
    id: IncidentId,
    opening: Opening,
    severity: Severity,
    first: Command,
    env: &Env<'_>,
) -> Result<Decision, Refusal> {
    let event = Event::Opened {
        source: opening.source,
        key: opening.key,
        title: opening.title,
        cluster: opening.cluster,
        labels: opening.labels,
        annotations: opening.annotations,
        generator_url: opening.generator_url,
        external_url: opening.external_url,
        severity,
        since: opening.since,
    };
    let state = fold(None, id, env.now, &event);
    let mut decision = decide(&state, first, env)?;
    decision.events.insert(0, event);
    Ok(decision)
}

struct Deciding<'a> {
    state: Incident,
    events: Vec<Event>,
    env: &'a Env<'a>,
}

impl<'a> Deciding<'a> {
    fn push(&mut self, event: Event) {
        let id = self.state.id;
        // The state is folded in place: taken out, changed, put back.
        let state = self.state.clone();
        self.state = fold(Some(state), id, self.env.now, &event);
        self.events.push(event);
    }

    fn after(&self, duration: Duration) -> Timestamp {
        later(self.env.now, duration)
    }

    /// What a clock planned that was ahead comes as much earlier, before anything else is decided: a later event would hide
    /// that the earlier ones lie in the future.
    fn set_back(&mut self) {
        let ahead = Duration::try_from(self.state.changed_at.duration_since(self.env.now));
        if let Some(by) = ahead.ok().filter(|by| *by > CLOCK_SLACK) {
            let by_ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
            self.push(Event::SetBack { by_ms });
        }
    }

    fn command(&mut self, command: Command) -> Result<(), Refusal> {
        match command {
            Command::Observe(seen) => self.observe(&seen),
            Command::Announce { routing } => {
                self.push(Event::routed(routing));
                self.push(Event::NothingDue { reason: NoWake::OnlyPosted });
            }
            Command::Gather { routing, size } => self.gather(routing, size),
            Command::Resize(size) => self.resize(size),
            Command::JoinStorm(place) => self.join_storm(place),
            Command::Declare { by, routing } => {
                self.push(Event::routed(routing));
                self.start_round(format!("declared by {}", by.name), Duration::ZERO, None);
            }
            Command::Wake => self.wake(),
            Command::Paging(pages) => pages.into_iter().for_each(|p| self.push(Event::Paged(p))),
            Command::Nobody { round, target } => self.push(Event::NobodyToPage { round, target }),
            Command::PageDelivered { page, remark } => {
                self.push(Event::PageDelivered { page, remark });
            }
            Command::PageFailed { page, reason, last_hope } => {
                self.push(Event::PageFailed { page, reason, last_hope });
            }
            Command::PageDropped { page, reason } => self.push(Event::PageDropped { page, reason }),
            Command::PostFailed { channel, reason } => {
                self.push(Event::PostFailed { channel, reason });
            }
            Command::PostAccepted { channel } => self.post_accepted(channel),
            Command::RunStarted { playbook, target } => {
                self.push(Event::RunStarted { playbook, target });
            }
            Command::RunEnded(end) => self.run_ended(end),
            Command::Caveat(text) => self.push(Event::Caveat { text }),
            Command::Ack { by, round } => self.ack(by, round)?,
            Command::Snooze { by, until } => self.snooze(by, until)?,
            Command::Resolve { by, anyway } => self.resolve(by, anyway)?,
            Command::EscalateNow { by } => self.escalate_now(by)?,
            Command::Note { by, text } => self.note(by, text),
            Command::Silenced { by, id, until } => self.push(Event::Silenced { by, id, until }),
            Command::Suppress { by, until } => self.suppress(by, until),
            Command::Unsuppress { reason } => {
                self.unsuppress(reason);
            }
            Command::Missing { ended } => self.missing(ended),
            Command::Stale { since } => {
                if self.state.is_open() && self.state.stale.is_none() {
                    self.push(Event::Stale { since });
                }
            }
            Command::SetBack(by) => {
                let by_ms = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
                self.push(Event::SetBack { by_ms });
            }
            Command::Found => {
                if self.state.stale.is_some() {
                    self.push(Event::Found);
                }
            }
        }
        Ok(())
    }

    fn observe(&mut self, seen: &Observation) {
        let fired = seen.new + seen.again > 0;
        let opening = self.state.seq == 1;
        if opening {
            let mut routing = seen.routing.clone();
            routing.channels.extend(seen.matched.iter().flat_map(|m| m.post_to.iter().cloned()));
            self.push(Event::routed(routing));
        }
        let reopened = !self.state.is_open() && fired;
        if reopened {
            let reason = if seen.again > 0 { "it fired again" } else { "another alert fired" };
            self.push(Event::Reopened { reason: reason.to_owned() });
        }
        let known = self.known_targets();
        if fired {
            self.push(Event::Fired {
                new: seen.new,
                again: seen.again,
                firing: seen.firing,
                members: seen.members,
                targets: seen.targets.clone(),
                truncated: seen.truncated,
            });
            self.diagnose(seen, opening);
        }
        if seen.ended > 0 {
            self.push(Event::Ended { ended: seen.ended, firing: seen.firing });
        }
        let severity = seen.matched.iter().filter_map(|m| m.severity).chain(seen.severity).max();
        let rise = severity.filter(|to| fired && *to > self.state.severity);
        if let Some(to) = rise {
            let from = self.state.severity;
            let reason = "a more severe alert fired".to_owned();
            self.push(Event::SeverityChanged { from, to, reason });
        }
        self.settle_or_not(seen.firing);
        if opening || reopened {
            let reason = if opening { "it opened" } else { "it reopened" };
            self.start_round(reason.to_owned(), hold_page(seen, self.state.severity), None);
        } else if self.state.is_open() && fired {
            // Alertmanager leaves muted alerts out of its webhooks: this one is not.
            let reason = "an alert fired that is not muted".to_owned();
            if !self.unsuppress(reason) {
                self.joined(rise, &known, &seen.targets);
            }
        }
    }

    fn known_targets(&self) -> BTreeSet<String> {
        self.state.ack.as_ref().map(|ack| ack.targets.clone()).unwrap_or_default()
    }

    fn diagnose(&mut self, seen: &Observation, opening: bool) {
        if !seen.matched.is_empty() {
            let playbooks = seen.matched.iter().map(|m| m.playbook.clone()).collect();
            self.push(Event::Diagnosing { playbooks });
        } else if opening {
            self.push(Event::NoPlaybook);
        }
    }

    /// Every alert over: settle. One fires while settling: go on where it was, no earlier than now.
    fn settle_or_not(&mut self, firing: u64) {
        let settling = self.state.wake.settles_until().is_some();
        if firing == 0 && self.state.is_open() && !settling {
            let until = self.after(self.env.settings.settle);
            self.push(Event::Settling { until });
        } else if firing > 0 && settling {
            let paused = self.state.paused.as_ref().and_then(|wake| wake.due());
            self.push(Event::Unsettled { next: paused.map(|due| due.max(self.env.now)) });
        } else if firing == 0 && matches!(self.state.wake, Wake::StillFiring(_)) {
            self.push(Event::NothingDue { reason: NoWake::Over });
        }
    }

    /// A member joined a running incident: it pages only if it raises the severity or brings a new target.
    fn joined(&mut self, rise: Option<Severity>, known: &BTreeSet<String>, new: &BTreeSet<String>) {
        let acked = self.state.ack.clone();
        if let Some(to) = rise {
            let assignee = acked.map(|ack| ack.by);
            self.start_round(format!("severity rose to {to}"), Duration::ZERO, assignee);
        } else if let Some(ack) = acked
            && let Some(target) = new.iter().find(|target| !known.contains(*target))
        {
            let reason = format!("{target} failed too after {} took it", ack.by.name);
            self.start_round(reason, Duration::ZERO, Some(ack.by));
        }
    }

    /// The incident's policy; if a reload took it away, any policy rather than silence.
    fn policy(&self) -> Option<&'a Policy> {
        let oncall: &'a OnCall = self.env.oncall;
        oncall.policy(&self.state.policy).or_else(|| oncall.parts().policies.first())
    }

    fn start_round(&mut self, reason: String, hold_page: Duration, assignee: Option<Who>) {
        let (severity, now) = (self.state.severity, self.env.now);
        if severity == Severity::P0 {
            self.leave_storm("it is P0");
        } else if self.state.storm.is_some() {
            return self.push(Event::NothingDue { reason: NoWake::InStorm });
        }
        let Some(policy) = self.policy() else {
            return self.push(Event::NothingDue { reason: NoWake::PolicyWithoutPages });
        };
        let holding = matches!(self.state.wake, Wake::Hold(_));
        if let Some(hold) = self.env.oncall.hold(policy, severity, now)
            && !holding
        {
            let digest = matches!(hold.kind, HoldKind::Digest { .. });
            self.push(Event::Held { until: hold.until, digest, reason });
            return;
        }
        self.begin_round(policy, reason, hold_page, assignee);
    }

    fn begin_round(
        &mut self,
        policy: &Policy,
        reason: String,
        hold_page: Duration,
        assignee: Option<Who>,
    ) {
        let (severity, now) = (self.state.severity, self.env.now);
        let Some(first) = policy.next_step(severity, None) else {
            self.push(Event::NothingDue { reason: NoWake::PolicyWithoutPages });
            return;
        };
        let hold = if severity == Severity::P0 { Duration::ZERO } else { hold_page };
        let first_due = later(later(now, first.at), hold.min(MAX_HOLD_PAGE));
        self.push(Event::RoundStarted {
            number: self.state.rounds + 1,
            reason,
            severity,
            policy: Box::new(policy.clone()),
            first_due,
            assignee,
        });
    }

    fn wake(&mut self) {
        let now = self.env.now;
        let Some(due) = self.state.wake.due().filter(|due| *due <= now) else { return };
        match self.state.wake.clone() {
            Wake::Step(_) => self.take_step(due),
            Wake::AckReminder(_) => self.remind(),
            Wake::AckExpiry(_) => {
                if let Some(ack) = self.state.ack.clone() {
                    self.push(Event::AckExpired { by: ack.by.clone() });
                    let reason = format!("the ack of {} expired", ack.by.name);
                    self.start_round(reason, Duration::ZERO, Some(ack.by));
                }
            }
            Wake::Snooze(_) => {
                let assignee = self.state.ack.clone().map(|ack| ack.by);
                self.push(Event::SnoozeEnded);
                self.start_round("the snooze ended".to_owned(), Duration::ZERO, assignee);
            }
            Wake::Suppression(_) => {
                let reason = "the mute ended, and Alertmanager has not answered since";
                self.unsuppress(reason.to_owned());
            }
            Wake::Settle(_) => self.push(Event::Resolved {
                how: Resolution::AllResolved,
                still_firing: self.state.firing,
                look_again: None,
            }),
            Wake::Hold(_) => {
                self.start_round("the policy's hold ended".to_owned(), Duration::ZERO, None);
            }
            Wake::Digest(_) => {
                self.start_round("it waits for the digest".to_owned(), Duration::ZERO, None);
            }
            Wake::StillFiring(_) => self.still_firing(),
            Wake::Never(_) => {}
        }
    }

    fn take_step(&mut self, due: Timestamp) {
        let now = self.env.now;
        let Some(round) = self.state.round.clone() else {
            return self.start_round("its round was lost".to_owned(), Duration::ZERO, None);
        };
        let elapsed = Duration::try_from(now.duration_since(round.started_at)).unwrap_or_default();
        let Some(next) = round.policy.next_step(round.severity, round.taken) else {
            let reason = "the policy is exhausted and nobody answered".to_owned();
            return self.start_round(reason, Duration::ZERO, None);
        };
        // Found late: the steps that passed collapse to the one of now, and the page says how late.
        let step = round.policy.collapse(round.severity, round.taken, elapsed).unwrap_or(next);
        let mut page = step.page.clone();
        if let (None, Some(assignee)) = (&round.taken, &round.assignee)
            && !assignee.id.is_empty()
        {
            let first = PageTarget::Person(PersonId(assignee.id.clone()));
            page.retain(|target| *target != first);
            page.insert(0, first);
        }
        let following = round.policy.next_step(round.severity, Some(step.step));
        let again = self.after(EXHAUSTED_AGAIN);
        let next_due = following.map_or(again, |f| later(round.started_at, f.at).max(now));
        self.push(Event::StepTaken {
            round: round.number,
            step: step.step,
            page,
            post: step.post.clone(),
            late_ms: now.duration_since(due).as_millis().try_into().unwrap_or(i64::MAX),
            fallback: step.step.is_fallback(),
            next: Some(next_due),
        });
    }

    fn remind(&mut self) {
        let expiry = self.state.ack.as_ref().and_then(|ack| ack.expires_at);
        self.push(Event::AckReminded { expires_at: expiry.unwrap_or(self.env.now) });
    }

    fn still_firing(&mut self) {
        if self.state.firing == 0 {
            return self.push(Event::NothingDue { reason: NoWake::Over });
        }
        let who = match &self.state.resolution {
            Some(Resolution::ByHand(who)) => who.name.clone(),
            Some(Resolution::AllResolved | Resolution::Missing) | None => "somebody".to_owned(),
        };
        let what =
            if self.state.is_storm() { "incidents are still open" } else { "alerts still fire" };
        let reason = format!("{} {what}; {who} had resolved it", self.state.firing);
        self.push(Event::Reopened { reason: reason.clone() });
        self.start_round(reason, Duration::ZERO, None);
    }

    fn run_ended(&mut self, end: RunEnd) {
        let trusted = !end.incomplete;
        self.push(Event::RunEnded(end));
        let Wake::Step(due) = self.state.wake else { return };
        let untouched = self.state.round.as_ref().is_some_and(|r| r.taken.is_none());
        if !untouched || self.state.running > 0 || due <= self.env.now {
            return;
        }
        if let Some(channel) = self.owners_channel(trusted) {
            self.push(Event::OwnerAsked { channel });
        } else if !self.state.verdicts.is_empty() {
            self.push(Event::PageBroughtForward { due: self.env.now });
        }
    }

    /// The channel that a sure user error may go to instead of a page.
    fn owners_channel(&self, trusted: bool) -> Option<String> {
        let best = self.state.verdicts.first()?;
        let sure = best.owner == Owner::User && best.confidence >= USER_CONFIDENCE && trusted;
        let max = self.state.user_max.unwrap_or(self.env.settings.user_errors_max);
        let allowed = self.state.severity <= max && self.state.severity < Severity::P0;
        self.state.user_channel.clone().filter(|_| sure && allowed)
    }

    fn post_accepted(&mut self, channel: String) {
        // Only a card that was asked for instead of the page counts, not one that happens to be there.
        let asked = self.state.owner_asked && self.state.user_channel.as_ref() == Some(&channel);
        let untouched = self.state.round.as_ref().is_some_and(|r| r.taken.is_none());
        if asked && untouched && self.owners_channel(true).is_some() && self.state.running == 0 {
            self.push(Event::OwnerTookIt { channel });
        }
    }

    fn is_open(&self) -> Result<(), Refusal> {
        let status = self.state.status;
        if status.is_open() { Ok(()) } else { Err(Refusal::NotOpen(self.state.id, status.word())) }
    }

    fn ack(&mut self, by: Who, round: Option<i64>) -> Result<(), Refusal> {
        self.is_open()?;
        let current = self.state.rounds;
        if let Some(clicked) = round.filter(|clicked| *clicked < current) {
            let lines = &self.state.lines;
            let started = lines.iter().rev().find(|line| line.text.starts_with("round "));
            return Err(Refusal::EarlierRound {
                incident: self.state.id,
                clicked,
                now: current,
                reason: started
                    .and_then(|line| line.text.split_once(": "))
                    .map_or_else(|| "it escalated again".to_owned(), |(_, why)| why.to_owned()),
            });
        }
        let (expires_at, remind_at) = self.ack_times();
        if self.state.ack.as_ref().is_some_and(|ack| ack.by.name == by.name)
            && let Some(expires_at) = expires_at
        {
            self.push(Event::AckExtended { by, expires_at, remind_at });
        } else {
            self.push(Event::Acknowledged { by, round: current, expires_at, remind_at });
        }
        Ok(())
    }

    fn ack_times(&self) -> (Option<Timestamp>, Option<Timestamp>) {
        if self.state.storm.is_some() {
            // The storm's own ack expires.
            return (None, None);
        }
        let severity = self.state.severity;
        let lasts = self.policy().and_then(|policy| policy.ack_expires.get(&severity).copied());
        let before = |lasts: Duration| lasts.checked_sub(REMIND_BEFORE).filter(|d| !d.is_zero());
        let remind = lasts.and_then(before).map(|wait| self.after(wait));
        (lasts.map(|lasts| self.after(lasts)), remind)
    }

    fn snooze(&mut self, by: Who, until: Timestamp) -> Result<(), Refusal> {
        self.is_open()?;
        if until <= self.env.now {
            return Err(Refusal::BadTime("the snooze must end in the future".to_owned()));
        }
        if self.state.ack.is_none() {
            let round = self.state.rounds;
            self.push(Event::Acknowledged {
                by: by.clone(),
                round,
                expires_at: None,
                remind_at: None,
            });
        }
        self.push(Event::Snoozed { by, until });
        Ok(())
    }

    fn resolve(&mut self, by: Who, anyway: bool) -> Result<(), Refusal> {
        self.is_open()?;
        let firing = self.state.firing;
        if firing > 0 && !anyway {
            let storm = self.state.is_storm();
            return Err(Refusal::StillFiring { storm, incident: self.state.id, firing });
        }
        let minutes = if self.state.severity >= Severity::P1 { 15 } else { 60 };
        let look_again = self.after(Duration::from_mins(minutes));
        self.push(Event::Resolved {
            how: Resolution::ByHand(by),
            still_firing: firing,
            look_again: (firing > 0).then_some(look_again),
        });
        Ok(())
    }

    fn escalate_now(&mut self, by: Who) -> Result<(), Refusal> {
        self.is_open()?;
        if self.state.round.is_some() {
            self.push(Event::EscalatedNow { by });
        } else {
            self.leave_storm("somebody asked for it by itself");
            // Whoever asks for it now does not mean business hours.
            let reason = format!("{} asked to escalate", by.name);
            match self.policy() {
                Some(policy) => self.begin_round(policy, reason, Duration::ZERO, None),
                None => self.start_round(reason, Duration::ZERO, None),
            }
        }
        Ok(())
    }

    fn note(&mut self, by: Who, text: String) {
        let acker = self.state.ack.as_ref().is_some_and(|ack| ack.by.name == by.name);
        self.push(Event::Noted { by: by.name.clone(), text });
        if acker && let (Some(expires_at), remind_at) = self.ack_times() {
            self.push(Event::AckExtended { by, expires_at, remind_at });
        }
    }

    fn suppress(&mut self, by: String, until: Timestamp) {
        // What settles resolves unless an alert fires again, and one that does is not muted.
        if !self.state.is_open() || self.state.wake.settles_until().is_some() {
            return;
        }
        match self.state.wake.muted_until() {
            None => self.push(Event::Suppressed { by, until }),
            Some(known) if known != until || self.state.suppressed_by.as_ref() != Some(&by) => {
                self.push(Event::SuppressionMoved { by, until });
            }
            Some(_) => {}
        }
    }

    /// Active again, or unknown: Alertmanager may not notify before its `repeat_interval`, so a new round begins at once,
    /// unless a person put it off. False when it was not suppressed.
    fn unsuppress(&mut self, reason: String) -> bool {
        if self.state.wake.muted_until().is_none() {
            return false;
        }
        self.push(Event::SuppressionEnded { reason: reason.clone() });
        if !matches!(self.state.wake, Wake::Snooze(_)) {
            let assignee = self.state.ack.clone().map(|ack| ack.by);
            self.start_round(reason, Duration::ZERO, assignee);
        }
        true
    }

    fn missing(&mut self, ended: u64) {
        if self.state.is_open() {
            self.push(Event::Ended { ended, firing: 0 });
            self.push(Event::Resolved {
                how: Resolution::Missing,
                still_firing: 0,
                look_again: None,
            });
        }
    }
}

fn hold_page(seen: &Observation, severity: Severity) -> Duration {
    let shortest = seen.matched.iter().map(|m| m.hold_page).min().unwrap_or_default();
    if severity == Severity::P0 { Duration::ZERO } else { shortest }
}

fn later(from: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by)
        .ok()
        .and_then(|by| from.checked_add(by).ok())
        .unwrap_or(Timestamp::MAX)
}
