//! What Alertmanager answers about an incident's alerts, and what follows from it. Pure.
//!
//! Alertmanager leaves muted alerts out of its webhooks and never says that it forgot one, so it is asked. The answer of all
//! its instances together decides: one that calls an alert active outvotes one that has a silence the first has not heard of.
//! *Muted* never ends anything, it pauses paging. *Missing* ends an incident only when nothing else explains it (see
//! [`Absence::is_over`] and the conditions of whoever asks), and never one of P0 or P1.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Command, Incident};
use crate::domain::severity::Severity;

/// How long a mute of unknown length is believed without another answer.
const UNKNOWN_END: SignedDuration = SignedDuration::from_mins(5);
/// Longer than that is left of it: nothing needs to be written.
const ENOUGH_LEFT: SignedDuration = SignedDuration::from_mins(2);
/// After a silence's end, until we page without an answer.
const GRACE: SignedDuration = SignedDuration::from_secs(15);
/// Answers without the alert, at least, before it counts as missing.
const MISSING_ANSWERS: u32 = 3;
/// And for at least this long.
const MISSING_FOR: SignedDuration = SignedDuration::from_mins(10);

/// What keeps an alert silent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mute {
    /// In words: `silence 1f2e of Ana Lima until 04:00:00 UTC (planned work)`.
    pub by: String,
    /// Its end, where it has one.
    pub until: Option<Timestamp>,
}

/// One alert, as all instances together see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// It notifies.
    Active,
    /// It notifies according to one instance, and is muted according to another.
    Disputed,
    /// An instance has not decided yet.
    Undecided,
    /// It is muted.
    Muted(Mute),
}

impl Known {
    /// What two instances say of the same alert.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Undecided, _) | (_, Self::Undecided) => Self::Undecided,
            (Self::Active, Self::Active) => Self::Active,
            // The one that ends first: then all are asked again.
            (Self::Muted(a), Self::Muted(b)) => Self::Muted(sooner(a, b)),
            _ => Self::Disputed,
        }
    }
}

/// All firing alerts of an incident together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// At least one notifies.
    Active,
    /// It cannot be said.
    Undecided,
    /// All that Alertmanager knows are muted.
    Muted(Mute),
    /// It knows none of them.
    Missing,
}

/// The answer about an incident, from those about its firing alerts; `None`: not known to Alertmanager.
pub fn answer<'a>(alerts: impl IntoIterator<Item = Option<&'a Known>>) -> Answer {
    let mut all = Answer::Missing;
    for known in alerts.into_iter().flatten() {
        all = match (all, known) {
            (_, Known::Active | Known::Disputed) => return Answer::Active,
            (_, Known::Undecided) | (Answer::Undecided, _) => Answer::Undecided,
            (Answer::Muted(a), Known::Muted(b)) => Answer::Muted(sooner(a, b.clone())),
            (Answer::Missing | Answer::Active, Known::Muted(mute)) => Answer::Muted(mute.clone()),
        };
    }
    all
}

fn sooner(a: Mute, b: Mute) -> Mute {
    match (a.until, b.until) {
        (Some(of_a), Some(of_b)) if of_b < of_a => b,
        (Some(_), None) => b,
        _ => a,
    }
}

/// For how long, and in how many answers in a row, Alertmanager has not known any alert of an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absence {
    /// The first of these answers.
    pub since: Timestamp,
    /// How many.
    pub answers: u32,
}

impl Absence {
    /// One more answer without it.
    pub fn again(known: Option<Self>, now: Timestamp) -> Self {
        // One from a clock that was ahead counts for nothing.
        let known = known.filter(|known| known.since <= now);
        let Self { since, answers } = known.unwrap_or(Self { since: now, answers: 0 });
        Self { since, answers: answers.saturating_add(1) }
    }

    /// Long and often enough.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.answers >= MISSING_ANSWERS && now.duration_since(self.since) >= MISSING_FOR
    }
}

/// What an answer asks of an incident. `absence` counts answers that did not know it, this one included; `may_end`: nothing
/// else explains that they do not.
pub fn follow(
    incident: &Incident,
    answer: &Answer,
    absence: Option<Absence>,
    may_end: bool,
    now: Timestamp,
) -> Option<Command> {
    let suppressed = incident.wake.muted_until();
    if !incident.is_open() {
        return None;
    }
    match answer {
        Answer::Undecided => None,
        _ if incident.stale.is_some() && *answer != Answer::Missing => Some(Command::Found),
        Answer::Active => suppressed.map(|_| Command::Unsuppress {
            reason: "its alerts notify again in Alertmanager".to_owned(),
        }),
        Answer::Muted(mute) => muted(suppressed, incident, mute, now),
        Answer::Missing => {
            let over = absence.filter(|absence| absence.is_over(now));
            missing(suppressed, incident, over, may_end, now)
        }
    }
}

