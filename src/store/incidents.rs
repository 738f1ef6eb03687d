//! Incidents and their timelines.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::{
    Connection, Error, IncidentChange, Result, Store, db::lock_incidents, from_json, instant, json,
    millis, numbers, query,
};
use crate::{
    domain::{
        ids::IncidentId,
        incident::{self, Event, Incident},
    },
    ops::guard::{Guard, is_away},
};

/// An incident with the version it was read at.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// The fold of its timeline.
    pub incident: Incident,
    /// Compared and bumped by the next commit.
    pub version: i64,
}

/// An incident as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Summary {
    /// `INC-12`.
    pub id: String,
    /// Status word.
    pub status: String,
    /// P0 to P3.
    pub severity: String,
    /// One line.
    pub title: String,
    /// Owning team, or "".
    pub team: String,
    /// When it opened.
    pub opened_at: Timestamp,
    /// When it resolved.
    pub resolved_at: Option<Timestamp>,
    /// The storm it is a member of: `INC-12`.
    pub storm: Option<String>,
}

/// Which incidents to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Only open ones, only closed ones, or both.
    pub open: Option<bool>,
    /// Only numbers below this, for paging.
    pub before: Option<i64>,
    /// At most this many; newest first.
    pub limit: i64,
}

/// Locks what will be written before the job that writes it: two jobs of one incident that plan each other anew wait in line.
/// SQLite has one lock for everything.
pub(super) async fn lock(db: &mut Connection, changes: &[IncidentChange]) -> Result<()> {
    let known = changes.iter().filter(|change| change.version.is_some());
    let ids: Vec<i64> = known.map(|change| change.state.id.0).collect();
    if !ids.is_empty() {
        lock_incidents(db, ids).await?;
    }
    Ok(())
}

/// Writes a state and its new events; `version` is `None` for a new incident.
pub(super) async fn save(
    db: &mut Connection,
    incident: &Incident,
    version: Option<i64>,
    events: &[Event],
    now: Timestamp,
) -> Result<()> {
    let sql = match version {
        None => {
            "INSERT INTO incidents (id, version, incident_key, is_open, status, severity, title, team, opened_at, resolved_at, wake_at, state, storm_id, in_question) \
             VALUES ($1, 1 + $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
        }
        Some(_) => {
            "UPDATE incidents SET version = version + 1, incident_key = $3, is_open = $4, status = $5, severity = $6, title = $7, \
             team = $8, opened_at = $9, resolved_at = $10, wake_at = $11, state = $12, storm_id = $13, in_question = $14 WHERE id = $1 AND version = $2"
        }
    };
    let blind = version.is_some() && is_away(Guard::Version);
    let written = query(if blind {
        sql.replace("AND version = $2", "AND $2 >= 0").into()
    } else {
        Cow::from(sql)
    })
    .bind(incident.id.0)
    .bind(version.unwrap_or(0))
    .bind_key(&incident.key)
    .bind(i64::from(incident.is_open()))
    .bind(incident.status.word())
    .bind(incident.severity.to_string())
    .bind(&incident.title)
    .bind(&incident.team)
    .bind(millis(incident.opened_at))
    .bind(incident.resolved_at.map(millis))
    .bind(incident.wake.due().map(millis))
    .bind(json(incident)?)
    .bind(incident.storm.as_ref().map(|place| place.storm.0))
    .bind(i64::from(incident.is_in_question()))
    .execute(&mut *db)
    .await;
    let rows = match written {
        // Another replica opened an incident with this key first.
        Err(error) if error.is_unique_violation() => 0,
        other => other?,
    };
    if rows == 0 {
        return Err(Error::Conflict);
    }
    // With a server the row has counted already, and locking it would make openings wait for each other.
    if let (None, Connection::Sqlite(_)) = (version, &*db) {
        numbers::follow(db, incident.id).await?;
    }
    let first = incident.seq - i64::try_from(events.len()).unwrap_or(0);
    for (offset, event) in (1..).zip(events) {
        let sql = "INSERT INTO timeline (incident_id, seq, at, event) VALUES ($1, $2, $3, $4)";
        let again = " ON CONFLICT (incident_id, seq) DO UPDATE SET event = excluded.event";
        query(if blind { format!("{sql}{again}").into() } else { Cow::from(sql) })
            .bind(incident.id.0)
            .bind(first + offset)
            .bind(millis(now))
            .bind(json(event)?)
            .execute(&mut *db)
            .await?;
    }
    Ok(())
}

impl Store {
    /// One incident.
    pub async fn incident(&self, id: IncidentId) -> Result<Option<Stored>> {
        let sql = "SELECT state, version FROM incidents WHERE id = $1";
        self.db.optional(query(sql).bind(id.0)).await?.map(stored).transpose()
    }

    /// The open incident with this key, else the one that resolved last.
    pub async fn incident_by_key(&self, key: &str) -> Result<Option<Stored>> {
        let sql = "SELECT state, version FROM incidents WHERE incident_key = $1 \
                   ORDER BY is_open DESC, id DESC LIMIT 1";
        self.db.optional(query(sql).bind_key(key)).await?.map(stored).transpose()
    }

