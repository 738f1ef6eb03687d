//! Stories across modules, against strict fakes over HTTP.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a story fails by panicking, in its helpers too"
)]

mod alertmanager_steps;
mod app;
mod architecture;
#[path = "../real/bed/mod.rs"]
mod bed;
mod bench;
mod channels;
mod cli_backup;
mod cli_incident;
mod cli_store;
mod clusters;
mod dead_man;
mod diagnose;
mod doctor;
mod engine;
mod fakes;
mod flow_steps;
mod heartbeats;
mod hive_steps;
mod http;
mod http_slack;
mod http_ui;
mod kube_steps;
mod kube_workloads;
mod logs_steps;
mod net_steps;
mod oncall;
mod outage;
mod playbooks;
mod prometheus_steps;
mod rbac;
mod reconcile;
mod recorder;
mod reload;
mod replicas;
mod retention;
mod s3_steps;
mod spark_details;
mod spark_steps;
mod store;
mod upgrade;
