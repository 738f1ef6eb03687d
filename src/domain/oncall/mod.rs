//! People, schedules, policies and teams: the checked whole of the on-call files.
//!
//! Read by `playbook::oncall`, which refuses what does not fit together; here a reference to something that does not exist
//! finds nobody. Everything that depends on the present takes it as an argument.

mod hold;
mod person;
mod plan;
#[cfg(test)]
mod plan_tests;
mod policy;
mod team;

use std::{collections::BTreeMap, time::Duration};

use jiff::{
    Timestamp,
    civil::{Time, date},
    tz::TimeZone,
};

pub use self::{
    hold::{Calendar, Hold, HoldKind},
    person::{NotifyRule, NotifyRules, Person},
    plan::{PlannedStep, StepRef},
    policy::{Digest, HoldRule, PageTarget, Policy, PolicyStep, Repeat, Then},
    team::{Team, UserErrors},
};
use super::{
    schedule::{Cadence, Layer, PersonId, Rotation, Schedule, Version},
    severity::Severity,
};

/// The checked whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OnCall {
    parts: Parts,
    by_contact: BTreeMap<(String, String), PersonId>,
}

/// What the files say, before it is put together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parts {
    /// Unique ids, in file order.
    pub people: Vec<Person>,
    /// By id.
    pub calendars: BTreeMap<String, Calendar>,
    /// Unique ids, in file order.
    pub schedules: Vec<Schedule>,
    /// Unique ids, in file order.
    pub policies: Vec<Policy>,
    /// Unique ids; the first that fits owns.
    pub teams: Vec<Team>,
}

impl OnCall {
    /// Puts checked parts together.
    pub fn new(parts: Parts) -> Self {
        let contacts = parts.people.iter().flat_map(|person| {
            let entries = person.contacts.iter().filter(|(_, address)| !address.is_empty());
            entries.map(|(kind, address)| ((kind.clone(), address.clone()), person.id.clone()))
        });
        Self { by_contact: contacts.collect(), parts }
    }

    /// What there is without any file: one person, `operator`, paged on the console until answered.
    pub fn builtin() -> Self {
        let operator = PersonId::from("operator");
        let rule = NotifyRule { at: Duration::ZERO, by: vec!["console".to_owned()] };
        let person = Person {
            id: operator.clone(),
            name: "Operator".to_owned(),
            zone: None,
            contacts: [("console".to_owned(), "operator".to_owned())].into(),
            notify: NotifyRules { by_severity: BTreeMap::new(), default: vec![rule] },
        };
        let since = date(2000, 1, 1).to_datetime(Time::midnight());
        let daily = Cadence::Daily { at: Time::midnight() };
        let roster = Version { from: None, people: vec![operator.clone()], first: None };
        let layer = Rotation::new(daily, since, TimeZone::UTC)
            .and_then(|rotation| Layer::new(rotation, vec![roster], None, TimeZone::UTC));
        let schedule =
            Schedule::new("default", TimeZone::UTC, layer.into_iter().collect(), Vec::new());
        let policy = Policy {
            id: "default".to_owned(),
            steps: vec![PolicyStep {
                at: Duration::ZERO,
                page: vec![PageTarget::Schedule("default".to_owned())],
                post: Vec::new(),
                only: Vec::new(),
            }],
            repeat: Some(Repeat { every: Duration::from_mins(15), times: 3 }),
            then: Some(Then {
                page: vec![PageTarget::Person(operator)],
                every: Duration::from_mins(30),
            }),
            ack_expires: BTreeMap::new(),
            hold: BTreeMap::new(),
        };
        Self::new(Parts {
            people: vec![person],
            schedules: vec![schedule],
            policies: vec![policy],
            ..Parts::default()
        })
    }

    /// Everything, for listings.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// A person by id.
    pub fn person(&self, id: &PersonId) -> Option<&Person> {
        self.parts.people.iter().find(|person| person.id == *id)
    }

    /// A schedule by id.
    pub fn schedule(&self, id: &str) -> Option<&Schedule> {
        self.parts.schedules.iter().find(|schedule| schedule.id() == id)
    }

    /// A policy by id.
    pub fn policy(&self, id: &str) -> Option<&Policy> {
        self.parts.policies.iter().find(|policy| policy.id == id)
    }

    /// A team by id.
    pub fn team(&self, id: &str) -> Option<&Team> {
        self.parts.teams.iter().find(|team| team.id == id)
    }

    /// The first team whose matchers fit; else the one the namespace is annotated with.
    pub fn team_for(
        &self,
        labels: &BTreeMap<String, String>,
        namespace_team: Option<&str>,
    ) -> Option<&Team> {
        let owner = self.parts.teams.iter().find(|team| team.owns(labels));
        owner.or_else(|| self.team(namespace_team?))
    }

    /// Who a target means at this instant; empty when nobody is on call.
    pub fn resolve(&self, target: &PageTarget, at: Timestamp) -> Vec<PersonId> {
        match target {
            PageTarget::Schedule(id) => self.schedule(id).map_or_else(Vec::new, |s| s.on_call(at)),
            PageTarget::Person(id) => self.person(id).map(|p| p.id.clone()).into_iter().collect(),
        }
    }

    /// A person's address on a kind of channel.
    pub fn contact(&self, person: &PersonId, transport: &str) -> Option<&str> {
        self.person(person)?.contact(transport)
    }

    /// How to page a person at this severity; empty for an unknown person.
    pub fn rules(&self, person: &PersonId, severity: Severity) -> &[NotifyRule] {
        self.person(person).map_or(&[], |person| person.rules(severity))
    }

    /// Whose address this is: a Slack user id, a Matrix user id. Exact, as the other side wrote it.
    pub fn person_by_contact(&self, transport: &str, address: &str) -> Option<&Person> {
        let id = self.by_contact.get(&(transport.to_owned(), address.to_owned()))?;
        self.person(id)
    }

    /// Whether an incident of this severity waits; `None`: page now, also when the calendar never opens.
    pub fn hold(&self, policy: &Policy, severity: Severity, now: Timestamp) -> Option<Hold> {
        match policy.hold.get(&severity)? {
            HoldRule::Until(id) => {
                let until = self.parts.calendars.get(id)?.opens(now)?;
                let kind = HoldKind::BusinessHours { calendar: id.clone() };
                (until > now).then_some(Hold { until, kind })
            }
            HoldRule::Digest(digest) => {
                let kind = HoldKind::Digest { channel: digest.channel.clone() };
                Some(Hold { until: digest.next(now)?, kind })
            }
        }
    }
}
