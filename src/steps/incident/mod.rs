//! Steps that write to the incident itself.

pub mod note;
