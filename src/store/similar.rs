//! What steps ask of the past: incidents like this one, and incidents around the same time. Every question has an index
//! and a bound.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Result, Store, from_json, millis, query};
use crate::domain::{
    ids::IncidentId,
    incident::{Event, Incident},
};

/// What an earlier incident has in common with one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Common {
    /// The same key: it would be the same incident, were it open.
    Key,
    /// A run of it was about the same target.
    Target,
    /// A run of it ended with the same verdict first.
    Verdict,
}

/// Which incidents are alike.
#[derive(Clone, Copy, Debug)]
pub struct Alike<'a> {
    /// Not this one.
    pub except: IncidentId,
    /// Only incidents and runs that began after this.
    pub since: Timestamp,
    /// Incident key.
    pub key: &'a str,
    /// Target key, if there is one.
    pub target: Option<&'a str>,
    /// Verdict id, if there is one.
    pub verdict: Option<&'a str>,
    /// Most incidents of each sort.
    pub limit: i64,
}

/// Most incidents of a span of time that are looked at.
const MAX_AROUND: i64 = 200;
/// Most words of people read of one incident.
const MAX_SAID: i64 = 20;

impl Store {
    /// Incidents that are like one, with what they have in common.
    pub async fn alike(&self, ask: Alike<'_>) -> Result<BTreeMap<IncidentId, Vec<Common>>> {
        let mut found: BTreeMap<IncidentId, Vec<Common>> = BTreeMap::new();
        let by_key = "SELECT id FROM incidents WHERE incident_key = $1 AND opened_at >= $2 AND id <> $3 \
                      ORDER BY id DESC LIMIT $4";
        let by_target = "SELECT DISTINCT incident_id FROM runs WHERE target_key = $1 AND started_at >= $2 \
                         AND incident_id <> $3 ORDER BY incident_id DESC LIMIT $4";
        let by_verdict = "SELECT DISTINCT incident_id FROM runs WHERE verdict = $1 AND started_at >= $2 \
                          AND incident_id <> $3 ORDER BY incident_id DESC LIMIT $4";
        let asks = [
            (by_key, Some(ask.key), Common::Key),
            (by_target, ask.target, Common::Target),
            (by_verdict, ask.verdict, Common::Verdict),
        ];
        for (sql, value, common) in asks {
            // An empty value is what a run without a target, or without a verdict, has.
            let Some(value) = value.filter(|value| !value.is_empty()) else { continue };
            let asked = query(sql)
                .bind_key(value)
                .bind(millis(ask.since))
                .bind(ask.except.0)
                .bind(ask.limit);
            let ids: Vec<(i64,)> = self.db.all(asked).await?;
            for (id,) in ids {
                found.entry(IncidentId(id)).or_default().push(common);
            }
        }
        Ok(found)
    }

    /// Incidents that opened in a span of time, and those that are open, the newest first.
    pub async fn around(&self, from: Timestamp, until: Timestamp) -> Result<Vec<Incident>> {
        let opened = "SELECT id, state FROM incidents WHERE opened_at >= $1 AND opened_at <= $2 ORDER BY id DESC LIMIT $3";
        let asked = query(opened).bind(millis(from)).bind(millis(until)).bind(MAX_AROUND);
        let mut rows: Vec<(i64, String)> = self.db.all(asked).await?;
        let open = "SELECT id, state FROM incidents WHERE is_open = 1 AND opened_at < $1 ORDER BY id DESC LIMIT $2";
        let asked = query(open).bind(millis(from)).bind(MAX_AROUND);
        let still: Vec<(i64, String)> = self.db.all(asked).await?;
        rows.extend(still);
        rows.sort_by_key(|row| std::cmp::Reverse(row.0));
        rows.iter().map(|(_, state)| from_json(state)).collect()
    }

    /// Acks and notes of an incident, the last 20, oldest first.
    pub async fn said(&self, id: IncidentId) -> Result<Vec<Event>> {
        let sql = "SELECT event FROM timeline WHERE incident_id = $1 \
                   AND (event LIKE '{\"noted\"%' OR event LIKE '{\"acknowledged\"%') ORDER BY seq DESC LIMIT $2";
        let rows: Vec<(String,)> = self.db.all(query(sql).bind(id.0).bind(MAX_SAID)).await?;
        rows.iter().rev().map(|(event,)| from_json(event)).collect()
    }
}
