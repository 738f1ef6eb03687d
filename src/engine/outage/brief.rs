//! What is kept in memory while the store works, for the time when it does not: whom to tell, and what nobody has.

use std::collections::BTreeSet;

use crate::{
    domain::{
        incident::Incident,
        oncall::{OnCall, PageTarget, Policy},
        redact::redact,
        schedule::PersonId,
    },
    store::{Result, Store},
};

/// Incidents read; those beyond are only known to exist.
const READ: usize = 50;
/// Incidents named in an alarm, so that "and more" fits where a channel shows ten lines.
const NAMED: usize = 9;
/// Characters of a title.
const TITLE: usize = 120;
/// People told, at most.
const PEOPLE: usize = 12;

/// The last thing known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Brief {
    /// Open P0 and P1 that nobody has, a line each.
    pub urgent: Vec<String>,
    /// Who was on call for them and for the default policy.
    pub on_call: BTreeSet<PersonId>,
    /// The store's generation: the same on all replicas that looked at it.
    pub generation: i64,
}

impl Brief {
    /// As the store has it now.
    pub async fn read(store: &Store, oncall: &OnCall, default_policy: &str) -> Result<Self> {
        let generation = store.generation().await?;
        let incidents = store.unanswered(i64::try_from(READ).unwrap_or(i64::MAX)).await?;
        let mut urgent: Vec<String> = incidents.iter().take(NAMED).map(line).collect();
        let more = incidents.len().saturating_sub(NAMED);
        if more > 0 {
            let least = if incidents.len() == READ { "at least " } else { "" };
            urgent.push(format!("and {least}{more} more"));
        }
        let named = incidents.iter().map(|incident| incident.policy.as_str());
        let policies: BTreeSet<&str> = named.chain([default_policy]).collect();
        let policies = policies.into_iter().filter_map(|id| oncall.policy(id));
        let first = policies.filter_map(|policy| policy.steps.iter().find(|s| !s.page.is_empty()));
        let targets: Vec<PageTarget> = first.flat_map(|step| step.page.clone()).collect();
        let answering = resolve(oncall, &targets, store.now()).collect();
        Ok(Self { urgent, on_call: answering, generation })
    }

    /// Whom to tell: those the default policy falls back to, and who was on call.
    pub fn people(
        &self,
        oncall: &OnCall,
        default_policy: &str,
        now: jiff::Timestamp,
    ) -> Vec<PersonId> {
        let policy = oncall.policy(default_policy);
        let last = policy.map(fallback).unwrap_or_default();
        let mut people: Vec<PersonId> = resolve(oncall, last, now).collect();
        people.extend(self.on_call.iter().cloned());
        let mut seen = BTreeSet::new();
        people.retain(|person| oncall.person(person).is_some() && seen.insert(person.clone()));
        people.truncate(PEOPLE);
        people
    }
}

/// Whom a policy pages last.
fn fallback(policy: &Policy) -> &[PageTarget] {
    let last = policy.steps.iter().rev().find(|step| !step.page.is_empty());
    match &policy.then {
        Some(then) => &then.page,
        None => last.map_or(&[], |step| &step.page),
    }
}

fn resolve(
    oncall: &OnCall,
    targets: &[PageTarget],
    now: jiff::Timestamp,
) -> impl Iterator<Item = PersonId> {
    targets.iter().flat_map(move |target| oncall.resolve(target, now))
}

fn line(incident: &Incident) -> String {
    let title: String = redact(&incident.title).chars().take(TITLE).collect();
    let since = incident.since.strftime("%H:%M UTC");
    format!("{} {} · {title}, since {since}", incident.id, incident.severity)
}
