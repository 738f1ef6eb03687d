//! Fakes of the outside world: stateful, strict, over real sockets on loopback. Each fails its test on a call that it does
//! not expect.

pub mod alertmanager;
pub mod kube;
pub mod loki;
pub mod matrix;
pub mod metastore;
pub mod prometheus;
pub mod s3;
pub mod slack;
pub mod webhook_receiver;
