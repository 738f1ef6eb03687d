//! Jobs: a durable row for everything that must happen later.
//!
//! A job is claimed with a lease and a fence. Its outcome commits only while the fence is still ours, so a worker that
//! was paused past its lease changes nothing. A job claimed again out of a running state is `unclear`: an earlier
//! attempt may have had its effect on the world.

use std::{borrow::Cow, sync::OnceLock, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{Connection, Error, Result, Store, db::Query, from_json, instant, millis, query};
use crate::{
    domain::ids::IncidentId,
    ops::guard::{Guard, is_away},
};

/// What to do when a job with this key is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Move it to the new time and payload; if it runs, run it again afterwards.
    Replace,
    /// Leave it: this must happen once.
    Keep,
}

/// A job to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewJob {
    /// Unique among jobs that are not done.
    pub key: String,
    /// Which worker code runs it.
    pub kind: &'static str,
    /// The incident it belongs to.
    pub incident: Option<IncidentId>,
    /// Not before.
    pub due: Timestamp,
    /// Lower first; severities as 0 to 3.
    pub priority: i64,
    /// For that code.
    pub payload: Value,
    /// When it is there already.
    pub repeat: Repeat,
}

/// A claimed job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Row id.
    pub id: i64,
    /// Its key.
    pub key: String,
    /// Which worker code runs it.
    pub kind: String,
    /// The incident it belongs to.
    pub incident: Option<IncidentId>,
    /// When it was due.
    pub due: Timestamp,
    /// Attempts including this one.
    pub attempt: i64,
    /// Ours until another claim.
    pub fence: i64,
    /// An earlier attempt may have had its effect.
    pub unclear: bool,
    /// For the worker code.
    pub payload: Value,
}

/// What to claim.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// This process.
    pub owner: &'a str,
    /// Only these kinds.
    pub kinds: &'a [&'a str],
    /// At most this many.
    pub limit: usize,
    /// For this long.
    pub lease: Duration,
}

/// How a job ended, committed with its effects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobEnd {
    /// Which.
    pub id: i64,
    /// With which fence.
    pub fence: i64,
    /// `None`: done. Otherwise it runs again.
    pub again: Option<Again>,
}

/// Another attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Again {
    /// Not before.
    pub due: Timestamp,
    /// The attempt that just ended may have had its effect.
    pub unclear: bool,
    /// Does not count as an attempt (a rate limit, a pause).
    pub free: bool,
    /// Why.
    pub reason: String,
    /// What the job keeps for its next attempt, if it changed.
    pub payload: Option<Value>,
}

impl Again {
    /// Later, without counting an attempt.
    pub fn later(due: Timestamp, reason: &str) -> Self {
        Self { due, unclear: false, free: true, reason: reason.to_owned(), payload: None }
    }
}

pub(super) async fn is_ours(db: &mut Connection, id: i64, fence: i64) -> Result<()> {
    let sql = "UPDATE jobs SET fence = fence WHERE id = $1 AND fence = $2 AND state = 'running'";
    let rows = query(sql).bind(id).bind(fence).execute(db).await?;
    if rows == 1 || is_away(Guard::Fence) { Ok(()) } else { Err(Error::LostJob) }
}

/// Ends a job; true when it is to run again.
pub(super) async fn end(db: &mut Connection, end: &JobEnd) -> Result<bool> {
    match &end.again {
        None => {
            let done = query("DELETE FROM jobs WHERE id = $1 AND again = 0").bind(end.id);
            if done.execute(&mut *db).await? == 1 {
                return Ok(false);
            }
            let sql = "UPDATE jobs SET state = 'ready', attempt = 0, unclear = 0, again = 0 WHERE id = $1";
            query(sql).bind(end.id).execute(db).await?;
        }
        Some(again) => {
            let sql = "UPDATE jobs SET state = 'ready', due_at = CASE WHEN again = 1 AND due_at < $2 THEN due_at ELSE $2 END, \
                       unclear = $3, attempt = attempt - $4, last_error = $5, payload = coalesce($6, payload), again = 0 WHERE id = $1";
            query(sql)
                .bind(end.id)
                .bind(millis(again.due))
                .bind(i64::from(again.unclear))
                .bind(i64::from(again.free))
                .bind(again.reason.chars().take(500).collect::<String>())
                .bind(again.payload.as_ref().map(Value::to_string))
                .execute(db)
                .await?;
        }
    }
    Ok(true)
}

pub(super) async fn add(db: &mut Connection, job: &NewJob) -> Result<()> {
    let sql = match job.repeat {
        Repeat::Replace => {
            "INSERT INTO jobs (job_key, kind, incident_id, due_at, priority, payload) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (job_key) DO UPDATE SET due_at = excluded.due_at, priority = excluded.priority, payload = excluded.payload, again = 1"
        }
        Repeat::Keep => {
            "INSERT INTO jobs (job_key, kind, incident_id, due_at, priority, payload) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (job_key) DO NOTHING"
        }
    };
    query(sql)
        .bind_key(&job.key)
        .bind(job.kind)
        .bind(job.incident.map(|id| id.0))
        .bind(millis(job.due))
        .bind(job.priority)
        .bind(job.payload.to_string())
        .execute(db)
        .await?;
    Ok(())
}

