//! What the process needs to run well: clock, task lifecycle, metrics, tracing. Uses nothing of ours.

pub mod clock;
pub mod guard;
pub mod lifecycle;
pub mod metrics;
pub mod telemetry;
