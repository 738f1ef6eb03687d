//! The ladder against a real Hive Metastore: well, frozen, dead, and with its database gone.

use std::time::Duration;

use paramedic::{
    clients::hive::{Client, Deadlines, FailureKind, Ladder, RungName, TableName, Verdict},
    domain::template::Filled as _,
    ops::clock::Clock,
};

use crate::bed::{
    Bed,
    metastore::{Database, Metastore},
    postgres::Postgres,
    process::Process,
    spark, until,
};

async fn climb(metastore: &Metastore, canary: Option<&str>) -> Ladder {
    let client = Client::new(&metastore.address).unwrap();
    let canary = canary.map(|name| TableName::parse(name).unwrap());
    // On a busy machine a healthy answer may take long; "slow" is not what these stories are about.
    let deadlines = Deadlines { slow: Duration::from_mins(1), ..Deadlines::default() };
    client.ladder(&deadlines, canary.as_ref(), &Clock::System).await
}

/// Waits for this verdict; a server that has just started, or lost its database, takes a while.
async fn until_verdict(metastore: &Metastore, canary: Option<&str>, verdict: Verdict) -> Ladder {
    let what = format!("the verdict {}", verdict.word());
    until(&what, Duration::from_mins(2), async || {
        Some(climb(metastore, canary).await).filter(|ladder| ladder.verdict == verdict)
    })
    .await
}

fn last(ladder: &Ladder) -> (RungName, Option<FailureKind>) {
    ladder.rungs.last().map(|rung| (rung.name, rung.kind)).unwrap()
}

#[tokio::test]
async fn a_metastore_is_well_then_frozen_then_well_then_dead() {
    let bed = Bed::new();
    let mut metastore = Metastore::start(&bed, Database::Derby).await;
    let ladder = until_verdict(&metastore, None, Verdict::Ok).await;
    assert_eq!(last(&ladder), (RungName::GetAllDatabases, None));

    metastore.process.freeze();
    let ladder = climb(&metastore, None).await;
    assert_eq!(ladder.verdict, Verdict::ThreadStarved);
    assert_eq!(last(&ladder), (RungName::GetStatus, Some(FailureKind::Timeout)));
    metastore.process.thaw();
    until_verdict(&metastore, None, Verdict::Ok).await;

    metastore.process.kill();
    let ladder = climb(&metastore, None).await;
    assert_eq!(ladder.verdict, Verdict::Down);
    assert_eq!(last(&ladder), (RungName::Tcp, Some(FailureKind::Refused)));
}

#[tokio::test]
async fn a_table_that_spark_made_is_the_canary_and_one_that_nobody_made_is_missing() {
    let bed = Bed::new();
    let metastore = Metastore::start(&bed, Database::Derby).await;
    until_verdict(&metastore, None, Verdict::Ok).await;
    let ladder = climb(&metastore, Some("ops.canary")).await;
    assert_eq!(ladder.verdict, Verdict::CanaryMissing);
    assert!(ladder.rungs.last().unwrap().reason.contains("ops.canary"), "{ladder:?}");

    let script = bed.file("spark/canary.py", CANARY);
    let mut submit = spark::submit(&bed, "local[1]", &script);
    submit.env("METASTORE", format!("thrift://{}", metastore.address));
    let log = bed.folder("spark").join("canary.log");
    let mut making = Process::start("spark-submit", &mut submit, log);
    assert!(making.ended().await.success(), "{}", making.output());
    let ladder = climb(&metastore, Some("ops.canary")).await;
    assert_eq!(ladder.verdict, Verdict::Ok);
    assert_eq!(last(&ladder), (RungName::GetTable, None));
}

#[tokio::test]
async fn a_stopped_database_behind_a_living_metastore_is_found_in_time_and_its_return_too() {
    let bed = Bed::new();
    let mut postgres = Postgres::start(&bed).await;
    let metastore = Metastore::start(&bed, Database::Postgres(&postgres)).await;
    until_verdict(&metastore, None, Verdict::Ok).await;

    postgres.stop().await;
    let ladder = climb(&metastore, None).await;
    assert_eq!(ladder.verdict, Verdict::Database, "{ladder:?}");
    let status = ladder.rungs.iter().find(|rung| rung.name == RungName::GetStatus).unwrap();
    assert_eq!(status.kind, None);
    assert_eq!(last(&ladder), (RungName::GetAllDatabases, Some(FailureKind::Timeout)));
    let total: u64 = ladder.rungs.iter().map(|rung| rung.latency_ms).sum();
    assert!(u128::from(total) <= Deadlines::default().whole.as_millis(), "{ladder:?}");

    postgres.start_again().await;
    until_verdict(&metastore, None, Verdict::Ok).await;
}

/// Makes the canary table through the metastore.
const CANARY: &str = r#"
import os
from pyspark.sql import SparkSession

spark = (
    SparkSession.builder.appName("canary")
    .config("spark.hadoop.hive.metastore.uris", os.environ["METASTORE"])
    .enableHiveSupport()
    .getOrCreate()
)
spark.sql("CREATE DATABASE ops")
spark.sql("CREATE TABLE ops.canary (at TIMESTAMP, note STRING) PARTITIONED BY (day STRING) STORED AS PARQUET")
spark.stop()
"#;
