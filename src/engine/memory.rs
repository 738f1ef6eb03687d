//! What steps may ask of the past and write to the incident: [`crate::steps::Memory`] over the store.

use futures::future::BoxFuture;

use super::{Engine, change::Along};
use crate::{
    domain::{
        ids::IncidentId,
        incident::{Command, Who},
    },
    steps::{
        self,
        recorded::{Recall, Recorded},
    },
    store::Sent,
};

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
}

impl steps::Memory for Memory<'_> {
    fn note<'a>(&'a self, key: &'a str, text: &'a str) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { self.write(key, text).await.map_err(|error| format!("{error:#}")) })
    }

    fn recorded<'a>(&'a self, asked: &'a Recall) -> BoxFuture<'a, Recorded> {
        Box::pin(self.engine.recorder.recall(asked))
    }
}
