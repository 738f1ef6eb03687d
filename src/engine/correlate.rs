//! Stored deliveries become changes of incidents, in the order they arrived.
//!
//! One delivery is applied in transactions of at most 500 alerts, each with the cursor it moves; a crash in between
//! repeats nothing. Small ones that wait together share a transaction as long as they change different incidents. A delivery that fails three times is set aside, its alerts are paged as they are, and the next one goes on.

mod groups;
mod read;

use std::collections::BTreeSet;

use anyhow::Context as _;
use jiff::Timestamp;

pub use self::read::prepared;
use self::{
    groups::{Group, Groups},
    read::Read,
};
use super::{Engine, alarm::Alarm, change::include, teams::Said};
use crate::{
    domain::{
        alert::{Alert, Envelope, Labels, Rejected, Status},
        incident::{
            self, Command, Decision, Env, Incident, Observation, Opening, Routing,
            correlate::{self, Change},
        },
    },
    store::{self, Changes, Delivery, Progress, deliveries::MAX_ATTEMPTS},
};

/// Alerts per transaction.
const BATCH: usize = 500;
/// Deliveries per transaction.
const TOGETHER: usize = 32;

/// Alerts of one delivery that are applied in one transaction.
struct Part<'r> {
    read: &'r Read<'r>,
    alerts: &'r [Alert],
    rejected: &'r [Rejected],
    beat: Option<&'r (String, String)>,
    progress: Progress,
}

/// What became of the oldest waiting delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// There is none.
    Nothing,
    /// It is applied, and perhaps some behind it.
    Something,
    /// It is not; it is tried again after a pause, or was set aside.
    Failed,
}

impl Engine {
    /// Applies the oldest waiting delivery, and those behind it that fit into the same transaction.
    pub async fn apply_next(&self) -> anyhow::Result<Applied> {
        let waiting = self.store.next_deliveries(&self.owner, TOGETHER).await?;
        let Some(delivery) = waiting.first() else { return Ok(Applied::Nothing) };
        match self.apply_together(&waiting).await {
            Ok(0) => {}
            Ok(_) => return Ok(Applied::Something),
            // Whose fault it is, is seen when the first one is applied alone.
            Err(error) => tracing::debug!(error = format!("{error:#}"), "applied one by one"),
        }
        let id = delivery.id;
        match self.apply(delivery).await {
            Ok(()) => Ok(Applied::Something),
            Err(error) if is_lost(&error) => Ok(Applied::Something),
            Err(error) if is_for_a_newer_one(&error) => {
                tracing::warn!(
                    delivery.id = id,
                    error = format!("{error:#}"),
                    "a newer replica applies it"
                );
                self.store.end_turns(&self.owner).await?;
                Ok(Applied::Failed)
            }
            Err(error) => {
                // A store that is in trouble says nothing about the delivery: it waits, and is not blamed.
                self.store.check().await.context("a delivery waits for the store")?;
                let attempts = self.store.delivery_failed(id).await?;
                tracing::warn!(
                    delivery.id = id,
                    attempts,
                    error = format!("{error:#}"),
                    "a delivery could not be applied"
                );
                if attempts >= MAX_ATTEMPTS {
                    self.set_aside(delivery, &format!("{error:#}")).await?;
                }
                Ok(Applied::Failed)
            }
        }
    }

    /// Applies deliveries that wait together in one transaction, as far as they change different things; how many it were. A
    /// delivery that is not simple is left for [`Self::apply`].
    async fn apply_together(&self, waiting: &[Delivery]) -> anyhow::Result<usize> {
        let mut reads = Vec::with_capacity(waiting.len());
        let mut alerts = 0;
        for delivery in waiting.iter().take_while(|d| d.applied == 0 && d.attempts == 0) {
            let Ok(read) = self.read(delivery) else { break };
            alerts += read.alerts.len();
            if alerts > BATCH || !read.rejected.is_empty() || read.envelope.asked_at.is_some() {
                break;
            }
            reads.push(read);
        }
        if reads.len() < 2 {
            return Ok(0);
        }
        let parts: Vec<Part<'_>> = reads
            .iter()
            .map(|read| Part {
                read,
                alerts: &read.alerts,
                rejected: &[],
                beat: read.beat.as_ref(),
                progress: Progress::Done(read.delivery.id, 0),
            })
            .collect();
        self.apply_batch(&parts).await
    }

