//! Verdicts of the daemon about real failures: an executor killed, a metastore dead, its database gone.

use serde_json::{Value, json};

use crate::bed::{
    Bed,
    daemon::Daemon,
    metastore::{Database, Metastore},
    postgres::Postgres,
    spark,
};

/// The ids of an incident's verdicts, best first.
fn verdicts(seen: &Value) -> Vec<&str> {
    let all = seen["card"]["verdicts"].as_array();
    all.into_iter().flatten().filter_map(|verdict| verdict["id"].as_str()).collect()
}

fn finished(seen: &Value) -> bool {
    let diagnosis = seen["card"]["diagnosis"].as_str().unwrap_or_default();
    diagnosis.starts_with("diagnosis finished")
}

#[tokio::test]
async fn a_killed_executor_of_a_real_application_is_named_by_the_verdict() {
    let bed = Bed::new();
    let app = spark::app_losing_an_executor(&bed).await;
    // The driver's own REST API speaks as a History Server does.
    let config = format!("clusters: {{ real: {{ history: '{}' }} }}", app.ui);
    let daemon = Daemon::start(&bed, &config).await;
    let labels = json!({
        "alertname": "SparkExecutorLost", "cluster": "real", "namespace": "spark-prod",
        "application_id": app.id, "severity": "critical",
    });
    daemon.alert("firing", &labels).await;
    let seen = daemon.until_incident("INC-1", "diagnosed", finished).await;
    assert_eq!(verdicts(&seen).first(), Some(&"spark/executor/killed"), "{seen:#}");
    let best = &seen["card"]["verdicts"][0];
    let executor = app.lost["id"].as_str().unwrap();
    let quotes = best["evidence"].to_string();
    assert!(quotes.contains(&format!("executor {executor}")), "{quotes}");
    assert!(quotes.contains("exited with code 137"), "{quotes}");
}

#[tokio::test]
async fn a_metastore_is_told_well_from_without_its_database_from_dead() {
    let bed = Bed::new();
    let mut postgres = Postgres::start(&bed).await;
    let mut metastore = Metastore::start(&bed, Database::Postgres(&postgres)).await;
    metastore.well().await;
    let config =
        format!("clusters: {{ real: {{ metastores: {{ main: '{}' }} }} }}", metastore.address);
    let daemon = Daemon::start(&bed, &config).await;
    let alert = |namespace: &str| {
        json!({ "alertname": "HiveMetastoreDown", "cluster": "real", "severity": "critical", "team": namespace,
                "job": namespace })
    };
    let ask = async |number: usize, job: &str| {
        let mut labels = alert(job);
        // An incident of its own each time.
        labels["namespace"] = json!(job);
        daemon.alert("firing", &labels).await;
        daemon.until_incident(&format!("INC-{number}"), "diagnosed", finished).await
    };

    // On a busy machine an answer may be slow: that is no verdict of a failure.
    let well = ask(1, "well").await;
    assert!(!verdicts(&well).contains(&"hive/down"), "{well:#}");
    assert!(!verdicts(&well).contains(&"hive/database"), "{well:#}");

    postgres.stop().await;
    let without = ask(2, "database-gone").await;
    assert_eq!(verdicts(&without).first(), Some(&"hive/database"), "{without:#}");
    let quotes = without["card"]["verdicts"][0]["evidence"].to_string();
    assert!(quotes.contains("get_all_databases: FAILED"), "{quotes}");

    metastore.process.kill();
    let dead = ask(3, "dead").await;
    assert_eq!(verdicts(&dead).first(), Some(&"hive/down"), "{dead:#}");
}
