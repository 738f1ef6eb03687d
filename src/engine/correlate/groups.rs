//! Which incident each alert belongs to, and what it changes there.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Part, read::Read};
use crate::{
    domain::{
        alert::{Alert, Status},
        ids::IncidentId,
        incident::correlate::{self, Change, Member},
    },
    engine::Engine,
    store::Stored,
};

/// Changes of one incident within a batch.
pub struct Group {
    pub id: IncidentId,
    pub stored: Option<Stored>,
    pub first: Alert,
    pub key: String,
    /// What the card must say of how it was grouped.
    pub note: Option<&'static str>,
    pub changes: Vec<(Alert, Change)>,
    /// By identity: what the store knows, and what will be.
    pub members: BTreeMap<String, (Option<Member>, Member)>,
}

/// A part's groups, and where each alert's identity went: an alert may come twice in one webhook.
#[derive(Default)]
pub struct Groups {
    pub by_slot: BTreeMap<String, Group>,
    slots: BTreeMap<String, String>,
    /// Members of which nothing is new, by identity.
    pub quiet: BTreeMap<String, Member>,
}

impl Engine {
    /// What each alert of a part changes, by incident; nothing when an earlier part of the transaction changes some of it too.
    pub(super) async fn groups(
        &self,
        part: &Part<'_>,
        earlier: &[Groups],
        now: Timestamp,
    ) -> anyhow::Result<Option<Groups>> {
        let Read { delivery, source, envelope, .. } = part.read;
        let mut stored: BTreeMap<String, Option<Member>> = BTreeMap::new();
        let mut groups = Groups::default();
        for alert in part.alerts {
            let identity = correlate::identity(alert, &source.ignore);
            if earlier.iter().any(|earlier| earlier.knows(&identity)) {
                return Ok(None);
            }
            if !stored.contains_key(&identity) {
                let member = self.store.member(&delivery.source, &identity).await?;
                stored.insert(identity.clone(), member);
            }
            let mut before = groups
                .member(&identity)
                .or_else(|| groups.quiet.get(&identity))
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
                groups.quiet.insert(identity, member);
                continue;
            }
            groups.quiet.remove(&identity);
            let known = stored.get(&identity).cloned().flatten();
            let slot = self.slot(part, alert, &member, (&mut groups, earlier), now).await?;
            let Some(slot) = slot else { return Ok(None) };
            groups.slots.insert(identity.clone(), slot);
            if let Some(group) = groups.of(&identity) {
                // An alert that was in another, closed incident is new in this one.
                let moved = change == Change::FiredAgain && member.incident != Some(group.id);
                let change = if moved { Change::Fired } else { change };
                group.put(&identity, known, member);
                group.changes.push((alert.clone(), change));
            }
        }
        Ok(Some(groups))
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

    /// The name of the group an alert belongs to, which is there afterwards; nothing when it is a group of an earlier part.
    async fn slot(
        &self,
        part: &Part<'_>,
        alert: &Alert,
        member: &Member,
        (groups, earlier): (&mut Groups, &[Groups]),
        now: Timestamp,
    ) -> anyhow::Result<Option<String>> {
        let (source, envelope) = (&part.read.delivery.source, &part.read.envelope);
        let cluster = alert.label("cluster");
        let (key, note) = correlate::key(source, alert, envelope, cluster, &self.options.group_by);
        let stored = self.home(member, &key, now).await?;
        let slot = stored.as_ref().map_or_else(|| key.clone(), |s| s.incident.id.to_string());
        if earlier.iter().any(|earlier| earlier.by_slot.contains_key(&slot)) {
            return Ok(None);
        }
        if !groups.by_slot.contains_key(&slot) {
            let id = match &stored {
                Some(stored) => stored.incident.id,
                None => self.store.next_incident().await?,
            };
            let (first, changes, members) = (alert.clone(), vec![], BTreeMap::new());
            let group = Group { id, stored, first, key, note, changes, members };
            groups.by_slot.insert(slot.clone(), group);
        }
        Ok(Some(slot))
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
}

impl Groups {
    fn of(&mut self, identity: &str) -> Option<&mut Group> {
        self.by_slot.get_mut(self.slots.get(identity)?)
    }

    fn knows(&self, identity: &str) -> bool {
        self.slots.contains_key(identity) || self.quiet.contains_key(identity)
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

    /// Alerts that fire, as far as they changed anything.
    pub fn fired(&self) -> Vec<&Alert> {
        let fired = |change| matches!(change, Change::Fired | Change::FiredAgain);
        self.changes.iter().filter(|(_, change)| fired(*change)).map(|(alert, _)| alert).collect()
    }
}
