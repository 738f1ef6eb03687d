//! Members: what is known of each alert.

use jiff::Timestamp;

use super::{Connection, Result, Store, from_json, json, millis, query};
use crate::domain::{
    alert::Status,
    ids::IncidentId,
    incident::correlate::{Member, TOMBSTONE},
};

pub(super) async fn save(db: &mut Connection, member: &Member) -> Result<()> {
    let sql = "INSERT INTO members (source, fingerprint, incident_id, status, last_seen, member) \
               VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (source, fingerprint) DO UPDATE SET \
               incident_id = excluded.incident_id, status = excluded.status, last_seen = excluded.last_seen, member = excluded.member";
    query(sql)
        .bind_key(&member.source)
        .bind_key(&member.fingerprint)
        .bind(member.incident.map(|id| id.0))
        .bind(word(member.status))
        .bind(millis(member.last_seen))
        .bind(json(member)?)
        .execute(db)
        .await?;
    Ok(())
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Firing => "firing",
        Status::Resolved => "resolved",
    }
}

impl Store {
    /// What is known of one alert.
    pub async fn member(&self, source: &str, fingerprint: &str) -> Result<Option<Member>> {
        let sql = "SELECT member FROM members WHERE source = $1 AND fingerprint = $2";
        let asked = query(sql).bind_key(source).bind_key(fingerprint);
        let row: Option<(String,)> = self.db.optional(asked).await?;
        row.map(|(member,)| from_json(&member)).transpose()
    }

    /// Members of an incident: those that fire first, then the newest; at most `limit`.
    pub async fn members(&self, incident: IncidentId, limit: i64) -> Result<Vec<Member>> {
        let sql = "SELECT member FROM members WHERE incident_id = $1 \
                   ORDER BY status, last_seen DESC LIMIT $2";
        let rows: Vec<(String,)> = self.db.all(query(sql).bind(incident.0).bind(limit)).await?;
        rows.iter().map(|(member,)| from_json(member)).collect()
    }

    /// Firing members and all members of an incident.
    pub async fn member_counts(&self, incident: IncidentId) -> Result<(u64, u64)> {
        let sql = "SELECT coalesce(sum(CASE WHEN status = 'firing' THEN 1 ELSE 0 END), 0), count(*) \
                   FROM members WHERE incident_id = $1";
        let (firing, all): (i64, i64) = self.db.one(query(sql).bind(incident.0)).await?;
        Ok((firing.unsigned_abs(), all.unsigned_abs()))
    }

    /// Forgets resolves of unknown alerts that are too old to matter.
    pub async fn bury_tombstones(&self, now: Timestamp) -> Result<u64> {
        let before = millis(now.saturating_sub(TOMBSTONE).unwrap_or(Timestamp::MIN));
        let write = self.db.write(move |db| {
            Box::pin(async move {
                let sql = "DELETE FROM members WHERE incident_id IS NULL AND last_seen < $1";
                Ok(query(sql).bind(before).execute(db).await?)
            })
        });
        write.await
    }
}
