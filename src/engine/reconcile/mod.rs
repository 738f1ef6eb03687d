//! Asking Alertmanager back, each minute and right after a silence ends: what is muted is paused, what notifies again is
//! paged at once, what never reached us is taken in, and what is gone is over.
//!
//! Alertmanager's webhooks leave this out: a muted alert vanishes from them without a word, a lost webhook is not sent again
//! before `repeat_interval`, and a restart forgets alerts. So the poll is the second source of truth, and it is careful where
//! the webhooks may be ahead of it: an incident whose alerts were heard of since we asked is left for the next poll, every
//! change commits against the version it was decided on, and alerts that are taken in carry the time we asked, so that
//! whatever a webhook brought since wins. It ends an incident only when every instance answered, none of them is young, and
//! the source's heartbeat is there. What it counts between polls is in its own job's row.

mod view;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use self::view::Listed;
use super::{Engine, Source, change::include, heartbeats};
use crate::{
    clients::alertmanager::{
        Client,
        read::{KnownSilence, Snapshot},
    },
    domain::{
        alert::Status,
        ids::IncidentId,
        incident::{
            Command,
            asked::{self, Absence, Known},
        },
    },
    ops::metrics as names,
    store::{self, Again, Changes, FiringMember, Job, JobEnd, Stored},
};

/// A source's loop is `periodic:reconcile:<source>`.
pub(super) const KEY: &str = "periodic:reconcile:";
/// Between polls.
pub(super) const EVERY: Duration = Duration::from_mins(1);
/// After the end of a silence.
const AFTER_END: Duration = Duration::from_secs(1);
/// Younger instances may not have been told of every alert.
const YOUNG: SignedDuration = SignedDuration::from_mins(15);
/// A younger alert may still wait in its group: its webhook comes first.
const WAITS: SignedDuration = SignedDuration::from_mins(1);
/// Longer than this between two polls, and absence is counted anew.
const GAP: SignedDuration = SignedDuration::from_mins(3);
/// Absent incidents and waiting alerts that are remembered.
const MAX_REMEMBERED: usize = 2_000;
/// Alerts taken in by one poll; the rest by the next.
const MAX_ADOPTED: usize = 5_000;
/// Incidents in question that one poll looks at.
const MAX_IN_QUESTION: i64 = 5_000;

/// What a source's loop keeps between polls.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Memory {
    /// The last poll that every instance answered.
    at: Option<Timestamp>,
    /// Incidents that Alertmanager did not know then.
    absent: BTreeMap<IncidentId, Absence>,
    /// Alerts that notify and have no place with us.
    waiting: BTreeSet<String>,
}

/// One poll's answer.
struct Poll {
    source: String,
    asked_at: Timestamp,
    alerts: BTreeMap<String, Listed>,
    /// Nothing but their end explains that alerts are not there.
    may_end: bool,
    /// A muted alert cannot be told from one that notifies.
    blind: bool,
}

impl Engine {
    /// Runs a source's loop once.
    pub(super) async fn run_reconcile(&self, job: &Job, name: &str) -> anyhow::Result<()> {
        let mut end = JobEnd { id: job.id, fence: job.fence, again: None };
        let Some(source) = self.options.sources.get(name).filter(|s| !s.alertmanagers.is_empty())
        else {
            // It was taken out of the configuration.
            return Ok(self.end_job(end).await?);
        };
        let mut memory: Memory = serde_json::from_value(job.payload.clone()).unwrap_or_default();
        let wait = if let Some(poll) = self.poll(name, source).await? {
            self.follow_poll(&poll, source, &mut memory).await?;
            let ends = asked::soonest(poll.alerts.values().map(|l| &l.known), self.now());
            ends.map_or(EVERY, |end| EVERY.min(end.saturating_add(AFTER_END)))
        } else {
            memory = Memory::default();
            EVERY
        };
        let due = super::deliver::after(self.now(), wait);
        let payload = Some(serde_json::to_value(&memory)?);
        end.again = Some(Again { payload, ..Again::later(due, "its next turn") });
        Ok(self.end_job(end).await?)
    }

