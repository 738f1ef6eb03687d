//! Many incidents of one cause become one: found as they open, counted by a job, looked at each minute.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};

use super::{
    Engine,
    change::{Along, include},
    effects, heartbeats,
};
use crate::{
    domain::{
        alert::Labels,
        ids::IncidentId,
        incident::{
            self, Command, Decision, Env, Incident, Opening, Routing,
            correlate::DECLARED,
            storm::{Candidate, Gathering, Membership, NAMED, SOURCE, Shared, Size, gather},
        },
        verdict,
    },
    ops::metrics as names,
    store::{Changes, Job, JobEnd, Stored},
};

/// Open incidents this young may join a storm that begins now.
const LATELY: SignedDuration = SignedDuration::from_mins(5);
/// Of those, looked at.
const MAX_EARLIER: i64 = 200;
/// Members whose verdicts a storm's card shows, and who are told of its ack.
const MAX_LOOKED_AT: i64 = 500;

impl Engine {
    /// Lets incidents that are about to open join storms, above the configured rate; earlier ones of the same cause too.
    pub(super) async fn gather_storms(
        &self,
        opened: &mut [Decision],
        changes: &mut Changes,
        now: Timestamp,
    ) -> anyhow::Result<()> {
        let settings = &self.options.storm;
        if opened.is_empty() || settings.by.is_empty() {
            return Ok(());
        }
        let per = SignedDuration::try_from(settings.per).unwrap_or(SignedDuration::MAX);
        let enough = i64::try_from(settings.above).unwrap_or(i64::MAX).saturating_add(1);
        let lately = self.store.opened_since(before(now, per), enough).await?;
        if usize::try_from(lately).unwrap_or(0) + opened.len() <= settings.above {
            return Ok(());
        }
        // What this transaction changes already must not be changed twice in it.
        let mut earlier = self.store.open_alone(before(now, LATELY), MAX_EARLIER).await?;
        earlier.retain(|stored| changes.incidents.iter().all(|c| c.state.id != stored.incident.id));
        let fresh = candidates(opened.iter().map(|decision| &decision.state));
        let known = candidates(earlier.iter().map(|stored| &stored.incident));
        let open = self.open_storms(&fresh).await?;
        let is_open = |shared: &Shared| open.contains_key(&shared.key());
        let gatherings = gather(&settings.by, &fresh, &known, is_open);
        for found in gatherings {
            let storm = open.get(&found.shared.key());
            self.join(&found, storm, opened, &earlier, changes, now).await?;
        }
        Ok(())
    }

    /// Open storms that a candidate could join, by key.
    async fn open_storms(
        &self,
        fresh: &[Candidate],
    ) -> anyhow::Result<BTreeMap<String, IncidentId>> {
        let mut open = BTreeMap::new();
        let mut keys = BTreeSet::new();
        for cause in &self.options.storm.by {
            keys.extend(fresh.iter().filter_map(|c| c.shares(*cause)).map(|shared| shared.key()));
        }
        for key in keys {
            if let Some(stored) = self.store.incident_by_key(&key).await?
                && stored.incident.is_open()
            {
                open.insert(key, stored.incident.id);
            }
        }
        Ok(open)
    }

    async fn join(
        &self,
        found: &Gathering,
        storm: Option<&IncidentId>,
        opened: &mut [Decision],
        earlier: &[Stored],
        changes: &mut Changes,
        now: Timestamp,
    ) -> anyhow::Result<()> {
        let is_new = storm.is_none();
        let id = match storm {
            Some(id) => *id,
            None => self.store.next_incident().await?,
        };
        let place = |quiet| {
            let cause = found.shared.to_string();
            Command::JoinStorm(Membership { storm: id, cause, quiet })
        };
        let mut members = Vec::new();
        for index in &found.earlier {
            let stored = &earlier[*index];
            let decision = self.decide(&stored.incident, vec![place(false)], now)?;
            if !decision.events.is_empty() {
                include(changes, Some(&stored.incident), &decision, Some(stored.version), now);
                members.push(decision.state);
            }
        }
        // One of them speaks for the cause: the first, unless one did before.
        let mut spoken_for = !is_new || !members.is_empty();
        for index in &found.fresh {
            let decision = &mut opened[*index];
            let joined = self.decide(&decision.state, vec![place(spoken_for)], now)?;
            spoken_for |= !joined.events.is_empty();
            decision.state = joined.state;
            decision.events.extend(joined.events);
            members.push(decision.state.clone());
        }
        if is_new {
            self.begin(id, &found.shared, &members, changes, now)?;
        }
        Ok(())
    }

