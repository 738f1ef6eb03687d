//! A real executor dies by SIGKILL, and the driver says so.

use crate::bed::{Bed, spark};

#[tokio::test]
async fn a_killed_executor_is_removed_with_its_exit_code_in_the_drivers_rest_api_and_log() {
    let bed = Bed::new();
    let app = spark::app_losing_an_executor(&bed).await;
    let reason = app.lost["removeReason"].as_str().unwrap();
    assert!(reason.contains("Command exited with code 137"), "{reason}");
    let log = std::fs::read_to_string(&app.driver_log).unwrap();
    let id = app.lost["id"].as_str().unwrap();
    assert!(
        log.contains(&format!("Lost executor {id} on 127.0.0.1: Command exited with code 137"))
    );
    let url = format!("{}/api/v1/applications/{}", app.ui, app.id);
    assert_eq!(bed.json(&url).await.unwrap()["name"], "nightly-etl");
}
