//! What steps may ask of the past and write to the incident: [`crate::steps::Memory`] over the store.

use std::collections::BTreeMap;

use anyhow::Context as _;
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};

use super::{Engine, change::Along};
use crate::{
    clients::{alertmanager, one_line},
    domain::{
        ids::IncidentId,
        incident::{Command, Event, Incident, Resolution, Who},
    },
    steps::{
        self, Ask, Earlier,
        recorded::{Recall, Recorded},
    },
    store::{Alike, Common, Sent},
};

/// Most incidents of each sort that are considered.
const MAX_EACH: i64 = 50;
/// Most verdicts and notes told of one incident, and the longest note, characters.
const MAX_VERDICTS: usize = 5;
const MAX_NOTES: usize = 5;
const MAX_NOTE: usize = 500;
/// Incidents of another namespace that opened within this time are told too.
const AT_THE_SAME_TIME: SignedDuration = SignedDuration::from_mins(10);

/// The memory of one run.
pub struct Memory<'a> {
    engine: &'a Engine,
    incident: IncidentId,
    playbook: &'a str,
}

impl<'a> Memory<'a> {
    /// For a run of `playbook` on `incident`.
    pub fn new(engine: &'a Engine, incident: IncidentId, playbook: &'a str) -> Self {
        Self { engine, incident, playbook }
    }

    async fn write(&self, key: &str, text: &str) -> anyhow::Result<()> {
        let key = format!("note:{key}");
        if self.engine.store.message(&key).await?.is_some() {
            return Ok(());
        }
        let by = Who {
            id: String::new(),
            name: format!("playbook {}", self.playbook),
            via: "playbook".to_owned(),
        };
        let mut along = Along::default();
        // The key's row commits with the note: written once, however often the step repeats.
        along.changes.messages.push(Sent {
            key,
            incident: self.incident,
            is_page: false,
            channel: "timeline".to_owned(),
            address: String::new(),
            remote_id: String::new(),
            round: 0,
            revision: 0,
            person: String::new(),
            state: "sent".to_owned(),
            remark: String::new(),
            at: self.engine.now(),
        });
        let note = Command::Note { by, text: crate::domain::redact::redact(text).into_owned() };
        self.engine.change(self.incident, vec![note], along).await?;
        Ok(())
    }

    async fn instances(&self, source: Option<&str>) -> anyhow::Result<Vec<alertmanager::Client>> {
        let name = match source {
            Some(source) => source.to_owned(),
            None => self.incident().await?.source,
        };
        match (self.engine.options.sources.get(&name), source) {
            (Some(found), _) => Ok(found.alertmanagers.clone()),
            (None, None) => Ok(vec![]),
            (None, Some(_)) => {
                anyhow::bail!("there is no source `{}`; see `sources:`", one_line(&name, 80))
            }
        }
    }

    async fn alike(&self, ask: &Ask) -> anyhow::Result<Vec<Earlier>> {
        let incident = self.incident().await?;
        let verdict = incident.verdicts.first().map(|best| best.id.as_str());
        let alike = Alike {
            except: self.incident,
            since: back(incident.opened_at, ask.since),
            key: &incident.key,
            target: ask.target.as_deref(),
            verdict: ask.verdict.as_deref().or(verdict),
            limit: MAX_EACH,
        };
        let found = self.engine.store.alike(alike).await?;
        let mut earlier = vec![];
        for (id, common) in found.into_iter().rev() {
            let Some(stored) = self.engine.store.incident(id).await? else { continue };
            // Incidents are numbered in the order they open; one that opened later is no past.
            if stored.incident.opened_at > incident.opened_at {
                continue;
            }
            let because = common.into_iter().map(|common| match common {
                Common::Key => "same alerts",
                Common::Target => "same target",
                Common::Verdict => "same verdict",
            });
            earlier.push(self.told(stored.incident, because.collect()).await?);
            if earlier.len() == ask.limit {
                break;
            }
        }
        Ok(earlier)
    }

