//! One rotation of people, all week or only in a window. Its list of people may have versions: who is on call now does not
//! move when the list changes from a later date on.

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use super::{PersonId, rotation::Rotation, window::Window};

/// A rotation with its people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    rotation: Rotation,
    rosters: Vec<Roster>,
    only: Option<Window>,
    zone: TimeZone,
}

/// A list of people as written: valid from the first turn that starts on or after `from`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// `None`: from the first turn.
    pub from: Option<Date>,
    /// In the order of their turns; a person may have several.
    pub people: Vec<PersonId>,
    /// Who has the first turn of this version; `None`: the first of the list.
    pub first: Option<PersonId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Roster {
    first_turn: i64,
    people: Vec<PersonId>,
    offset: usize,
}

impl Layer {
    /// A layer in the schedule's zone. Versions must ascend, each with at least one person and a `first` that is in its list.
    pub fn new(
        rotation: Rotation,
        versions: Vec<Version>,
        only: Option<Window>,
        zone: TimeZone,
    ) -> Result<Self, String> {
        let mut rosters: Vec<Roster> = Vec::new();
        let mut earlier: Option<Date> = None;
        for version in versions {
            if !rosters.is_empty() && version.from <= earlier {
                return Err(
                    "the versions of a list of people must have ascending `from` dates".to_owned()
                );
            }
            earlier = version.from;
            if version.people.is_empty() {
                return Err("a rotation needs at least one person".to_owned());
            }
            let offset = match &version.first {
                None => 0,
                Some(first) => version
                    .people
                    .iter()
                    .position(|p| p == first)
                    .ok_or_else(|| format!("`first: {first}` is not in the list of people"))?,
            };
            let first_turn = version.from.map_or(0, |from| first_turn_on(&rotation, from, &zone));
            rosters.push(Roster { first_turn, people: version.people, offset });
        }
        if rosters.is_empty() {
            return Err("a rotation needs at least one person".to_owned());
        }
        Ok(Self { rotation, rosters, only, zone })
    }

    /// Who has the turn at this instant; `None` before the first turn, and outside the window.
    pub fn on_call(&self, at: Timestamp) -> Option<&PersonId> {
        if self.only.as_ref().is_some_and(|window| window.covering(at, &self.zone).is_none()) {
            return None;
        }
        let turn = self.rotation.turn_at(at)?;
        let roster = self.rosters.iter().rev().find(|roster| roster.first_turn <= turn)?;
        let count = i64::try_from(roster.people.len()).ok()?;
        let turns = usize::try_from((turn - roster.first_turn).rem_euclid(count)).ok()?;
        roster.people.get((turns + roster.offset) % roster.people.len())
    }

    /// Everybody in any version of the list.
    pub(super) fn people(&self) -> impl Iterator<Item = &PersonId> {
        self.rosters.iter().flat_map(|roster| &roster.people)
    }

    /// The next instant at which the answer may change.
    pub fn next_edge(&self, after: Timestamp) -> Timestamp {
        let start = self.rotation.next_start(after);
        let edge = self.only.as_ref().and_then(|window| window.next_edge(after, &self.zone));
        edge.map_or(start, |edge| edge.min(start))
    }
}

/// The first turn that starts on or after the date, counted in the rotation's civil time.
fn first_turn_on(rotation: &Rotation, date: Date, zone: &TimeZone) -> i64 {
    let midnight = super::zone::instant(date.to_datetime(jiff::civil::Time::midnight()), zone);
    // A few turns earlier than the estimate; the date decides, and a turn is at most a month long.
    let mut turn = rotation.turn_at(midnight).map_or(0, |turn| (turn - 1).max(0));
    while rotation.date_of(turn) < date {
        turn += 1;
    }
    turn
}
