//! Two replicas on one PostgreSQL: both watch, one reads the logs and stores, and the other goes on without a gap.
//!
//! Each has a clock of its own, so that one can stand still: to the store and to the other it is dead or frozen.

use super::*;
use crate::store::backend;

/// Two replicas that watch one cluster; the first leads.
struct Two {
    first: Rig,
    second: TestApp,
    url: String,
}

impl Two {
    async fn new() -> Self {
        let (url, tasks) = (backend::database(), Tasks::default());
        let clock = || Clock::manual(START.parse().unwrap());
        let cluster = apiserver::Cluster::new(&clock().0);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = ApiServer::on(listener, &tasks, cluster.clone()).unwrap();
        let replica =
            async || TestApp::on(Some(&url), clock(), "", &[], vec![access(&server)]).await;
        let (app, second) = (replica().await, replica().await);
        let expected = Expected(cluster.clone());
        let first = Rig { app, cluster, tasks, expected };
        first.app.engine.recorder.start(&first.app.tasks);
        // It has its turn before it watches.
        first.until("the first watches", |rig| rig.watches() >= 2).await;
        second.engine.recorder.start(&second.tasks);
        first.until("the second watches", |rig| rig.watches() >= 4).await;
        let two = Self { first, second, url };
        assert_eq!((two.first.counts().leads, two.counts().leads), (true, false));
        two
    }

    /// Numbers of the second one.
    fn counts(&self) -> Counts {
        self.second.engine.recorder.counts("prod")
    }

    /// An executor is killed; with an event, and a last word in its log.
    fn kill(&self, name: &str) {
        let cluster = &self.first.cluster;
        say(cluster, name, "executor", "INFO last words");
        cluster.put(killed(name, "executor")).unwrap();
        cluster.put(event(name, &format!("of-{name}"), "Killing", "Stopping")).unwrap();
    }

    /// The second one's time passes, and it looks.
    async fn passes(&self, millis: u64) {
        self.second.advance(Duration::from_millis(millis));
        self.second.engine.recorder.flush().await.unwrap();
    }

    /// What the store has of pods, as `name exit-code events log`.
    fn stored(&self) -> String {
        backend::sql(
            &self.url,
            "SELECT p.name || ' ' || coalesce(p.record::json #>> '{pod,containers,0,exit_code}', '-') || ' ' \
               || json_array_length(p.record::json -> 'events') || ' ' || coalesce(l.record::json ->> 'text', '-') \
             FROM pods p LEFT JOIN pods l ON l.uid = p.uid AND l.container <> '' WHERE p.container = '' ORDER BY 1",
        )
        .replace("\n\n", "\n")
        .trim()
        .to_owned()
    }
}

#[tokio::test]
async fn one_replica_reads_and_stores_and_the_other_only_watches() {
    let two = Two::new().await;
    two.kill("exec-1");
    let seen = |two: &Two| two.first.counts().kept == 1 && two.counts().pods == 1;
    two.first.until("the log is read", |_| seen(&two)).await;
    let events = async || two.first.recall("exec-1").await.is_some_and(|p| p.events.len() == 1);
    two.first.becomes("the event is seen", false, events).await;
    assert!(two.first.cluster.delete("pods", "spark-prod", "exec-1"));
    two.first.gone("exec-1").await;
    two.first.app.pump_until_quiet().await;
    two.second.pump_until_quiet().await;
    assert_eq!(two.stored(), "exec-1 137 1 INFO last words");
    let second = two.counts();
    assert_eq!((second.kept, second.lost, second.batches, second.leads), (0, 0, 0, false));
    let reads = |request: &String| request.contains("/log");
    assert_eq!(two.first.cluster.requests().iter().filter(|r| reads(r)).count(), 1);
    // Asked there, it has the log from the store.
    let asked = Recall {
        cluster: "prod".to_owned(),
        name: "exec-1".to_owned(),
        logs: true,
        ..Recall::default()
    };
    let known = two.second.engine.recorder.recall(&asked).await.pods.remove(0);
    assert_eq!(known.logs[0].text, "INFO last words\n");
}

