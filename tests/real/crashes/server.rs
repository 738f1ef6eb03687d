//! PostgreSQL dies by kill -9 under load.

use super::{EACH_BY_ITSELF, PATIENCE, all_are_paged, labels};
use crate::bed::{Bed, daemon::Daemon, postgres::Postgres, until};

#[tokio::test]
async fn a_database_that_is_killed_under_load_loses_nothing_that_was_promised() {
    let bed = Bed::new();
    let mut postgres = Postgres::start(&bed).await;
    postgres.sql("postgres", "CREATE DATABASE paramedic");
    let store = format!("url: '{}', acquire_timeout: 1s", postgres.url("paramedic"));
    let daemon = Daemon::start_on(&bed, "a", &store, EACH_BY_ITSELF).await;
    let names: Vec<String> = (0..40).map(|number| format!("Broken{number}")).collect();
    let (half, told) = tokio::sync::oneshot::channel();
    let load = async {
        let mut half = Some(half);
        for (number, name) in names.iter().enumerate() {
            // As Alertmanager does: again until it is taken.
            let labels = labels(name);
            let taken = async || daemon.try_alert(&labels).await.filter(|status| *status == 200);
            until("it is taken", PATIENCE, taken).await;
            if number == names.len() / 2
                && let Some(half) = half.take()
            {
                half.send(()).unwrap();
            }
        }
    };
    let crash = async {
        told.await.unwrap();
        postgres.crash().await;
        postgres.start_again().await;
    };
    tokio::join!(load, crash);
    all_are_paged(&daemon, &names).await;
}
