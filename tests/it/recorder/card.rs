//! What the card says of pods that are gone when the alert comes.

use super::*;
use crate::engine::assert_sound;

/// The end of a real driver's log whose table was missing.
const MISSING: &str = include_str!("../../fixtures/spark/driver-table-missing.log");

async fn diagnosed(rig: &Rig, labels: &[(&str, &str)]) -> (Vec<String>, String) {
    rig.app.post_alerts(&alert(labels)).await;
    // A Spark UI that does not answer is asked again a little later: time has to pass meanwhile, and so slowly that the
    // run's 90 s are not over before a busy machine has done its work.
    let time = async {
        loop {
            rig.app.advance(Duration::from_millis(1));
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = rig.app.pump_until_quiet() => {}
        () = time => {}
    }
    let incident = rig.app.incident(1).await;
    assert_sound(&rig.app).await;
    let ids = incident.verdicts.iter().map(|verdict| verdict.id.clone()).collect();
    (ids, incident.caveats.join("\n"))
}

/// An executor that is OOM-killed and deleted as fast as Spark does it, its log read in between or not.
async fn dies(rig: &Rig, read: bool) {
    if !read {
        rig.cluster.deny("get", "pods/log");
    }
    rig.cluster.put(running("nightly-1a-exec-1", "executor")).unwrap();
    say(&rig.cluster, "nightly-1a-exec-1", "executor", "INFO Executor: Running task 7.0");
    rig.cluster.put(killed("nightly-1a-exec-1", "executor")).unwrap();
    rig.cluster
        .put(event("nightly-1a-exec-1", "e1", "FailedPreStopHook", "PreStopHook failed"))
        .unwrap();
    let said = async || {
        rig.recall("nightly-1a-exec-1").await.is_some_and(|known| !known.events.is_empty())
    };
    rig.becomes("its event is seen", false, said).await;
    if read {
        rig.until("the log is read", |rig| rig.counts().kept == 1).await;
    }
    assert!(rig.cluster.delete("pods", "spark-prod", "nightly-1a-exec-1"));
    rig.gone("nightly-1a-exec-1").await;
    rig.cluster.allow_again("get", "pods/log");
}

#[tokio::test]
async fn an_executor_that_is_gone_is_diagnosed_with_its_status_and_log() {
    let rig = Rig::new("").await;
    rig.cluster.put(running("nightly-driver", "driver")).unwrap();
    dies(&rig, true).await;
    // Events are gone from the cluster too by the time somebody asks.
    assert!(rig.cluster.delete("events", "spark-prod", "e1"));
    let labels = [
        ("alertname", "SparkExecutorOOMKilled"),
        ("severity", "critical"),
        ("pod", "nightly-1a-exec-1"),
    ];
    let (verdicts, caveats) = diagnosed(&rig, &labels).await;
    assert_eq!(verdicts, ["spark/executor/oom-killed"]);
    assert!(caveats.contains("the log of executor 1 (pod nightly-1a-exec-1) was read at 03:00:00 UTC, before the pod was deleted"), "{caveats}");
    let quotes = format!("{:?}", rig.app.incident(1).await.verdicts);
    assert!(quotes.contains("terminated: reason=OOMKilled exitCode=137"), "{quotes}");
    let run = &rig.app.engine.store.runs(paramedic::domain::ids::IncidentId(1)).await.unwrap()[0];
    let steps = rig.app.engine.store.steps(&run.id).await.unwrap();
    let of = |step: &str| &steps[step].findings;
    assert_eq!(
        of("pods").summary,
        "1 pod: 1 failed (nightly-1a-exec-1: OOMKilled, exit 137), 1 deleted"
    );
    assert_eq!(of("pods").value["gone"], 1);
    assert!(of("events").summary.starts_with("1 events"), "{}", of("events").summary);
    let log = &of("executor_logs[0]");
    assert_eq!(log.passages[0].text, "INFO Executor: Running task 7.0\n");
    assert_eq!(
        log.passages[0].source,
        "executor 1 (pod nightly-1a-exec-1), read at 03:00:00 UTC, before the pod was deleted"
    );
}

#[tokio::test]
async fn a_log_that_nobody_could_read_is_said_to_be_gone_on_the_card() {
    let rig = Rig::new("").await;
    dies(&rig, false).await;
    let labels = [("alertname", "SparkExecutorOOMKilled"), ("pod", "nightly-1a-exec-1")];
    let (verdicts, caveats) = diagnosed(&rig, &labels).await;
    assert_eq!(verdicts, ["spark/executor/oom-killed"]);
    assert!(caveats.contains("log gone: "), "{caveats}");
    assert!(rig.app.console().contains("log gone:"), "{}", rig.app.console());
    assert!(!caveats.contains("pods that exist no more may be missing"), "they are not: {caveats}");
}

#[tokio::test]
async fn after_a_restart_of_the_daemon_the_card_still_knows() {
    let rig = Rig::new("").await;
    dies(&rig, true).await;
    rig.app.pump_until_quiet().await;
    let rig = rig.dies_and_restarts().await;
    rig.records();
    // Nothing leads to the pod but the namespace: the failures of the last hour do.
    let (verdicts, caveats) = diagnosed(&rig, &[("alertname", "SparkExecutorFailuresHigh")]).await;
    assert_eq!(verdicts, ["spark/executor/oom-killed"]);
    assert!(caveats.contains("read at 03:00:00 UTC, before the pod was deleted"), "{caveats}");
    assert_eq!(rig.app.incident(1).await.runs_done, 1);
}

#[tokio::test]
async fn a_drivers_log_from_the_recorder_gives_the_verdicts_that_the_live_one_gives() {
    let mut both = vec![];
    for deleted in [false, true] {
        let rig = Rig::new("").await;
        say(&rig.cluster, "nightly-driver", "driver", MISSING);
        let state = json!({ "terminated": { "exitCode": 1, "reason": "Error" } });
        rig.cluster.put(pod("nightly-driver", "driver", "Failed", &state)).unwrap();
        rig.until("the log is read", |rig| rig.counts().kept == 1).await;
        if deleted {
            assert!(rig.cluster.delete("pods", "spark-prod", "nightly-driver"));
            rig.gone("nightly-driver").await;
        }
        let labels = [("alertname", "SparkApplicationFailed"), ("name", "nightly")];
        both.push(diagnosed(&rig, &labels).await);
    }
    assert_eq!(both[0].0, ["spark/sql/analysis-error"]);
    assert_eq!(both[1].0, both[0].0);
    assert!(
        both[1].1.contains("the log of driver nightly-driver was read at 03:00:00 UTC"),
        "{}",
        both[1].1
    );
    assert!(!both[0].1.contains("was read at"), "{}", both[0].1);
}

#[tokio::test]
async fn a_driver_made_again_under_the_same_name_is_not_taken_for_the_one_that_failed() {
    let rig = Rig::new("").await;
    say(&rig.cluster, "nightly-driver", "driver", MISSING);
    let state = json!({ "terminated": { "exitCode": 1, "reason": "Error" } });
    rig.cluster.put(pod("nightly-driver", "driver", "Failed", &state)).unwrap();
    rig.until("the log is read", |rig| rig.counts().kept == 1).await;
    assert!(rig.cluster.delete("pods", "spark-prod", "nightly-driver"));
    rig.gone("nightly-driver").await;
    let mut second = running("nightly-driver", "driver");
    second["metadata"]["uid"] = json!("uid-second");
    second["metadata"]["labels"]["spark-app-selector"] = json!("spark-second");
    rig.cluster.put(second).unwrap();
    say(&rig.cluster, "nightly-driver", "driver", "INFO all is well this time");
    let labels = [("alertname", "SparkApplicationFailed"), ("application_id", APP)];
    let (verdicts, _) = diagnosed(&rig, &labels).await;
    assert_eq!(verdicts, ["spark/sql/analysis-error"]);
    let run = &rig.app.engine.store.runs(paramedic::domain::ids::IncidentId(1)).await.unwrap()[0];
    for (name, step) in rig.app.engine.store.steps(&run.id).await.unwrap() {
        let texts = format!("{:?}", step.findings.passages);
        assert!(!texts.contains("all is well"), "{name}: {texts}");
    }
}

#[tokio::test]
async fn a_recorder_that_may_not_watch_is_said_on_the_card() {
    let rig = Rig::new("").await;
    rig.cluster.deny("watch", "pods");
    rig.cluster.refuse_forgotten_versions();
    rig.cluster.compact();
    rig.until_later("it is said", |rig| !rig.app.engine.recorder.troubles().is_empty()).await;
    rig.cluster.put(killed("nightly-1a-exec-1", "executor")).unwrap();
    let labels = [("alertname", "SparkExecutorOOMKilled"), ("pod", "nightly-1a-exec-1")];
    let (verdicts, caveats) = diagnosed(&rig, &labels).await;
    assert_eq!(verdicts, ["spark/executor/oom-killed"], "what is there is found all the same");
    assert!(
        caveats.contains(
            "pods that exist no more may be missing: the recorder could not watch the pods"
        ),
        "{caveats}"
    );
}
