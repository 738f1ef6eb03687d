//! Stateful, strict fakes of the outside world, over HTTP.

pub mod kube;