fn muted(
    suppressed: Option<Timestamp>,
    incident: &Incident,
    mute: &Mute,
    now: Timestamp,
) -> Option<Command> {
    let until = mute.until.unwrap_or_else(|| later(now, UNKNOWN_END));
    let until = later(until, GRACE);
    let is_same = incident.suppressed_by.as_ref() == Some(&mute.by);
    let is_enough = suppressed.is_some_and(|known| match mute.until {
        Some(_) => known == until,
        None => known.duration_since(now) > ENOUGH_LEFT,
    });
    (!is_same || !is_enough).then(|| Command::Suppress { by: mute.by.clone(), until })
}

fn missing(
    suppressed: Option<Timestamp>,
    incident: &Incident,
    over: Option<Absence>,
    may_end: bool,
    now: Timestamp,
) -> Option<Command> {
    match (over, suppressed) {
        (Some(_), _) if may_end && incident.severity <= Severity::P2 => {
            Some(Command::Missing { ended: incident.firing })
        }
        // Its alerts ended while they were muted, or were forgotten: only a person can tell now.
        (Some(_), Some(_)) => Some(Command::Unsuppress {
            reason: "Alertmanager does not know its alerts any more".to_owned(),
        }),
        (Some(absence), None) => {
            incident.stale.is_none().then_some(Command::Stale { since: absence.since })
        }
        // Not long enough: a mute that would end meanwhile goes on, for nothing says that the alert is active.
        (None, Some(until)) if until.duration_since(now) <= ENOUGH_LEFT => {
            let by = incident.suppressed_by.clone().unwrap_or_default();
            Some(Command::Suppress { by, until: later(now, UNKNOWN_END) })
        }
        (None, _) => None,
    }
}

/// The soonest end of a mute, to ask again right after it.
pub fn soonest<'a>(all: impl IntoIterator<Item = &'a Known>, now: Timestamp) -> Option<Duration> {
    let ends = all.into_iter().filter_map(|known| match known {
        Known::Muted(mute) => mute.until,
        Known::Active | Known::Disputed | Known::Undecided => None,
    });
    let end = ends.filter(|end| *end >= now).min()?;
    Duration::try_from(end.duration_since(now)).ok()
}

fn later(from: Timestamp, by: SignedDuration) -> Timestamp {
    from.saturating_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mute(by: &str, until: Option<i64>) -> Known {
        let until = until.map(|second| Timestamp::from_second(second).unwrap());
        Known::Muted(Mute { by: by.to_owned(), until })
    }

    #[test]
    fn one_active_alert_outweighs_any_number_of_muted_ones() {
        let (a, b) = (mute("a", Some(60)), mute("b", None));
        assert_eq!(answer([Some(&a), Some(&Known::Active), None]), Answer::Active);
        assert_eq!(answer([Some(&a), Some(&Known::Disputed)]), Answer::Active);
        assert_eq!(answer([Some(&a), Some(&Known::Undecided)]), Answer::Undecided);
        assert_eq!(answer([Some(&Known::Undecided), Some(&Known::Active)]), Answer::Active);
        assert_eq!(answer([None, None]), Answer::Missing);
        let Answer::Muted(of) = answer([None, Some(&a), Some(&b)]) else { panic!("muted") };
        assert_eq!(of.by, "b", "the one whose end nobody knows is asked about soonest");
    }

    #[test]
    fn instances_that_disagree_are_never_taken_for_a_mute() {
        let (a, sooner) = (mute("a", Some(60)), mute("b", Some(30)));
        assert_eq!(a.clone().and(Known::Active), Known::Disputed);
        assert_eq!(Known::Disputed.and(a.clone()), Known::Disputed);
        assert_eq!(Known::Active.and(Known::Undecided), Known::Undecided);
        assert_eq!(a.and(sooner.clone()), sooner);
    }

    #[test]
    fn an_alert_is_missing_after_three_answers_and_ten_minutes() {
        let at = |minutes: i64| Timestamp::from_second(minutes * 60).unwrap();
        let count = |answers: u32| {
            (0..answers).fold(None, |known, _| Some(Absence::again(known, at(0)))).unwrap()
        };
        assert!(!count(2).is_over(at(60)));
        assert!(!count(9).is_over(at(9)));
        assert!(count(3).is_over(at(10)));
    }
}
