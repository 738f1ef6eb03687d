//! Cards in channels: level-triggered. The newest card wins, intermediate ones are never sent, the message is edited in place.

use std::time::Duration;

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};

use super::{
    Engine,
    change::Along,
    channels::Transport,
    deliver::{after, backoff, later},
};
use crate::{
    domain::{
        card::Card,
        incident::{Command, Incident, show},
        oncall::PageTarget,
    },
    notify::{Class, Delivery, Failure, Message, Outcome, Receipt},
    store::{Again, Job, JobEnd, Sent},
};

/// Attempts before a channel's refusal is written on the timeline; it is tried on with every change.
const LOUD_AFTER: i64 = 6;
/// Between attempts on a channel that keeps failing.
const SLOW: SignedDuration = SignedDuration::from_mins(5);
/// However much patience a channel asks for, it is asked again after this.
pub(super) const LONGEST_WAIT: Duration = Duration::from_mins(10);
/// A card that stands there as open is corrected for this long after the incident resolved.
const CORRECTED_FOR: SignedDuration = SignedDuration::from_hours(24);

/// A channel that does not take a card.
struct Refused<'a> {
    reason: &'a str,
    /// It may have taken it all the same.
    unclear: bool,
}

impl Engine {
    /// The incident's card of now.
    pub fn card(&self, incident: &Incident, now: Timestamp) -> Card {
        let oncall = self.oncall.get();
        let names = |target: &PageTarget| {
            let people = oncall.resolve(target, now);
            let names: Vec<&str> =
                people.iter().filter_map(|id| oncall.person(id)).map(|p| p.name.as_str()).collect();
            if names.is_empty() { target.to_string() } else { names.join(", ") }
        };
        let next = show::next(incident, names);
        show::card(incident, &next, &self.options.public_url, now)
    }

    /// Runs a `post` job.
    pub(super) async fn run_post(&self, job: &Job) -> anyhow::Result<()> {
        let channel = job.payload["channel"].as_str().context("post without a channel")?;
        let id = job.incident.context("a post without an incident")?;
        let end = JobEnd { id: job.id, fence: job.fence, again: None };
        let incident = self.store.incident(id).await?.context("its incident is gone")?.incident;
        let key = format!("post:{id}:{channel}");
        let before = self.store.message(&key).await?;
        let Some((transport, address)) = self.channels.named(channel) else {
            let reason = "no channel of this name is configured";
            let slow = Refused { reason, unclear: job.unclear };
            return self.refused(&incident, channel, end, before, slow).await;
        };
        if !wanted(transport, &incident, before.as_ref()) {
            return Ok(self.end_job(end).await?);
        }
        let now = self.now();
        if let Some(wait) = transport.wait(address) {
            let again = later(job, after(now, wait.min(LONGEST_WAIT)), "rate limit");
            return Ok(self.end_job(JobEnd { again: Some(again), ..end }).await?);
        }
        if job.unclear && transport.caps().class == Class::Blind {
            // It may stand there already; the next change says it again anyway.
            return Ok(self.end_job(end).await?);
        }
        let message = Message::Card(self.card(&incident, now));
        let edit =
            before.as_ref().filter(|sent| transport.caps().edit && !sent.remote_id.is_empty());
        let receipt =
            edit.map(|sent| Receipt { address: sent.address.clone(), id: sent.remote_id.clone() });
        // An edit's key must differ from the first send's, or an idempotent channel would drop it.
        let edit_key = receipt.is_some().then(|| format!("{key}:{}", incident.seq));
        // So must that of a card sent anew because the first one is gone.
        let gone = before.as_ref().filter(|sent| sent.state == "gone");
        let anew_key = gone.map(|sent| format!("{key}:{}", sent.at.as_millisecond()));
        let delivery = Delivery {
            key: edit_key.as_ref().or(anew_key.as_ref()).unwrap_or(&key),
            address,
            message: &message,
            card: receipt.as_ref(),
            unclear: job.unclear,
        };
        match transport.send(&delivery).await {
            Ok(receipt) => {
                // What stands there may be an earlier attempt's: it is edited at once.
                let repeated = match transport.caps().class {
                    Class::Idempotent => job.attempt > 1 || job.unclear,
                    Class::Reconcilable => job.unclear,
                    Class::Blind => false,
                };
                let is_older = edit.is_none() && transport.caps().edit && repeated;
                let again = is_older.then(|| Again::later(now, "an earlier attempt may be shown"));
                self.posted(&incident, channel, JobEnd { again, ..end }, receipt).await
            }
            Err(failure) => self.not_posted(job, &incident, channel, end, before, failure).await,
        }
    }

