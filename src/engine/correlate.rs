//! Stored deliveries become changes of incidents, in the order they arrived.
//!
//! One delivery is applied in transactions of at most 500 alerts, each with the cursor it moves; a crash in between
//! repeats nothing. A delivery that fails three times is set aside, its alerts are paged as they are, and the next one goes on.

use std::collections::BTreeMap;

use anyhow::Context as _;
use jiff::Timestamp;

use super::{Engine, Source, change::include, heartbeats};
use crate::{
    domain::{
        alert::{self, Alert, Envelope, Labels, Rejected, Status},
        ids::IncidentId,
        incident::{
            self, Command, Env, Incident, Observation, Opening, Routing,
            correlate::{self, Change, Member},
        },
        redact,
        severity::Severity,
    },
    store::{self, Changes, Delivery, Progress, Stored, deliveries::MAX_ATTEMPTS},
};

/// Alerts per transaction.
const BATCH: usize = 500;

/// Changes of one incident within a batch.
struct Group {
    stored: Option<Stored>,
    first: Alert,
    key: String,
    changes: Vec<(Alert, Change)>,
    members: Vec<Member>,
}

impl Engine {
    /// Applies the oldest waiting delivery; false when there is none.
    pub async fn apply_next(&self) -> anyhow::Result<bool> {
        let Some(delivery) = self.store.next_delivery().await? else { return Ok(false) };
        let id = delivery.id;
        match self.apply(delivery).await {
            Ok(()) => Ok(true),
            Err(error) => {
                let attempts = self.store.delivery_failed(id).await?;
                tracing::warn!(
                    delivery.id = id,
                    attempts,
                    error = format!("{error:#}"),
                    "a delivery could not be applied"
                );
                if attempts >= MAX_ATTEMPTS {
                    self.set_aside(id, &format!("{error:#}")).await?;
                }
                Ok(true)
            }
        }
    }

