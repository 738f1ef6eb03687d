//! Stories across modules, against strict fakes over HTTP.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a story fails by panicking, in its helpers too"
)]

mod app;
mod architecture;
mod bench;
mod channels;
mod cli_incident;
mod diagnose;
mod engine;
mod fakes;
mod flow_steps;
mod heartbeats;
mod hive_steps;
mod http;
mod http_slack;
mod http_ui;
mod kube_steps;
mod net_steps;
mod oncall;
mod playbooks;
mod spark_steps;
mod store;
