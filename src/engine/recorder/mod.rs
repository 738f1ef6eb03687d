//! The evidence recorder: what was seen of pods that will be gone when somebody asks.
//!
//! Executors are deleted as soon as they fail, and their status, exit code, events and log with them, long before an alert
//! fires. So every cluster with Kubernetes access is watched all the time: [`watching`] feeds the pure [`index`], [`reading`]
//! reads and follows the logs it wants, [`writing`] stores what it holds. Steps ask through `steps::Memory`.
//!
//! Trouble never stops the daemon: a watch or log that is refused is said once in the log, and stays in `/readyz`, in the
//! metrics and on the cards that it concerns until it works again.
//!
//! Of several replicas each watches and holds what it saw; the one whose turn it is ([`leading`]) reads logs and writes.
//! What is not stored stays marked, so a replica that takes the lead stores what it saw meanwhile.

mod index;
mod leading;
mod log;
mod order;
mod reading;
mod record;
mod stored;
mod watching;
mod writing;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

pub use self::index::Counts;
use self::{
    index::{Index, Limits},
    stored::{StoredLog, StoredPod},
};
use crate::{
    clients::{self, Clusters, kube},
    config,
    ops::{clock::Clock, lifecycle::Tasks, metrics as names},
    steps::recorded::{MAX_PODS, Recall, Recorded, RecordedPod},
    store::{PodsOf, Store},
};

/// Pods held in memory, per cluster.
const PODS: usize = 10_000;
/// Spark's drivers and executors.
const SPARK: &str = "spark-role in (driver,executor)";
/// Pods whose stored logs are read for one question.
const MAX_WITH_LOGS: usize = 40;

/// The recorder of all clusters; cheap to clone.
#[derive(Clone)]
pub struct Recorder(Arc<Inner>);

struct Inner {
    sites: BTreeMap<String, Arc<Site>>,
    settings: config::Recorder,
    store: Store,
    clock: Clock,
    /// This process, as leases name it.
    owner: String,
}

/// What is kept of one cluster.
struct Site {
    cluster: String,
    /// The name of its turn; no source has a slash in its name.
    turn: String,
    kube: kube::Client,
    index: Mutex<Index>,
    /// Namespace and label selector of each watch of pods.
    watches: Vec<(String, String)>,
    /// Namespace of each watch of events.
    namespaces: Vec<String>,
    to_read: Notify,
    to_follow: Notify,
    to_store: Notify,
    /// What does not work now, and why.
    troubles: Mutex<BTreeMap<String, String>>,
}

impl Recorder {
    /// For every cluster with Kubernetes access; nothing runs yet.
    pub fn new(
        settings: &config::Recorder,
        clusters: &Clusters,
        store: Store,
        clock: Clock,
        owner: String,
    ) -> Self {
        let with_access = clusters.iter().filter_map(|cluster| {
            let kube = cluster.kube.clone()?;
            Some((cluster.name.clone(), Arc::new(Site::new(&cluster.name, kube, settings))))
        });
        let (sites, settings) = (with_access.collect(), settings.clone());
        Self(Arc::new(Inner { sites, settings, store, clock, owner }))
    }

    /// Starts watching, reading and writing.
    pub fn start(&self, tasks: &Tasks) {
        for site in self.0.sites.values() {
            let (recorder, site, tasks_of_site) = (self.clone(), Arc::clone(site), tasks.clone());
            tasks.spawn("engine.recorder", async move {
                // First what an earlier process saw: the first list says what of it is gone.
                recorder.restore(&site).await;
                // And whose turn it is, so that what another replica stores is not counted as lost here.
                if let Err(error) = recorder.leads(&site).await {
                    tracing::warn!(%error, "whose turn it is to record is not known yet");
                }
                recorder.watch_all(&site, &tasks_of_site);
                recorder.read_all(&site, &tasks_of_site);
                recorder.write_all(&site, &tasks_of_site);
                Ok(())
            });
        }
    }

