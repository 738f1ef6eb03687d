//! Stories across modules, against strict fakes over HTTP.

mod fakes;
mod kube_steps;
mod spark_steps;
