//! Says it to people, without the store: no job, no record. Each person's contacts are tried one after the other until one takes
//! it; whoever could not be reached is tried again.
//!
//! Replicas say the same under the same key. A channel that knows keys drops the repeat; one that can look is asked to look first.

use std::{collections::BTreeSet, time::Duration};

use jiff::{SignedDuration, Timestamp};

use crate::{
    domain::{
        card::{Card, Link},
        ids::IncidentId,
        incident::show,
        oncall::{OnCall, Person},
        schedule::PersonId,
        severity::Severity,
    },
    engine::channels::Channels,
    notify::{Class, Delivery, Message, Outcome, Page},
};

/// What is said.
#[derive(Clone, Debug, PartialEq)]
pub struct Words {
    /// `outage:<generation>:<turn>`; the person is added.
    pub key: String,
    /// One line.
    pub title: String,
    /// What it means.
    pub summary: String,
    /// What is open, a line each.
    pub parts: Vec<String>,
    /// It is over.
    pub over: bool,
    /// Why one is told.
    pub why: &'static str,
    /// When the store was last in order.
    pub since: Timestamp,
}

/// The way to the people; borrowed from the engine, so that no store is needed.
#[derive(Clone, Copy)]
pub struct Voice<'a> {
    /// Where messages go.
    pub channels: &'a Channels,
    /// Who they are.
    pub oncall: &'a OnCall,
    /// The daemon's own address for people.
    pub public_url: &'a str,
    /// Others say the same: look first, where that is possible.
    pub others: bool,
}

impl Voice<'_> {
    /// Tells everybody at once; returns whom it reached.
    pub async fn tell(
        self,
        people: &[PersonId],
        words: &Words,
        now: Timestamp,
    ) -> BTreeSet<PersonId> {
        let people = people.iter().filter_map(|id| self.oncall.person(id));
        let told = people.map(|person| async {
            self.tell_one(person, words, now).await.then(|| person.id.clone())
        });
        futures::future::join_all(told).await.into_iter().flatten().collect()
    }

    async fn tell_one(self, person: &Person, words: &Words, now: Timestamp) -> bool {
        let message = Message::Page(self.page(person, words, now));
        for (kind, address) in ways(person) {
            let Some(transport) = self.channels.transport(kind) else { continue };
            if transport.wait(address).is_some() {
                continue;
            }
            let delivery = Delivery {
                key: &format!("{}:{}", words.key, person.id),
                address,
                message: &message,
                card: None,
                unclear: self.others && transport.caps().class == Class::Reconcilable,
            };
            match transport.send(&delivery).await {
                Ok(_) => return true,
                Err(failure) => {
                    let unclear = failure.outcome == Outcome::Unclear;
                    let (person, reason) = (person.id.to_string(), failure.reason);
                    tracing::error!(person, kind, unclear, reason, "the alarm did not get through");
                }
            }
        }
        tracing::error!(person = %person.id, "nobody could be told by any contact of theirs");
        false
    }

    fn page(self, person: &Person, words: &Words, now: Timestamp) -> Page {
        let Words { title, summary, parts, over, why, since, key: _ } = words.clone();
        let url = format!("{}/", self.public_url.trim_end_matches('/'));
        let card = Card {
            // Of no incident: shown without a number.
            incident: IncidentId(0),
            revision: 0,
            round: 0,
            title: format!("Paramedic: {title}"),
            severity: Severity::P1,
            status: if over { "resolved" } else { "triggered" }.to_owned(),
            since,
            at: now,
            summary,
            parts,
            labels: vec![],
            members: String::new(),
            verdicts: vec![],
            diagnosis: String::new(),
            caveats: vec![],
            history: vec![],
            next: String::new(),
            links: vec![Link { label: "Paramedic".to_owned(), url }],
            actions: vec![],
        };
        Page { card, person: person.name.clone(), why: why.to_owned(), remark: String::new() }
    }
}

/// A person's contacts: what pages at this severity use, in their order, then the others.
fn ways(person: &Person) -> Vec<(&str, &str)> {
    let rules = person.rules(Severity::P1).iter().flat_map(|rule| &rule.by);
    let mut ways: Vec<(&str, &str)> = vec![];
    for kind in rules.chain(person.contacts.keys()) {
        let known = ways.iter().any(|(before, _)| before == kind);
        if let Some(address) = person.contact(kind).filter(|_| !known) {
            ways.push((kind, address));
        }
    }
    ways
}

/// A length of time in words.
pub fn lasted(lasted: Duration) -> String {
    show::duration(SignedDuration::try_from(lasted).unwrap_or(SignedDuration::MAX))
}
