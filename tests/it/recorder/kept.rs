//! What is kept of pods: through deletion, restarts of the daemon, forgotten versions and hostile content.

use super::*;

#[tokio::test]
async fn an_executor_killed_and_deleted_keeps_status_events_and_log() {
    let rig = Rig::new("").await;
    rig.cluster.put(running("exec-1", "executor")).unwrap();
    say(&rig.cluster, "exec-1", "executor", "INFO last words");
    rig.cluster.put(killed("exec-1", "executor")).unwrap();
    rig.cluster.put(event("exec-1", "e1", "Killing", "Stopping container")).unwrap();
    rig.until("the log is read", |rig| rig.counts().kept == 1).await;
    assert!(rig.cluster.delete("pods", "spark-prod", "exec-1"));
    rig.cluster.put(event("exec-1", "e2", "Late", "said after its end")).unwrap();
    let events = async || rig.recall("exec-1").await.unwrap().events.len();
    rig.becomes("both events are there", false, async || events().await == 2).await;
    rig.gone("exec-1").await;
    let known = rig.recall("exec-1").await.unwrap();
    assert_eq!(known.pod.containers[0].exit_code, Some(137));
    assert_eq!(
        (known.pod.node.as_str(), known.pod.containers[0].reason.as_str()),
        ("node-7", "OOMKilled")
    );
    assert_eq!(known.logs[0].text, "INFO last words\n");
    rig.app.pump_until_quiet().await;
}

#[tokio::test]
async fn an_executor_deleted_at_once_says_that_its_log_is_gone() {
    let rig = Rig::new("").await;
    // Reading is refused, so that the log cannot be read however fast we are.
    rig.cluster.deny("get", "pods/log");
    rig.cluster.put(running("exec-1", "executor")).unwrap();
    rig.cluster.put(killed("exec-1", "executor")).unwrap();
    assert!(rig.cluster.delete("pods", "spark-prod", "exec-1"));
    rig.until("it is lost", |rig| rig.counts().lost == 1).await;
    let known = rig.recall("exec-1").await.unwrap();
    assert_eq!((known.logs[0].read_at, known.logs[0].text.as_str()), (None, ""));
    assert!(!known.logs[0].lost.is_empty());
    assert_eq!(known.pod.containers[0].exit_code, Some(137));
    rig.app.pump_until_quiet().await;
}

#[tokio::test]
async fn what_was_seen_outlives_the_daemon_and_what_went_meanwhile_is_known_to_be_gone() {
    let rig = Rig::new("").await;
    for name in ["exec-1", "exec-2", "exec-3"] {
        rig.cluster.put(running(name, "executor")).unwrap();
    }
    say(&rig.cluster, "exec-1", "executor", "INFO last words");
    rig.cluster.put(killed("exec-1", "executor")).unwrap();
    rig.until("the log is read", |rig| rig.counts().kept == 1 && rig.counts().pods == 3).await;
    assert!(rig.cluster.delete("pods", "spark-prod", "exec-1"));
    rig.gone("exec-1").await;
    rig.app.pump_until_quiet().await;
    assert_eq!(rig.counts().unsaved, 0);
    let rig = rig.dies_and_restarts().await;
    // While nobody watches, one pod goes.
    assert!(rig.cluster.delete("pods", "spark-prod", "exec-2"));
    let known = rig.recall("exec-1").await.unwrap();
    assert_eq!((known.logs[0].text.as_str(), known.events.len()), ("INFO last words\n", 0));
    assert!(known.is_gone() && known.pod.labels["spark-app-selector"] == APP);
    rig.records();
    rig.until("the lists are complete", |rig| rig.counts().lost == 1).await;
    let known = rig.recall("exec-2").await.unwrap();
    assert!(known.is_gone());
    assert_eq!(known.logs[0].lost, "the pod was deleted while nobody watched");
    assert!(!rig.recall("exec-3").await.unwrap().is_gone());
    rig.app.pump_until_quiet().await;
}

#[tokio::test]
async fn a_forgotten_version_leads_to_a_fresh_list_however_the_server_says_it() {
    for as_status in [false, true] {
        let rig = Rig::new("").await;
        if as_status {
            rig.cluster.refuse_forgotten_versions();
        }
        rig.cluster.put(running("exec-1", "executor")).unwrap();
        rig.cluster.put(running("exec-2", "executor")).unwrap();
        rig.until("both are seen", |rig| rig.counts().pods == 2).await;
        let before = rig.counts().relists;
        // One thread and no await: the changes are forgotten before a watch can bring them.
        assert!(rig.cluster.delete("pods", "spark-prod", "exec-1"));
        rig.cluster.put(running("exec-3", "executor")).unwrap();
        rig.cluster.compact();
        rig.until_later("it lists again", |rig| {
            rig.counts().relists > before && rig.counts().pods == 3
        })
        .await;
        rig.gone("exec-1").await;
        assert!(!rig.recall("exec-3").await.unwrap().is_gone());
        rig.app.pump_until_quiet().await;
    }
}

#[tokio::test]
async fn a_bad_object_is_skipped_and_counted_and_the_others_go_on() {
    let rig = Rig::new("").await;
    let mut bad = running("bad", "executor");
    bad["status"]["containerStatuses"] = json!("not a list");
    rig.cluster.put(bad).unwrap();
    rig.cluster.put(running("good", "executor")).unwrap();
    rig.until("the good one is seen", |rig| rig.counts().pods == 1).await;
    assert_eq!(rig.counts().unreadable, 1);
    // In a list it does no more harm.
    let before = rig.counts().relists;
    rig.cluster.compact();
    rig.until_later("it lists again", |rig| {
        rig.counts().relists > before && rig.counts().unreadable == 2
    })
    .await;
    assert!(!rig.recall("good").await.unwrap().is_gone());
    rig.app.pump_until_quiet().await;
}

