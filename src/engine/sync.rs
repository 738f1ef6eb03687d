//! What people say in chat rooms that have to be asked: Matrix reactions.
//!
//! One replica polls. The position in the stream commits only after every effect of the batch did; a crash in between
//! repeats effects, and an ack twice by the same person is harmless.

use std::time::Duration;

use anyhow::Context as _;
use jiff::SignedDuration;

use super::{Engine, evidence};
use crate::{
    domain::card::Verb,
    notify::{Channel, matrix::sync::Reaction},
    store::{Again, Changes, Job, JobEnd},
};

/// How long the server may hold a poll.
const POLL: Duration = Duration::from_secs(20);
/// Between polls when one failed.
const AFTER_FAILURE: SignedDuration = SignedDuration::from_secs(5);

impl Engine {
    /// Runs the `sync:matrix` loop once.
    pub(super) async fn run_sync(&self, job: &Job) -> anyhow::Result<()> {
        let end = |again| JobEnd { id: job.id, fence: job.fence, again };
        let Some(transport) = self.channels.transport("matrix") else {
            return Ok(self.end_job(end(None)).await?);
        };
        let Channel::Matrix(matrix) = transport.channel() else {
            anyhow::bail!("the matrix transport is not Matrix")
        };
        let since = self.store.cursor(&job.key).await?;
        let now = self.now();
        let batch = match matrix.pull(since.as_deref(), POLL).await {
            Ok(batch) => batch,
            Err(error) => {
                tracing::warn!(%error, "reactions could not be read");
                let due = now.saturating_add(AFTER_FAILURE).unwrap_or(now);
                return Ok(self.end_job(end(Some(Again::later(due, &error.to_string())))).await?);
            }
        };
        for reaction in &batch.acks {
            self.react(reaction).await?;
        }
        let changes = Changes {
            job: Some(end(Some(Again::later(now, "its next turn")))),
            cursors: vec![(job.key.clone(), batch.next_batch)],
            ..Changes::default()
        };
        Ok(self.store.commit(changes, now).await?)
    }

    async fn react(&self, reaction: &Reaction) -> anyhow::Result<()> {
        let Some(sent) = self.store.message_by_remote_id(&reaction.target_event_id).await? else {
            return Ok(());
        };
        let reply = match self.person_behind("matrix", &reaction.sender) {
            Ok(who) => match self.press(sent.incident, Verb::Ack, Some(sent.round), who).await {
                Ok(_) => return Ok(()),
                Err(super::change::Error::Refused(refusal)) => refusal.to_string(),
                Err(other) => return Err(other.into()),
            },
            Err(advice) => advice,
        };
        let incident = self.store.incident(sent.incident).await?.context("its incident is gone")?;
        let key = format!("reply:{}", reaction.event_id);
        let title = format!("{} reacted", reaction.sender);
        let jobs = evidence::notes(&incident.incident, &key, &title, &reply, "", self.now());
        self.store.commit(Changes { jobs, ..Changes::default() }, self.now()).await?;
        Ok(())
    }
}
