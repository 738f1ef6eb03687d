//! `hive.*`: the Hive Metastore.

pub mod metastore;