    fn begin(
        &self,
        id: IncidentId,
        shared: &Shared,
        members: &[Incident],
        changes: &mut Changes,
        now: Timestamp,
    ) -> anyhow::Result<()> {
        let first = members.first().context("a storm without members")?;
        let opening = Opening {
            source: SOURCE.to_owned(),
            key: shared.key(),
            title: format!("Storm · {shared}"),
            cluster: shared.cluster.clone(),
            labels: [("cluster", &shared.cluster), (shared.cause.word(), &shared.value)]
                .into_iter()
                .filter(|(_, value)| !value.is_empty())
                .map(|(name, value)| (name.to_owned(), value.clone()))
                .collect(),
            annotations: Labels::from([(
                "summary".to_owned(),
                format!(
                    "Many incidents at once share {shared}. You are paged once for all of them:"
                ),
            )]),
            generator_url: String::new(),
            external_url: first.external_url.clone(),
            since: members.iter().map(|m| m.since).min().unwrap_or(now),
        };
        let routing = Routing {
            team: first.team.clone(),
            policy: shared.policy.clone(),
            channels: members.iter().flat_map(|m| m.channels.iter().cloned()).collect(),
            ..Routing::default()
        };
        let size = size(members.iter(), members.len() as u64, members.len() as u64);
        let severity = size.severity.unwrap_or(self.options.default_severity);
        let oncall = self.oncall.get();
        let env = Env { now, oncall: &oncall, settings: &self.options.incidents };
        let gather = Command::Gather { routing, size };
        let decision = incident::open(id, opening, severity, gather, &env)?;
        tracing::info!(incident.id = %id, title = decision.state.title, members = members.len(), "a storm began");
        metrics::counter!(names::STORMS).increment(1);
        include(changes, None, &decision, None, now);
        Ok(())
    }

    /// Runs a `storm` job: counts the members anew, and hands the storm's ack on to them.
    pub(super) async fn run_storm(&self, job: &Job) -> anyhow::Result<()> {
        let id = job.incident.context("a storm without an incident")?;
        let storm = self.store.incident(id).await?.context("the storm is gone")?.incident;
        let members = self.store.storm_members(id, MAX_LOOKED_AT).await?;
        if let Some(ack) = &storm.ack {
            for stored in &members {
                let member = &stored.incident;
                if member.is_open() && member.ack.is_none() && member.opened_at <= ack.at {
                    let ack = Command::Ack { by: ack.by.clone(), round: None };
                    match self.change(member.id, vec![ack], Along::default()).await {
                        // It resolved meanwhile.
                        Ok(_) | Err(super::change::Error::Refused(_)) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
        let (all, open) = self.store.storm_counts(id).await?;
        let size = size(members.iter().map(|stored| &stored.incident), all, open);
        let end = JobEnd { id: job.id, fence: job.fence, again: None };
        let muted = muted(members.iter().map(|stored| &stored.incident), open);
        self.change(id, vec![Command::Resize(size), muted], Along::job(end)).await?;
        Ok(())
    }

    /// Storms that ended although somebody joined: they look again.
    pub(super) async fn check_storms(&self) -> anyhow::Result<()> {
        let now = self.now();
        let over = self.store.storms_over_with_open_members().await?;
        let jobs: Vec<_> = over.into_iter().map(|id| effects::look_at_storm(id, now)).collect();
        if !jobs.is_empty() {
            self.store.commit(Changes { jobs, ..Changes::default() }, now).await?;
        }
        Ok(())
    }
}

/// Incidents that may join a storm: alerts of an Alertmanager, no heartbeats and no alarms of our own.
fn candidates<'a>(incidents: impl Iterator<Item = &'a Incident>) -> Vec<Candidate> {
    let may = |incident: &Incident| {
        let name = incident.labels.get("alertname").map_or("", String::as_str);
        !incident.is_storm() && incident.source != DECLARED && name != heartbeats::MISSING
    };
    let numbered = incidents.enumerate().filter(|(_, incident)| may(incident));
    numbered
        .map(|(index, incident)| Candidate {
            index,
            labels: incident.labels.clone(),
            cluster: incident.cluster.clone(),
            severity: incident.severity,
            policy: incident.policy.clone(),
        })
        .collect()
}

fn size<'a>(members: impl Iterator<Item = &'a Incident> + Clone, all: u64, open: u64) -> Size {
    let firing = members.clone().filter(|member| member.is_open());
    let named =
        |m: &Incident| format!("{} {} ({}, {})", m.id, m.title, m.severity, m.status.word());
    Size {
        members: all,
        open,
        severity: firing.clone().map(|member| member.severity).max(),
        named: members.clone().take(NAMED).map(named).collect(),
        verdicts: verdict::rank(members.flat_map(|member| member.verdicts.iter().cloned())),
    }
}

/// A storm is muted while every open member is, until the first of them is not.
fn muted<'a>(members: impl Iterator<Item = &'a Incident>, open: u64) -> Command {
    let open_ones: Vec<&Incident> = members.filter(|member| member.is_open()).collect();
    let ends: Vec<Timestamp> = open_ones
        .iter()
        .filter(|member| member.suppressed_by.is_some())
        .filter_map(|member| member.wake.due())
        .collect();
    match ends.iter().min() {
        Some(until) if ends.len() as u64 == open => {
            Command::Suppress { by: "what mutes each of its members".to_owned(), until: *until }
        }
        Some(_) | None => {
            Command::Unsuppress { reason: "not all of its members are muted".to_owned() }
        }
    }
}

fn before(now: Timestamp, by: SignedDuration) -> Timestamp {
    now.saturating_sub(by).unwrap_or(Timestamp::MIN)
}