    /// Asks every instance; `None` when one of them did not answer: then nothing is concluded.
    async fn poll(&self, name: &str, source: &Source) -> anyhow::Result<Option<Poll>> {
        let asked_at = self.now();
        let asked = join_all(source.alertmanagers.iter().map(Client::snapshot)).await;
        let failed = asked.iter().filter_map(|answer| answer.as_ref().err());
        for error in failed.clone() {
            tracing::warn!(source = name, %error, "Alertmanager could not be asked back: mutes and lost alerts are not seen");
        }
        let outcome = if failed.count() == 0 { "ok" } else { "error" };
        metrics::counter!(names::ALERTMANAGER_POLLS, "source" => name.to_owned(), "outcome" => outcome)
            .increment(1);
        let answers: Vec<Snapshot> = asked.into_iter().flatten().collect();
        if answers.len() < source.alertmanagers.len() {
            return Ok(None);
        }
        let silences = self.silences(source, &answers).await;
        let unreadable: usize = answers.iter().map(|answer| answer.unreadable).sum();
        if unreadable > 0 {
            tracing::warn!(source = name, unreadable, "alerts of Alertmanager could not be read");
        }
        let is_old = |answer: &Snapshot| asked_at.duration_since(answer.started_at) >= YOUNG;
        let may_end = unreadable == 0
            && answers.iter().all(is_old)
            && self.heartbeat_is_here(name, source).await?;
        let says_mutes =
            |answer: &Snapshot| answer.alerts.iter().all(|alert| alert.status.muted_by.is_some());
        let blind = answers.iter().any(|answer| answer.has_mute_times && !says_mutes(answer));
        let alerts = answers.into_iter().map(|answer| answer.alerts).collect();
        let alerts = view::merged(alerts, &silences, source);
        Ok(Some(Poll { source: name.to_owned(), asked_at, alerts, may_end, blind }))
    }

    /// Silences, when one of them silences something; without them an end is not known, and asked for again.
    async fn silences(&self, source: &Source, answers: &[Snapshot]) -> Vec<KnownSilence> {
        let mut all = answers.iter().flat_map(|answer| &answer.alerts);
        if !all.any(|alert| !alert.status.silenced_by.is_empty()) {
            return vec![];
        }
        for client in &source.alertmanagers {
            match client.silences().await {
                Ok(silences) => return silences,
                Err(error) => tracing::warn!(%error, "the ends of silences are not known"),
            }
        }
        vec![]
    }

    async fn follow_poll(
        &self,
        poll: &Poll,
        source: &Source,
        memory: &mut Memory,
    ) -> anyhow::Result<()> {
        let known = self.store.firing_members(&poll.source).await?;
        self.adopt(poll, source, &known, memory).await?;
        let stale = memory.at.is_none_or(|at| poll.asked_at.duration_since(at) > GAP);
        let before = if stale { BTreeMap::new() } else { std::mem::take(&mut memory.absent) };
        memory.at = Some(poll.asked_at);
        memory.absent = BTreeMap::new();
        let mut look: BTreeSet<IncidentId> =
            self.store.in_question(MAX_IN_QUESTION).await?.into_iter().collect();
        for members in known.chunk_by(|a, b| a.incident == b.incident) {
            let Some(first) = members.first().filter(|first| first.is_open) else { continue };
            match poll.answer(members) {
                asked::Answer::Muted(_) => drop(look.insert(first.incident)),
                asked::Answer::Missing => {
                    let absence = before.get(&first.incident).copied();
                    let absence = Absence::again(absence, poll.asked_at);
                    if memory.absent.len() < MAX_REMEMBERED {
                        memory.absent.insert(first.incident, absence);
                    }
                    if absence.is_over(poll.asked_at) {
                        look.insert(first.incident);
                    }
                }
                asked::Answer::Active | asked::Answer::Undecided => {}
            }
        }
        for id in look {
            if let Some(stored) = self.store.incident(id).await? {
                self.follow_answer(poll, stored, memory.absent.get(&id).copied()).await?;
            }
        }
        Ok(())
    }