    async fn nearby(&self, ask: &Ask) -> anyhow::Result<Vec<Earlier>> {
        let incident = self.incident().await?;
        let from = back(incident.opened_at, ask.since);
        let alike = Alike {
            except: self.incident,
            since: from,
            key: "",
            target: ask.target.as_deref(),
            verdict: None,
            limit: MAX_EACH,
        };
        let of_target: BTreeMap<IncidentId, _> = self.engine.store.alike(alike).await?;
        let close = back(incident.opened_at, AT_THE_SAME_TIME.unsigned_abs());
        let mut earlier = vec![];
        for other in self.engine.store.around(from, incident.opened_at).await? {
            if other.id == self.incident {
                continue;
            }
            let namespace = other.labels.get("namespace").map_or("", String::as_str);
            let same_cluster = other.cluster == incident.cluster;
            let mut because = vec![];
            if of_target.contains_key(&other.id) {
                because.push("same target");
            }
            if same_cluster && !ask.namespace.is_empty() && namespace == ask.namespace {
                because.push("same namespace");
            }
            if same_cluster && other.opened_at >= close {
                because.push("opened within 10 minutes before");
            }
            if because.is_empty() {
                continue;
            }
            earlier.push(self.told(other, because).await?);
            if earlier.len() == ask.limit {
                break;
            }
        }
        Ok(earlier)
    }

    async fn incident(&self) -> anyhow::Result<Incident> {
        let stored = self.engine.store.incident(self.incident).await?;
        Ok(stored.context("the incident is gone")?.incident)
    }

    /// What is told of an incident, with what people said.
    async fn told(&self, other: Incident, because: Vec<&str>) -> anyhow::Result<Earlier> {
        let mut acknowledged_by = String::new();
        let mut notes = vec![];
        for event in self.engine.store.said(other.id).await? {
            match event {
                Event::Acknowledged { by, .. } => acknowledged_by = by.name,
                Event::Noted { by, text } => {
                    notes.push(format!("{by}: {}", one_line(&text, MAX_NOTE)));
                }
                _ => {}
            }
        }
        notes.drain(..notes.len().saturating_sub(MAX_NOTES));
        let resolved_at = other.resolved_at.filter(|_| !other.is_open());
        let ended = match (&other.resolution, resolved_at) {
            (Some(Resolution::AllResolved), Some(_)) => "every alert was over".to_owned(),
            (Some(Resolution::ByHand(who)), Some(_)) => format!("resolved by {}", who.name),
            (Some(Resolution::Missing), Some(_)) => {
                "Alertmanager did not know its alerts any more".to_owned()
            }
            (None, _) | (_, None) => String::new(),
        };
        let verdicts = other.verdicts.iter().take(MAX_VERDICTS).map(|v| v.id.clone()).collect();
        Ok(Earlier {
            id: other.id.to_string(),
            severity: other.peak.to_string(),
            status: other.status.word().to_owned(),
            opened_at: other.opened_at,
            resolved_at,
            ended,
            acknowledged_by,
            verdicts,
            because: because.into_iter().map(str::to_owned).collect(),
            notes,
            title: other.title,
        })
    }
}

fn back(from: Timestamp, by: std::time::Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    from.saturating_sub(by).unwrap_or(Timestamp::MIN)
}

impl steps::Memory for Memory<'_> {
    fn note<'a>(&'a self, key: &'a str, text: &'a str) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { self.write(key, text).await.map_err(|error| format!("{error:#}")) })
    }

    fn alertmanagers<'a>(
        &'a self,
        source: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<alertmanager::Client>, String>> {
        Box::pin(async move { self.instances(source).await.map_err(|error| format!("{error:#}")) })
    }

    fn similar<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Result<Vec<Earlier>, String>> {
        Box::pin(async move { self.alike(ask).await.map_err(|error| format!("{error:#}")) })
    }

    fn around<'a>(&'a self, ask: &'a Ask) -> BoxFuture<'a, Result<Vec<Earlier>, String>> {
        Box::pin(async move { self.nearby(ask).await.map_err(|error| format!("{error:#}")) })
    }

    fn recorded<'a>(&'a self, asked: &'a Recall) -> BoxFuture<'a, Recorded> {
        Box::pin(self.engine.recorder.recall(asked))
    }
}
