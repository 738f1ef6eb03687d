//! Evidence, notes and mentions under the card, in channels that have threads.

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{
    Engine,
    deliver::{after, backoff, later},
    effects::priority,
    posts::LONGEST_WAIT,
};
use crate::{
    domain::{
        incident::{Incident, RunEnd},
        schedule::PersonId,
        verdict::Verdict,
    },
    notify::{Class, Delivery, Message, Note, Outcome, Receipt},
    store::{Again, Changes, Job, JobEnd, NewJob, Repeat, Sent},
};

/// Attempts for a thread message; it is helpful, not vital.
const MAX_ATTEMPTS: i64 = 8;
/// Between looks whether the card is there to hang it under.
const CARD_WAIT: SignedDuration = SignedDuration::from_secs(5);
/// Verdicts whose evidence goes under the card.
const MAX_VERDICTS: usize = 3;

/// One note for every channel.
pub fn notes(
    state: &Incident,
    key: &str,
    title: &str,
    body: &str,
    mention: &str,
    now: Timestamp,
) -> Vec<NewJob> {
    let job = |channel: &String| NewJob {
        key: format!("evidence:{}:{channel}:{key}", state.id),
        kind: "evidence",
        incident: Some(state.id),
        due: now,
        priority: priority(state.severity) + 2,
        payload: json!({ "channel": channel, "title": title, "body": body, "mention": mention }),
        repeat: Repeat::Keep,
    };
    state.channels.iter().map(job).collect()
}

/// Asks the acker, once per ack.
pub fn mention_acker(state: &Incident, what: &str, now: Timestamp) -> Vec<NewJob> {
    let Some(ack) = &state.ack else { return vec![] };
    let key = format!("mention:{}:{what}", ack.at.as_millisecond());
    let title = format!("{}: {what}", ack.by.name);
    let body = format!("{} firing of {}", state.firing, state.members);
    notes(state, &key, &title, &body, &ack.by.id, now)
}

/// What a run found, for the thread.
pub fn of_run(state: &Incident, run: &str, end: &RunEnd, now: Timestamp) -> Vec<NewJob> {
    let quotes = |verdict: &Verdict| {
        let lines = verdict.evidence.iter().map(|quote| {
            let at = if quote.line > 0 { format!(":{}", quote.line) } else { String::new() };
            format!("{}{at}\n  {}", quote.source, quote.quote)
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    let verdicts = end.verdicts.iter().take(MAX_VERDICTS);
    verdicts
        .flat_map(|verdict| {
            let key = format!("{run}:{}", verdict.id);
            notes(state, &key, &verdict.title, &quotes(verdict), "", now)
        })
        .collect()
}

impl Engine {
    /// Runs an `evidence` job.
    pub(super) async fn run_evidence(&self, job: &Job) -> anyhow::Result<()> {
        let text = |name: &str| job.payload[name].as_str().unwrap_or_default().to_owned();
        let id = job.incident.context("evidence without an incident")?;
        let end = JobEnd { id: job.id, fence: job.fence, again: None };
        let done = self.store.message(&job.key).await?.is_some();
        let channel = text("channel");
        let named = self.channels.named(&channel).filter(|(t, _)| t.caps().threads && !done);
        let Some((transport, address)) = named else {
            return Ok(self.end_job(end).await?);
        };
        let now = self.now();
        let card = self.store.message(&format!("post:{id}:{channel}")).await?;
        let Some(card) = card.filter(|card| !card.remote_id.is_empty()) else {
            // Without a card there is nothing to hang it under; the card's own job tries on as long as that matters.
            let stored = self.store.incident(id).await?;
            let open = stored.is_some_and(|stored| stored.incident.is_open());
            let due = now.saturating_add(CARD_WAIT).unwrap_or(now);
            let again = open.then(|| later(job, due, "the card is not there yet"));
            return Ok(self.end_job(JobEnd { again, ..end }).await?);
        };
        if let Some(wait) = transport.wait(address) {
            let again = later(job, after(now, wait.min(LONGEST_WAIT)), "rate limit");
            return Ok(self.end_job(JobEnd { again: Some(again), ..end }).await?);
        }
        if job.unclear && transport.caps().class == Class::Blind {
            return Ok(self.end_job(end).await?);
        }
        let mention = self.mention(&text("mention"), transport.kind());
        let note = Note { title: text("title"), body: text("body"), mention };
        let receipt = Receipt { address: card.address, id: card.remote_id };
        let message = Message::Evidence(note);
        let delivery = Delivery {
            key: &job.key,
            address,
            message: &message,
            card: Some(&receipt),
            unclear: job.unclear,
        };
        match transport.send(&delivery).await {
            Ok(receipt) => {
                let sent = Sent {
                    key: job.key.clone(),
                    incident: id,
                    is_page: false,
                    channel,
                    address: receipt.address,
                    remote_id: receipt.id,
                    round: card.round,
                    revision: 0,
                    person: String::new(),
                    state: "sent".to_owned(),
                    remark: String::new(),
                    at: now,
                };
                let changes =
                    Changes { job: Some(end), messages: vec![sent], ..Changes::default() };
                Ok(self.store.commit(changes, now).await?)
            }
            Err(failure) => {
                let wait = match failure.outcome {
                    Outcome::Retry { after } => after,
                    Outcome::Permanent | Outcome::Unclear | Outcome::CardGone => None,
                };
                let unclear = failure.outcome == Outcome::Unclear;
                let lost = failure.outcome == Outcome::Permanent;
                if lost {
                    tracing::warn!(incident.id = %id, channel, reason = failure.reason, "evidence was not posted");
                    return Ok(self.end_job(end).await?);
                }
                self.evidence_again(job, end, &failure.reason, wait, unclear).await
            }
        }
    }

    async fn evidence_again(
        &self,
        job: &Job,
        end: JobEnd,
        reason: &str,
        wait: Option<std::time::Duration>,
        unclear: bool,
    ) -> anyhow::Result<()> {
        if job.attempt >= MAX_ATTEMPTS {
            tracing::warn!(job.key, reason, "evidence was not posted");
            return Ok(self.end_job(end).await?);
        }
        let now = self.now();
        let due = wait.map_or_else(
            || now.saturating_add(backoff(job.attempt)).unwrap_or(now),
            |wait| after(now, wait.min(LONGEST_WAIT)),
        );
        let again = Again { due, unclear, free: false, reason: reason.to_owned(), payload: None };
        Ok(self.end_job(JobEnd { again: Some(again), ..end }).await?)
    }

    fn mention(&self, person: &str, transport: &str) -> String {
        let id = PersonId(person.to_owned());
        let oncall = self.oncall.get();
        oncall.contact(&id, transport).unwrap_or_default().to_owned()
    }
}
