//! Pods that the recorder saw, and the ends of their logs. Written in batches, behind everything that pages or acks.

use super::{Connection, Result, Store, instant, millis, query};
use jiff::Timestamp;

/// Rows deleted in one transaction.
const PRUNE: i64 = 500;
/// Transactions of one round of pruning.
const ROUNDS: usize = 40;

/// One row: a pod's status (container "", restarts 0), or the log of one run of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodRow {
    /// The cluster's name in the configuration.
    pub cluster: String,
    /// The pod's unique id.
    pub uid: String,
    /// Container; empty for the pod itself.
    pub container: String,
    /// Restarts before this run.
    pub restarts: i64,
    /// Namespace.
    pub namespace: String,
    /// Pod name.
    pub name: String,
    /// `spark.app.id`.
    pub app_id: String,
    /// When the pod last changed.
    pub seen_at: Timestamp,
    /// When it was seen to be gone.
    pub gone_at: Option<Timestamp>,
    /// It has failed.
    pub failed: bool,
    /// A log that was read; a later row without one does not replace it.
    pub has_log: bool,
    /// How new it is: a row with a smaller one does not replace it, whoever writes it and when. For a pod its resource
    /// version, for a log when it was read.
    pub version: i64,
    /// JSON, masked.
    pub record: String,
}

/// Which pods to find.
#[derive(Clone, Copy, Debug)]
pub struct PodsOf<'a> {
    /// The cluster's name in the configuration.
    pub cluster: &'a str,
    /// Namespace; empty for all.
    pub namespace: &'a str,
    /// `spark.app.id`; empty for all.
    pub app_id: &'a str,
    /// Pod name; empty for all.
    pub name: &'a str,
    /// Only pods that changed since then.
    pub since: Timestamp,
    /// At most this many, newest first.
    pub limit: i64,
}

/// A pod's status as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPod {
    /// The pod's unique id.
    pub uid: String,
    /// When it last changed.
    pub seen_at: Timestamp,
    /// When it was seen to be gone.
    pub gone_at: Option<Timestamp>,
    /// JSON.
    pub record: String,
}

type Row = (String, i64, Option<i64>, String);

fn stored((uid, seen_at, gone_at, record): Row) -> StoredPod {
    StoredPod { uid, seen_at: instant(seen_at), gone_at: gone_at.map(instant), record }
}

async fn save(db: &mut Connection, row: &PodRow) -> Result<()> {
    let sql = "INSERT INTO pods (cluster, uid, container, restarts, namespace, name, app_id, seen_at, gone_at, failed, has_log, bytes, record, version) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) \
               ON CONFLICT (cluster, uid, container, restarts) DO UPDATE SET \
               namespace = excluded.namespace, name = excluded.name, app_id = excluded.app_id, seen_at = excluded.seen_at, \
               gone_at = excluded.gone_at, failed = excluded.failed, has_log = excluded.has_log, bytes = excluded.bytes, record = excluded.record, \
               version = excluded.version \
               WHERE excluded.has_log > pods.has_log OR (excluded.has_log = pods.has_log AND excluded.version >= pods.version)";
    // What a row takes beside its text: the other columns and its places in the indexes.
    let bytes = i64::try_from(row.record.len()).unwrap_or(i64::MAX).saturating_add(400);
    query(sql)
        .bind_key(&row.cluster)
        .bind_key(&row.uid)
        .bind_key(&row.container)
        .bind(row.restarts)
        .bind_key(&row.namespace)
        .bind_key(&row.name)
        .bind_key(&row.app_id)
        .bind(millis(row.seen_at))
        .bind(row.gone_at.map(millis))
        .bind(i64::from(row.failed))
        .bind(i64::from(row.has_log))
        .bind(bytes)
        .bind(&row.record)
        .bind(row.version)
        .execute(db)
        .await?;
    Ok(())
}

impl Store {
    /// Adds or replaces rows in one transaction, behind all other writes.
    pub async fn save_pods(&self, rows: Vec<PodRow>) -> Result<()> {
        let write = self.db.write_last(move |db| {
            Box::pin(async move {
                for row in &rows {
                    save(db, row).await?;
                }
                Ok(())
            })
        });
        write.await
    }

