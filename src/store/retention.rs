//! Forgets what has been over for long: an incident with everything that belongs to it, in one small transaction that waits
//! behind all other writes.
//!
//! Not forgotten: what is open or will still wake somebody, what has work left, an incident one of whose alerts was seen since,
//! a member before its storm is as old, a storm before its members are gone. The incident's row is deleted first: whoever changes it
//! at the same time waits, and then finds it gone, so nothing is left that belongs to nothing.

use jiff::Timestamp;

use super::{Result, Store, millis, query};

/// What belongs to an incident, in the order in which it can be deleted.
const PARTS: [(&str, &str); 6] = [
    ("steps", "DELETE FROM steps WHERE run_id IN (SELECT id FROM runs WHERE incident_id = $1)"),
    ("runs", "DELETE FROM runs WHERE incident_id = $1"),
    ("timeline", "DELETE FROM timeline WHERE incident_id = $1"),
    ("members", "DELETE FROM members WHERE incident_id = $1"),
    ("messages", "DELETE FROM messages WHERE incident_id = $1"),
    // Somebody may have written a note a moment ago.
    ("jobs", "DELETE FROM jobs WHERE incident_id = $1"),
];
/// Notes about alerts that could not be read, deleted at once.
const REJECTED: i64 = 1_000;

/// Rows deleted, by table.
pub type Deleted = Vec<(&'static str, u64)>;

impl Store {
    /// Deletes at most `limit` incidents that were resolved before `before`. Says how many, and which rows.
    pub async fn forget_incidents(
        &self,
        before: Timestamp,
        limit: i64,
    ) -> Result<(usize, Deleted)> {
        let before = millis(before);
        let write = self.db.write_last(move |db| {
            Box::pin(async move {
                let sql = "WITH old AS MATERIALIZED (\
                               SELECT i.id FROM incidents i \
                               WHERE i.opened_at < $1 AND i.is_open = 0 AND i.resolved_at < $1 AND i.wake_at IS NULL \
                               AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.incident_id = i.id) \
                               AND NOT EXISTS (SELECT 1 FROM members a WHERE a.incident_id = i.id AND a.last_seen >= $1) \
                               AND NOT EXISTS (SELECT 1 FROM incidents m WHERE m.storm_id = i.id) \
                               AND NOT EXISTS (SELECT 1 FROM incidents s WHERE s.id = i.storm_id \
                                               AND (s.is_open = 1 OR s.resolved_at >= $1)) \
                               ORDER BY i.id LIMIT $2 {skip locked}) \
                           DELETE FROM incidents WHERE id IN (SELECT id FROM old) RETURNING id";
                let ids: Vec<(i64,)> = query(sql).bind(before).bind(limit).all(db).await?;
                let mut deleted = vec![("incidents", ids.len() as u64)];
                for (table, sql) in PARTS {
                    let mut rows = 0;
                    for (id,) in &ids {
                        rows += query(sql).bind(*id).execute(db).await?;
                    }
                    deleted.push((table, rows));
                }
                let sql = "DELETE FROM rejected WHERE id IN (SELECT id FROM rejected WHERE at < $1 ORDER BY id LIMIT $2)";
                let rows = query(sql).bind(before).bind(REJECTED).execute(db).await?;
                deleted.push(("rejected", rows));
                Ok((ids.len(), deleted))
            })
        });
        write.await
    }
}
