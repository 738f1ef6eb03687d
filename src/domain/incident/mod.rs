//! The incident: a pure state machine. Everything about it is a fold of its timeline.
//!
//! `decide(state, command, env) -> events` ([`decide()`]) and `fold(state, event)` ([`fold()`]) are the whole of it; the
//! engine loads, decides, commits state, events and jobs in one transaction, and on a lost race reloads and decides
//! again. Nothing here reads a clock or draws a random number.
//!
//! The wake-up invariant: an open incident owns exactly one [`Wake`]; it is either an instant or a recorded reason why
//! nothing will happen. A wake-up that comes early, late or twice is harmless: the state says what is due.

pub mod asked;
mod command;
pub mod correlate;
mod decide;
mod event;
mod fold;
pub mod show;
pub mod storm;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::{
    command::{Command, Env, Matched, Observation, Opening, Refusal, Routing, Settings},
    decide::{Decision, decide, open},
    event::{Event, Pager, RunEnd, Who},
    fold::fold,
};
use super::{
    alert::Labels,
    ids::IncidentId,
    oncall::{Policy, StepRef},
    severity::Severity,
    verdict::Verdict,
};

/// Where an incident is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nobody has it yet.
    Triggered,
    /// A person has it.
    Acknowledged,
    /// The effect is gone, the cause may not be.
    Mitigated,
    /// Over.
    Resolved,
    /// Looked at afterwards.
    Reviewed,
}

impl Status {
    /// The word people see and filter by.
    pub fn word(self) -> &'static str {
        match self {
            Self::Triggered => "triggered",
            Self::Acknowledged => "acknowledged",
            Self::Mitigated => "mitigated",
            Self::Resolved => "resolved",
            Self::Reviewed => "reviewed",
        }
    }

    /// True while someone may have to act.
    pub fn is_open(self) -> bool {
        match self {
            Self::Triggered | Self::Acknowledged | Self::Mitigated => true,
            Self::Resolved | Self::Reviewed => false,
        }
    }
}

/// The one thing that will happen next by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wake {
    /// The round's next step.
    Step(Timestamp),
    /// "Still on it?" shortly before the ack expires.
    AckReminder(Timestamp),
    /// The ack expires: a new round.
    AckExpiry(Timestamp),
    /// A person's snooze ends: a new round.
    Snooze(Timestamp),
    /// The silence that suppresses it ends: ask again.
    Suppression(Timestamp),
    /// Every alert is over; it resolves unless one fires again before.
    Settle(Timestamp),
    /// The policy holds its page until then (business hours).
    Hold(Timestamp),
    /// It waits for the digest.
    Digest(Timestamp),
    /// Resolved by hand while alerts fire: look again.
    StillFiring(Timestamp),
    /// Nothing, for this reason.
    Never(NoWake),
}

impl Wake {
    /// When, if ever.
    pub fn due(&self) -> Option<Timestamp> {
        match self {
            Self::Step(at)
            | Self::AckReminder(at)
            | Self::AckExpiry(at)
            | Self::Snooze(at)
            | Self::Suppression(at)
            | Self::Settle(at)
            | Self::Hold(at)
            | Self::Digest(at)
            | Self::StillFiring(at) => Some(*at),
            Self::Never(_) => None,
        }
    }

    /// Until when it settles, if it does.
    pub fn settles_until(&self) -> Option<Timestamp> {
        if let Self::Settle(until) = self { Some(*until) } else { None }
    }

    /// Until when what mutes it in Alertmanager lasts, if something does.
    pub fn muted_until(&self) -> Option<Timestamp> {
        if let Self::Suppression(until) = self { Some(*until) } else { None }
    }
}

/// Why an incident will not wake anybody by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoWake {
    /// It is over.
    Over,
    /// Its policy pages nobody at this severity.
    PolicyWithoutPages,
    /// Its policy lets acks of this severity stand.
    AckDoesNotExpire,
    /// A user error whose owner's channel accepted it.
    UserErrorAccepted,
    /// A member of a storm, which wakes for it.
    InStorm,
    /// A notice: it is posted, and pages nobody.
    OnlyPosted,
}

/// One pass of escalation through a policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// From 1, in one incident.
    pub number: i64,
    /// Step delays count from here.
    pub started_at: Timestamp,
    /// The severity it pages for.
    pub severity: Severity,
    /// The policy as it was: a later edit does not move steps under a running round.
    pub policy: Policy,
    /// The last step taken.
    pub taken: Option<StepRef>,
    /// That step was the policy's `then`.
    pub fallback: bool,
    /// Targets of that step.
    pub targets: usize,
    /// How many of them had nobody to page.
    pub empty: usize,
    /// The earlier acker, paged first.
    pub assignee: Option<Who>,
}

/// A person's "I have it".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Who.
    pub by: Who,
    /// When.
    pub at: Timestamp,
    /// The round it ended.
    pub round: i64,
    /// The severity it was given for.
    pub severity: Severity,
    /// When it must be renewed.
    pub expires_at: Option<Timestamp>,
    /// Targets that had a member then; a new one pages again.
    pub targets: BTreeSet<String>,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// Every alert is over.
    AllResolved,
    /// A person said so.
    ByHand(Who),
    /// Alertmanager does not know its alerts any more (P2, P3).
    Missing,
}

