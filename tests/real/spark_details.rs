//! What our `spark.*` steps read of a real application, while it runs and from its event log.

use paramedic::steps::spark::{
    environment::Environment,
    history::{EventLog, History},
    jobs::Jobs,
    sql::Sql,
    streaming::Streaming,
    threads::Threads,
};

use crate::bed::{Bed, on_spark::on_spark, spark, until};

#[tokio::test]
async fn jobs_queries_settings_threads_and_streams_are_read_live_and_from_history() {
    let bed = Bed::new();
    let mut app = spark::streaming_app(&bed).await;
    let (ui, id) = (app.ui.clone(), app.id.clone());

    let found = on_spark::<Jobs>(&ui, &id, "{ status: failed }").await;
    let job = &found.value.jobs[0];
    assert!(job.name.starts_with("count at ") && job.failed_stages == 1, "{job:?}");
    let found = on_spark::<Sql>(&ui, &id, "{ status: completed, limit: 20 }").await;
    assert!(
        found.value.executions.iter().any(|e| e.description.starts_with("collect at ")),
        "{found:?}"
    );
    let found = on_spark::<Environment>(&ui, &id, "{}").await;
    let keys: Vec<&str> = found.value.findings.iter().map(|finding| finding.key.as_str()).collect();
    assert_eq!(keys, ["spark.sql.autoBroadcastJoinThreshold", "spark.sql.shuffle.partition"]);
    assert!(!format!("{found:?}").contains("hunter2"), "{found:?}");
    let found = on_spark::<Threads>(&ui, &id, "{}").await;
    assert!(
        found
            .value
            .threads
            .iter()
            .any(|thread| thread.name.starts_with("stream execution thread for orders")),
        "{found:?}"
    );

    let batch = until("the stream's second batch", crate::bed::READY, async || {
        let found = on_spark::<Streaming>(&ui, &id, "{}").await;
        assert!(found.value.dstreams.is_none());
        found.value.queries.into_iter().find(|query| query.name == "orders" && query.batch > 0)
    })
    .await;
    assert!(!batch.id.is_empty() && !batch.run_id.is_empty(), "{batch:?}");

    app.end().await;
    let server = spark::HistoryServer::start(&bed, &app).await;
    let found = on_spark::<History>(&server.url, &id, "{}").await;
    assert_eq!((found.value.known, found.value.event_log), (true, EventLog::Complete), "{found:?}");
    assert_eq!(found.value.version, "3.5.9");
    let found = on_spark::<Jobs>(&server.url, &id, "{ status: failed }").await;
    // The stream's last job may have been ended in its middle.
    assert!(found.value.jobs.iter().any(|job| job.name.starts_with("count at ")), "{found:?}");
    let found = on_spark::<Sql>(&server.url, &id, "{}").await;
    assert!(found.value.total > 0, "{found:?}");
    let found = on_spark::<Environment>(&server.url, &id, "{}").await;
    assert!(!format!("{found:?}").contains("hunter2"), "{found:?}");
    let unknown = on_spark::<History>(&server.url, "app-of-nobody", "{}").await;
    assert_eq!((unknown.value.known, unknown.value.event_log), (false, EventLog::Missing));
}
