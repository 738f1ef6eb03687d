//! `prometheus.*`: what the cluster's Prometheus knows.

pub mod promql;
pub mod query;
