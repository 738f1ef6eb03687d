//! One page to one person by one transport: sent, retried, failed over, and its outcome recorded.
//!
//! The incident is read again right before the send: a page that an ack or a resolve made needless never leaves. A
//! transport that does not take it by the deadline is given up, loudly, and the person's next contact is tried.

use std::time::Duration;

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Engine, change::Along, effects::priority, pages::paused};
use crate::{
    domain::{
        incident::{Command, Incident, Pager, show},
        schedule::PersonId,
    },
    notify::{Class, Delivery, Message, Outcome, Page, Receipt},
    ops::guard::{Guard, is_away},
    store::{Again, Job, JobEnd, NewJob, Repeat, Sent},
};

/// How long one transport may try before the next contact is used.
const DEADLINE: SignedDuration = SignedDuration::from_secs(60);
/// Lateness worth a word.
const LATE: SignedDuration = SignedDuration::from_secs(30);

/// One page by one transport.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Its idempotency key.
    pub key: String,
    /// Whom, for which round.
    pub page: Pager,
    /// Where.
    pub address: String,
    /// Why this person.
    pub why: String,
    /// How late the step was, milliseconds.
    pub late_ms: i64,
    /// When this line of the person's rules is due.
    pub due: Timestamp,
    /// When this transport was first tried or asked to wait; its deadline counts from here, so that a page that is late
    /// already has all of it, and one that waits for its turn again and again has no more.
    #[serde(default)]
    pub began: Option<Timestamp>,
    /// Transports given up before, by failover.
    pub tried: Vec<String>,
}

impl Order {
    /// Another attempt that knows what this one knew.
    fn kept(&self, again: Again) -> Again {
        Again { payload: serde_json::to_value(self).ok(), ..again }
    }

    /// The job that carries it out.
    pub fn job(self, incident: &Incident) -> NewJob {
        NewJob {
            key: self.key.clone(),
            kind: "deliver",
            incident: Some(incident.id),
            due: self.due,
            priority: priority(incident.severity),
            payload: serde_json::to_value(self).unwrap_or_default(),
            repeat: Repeat::Keep,
        }
    }
}

/// The wait before attempt `n + 1`: 1, 2, 4 … 30 s.
pub fn backoff(attempt: i64) -> SignedDuration {
    let shift = u32::try_from((attempt - 1).clamp(0, 5)).unwrap_or(0);
    SignedDuration::from_secs((1_i64 << shift).min(30))
}

impl Engine {
    /// Runs a `deliver` job.
    pub(super) async fn run_deliver(&self, job: &Job) -> anyhow::Result<()> {
        let mut order: Order = serde_json::from_value(job.payload.clone()).context("page")?;
        let id = job.incident.context("a page without an incident")?;
        let end = JobEnd { id: job.id, fence: job.fence, again: None };
        let incident = self.store.incident(id).await?.context("its incident is gone")?.incident;
        let now = self.now();
        if let Some(until) = paused(&incident, now).filter(|_| incident.is_paging(order.page.round))
        {
            // Nothing was tried in this time.
            order.began = None;
            let again = later(job, until, "every alert is over, or muted; waiting");
            let again = order.kept(again);
            return Ok(self.end_job(JobEnd { again: Some(again), ..end }).await?);
        }
        if !incident.is_paging(order.page.round) && !is_away(Guard::LastLook) {
            return self.not_needed(job, order, &incident, end).await;
        }
        let earlier = self.store.message(&order.key).await?;
        if earlier.is_some_and(|earlier| earlier.state == "sent") {
            // Two targets of one step led to this person; they were paged for the other one.
            return Ok(self.end_job(end).await?);
        }
        let Some(transport) = self.channels.transport(&order.page.transport) else {
            return self.give_up(order, &incident, end, "this transport is not configured").await;
        };
        let began = order.began.filter(|began| *began <= now);
        order.began = Some(began.unwrap_or(now));
        if let Some(wait) = transport.wait(&order.address) {
            if SignedDuration::try_from(wait).is_ok_and(|wait| wait > left(&order, now)) {
                let reason = format!("it may not be sent for another {} s", wait.as_secs());
                return self.give_up(order, &incident, end, &reason).await;
            }
            let again = order.kept(later(job, after(now, wait), "rate limit"));
            return Ok(self.end_job(JobEnd { again: Some(again), ..end }).await?);
        }
        let blind = transport.caps().class == Class::Blind;
        let message = self.page(&order, &incident, now, job.unclear && blind);
        let delivery = Delivery {
            key: &order.key,
            address: &order.address,
            message: &Message::Page(message.clone()),
            card: None,
            unclear: job.unclear,
        };
        match transport.send(&delivery).await {
            Ok(receipt) => self.delivered(order, &incident, end, receipt, message.remark).await,
            Err(failure) => match pause(job, &order, failure.outcome, now) {
                Some(wait) => {
                    let again = order.kept(Again {
                        due: now.saturating_add(wait).unwrap_or(now),
                        unclear: failure.outcome == Outcome::Unclear || job.unclear,
                        free: false,
                        reason: failure.reason,
                        payload: None,
                    });
                    Ok(self.end_job(JobEnd { again: Some(again), ..end }).await?)
                }
                None => self.give_up(order, &incident, end, &failure.reason).await,
            },
        }
    }