#[tokio::test]
async fn hostile_labels_and_huge_annotations_are_bounded_and_secrets_are_not_stored() {
    let rig = Rig::new("").await;
    let mut pod = killed("exec-1", "executor");
    pod["metadata"]["annotations"] =
        json!({ "big": "x".repeat(64 * 1024), "spark.exit-exception": "password=hunter2-note" });
    pod["metadata"]["labels"]["team"] = json!("<!channel> {{x}} \u{202e}");
    pod["metadata"]["labels"]["db_password"] = json!("hunter2-label");
    pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"] =
        json!("token=hunter2-message");
    say(
        &rig.cluster,
        "exec-1",
        "executor",
        "connecting to postgres://app:hunter2-log@db/x\nINFO done",
    );
    rig.cluster.put(pod).unwrap();
    rig.cluster
        .put(event("exec-1", "e1", "Pulling", "from https://u:hunter2-event@registry"))
        .unwrap();
    rig.until("the log is read", |rig| rig.counts().kept == 1).await;
    let seen = async || rig.recall("exec-1").await.is_some_and(|pod| pod.events.len() == 1);
    rig.becomes("the event is seen", false, seen).await;
    assert!(rig.counts().bytes < 10_000, "{:?}", rig.counts());
    rig.app.pump_until_quiet().await;
    rig.until("it is stored", |rig| rig.counts().unsaved == 0).await;
    let log = &rig.recall("exec-1").await.unwrap().logs[0];
    assert!(log.text.contains("INFO done") && !log.text.contains("hunter2"), "{}", log.text);
    rig.app.engine.store.forget().await.unwrap();
    let file = std::fs::read(rig.app.database()).unwrap();
    let holds = |text: &str| file.windows(text.len()).any(|w| w == text.as_bytes());
    assert!(holds("INFO done") && holds("uid-exec-1"), "it is there");
    for secret in
        ["hunter2-log", "hunter2-note", "hunter2-message", "hunter2-label", "hunter2-event"]
    {
        assert!(!holds(secret), "{secret} is in the store's file");
    }
    assert!(!holds(&"x".repeat(4_096)), "annotations are not kept");
}

#[tokio::test]
async fn a_drivers_log_is_followed_and_outlives_a_deletion_that_no_read_could_beat() {
    let rig = Rig::new("").await;
    rig.cluster.put(running("etl-driver", "driver")).unwrap();
    say(&rig.cluster, "etl-driver", "driver", "INFO first");
    rig.until("it is followed", |rig| rig.counts().streams == 1).await;
    say(&rig.cluster, "etl-driver", "driver", "ERROR last");
    let text =
        async || rig.recall("etl-driver").await.unwrap().logs.first().map(|log| log.text.clone());
    let all = async || text().await.as_deref() == Some("INFO first\nERROR last\n");
    rig.becomes("the new line is there", false, all).await;
    assert!(rig.cluster.delete("pods", "spark-prod", "etl-driver"));
    rig.until("the stream ends with the pod", |rig| rig.counts().streams == 0).await;
    let known = rig.recall("etl-driver").await.unwrap();
    assert_eq!(
        (known.logs[0].text.as_str(), known.logs[0].lost.as_str()),
        ("INFO first\nERROR last\n", "")
    );
    rig.app.pump_until_quiet().await;
}

#[tokio::test]
async fn more_selectors_and_named_namespaces_are_watched() {
    let yaml = "recorder: { namespaces: [spark-prod], selectors: [\"app=hive-metastore\"] }";
    let rig = Rig::new(yaml).await;
    let mut metastore = running("hms-0", "executor");
    metastore["metadata"]["labels"] = json!({ "app": "hive-metastore" });
    rig.cluster.put(metastore).unwrap();
    let mut elsewhere = running("exec-9", "executor");
    elsewhere["metadata"]["namespace"] = json!("other");
    rig.cluster.put(elsewhere).unwrap();
    rig.cluster.put(running("exec-1", "executor")).unwrap();
    rig.until("both are seen", |rig| rig.counts().pods == 2).await;
    assert!(rig.recall("hms-0").await.is_some() && rig.recall("exec-9").await.is_none());
    assert!(rig.cluster.requests().iter().all(|r| r.contains("/namespaces/spark-prod/")));
    rig.app.pump_until_quiet().await;
}

#[tokio::test]
async fn a_list_whose_pages_are_too_large_is_read_in_smaller_ones() {
    let rig = Rig::new("").await;
    for n in 0..150 {
        let mut pod = running(&format!("exec-{n}"), "executor");
        pod["metadata"]["annotations"] = json!({ "big": "x".repeat(64 * 1024) });
        rig.cluster.put(pod).unwrap();
    }
    rig.until("all are seen", |rig| rig.counts().pods == 150).await;
    let before = rig.counts().relists;
    assert!(rig.cluster.delete("pods", "spark-prod", "exec-7"));
    rig.cluster.compact();
    rig.until_later("it lists again", |rig| {
        rig.counts().relists > before && rig.counts().lost == 1
    })
    .await;
    rig.gone("exec-7").await;
    assert_eq!(rig.counts().pods, 150);
    assert!(rig.cluster.requests().iter().any(|request| request.contains("limit=100&")));
    assert_eq!(rig.app.engine.recorder.troubles(), Vec::<String>::new());
    rig.app.pump_until_quiet().await;
}