pub(super) async fn cancel(db: &mut Connection, key: &str) -> Result<()> {
    query("DELETE FROM jobs WHERE job_key = $1 AND state = 'ready'")
        .bind_key(key)
        .execute(db)
        .await?;
    Ok(())
}

type Row = (i64, String, String, Option<i64>, i64, i64, i64, i64, i64, String);

fn job(row: Row) -> Result<Job> {
    let (id, key, kind, incident, due, _, attempt, fence, unclear, payload) = row;
    Ok(Job {
        id,
        key,
        kind,
        incident: incident.map(IncidentId),
        due: instant(due),
        attempt,
        fence,
        unclear: unclear != 0,
        payload: from_json(&payload)?,
    })
}

/// Priorities are few: P0 to P3, each with what may wait a little. The last stands for all above it too.
const LAST_PRIORITY: i64 = 8;

/// One look into the index of ready jobs for each of `kinds` kinds (bound from `$first` on) and each priority. However many
/// jobs wait for a later time or are of other kinds, none of them is read.
fn looks(kinds: usize, first: usize, look: impl Fn(&str) -> String) -> Vec<String> {
    let kinds = first..first + kinds;
    let of_kind = |kind: usize| {
        (0..=LAST_PRIORITY).map(move |priority| {
            let sign = if priority == LAST_PRIORITY { ">=" } else { "=" };
            format!("state = 'ready' AND kind = ${kind} AND priority {sign} {priority}")
        })
    };
    kinds.flat_map(of_kind).map(|condition| look(&condition)).collect()
}

fn places(count: usize, first: usize) -> String {
    let places: Vec<String> = (first..first + count).map(|place| format!("${place}")).collect();
    places.join(", ")
}

/// Kinds of jobs that are looked for at once, as a rule at most.
const KINDS: usize = 16;

/// A text for each number of kinds, made once: it is long, and asked for all the time.
struct Texts([OnceLock<String>; KINDS]);

impl Texts {
    const fn new() -> Self {
        Self([const { OnceLock::new() }; KINDS])
    }

    fn of(&'static self, kinds: usize, make: fn(usize) -> String) -> Cow<'static, str> {
        match self.0.get(kinds) {
            Some(text) => Cow::Borrowed(text.get_or_init(|| make(kinds)).as_str()),
            None => Cow::Owned(make(kinds)),
        }
    }
}

static CLAIM: Texts = Texts::new();
static NEXT_DUE: Texts = Texts::new();

/// Values: owner, end of the lease, now, what leases that are over ended before, how many, how many are looked at, kinds.
fn claim_sql(kinds: usize) -> String {
    let mut looks = looks(kinds, 7, |job| {
        format!(
            "SELECT id FROM (SELECT id FROM jobs WHERE {job} AND due_at <= $3 ORDER BY priority, due_at, id LIMIT $6) AS ready"
        )
    });
    let kinds = places(kinds, 7);
    looks.push(format!(
        "SELECT id FROM jobs WHERE state = 'running' AND lease_until < $4 AND kind IN ({kinds})"
    ));
    let looks = looks.join(" UNION ALL ");
    format!(
        "WITH due AS MATERIALIZED (\
             SELECT id FROM jobs WHERE id IN ({looks}) AND ((state = 'ready' AND due_at <= $3) OR (state = 'running' AND lease_until < $4)) \
             ORDER BY priority, due_at, id LIMIT $5 {{skip locked}}) \
         UPDATE jobs SET state = 'running', owner = $1, lease_until = $2, fence = fence + 1, attempt = attempt + 1, \
         unclear = CASE WHEN state = 'running' THEN 1 ELSE unclear END, again = 0 \
         WHERE id IN (SELECT id FROM due) \
         RETURNING id, job_key, kind, incident_id, due_at, priority, attempt, fence, unclear, payload"
    )
}

/// Values: kinds.
fn next_due_sql(kinds: usize) -> String {
    let look = |job: &str| format!("SELECT (SELECT min(due_at) FROM jobs WHERE {job}) AS due_at");
    let ready = looks(kinds, 1, look).join(" UNION ALL ");
    let kinds = places(kinds, 1);
    format!(
        "SELECT (SELECT min(due_at) FROM ({ready}) AS ready), \
         (SELECT min(lease_until) + 1 FROM jobs WHERE state = 'running' AND kind IN ({kinds}))"
    )
}

impl Store {
    /// Claims due jobs: most urgent first, then the longest due.
    pub async fn claim(&self, claim: Claim<'_>) -> Result<Vec<Job>> {
        if claim.kinds.is_empty() {
            return Ok(vec![]);
        }
        let lease = SignedDuration::try_from(claim.lease).unwrap_or(SignedDuration::ZERO);
        let time = self.time.clone();
        let (owner, limit) = (claim.owner.to_owned(), i64::try_from(claim.limit).unwrap_or(1));
        // Other replicas claim at the same moment: behind what they lock there must be something left for us.
        let seen = if self.is_shared() { limit.saturating_mul(4) } else { limit };
        let kinds: Vec<String> = claim.kinds.iter().map(|kind| (*kind).to_owned()).collect();
        let write = self.db.write(move |db| {
            Box::pin(async move {
                time.ask(db).await?;
                let now = time.now();
                let over = if is_away(Guard::Lease) { Timestamp::MIN } else { now };
                let until = millis(now.saturating_add(lease).unwrap_or(Timestamp::MAX));
                let claim = query(CLAIM.of(kinds.len(), claim_sql))
                    .bind(owner)
                    .bind(until)
                    .bind(millis(now));
                let claim = claim.bind(millis(over)).bind(limit).bind(seen);
                let claim = kinds.into_iter().fold(claim, Query::bind);
                let mut rows: Vec<Row> = claim.all(db).await?;
                // RETURNING has no order.
                rows.sort_by_key(|(id, _, _, _, due, priority, ..)| (*priority, *due, *id));
                rows.into_iter().map(job).collect()
            })
        });
        write.await
    }