    fn page(&self, order: &Order, incident: &Incident, now: Timestamp, repeat: bool) -> Page {
        let late = SignedDuration::from_millis(order.late_ms) + now.duration_since(order.due);
        let late = (late >= LATE).then(|| format!("late by {}", show::duration(late)));
        let repeat = repeat.then(|| "possible repeat".to_owned());
        let failover = order.tried.last().map(|t| format!("{t} did not work"));
        let remarks: Vec<String> = [late, repeat, failover].into_iter().flatten().collect();
        Page {
            card: self.card(incident, now),
            person: order.page.name.clone(),
            why: order.why.clone(),
            remark: remarks.join(", "),
        }
    }

    async fn not_needed(
        &self,
        job: &Job,
        order: Order,
        incident: &Incident,
        end: JobEnd,
    ) -> anyhow::Result<()> {
        // A line that was never attempted ends without a word; the ack is on the timeline.
        if job.attempt <= 1 && !job.unclear {
            return Ok(self.end_job(end).await?);
        }
        let reason = format!("{} is {}", incident.id, incident.status.word());
        let dropped = Command::PageDropped { page: order.page, reason };
        self.change(incident.id, vec![dropped], Along::job(end)).await?;
        Ok(())
    }

    async fn delivered(
        &self,
        order: Order,
        incident: &Incident,
        end: JobEnd,
        receipt: Receipt,
        remark: String,
    ) -> anyhow::Result<()> {
        let mut along = Along::job(end);
        along.changes.messages.push(self.page_record(&order, incident, receipt, "sent", &remark));
        let done = Command::PageDelivered { page: order.page, remark };
        self.change(incident.id, vec![done], along).await?;
        Ok(())
    }

    /// Gives this transport up: the person's next contact, else the policy's next step at once.
    async fn give_up(
        &self,
        order: Order,
        incident: &Incident,
        end: JobEnd,
        reason: &str,
    ) -> anyhow::Result<()> {
        let (now, oncall) = (self.now(), self.oncall.get());
        let mut along = Along::job(end);
        let nowhere = Receipt { address: String::new(), id: String::new() };
        along.changes.messages.push(self.page_record(&order, incident, nowhere, "failed", reason));
        let person = oncall.person(&PersonId(order.page.person.clone()));
        let mut tried = order.tried.clone();
        tried.push(order.page.transport.clone());
        let prefix = order.key.rsplitn(3, ':').last().unwrap_or(&order.key).to_owned();
        let others = self.other_ways(incident, &order.key, &format!("{prefix}:")).await?;
        let next = person.and_then(|person| {
            let mut contacts = person.contacts.iter();
            contacts.find(|(kind, address)| {
                let used =
                    tried.contains(kind) || others.iter().any(|o| o.ends_with(&format!(":{kind}")));
                !used && !address.is_empty() && self.channels.transport(kind).is_some()
            })
        });
        let last_hope = next.is_none() && others.is_empty();
        if let Some((kind, address)) = next {
            let mut page = order.page.clone();
            page.transport.clone_from(kind);
            let failover = Order {
                key: format!("{prefix}:failover:{kind}"),
                page,
                address: address.clone(),
                due: now,
                began: None,
                tried,
                ..order.clone()
            };
            along.changes.jobs.push(failover.job(incident));
        }
        let failed = Command::PageFailed { page: order.page, reason: reason.to_owned(), last_hope };
        tracing::error!(incident.id = %incident.id, person = failed_person(&failed), reason, last_hope, "a page could not be delivered");
        self.change(incident.id, vec![failed], along).await?;
        Ok(())
    }

