//! What happened to an incident. The timeline is these, in order, for ever; add variants, never change one.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{NoWake, Resolution, Routing, storm::Membership};
use crate::domain::{
    alert::Labels,
    ids::IncidentId,
    oncall::{PageTarget, Policy, StepRef},
    severity::Severity,
    verdict::Verdict,
};

/// A person who acted, as the timeline names them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// Person id of the on-call files; empty for people known only by name (console, API token).
    #[serde(default)]
    pub id: String,
    /// How people call them.
    pub name: String,
    /// Through what: `slack`, `matrix`, `web`, `cli`, `api`.
    pub via: String,
}

/// Whom a page went to and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pager {
    /// The round it belongs to.
    pub round: i64,
    /// Person id.
    pub person: String,
    /// Person's name.
    pub name: String,
    /// `slack`, `matrix`, `console` …
    pub transport: String,
}

/// How one run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunEnd {
    /// Playbook name.
    pub playbook: String,
    /// Target in words; empty when the run was about the alert itself.
    pub target: String,
    /// Best first.
    pub verdicts: Vec<Verdict>,
    /// Failed and skipped steps, gone logs, dropped items.
    pub caveats: Vec<String>,
    /// True when a step that a user verdict rests on failed.
    pub incomplete: bool,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "fields repeat the state's documented ones")]
pub enum Event {
    /// It opened.
    Opened {
        source: String,
        key: String,
        title: String,
        cluster: String,
        labels: Labels,
        annotations: Labels,
        generator_url: String,
        external_url: String,
        severity: Severity,
        since: Timestamp,
    },
    /// Who owns it was decided.
    Routed {
        team: String,
        policy: String,
        channels: BTreeSet<String>,
        user_channel: Option<String>,
        user_max: Option<Severity>,
    },
    /// Alerts fired: new members and re-fires.
    Fired {
        new: u64,
        again: u64,
        firing: u64,
        members: u64,
        targets: BTreeSet<String>,
        truncated: u64,
    },
    /// Alerts ended.
    Ended { ended: u64, firing: u64 },
    /// Playbooks matched; runs were asked for.
    Diagnosing { playbooks: BTreeSet<String> },
    /// No playbook matched.
    NoPlaybook,
    /// It became more or less severe.
    SeverityChanged { from: Severity, to: Severity, reason: String },
    /// A round began.
    RoundStarted {
        number: i64,
        reason: String,
        severity: Severity,
        policy: Box<Policy>,
        first_due: Timestamp,
        assignee: Option<Who>,
    },
    /// The policy keeps the page for later.
    Held { until: Timestamp, digest: bool, reason: String },
    /// The first page was brought forward by a verdict.
    PageBroughtForward { due: Timestamp },
    /// A step of the round was taken.
    StepTaken {
        round: i64,
        step: StepRef,
        page: Vec<PageTarget>,
        post: Vec<String>,
        late_ms: i64,
        fallback: bool,
        next: Option<Timestamp>,
    },
    /// A step had nobody to page.
    NobodyToPage { round: i64, target: PageTarget },
    /// A page left for a person.
    Paged(Pager),
    /// The other side took it.
    PageDelivered { page: Pager, remark: String },
    /// It could not be delivered.
    PageFailed { page: Pager, reason: String, last_hope: bool },
    /// A page was not sent because it was not needed any more.
    PageDropped { page: Pager, reason: String },
    /// A channel did not take the card.
    PostFailed { channel: String, reason: String },
    /// The user error went to its owner's channel.
    OwnerAsked { channel: String },
    /// That channel took it.
    OwnerTookIt { channel: String },
    /// A run began.
    RunStarted { playbook: String, target: String },
    /// A run ended.
    RunEnded(RunEnd),
    /// Something about the diagnosis a reader must know.
    Caveat { text: String },
    /// A person has it.
    Acknowledged {
        by: Who,
        round: i64,
        expires_at: Option<Timestamp>,
        remind_at: Option<Timestamp>,
    },
    /// "Still on it?" was asked.
    AckReminded { expires_at: Timestamp },
    /// The acker acted: the ack runs anew.
    AckExtended { by: Who, expires_at: Timestamp, remind_at: Option<Timestamp> },
    /// The ack ran out.
    AckExpired { by: Who },
    /// A person put it off.
    Snoozed { by: Who, until: Timestamp },
    /// The snooze ended.
    SnoozeEnded,
    /// Alertmanager silences or inhibits every firing member.
    Suppressed { by: String, until: Timestamp },
    /// It still does, until another time or by another silence.
    SuppressionMoved { by: String, until: Timestamp },
    /// It does not any more.
    SuppressionEnded { reason: String },
    /// Alertmanager does not know its alerts any more, which ends nothing at this severity.
    Stale { since: Timestamp },
    /// It knows them again.
    Found,
    /// The clock that planned it was ahead by so much: what it planned comes as much earlier.
    SetBack { by_ms: i64 },
    /// Every alert is over; it resolves then.
    Settling { until: Timestamp },
    /// An alert fired before it did.
    Unsettled { next: Option<Timestamp> },
    /// It is over.
    Resolved { how: Resolution, still_firing: u64, look_again: Option<Timestamp> },
    /// It is not.
    Reopened { reason: String },
    /// The effect is gone.
    Mitigated { by: Who },
    /// A person or a step wrote something.
    Noted { by: String, text: String },
    /// A silence was made in Alertmanager.
    Silenced { by: Who, id: String, until: Timestamp },
    /// Members of the storm were counted.
    StormSized { members: u64, open: u64, named: Vec<String>, verdicts: Vec<Verdict> },
    /// It is a member of a storm.
    JoinedStorm(Membership),
    /// It is not any more.
    LeftStorm { storm: IncidentId, reason: String },
    /// Nothing will happen by itself, for this reason.
    NothingDue { reason: NoWake },
    /// The escalation was asked to go on now.
    EscalatedNow { by: Who },
    /// Something that this version does not know: a newer replica wrote it. Read, never written; it changes nothing.
    #[serde(skip_deserializing)]
    Newer { kind: String },
}

impl Event {
    /// Who owns it, as decided by the on-call files.
    pub(super) fn routed(routing: Routing) -> Self {
        let Routing { team, policy, channels, user_channel, user_max } = routing;
        Self::Routed { team, policy, channels, user_channel, user_max }
    }
}
