//! Runs and the evidence of their steps.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Connection, Result, Store, from_json, json, millis, query};
use crate::domain::{evidence::Evidence, ids::IncidentId, target::Target, verdict::Verdict};

/// A run that ends began at most this long ago, whatever stopped in between; beyond it nobody counts it.
const LONGEST: SignedDuration = SignedDuration::from_hours(24);

/// Whether a run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Steps remain.
    Running,
    /// It ended.
    Ended,
}

/// One execution of a playbook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// `<incident>/<opening>/<playbook>/<target key>`: one run each.
    pub id: String,
    /// Its incident.
    pub incident: IncidentId,
    /// Playbook name.
    pub playbook: String,
    /// SHA-256 of its file, hex.
    pub digest: String,
    /// Which opening of the incident.
    pub opening: i64,
    /// What it is about; `None`: the alert itself.
    pub target: Option<Target>,
    /// Cluster name, from the alert or its source.
    pub cluster: String,
    /// Whether it goes on.
    pub state: RunState,
    /// When it began.
    pub started_at: Timestamp,
    /// When it must end; a resumed run gets one fresh deadline.
    pub deadline: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// `labels`, `annotations` and `alerts` as its steps see them; redacted.
    pub scope: serde_json::Value,
    /// Best first, once ended.
    pub verdicts: Vec<Verdict>,
    /// What a reader must know, once ended.
    pub caveats: Vec<String>,
}

pub(super) async fn save(db: &mut Connection, run: &Run) -> Result<()> {
    let sql = "INSERT INTO runs (id, incident_id, playbook, opening, state, started_at, ended_at, run, target_key, verdict) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
               ON CONFLICT (id) DO UPDATE SET state = excluded.state, ended_at = excluded.ended_at, run = excluded.run, \
               verdict = excluded.verdict";
    query(sql)
        .bind_key(&run.id)
        .bind(run.incident.0)
        .bind(&run.playbook)
        .bind(run.opening)
        .bind(match run.state {
            RunState::Running => "running",
            RunState::Ended => "ended",
        })
        .bind(millis(run.started_at))
        .bind(run.ended_at.map(millis))
        .bind(json(run)?)
        .bind_key(&run.target.as_ref().map(Target::key).unwrap_or_default())
        .bind_key(run.verdicts.first().map_or("", |best| best.id.as_str()))
        .execute(db)
        .await?;
    Ok(())
}

pub(super) async fn save_step(
    db: &mut Connection,
    run: &str,
    evidence: &Evidence,
    now: Timestamp,
) -> Result<()> {
    let sql = "INSERT INTO steps (run_id, step, ended_at, evidence) VALUES ($1, $2, $3, $4) \
               ON CONFLICT (run_id, step) DO UPDATE SET ended_at = excluded.ended_at, evidence = excluded.evidence";
    query(sql)
        .bind_key(run)
        .bind_key(&evidence.step)
        .bind(millis(now))
        .bind(json(evidence)?)
        .execute(db)
        .await?;
    Ok(())
}

impl Store {
    /// One run.
    pub async fn run(&self, id: &str) -> Result<Option<Run>> {
        let sql = "SELECT run FROM runs WHERE id = $1";
        let row: Option<(String,)> = self.db.optional(query(sql).bind_key(id)).await?;
        row.map(|(run,)| from_json(&run)).transpose()
    }

    /// Runs of an incident, oldest first.
    pub async fn runs(&self, incident: IncidentId) -> Result<Vec<Run>> {
        let sql = "SELECT run FROM runs WHERE incident_id = $1 ORDER BY started_at, id LIMIT 200";
        let rows: Vec<(String,)> = self.db.all(query(sql).bind(incident.0)).await?;
        rows.iter().map(|(run,)| from_json(run)).collect()
    }

    /// Finished steps of a run, by step instance.
    pub async fn steps(&self, run: &str) -> Result<BTreeMap<String, Evidence>> {
        let sql = "SELECT step, evidence FROM steps WHERE run_id = $1";
        let rows: Vec<(String, String)> = self.db.all(query(sql).bind_key(run)).await?;
        rows.into_iter().map(|(step, evidence)| Ok((step, from_json(&evidence)?))).collect()
    }

    /// Incidents since `since` whose runs ended with this verdict first, by distinct target; for platform-wide user errors.
    pub async fn targets_with_verdict(&self, verdict: &str, since: Timestamp) -> Result<i64> {
        // Asked by their start, because that has an index.
        let started = since.saturating_sub(LONGEST).unwrap_or(Timestamp::MIN);
        let sql = "SELECT run FROM runs WHERE verdict = $1 AND started_at >= $2 AND state = 'ended' AND ended_at >= $3 \
                   ORDER BY started_at DESC LIMIT 1000";
        let asked = query(sql).bind_key(verdict).bind(millis(started)).bind(millis(since));
        let rows: Vec<(String,)> = self.db.all(asked).await?;
        let mut targets = std::collections::BTreeSet::new();
        for (run,) in rows {
            let run: Run = from_json(&run)?;
            targets.insert(run.target.map(|t| t.key()).unwrap_or(run.incident.to_string()));
        }
        Ok(i64::try_from(targets.len()).unwrap_or(i64::MAX))
    }
}
