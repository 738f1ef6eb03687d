//! `sql.*`: databases of the cluster's configuration.

pub mod query;