    /// Keys of this person's other pages in this step that were delivered or are still tried.
    async fn other_ways(
        &self,
        incident: &Incident,
        key: &str,
        prefix: &str,
    ) -> anyhow::Result<Vec<String>> {
        // A line of the person's rules that is due later is no way now; one that waits for its next attempt is.
        let now = self.now();
        let waiting = self.store.jobs_of(incident.id).await?.into_iter();
        let tried = waiting.filter(|(_, due, error)| *due <= now || !error.is_empty());
        let waiting = tried.map(|(key, _, _)| key);
        let sent = self.store.messages(incident.id).await?.into_iter();
        let sent = sent.filter(|sent| sent.state == "sent").map(|sent| sent.key);
        Ok(waiting.chain(sent).filter(|k| k.starts_with(prefix) && k != key).collect())
    }

    fn page_record(
        &self,
        order: &Order,
        incident: &Incident,
        receipt: Receipt,
        state: &str,
        remark: &str,
    ) -> Sent {
        Sent {
            key: order.key.clone(),
            incident: incident.id,
            is_page: true,
            channel: order.page.transport.clone(),
            address: receipt.address,
            remote_id: receipt.id,
            round: order.page.round,
            revision: incident.seq,
            person: order.page.person.clone(),
            state: state.to_owned(),
            remark: remark.to_owned(),
            at: self.now(),
        }
    }
}

/// How long this transport may still try.
fn left(order: &Order, now: Timestamp) -> SignedDuration {
    let tried = order.began.map_or(SignedDuration::ZERO, |began| now.duration_since(began));
    (DEADLINE - tried).clamp(SignedDuration::ZERO, DEADLINE)
}

/// The wait before the next attempt, the last one at the deadline; `None`: give this transport up.
fn pause(job: &Job, order: &Order, outcome: Outcome, now: Timestamp) -> Option<SignedDuration> {
    let left = left(order, now);
    if left.is_zero() && job.attempt > 1 {
        return None;
    }
    match outcome {
        Outcome::Permanent => None,
        Outcome::Retry { after: Some(wait) } => {
            SignedDuration::try_from(wait).ok().filter(|wait| *wait <= left)
        }
        Outcome::Retry { after: None } | Outcome::Unclear | Outcome::CardGone => {
            Some(backoff(job.attempt).min(left.max(SignedDuration::from_secs(1))))
        }
    }
}

fn failed_person(command: &Command) -> &str {
    match command {
        Command::PageFailed { page, .. } => &page.name,
        _ => "",
    }
}

/// Later, without an attempt: what an earlier one may have done is as unclear as before.
pub fn later(job: &Job, due: Timestamp, reason: &str) -> Again {
    Again { unclear: job.unclear, ..Again::later(due, reason) }
}

/// An instant after a wait.
pub fn after(now: Timestamp, wait: Duration) -> Timestamp {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX);
    now.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_wait_1_2_4_8_16_30_30_seconds() {
        let waits: Vec<i64> = (1..=7).map(|attempt| backoff(attempt).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
    }
}