    /// What is known of these pods, from memory and from the store.
    pub async fn recall(&self, asked: &Recall) -> Recorded {
        let Some(site) = self.0.sites.get(&asked.cluster) else { return Recorded::default() };
        let mut pods = site.with(|index| index.recall(asked, MAX_WITH_LOGS));
        // A log that cannot be read takes nothing from the pods.
        let of_logs = |what: &str| what == reading::LOGS;
        let mut troubles: Vec<String> = site
            .lock_troubles()
            .iter()
            .filter(|(what, _)| asked.logs || !of_logs(what))
            .map(|(_, said)| said.clone())
            .collect();
        if let Err(error) = self.recall_stored(site, asked, &mut pods).await {
            troubles.push(format!("the store did not answer: {error}"));
        }
        pods.sort_by_key(|pod| std::cmp::Reverse(pod.seen));
        pods.truncate(MAX_PODS);
        let trouble = (!troubles.is_empty()).then(|| troubles.join("; "));
        Recorded { pods, trouble }
    }

    async fn recall_stored(
        &self,
        site: &Site,
        asked: &Recall,
        pods: &mut Vec<RecordedPod>,
    ) -> crate::store::Result<()> {
        let store = &self.0.store;
        let of = PodsOf {
            cluster: &asked.cluster,
            namespace: &asked.namespace,
            app_id: &asked.app_id,
            name: &asked.name,
            since: asked.since.unwrap_or(Timestamp::UNIX_EPOCH),
            limit: i64::try_from(MAX_PODS).unwrap_or(i64::MAX),
        };
        for row in store.recorded_pods(of).await? {
            if site.with(|index| index.has(&row.uid)) {
                continue;
            }
            let stored: StoredPod = crate::store::from_json(&row.record)?;
            let record = stored.into_record(&row.uid, row.seen_at, row.gone_at);
            if asked.holds(&record.pod, record.seen) {
                pods.push(record.shown(false));
            }
        }
        if !asked.logs {
            return Ok(());
        }
        pods.sort_by_key(|pod| std::cmp::Reverse(pod.seen));
        for pod in pods.iter_mut().take(MAX_WITH_LOGS) {
            for (container, restarts, json) in
                store.recorded_logs(&asked.cluster, &pod.pod.uid).await?
            {
                let restarts = i32::try_from(restarts).unwrap_or(i32::MAX);
                let stored: StoredLog = crate::store::from_json(&json)?;
                let stored = stored.into_shown(container, restarts);
                let same = |log: &&mut crate::steps::recorded::RecordedLog| {
                    log.container == stored.container && log.restarts == restarts
                };
                match pod.logs.iter_mut().find(same) {
                    // Whoever leads may have read more of it than we have.
                    Some(known) if known.text.is_empty() || stored.is_newer_than(known) => {
                        *known = stored;
                    }
                    Some(_) => {}
                    None => pod.logs.push(stored),
                }
            }
        }
        Ok(())
    }

    /// Deletes what is too old or too much.
    pub async fn prune(&self) -> anyhow::Result<()> {
        let keep =
            SignedDuration::try_from(self.0.settings.keep.get()).unwrap_or(SignedDuration::MAX);
        let store = &self.0.store;
        let before = store.now().saturating_sub(keep).unwrap_or(Timestamp::UNIX_EPOCH);
        let gone = store.prune_pods(before, self.0.settings.max_bytes.get()).await?;
        if gone > 0 {
            tracing::info!(rows = gone, "old evidence of pods was deleted");
        }
        let (_, bytes) = store.recorded_size().await?;
        #[allow(clippy::cast_precision_loss, reason = "bytes far below 2^52")]
        metrics::gauge!(names::RECORDER_STORED_BYTES).set(bytes as f64);
        Ok(())
    }

