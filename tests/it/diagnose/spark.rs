//! `paramedic diagnose spark` against the scripted cluster.

use std::process::ExitCode;

use paramedic::{
    cli::{Output, diagnose::spark::Spark},
    clients::kube,
    demo::world::{APP_ID, APPLICATION, DRIVER, NAMESPACE},
    ops::clock::Clock,
};
use serde_json::{Value, json};

use super::{CATALOG, DAY};
use crate::fakes::kube::{Rig, pod};

fn spark(name: &str) -> Spark {
    Spark {
        name: name.to_owned(),
        namespace: Some(NAMESPACE.to_owned()),
        context: None,
        history: None,
        allow: vec![],
        output: Output::Json,
    }
}

async fn look(rig: &Rig, asked: &Spark) -> (anyhow::Result<ExitCode>, String) {
    // The minute in which the demo's world was made: its events are young.
    let clock = Clock::manual("2026-11-23T03:15:00Z".parse().unwrap()).0;
    look_at(rig, asked, &clock).await
}

async fn look_at(rig: &Rig, asked: &Spark, clock: &Clock) -> (anyhow::Result<ExitCode>, String) {
    let mut out = Vec::new();
    let done = asked.look(rig.clients.kube.clone(), &CATALOG, clock, &mut out).await;
    (done, String::from_utf8(out).unwrap())
}

async fn answer(rig: &Rig, name: &str) -> Value {
    let (done, said) = look(rig, &spark(name)).await;
    assert_eq!(done.unwrap(), ExitCode::SUCCESS);
    serde_json::from_str(&said).unwrap()
}

async fn refusal(rig: &Rig, asked: &Spark) -> String {
    format!("{:#}", look(rig, asked).await.0.unwrap_err())
}

#[tokio::test]
async fn an_application_is_diagnosed_by_its_name_its_id_and_any_of_its_pods() {
    let rig = Rig::demo().await;
    for name in [APPLICATION, APP_ID, DRIVER, "etl-daily-93c1a78b2f4d6e10-exec-2"] {
        let said = answer(&rig, name).await;
        assert_eq!(said["verdicts"][0]["id"], "spark/executor/oom-killed", "{name}: {said:#}");
        assert_eq!(said["verdicts"].as_array().unwrap().len(), 1, "{name}: {said:#}");
        assert_eq!(said["target"], "Spark application spark-prod/etl-daily", "{name}");
        let failed =
            said["steps"].as_array().unwrap().iter().filter(|step| step["state"] == "failed");
        assert_eq!(failed.count(), 0, "{said:#}");
    }
}