    async fn apply(&self, delivery: Delivery) -> anyhow::Result<()> {
        let payload = alert::parse(&delivery.body, delivery.received_at)?;
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
        loop {
            let end = (applied + BATCH).min(alerts.len());
            let last = end == alerts.len();
            let progress = if last {
                Progress::Done(delivery.id)
            } else {
                Progress::Applied(delivery.id, end)
            };
            let bad = if last { std::mem::take(&mut rejected) } else { vec![] };
            let batch = &alerts[applied..end];
            self.apply_batch(&delivery, &payload.envelope, &source, batch, bad, progress).await?;
            applied = end;
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
            for group in groups {
                self.apply_group(group, envelope, &delivery.source, &mut changes, now).await?;
            }
            match self.store.commit(changes, now).await {
                Ok(()) => {
                    if !rejected.is_empty() {
                        self.cannot_read(&delivery.source, &rejected).await?;
                    }
                    return Ok(());
                }
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
        let mut known: BTreeMap<String, Option<Member>> = BTreeMap::new();
        let mut groups: BTreeMap<String, Group> = BTreeMap::new();
        for alert in alerts {
            let identity = correlate::identity(alert, &source.ignore);
            if !known.contains_key(&identity) {
                let member = self.store.member(&delivery.source, &identity).await?;
                known.insert(identity.clone(), member);
            }
            let before = known.get(&identity).cloned().flatten();
            let (name, seq) = (&delivery.source, delivery.id);
            let (member, change) =
                correlate::observe(before, name, alert, &source.ignore, seq, now);
            known.insert(identity, Some(member.clone()));
            if matches!(change, Change::Seen | Change::Stale | Change::EndedUnseen) {
                changes.members.push(member);
                continue;
            }
            let cluster = alert.label("cluster");
            let (key, _) = correlate::key(name, alert, envelope, cluster, &self.options.group_by);
            let stored = self.home(&member, &key, now).await?;
            let slot = stored.as_ref().map_or_else(|| key.clone(), |s| s.incident.id.to_string());
            let group = groups.entry(slot).or_insert_with(|| Group {
                stored,
                first: alert.clone(),
                key,
                changes: vec![],
                members: vec![],
            });
            group.changes.push((alert.clone(), change));
            group.members.push(member);
        }
        Ok(groups.into_values().collect())
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

    async fn apply_group(
        &self,
        mut group: Group,
        envelope: &Envelope,
        source: &str,
        changes: &mut Changes,
        now: Timestamp,
    ) -> anyhow::Result<()> {
        let stored = group.stored.take();
        let id = match &stored {
            Some(stored) => stored.incident.id,
            None => self.store.next_incident().await?,
        };
        let state = stored.as_ref().map(|s| &s.incident);
        let seen = self.observation(&group, id, state, envelope).await?;
        for mut member in group.members {
            member.incident = Some(id);
            changes.members.push(member);
        }
        let Some(stored) = stored else {
            let opening = opening(&group.first, &group.changes, group.key, source, envelope);
            let asked = seen.matched.iter().filter_map(|m| m.severity).chain(seen.severity).max();
            let severity = asked.unwrap_or(self.options.default_severity);
            let oncall = self.oncall.get();
            let env = Env { now, oncall: &oncall, settings: &self.options.incidents };
            let opened = incident::open(id, opening, severity, Command::Observe(seen), &env)?;
            include(changes, None, &opened, None, now);
            tracing::info!(incident.id = %id, title = opened.state.title, severity = %severity, "incident opened");
            return Ok(());
        };
        let decision = self.decide(&stored.incident, vec![Command::Observe(seen)], now)?;
        include(changes, Some(&stored.incident), &decision, Some(stored.version), now);
        Ok(())
    }

    async fn observation(
        &self,
        group: &Group,
        id: IncidentId,
        state: Option<&Incident>,
        envelope: &Envelope,
    ) -> anyhow::Result<Observation> {
        let count = |wanted: Change| {
            let matching = group.changes.iter().filter(|(_, change)| *change == wanted);
            u64::try_from(matching.count()).unwrap_or(u64::MAX)
        };
        let fired: Vec<&Alert> = group
            .changes
            .iter()
            .filter(|(_, change)| matches!(change, Change::Fired | Change::FiredAgain))
            .map(|(alert, _)| alert)
            .collect();
        let (mut firing, mut members) = self.store.member_counts(id).await?;
        let (new, again, ended) =
            (count(Change::Fired), count(Change::FiredAgain), count(Change::Ended));
        // Members that come from another, closed incident are new here.
        let moved = group
            .members
            .iter()
            .filter(|member| member.incident.is_some_and(|home| home != id))
            .count();
        members += new + u64::try_from(moved).unwrap_or(0);
        firing = (firing + new + again).saturating_sub(ended);
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

    /// Who owns alerts with these labels.
    pub(super) fn routing(&self, labels: &Labels) -> Routing {
        let oncall = self.oncall.get();
        if let Some(team) = oncall.team_for(labels, None) {
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

    /// Alerts that could not be read raise one incident per source.
    async fn cannot_read(&self, source: &str, rejected: &[Rejected]) -> anyhow::Result<()> {
        let lines: Vec<String> =
            rejected.iter().take(5).map(|r| format!("{}: {}", r.path, r.reason)).collect();
        let text = format!(
            "{} alerts of source {source} could not be read. {}",
            rejected.len(),
            lines.join("; ")
        );
        self.self_alarm("cannot-read", source, "Cannot read alert", &text, Severity::P2).await
    }

    async fn set_aside(&self, id: i64, reason: &str) -> anyhow::Result<()> {
        let changes = Changes { delivery: Some(Progress::Poisoned(id)), ..Changes::default() };
        self.store.commit(changes, self.now()).await?;
        let text = format!(
            "Delivery {id} could not be applied and was set aside: {reason}. Its alerts are NOT shown as incidents; look at them in Alertmanager."
        );
        self.self_alarm(
            "poisoned",
            &id.to_string(),
            "A webhook could not be applied",
            &text,
            Severity::P1,
        )
        .await
    }

    /// Paramedic's own alarm: an incident like any other, under the default policy.
    pub(super) async fn self_alarm(
        &self,
        kind: &str,
        about: &str,
        title: &str,
        text: &str,
        severity: Severity,
    ) -> anyhow::Result<()> {
        tracing::error!(kind, about, text, "self-alarm");
        let key = format!("self/{kind}/{about}");
        if let Some(stored) = self.store.incident_by_key(&key).await?
            && stored.incident.is_open()
        {
            let by = paramedic();
            let note = Command::Note { by, text: text.to_owned() };
            self.change(stored.incident.id, vec![note], super::change::Along::default()).await?;
            return Ok(());
        }
        let opening = Opening {
            source: correlate::DECLARED.to_owned(),
            key,
            title: format!("Paramedic: {title}"),
            cluster: String::new(),
            labels: Labels::from([("alertname".to_owned(), format!("Paramedic{kind}"))]),
            annotations: Labels::from([("summary".to_owned(), text.to_owned())]),
            generator_url: String::new(),
            external_url: String::new(),
            since: self.now(),
        };
        let routing = self.routing(&Labels::new());
        let declare = Command::Declare { by: paramedic(), routing };
        self.open(opening, severity, declare).await.context("open the self-alarm")?;
        Ok(())
    }
}

fn paramedic() -> incident::Who {
    incident::Who { id: String::new(), name: "Paramedic".to_owned(), via: "itself".to_owned() }
}

/// Redacted, with the source's labels where it lacks them.
fn prepared(mut alert: Alert, source: &Source) -> Alert {
    for (name, value) in &source.labels {
        alert.labels.entry(name.clone()).or_insert_with(|| value.clone());
    }
    for value in alert.labels.values_mut().chain(alert.annotations.values_mut()) {
        if let std::borrow::Cow::Owned(clean) = redact::redact(value) {
            *value = clean;
        }
    }
    alert.generator_url = redact::redact(&alert.generator_url).into_owned();
    alert
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
