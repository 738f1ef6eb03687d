//! What was sent where: cards (one row per incident and channel, updated in place) and pages.

use jiff::Timestamp;

use super::{Connection, Result, Store, instant, millis, query};
use crate::domain::ids::IncidentId;

/// A message the other side has, or refused.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Sent {
    /// `post:<incident>:<channel>` or the page's idempotency key.
    pub key: String,
    /// Its incident.
    pub incident: IncidentId,
    /// True for pages.
    pub is_page: bool,
    /// Channel name, or the page's transport.
    pub channel: String,
    /// What the other side resolved the address to.
    pub address: String,
    /// Its id there: `ts`, event id.
    pub remote_id: String,
    /// The round its buttons belong to.
    pub round: i64,
    /// The card's revision it shows.
    pub revision: i64,
    /// Whom it pages; "" for cards.
    pub person: String,
    /// `sent` or `failed`.
    pub state: String,
    /// A remark, or why it failed.
    pub remark: String,
    /// When.
    pub at: Timestamp,
}

pub(super) async fn save(db: &mut Connection, sent: &Sent) -> Result<()> {
    let sql = "INSERT INTO messages (message_key, incident_id, is_page, channel, address, remote_id, round, revision, person, state, remark, at, place) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, (SELECT coalesce(max(m.place), 0) + 1 FROM messages m WHERE m.incident_id = $2)) ON CONFLICT (message_key) DO UPDATE SET address = excluded.address, \
               remote_id = excluded.remote_id, round = excluded.round, revision = excluded.revision, state = excluded.state, remark = excluded.remark, at = excluded.at";
    query(sql)
        .bind_key(&sent.key)
        .bind(sent.incident.0)
        .bind(i64::from(sent.is_page))
        .bind(&sent.channel)
        .bind(&sent.address)
        .bind_key(&sent.remote_id)
        .bind(sent.round)
        .bind(sent.revision)
        .bind(&sent.person)
        .bind(&sent.state)
        .bind(&sent.remark)
        .bind(millis(sent.at))
        .execute(db)
        .await?;
    Ok(())
}

type Row = (String, i64, i64, String, String, String, i64, i64, String, String, String, i64);
const COLUMNS: &str = "message_key, incident_id, is_page, channel, address, remote_id, round, revision, person, state, remark, at";

fn sent(row: Row) -> Sent {
    let (
        key,
        incident,
        is_page,
        channel,
        address,
        remote_id,
        round,
        revision,
        person,
        state,
        remark,
        at,
    ) = row;
    Sent {
        key,
        incident: IncidentId(incident),
        is_page: is_page != 0,
        channel,
        address,
        remote_id,
        round,
        revision,
        person,
        state,
        remark,
        at: instant(at),
    }
}

impl Store {
    /// One message by its key.
    pub async fn message(&self, key: &str) -> Result<Option<Sent>> {
        let sql = format!("SELECT {COLUMNS} FROM messages WHERE message_key = $1");
        Ok(self.db.optional(query(sql).bind_key(key)).await?.map(sent))
    }

    /// The message with this id on the other side.
    pub async fn message_by_remote_id(&self, remote_id: &str) -> Result<Option<Sent>> {
        let sql = format!("SELECT {COLUMNS} FROM messages WHERE remote_id = $1 LIMIT 1");
        Ok(self.db.optional(query(sql).bind_key(remote_id)).await?.map(sent))
    }

    /// Everything sent for an incident, oldest first.
    pub async fn messages(&self, incident: IncidentId) -> Result<Vec<Sent>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM messages WHERE incident_id = $1 ORDER BY at, place LIMIT 500"
        );
        let rows: Vec<Row> = self.db.all(query(sql).bind(incident.0)).await?;
        Ok(rows.into_iter().map(sent).collect())
    }
}
