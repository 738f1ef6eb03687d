//! `flow.*`: steps about other steps.

pub mod wait_until;
