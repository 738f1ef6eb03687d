//! Fakes of the outside world: stateful, strict, over real sockets on loopback. Each fails its test on a call that it does
//! not expect.

pub mod kube;
pub mod metastore;
pub mod prometheus;
