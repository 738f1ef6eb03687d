//! What a person asks for, from the API or from a form, and its one way into the engine.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::{State, problem::Problem};
use crate::{
    domain::{
        card::Verb,
        duration,
        ids::IncidentId,
        incident::{Refusal, Who},
    },
    engine::change,
};

/// Longest silence or snooze.
const LONGEST: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Longest note, bytes.
const MAX_NOTE: usize = 16 * 1024;

/// The fields of a request; which of them count depends on the action.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fields {
    /// Who, where the caller is not known by a token.
    pub by: Option<String>,
    /// The round the button was drawn for.
    pub round: Option<i64>,
    /// Resolve although alerts fire.
    pub anyway: bool,
    /// For how long: `1h`.
    pub r#for: Option<String>,
    /// Until when: RFC 3339, or `morning`.
    pub until: Option<String>,
    /// The note.
    pub text: Option<String>,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// "I have it."
    Ack {
        /// The round the button was drawn for.
        round: Option<i64>,
    },
    /// Over.
    Resolve {
        /// Although alerts fire.
        anyway: bool,
    },
    /// Silence in Alertmanager.
    Silence(Until),
    /// Not now.
    Snooze(Timestamp),
    /// Page the next step now.
    Escalate,
    /// Write on the timeline.
    Note(String),
}

/// When a silence ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Then.
    At(Timestamp),
    /// At 09:00 of the person's zone.
    Morning,
}

/// How it went.
pub enum Outcome {
    /// Done; this is what the person is told.
    Done(String),
    /// Not done, for this reason.
    Refused {
        /// What the person is told.
        message: String,
        /// It would be done with "anyway".
        anyway_helps: bool,
    },
}

impl Action {
    /// Reads an action from its name in the path and the fields of the body.
    pub fn read(name: &str, fields: Fields, now: Timestamp) -> Result<Self, Problem> {
        let Fields { by: _, round, anyway, r#for, until, text } = fields;
        match name {
            "ack" => Ok(Self::Ack { round }),
            "resolve" => Ok(Self::Resolve { anyway }),
            "silence" => end(r#for.as_deref(), until.as_deref(), now).map(Self::Silence),
            "snooze" => match end(r#for.as_deref(), until.as_deref(), now)? {
                Until::At(at) => Ok(Self::Snooze(at)),
                Until::Morning => {
                    Err(Problem::bad_request("`until` of a snooze is a time: 2026-11-23T09:00:00Z"))
                }
            },
            "escalate" => Ok(Self::Escalate),
            "note" => match text.filter(|text| !text.trim().is_empty()) {
                Some(text) if text.len() <= MAX_NOTE => Ok(Self::Note(text)),
                Some(_) => Err(Problem::bad_request("`text` is longer than 16 KiB")),
                None => Err(Problem::bad_request("`text` is missing: what should the note say?")),
            },
            other => {
                let other: String = other.chars().take(40).collect();
                Err(Problem::not_found(format!(
                    "there is no action `{}`; there are ack, resolve, silence, snooze, escalate and note",
                    other.escape_debug()
                )))
            }
        }
    }

    /// Carries it out.
    pub async fn carry_out(
        self,
        state: &State,
        id: IncidentId,
        by: Who,
    ) -> Result<Outcome, Problem> {
        let engine = &state.engine;
        let may_insist = matches!(self, Self::Resolve { anyway: false });
        let reply = match self {
            Self::Ack { round } => engine.ack(id, round, by).await,
            Self::Resolve { anyway } => engine.resolve(id, by, anyway).await,
            Self::Silence(Until::At(at)) => engine.silence(id, at, by).await,
            Self::Silence(Until::Morning) => engine.press(id, Verb::SilenceMorning, None, by).await,
            Self::Snooze(at) => engine.snooze(id, at, by).await,
            Self::Escalate => engine.escalate(id, by).await,
            Self::Note(text) => engine.note(id, by, &text).await,
        };
        match reply {
            Ok(message) => Ok(Outcome::Done(message)),
            Err(change::Error::Refused(refusal)) => Ok(Outcome::Refused {
                anyway_helps: may_insist && matches!(refusal, Refusal::StillFiring { .. }),
                message: refusal.to_string(),
            }),
            Err(other) => Err(other.into()),
        }
    }
}

fn end(length: Option<&str>, until: Option<&str>, now: Timestamp) -> Result<Until, Problem> {
    let at = match (length, until) {
        (Some(length), None) => {
            let length = duration::parse(length)
                .map_err(|reason| Problem::bad_request(format!("`for`: {reason}")))?;
            let length = SignedDuration::try_from(length).unwrap_or(SignedDuration::MAX);
            now.saturating_add(length).unwrap_or(Timestamp::MAX)
        }
        (None, Some("morning")) => return Ok(Until::Morning),
        (None, Some(until)) => until.parse().map_err(|_| {
            Problem::bad_request("`until` is not a time; write 2026-11-23T09:00:00Z, or `morning`")
        })?,
        (Some(_), Some(_)) => {
            return Err(Problem::bad_request("`for` and `until` contradict each other; send one"));
        }
        (None, None) => {
            return Err(Problem::bad_request(
                "how long? Send `for` (\"1h\") or `until` (\"2026-11-23T09:00:00Z\")",
            ));
        }
    };
    if at <= now {
        return Err(Problem::bad_request("this is in the past"));
    }
    if at.duration_since(now) > LONGEST {
        return Err(Problem::bad_request("at most 30 days; for longer, change the alert's rule"));
    }
    Ok(Until::At(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, fields: Fields) -> Result<Action, String> {
        let now = "2026-11-23T03:00:00Z".parse().unwrap();
        Action::read(name, fields, now).map_err(|problem| problem.detail().to_owned())
    }

    #[test]
    fn a_length_and_an_end_mean_the_same() {
        let at = Until::At("2026-11-23T04:00:00Z".parse().unwrap());
        let by_length = Fields { r#for: Some("1h".to_owned()), ..Fields::default() };
        let by_end =
            Fields { until: Some("2026-11-23T05:00:00+01:00".to_owned()), ..Fields::default() };
        assert_eq!(read("silence", by_length), Ok(Action::Silence(at)));
        assert_eq!(read("silence", by_end), Ok(Action::Silence(at)));
    }

    #[test]
    fn what_cannot_be_done_says_what_to_send() {
        let length = |text: &str| Fields { r#for: Some(text.to_owned()), ..Fields::default() };
        let until = |text: &str| Fields { until: Some(text.to_owned()), ..Fields::default() };
        let both = Fields { until: Some("morning".to_owned()), ..length("1h") };
        let cases = [
            ("silence", Fields::default(), "how long?"),
            ("silence", length("0s"), "in the past"),
            ("silence", length("31d"), "at most 30 days"),
            ("silence", length("soon"), "`for`: `soon` is not a duration"),
            ("silence", until("tomorrow"), "`until` is not a time"),
            ("silence", until("2020-01-01T00:00:00Z"), "in the past"),
            ("silence", both, "contradict"),
            ("snooze", until("morning"), "`until` of a snooze"),
            ("note", Fields::default(), "`text` is missing"),
            (
                "note",
                Fields { text: Some(" \n".to_owned()), ..Fields::default() },
                "`text` is missing",
            ),
            (
                "note",
                Fields { text: Some("x".repeat(MAX_NOTE + 1)), ..Fields::default() },
                "longer than",
            ),
            ("delete\0", Fields::default(), "no action `delete\\0`"),
        ];
        for (name, fields, expected) in cases {
            let error = read(name, fields).unwrap_err();
            assert!(error.contains(expected), "{name}: {error}");
        }
    }
}
