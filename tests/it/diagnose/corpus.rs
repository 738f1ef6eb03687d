//! Logs and answers of real failures and of real healthy runs, of Spark 3.5 and 4.1, plain and structured.

use super::{all, ids, verdicts};

fn table(folder: &str) -> String {
    let said: Vec<String> = all(folder)
        .into_iter()
        .map(|(name, path)| {
            format!("{name:36} {}", ids(&verdicts(&[path], b""))).trim_end().to_owned()
        })
        .collect();
    said.join("\n")
}

#[test]
fn every_real_failure_has_its_cause_first() {
    insta::assert_snapshot!(table("diagnose/failures"), @r"
        spark35-cast                         spark/user/exception
        spark35-checkpoint                   spark/streaming/checkpoint
        spark35-column                       spark/sql/analysis-error
        spark35-datasource                   spark/driver/class-missing
        spark35-dbz                          spark/user/exception
        spark35-driverexc                    spark/user/exception
        spark35-driveroom                    spark/driver/heap-oom
        spark35-driveroom2                   spark/driver/heap-oom
        spark35-heapoom                      spark/executor/heap-oom
        spark35-hmsdown                      hive/down
        spark35-killexec                     spark/executor/killed
        spark35-pycrash                      spark/python/worker-crash
        spark35-pyexc                        spark/user/exception
        spark35-s3a                          spark/driver/class-missing
        spark35-udfclass                     spark/driver/class-missing
        spark41-cast                         spark/user/exception
        spark41-checkpoint                   spark/streaming/checkpoint
        spark41-column                       spark/sql/analysis-error
        spark41-datasource                   spark/driver/class-missing
        spark41-dbz                          spark/user/exception
        spark41-driverexc                    spark/user/exception
        spark41-driveroom                    spark/driver/heap-oom
        spark41-driveroom2                   spark/driver/heap-oom
        spark41-heapoom                      spark/executor/heap-oom
        spark41-hmsdown                      hive/down
        spark41-killexec                     spark/executor/killed
        spark41-maxres                       spark/driver/result-too-large
        spark41-path                         spark/sql/analysis-error
        spark41-pycrash                      spark/python/worker-crash
        spark41-pyexc                        spark/user/exception
        spark41-s3a                          spark/driver/class-missing
        spark41-syntax                       spark/sql/analysis-error
        spark41-table                        spark/sql/analysis-error
        spark41-udfclass                     spark/driver/class-missing
        spark41json-driverexc                spark/user/exception
        spark41json-driveroom                spark/driver/heap-oom
        spark41json-heapoom                  spark/executor/heap-oom
        spark41json-hmsdown                  hive/down
        spark41json-killexec                 spark/executor/killed
        spark41json-maxres                   spark/driver/result-too-large
        spark41json-path                     spark/sql/analysis-error
        spark41json-pycrash                  spark/python/worker-crash
        spark41json-pyexc                    spark/user/exception
        spark41json-s3a                      spark/driver/class-missing
        spark41json-syntax                   spark/sql/analysis-error
        spark41json-table                    spark/sql/analysis-error
        ");
}

#[test]
fn every_log_of_a_playbook_story_has_its_cause_first() {
    insta::assert_snapshot!(table("spark"), @r"
        driver-executor-lost-kill9           spark/executor/killed
        driver-executor-oom                  spark/executor/heap-oom
        driver-fetchfailed-executor-killed   spark/executor/killed > spark/shuffle/fetch-failed
        driver-hb-timeout                    spark/executor/heartbeat-timeout
        driver-healthy
        driver-hms-down                      hive/down
        driver-jdbc-classnotfound            spark/driver/class-missing
        driver-k8s-cluster-submit
        driver-k8s-executor-oom              spark/executor/heap-oom > spark/executor/max-failures
        driver-k8slost                       spark/executor/oom-killed
        driver-lclost                        spark/executor/killed
        driver-nospace                       spark/storage/scratch-disk-full
        driver-path-missing                  spark/sql/analysis-error
        driver-py-crash                      spark/user/exception
        driver-s3a-nojar                     spark/driver/class-missing
        driver-standalone-worker-stopped     spark/executor/decommissioned
        driver-table-missing                 spark/sql/analysis-error
        executor-eoom                        spark/executor/heap-oom
        executor-etl-daily
        executor-nightly-report              spark/user/exception
        executor-poddel                      spark/executor/decommissioned
        executor-quota                       spark/user/exception
        local-bcast                          spark/sql/broadcast-timeout
        local-disk                           spark/storage/scratch-disk-full
        local-fetch                          spark/executor/killed > spark/shuffle/fetch-failed
        local-heartbeat                      spark/executor/heartbeat-timeout
        local-kill                           spark/executor/killed
        local-maxres                         spark/driver/result-too-large
        local-nosuchfs                       spark/driver/class-missing
        local-oom                            spark/driver/heap-oom
        local-syntax                         spark/sql/analysis-error
        local-table                          spark/sql/analysis-error
        ");
}

#[test]
fn pods_and_answers_of_spark_have_their_cause_first() {
    insta::assert_snapshot!(table("diagnose/objects"), @r"
        k8s-executorlost-watch               spark/executor/oom-killed
        pod-driver-1
        pod-driver-2
        pod-executor-sigterm
        rest-app-allexecutors
        rest-app-stages-failed               spark/user/exception
        rest-executorlost-allexecutors       spark/executor/killed
        rest-failedstage-stages-failed       spark/user/exception
        rest-healthy-allexecutors
        rest-healthy-jobs
        rest-history-executor-lost           spark/executor/killed
        rest-k8s-executorlost-allexecutors   spark/executor/oom-killed
        watch
        ");
}

#[test]
fn a_healthy_run_has_no_verdict_whatever_it_says() {
    for (name, path) in all("diagnose/healthy") {
        let found = verdicts(&[path], b"");
        assert!(found.is_empty(), "{name}: {found:#?}");
    }
}
