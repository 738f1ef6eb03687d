//! Who is on call, as a pure function of the files and of time.
//!
//! A schedule is a stack of [`Layer`]s (the later one wins where it covers) with [`Override`]s on top. Nothing about the
//! present is stored: [`Schedule::on_call`] computes it from the anchor of each rotation, in constant time, and gives the
//! same answer after any downtime, on any host, in any order of questions. Intervals are half-open, `[start, end)`.

mod layer;
mod overrides;
mod rotation;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
mod window;
mod zone;

use std::{fmt, ops::Range};

use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};

pub(crate) use self::zone::instant;
pub use self::{
    layer::{Layer, Version},
    overrides::{Change, Override},
    rotation::{Cadence, Rotation},
    window::{Days, Window, time, weekday},
    zone::{zone, zone_name},
};

/// Boundaries looked at before giving up on finding a change: a layer of one person never changes.
const MAX_EDGES: usize = 10_000;

/// A person's id in the on-call files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PersonId(pub String);

impl fmt::Display for PersonId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<&str> for PersonId {
    fn from(id: &str) -> Self {
        Self(id.to_owned())
    }
}

/// Layers and overrides in one time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    id: String,
    zone: TimeZone,
    layers: Vec<Layer>,
    overrides: Vec<Override>,
}

/// A stretch of time with the same people on call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shift {
    /// `[start, end)`.
    pub when: Range<Timestamp>,
    /// The first is the primary; empty: a gap.
    pub people: Vec<PersonId>,
}

impl Schedule {
    /// A schedule; the overrides are put in the order of their creation.
    pub fn new(
        id: impl Into<String>,
        zone: TimeZone,
        layers: Vec<Layer>,
        mut overrides: Vec<Override>,
    ) -> Self {
        overrides.sort_by_key(|o| o.created);
        Self { id: id.into(), zone, layers, overrides }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The zone its files speak of.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// Everybody who is in it, in any layer or override, each once.
    pub fn people(&self) -> Vec<PersonId> {
        let layers = self.layers.iter().flat_map(Layer::people);
        let stand_ins = self.overrides.iter().filter_map(|o| match &o.change {
            Change::Replace { with, .. } => Some(with),
            Change::Add(person) => Some(person),
            Change::Remove(_) => None,
        });
        let mut all: Vec<PersonId> = Vec::new();
        for person in layers.chain(stand_ins) {
            if !all.contains(person) {
                all.push(person.clone());
            }
        }
        all
    }

    /// Who is on call at this instant: the first is the primary; empty in a gap.
    pub fn on_call(&self, at: Timestamp) -> Vec<PersonId> {
        let base = self.layers.iter().rev().find_map(|layer| layer.on_call(at));
        overrides::apply(base, &self.overrides, at)
    }

    /// The next instant at which somebody else is on call, looking at most until `horizon`.
    pub fn next_handoff(&self, after: Timestamp, horizon: Timestamp) -> Option<Timestamp> {
        let now = self.on_call(after);
        self.edges(after, horizon).find(|edge| self.on_call(*edge) != now)
    }

    /// Who is on call when, without holes: gaps are shifts without people.
    pub fn shifts(&self, window: Range<Timestamp>) -> Vec<Shift> {
        let mut shifts: Vec<Shift> = Vec::new();
        for start in std::iter::once(window.start).chain(self.edges(window.start, window.end)) {
            let people = self.on_call(start);
            match shifts.last_mut() {
                Some(last) if last.people == people => {}
                Some(last) => {
                    last.when.end = start;
                    shifts.push(Shift { when: start..window.end, people });
                }
                None => shifts.push(Shift { when: start..window.end, people }),
            }
        }
        shifts
    }

    /// Stretches of the window in which nobody is on call.
    pub fn gaps(&self, window: Range<Timestamp>) -> Vec<Range<Timestamp>> {
        let shifts = self.shifts(window).into_iter();
        shifts.filter(|shift| shift.people.is_empty()).map(|shift| shift.when).collect()
    }

    /// Instants in `(after, until)` at which the answer may change, ascending.
    fn edges(&self, after: Timestamp, until: Timestamp) -> impl Iterator<Item = Timestamp> {
        std::iter::successors(Some(after), |at| Some(self.next_edge(*at)))
            .skip(1)
            .take_while(move |edge| *edge < until)
            .take(MAX_EDGES)
    }

    fn next_edge(&self, after: Timestamp) -> Timestamp {
        let layers = self.layers.iter().map(|layer| layer.next_edge(after));
        let overrides = self.overrides.iter().flat_map(|o| [o.from, o.to]);
        layers.chain(overrides.filter(|edge| *edge > after)).min().unwrap_or(Timestamp::MAX)
    }
}
