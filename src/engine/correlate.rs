//! Stored deliveries become changes of incidents, in the order they arrived.
//!
//! One delivery is applied in transactions of at most 500 alerts, each with the cursor it moves; a crash in between
//! repeats nothing. A delivery that fails three times is set aside, its alerts are paged as they are, and the next one goes on.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use jiff::Timestamp;

use super::{Engine, Source, alarm::Alarm, change::include, heartbeats, teams::Said};
use crate::{
    domain::{
        alert::{self, Alert, Envelope, Labels, Rejected, Status},
        ids::IncidentId,
        incident::{
            self, Command, Decision, Env, Incident, Observation, Opening, Routing,
            correlate::{self, Change, Member},
        },
        redact,
    },
    store::{self, Changes, Delivery, Progress, Stored, deliveries::MAX_ATTEMPTS},
};

/// Alerts per transaction.
const BATCH: usize = 500;

/// Changes of one incident within a batch.
struct Group {
    id: IncidentId,
    stored: Option<Stored>,
    first: Alert,
    key: String,
    /// What the card must say of how it was grouped.
    note: Option<&'static str>,
    changes: Vec<(Alert, Change)>,
    /// By identity: what the store knows, and what will be.
    members: BTreeMap<String, (Option<Member>, Member)>,
}

/// A batch's groups, and where each alert's identity went: an alert may come twice in one webhook.
#[derive(Default)]
struct Groups {
    by_slot: BTreeMap<String, Group>,
    slots: BTreeMap<String, String>,
}

/// What became of the oldest waiting delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// There is none.
    Nothing,
    /// It is applied.
    One,
    /// It is not; it is tried again after a pause, or was set aside.
    Failed,
}