#[tokio::test]
async fn the_text_says_what_is_wrong_and_what_was_asked() {
    let rig = Rig::demo().await;
    let asked = Spark { output: Output::Text, ..spark(APPLICATION) };
    let (done, said) = look(&rig, &asked).await;
    assert_eq!(done.unwrap(), ExitCode::SUCCESS);
    insta::assert_snapshot!(said, @r"
        Spark application spark-prod/etl-daily

        Executor 2 was killed for using more memory than its container may (OOMKilled)
          spark/executor/oom-killed, 98 % sure, the platform team acts
          executor 2 (pod etl-daily-93c1a78b2f4d6e10-exec-2)  pod etl-daily-93c1a78b2f4d6e10-exec-2 container spark-kubernetes-executor terminated: reason=OOMKilled exitCode=137
          driver etl-daily-driver:15  The executor with id 2 exited with exit code 137(SIGKILL, possible container OOM).
          driver etl-daily-driver:28  termination reason: OOMKilled
          executor 2:1  executor 2 removed: The executor with id 2 exited with exit code 137(SIGKILL, possible container OOM).
          executor 2:14  termination reason: OOMKilled
          What to do:
            The container needed more than heap plus overhead: Python workers, Arrow and off-heap buffers live outside the heap.
            - Raise `spark.executor.memoryOverheadFactor` (or `spark.executor.memoryOverhead`); for PySpark set `spark.executor.pyspark.memory`.
            - Run fewer tasks at once: lower `spark.executor.cores`.
            - Make partitions smaller: raise `spark.sql.shuffle.partitions`, or lower `spark.sql.files.maxPartitionBytes`.
            https://spark.apache.org/docs/latest/configuration.html#application-properties

        Asked:
          spark.application: operator says RUNNING; driver pod etl-daily-driver is Running; Spark 3.5.9 running after 14 m 0 s (by API proxy)
          kube.pods: 1 pod: 1 running
          kube.pods: 3 pods: 2 running, 1 failed (etl-daily-93c1a78b2f4d6e10-exec-2: OOMKilled, exit 137)
          kube.logs: 46 lines of etl-daily-driver
          spark.executors: 2 active, 1 dead, 2 failed tasks; executor 2: The executor with id 2 exited with exit code 137(SIGKILL, possible container OOM). (by API proxy)
          spark.stages: no failed stages (by API proxy)
          spark.jobs: jobs: 1 running, 0 failed; none of this status (by API proxy)
          kube.events: 1 events of pods of Spark application spark-prod/etl-daily, 1 warnings; last: SparkExecutorFailed etl-daily
          kube.quota: namespace spark-prod has no quota
          kube.logs: 4 lines of etl-daily-93c1a78b2f4d6e10-exec-2
          kube.events: 1 events of spark-prod/etl-daily-93c1a78b2f4d6e10-exec-2, 0 warnings; last: Scheduled etl-daily-93c1a78b2f4d6e10-exec-2
        ");
}

#[tokio::test]
async fn only_reads_reach_the_cluster() {
    let rig = Rig::demo().await;
    answer(&rig, APPLICATION).await;
    let requests = rig.cluster.requests();
    assert!(
        requests.len() > 5 && requests.iter().all(|request| request.starts_with("GET ")),
        "{requests:#?}"
    );
}

#[tokio::test]
async fn a_name_that_nothing_has_is_an_error_that_says_where_it_looked() {
    let rig = Rig::demo().await;
    insta::assert_snapshot!(refusal(&rig, &spark("nope")).await, @"no Spark application found: pod spark-prod/nope is gone; namespace spark-prod has no Spark application `nope`. Names are looked up in namespace `spark-prod` (`-n` for another); for one whose pods are gone give its id and `--history`");
    insta::assert_snapshot!(refusal(&rig, &spark("Not A Name; --")).await, @"`Not A Name; --` is neither the name of a pod or an application nor an application's id");
    let elsewhere = Spark { namespace: Some("elsewhere".to_owned()), ..spark(APPLICATION) };
    assert!(refusal(&rig, &elsewhere).await.contains("`elsewhere`"));
}

#[tokio::test]
async fn what_is_forbidden_is_said_with_the_permission_and_the_rest_is_read() {
    let rig = Rig::demo().await;
    rig.cluster.deny("get", "pods/log");
    rig.cluster.deny("list", "events");
    let said = answer(&rig, APPLICATION).await;
    assert_eq!(said["verdicts"][0]["id"], "spark/executor/oom-killed");
    let steps = said["steps"].as_array().unwrap();
    let failed = |kind: &str| {
        steps.iter().any(|s| {
            s["step"] == kind
                && s["state"] == "failed"
                && s["said"].as_str().unwrap().contains("grant its service account")
        })
    };
    assert!(failed("kube.logs") && failed("kube.events"), "{said:#}");
}

#[tokio::test]
async fn when_nothing_may_be_read_there_is_no_diagnosis() {
    let rig = Rig::demo().await;
    for (verb, resource) in [("get", "pods"), ("list", "pods"), ("get", "sparkapplications")] {
        rig.cluster.deny(verb, resource);
    }
    let error = refusal(&rig, &spark(APPLICATION)).await;
    assert!(error.contains("grant its service account"), "{error}");
}

#[tokio::test]
async fn an_application_whose_pods_are_gone_is_told_by_what_is_left() {
    let rig = Rig::demo().await;
    for executor in 1..=3 {
        let name = format!("etl-daily-93c1a78b2f4d6e10-exec-{executor}");
        assert!(rig.cluster.delete("pods", NAMESPACE, &name), "{name}");
    }
    assert!(rig.cluster.delete("pods", NAMESPACE, DRIVER));
    let said = answer(&rig, APPLICATION).await;
    // The operator's event about the dead executor is still there.
    assert_eq!(said["verdicts"][0]["id"], "spark/executor/oom-killed", "{said:#}");
    assert!(
        said["steps"].as_array().unwrap().iter().any(|step| step["state"] == "failed"),
        "{said:#}"
    );
}

#[tokio::test]
async fn a_healthy_application_has_no_verdict() {
    let rig = Rig::empty().await;
    let mut driver = pod(
        "web-driver",
        &json!({ "spark-role": "driver", "spark-app-selector": "spark-1", "spark-app-name": "web" }),
    );
    driver["spec"]["containers"][0]["name"] = json!("spark-kubernetes-driver");
    driver["status"]["containerStatuses"][0]["name"] = json!("spark-kubernetes-driver");
    rig.cluster.put(driver).unwrap();
    let at = "2026-11-23T03:10:00Z".parse().unwrap();
    rig.cluster.log(
        NAMESPACE,
        "web-driver",
        "spark-kubernetes-driver",
        at,
        "26/11/23 03:10:00 INFO SparkContext: Running Spark version 3.5.9",
    );
    // Its API does not answer, so the steps that need it wait before they ask once more.
    let (done, said) = look_at(&rig, &spark("web"), &Clock::System).await;
    assert_eq!(done.unwrap(), ExitCode::SUCCESS);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["verdicts"], json!([]), "{said:#}");
    assert!(said["steps"].as_array().unwrap().len() > 2);
}

#[tokio::test]
async fn without_a_cluster_the_error_says_what_to_give() {
    let context = Some("no-such-context".to_owned());
    let asked = Spark { context, ..spark(APPLICATION) };
    let mut out = Vec::new();
    let error = asked.run(&Clock::System, DAY, &mut out).await.unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("--context") && error.contains("no-such-context"), "{error}");
    let nowhere = kube::Client::from_url(&"http://127.0.0.1:1/".parse().unwrap()).unwrap();
    let asked = spark(APPLICATION);
    let error = asked.look(Some(nowhere), &CATALOG, &Clock::System, &mut out).await.unwrap_err();
    assert!(format!("{error:#}").contains("could not"), "{error:#}");
    assert!(out.is_empty());
}