    /// Applies one delivery, whatever it holds.
    async fn apply(&self, delivery: &Delivery) -> anyhow::Result<()> {
        let read = self.read(delivery)?;
        if let Some(beat) = read.beat.clone() {
            let changes = Changes { cursors: vec![beat], ..Changes::default() };
            self.store.commit(changes, self.now()).await?;
        }
        let all = read.alerts.len();
        let mut applied = delivery.applied.min(all);
        // What the store knows: more than there are, when a heartbeat was configured since.
        let mut before = delivery.applied;
        loop {
            let end = (applied + BATCH).min(all);
            let last = end == all;
            let progress = if last {
                Progress::Done(delivery.id, before)
            } else {
                Progress::Applied(delivery.id, before, end)
            };
            let rejected = if last { read.rejected.as_slice() } else { &[] };
            let alerts = &read.alerts[applied..end];
            self.apply_batch(&[Part { read: &read, alerts, rejected, beat: None, progress }])
                .await?;
            (applied, before) = (end, end);
            if last {
                return Ok(());
            }
        }
    }

    /// Applies the first of these parts, and those after it that change different things, in one transaction; how many it were.
    async fn apply_batch(&self, parts: &[Part<'_>]) -> anyhow::Result<usize> {
        for _ in 0..20 {
            let now = self.now();
            let mut batch: Vec<Groups> = Vec::with_capacity(parts.len());
            for part in parts {
                match self.groups(part, &batch, now).await {
                    Ok(Some(groups)) => batch.push(groups),
                    Err(error) if batch.is_empty() => return Err(error),
                    // It will be the first of the next batch, and an error will be its own.
                    Ok(None) | Err(_) => break,
                }
            }
            let applied = batch.len();
            let (mut changes, mut opened) = (Changes::default(), vec![]);
            for (part, groups) in parts.iter().zip(batch) {
                opened.extend(self.apply_part(part, groups, &mut changes, now).await?);
            }
            self.gather_storms(&mut opened, &mut changes, now).await?;
            for new in &opened {
                include(&mut changes, None, new, None, now);
            }
            for part in parts.iter().filter(|part| !part.rejected.is_empty()) {
                let alarm = Alarm::cannot_read(&part.read.delivery.source, part.rejected);
                self.raise(&mut changes, &alarm, now).await?;
            }
            match self.store.commit(changes, now).await {
                Ok(()) => return Ok(applied),
                Err(store::Error::Conflict) => {}
                Err(other) => return Err(other.into()),
            }
        }
        anyhow::bail!("lost the race for an incident too often")
    }

    /// Adds what a part changes; incidents that open are returned.
    async fn apply_part(
        &self,
        part: &Part<'_>,
        groups: Groups,
        changes: &mut Changes,
        now: Timestamp,
    ) -> anyhow::Result<Vec<Decision>> {
        let (source, envelope) = (&part.read.delivery.source, &part.read.envelope);
        changes.deliveries.push(part.progress);
        changes.cursors.extend(part.beat.cloned());
        changes.rejected.extend(part.rejected.iter().map(|bad| (source.clone(), bad.clone())));
        changes.members.extend(groups.quiet.into_values());
        let mut opened = vec![];
        for group in groups.by_slot.into_values() {
            opened.extend(self.apply_group(group, envelope, source, changes, now).await?);
        }
        Ok(opened)
    }

    /// Adds what a group changes; an incident that opens is returned, for it may join a storm at once.
    async fn apply_group(
        &self,
        mut group: Group,
        envelope: &Envelope,
        source: &str,
        changes: &mut Changes,
        now: Timestamp,
    ) -> anyhow::Result<Option<Decision>> {
        let (stored, id) = (group.stored.take(), group.id);
        let state = stored.as_ref().map(|s| &s.incident);
        let seen = self.observation(&group, state, envelope).await?;
        let notes = self.caveats(&group, state);
        changes.members.extend(group.members.into_values().map(|(_, member)| member));
        let Some(stored) = stored else {
            let opening = opening(&group.first, &group.changes, group.key, source, envelope);
            let asked = seen.matched.iter().filter_map(|m| m.severity).chain(seen.severity).max();
            let severity = asked.unwrap_or(self.options.default_severity);
            let oncall = self.oncall.get();
            let env = Env { now, oncall: &oncall, settings: &self.options.incidents };
            let mut opened = incident::open(id, opening, severity, Command::Observe(seen), &env)?;
            let more = self.decide(&opened.state, notes, now)?;
            opened.events.extend(more.events);
            opened.state = more.state;
            tracing::info!(incident.id = %id, title = opened.state.title, severity = %severity, "incident opened");
            return Ok(Some(opened));
        };
        let commands = [vec![Command::Observe(seen)], notes].concat();
        let decision = self.decide(&stored.incident, commands, now)?;
        include(changes, Some(&stored.incident), &decision, Some(stored.version), now);
        Ok(None)
    }

    async fn observation(
        &self,
        group: &Group,
        state: Option<&Incident>,
        envelope: &Envelope,
    ) -> anyhow::Result<Observation> {
        let count = |wanted: Change| {
            let matching = group.changes.iter().filter(|(_, change)| *change == wanted);
            u64::try_from(matching.count()).unwrap_or(u64::MAX)
        };
        let fired = group.fired();
        let (new, again, ended) =
            (count(Change::Fired), count(Change::FiredAgain), count(Change::Ended));
        let (mut firing, mut members) = self.store.member_counts(group.id).await?;
        for (known, member) in group.members.values() {
            match known.as_ref().filter(|known| known.incident == Some(group.id)) {
                Some(known) => firing -= u64::from(known.status == Status::Firing).min(firing),
                None => members += 1,
            }
            firing += u64::from(member.status == Status::Firing);
        }
        let severities = fired.iter().map(|alert| {
            correlate::severity(alert, &self.options.severity_map, self.options.default_severity)
        });
        let max = severities.max();
        let routing = match state {
            Some(_) => Routing::default(),
            None => self.routing(&group.first.labels),
        };
        Ok(Observation {
            new,
            again,
            ended,
            firing,
            members,
            severity: max,
            targets: correlate::target_hints(fired.iter().copied()),
            truncated: envelope.truncated_alerts,
            matched: self.matched(&fired),
            routing,
        })
    }

    /// What the card must say besides: groups that could not be used, playbooks whose condition could not be answered.
    fn caveats(&self, group: &Group, state: Option<&Incident>) -> Vec<Command> {
        let note = group.note.filter(|_| state.is_none()).map(str::to_owned);
        let team = self.team_caveat(&group.first.labels).filter(|_| state.is_none());
        let notes: BTreeSet<String> =
            note.into_iter().chain(team).chain(self.unanswered(&group.fired())).collect();
        let is_new = |text: &String| state.is_none_or(|s| !s.caveats.contains(text));
        notes.into_iter().filter(is_new).map(Command::Caveat).collect()
    }

    /// Who owns alerts with these labels.
    pub(super) fn routing(&self, labels: &Labels) -> Routing {
        let oncall = self.oncall.get();
        let namespace = match self.namespace_team(labels) {
            Said::Team(team) => Some(team),
            Said::Nothing | Said::Unknown(_) => None,
        };
        if let Some(team) = oncall.team_for(labels, namespace.as_deref()) {
            return Routing {
                team: team.id.clone(),
                policy: team.policy.clone(),
                channels: team.channels.iter().cloned().collect(),
                user_channel: team.user_errors.as_ref().map(|user| user.channel.clone()),
                user_max: team.user_errors.as_ref().map(|user| user.max),
            };
        }
        Routing {
            team: String::new(),
            policy: self.options.default_policy.clone(),
            channels: self.options.default_channels.iter().cloned().collect(),
            ..Routing::default()
        }
    }
}

/// Another replica applied it first.
fn is_lost(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(store::Error::LostDelivery))
}

/// It changes an incident that this version cannot read. Nothing is wrong with the delivery.
fn is_for_a_newer_one(error: &anyhow::Error) -> bool {
    matches!(super::worker::store_error(error), Some(store::Error::NewerIncident(_)))
}

fn opening(
    first: &Alert,
    changes: &[(Alert, Change)],
    key: String,
    source: &str,
    envelope: &Envelope,
) -> Opening {
    let labels = correlate::common(changes.iter().map(|(alert, _)| &alert.labels));
    let since = changes.iter().map(|(alert, _)| alert.starts_at).min();
    Opening {
        source: source.to_owned(),
        key,
        title: correlate::title(first),
        cluster: first.label("cluster").to_owned(),
        labels,
        annotations: first.annotations.clone(),
        generator_url: first.generator_url.clone(),
        external_url: envelope.external_url.clone(),
        since: since.unwrap_or(first.starts_at),
    }
}
