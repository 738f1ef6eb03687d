//! The scripted world of `paramedic demo`: a small cluster and its dying Spark job. Tests build on its API server.

pub mod apiserver;
pub mod world;
