//! Every signature with a text that calls it, and what all of them must keep to: ids, keys, pages.

use std::{collections::BTreeSet, fs, path::Path};

use paramedic::domain::{
    evidence::{Evidence, Findings, Origin, Passage, StepState},
    signature::Book,
    verdict::Owner,
};

use super::{CATALOG, all, fixtures, verdicts};

/// Signatures for any pod, besides the catalogue of Spark's failures.
const ADDITIONS: [&str; 4] = [
    "kube/pod/crash-loop",
    "kube/pod/oom-killed",
    "kube/pod/probe-failed",
    "kube/pod/startup-error",
];

fn book() -> &'static Book {
    &CATALOG.signatures
}

fn ids(book: &Book, origin: Origin, text: &str) -> Vec<String> {
    let passages = vec![Passage::new(origin, "example", text)];
    let evidence = Evidence {
        step: "x".to_owned(),
        kind: "kube.logs".to_owned(),
        state: StepState::Done,
        reason: String::new(),
        findings: Findings { passages, ..Findings::default() },
        duration_ms: 1,
    };
    book.diagnose(&[evidence], &[]).into_iter().map(|verdict| verdict.id).collect()
}

/// What each signature must be told by: origin, text, the best id.
const EXAMPLES: &[(Origin, &str, &str)] = &[
    (
        Origin::DriverLog,
        "26/11/23 05:40:52 WARN ExecutorPodsAllocator: Executors with ids 3,4 were not detected in the Kubernetes cluster after 600000 ms despite the fact that a previous allocation attempt tried to create them.",
        "spark/executor/allocation-stalled",
    ),
    (
        Origin::DriverLog,
        "Exception in thread \"main\" org.apache.spark.SparkException: Dynamic allocation of executors requires one of the following conditions: 1) enabling external shuffle service",
        "spark/executor/dynamic-allocation",
    ),
    (
        Origin::DriverLog,
        "26/11/23 05:40:52 WARN ExecutorAllocationManager: Unable to reach the cluster manager to request more executors!",
        "spark/executor/dynamic-allocation",
    ),
    (
        Origin::DriverLog,
        "26/11/23 05:40:52 INFO HealthTracker: Excluding executor 3 because it has 2 task failures",
        "spark/executor/excluded",
    ),
    (Origin::SparkRest, "executor 3 excluded by Spark", "spark/executor/excluded"),
    (
        Origin::DriverLog,
        "26/11/23 05:40:52 WARN TaskSetManager: Lost task 3.0 in stage 1.0 (TID 7) (10.42.1.22 executor 2): java.lang.OutOfMemoryError: GC overhead limit exceeded",
        "spark/executor/gc-overhead",
    ),
    (
        Origin::ExecutorLog,
        "26/11/23 05:40:52 ERROR Executor: Exception in task 3.0 in stage 1.0 (TID 7)\njava.lang.OutOfMemoryError: GC overhead limit exceeded",
        "spark/executor/gc-overhead",
    ),
    (
        Origin::ExecutorLog,
        "Exception in thread \"main\" java.lang.reflect.UndeclaredThrowableException\nCaused by: org.apache.spark.SparkException: Exception thrown in awaitResult: \nCaused by: java.io.IOException: Failed to connect to etl-93c1-driver-svc.spark-prod.svc:7078\nCaused by: java.net.UnknownHostException: etl-93c1-driver-svc.spark-prod.svc",
        "spark/executor/driver-unreachable",
    ),
    (
        Origin::ExecutorLog,
        "26/11/23 05:40:52 ERROR CoarseGrainedExecutorBackend: Cannot register with driver: spark://CoarseGrainedScheduler@etl-driver-svc:7078",
        "spark/executor/driver-unreachable",
    ),
    (
        Origin::ExecutorLog,
        "#\n# A fatal error has been detected by the Java Runtime Environment:\n#\n#  SIGSEGV (0xb)",
        "spark/executor/native-crash",
    ),
    (
        Origin::PodStatus,
        "pod etl-exec-1 container spark-kubernetes-executor terminated: reason=Error exitCode=139",
        "spark/executor/native-crash",
    ),
    (
        Origin::PodStatus,
        "pod etl-exec-1 container spark-kubernetes-executor terminated: reason=OOMKilled exitCode=137",
        "spark/executor/oom-killed",
    ),
    (
        Origin::PodStatus,
        "pod etl-exec-1 container spark-kubernetes-executor terminated: reason=Error exitCode=52",
        "spark/executor/heap-oom",
    ),
    (
        Origin::PodStatus,
        "pod etl-exec-1 container spark-kubernetes-executor terminated: reason=Error exitCode=53",
        "spark/storage/scratch-disk-full",
    ),
    (
        Origin::PodStatus,
        "pod etl-exec-1 container spark-kubernetes-executor terminated: reason=Error exitCode=56",
        "spark/executor/heartbeat-timeout",
    ),
    (
        Origin::PodStatus,
        "pod etl-exec-1 phase=Failed reason=Evicted message=The node was low on resource: memory.",
        "spark/executor/killed",
    ),
    (
        Origin::PodStatus,
        "pod etl-exec-1 phase=Failed reason=Evicted message=Usage of EmptyDir volume \"spark-local-dir-1\" exceeds the limit \"10Gi\".",
        "spark/storage/scratch-disk-full",
    ),
    (
        Origin::PodStatus,
        "pod etl-driver container spark-kubernetes-driver terminated: reason=Error exitCode=11",
        "spark/executor/max-failures",
    ),
    (
        Origin::PodStatus,
        "pod etl-driver container spark-kubernetes-driver terminated: reason=OOMKilled exitCode=137",
        "spark/driver/oom-killed",
    ),
    (
        Origin::PodStatus,
        "pod etl-driver container spark-kubernetes-driver previously terminated: reason=Error exitCode=1 restarts=7",
        "spark/driver/crash-loop",
    ),
    (Origin::Object, "SparkApplication/etl state=PENDING_RERUN", "spark/driver/crash-loop"),
    (
        Origin::PodStatus,
        "pod etl-driver phase=Failed reason=NodeLost message=x",
        "spark/driver/evicted",
    ),
    (
        Origin::PodStatus,
        "pod etl-driver exit exception: java.lang.ClassNotFoundException: org.example.Etl",
        "spark/driver/class-missing",
    ),
    (
        Origin::DriverLog,
        "26/11/23 05:40:52 ERROR AsyncEventQueue: Dropping event from queue appStatus. This likely means one of the listeners is too slow and cannot keep up",
        "spark/driver/listener-bus-overflow",
    ),
    (
        Origin::PodStatus,
        "pod etl-driver condition PodScheduled=False reason=Unschedulable message=no nodes available to schedule pods",
        "spark/driver/pending",
    ),
    (
        Origin::DriverLog,
        "Exception in thread \"main\" org.apache.spark.SparkException: External scheduler cannot be instantiated\nCaused by: io.fabric8.kubernetes.client.KubernetesClientException: Failure executing: GET at: https://kubernetes.default.svc/api/v1/namespaces/a/pods/etl-driver. Message: pods \"etl-driver\" is forbidden: User \"system:serviceaccount:a:default\" cannot get resource \"pods\" in API group \"\" in the namespace \"a\".",
        "spark/driver/rbac-forbidden",
    ),
    (
        Origin::DriverLog,
        "Exception in thread \"main\" org.apache.spark.SparkException: Must specify the driver container image",
        "spark/submit/invalid-config",
    ),
    (
        Origin::Object,
        "SparkApplication/etl state=SUBMISSION_FAILED errorMessage=failed to run spark-submit: failed to create driver pod",
        "spark/submit/invalid-config",
    ),
    (
        Origin::DriverLog,
        "26/11/23 05:40:52 ERROR SparkContext: Error initializing SparkContext.\norg.apache.spark.SparkIllegalArgumentException: [INVALID_DRIVER_MEMORY] System memory 259522560 must be at least 471859200. SQLSTATE: F0000",
        "spark/submit/invalid-config",
    ),
    (
        Origin::DriverLog,
        "26/11/23 05:40:52 INFO DAGScheduler: ShuffleMapStage 4 (join at Daily.scala:58) failed in 4 s due to org.apache.spark.shuffle.MetadataFetchFailedException: Missing an output location for shuffle 4",
        "spark/shuffle/fetch-failed",
    ),
    (
        Origin::DriverLog,
        "Exception in thread \"main\" org.apache.spark.SparkException: Job aborted due to stage failure: ResultStage 5 (collect at Daily.scala:58) has failed the maximum allowable number of times: 4. Most recent failure reason:",
        "spark/shuffle/stage-retries-exhausted",
    ),
    (
        Origin::DriverLog,
        "Exception in thread \"main\" io.delta.exceptions.ConcurrentAppendException: Files were added to the root of the table by a concurrent update.",
        "spark/storage/commit-conflict",
    ),
    (
        Origin::DriverLog,
        "26/11/23 05:40:52 ERROR MicroBatchExecution: Query agg [id = 1, runId = 2] terminated with error\norg.apache.spark.SparkException: [CANNOT_LOAD_STATE_STORE.CANNOT_READ_DELTA_FILE_NOT_EXISTS] An error occurred during loading state. SQLSTATE: 58030",
        "spark/streaming/checkpoint",
    ),
    (
        Origin::DriverLog,
        "26/11/23 05:40:52 ERROR MicroBatchExecution: Query q [id = 1, runId = 2] terminated with error\njava.lang.IllegalStateException: Cannot fetch offset 7 (GroupId: g, TopicPartition: t-0).\nSome data may have been lost because they are not available in Kafka any more; either the data was aged out by Kafka or the topic may have been deleted",
        "spark/streaming/data-loss",
    ),
    (
        Origin::DriverLog,
        "26/11/23 05:40:52 ERROR AsyncEventQueue: Listener EventLoggingListener threw an exception\njava.io.IOException: x",
        "spark/history/event-log",
    ),
    (
        Origin::PodLog,
        "26/11/23 05:40:52 ERROR HistoryServer: x\nException in thread \"main\" java.io.FileNotFoundException: Log directory specified does not exist: s3a://logs/spark",
        "spark/history/down",
    ),
    (
        Origin::DriverLog,
        "Traceback (most recent call last):\n  File \"a.py\"\npyspark.errors.exceptions.connect.SparkConnectGrpcException: [INVALID_HANDLE.SESSION_CLOSED] The handle 1 is invalid. Session was closed.",
        "spark/connect/session",
    ),
    (
        Origin::Event,
        "FailedCreate ReplicaSet/x: Internal error occurred: failed calling webhook \"mutate-pod.sparkoperator.k8s.io\": failed to call webhook: Post \"https://spark-operator-webhook-svc.spark.svc:443/mutate\": x509: certificate signed by unknown authority",
        "spark/operator/webhook",
    ),
    (
        Origin::DriverLog,
        "26/11/23 05:40:52 ERROR BroadcastExchangeExec: Could not execute broadcast in 300 secs.",
        "spark/sql/broadcast-timeout",
    ),
    (
        Origin::DriverLog,
        "Exception in thread \"main\" org.apache.spark.SparkException: Cannot broadcast the table that is larger than 8.0 GiB: 9.1 GiB.",
        "spark/sql/broadcast-timeout",
    ),
    (
        Origin::DriverLog,
        "Exception in thread \"main\" org.apache.spark.SparkException: Task not serializable\nCaused by: java.io.NotSerializableException: org.example.Db",
        "spark/user/not-serializable",
    ),
    (
        Origin::DriverLog,
        "Traceback (most recent call last):\n  File \"a.py\"\npyspark.errors.exceptions.captured.PythonException: \n  An exception was thrown from the Python worker. Please see the stack trace below.\nTraceback (most recent call last):\n  File \"worker.py\"\npyarrow.lib.ArrowInvalid: Could not convert 'x' with type str: tried to convert to int64",
        "spark/python/udf-error",
    ),
    (
        Origin::DriverLog,
        "Exception in thread \"main\" org.apache.spark.SparkException: Exception thrown in awaitResult: \nCaused by: org.apache.spark.rpc.RpcTimeoutException: Futures timed out after [120 seconds]. This timeout is controlled by spark.rpc.askTimeout",
        "spark/rpc/timeout",
    ),
    (
        Origin::DriverLog,
        "Traceback (most recent call last):\n  File \"a.py\"\npy4j.protocol.Py4JJavaError: An error occurred while calling o1.parquet.\n: java.nio.file.AccessDeniedException: s3a://bucket/x: getFileStatus on s3a://bucket/x: com.amazonaws.services.s3.model.AmazonS3Exception: Forbidden (Service: Amazon S3; Status Code: 403; Error Code: 403 Forbidden)",
        "s3/access-denied",
    ),
    (
        Origin::DriverLog,
        "Exception in thread \"main\" org.apache.hadoop.fs.s3a.UnknownStoreException: `s3a://bucket/': Bucket does not exist: NoSuchBucket",
        "s3/not-found",
    ),
    (
        Origin::DriverLog,
        "Exception in thread \"main\" org.apache.hadoop.fs.s3a.AWSServiceThrottledException: PUT on x: Please reduce your request rate. (Service: Amazon S3; Status Code: 503; Error Code: SlowDown)",
        "s3/throttled",
    ),
    (
        Origin::DriverLog,
        "Exception in thread \"main\" java.io.InterruptedIOException: x\nCaused by: org.apache.http.conn.ConnectionPoolTimeoutException: Timeout waiting for connection from pool",
        "s3/timeout",
    ),
    (
        Origin::DriverLog,
        "Exception in thread \"main\" software.amazon.awssdk.services.s3.model.S3Exception: Storage backend has reached its minimum free drive threshold. XMinioStorageFull (Service: S3, Status Code: 507)",
        "s3/degraded",
    ),
    (
        Origin::Metastore,
        "metastore main tcp: FAILED after 3 ms: refused: connection refused",
        "hive/down",
    ),
    (
        Origin::Metastore,
        "metastore main get_all_databases: FAILED after 5000 ms: timeout: no answer",
        "hive/database",
    ),
    (
        Origin::PodLog,
        "java.sql.SQLTransientConnectionException: HikariPool-1 - Connection is not available, request timed out after 30000ms.",
        "hive/database",
    ),
    (Origin::Metastore, "metastore main get_all_databases: slow, 2400 ms", "hive/slow"),
    (
        Origin::PodLog,
        "MetaException(message:Hive Schema version 3.1.0 does not match metastore's schema version 2.3.0 Metastore is not upgraded or corrupt)",
        "hive/schema-mismatch",
    ),
    (
        Origin::DriverLog,
        "Exception in thread \"main\" org.apache.spark.sql.AnalysisException: x\nCaused by: org.apache.thrift.TApplicationException: Invalid method name: 'get_table_req'",
        "hive/version-mismatch",
    ),
    (
        Origin::DriverLog,
        "Exception in thread \"main\" java.io.IOException: DestHost:destPort nn:8020\nCaused by: javax.security.sasl.SaslException: GSS initiate failed [Caused by GSSException: No valid credentials provided (Mechanism level: Failed to find any Kerberos tgt)]",
        "auth/kerberos",
    ),
    (
        Origin::DriverLog,
        "Exception in thread \"main\" java.nio.file.AccessDeniedException: s3a://bucket/x\nCaused by: com.amazonaws.services.securitytoken.model.AWSSecurityTokenServiceException: Not authorized to perform sts:AssumeRoleWithWebIdentity (Service: AWSSecurityTokenService; Status Code: 403; Error Code: AccessDenied)",
        "auth/cloud-identity",
    ),
    (
        Origin::DriverLog,
        "Message: Failure executing: POST at: https://k/api/v1/namespaces/a/pods. Message: pods \"x\" is forbidden: exceeded quota: team-a, requested: limits.memory=4Gi, used: limits.memory=62Gi, limited: limits.memory=64Gi.",
        "kube/scheduling/quota-exceeded",
    ),
    (
        Origin::Event,
        "FailedScheduling Pod/etl-exec-4: 0/7 nodes are available: 4 Insufficient cpu, 3 node(s) had untolerated taint {dedicated: gpu}.",
        "kube/scheduling/insufficient-resources",
    ),
    (
        Origin::Event,
        "FailedScheduling Pod/etl-exec-4: 0/7 nodes are available: 7 node(s) had untolerated taint {dedicated: gpu}.",
        "kube/scheduling/constraints",
    ),
    (
        Origin::Event,
        "FailedScheduling Pod/etl-exec-4: 0/7 nodes are available: 7 node(s) didn't match Pod's node affinity/selector.",
        "kube/scheduling/constraints",
    ),
    (
        Origin::Event,
        "Failed Pod/web: Failed to pull image \"reg/x:1\": not found",
        "kube/pod/image-pull",
    ),
    (
        Origin::PodStatus,
        "pod etl-driver waiting: reason=ImagePullBackOff message=Back-off pulling image",
        "kube/pod/image-pull",
    ),
    (Origin::Event, "Failed Pod/web: Error: secret \"db\" not found", "kube/pod/config-missing"),
    (
        Origin::Event,
        "FailedCreatePodSandBox Pod/etl-exec-4: Failed to create pod sandbox: plugin type=\"aws-cni\" failed: failed to assign an IP address to container",
        "kube/pod/sandbox-failed",
    ),
    (
        Origin::Event,
        "NodeHasDiskPressure Node/node-1: Node node-1 status is now: NodeHasDiskPressure",
        "kube/node/pressure",
    ),
    (
        Origin::DriverLog,
        "26/11/23 05:40:52 ERROR Utils: Uncaught exception in thread kubernetes-executor-snapshots-subscribers-1\nio.fabric8.kubernetes.client.KubernetesClientException: Failure executing: POST at: https://k/api/v1/namespaces/a/pods. Message: Too Many Requests.",
        "kube/api/throttled",
    ),
    (
        Origin::DriverLog,
        "Exception in thread \"main\" java.lang.IllegalArgumentException: java.net.UnknownHostException: minio.storage",
        "kube/dns",
    ),
    (
        Origin::PodStatus,
        "pod web container app waiting: reason=CrashLoopBackOff message=back-off 5m0s",
        "kube/pod/crash-loop",
    ),
    (
        Origin::PodStatus,
        "pod web container app previously terminated: reason=OOMKilled exitCode=137 restarts=4",
        "kube/pod/oom-killed",
    ),
    (Origin::Event, "Unhealthy Pod/web: Liveness probe failed: HTTP 500", "kube/pod/probe-failed"),
    (Origin::PodLog, "panic: dial tcp: lookup db: no such host", "kube/pod/startup-error"),
];

