//! YAML to typed playbooks, signatures and on-call files, with source positions; the catalog swaps them atomically.

// pub mod model;
