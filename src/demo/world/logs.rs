//! Logs of the demo's driver and executors, line by line in the shape Spark 3.5 writes them.

use std::time::Duration;

use jiff::Timestamp;

use super::{APPLICATION, DRIVER, IMAGE, NAMESPACE, Times, executor};
use crate::demo::apiserver::{Cluster, stamp};

pub(super) fn fill(cluster: &Cluster, times: Times) {
    let driver = |at: Timestamp, lines: &[&str]| {
        let text: Vec<String> = lines.iter().map(|line| format!("{} {line}", clock(at))).collect();
        cluster.log(NAMESPACE, DRIVER, "spark-kubernetes-driver", at, &text.join("\n"));
    };
    let submitted = format!("INFO SparkContext: Submitted application: {APPLICATION}");
    driver(
        times.submitted,
        &[
            "INFO SparkContext: Running Spark version 3.5.9",
            &submitted,
            "INFO Utils: Successfully started service 'SparkUI' on port 4040.",
            "INFO ExecutorPodsAllocator: Going to request 2 executors from Kubernetes for ResourceProfile Id: 0, target: 2, known: 0, sharedSlotFromPendingPods: 2147483647.",
            "INFO KubernetesClusterSchedulerBackend: SchedulerBackend is ready for scheduling beginning after reached minRegisteredResourcesRatio: 0.8",
        ],
    );
    driver(
        times.stage,
        &[
            "INFO DAGScheduler: Submitting ShuffleMapStage 4 (MapPartitionsRDD[31] at join at Daily.scala:58), which has no missing parents",
            "INFO TaskSchedulerImpl: Adding task set 4.0 with 200 tasks resource profile 0",
            "INFO TaskSetManager: Starting task 117.0 in stage 4.0 (TID 617) (10.42.1.22, executor 2, partition 117, NODE_LOCAL, 9421 bytes) ",
        ],
    );
    driver(
        times.killed,
        &[
            "INFO KubernetesClusterSchedulerBackend$KubernetesDriverEndpoint: Disabling executor 2.",
            "INFO DAGScheduler: Executor lost: 2 (epoch 3)",
            "INFO BlockManagerMasterEndpoint: Trying to remove executor 2 from BlockManagerMaster.",
            "INFO DAGScheduler: Shuffle files lost for executor: 2 (epoch 3)",
            "WARN ExecutorPodsAllocator: 1 new failed executors.",
            "ERROR TaskSchedulerImpl: Lost executor 2 on 10.42.1.22: ",
        ],
    );
    let reason = removal(times);
    cluster.log(
        NAMESPACE,
        DRIVER,
        "spark-kubernetes-driver",
        times.killed,
        reason.trim_start_matches('\n'),
    );
    let lost = format!(
        "WARN TaskSetManager: Lost task 117.0 in stage 4.0 (TID 617) (10.42.1.22 executor 2): ExecutorLostFailure (executor 2 exited caused by one of the running tasks) Reason: {reason}"
    );
    driver(
        times.killed,
        &[
            &lost,
            "INFO ExecutorPodsAllocator: Going to request 1 executors from Kubernetes for ResourceProfile Id: 0, target: 2, known: 1, sharedSlotFromPendingPods: 2147483647.",
        ],
    );
    let dead = format!(
        "{at} INFO Executor: Running task 117.0 in stage 4.0 (TID 617)\n\
         {at} INFO ShuffleBlockFetcherIterator: Getting 200 (1841.3 MiB) non-empty blocks including 103 (948.7 MiB) local\n\
         {at} INFO UnsafeExternalSorter: Thread 71 spilling sort data of 1072.0 MiB to disk (0  time so far)\n\
         {later} INFO UnsafeExternalSorter: Thread 71 spilling sort data of 1088.0 MiB to disk (1  time so far)",
        at = clock(times.stage),
        later = clock(times.stage.checked_add(Duration::from_secs(90)).unwrap_or(times.stage)),
    );
    cluster.log(NAMESPACE, &executor(2), "spark-kubernetes-executor", times.stage, &dead);
    for (id, at) in [(1, times.submitted), (3, times.killed)] {
        let text = format!(
            "{} INFO CoarseGrainedExecutorBackend: Successfully registered with driver",
            clock(at)
        );
        cluster.log(NAMESPACE, &executor(id), "spark-kubernetes-executor", at, &text);
    }
}

/// The reason Spark records for executor 2, with the odd white space of the real one.
pub(super) fn removal(times: Times) -> String {
    format!(
        "\nThe executor with id 2 exited with exit code 137(SIGKILL, possible container OOM).\n\n\n\n\
         The API gave the following container statuses:\n\n\n\
         \t container name: spark-kubernetes-executor\n\
         \t container image: {IMAGE}\n\
         \t container state: terminated\n\
         \t container started at: {}\n\
         \t container finished at: {}\n\
         \t exit code: 137\n\
         \t termination reason: OOMKilled\n      ",
        stamp(times.submitted),
        stamp(times.killed),
    )
}

/// A time as Spark's log writes it.
fn clock(at: Timestamp) -> String {
    at.strftime("%y/%m/%d %H:%M:%S").to_string()
}
