//! What a person is told after a form: kept here for a moment and named by a number in the next page's address.
//!
//! Not in the address itself: then anybody could send a link that makes our page say anything.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::domain::ids::IncidentId;

/// How long it is kept.
const KEPT: Duration = Duration::from_mins(2);
/// Most of them.
const MOST: usize = 256;

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Whose page shows it.
    pub incident: IncidentId,
    /// What is told.
    pub message: String,
    /// It was done.
    pub done: bool,
    /// It would be done with "anyway".
    pub anyway_helps: bool,
}

/// The latest answers.
#[derive(Default)]
pub struct Saids(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    last: u64,
    /// Number, when, what; oldest first.
    all: VecDeque<(u64, Duration, Said)>,
}

impl Saids {
    /// Keeps an answer; returns its number.
    pub fn keep(&self, said: Said, now: Duration) -> u64 {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Starts anywhere, so that an address of the process before this one rarely names another's answer.
        kept.last = kept.last.max(u64::try_from(now.as_nanos()).unwrap_or(0)) + 1;
        let number = kept.last;
        kept.all.push_back((number, now, said));
        if kept.all.len() > MOST {
            kept.all.pop_front();
        }
        number
    }

    /// An answer by its number, while it is fresh and for this incident.
    pub fn find(&self, number: u64, incident: IncidentId, now: Duration) -> Option<Said> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = |at: Duration| now.saturating_sub(at) < KEPT;
        let found =
            kept.all.iter().find(|(n, at, s)| *n == number && fresh(*at) && s.incident == incident);
        found.map(|(.., said)| said.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_found_for_a_while_and_only_for_its_incident() {
        let saids = Saids::default();
        let said = |id| Said {
            incident: IncidentId(id),
            message: String::new(),
            done: true,
            anyway_helps: false,
        };
        let number = saids.keep(said(1), Duration::ZERO);
        assert_eq!(saids.find(number, IncidentId(1), KEPT.mul_f32(0.9)), Some(said(1)));
        assert_eq!(saids.find(number, IncidentId(1), KEPT), None);
        assert_eq!(saids.find(number, IncidentId(2), Duration::ZERO), None);
        for _ in 0..MOST {
            saids.keep(said(2), Duration::ZERO);
        }
        assert_eq!(saids.find(number, IncidentId(1), Duration::ZERO), None);
    }
}