    /// Carries out what the poll's answer asks of one incident, unless something newer was heard of it.
    async fn follow_answer(
        &self,
        poll: &Poll,
        stored: Stored,
        absence: Option<Absence>,
    ) -> anyhow::Result<()> {
        let incident = &stored.incident;
        let is_ours = incident.labels.get("alertname").is_some_and(|n| n == heartbeats::MISSING);
        if incident.source != poll.source || is_ours {
            return Ok(());
        }
        let firing = self.store.firing_members_of(incident.id).await?;
        if firing.is_empty() || firing.iter().any(|member| member.last_seen >= poll.asked_at) {
            return Ok(());
        }
        let answer = poll.answer(&firing);
        let now = self.now();
        let Some(command) = asked::follow(incident, &answer, absence, poll.may_end, now) else {
            return Ok(());
        };
        let mut changes = Changes::default();
        if let Command::Missing { .. } = command {
            let count = i64::try_from(firing.len()).unwrap_or(i64::MAX);
            for mut member in self.store.members(incident.id, count).await? {
                member.status = Status::Resolved;
                member.originals.values_mut().for_each(|status| *status = Status::Resolved);
                changes.members.push(member);
            }
        }
        tracing::info!(incident.id = %incident.id, ?answer, "Alertmanager was asked");
        let decision = self.decide(incident, vec![command], now)?;
        include(&mut changes, Some(incident), &decision, Some(stored.version), now);
        match self.store.commit(changes, now).await {
            // Something happened to it meanwhile: the next poll looks again.
            Ok(()) | Err(store::Error::Conflict) => Ok(()),
            Err(other) => Err(other.into()),
        }
    }

    /// Takes in alerts that notify our receiver and have no place here: a webhook was lost, or our store was.
    async fn adopt(
        &self,
        poll: &Poll,
        source: &Source,
        known: &[FiringMember],
        memory: &mut Memory,
    ) -> anyhow::Result<()> {
        let waited = std::mem::take(&mut memory.waiting);
        if poll.blind {
            tracing::warn!(
                source = poll.source,
                "this Alertmanager has mute times and does not say what they mute (before 0.28): lost alerts are not taken in"
            );
            return Ok(());
        }
        let placed: BTreeSet<&str> = known.iter().map(|m| m.fingerprint.as_str()).collect();
        let mut adopted = vec![];
        for (identity, Listed { known, raw }) in &poll.alerts {
            let is_for_us = raw.receivers.iter().any(|r| r.name == source.receiver);
            if !is_for_us || placed.contains(identity.as_str()) {
                continue;
            }
            let waits = poll.asked_at.duration_since(raw.starts_at) < WAITS;
            let at_once = match known {
                Known::Active => !waits,
                Known::Disputed => false,
                Known::Undecided | Known::Muted(_) => continue,
            };
            if (at_once || waited.contains(identity)) && adopted.len() < MAX_ADOPTED {
                adopted.push(raw);
            } else if memory.waiting.len() < MAX_REMEMBERED {
                memory.waiting.insert(identity.clone());
            }
        }
        if adopted.is_empty() {
            return Ok(());
        }
        let count = adopted.len();
        tracing::warn!(
            source = poll.source,
            count,
            "alerts that fire in Alertmanager and never reached us are taken in"
        );
        metrics::counter!(names::ALERTS_ADOPTED, "source" => poll.source.clone())
            .increment(count as u64);
        let url = source.alertmanagers.first().map_or("", |client| client.url().as_str());
        let body = view::as_webhook(adopted.into_iter(), &source.receiver, url, poll.asked_at);
        self.take_in(poll.source.clone(), body).await?;
        Ok(())
    }
}

impl Poll {
    fn answer(&self, members: &[FiringMember]) -> asked::Answer {
        asked::answer(members.iter().map(|m| self.alerts.get(&m.fingerprint).map(|l| &l.known)))
    }
}