#[test]
fn every_signature_has_an_example_and_stands_first_on_it() {
    let book = book();
    let mut shown = BTreeSet::new();
    for (origin, text, expected) in EXAMPLES {
        let found = ids(book, *origin, text);
        assert_eq!(found.first().map_or("-", String::as_str), *expected, "{text}\n{found:?}");
        assert!(!found.contains(&"spark/user/exception".to_owned()), "{text}");
        shown.insert((*expected).to_owned());
    }
    for folder in ["diagnose/failures", "spark"] {
        for (_, path) in all(folder) {
            let first =
                verdicts(&[path], b"").first().map(|v| v["id"].as_str().unwrap().to_owned());
            shown.extend(first);
        }
    }
    let without: Vec<&str> = book.ids().filter(|id| !shown.contains(*id)).collect();
    assert!(without.is_empty(), "no example: {without:?}");
}

#[test]
fn every_id_is_the_catalogues_or_a_documented_addition() {
    let text = fs::read_to_string(fixtures("diagnose/catalogue.txt")).unwrap();
    let catalogue: BTreeSet<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let book = book();
    let ids: BTreeSet<&str> = book.ids().collect();
    assert!(ids.len() >= 55, "{}", ids.len());
    let unknown: Vec<&&str> = ids.iter().filter(|id| !catalogue.contains(**id)).collect();
    assert_eq!(unknown, ADDITIONS.iter().collect::<Vec<_>>());
}

