//! What does not work is said once and stays visible; the daemon goes on.

use super::*;

#[tokio::test]
async fn a_forbidden_watch_is_said_in_readyz_and_metrics_and_works_once_it_is_granted() {
    let rig = Rig::new("").await;
    rig.cluster.deny("watch", "pods");
    rig.cluster.deny("list", "pods");
    rig.cluster.compact();
    rig.until_later("it is said", |rig| !rig.app.engine.recorder.troubles().is_empty()).await;
    let said = rig.app.engine.recorder.troubles().join("\n");
    assert!(said.starts_with("cluster prod: could not "), "{said}");
    assert!(
        said.contains(
            "grant its service account, in a ClusterRole: {apiGroups: [\"\"], resources: [\"pods\"]"
        ),
        "{said}"
    );
    assert!(said.contains("or name the namespaces in `recorder.namespaces`"), "{said}");
    let ready = rig.app.get("/readyz").await;
    assert_eq!(ready.status, 200, "it still takes alerts: {}", ready.body);
    let checks = ready.json()["checks"].as_array().unwrap().clone();
    let recorder = checks.iter().find(|check| check["name"] == "recorder").unwrap();
    assert!(
        recorder["ok"] == false && recorder["reason"].as_str().unwrap().contains("forbidden"),
        "{recorder}"
    );
    rig.app.engine.recorder.set_gauges();
    let metrics = rig.app.get("/metrics").await.body;
    assert!(metrics.contains("paramedic_recorder_troubles{cluster=\"prod\"} 1"), "{metrics}");
    rig.cluster.allow_again("watch", "pods");
    rig.cluster.allow_again("list", "pods");
    rig.cluster.put(running("exec-1", "executor")).unwrap();
    rig.until_later("it works again", |rig| rig.counts().pods == 1).await;
    rig.until_later("and says so", |rig| rig.app.engine.recorder.troubles().is_empty()).await;
    rig.app.pump_until_quiet().await;
}

#[tokio::test]
async fn forbidden_logs_are_one_trouble_for_all_pods_and_are_read_once_they_may() {
    let rig = Rig::new("").await;
    rig.cluster.deny("get", "pods/log");
    for n in 1..=5 {
        say(&rig.cluster, &format!("exec-{n}"), "executor", "INFO words");
        rig.cluster.put(killed(&format!("exec-{n}"), "executor")).unwrap();
    }
    rig.until("it is said", |rig| rig.app.engine.recorder.troubles().len() == 1).await;
    let said = rig.app.engine.recorder.troubles().join("\n");
    assert!(
        said.contains("could not read the logs of pods") && said.contains("pods/log"),
        "{said}"
    );
    rig.cluster.allow_again("get", "pods/log");
    rig.until_later("all are read", |rig| rig.counts().kept == 5).await;
    assert_eq!(rig.app.engine.recorder.troubles(), Vec::<String>::new());
    rig.app.pump_until_quiet().await;
}

#[tokio::test]
async fn an_api_server_that_goes_and_comes_back_costs_nothing_that_was_seen() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut rig = Rig::on(listener, "").await;
    rig.cluster.put(running("exec-1", "executor")).unwrap();
    rig.cluster.put(running("exec-2", "executor")).unwrap();
    rig.until("both are seen", |rig| rig.counts().pods == 2).await;
    assert_eq!(rig.tasks.shut_down(Duration::from_secs(5)).await, None);
    rig.until_later("it is missed", |rig| !rig.app.engine.recorder.troubles().is_empty()).await;
    assert!(
        !rig.recall("exec-1").await.unwrap().is_gone(),
        "not to see a pod is no proof that it is gone"
    );
    // Meanwhile pods die and go; the versions in between are still known, so each change is brought.
    say(&rig.cluster, "exec-2", "executor", "INFO words");
    rig.cluster.put(killed("exec-2", "executor")).unwrap();
    assert!(rig.cluster.delete("pods", "spark-prod", "exec-1"));
    rig.tasks = Tasks::default();
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    ApiServer::on(listener, &rig.tasks, rig.cluster.clone()).unwrap();
    rig.until_later("the log is read", |rig| rig.counts().kept == 1).await;
    let gone = async || rig.recall("exec-1").await.unwrap().is_gone();
    rig.becomes("the deletion is brought", true, gone).await;
    rig.until_later("all works again", |rig| rig.app.engine.recorder.troubles().is_empty()).await;
    assert_eq!(rig.counts().relists, 1, "it went on where it stopped");
    rig.app.pump_until_quiet().await;
}

#[tokio::test]
async fn a_pod_in_a_crash_loop_of_thousands_of_restarts_keeps_its_newest_runs() {
    let rig = Rig::new("").await;
    let crash = |n: i32| {
        let mut pod = pod(
            "exec-1",
            "executor",
            "Running",
            &json!({ "waiting": { "reason": "CrashLoopBackOff" } }),
        );
        pod["status"]["containerStatuses"][0]["restartCount"] = json!(n);
        pod["status"]["containerStatuses"][0]["lastState"] =
            json!({ "terminated": { "exitCode": 1, "reason": "Error" } });
        pod
    };
    rig.cluster.previous_log(
        "spark-prod",
        "exec-1",
        "spark-kubernetes-executor",
        START.parse().unwrap(),
        "boom",
    );
    for n in 1..=5_000 {
        rig.cluster.put(crash(n)).unwrap();
    }
    let newest = async || rig.recall("exec-1").await.map(|known| known.pod.containers[0].restarts);
    rig.becomes("the newest is seen", false, async || newest().await == Some(5_000)).await;
    rig.until("it is read", |rig| rig.counts().unread == 0).await;
    let known = rig.recall("exec-1").await.unwrap();
    assert!(
        known.logs.len() <= 3 && known.logs.iter().any(|log| log.restarts == 4_999),
        "{:?}",
        known.logs
    );
    assert_eq!(
        (known.pod.containers[0].last_exit_code, known.logs.last().unwrap().text.as_str()),
        (Some(1), "boom\n")
    );
    assert!(rig.counts().bytes < 20_000, "{:?}", rig.counts());
    rig.app.pump_until_quiet().await;
}