    /// A page of the list, newest first.
    pub async fn incidents(&self, filter: Filter) -> Result<Vec<Summary>> {
        type Row = (i64, String, String, String, String, i64, Option<i64>, Option<i64>);
        let columns = "id, status, severity, title, team, opened_at, resolved_at, storm_id";
        // Each its own text: one condition for both would read every incident there ever was to find the few that are open.
        let (is_open, which) = match filter.open {
            Some(is_open) => (i64::from(is_open), "is_open = $1 AND id < $2"),
            None => (0, "id < $2 AND $1 = 0"),
        };
        let sql =
            format!("SELECT {columns} FROM incidents WHERE {which} ORDER BY id DESC LIMIT $3");
        let asked = query(sql)
            .bind(is_open)
            .bind(filter.before.unwrap_or(i64::MAX))
            .bind(filter.limit.clamp(1, 500));
        let rows: Vec<Row> = self.db.all(asked).await?;
        Ok(rows
            .into_iter()
            .map(|(id, status, severity, title, team, opened_at, resolved_at, storm)| Summary {
                id: IncidentId(id).to_string(),
                status,
                severity,
                title,
                team,
                opened_at: instant(opened_at),
                resolved_at: resolved_at.map(instant),
                storm: storm.map(|storm| IncidentId(storm).to_string()),
            })
            .collect())
    }

    /// The timeline after `after`, oldest first.
    pub async fn timeline(
        &self,
        id: IncidentId,
        after: i64,
        limit: i64,
    ) -> Result<Vec<(i64, Timestamp, Event)>> {
        let sql = "SELECT seq, at, event FROM timeline WHERE incident_id = $1 AND seq > $2 \
                   ORDER BY seq LIMIT $3";
        let asked = query(sql).bind(id.0).bind(after).bind(limit);
        let rows: Vec<(i64, i64, String)> = self.db.all(asked).await?;
        rows.into_iter().map(|(seq, at, text)| Ok((seq, instant(at), event(&text)?))).collect()
    }

    /// Incidents that should wake somebody but have no job that would: the wake-up invariant's violations.
    pub async fn without_wake_up(&self) -> Result<Vec<IncidentId>> {
        let sql = "SELECT i.id FROM incidents i \
                   LEFT JOIN jobs j ON j.incident_id = i.id AND j.kind = 'wake' \
                   WHERE i.wake_at IS NOT NULL AND j.id IS NULL ORDER BY i.id LIMIT 100";
        let ids: Vec<(i64,)> = self.db.all(query(sql)).await?;
        Ok(ids.into_iter().map(|(id,)| IncidentId(id)).collect())
    }

    /// Open P0 and P1 that nobody has and no storm speaks for: P0 first, then the oldest; at most `limit`.
    pub async fn unanswered(&self, limit: i64) -> Result<Vec<Incident>> {
        let sql = "SELECT state, version FROM incidents WHERE is_open = 1 AND status = 'triggered' AND severity IN ('P0', 'P1') \
                   AND storm_id IS NULL ORDER BY severity, id LIMIT $1";
        let rows: Vec<(String, i64)> = self.db.all(query(sql).bind(limit)).await?;
        Ok(readable(rows)?.into_iter().map(|stored| stored.incident).collect())
    }

    /// Incidents open now.
    pub async fn open_count(&self) -> Result<i64> {
        let sql = "SELECT count(*) FROM incidents WHERE is_open = 1";
        self.db.one(query(sql)).await.map(|(count,): (i64,)| count)
    }
}

/// What every version can read of a state.
#[derive(Deserialize)]
struct Written {
    id: IncidentId,
    format: u32,
}

pub(super) fn stored((state, version): (String, i64)) -> Result<Stored> {
    let unreadable = match from_json(&state) {
        Ok(incident) => return Ok(Stored { incident, version }),
        Err(error) => error,
    };
    match from_json(&state) {
        Ok(Written { id, format }) if format > incident::FORMAT => Err(Error::NewerIncident(id)),
        Ok(_) | Err(_) => Err(unreadable),
    }
}

/// Those that this version can read: a list is not lost for one of them.
pub(super) fn readable(rows: Vec<(String, i64)>) -> Result<Vec<Stored>> {
    let rows = rows.into_iter().map(stored);
    rows.filter(|row| !matches!(row, Err(Error::NewerIncident(_)))).collect()
}

/// An event of any version: what this one does not know has a name all the same, `"name"` or `{"name": …}`.
fn event(text: &str) -> Result<Event> {
    let unreadable = match from_json(text) {
        Ok(event) => return Ok(event),
        Err(error) => error,
    };
    let kind = match from_json(text) {
        Ok(Value::String(kind)) => Some(kind),
        Ok(Value::Object(of)) if of.len() == 1 => of.into_iter().next().map(|(kind, _)| kind),
        Ok(_) | Err(_) => None,
    };
    kind.map(|kind| Event::Newer { kind }).ok_or(unreadable)
}