/// Configuration keys in a text: `spark.x.y`.
fn keys(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')));
    words
        .filter(|word| word.starts_with("spark."))
        .map(|word| word.trim_end_matches('.').to_owned())
        .collect()
}

#[test]
fn every_configuration_key_of_a_remedy_exists_in_spark() {
    let text = fs::read_to_string(fixtures("diagnose/spark-keys.txt")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let known: BTreeSet<&str> = lines.filter_map(|line| line.split(' ').next()).collect();
    let families: Vec<&&str> =
        known.iter().filter(|key| key.ends_with('.') && key.len() > "spark.".len()).collect();
    let exists =
        |key: &str| known.contains(key) || families.iter().any(|family| key.starts_with(**family));
    assert!(exists("spark.executor.memory") && exists("spark.hadoop.fs.s3a.connection.maximum"));
    assert!(!exists("spark.executor.memroy") && !exists("spark.shuffle.io.maxRetrys"));
    let mut seen = 0;
    for card in book().cards() {
        for key in keys(card.remedy) {
            seen += 1;
            assert!(exists(&key), "{}: Spark knows no `{key}`", card.id);
        }
    }
    assert!(seen > 40, "{seen}");
}

#[test]
fn every_signature_has_a_remedy_and_a_page() {
    for card in book().cards() {
        assert!(card.remedy.len() > 40, "{}", card.id);
        assert!(card.docs.is_some(), "{}", card.id);
    }
}

/// The page of all signatures, as it is committed.
fn page(book: &Book) -> String {
    let named =
        |ids: &[&str]| ids.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ");
    let mut page = vec![
        "# Signatures\n\nWhat Paramedic recognises in logs, pods, events and Spark's REST API. This page is written by a test from\n\
         `rules/signatures/*.yaml`. `paramedic diagnose log FILE…` uses them without a daemon.\n\n\
         A verdict quotes the lines it was made from. A cause stands before the symptoms it explains. `spark/user/exception` is\n\
         a last resort: it is left out when one of its causes was found. A failure nobody knows has no verdict.\n\n\
         Your own signatures go into the folder `signatures` of your playbooks; one with a shipped id replaces it.\n"
            .to_owned(),
        format!("The ids are those of the failure catalogue; these are additions for any pod: {}.\n", named(&ADDITIONS)),
    ];
    for card in book.cards() {
        let owner = match card.owner {
            Owner::User => "user",
            Owner::Platform => "platform",
            Owner::Data => "data",
            Owner::Infra => "infra",
        };
        page.push(format!("## {}\n", card.id));
        page.push(format!("Owner {owner}, {} % sure.", (card.confidence * 100.0).round()));
        if !card.explains.is_empty() {
            let explained: Vec<&str> = card.explains.iter().map(String::as_str).collect();
            page.push(format!("Explains {}.", named(&explained)));
        }
        page.push(format!("\n{}", card.remedy.trim_end()));
        page.extend(card.docs.map(|docs| format!("\n<{docs}>")));
        page.push(String::new());
    }
    page.join("\n").trim_end().to_owned() + "\n"
}

#[test]
fn the_page_of_signatures_is_the_one_that_is_committed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guide/signatures.md");
    let page = page(book());
    if fs::read_to_string(&path).unwrap_or_default() != page {
        fs::write(&path, page).unwrap();
        panic!("docs/guide/signatures.md was out of date and is written anew; commit it");
    }
}
