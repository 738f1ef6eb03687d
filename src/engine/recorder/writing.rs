//! Stores what the index holds, in batches, and takes up what an earlier process stored.

use std::{sync::Arc, time::Duration};

use serde_json::Value;

use super::{
    PODS, Recorder, Site,
    index::Index,
    leading::LOOK,
    stored::{Body, Row, StoredPod},
};
use crate::{
    clients::{Error, Kind},
    domain::redact::redact_json,
    ops::lifecycle::{self, Tasks},
    store::PodRow,
};

/// Rows and bytes of one commit: small, so that a page never waits long for it.
const ROWS: usize = 250;
const BYTES: usize = 1024 * 1024;
/// How long changes are gathered before a commit.
const GATHER: Duration = Duration::from_millis(250);
/// The name of the trouble with the store.
const STORE: &str = "store";

impl Recorder {
    /// Takes up what an earlier process stored of pods that existed then.
    pub(super) async fn restore(&self, site: &Site) {
        let limit = i64::try_from(PODS / 2).unwrap_or(i64::MAX);
        let rows = match self.0.store.live_recorded_pods(&site.cluster, limit).await {
            Ok(rows) => rows,
            Err(error) => {
                return tracing::warn!(%error, "what was recorded before the start is not taken up");
            }
        };
        let records = rows.into_iter().filter_map(|row| {
            let stored: StoredPod = serde_json::from_str(&row.record).ok()?;
            Some(stored.into_record(&row.uid, row.seen_at, row.gone_at))
        });
        let records: Vec<_> = records.collect();
        site.with(|index| index.restore(records));
    }

    /// Starts the writer of a cluster.
    pub(super) fn write_all(&self, site: &Arc<Site>, tasks: &Tasks) {
        let (recorder, site, stop) = (self.clone(), Arc::clone(site), tasks.stop().clone());
        tasks.spawn("engine.recorder.store", async move {
            loop {
                // Whoever does not lead only looks whether its turn has come.
                tokio::select! {
                    () = site.to_store.notified(), if site.with(|index| index.leads()) => {}
                    () = recorder.0.clock.sleep(LOOK) => {}
                    () = stop.draining.cancelled() => {}
                }
                tokio::select! {
                    () = recorder.0.clock.sleep(GATHER) => {}
                    () = stop.draining.cancelled() => {}
                }
                let last = stop.draining.is_cancelled();
                if last {
                    let now = recorder.0.clock.now();
                    site.with(|index| index.end_streams(now));
                }
                if let Err(error) = recorder.flush_one(&site).await {
                    let error =
                        Error::new(Kind::Refused, "store evidence of pods", error.to_string());
                    site.troubled(STORE, &error);
                    tokio::select! {
                        () = recorder.0.clock.sleep(LOOK) => {}
                        () = stop.draining.cancelled() => {}
                    }
                    site.to_store.notify_one();
                }
                if last {
                    break;
                }
            }
            // Another replica goes on at once; without this, when our turn ends by itself.
            drop(recorder.0.store.end_turns(&recorder.0.owner).await);
            Ok(())
        });
    }

    /// Stores everything that is not stored yet.
    pub async fn flush(&self) -> crate::store::Result<()> {
        for site in self.0.sites.values() {
            self.flush_one(site).await?;
        }
        Ok(())
    }

    async fn flush_one(&self, site: &Arc<Site>) -> crate::store::Result<()> {
        // What changes meanwhile waits for the next turn: a storm cannot keep this one going for ever.
        let mut left = site.with(|index| index.counts().unsaved);
        // Asked before each batch: a process that was frozen finds here that another one has taken over.
        while self.leads(site).await? && left > 0 {
            let rows = site.with(|index| index.unsaved(ROWS, BYTES));
            let pods = rows.iter().filter(|row| row.key.container.is_empty()).count();
            if pods == 0 {
                break;
            }
            left = left.saturating_sub(pods);
            let cluster = site.cluster.clone();
            let masked = lifecycle::blocking(move || {
                let stored = rows.iter().map(|row| stored(&cluster, row)).collect();
                (rows, stored)
            });
            let (rows, stored): (Vec<Row>, Vec<PodRow>) =
                masked.await.map_err(|error| crate::store::Error::Failed(error.to_string()))?;
            self.0.store.save_pods(stored).await?;
            let now = self.0.clock.now();
            site.with(|index: &mut Index| index.saved(&rows, now));
        }
        site.works(STORE);
        Ok(())
    }
}

fn stored(cluster: &str, row: &Row) -> PodRow {
    let (value, has_log, version) = match &row.body {
        Body::Pod(pod) => (serde_json::to_value(pod), false, pod.version()),
        Body::Log(log) => (serde_json::to_value(log), log.was_read(), log.version()),
    };
    let mut value = value.unwrap_or(Value::Null);
    redact_json(&mut value);
    PodRow {
        cluster: cluster.to_owned(),
        uid: row.key.uid.clone(),
        container: row.key.container.clone(),
        restarts: i64::from(row.key.restarts),
        namespace: row.namespace.clone(),
        name: row.name.clone(),
        app_id: row.app_id.clone(),
        seen_at: row.seen,
        gone_at: row.gone,
        failed: row.failed,
        has_log,
        version,
        record: value.to_string(),
    }
}
