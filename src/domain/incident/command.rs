//! What can be asked of an incident, and with what knowledge of the world.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;

use super::{
    event::{Pager, RunEnd, Who},
    storm::{Membership, Size},
};
use crate::domain::{
    alert::Labels,
    oncall::{OnCall, PageTarget},
    severity::Severity,
};

/// The world as the core may know it.
#[derive(Clone, Copy)]
pub struct Env<'a> {
    /// The store's time of this transaction.
    pub now: Timestamp,
    /// People, schedules, policies as of now.
    pub oncall: &'a OnCall,
    /// From the configuration.
    pub settings: &'a Settings,
}

/// `incidents:` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Between the last alert's end and resolution.
    pub settle: Duration,
    /// A re-fire within this of resolution reopens.
    pub reopen_within: Duration,
    /// Highest severity at which a user verdict may replace the page.
    pub user_errors_max: Severity,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            settle: Duration::from_mins(2),
            reopen_within: Duration::from_mins(30),
            user_errors_max: Severity::P2,
        }
    }
}

/// What opens an incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The source of its alerts; `declared` for a person's.
    pub source: String,
    /// Its key.
    pub key: String,
    /// One line.
    pub title: String,
    /// Value of the `cluster` label, or the source's.
    pub cluster: String,
    /// Labels its alerts have in common.
    pub labels: Labels,
    /// Annotations of the first.
    pub annotations: Labels,
    /// Its expression page.
    pub generator_url: String,
    /// The sender's page.
    pub external_url: String,
    /// Earliest `startsAt`.
    pub since: Timestamp,
}

/// Who owns it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routing {
    /// Team id, or "".
    pub team: String,
    /// Policy id.
    pub policy: String,
    /// Channels for the card.
    pub channels: BTreeSet<String>,
    /// The owner's channel for user errors.
    pub user_channel: Option<String>,
    /// Highest severity at which it may replace the page.
    pub user_max: Option<Severity>,
}

/// A playbook that matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matched {
    /// Its name.
    pub playbook: String,
    /// What it says of severity.
    pub severity: Option<Severity>,
    /// How long the first page may wait for its verdict.
    pub hold_page: Duration,
    /// Channels it adds.
    pub post_to: Vec<String>,
}

/// What one delivery changed for one incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// Members that fire and were not members before.
    pub new: u64,
    /// Members that fire again.
    pub again: u64,
    /// Members that ended.
    pub ended: u64,
    /// Members that fire now.
    pub firing: u64,
    /// Members in all.
    pub members: u64,
    /// The highest severity among those that just fired.
    pub severity: Option<Severity>,
    /// Hints of the targets of those that just fired.
    pub targets: BTreeSet<String>,
    /// Alerts the payload left out.
    pub truncated: u64,
    /// Playbooks that match those that just fired.
    pub matched: Vec<Matched>,
    /// Who owns it; used when it opens.
    pub routing: Routing,
}

/// What can be asked of an incident.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Alerts came.
    Observe(Observation),
    /// A person declared it.
    Declare {
        /// Who.
        by: Who,
        /// Who owns it.
        routing: Routing,
    },
    /// Paramedic says something that needs no page: it is posted, and stays open until it is put right.
    Announce {
        /// Who owns it.
        routing: Routing,
    },
    /// Incidents of one cause become a storm: this one.
    Gather {
        /// Who owns them.
        routing: Routing,
        /// Its first members.
        size: Size,
    },
    /// The storm's members were looked at.
    Resize(Size),
    /// It becomes a member of a storm; nothing happens where it does not fit.
    JoinStorm(Membership),
    /// Its timer is due.
    Wake,
    /// A step's target was resolved to persons; these pages leave.
    Paging(Vec<Pager>),
    /// A step's target has nobody.
    Nobody {
        /// The round.
        round: i64,
        /// The empty target.
        target: PageTarget,
    },
    /// A page was taken.
    PageDelivered {
        /// Which.
        page: Pager,
        /// `late by 4m`, `possible repeat`, or "".
        remark: String,
    },
    /// A page was given up.
    PageFailed {
        /// Which.
        page: Pager,
        /// Why.
        reason: String,
        /// True when nothing else will reach this person in this step.
        last_hope: bool,
    },
    /// A page was not needed any more.
    PageDropped {
        /// Which.
        page: Pager,
        /// Why.
        reason: String,
    },
    /// A channel did not take the card.
    PostFailed {
        /// Channel name.
        channel: String,
        /// Why.
        reason: String,
    },
    /// A channel took the card.
    PostAccepted {
        /// Channel name.
        channel: String,
    },
    /// A run began.
    RunStarted {
        /// Playbook name.
        playbook: String,
        /// Target in words.
        target: String,
    },
    /// A run ended.
    RunEnded(RunEnd),
    /// Something about the diagnosis a reader must know.
    Caveat(String),
    /// "I have it."
    Ack {
        /// Who.
        by: Who,
        /// The round the button belonged to; `None` from places without rounds (CLI).
        round: Option<i64>,
    },
    /// Not before then.
    Snooze {
        /// Who.
        by: Who,
        /// Until when.
        until: Timestamp,
    },
    /// It is over.
    Resolve {
        /// Who.
        by: Who,
        /// Although alerts still fire.
        anyway: bool,
    },
    /// Go on paging at once.
    EscalateNow {
        /// Who.
        by: Who,
    },
    /// A note.
    Note {
        /// Person's name, or the playbook.
        by: Who,
        /// The text.
        text: String,
    },
    /// A silence was made.
    Silenced {
        /// Who.
        by: Who,
        /// Its id in Alertmanager.
        id: String,
        /// Until when.
        until: Timestamp,
    },
    /// Alertmanager mutes every firing member.
    Suppress {
        /// By which silence or inhibition.
        by: String,
        /// Until when.
        until: Timestamp,
    },
    /// It does not any more, or nobody knows.
    Unsuppress {
        /// Why we think so.
        reason: String,
    },
    /// Alertmanager has not known its alerts for long enough: they are over.
    Missing {
        /// How many fired.
        ended: u64,
    },
    /// The same, where nobody but a person may call it over.
    Stale {
        /// Since when.
        since: Timestamp,
    },
    /// Alertmanager knows its alerts.
    Found,
    /// The clock was ahead of now by so much when it was decided last, and was set back since.
    SetBack(Duration),
}

/// Why a person's command was not carried out; shown to them as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is over.
    #[error("{0} is {1} already")]
    NotOpen(super::IncidentId, &'static str),
    /// The button is of an earlier round.
    #[error(
        "that button is from round {clicked}; {incident} is in round {now} now because {reason}. Press the button on the newest card"
    )]
    EarlierRound {
        /// Which incident.
        incident: super::IncidentId,
        /// The button's round.
        clicked: i64,
        /// The round of now.
        now: i64,
        /// Why a new round began.
        reason: String,
    },
    /// Alerts still fire.
    #[error(
        "{firing} {} of {incident} {}: silence them in Alertmanager, or resolve anyway",
        if *.storm { "incidents" } else { "alerts" },
        if *.storm { "are still open" } else { "still fire" }
    )]
    StillFiring {
        /// Its members are incidents.
        storm: bool,
        /// Which incident.
        incident: super::IncidentId,
        /// How many.
        firing: u64,
    },
    /// The instant is not usable.
    #[error("{0}")]
    BadTime(String),
    /// The other side did not do it.
    #[error("{0}")]
    NotDone(String),
}
