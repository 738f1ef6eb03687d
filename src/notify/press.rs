//! A pressed button, as it travels through a chat and back.
//!
//! The value names the round the card was drawn for: a click on yesterday's card must not acknowledge today's round.

use std::{fmt, str::FromStr};

use crate::domain::{card::Verb, ids::IncidentId};

/// What a person asked for, with a click, a reaction or a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Press {
    /// The card's incident.
    pub incident: IncidentId,
    /// The round the card was drawn for.
    pub round: i64,
    /// What to do.
    pub verb: Verb,
}

/// `12:3:ack`: incident 12, round 3.
impl fmt::Display for Press {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.incident.0, self.round, self.verb.id())
    }
}

impl FromStr for Press {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown: String = text.chars().take(40).collect();
        let bad =
            |why: &str| format!("`{}` is not one of our buttons: {why}", shown.escape_debug());
        let mut parts = text.splitn(3, ':');
        let (Some(incident), Some(round), Some(verb)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(bad("it needs incident, round and action"));
        };
        if !incident.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad("the incident is not a number"));
        }
        Ok(Self {
            incident: incident.parse().map_err(|_| bad("the incident is not a number"))?,
            round: round.parse().map_err(|_| bad("the round is not a number"))?,
            verb: verb.parse().map_err(|_| bad("the action is not known"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_press_is_read_as_it_is_written() {
        for verb in Verb::ALL {
            let press = Press { incident: IncidentId(12), round: 3, verb };
            assert_eq!(press.to_string().parse(), Ok(press));
        }
    }

    #[test]
    fn anything_else_is_refused_with_a_reason() {
        for bad in ["", "12", "12:3", "x:3:ack", "12:x:ack", "12:3:drop", "INC-12:3:ack", "0:1:ack"]
        {
            assert!(bad.parse::<Press>().is_err(), "{bad}");
        }
        let error = "9".repeat(65_536).parse::<Press>().unwrap_err();
        assert!(error.len() < 200, "{error}");
    }
}
