//! YAML to typed playbooks, signatures and on-call files, with source positions; the catalog swaps them atomically.
//!
//! [`raw`] and [`step`] are the form as written, [`yaml`] reads it strictly, [`lint`] checks it and makes the [`model`],
//! [`catalog`] holds what is in force, [`reload`] replaces it, [`plan`] is the pure order of a run, [`cassette`] tests
//! playbooks with recorded answers, [`oncall`] reads people, schedules and policies.

pub mod cassette;
pub mod catalog;
pub mod diagnostic;
pub mod lint;
pub mod model;
pub mod needs;
pub mod oncall;
pub mod plan;
pub mod raw;
pub mod reload;
pub mod source;
pub mod step;
pub mod yaml;

#[cfg(test)]
mod shipped_tests;
