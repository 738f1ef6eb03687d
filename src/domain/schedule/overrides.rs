//! Exceptions to a schedule: somebody else takes over, joins or leaves for a while.
//!
//! They apply in the order in which they were created, and the later one wins: replacing ana by mei after ana was
//! replaced by raj means mei, and so does replacing raj by mei.

use jiff::Timestamp;

use super::PersonId;

/// A change for a while: `[from, to)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// First instant.
    pub from: Timestamp,
    /// First instant after it.
    pub to: Timestamp,
    /// What changes.
    pub change: Change,
    /// For people; may be empty.
    pub reason: String,
    /// When it was made; `None` sorts before all others, in the order of the files.
    pub created: Option<Timestamp>,
}

/// What an override does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// `with` stands in wherever `who` would be on call.
    Replace {
        /// Who is relieved.
        who: PersonId,
        /// Who stands in.
        with: PersonId,
    },
    /// This person is on call as well.
    Add(PersonId),
    /// This person is not on call.
    Remove(PersonId),
}

/// Applies the overrides that cover `at`, which must be sorted by creation.
pub(super) fn apply(
    base: Option<&PersonId>,
    overrides: &[Override],
    at: Timestamp,
) -> Vec<PersonId> {
    // (as planned, now): a later override may name either.
    let mut slots: Vec<(&PersonId, &PersonId)> =
        base.map(|person| (person, person)).into_iter().collect();
    for over in overrides.iter().filter(|o| o.from <= at && at < o.to) {
        let named = |slots: &[(&PersonId, &PersonId)], who: &PersonId| {
            let now = slots.iter().position(|(_, now)| *now == who);
            now.or_else(|| slots.iter().position(|(planned, _)| *planned == who))
        };
        match &over.change {
            Change::Replace { who, with } => {
                if let Some(slot) = named(&slots, who) {
                    slots[slot].1 = with;
                }
            }
            Change::Add(person) => slots.push((person, person)),
            Change::Remove(who) => {
                if let Some(slot) = named(&slots, who) {
                    slots.remove(slot);
                }
            }
        }
    }
    let mut people: Vec<PersonId> = Vec::new();
    for (_, now) in slots {
        if !people.contains(now) {
            people.push(now.clone());
        }
    }
    people
}