    /// Pods, newest first. Asked by application or by name, the namespace is not looked at.
    pub async fn recorded_pods(&self, of: PodsOf<'_>) -> Result<Vec<StoredPod>> {
        // One text for each index: a condition with OR would use none of them.
        let (sql, by) = match (of.app_id, of.name) {
            ("", "") if of.namespace.is_empty() => (
                "SELECT uid, seen_at, gone_at, record FROM pods WHERE cluster = $1 AND container = '' AND seen_at >= $2 AND $4 = '' \
                 ORDER BY seen_at DESC LIMIT $3",
                "",
            ),
            ("", "") => (
                "SELECT uid, seen_at, gone_at, record FROM pods WHERE cluster = $1 AND container = '' AND seen_at >= $2 AND namespace = $4 \
                 ORDER BY seen_at DESC LIMIT $3",
                of.namespace,
            ),
            ("", name) => (
                "SELECT uid, seen_at, gone_at, record FROM pods WHERE cluster = $1 AND container = '' AND seen_at >= $2 AND name = $4 \
                 ORDER BY seen_at DESC LIMIT $3",
                name,
            ),
            (app_id, _) => (
                "SELECT uid, seen_at, gone_at, record FROM pods WHERE cluster = $1 AND container = '' AND seen_at >= $2 AND app_id = $4 \
                 ORDER BY seen_at DESC LIMIT $3",
                app_id,
            ),
        };
        let asked = query(sql).bind_key(of.cluster).bind(millis(of.since)).bind(of.limit);
        let rows: Vec<Row> = self.db.all(asked.bind_key(by)).await?;
        Ok(rows.into_iter().map(stored).collect())
    }

    /// The logs of one pod: container, restarts, JSON.
    pub async fn recorded_logs(
        &self,
        cluster: &str,
        uid: &str,
    ) -> Result<Vec<(String, i64, String)>> {
        let sql = "SELECT container, restarts, record FROM pods WHERE cluster = $1 AND uid = $2 AND container <> '' ORDER BY container, restarts LIMIT 100";
        self.db.all(query(sql).bind_key(cluster).bind_key(uid)).await
    }

    /// Pods of a cluster that existed when they were last seen, newest first.
    pub async fn live_recorded_pods(&self, cluster: &str, limit: i64) -> Result<Vec<StoredPod>> {
        let sql = "SELECT uid, seen_at, gone_at, record FROM pods WHERE cluster = $1 AND container = '' AND gone_at IS NULL ORDER BY seen_at DESC LIMIT $2";
        let rows: Vec<Row> = self.db.all(query(sql).bind_key(cluster).bind(limit)).await?;
        Ok(rows.into_iter().map(stored).collect())
    }

    /// How many rows of pods there are, and their bytes.
    pub async fn recorded_size(&self) -> Result<(i64, i64)> {
        let sql = "SELECT count(*), CAST(coalesce(sum(bytes), 0) AS BIGINT) FROM pods";
        self.db.one(query(sql).at_length()).await
    }

    /// Deletes what is older than `before`, then the oldest until at most `max_bytes` are left; in small transactions,
    /// behind all other writes. Returns how many rows went; one call deletes a bounded number.
    pub async fn prune_pods(&self, before: Timestamp, max_bytes: u64) -> Result<u64> {
        let mut gone = 0;
        for _ in 0..ROUNDS {
            let (_, bytes) = self.recorded_size().await?;
            let over = u64::try_from(bytes).unwrap_or(0) > max_bytes;
            let limit = if over { Timestamp::MAX } else { before };
            // A step's worth, so that little more goes than must.
            let rows = if over { PRUNE / 10 } else { PRUNE };
            let deleted = self.delete_oldest(limit, rows).await?;
            gone += deleted;
            if deleted == 0 || (!over && deleted < u64::try_from(rows).unwrap_or(0)) {
                break;
            }
        }
        Ok(gone)
    }

    async fn delete_oldest(&self, before: Timestamp, rows: i64) -> Result<u64> {
        let before = millis(before);
        let write = self.db.write_last(move |db| {
            Box::pin(async move {
                let sql = "DELETE FROM pods WHERE (cluster, uid, container, restarts) IN \
                           (SELECT cluster, uid, container, restarts FROM pods WHERE seen_at < $1 ORDER BY seen_at, uid LIMIT $2)";
                Ok(query(sql).bind(before).bind(rows).execute(db).await?)
            })
        });
        write.await
    }
}
