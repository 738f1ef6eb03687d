//! Paramedic: first on the scene when Alertmanager calls.
//!
//! Read the modules in this order; each folder may use only what the table in `docs/ARCHITECTURE.md` allows
//! (`tests/it/architecture.rs` enforces it).
//!
//! 1. [`domain`]: what an incident is. Pure and synchronous: no clock, no IO.
//! 2. [`playbook`]: YAML to typed playbooks, signatures and on-call files, with source positions.
//! 3. [`clients`]: narrow clients of the outside world, one error type.
//! 4. [`steps`]: one file per diagnostic step kind.
//! 5. [`notify`]: one file per channel kind.
//! 6. [`store`]: durable state, one file per aggregate.
//! 7. [`engine`]: when things happen.
//! 8. [`http`], [`cli`]: the two faces. [`config`]: settings. [`ops`]: clock, tasks, metrics, tracing.
//! 9. `demo`: the scripted world of `paramedic demo`.

pub mod cli;
pub mod clients;
pub mod config;
#[cfg(feature = "demo")]
pub mod demo;
pub mod domain;
pub mod engine;
pub mod http;
pub mod notify;
pub mod ops;
pub mod playbook;
pub mod steps;
pub mod store;
