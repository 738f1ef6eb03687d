//! The incident as one card: the neutral content every channel renders in its own way.
//!
//! A card is complete and self-contained: whoever reads it at 3 a.m. on a phone sees what broke, since when, what is
//! probably wrong with the evidence, what was and will be done, and who has it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ids::IncidentId, severity::Severity, verdict::Verdict};

/// Everything a card shows. All text is redacted already; escaping belongs to the channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Card {
    /// Its incident; 0: it is about Paramedic itself and has none.
    pub incident: IncidentId,
    /// Grows with every change; a channel never shows an older revision over a newer one.
    pub revision: i64,
    /// The escalation round the buttons belong to.
    pub round: i64,
    /// One line: `SparkExecutorLost · spark-prod`.
    pub title: String,
    /// How bad.
    pub severity: Severity,
    /// `triggered`, `acknowledged`, `mitigated`, `resolved`, `reviewed`.
    pub status: String,
    /// Onset: the earliest `startsAt` of its alerts.
    pub since: Timestamp,
    /// When this card was made.
    pub at: Timestamp,
    /// The alert's own words: annotation `summary`, else `description`.
    pub summary: String,
    /// What it is made of, a line each: the incidents of a storm, the mistakes of an edit.
    #[serde(default)]
    pub parts: Vec<String>,
    /// Labels all members have in common, in the order to show.
    pub labels: Vec<(String, String)>,
    /// `3 firing, 1 resolved`.
    pub members: String,
    /// Best first.
    pub verdicts: Vec<Verdict>,
    /// `diagnosing`, `diagnosis finished`, `no playbook matched`, one line.
    pub diagnosis: String,
    /// What a reader must know about the evidence: failed steps, logs already gone, truncated payloads.
    pub caveats: Vec<String>,
    /// What happened, newest last: `03:12:05 paged Ana Lima by slack: delivered`.
    pub history: Vec<String>,
    /// Who is paged next and when; empty when nobody will be.
    pub next: String,
    /// Runbook, dashboard, expression, Alertmanager, incident page.
    pub links: Vec<Link>,
    /// Buttons, with who pressed them.
    pub actions: Vec<Action>,
}

/// A labelled address; `http` and `https` only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// What it opens.
    pub label: String,
    /// Where.
    pub url: String,
}

/// What a person can do from a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// "I have it."
    Ack,
    /// Silence in Alertmanager for one hour.
    Silence1h,
    /// Silence in Alertmanager for four hours.
    Silence4h,
    /// Silence in Alertmanager until 09:00 of the person's time zone.
    SilenceMorning,
    /// Resolve by hand.
    Resolve,
}

impl Verb {
    /// The identifier on the wire: `ack`, `silence_1h`, `silence_4h`, `silence_morning`, `resolve`.
    pub fn id(self) -> &'static str {
        match self {
            Self::Ack => "ack",
            Self::Silence1h => "silence_1h",
            Self::Silence4h => "silence_4h",
            Self::SilenceMorning => "silence_morning",
            Self::Resolve => "resolve",
        }
    }

    /// The text on the button.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ack => "Ack",
            Self::Silence1h => "Silence 1h",
            Self::Silence4h => "Silence 4h",
            Self::SilenceMorning => "Silence until morning",
            Self::Resolve => "Resolve",
        }
    }

    /// All of them, in the order of the buttons.
    pub const ALL: [Self; 5] =
        [Self::Ack, Self::Silence1h, Self::Silence4h, Self::SilenceMorning, Self::Resolve];
}

impl std::str::FromStr for Verb {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|v| v.id() == text).ok_or_else(|| format!("no action `{text}`"))
    }
}

/// A button.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// What it does.
    pub verb: Verb,
    /// Who pressed it and when (`Ana Lima 03:14`); empty while it can be pressed.
    pub done_by: String,
}
