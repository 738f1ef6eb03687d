//! `prometheus.*`: what the cluster's Prometheus knows.

pub mod alerts;
pub mod promql;
pub mod query;
pub mod range;
pub mod rule;
pub mod targets;

use super::{Context, Failure};
use crate::clients::prometheus::Client;

/// The cluster's Prometheus, or why the step is skipped.
fn client<'a>(context: &Context<'a>) -> Result<&'a Client, Failure> {
    let cluster = context.cluster()?;
    cluster.prometheus.as_ref().ok_or_else(|| {
        Failure::Skipped(format!("cluster {} has no `prometheus:` configured", cluster.name))
    })
}
