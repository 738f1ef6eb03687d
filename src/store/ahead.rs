//! A clock that was ahead and was set back leaves things planned too late. Here they are found, and planned as much earlier.

use jiff::Timestamp;

use super::{Connection, Result, Store, instant, millis, query};
use crate::domain::ids::IncidentId;

/// Attempts after the first that are planned for later than `$2`.
const LATE: &str =
    "state = 'ready' AND kind IN ({texts of $1}) AND due_at > $2 AND last_error <> ''";

/// Plans an incident's jobs earlier by `by` milliseconds, not before `now`. Its wake-up follows its state.
pub(super) async fn pull_in(
    db: &mut Connection,
    incident: IncidentId,
    by: i64,
    now: Timestamp,
) -> Result<()> {
    let sql = "UPDATE jobs SET due_at = CASE WHEN due_at - $2 < $3 THEN $3 ELSE due_at - $2 END \
               WHERE incident_id = $1 AND kind <> 'wake' AND state = 'ready' AND due_at > $3";
    query(sql).bind(incident.0).bind(by).bind(millis(now)).execute(db).await?;
    Ok(())
}

impl Store {
    /// Incidents that will wake or have something planned after `now`, and whose last event was decided later than `now`; and when
    /// that was. At most `limit`.
    pub async fn decided_after(
        &self,
        now: Timestamp,
        limit: i64,
    ) -> Result<Vec<(IncidentId, Timestamp)>> {
        let sql = "SELECT id, at FROM (SELECT i.id AS id, (SELECT t.at FROM timeline t WHERE t.incident_id = i.id ORDER BY t.seq DESC LIMIT 1) AS at \
                   FROM (SELECT id FROM incidents WHERE wake_at IS NOT NULL UNION SELECT incident_id FROM jobs WHERE state = 'ready' \
                   AND due_at > $1 AND incident_id IS NOT NULL) AS i) AS last WHERE at > $1 ORDER BY id LIMIT $2";
        let rows: Vec<(i64, i64)> = self.db.all(query(sql).bind(millis(now)).bind(limit)).await?;
        Ok(rows.into_iter().map(|(id, at)| (IncidentId(id), instant(at))).collect())
    }

    /// Leases that end later than `latest` end at `until`: a worker that is alive renews its own before. Returns how many.
    pub async fn pull_in_leases(&self, latest: Timestamp, until: Timestamp) -> Result<u64> {
        let (latest, until) = (millis(latest), millis(until));
        let asked = "SELECT id FROM jobs WHERE state = 'running' AND lease_until > $1 LIMIT 1";
        let late: Vec<(i64,)> = self.db.all(query(asked).bind(latest)).await?;
        if late.is_empty() {
            return Ok(0);
        }
        let write = self.db.write(move |db| {
            Box::pin(async move {
                let sql =
                    "UPDATE jobs SET lease_until = $2 WHERE state = 'running' AND lease_until > $1";
                Ok(query(sql).bind(latest).bind(until).execute(db).await?)
            })
        });
        write.await
    }

    /// Plans next attempts of these kinds for `now` that are planned for later than `latest`; how many.
    pub async fn pull_in_attempts(
        &self,
        kinds: &[&str],
        latest: Timestamp,
        now: Timestamp,
    ) -> Result<u64> {
        let (kinds, latest, now) = (super::json(&kinds)?, millis(latest), millis(now));
        let asked = format!("SELECT id FROM jobs WHERE {LATE} LIMIT 1");
        let late: Vec<(i64,)> = self.db.all(query(asked).bind(kinds.clone()).bind(latest)).await?;
        if late.is_empty() {
            return Ok(0);
        }
        let write = self.db.write(move |db| {
            Box::pin(async move {
                let sql = format!("UPDATE jobs SET due_at = $3 WHERE {LATE}");
                Ok(query(sql).bind(kinds).bind(latest).bind(now).execute(db).await?)
            })
        });
        let pulled = write.await?;
        self.changed.here();
        Ok(pulled)
    }

    /// Plans a loop for `now` that is planned for later than `latest`; true when it was.
    pub async fn pull_in_loop(&self, key: &str, latest: Timestamp, now: Timestamp) -> Result<bool> {
        let (key, latest, now) = (key.to_owned(), millis(latest), millis(now));
        let asked = "SELECT id FROM jobs WHERE job_key = $1 AND state = 'ready' AND due_at > $2";
        let late: Vec<(i64,)> = self.db.all(query(asked).bind_key(&key).bind(latest)).await?;
        if late.is_empty() {
            return Ok(false);
        }
        let write = self.db.write(move |db| {
            Box::pin(async move {
                let sql = "UPDATE jobs SET due_at = $3 WHERE job_key = $1 AND state = 'ready' AND due_at > $2";
                let rows = query(sql).bind_key(&key).bind(latest).bind(now).execute(db).await?;
                Ok(rows > 0)
            })
        });
        let pulled = write.await?;
        self.changed.here();
        Ok(pulled)
    }
}