    async fn posted(
        &self,
        incident: &Incident,
        channel: &str,
        end: JobEnd,
        receipt: Receipt,
    ) -> anyhow::Result<()> {
        let mut sent = self.post_record(incident, channel, receipt, "sent", &digest(incident));
        if end.again.is_some() {
            sent.revision = 0;
        }
        let mut along = Along::job(end);
        along.changes.messages.push(sent);
        let accepted = Command::PostAccepted { channel: channel.to_owned() };
        self.change(incident.id, vec![accepted], along).await?;
        Ok(())
    }

    async fn not_posted(
        &self,
        job: &Job,
        incident: &Incident,
        channel: &str,
        end: JobEnd,
        before: Option<Sent>,
        failure: Failure,
    ) -> anyhow::Result<()> {
        let now = self.now();
        let wait = match failure.outcome {
            Outcome::Permanent => None,
            Outcome::CardGone => {
                // Forget the card; the next attempt sends it anew.
                let mut changes = crate::store::Changes::default();
                let nowhere = Receipt { address: String::new(), id: String::new() };
                changes.messages.push(self.post_record(incident, channel, nowhere, "gone", ""));
                let again = Again::later(now, &failure.reason);
                changes.job = Some(JobEnd { again: Some(again), ..end });
                return Ok(self.store.commit(changes, now).await?);
            }
            Outcome::Retry { after: Some(wait) } => {
                SignedDuration::try_from(wait.min(LONGEST_WAIT)).ok()
            }
            Outcome::Retry { after: None } | Outcome::Unclear => Some(backoff(job.attempt)),
        };
        let Some(wait) = wait.filter(|_| job.attempt < LOUD_AFTER) else {
            let unclear = failure.outcome == Outcome::Unclear;
            let slow = Refused { reason: &failure.reason, unclear };
            return self.refused(incident, channel, end, before, slow).await;
        };
        let again = Again {
            due: now.saturating_add(wait).unwrap_or(now),
            unclear: failure.outcome == Outcome::Unclear,
            free: false,
            reason: failure.reason,
            payload: None,
        };
        Ok(self.end_job(JobEnd { again: Some(again), ..end }).await?)
    }

    /// The channel does not take it: said once on the timeline, and tried on slowly.
    async fn refused(
        &self,
        incident: &Incident,
        channel: &str,
        end: JobEnd,
        before: Option<Sent>,
        Refused { reason, unclear }: Refused<'_>,
    ) -> anyhow::Result<()> {
        let now = self.now();
        let slow = Again {
            due: now.saturating_add(SLOW).unwrap_or(now),
            unclear,
            free: false,
            reason: reason.to_owned(),
            payload: None,
        };
        let lately = now.saturating_sub(CORRECTED_FOR).unwrap_or(now);
        let matters = incident.is_open() || incident.resolved_at.is_some_and(|at| at > lately);
        let end = JobEnd { again: matters.then_some(slow), ..end };
        // Once, whatever the reason now: two dead channels would have each other tried again for ever.
        if before.as_ref().is_some_and(|sent| sent.state == "failed") {
            return Ok(self.end_job(end).await?);
        }
        tracing::error!(incident.id = %incident.id, channel, reason, "a channel does not take the card");
        let receipt =
            before.map_or(Receipt { address: String::new(), id: String::new() }, |sent| Receipt {
                address: sent.address,
                id: sent.remote_id,
            });
        let mut along = Along::job(end);
        along.changes.messages.push(self.post_record(incident, channel, receipt, "failed", reason));
        let failed = Command::PostFailed { channel: channel.to_owned(), reason: reason.to_owned() };
        self.change(incident.id, vec![failed], along).await?;
        Ok(())
    }

    fn post_record(
        &self,
        incident: &Incident,
        channel: &str,
        receipt: Receipt,
        state: &str,
        remark: &str,
    ) -> Sent {
        Sent {
            key: format!("post:{}:{channel}", incident.id),
            incident: incident.id,
            is_page: false,
            channel: channel.to_owned(),
            address: receipt.address,
            remote_id: receipt.id,
            round: incident.rounds,
            revision: incident.seq,
            person: String::new(),
            state: state.to_owned(),
            remark: remark.to_owned(),
            at: self.now(),
        }
    }
}

/// A channel that edits gets every revision; one that cannot gets a new message only when something a reader acts on
/// changed, and not while a diagnosis is under way.
fn wanted(transport: &Transport, incident: &Incident, before: Option<&Sent>) -> bool {
    match before {
        None => true,
        Some(sent) if sent.state != "sent" => true,
        Some(sent) if transport.caps().edit => sent.revision < incident.seq,
        Some(sent) => incident.running == 0 && sent.remark != digest(incident),
    }
}

/// What a reader acts on.
fn digest(incident: &Incident) -> String {
    let verdict = incident.verdicts.first().map_or("", |v| v.id.as_str());
    let acker = incident.ack.as_ref().map_or("", |ack| ack.by.name.as_str());
    format!(
        "{} {} {verdict} {acker} {} {}",
        incident.status.word(),
        incident.severity,
        incident.opening,
        incident.runs_done.min(1)
    )
}
