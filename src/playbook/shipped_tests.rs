//! The shipped signatures against logs of real failures.

use std::path::Path;

use super::{catalog, source};
use crate::domain::{
    evidence::{Evidence, Findings, Origin, Passage, StepState},
    redact::redact,
    signature::Book,
};

fn book() -> Book {
    let files = source::shipped();
    catalog::book(&files.iter().collect::<Vec<_>>()).unwrap()
}

fn evidence(origin: Origin, text: &str) -> Vec<Evidence> {
    vec![Evidence {
        step: "logs".to_owned(),
        kind: "kube.logs".to_owned(),
        state: StepState::Done,
        reason: String::new(),
        findings: Findings {
            passages: vec![Passage::new(origin, "fixture", text)],
            ..Findings::default()
        },
        duration_ms: 1,
    }]
}

fn fixtures() -> Vec<(String, Origin, String)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/spark");
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files
        .into_iter()
        .filter(|path| path.extension().is_some_and(|end| end == "log"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let origin =
                if name.starts_with("executor") { Origin::ExecutorLog } else { Origin::DriverLog };
            (name, origin, std::fs::read_to_string(path).unwrap())
        })
        .collect()
}

#[test]
fn canonical_lines_of_steps_get_their_verdicts() {
    let book = book();
    let said: Vec<String> = [
        (Origin::PodStatus, "pod etl-exec-1 container spark-kubernetes-executor terminated: reason=OOMKilled exitCode=137"),
        (Origin::PodStatus, "pod etl-exec-1 container spark-kubernetes-executor terminated: reason=Error exitCode=137"),
        (Origin::PodStatus, "pod etl-exec-1 container spark-kubernetes-executor terminated: reason=Error exitCode=139"),
        (Origin::PodStatus, "pod etl-exec-1 container spark-kubernetes-executor terminated: reason=Completed exitCode=0"),
        (Origin::PodStatus, "pod etl-driver container spark-kubernetes-driver terminated: reason=OOMKilled exitCode=137"),
        (Origin::PodStatus, "pod etl-driver container spark-kubernetes-driver terminated: reason=Error exitCode=101"),
        (Origin::PodStatus, "pod etl-driver phase=Failed reason=Evicted message=The node was low on resource: ephemeral-storage. Threshold"),
        (Origin::PodStatus, "pod etl-exec-2 condition DisruptionTarget=True reason=PreemptionByScheduler message=x"),
        (Origin::PodStatus, "pod web container app waiting: reason=CrashLoopBackOff message=back-off 5m0s"),
        (Origin::PodStatus, "pod web container app previously terminated: reason=OOMKilled exitCode=137 restarts=4"),
        (Origin::PodStatus, "pod web waiting: reason=ImagePullBackOff message=Back-off pulling image"),
        (Origin::PodStatus, "pod web waiting: reason=CreateContainerConfigError message=secret \"x\" not found"),
        (Origin::PodStatus, "pod web condition PodScheduled=False reason=Unschedulable message=0/3 nodes are available: 3 Insufficient memory."),
        (Origin::Event, "FailedScheduling Pod/etl-exec-4: 0/7 nodes are available: 4 Insufficient cpu, 3 node(s) had untolerated taint"),
        (Origin::Event, "Failed Pod/web: Failed to pull image \"reg/x:1\": not found"),
        (Origin::Event, "FailedMount Pod/etl-driver: MountVolume.SetUp failed for volume \"spark-conf-volume-driver\" : configmap \"spark-drv-1-conf-map\" not found"),
        (Origin::Event, "Unhealthy Pod/web: Liveness probe failed: HTTP 500"),
        (Origin::Event, "Scheduled Pod/web: Successfully assigned"),
        (Origin::PodLog, "panic: dial tcp: lookup db: no such host"),
        (Origin::DriverLog, "Failure executing: POST at: https://k/api/v1/namespaces/a/pods. Message: pods \"x\" is forbidden: exceeded quota: team-a, requested: limits.memory=4Gi, used: limits.memory=62Gi, limited: limits.memory=64Gi."),
        (Origin::DriverLog, "Message: pods is forbidden: User \"system:serviceaccount:spark:default\" cannot watch resource \"pods\" in API group"),
        (Origin::SparkRest, "executor 1 removed: \nThe executor with id 1 exited with exit code 137(SIGKILL, possible container OOM).\n\n\t exit code: 137\n\t termination reason: OOMKilled\n"),
        (Origin::SparkRest, "executor 1 removed: Command exited with code 137"),
        (Origin::SparkRest, "executor 4 removed: The executor with id 4 was deleted by a user or the framework."),
        (Origin::SparkRest, "executor 3 removed: Executor decommission: spot"),
        (Origin::Metastore, "metastore main tcp: FAILED after 3 ms: refused: connection refused"),
        (Origin::Metastore, "metastore main get_status: ok in 3 ms\nmetastore main get_all_databases: FAILED after 5000 ms: timeout: no answer"),
        (Origin::Metastore, "metastore main get_all_databases: slow, 2400 ms"),
        (Origin::Metastore, "metastore main get_table: ok in 12 ms"),
    ]
    .into_iter()
    .map(|(origin, line)| {
        let verdicts = book.diagnose(&evidence(origin, line), &[]);
        let shown = verdicts.first().map_or("-".to_owned(), |v| format!("{} | {}", v.id, v.title));
        let short: String = line.chars().take(70).collect();
        format!("{}\n    {shown}", short.escape_debug())
    })
    .collect();
    insta::assert_snapshot!(said.join("\n"), @r#"
        pod etl-exec-1 container spark-kubernetes-executor terminated: reason=
            spark/executor/oom-killed | Executor container was killed for using more memory than its container may (OOMKilled)
        pod etl-exec-1 container spark-kubernetes-executor terminated: reason=
            spark/executor/killed | Executor container was killed from outside (SIGKILL, exit code 137, not reported as out of memory)
        pod etl-exec-1 container spark-kubernetes-executor terminated: reason=
            spark/executor/native-crash | Executor container crashed in native code (exit code 139)
        pod etl-exec-1 container spark-kubernetes-executor terminated: reason=
            -
        pod etl-driver container spark-kubernetes-driver terminated: reason=OO
            spark/driver/oom-killed | The driver was killed for using more memory than its container may (OOMKilled)
        pod etl-driver container spark-kubernetes-driver terminated: reason=Er
            spark/driver/class-missing | A class or data source is missing: see the evidence
        pod etl-driver phase=Failed reason=Evicted message=The node was low on
            spark/storage/scratch-disk-full | Scratch space is full
        pod etl-exec-2 condition DisruptionTarget=True reason=PreemptionBySche
            spark/executor/decommissioned | Executor 2 was taken away in order (decommission, preemption or drain): PreemptionByScheduler
        pod web container app waiting: reason=CrashLoopBackOff message=back-of
            kube/pod/crash-loop | A container ends soon after every start (CrashLoopBackOff)
        pod web container app previously terminated: reason=OOMKilled exitCode
            kube/pod/oom-killed | Container app was killed for using more memory than it may (OOMKilled)
        pod web waiting: reason=ImagePullBackOff message=Back-off pulling imag
            kube/pod/image-pull | The image cannot be pulled
        pod web waiting: reason=CreateContainerConfigError message=secret \"x\" 
            kube/pod/config-missing | The container cannot be created
        pod web condition PodScheduled=False reason=Unschedulable message=0/3 
            kube/scheduling/insufficient-resources | No node has room: insufficient memory
        FailedScheduling Pod/etl-exec-4: 0/7 nodes are available: 4 Insufficie
            kube/scheduling/insufficient-resources | No node has room: insufficient cpu
        Failed Pod/web: Failed to pull image \"reg/x:1\": not found
            kube/pod/image-pull | The image cannot be pulled: reg/x:1
        FailedMount Pod/etl-driver: MountVolume.SetUp failed for volume \"spark
            -
        Unhealthy Pod/web: Liveness probe failed: HTTP 500
            kube/pod/probe-failed | A liveness or startup probe fails, so the container is restarted
        Scheduled Pod/web: Successfully assigned
            -
        panic: dial tcp: lookup db: no such host
            kube/pod/startup-error | The program fails at start: dial tcp: lookup db: no such host
        Failure executing: POST at: https://k/api/v1/namespaces/a/pods. Messag
            kube/scheduling/quota-exceeded | The quota team-a is used up: requested limits.memory=4Gi, used limits.memory=62Gi, limited limits.memory=64Gi
        Message: pods is forbidden: User \"system:serviceaccount:spark:default\"
            spark/driver/rbac-forbidden | The driver may not watch pods in Kubernetes (service account spark:default)
        executor 1 removed: \nThe executor with id 1 exited with exit code 137(
            spark/executor/oom-killed | Executor 1 was killed for using more memory than its container may (OOMKilled)
        executor 1 removed: Command exited with code 137
            spark/executor/killed | Executor 1 was killed from outside (SIGKILL, exit code 137, not reported as out of memory)
        executor 4 removed: The executor with id 4 was deleted by a user or th
            spark/executor/killed | Executor 4 was killed from outside (its pod was deleted by a user or the framework)
        executor 3 removed: Executor decommission: spot
            spark/executor/decommissioned | Executor 3 was taken away in order (decommission, preemption or drain): Executor decommission
        metastore main tcp: FAILED after 3 ms: refused: connection refused
            hive/down | The Hive Metastore main does not answer (tcp: refused)
        metastore main get_status: ok in 3 ms\nmetastore main get_all_databases
            hive/database | The Hive Metastore main lives, but its database does not answer
        metastore main get_all_databases: slow, 2400 ms
            hive/slow | The Hive Metastore main is slow (get_all_databases: 2400 ms)
        metastore main get_table: ok in 12 ms
            -
    "#);
}

#[test]
fn no_real_log_loses_a_line_to_redaction() {
    for (name, _, text) in fixtures() {
        let clean = redact(&text);
        for (before, after) in text.lines().zip(clean.lines()) {
            assert_eq!(before, after, "{name}");
        }
        assert_eq!(text.lines().count(), clean.lines().count());
    }
}

#[test]
fn every_shipped_signature_is_well_formed() {
    let book = book();
    assert!(book.ids().count() >= 30, "{}", book.ids().count());
    for (name, origin, text) in fixtures() {
        for verdict in book.diagnose(&evidence(origin, &text), &[]) {
            let said = format!("{} {}", verdict.title, verdict.remedy);
            assert!(!said.contains("{{") && !verdict.evidence.is_empty(), "{name}: {said}");
            assert!(verdict.evidence.len() <= 5, "{name}");
        }
    }
}
