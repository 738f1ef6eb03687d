//! YAML to typed playbooks, signatures and on-call files, with source positions; the catalog swaps them atomically.

pub mod diagnostic;
// pub mod model;
pub mod oncall;
pub mod yaml;