#[tokio::test]
async fn a_dead_leaders_evidence_is_stored_by_the_next_one_within_seconds() {
    let two = Two::new().await;
    // The first one reads, but its time stands still before it stores.
    two.kill("exec-1");
    two.kill("exec-2");
    two.first.until("the logs are read", |rig| rig.counts().kept == 2).await;
    assert!(two.first.cluster.delete("pods", "spark-prod", "exec-1"));
    two.first.until("the second sees both", |_| two.counts().pods == 2).await;
    two.passes(3_999).await;
    assert_eq!((two.counts().leads, two.stored()), (false, String::new()));
    two.passes(1).await;
    assert!(two.counts().leads, "a turn that was not renewed is over after 4 s");
    two.kill("exec-3");
    let read = |two: &Two| two.counts().kept == 2;
    two.first.until("it reads what is still there and what comes", |_| read(&two)).await;
    let all = "exec-1 137 1 \nexec-2 137 1 INFO last words\nexec-3 137 1 INFO last words";
    let stored = async || {
        two.passes(1).await;
        two.stored() == all
    };
    two.first.becomes("all is stored", false, stored).await;
}

#[tokio::test]
async fn a_leader_that_was_frozen_stores_nothing_until_the_other_one_stops() {
    let two = Two::new().await;
    two.kill("exec-1");
    two.first.until("the log is read", |rig| rig.counts().kept == 1).await;
    two.first.until("the second sees it", |_| two.counts().pods == 1).await;
    two.passes(4_000).await;
    two.first.until("it is taken over", |_| two.counts().kept == 1).await;
    two.passes(1).await;
    let stored = two.stored();
    // It wakes with its hands full.
    assert!(two.first.counts().unsaved > 0);
    two.first.app.advance(Duration::from_secs(5));
    two.first.app.engine.recorder.flush().await.unwrap();
    let first = two.first.counts();
    assert_eq!((first.leads, first.batches), (false, 0));
    assert_eq!(two.stored(), stored);
    // An orderly stop gives the turn up: no time passes.
    assert_eq!(two.second.tasks.shut_down(Duration::from_secs(30)).await, None);
    two.first.app.engine.recorder.flush().await.unwrap();
    assert_eq!((two.first.counts().leads, two.first.counts().unsaved), (true, 0));
    assert_eq!(two.stored(), "exec-1 137 1 INFO last words");
}

#[tokio::test]
async fn a_store_that_is_away_stops_neither_watching_nor_reading() {
    let two = Two::new().await;
    for table in ["leases", "pods"] {
        backend::sql(&two.url, &format!("ALTER TABLE {table} RENAME TO {table}_away"));
    }
    two.kill("exec-1");
    let troubled = |rig: &Rig| !rig.app.engine.recorder.troubles().is_empty();
    two.first.until_later("it is said", |rig| rig.counts().kept == 1 && troubled(rig)).await;
    two.first.until("the second sees it", |_| two.counts().pods == 1).await;
    for table in ["leases", "pods"] {
        backend::sql(&two.url, &format!("ALTER TABLE {table}_away RENAME TO {table}"));
    }
    two.first.until_later("it is stored", |rig| rig.counts().unsaved == 0 && !troubled(rig)).await;
    assert_eq!((two.first.counts().leads, two.counts().leads), (true, false));
    assert_eq!(two.stored(), "exec-1 137 1 INFO last words");
}

#[tokio::test]
async fn a_leader_that_stops_stores_what_it_followed_to_the_last_line() {
    let two = Two::new().await;
    let cluster = &two.first.cluster;
    cluster.put(running("etl-driver", "driver")).unwrap();
    say(cluster, "etl-driver", "driver", "INFO first");
    let followed = async |line: &str| {
        let known = two.first.recall("etl-driver").await;
        known.is_some_and(|pod| pod.logs.first().is_some_and(|log| log.text.contains(line)))
    };
    two.first.becomes("it is followed", false, async || followed("first").await).await;
    two.first.app.engine.recorder.flush().await.unwrap();
    assert_eq!(two.stored(), "etl-driver - 0 INFO first");
    // Stored a moment ago, so this line would wait for a minute.
    say(cluster, "etl-driver", "driver", "ERROR last");
    two.first.becomes("the last line is there", false, async || followed("last").await).await;
    two.first.app.engine.recorder.flush().await.unwrap();
    assert_eq!(two.stored(), "etl-driver - 0 INFO first");
    assert_eq!(two.first.app.tasks.shut_down(Duration::from_secs(30)).await, None);
    assert_eq!(two.stored(), "etl-driver - 0 INFO first\nERROR last");
}
