//! What storms ask: how fast incidents open, and who is in a storm.

use jiff::Timestamp;

use super::{Result, Store, Stored, incidents::readable, millis, query};
use crate::domain::ids::IncidentId;

impl Store {
    /// How many incidents opened at `since` or later; counts no further than `enough`.
    pub async fn opened_since(&self, since: Timestamp, enough: i64) -> Result<i64> {
        let sql = "SELECT count(*) FROM (SELECT opened_at FROM incidents ORDER BY id DESC LIMIT $1) AS newest \
                   WHERE opened_at >= $2";
        let asked = query(sql).bind(enough).bind(millis(since));
        self.db.one(asked).await.map(|(count,): (i64,)| count)
    }

    /// Open incidents outside any storm that opened at `since` or later, newest first, at most `limit`.
    pub async fn open_alone(&self, since: Timestamp, limit: i64) -> Result<Vec<Stored>> {
        let sql = "SELECT state, version FROM incidents WHERE is_open = 1 AND storm_id IS NULL AND opened_at >= $1 \
                   ORDER BY id DESC LIMIT $2";
        let asked = query(sql).bind(millis(since)).bind(limit);
        readable(self.db.all(asked).await?)
    }

    /// Members of a storm, open ones first, then the newest; at most `limit`.
    pub async fn storm_members(&self, storm: IncidentId, limit: i64) -> Result<Vec<Stored>> {
        let sql = "SELECT state, version FROM incidents WHERE storm_id = $1 ORDER BY is_open DESC, id DESC LIMIT $2";
        let asked = query(sql).bind(storm.0).bind(limit);
        readable(self.db.all(asked).await?)
    }

    /// Members of a storm, and how many of them are open.
    pub async fn storm_counts(&self, storm: IncidentId) -> Result<(u64, u64)> {
        let sql = "SELECT count(*), coalesce(CAST(sum(is_open) AS BIGINT), 0) FROM incidents WHERE storm_id = $1";
        let (members, open): (i64, i64) = self.db.one(query(sql).bind(storm.0)).await?;
        Ok((u64::try_from(members).unwrap_or(0), u64::try_from(open).unwrap_or(0)))
    }

    /// Storms that are over although members are open: nobody would wake for those.
    pub async fn storms_over_with_open_members(&self) -> Result<Vec<IncidentId>> {
        let sql = "SELECT DISTINCT m.storm_id FROM incidents m JOIN incidents s ON s.id = m.storm_id \
                   WHERE m.is_open = 1 AND s.is_open = 0 AND s.wake_at IS NULL LIMIT 100";
        let ids: Vec<(i64,)> = self.db.all(query(sql)).await?;
        Ok(ids.into_iter().map(|(id,)| IncidentId(id)).collect())
    }
}