/// A line of the card's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When.
    pub at: Timestamp,
    /// What, in words.
    pub text: String,
}

/// A last event that is less ahead than this was decided by no clock that was ahead.
pub const CLOCK_SLACK: Duration = Duration::from_secs(5);
/// Most history lines kept in the state; the timeline keeps all.
pub const MAX_LINES: usize = 40;
/// Most targets, caveats, channels and verdicts kept in the state.
pub const MAX_ITEMS: usize = 50;

/// What stored states hold; it grows when an older version could not read what this one writes. Replicas of several versions
/// share a store while an upgrade runs, and docs/adr/0055 says what may change how.
pub const FORMAT: u32 = 1;

/// An incident's state: the fold of its timeline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Its number.
    pub id: IncidentId,
    /// The source of its alerts.
    pub source: String,
    /// What makes alerts belong to it; unique among open incidents.
    pub key: String,
    /// One line.
    pub title: String,
    /// Value of the `cluster` label, or the source's.
    pub cluster: String,
    /// Labels its alerts had in common when it opened.
    pub labels: Labels,
    /// Annotations of its first alert.
    pub annotations: Labels,
    /// The first alert's expression page.
    pub generator_url: String,
    /// The sender's own page.
    pub external_url: String,
    /// Where it is.
    pub status: Status,
    /// Now.
    pub severity: Severity,
    /// The worst so far.
    pub peak: Severity,
    /// Earliest `startsAt`.
    pub since: Timestamp,
    /// When we opened it.
    pub opened_at: Timestamp,
    /// When it last resolved.
    pub resolved_at: Option<Timestamp>,
    /// How it last resolved.
    pub resolution: Option<Resolution>,
    /// From 1; grows with each reopening.
    pub opening: i64,
    /// Members that fire; of a storm: member incidents that are open.
    pub firing: u64,
    /// Members in all.
    pub members: u64,
    /// Re-fires.
    pub flaps: u64,
    /// Alerts its deliveries left out.
    pub truncated: u64,
    /// Targets seen, by hint.
    pub targets: BTreeSet<String>,
    /// The owning team's id, or "".
    pub team: String,
    /// Policy to page by.
    pub policy: String,
    /// Channels with a card.
    pub channels: BTreeSet<String>,
    /// The owner's channel for user errors, if the team has one.
    pub user_channel: Option<String>,
    /// Highest severity at which it may replace the page.
    pub user_max: Option<Severity>,
    /// The owner's channel was asked to take it instead of a page, in this round.
    #[serde(default)]
    pub owner_asked: bool,
    /// Its place in a storm.
    #[serde(default)]
    pub storm: Option<storm::Membership>,
    /// Of a storm: its newest members, each in a line.
    #[serde(default)]
    pub named: Vec<String>,
    /// Playbooks that matched a member.
    pub playbooks: BTreeSet<String>,
    /// Rounds begun.
    pub rounds: i64,
    /// The running round.
    pub round: Option<Round>,
    /// The standing ack.
    pub ack: Option<Ack>,
    /// What happens next.
    pub wake: Wake,
    /// What settling, snooze or suppression paused.
    pub paused: Option<Box<Wake>>,
    /// What mutes its alerts in Alertmanager, in words.
    #[serde(default)]
    pub suppressed_by: Option<String>,
    /// Since when Alertmanager has not known its alerts, where that ends nothing.
    #[serde(default)]
    pub stale: Option<Timestamp>,
    /// Runs that have not ended.
    pub running: i64,
    /// Runs that ended.
    pub runs_done: i64,
    /// Best first.
    pub verdicts: Vec<Verdict>,
    /// What the reader must know of the evidence.
    pub caveats: Vec<String>,
    /// Newest last.
    pub lines: Vec<Line>,
    /// When the last event was decided.
    #[serde(default)]
    pub changed_at: Timestamp,
    /// Number of the last event.
    pub seq: i64,
    /// The highest [`FORMAT`] of those who wrote it.
    #[serde(default)]
    pub format: u32,
    /// What a newer version keeps here that this one does not know: it goes back as it came.
    #[serde(flatten)]
    pub newer: BTreeMap<String, serde_json::Value>,
}

impl Incident {
    /// True when its members are incidents.
    pub fn is_storm(&self) -> bool {
        self.source == storm::SOURCE
    }

    /// True while someone may have to act.
    pub fn is_open(&self) -> bool {
        self.status.is_open()
    }

    /// True when it must be looked at even if Alertmanager says nothing new of its alerts.
    pub fn is_in_question(&self) -> bool {
        self.is_open() && (self.suppressed_by.is_some() || self.stale.is_some())
    }

    /// The round that buttons and pages of now belong to.
    pub fn round_number(&self) -> i64 {
        self.rounds
    }

    /// True when a page of this round may still leave.
    pub fn is_paging(&self, round: i64) -> bool {
        self.is_open() && self.round.as_ref().is_some_and(|r| r.number == round)
    }
}