    /// Sets the gauges and counters of all clusters.
    pub fn set_gauges(&self) {
        #[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
        let float = |count: usize| count as f64;
        let now = self.0.clock.now();
        for site in self.0.sites.values() {
            let counts = site.with(|index| index.counts());
            let unsaved_since = counts.unsaved_since.filter(|_| counts.leads);
            let lag = unsaved_since.map_or(0.0, |at| now.duration_since(at).as_secs_f64());
            for (name, value) in [
                (names::RECORDER_PODS, float(counts.pods)),
                (names::RECORDER_BYTES, float(counts.bytes)),
                (names::RECORDER_STREAMS, float(counts.streams)),
                (names::RECORDER_UNREAD, float(counts.unread)),
                (names::RECORDER_WRITE_LAG, lag.max(0.0)),
                (names::RECORDER_TROUBLES, float(site.troubles().len())),
                (names::RECORDER_LEADS, f64::from(u8::from(counts.leads))),
            ] {
                metrics::gauge!(name, "cluster" => site.cluster.clone()).set(value);
            }
            for (name, value) in [
                (names::RECORDER_RELISTS, counts.relists),
                (names::RECORDER_UNREADABLE, counts.unreadable),
                (names::RECORDER_DROPPED, counts.dropped),
            ] {
                metrics::counter!(name, "cluster" => site.cluster.clone()).absolute(value);
            }
            for (outcome, value) in [("kept", counts.kept), ("lost", counts.lost)] {
                let cluster = site.cluster.clone();
                metrics::counter!(names::RECORDER_LOGS, "cluster" => cluster, "outcome" => outcome)
                    .absolute(value);
            }
        }
    }

    /// What does not work now: one line each, with the cluster.
    pub fn troubles(&self) -> Vec<String> {
        let sites = self.0.sites.values();
        let said = sites.flat_map(|site| {
            let cluster = site.cluster.clone();
            site.troubles().into_iter().map(move |said| format!("cluster {cluster}: {said}"))
        });
        said.collect()
    }

    /// Numbers of one cluster; zero for one that is not recorded.
    pub fn counts(&self, cluster: &str) -> Counts {
        self.0.sites.get(cluster).map(|site| site.with(|i| i.counts())).unwrap_or_default()
    }
}

impl Site {
    fn new(cluster: &str, kube: kube::Client, settings: &config::Recorder) -> Self {
        let namespaces = match settings.namespaces.as_slice() {
            [] => vec![String::new()],
            named => named.to_vec(),
        };
        let selectors =
            || std::iter::once(SPARK).chain(settings.selectors.iter().map(String::as_str));
        let watches: Vec<(String, String)> = namespaces
            .iter()
            .flat_map(|namespace| selectors().map(|s| (namespace.clone(), s.to_owned())))
            .collect();
        let limits = Limits {
            pods: PODS,
            bytes: usize::try_from(settings.max_memory.get()).unwrap_or(usize::MAX),
            streams: settings.max_streams as usize,
            follow: settings.follow,
        };
        Self {
            cluster: cluster.to_owned(),
            turn: format!("recorder/{cluster}"),
            kube,
            index: Mutex::new(Index::new(limits, watches.len())),
            watches,
            namespaces,
            to_read: Notify::new(),
            to_follow: Notify::new(),
            to_store: Notify::new(),
            troubles: Mutex::default(),
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Index) -> T) -> T {
        work(&mut self.index.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn lock_troubles(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn troubles(&self) -> Vec<String> {
        self.lock_troubles().values().cloned().collect()
    }

    /// Something does not work: said once, and kept until it works.
    fn troubled(&self, what: &str, error: &clients::Error) {
        let said = error.to_string();
        let before = self.lock_troubles().insert(what.to_owned(), said.clone());
        if before.as_ref() == Some(&said) {
            return;
        }
        let cluster = &self.cluster;
        if error.kind == clients::Kind::Denied {
            tracing::error!(
                cluster,
                "the recorder {said}. Evidence of pods that are deleted will be missing"
            );
        } else if before.is_none() {
            tracing::warn!(cluster, "the recorder {said}; it tries again");
        }
    }

    /// It works again, or still.
    fn works(&self, what: &str) {
        if self.lock_troubles().remove(what).is_some() {
            tracing::info!(cluster = self.cluster, what, "the recorder works again");
        }
    }
}
