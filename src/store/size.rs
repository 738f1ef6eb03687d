//! How much the store holds, and making room: evidence of what is over goes first.
//!
//! What counts is what the rows take, not the files: neither database gives the space of deleted rows back to the disk by
//! itself, and both use it again. SQLite knows how many of its pages are in use. PostgreSQL knows only its files, so its rows
//! are counted once those are larger than what is allowed; that reads the tables without what is stored beside them.

use super::{Result, Store, query};

impl Store {
    /// Bytes that the rows take, about. PostgreSQL: those of its files, unless these are more than `enough`.
    pub async fn size(&self, enough: i64) -> Result<i64> {
        self.db.size(enough).await
    }

    /// Deletes the evidence of at most `limit` runs, the longest resolved incidents' first; none of an incident that is open, will
    /// still wake somebody, or has work left. What the runs found stays. Says how many steps and bytes.
    pub async fn forget_evidence(&self, limit: i64) -> Result<(u64, i64)> {
        let write = self.db.write_last(move |db| {
            Box::pin(async move {
                let sql = "WITH old AS MATERIALIZED (\
                               SELECT r.id FROM runs r JOIN incidents i ON i.id = r.incident_id \
                               WHERE i.is_open = 0 AND i.wake_at IS NULL \
                               AND EXISTS (SELECT 1 FROM steps s WHERE s.run_id = r.id) \
                               AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.incident_id = i.id) \
                               ORDER BY i.resolved_at, r.id LIMIT $1 {skip locked}) \
                           DELETE FROM steps WHERE run_id IN (SELECT id FROM old) \
                           RETURNING CAST(octet_length(evidence) AS BIGINT)";
                let bytes: Vec<(i64,)> = query(sql).bind(limit).all(db).await?;
                Ok((bytes.len() as u64, bytes.iter().map(|(bytes,)| bytes).sum()))
            })
        });
        write.await
    }
}