    /// Extends a lease; false when it was lost.
    pub async fn renew(&self, id: i64, fence: i64, lease: Duration) -> Result<bool> {
        let lease = SignedDuration::try_from(lease).unwrap_or(SignedDuration::ZERO);
        let until = millis(self.now().saturating_add(lease).unwrap_or(Timestamp::MAX));
        let write = self.db.write(move |db| {
            Box::pin(async move {
                let sql = "UPDATE jobs SET lease_until = $3 WHERE id = $1 AND fence = $2 AND state = 'running'";
                let renew = query(sql).bind(id).bind(fence).bind(until);
                Ok(renew.execute(db).await? == 1)
            })
        });
        write.await
    }

    /// At start of a store of one process, with the file's lock held, every running job belongs to a process that is gone.
    pub(super) async fn release_all(&self) -> Result<()> {
        let write = self.db.write(|db| {
            Box::pin(async move {
                query("UPDATE jobs SET lease_until = 0 WHERE state = 'running'")
                    .execute(db)
                    .await?;
                Ok(())
            })
        });
        write.await
    }

    /// When the next job of these kinds may be claimed: one that is due then, or whose lease ends. Others are not waited for: a
    /// newer replica may have kinds that nobody here can run.
    pub async fn next_due(&self, kinds: &[&str]) -> Result<Option<Timestamp>> {
        if kinds.is_empty() {
            return Ok(None);
        }
        let asked = query(NEXT_DUE.of(kinds.len(), next_due_sql));
        let asked = kinds.iter().fold(asked, |asked, kind| asked.bind(*kind));
        let (ready, running): (Option<i64>, Option<i64>) = self.db.one(asked).await?;
        Ok([ready, running].into_iter().flatten().min().map(instant))
    }

    /// The page that waits longest for a worker at `now`: its key and since when.
    pub async fn oldest_page(&self, now: Timestamp) -> Result<Option<(String, Timestamp)>> {
        let sql = "SELECT job_key, CASE WHEN state = 'ready' THEN due_at ELSE lease_until END AS since FROM jobs \
                   WHERE kind IN ('page', 'deliver') AND ((state = 'ready' AND due_at <= $1) OR (state = 'running' AND lease_until < $1)) \
                   ORDER BY since, id LIMIT 1";
        let row: Option<(String, i64)> = self.db.optional(query(sql).bind(millis(now))).await?;
        Ok(row.map(|(key, since)| (key, instant(since))))
    }

    /// Jobs not done, per kind.
    pub async fn job_counts(&self) -> Result<Vec<(String, i64)>> {
        let sql = "SELECT kind, count(*) FROM jobs GROUP BY kind ORDER BY kind";
        self.db.all(query(sql).at_length()).await
    }

    /// Jobs of one incident that are not done: key, due time, last error.
    pub async fn jobs_of(&self, id: IncidentId) -> Result<Vec<(String, Timestamp, String)>> {
        let sql = "SELECT job_key, due_at, last_error FROM jobs WHERE incident_id = $1 ORDER BY due_at, id LIMIT 200";
        let rows: Vec<(String, i64, String)> = self.db.all(query(sql).bind(id.0)).await?;
        Ok(rows.into_iter().map(|(key, due, error)| (key, instant(due), error)).collect())
    }
}
