//! Stories against the real servers: Prometheus, Alertmanager, the Hive Metastore, PostgreSQL, Spark, Synapse, moto.
//!
//! Nothing is skipped when a server is missing: `./tests/run install` installs them all. Each story starts its own
//! servers on free loopback ports and takes them down again, whatever happens.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a story fails by panicking, in its helpers too"
)]

mod alertmanager;
mod bed;
mod chat;
mod crashes;
mod daemon;
mod database;
mod diagnosis;
mod failures;
mod homeserver;
mod kubectl;
mod kubernetes;
mod metastore;
mod monitoring;
mod reconcile;
mod recorder;
mod replicas;
mod spark;
mod spark_details;
mod storage;
mod synapse;
#[path = "../it/fakes/webhook_receiver.rs"]
#[allow(dead_code, reason = "stories of `it` use all of it")]
mod webhook_receiver;