impl Engine {
    /// Applies the oldest waiting delivery.
    pub async fn apply_next(&self) -> anyhow::Result<Applied> {
        let Some(delivery) = self.store.next_delivery(&self.owner).await? else {
            return Ok(Applied::Nothing);
        };
        let id = delivery.id;
        match self.apply(&delivery).await {
            Ok(()) => Ok(Applied::One),
            Err(error) if is_lost(&error) => Ok(Applied::One),
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
                    self.set_aside(&delivery, &format!("{error:#}")).await?;
                }
                Ok(Applied::Failed)
            }
        }
    }

    async fn apply(&self, delivery: &Delivery) -> anyhow::Result<()> {
        let mut payload = alert::parse(&delivery.body, delivery.received_at)?;
        clean(&mut payload.envelope);
        let source = self.options.sources.get(&delivery.source).cloned().unwrap_or_default();
        let mut alerts = Vec::with_capacity(payload.alerts.len());
        let mut rejected = Vec::new();
        for alert in payload.alerts {
            match alert {
                Ok(alert) => alerts.push(prepared(alert, &source)),
                Err(bad) => rejected.push(bad),
            }
        }
        let (name, at) = (&delivery.source, delivery.received_at);
        if let Some(beat) = heartbeats::take_out(&mut alerts, &source, name, at) {
            let changes = Changes { cursors: vec![beat], ..Changes::default() };
            self.store.commit(changes, self.now()).await?;
        }
        let mut applied = delivery.applied.min(alerts.len());
        // What the store knows: more than there are, when a heartbeat was configured since.
        let mut before = delivery.applied;
        loop {
            let end = (applied + BATCH).min(alerts.len());
            let last = end == alerts.len();
            let progress = if last {
                Progress::Done(delivery.id, before)
            } else {
                Progress::Applied(delivery.id, before, end)
            };
            let bad = if last { std::mem::take(&mut rejected) } else { vec![] };
            let batch = &alerts[applied..end];
            self.apply_batch(delivery, &payload.envelope, &source, batch, bad, progress).await?;
            (applied, before) = (end, end);
            if last {
                return Ok(());
            }
        }
    }

    async fn apply_batch(
        &self,
        delivery: &Delivery,
        envelope: &Envelope,
        source: &Source,
        alerts: &[Alert],
        rejected: Vec<Rejected>,
        progress: Progress,
    ) -> anyhow::Result<()> {
        for _ in 0..20 {
            let now = self.now();
            let mut changes = Changes { delivery: Some(progress), ..Changes::default() };
            if !rejected.is_empty() {
                let named = rejected.iter().map(|r| (delivery.source.clone(), r.clone()));
                changes.rejected.extend(named);
            }
            let groups = self.groups(delivery, envelope, source, alerts, &mut changes, now).await?;
            let mut opened = Vec::new();
            for group in groups {
                let new = self.apply_group(group, envelope, &delivery.source, &mut changes, now);
                opened.extend(new.await?);
            }
            self.gather_storms(&mut opened, &mut changes, now).await?;
            for new in &opened {
                include(&mut changes, None, new, None, now);
            }
            if !rejected.is_empty() {
                let alarm = Alarm::cannot_read(&delivery.source, &rejected);
                self.raise(&mut changes, &alarm, now).await?;
            }
            match self.store.commit(changes, now).await {
                Ok(()) => return Ok(()),
                Err(store::Error::Conflict) => {}
                Err(other) => return Err(other.into()),
            }
        }
        anyhow::bail!("lost the race for an incident too often")
    }

    /// What each alert changes, by incident.
    async fn groups(
        &self,
        delivery: &Delivery,
        envelope: &Envelope,
        source: &Source,
        alerts: &[Alert],
        changes: &mut Changes,
        now: Timestamp,
    ) -> anyhow::Result<Vec<Group>> {
        let mut stored: BTreeMap<String, Option<Member>> = BTreeMap::new();
        let mut quiet: BTreeMap<String, Member> = BTreeMap::new();
        let mut groups = Groups::default();
        for alert in alerts {
            let identity = correlate::identity(alert, &source.ignore);
            if !stored.contains_key(&identity) {
                let member = self.store.member(&delivery.source, &identity).await?;
                stored.insert(identity.clone(), member);
            }
            let mut before = groups
                .member(&identity)
                .or_else(|| quiet.get(&identity))
                .or_else(|| stored.get(&identity).and_then(Option::as_ref))
                .cloned();
            if let Some(asked_at) = envelope.asked_at {
                if before.as_ref().is_some_and(|member| member.last_seen >= asked_at) {
                    // A webhook brought newer news of it than the answer we asked for.
                    continue;
                }
                before = self.lost(before).await?;
            }
            let (name, seq) = (&delivery.source, delivery.id);
            let (member, change) =
                correlate::observe(before, name, alert, &source.ignore, seq, now);
            let is_quiet = matches!(change, Change::Seen | Change::Stale | Change::EndedUnseen);
            if let Some(group) = groups.of(&identity) {
                group.put(&identity, None, member);
                if !is_quiet {
                    group.changes.push((alert.clone(), change));
                }
                continue;
            }
            if is_quiet {
                quiet.insert(identity, member);
                continue;
            }
            quiet.remove(&identity);
            let known = stored.get(&identity).cloned().flatten();
            let slot = self.slot(&mut groups, name, envelope, alert, &member, now).await?;
            groups.slots.insert(identity.clone(), slot);
            if let Some(group) = groups.of(&identity) {
                // An alert that was in another, closed incident is new in this one.
                let moved = change == Change::FiredAgain && member.incident != Some(group.id);
                let change = if moved { Change::Fired } else { change };
                group.put(&identity, known, member);
                group.changes.push((alert.clone(), change));
            }
        }
        changes.members.extend(quiet.into_values());
        Ok(groups.by_slot.into_values().collect())
    }

    /// A member that fires as far as we know, and has no place any more, ended with its incident.
    async fn lost(&self, member: Option<Member>) -> anyhow::Result<Option<Member>> {
        let Some(mut member) = member else { return Ok(None) };
        if let (Status::Firing, Some(id)) = (member.status, member.incident) {
            let home = self.store.incident(id).await?;
            let watched =
                home.is_some_and(|s| s.incident.wake.due().is_some() || s.incident.is_open());
            if !watched {
                member.status = Status::Resolved;
                member.originals.values_mut().for_each(|status| *status = Status::Resolved);
            }
        }
        Ok(Some(member))
    }

    /// The name of the group an alert belongs to, which is there afterwards.
    async fn slot(
        &self,
        groups: &mut Groups,
        source: &str,
        envelope: &Envelope,
        alert: &Alert,
        member: &Member,
        now: Timestamp,
    ) -> anyhow::Result<String> {
        let cluster = alert.label("cluster");
        let (key, note) = correlate::key(source, alert, envelope, cluster, &self.options.group_by);
        let stored = self.home(member, &key, now).await?;
        let slot = stored.as_ref().map_or_else(|| key.clone(), |s| s.incident.id.to_string());
        if !groups.by_slot.contains_key(&slot) {
            let id = match &stored {
                Some(stored) => stored.incident.id,
                None => self.store.next_incident().await?,
            };
            let (first, changes, members) = (alert.clone(), vec![], BTreeMap::new());
            let group = Group { id, stored, first, key, note, changes, members };
            groups.by_slot.insert(slot.clone(), group);
        }
        Ok(slot)
    }

    /// The incident an alert belongs to: where it is a member already while that is open; else the open one with its key;
    /// else one that resolved lately.
    async fn home(
        &self,
        member: &Member,
        key: &str,
        now: Timestamp,
    ) -> anyhow::Result<Option<Stored>> {
        if let Some(id) = member.incident
            && let Some(stored) = self.store.incident(id).await?
            && (stored.incident.is_open() || member.status == Status::Resolved)
        {
            return Ok(Some(stored));
        }
        let within = self.options.incidents.reopen_within;
        let stored = self.store.incident_by_key(key).await?;
        Ok(stored.filter(|s| s.incident.is_open() || correlate::reopens(&s.incident, now, within)))
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

impl Groups {
    fn of(&mut self, identity: &str) -> Option<&mut Group> {
        self.by_slot.get_mut(self.slots.get(identity)?)
    }

    fn member(&self, identity: &str) -> Option<&Member> {
        let group = self.by_slot.get(self.slots.get(identity)?)?;
        group.members.get(identity).map(|(_, member)| member)
    }
}

impl Group {
    fn put(&mut self, identity: &str, known: Option<Member>, mut member: Member) {
        member.incident = Some(self.id);
        let known = match self.members.remove(identity) {
            Some((known, _)) => known,
            None => known,
        };
        self.members.insert(identity.to_owned(), (known, member));
    }

    fn fired(&self) -> Vec<&Alert> {
        let fired = |change| matches!(change, Change::Fired | Change::FiredAgain);
        self.changes.iter().filter(|(_, change)| fired(*change)).map(|(alert, _)| alert).collect()
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

/// Redacted, with the source's labels where it lacks them.
pub(super) fn prepared(mut alert: Alert, source: &Source) -> Alert {
    for (name, value) in &source.labels {
        alert.labels.entry(name.clone()).or_insert_with(|| value.clone());
    }
    without_secrets(&mut alert.labels);
    without_secrets(&mut alert.annotations);
    alert.generator_url = redact::redact(&alert.generator_url).into_owned();
    alert
}

/// Redacted, before anything of it becomes part of a key.
fn clean(envelope: &mut Envelope) {
    without_secrets(&mut envelope.group_labels);
    envelope.external_url = redact::redact(&envelope.external_url).into_owned();
}

fn without_secrets(labels: &mut Labels) {
    for (name, value) in labels {
        // kube-state-metrics names Secret objects in a label `secret`: a name, not the secret.
        if name != "secret" && !value.is_empty() && redact::is_secret_name(name) {
            redact::MASK.clone_into(value);
        } else if let std::borrow::Cow::Owned(clean) = redact::redact(value) {
            *value = clean;
        }
    }
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
