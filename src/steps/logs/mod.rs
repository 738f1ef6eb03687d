//! `logs.*`: logs that were kept somewhere else than in the cluster.

pub mod loki;
