//! Fakes of the outside world: stateful, strict, over real sockets on loopback. Each fails its test on a call that it does
//! not expect.

pub mod kube;
pub mod matrix;
pub mod metastore;
pub mod prometheus;
pub mod slack;
pub mod webhook_receiver;
