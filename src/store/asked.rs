//! What the reconciler asks: which alerts of a source we believe to fire, and which incidents wait for Alertmanager's word.

use jiff::Timestamp;

use super::{Result, Store, instant, query};
use crate::domain::ids::IncidentId;

/// An alert that fires, as far as we know, and has its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FiringMember {
    /// Its identity in its source.
    pub fingerprint: String,
    /// Its incident: open, or watched because a person resolved it while alerts fired.
    pub incident: IncidentId,
    /// That incident is open.
    pub is_open: bool,
    /// When it was last heard of.
    pub last_seen: Timestamp,
}

type Row = (String, i64, i64, i64);

impl Store {
    /// All firing members of a source that have a place, by incident.
    pub async fn firing_members(&self, source: &str) -> Result<Vec<FiringMember>> {
        let sql = "SELECT m.fingerprint, m.incident_id, i.is_open, m.last_seen FROM members m JOIN incidents i ON i.id = m.incident_id \
                   WHERE m.source = $1 AND m.status = 'firing' AND (i.is_open = 1 OR i.wake_at IS NOT NULL) ORDER BY m.incident_id";
        let rows: Vec<Row> = self.db.all(query(sql).bind_key(source)).await?;
        Ok(rows.into_iter().map(firing).collect())
    }

    /// Firing members of an incident.
    pub async fn firing_members_of(&self, incident: IncidentId) -> Result<Vec<FiringMember>> {
        let sql = "SELECT fingerprint, incident_id, CAST(1 AS BIGINT), last_seen FROM members WHERE incident_id = $1 AND status = 'firing'";
        let rows: Vec<Row> = self.db.all(query(sql).bind(incident.0)).await?;
        Ok(rows.into_iter().map(firing).collect())
    }

    /// Open incidents that wait for Alertmanager's word; at most `limit`, oldest first.
    pub async fn in_question(&self, limit: i64) -> Result<Vec<IncidentId>> {
        let sql = "SELECT id FROM incidents WHERE in_question = 1 ORDER BY id LIMIT $1";
        let ids: Vec<(i64,)> = self.db.all(query(sql).bind(limit)).await?;
        Ok(ids.into_iter().map(|(id,)| IncidentId(id)).collect())
    }
}

fn firing((fingerprint, incident, is_open, last_seen): Row) -> FiringMember {
    let (incident, is_open, last_seen) = (IncidentId(incident), is_open == 1, instant(last_seen));
    FiringMember { fingerprint, incident, is_open, last_seen }
}
