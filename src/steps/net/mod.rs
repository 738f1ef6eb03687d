//! `net.*`: probes of addresses that a playbook or a label names, behind the egress guard.
//!
//! What a probe finds, a refused connection included, is its finding: the step is done. Only an address that the guard
//! does not allow is a failure, because then nothing was found out.

pub mod dns;
pub mod http;
pub mod tcp;
pub mod tls;

#[cfg(test)]
mod bench {
    //! A step's surroundings for the probes' tests. Their servers are on loopback, which the guard never allows, so the
    //! tests probe as `Trust::Configured`, and ask `run` only for the refusal.

    use futures::future::BoxFuture;

    use crate::{
        clients::http::{Client, Guard},
        domain::template::Scope,
        ops::clock::Clock,
        steps::{Context, Memory},
    };

    pub(super) struct Bench {
        pub(super) scope: Scope,
        pub(super) clock: Clock,
        http: Client,
        memory: Nothing,
    }

    /// A probe has no past.
    struct Nothing;

    impl Memory for Nothing {
        fn note<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<(), String>> {
            Box::pin(async { Err("a probe writes no notes".to_owned()) })
        }
    }

    impl Bench {
        pub(super) fn new() -> Self {
            let guard =
                Guard { allow: vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()] };
            Self {
                scope: Scope::default(),
                clock: Clock::System,
                http: Client::new(guard).unwrap(),
                memory: Nothing,
            }
        }

        pub(super) fn context(&self) -> Context<'_> {
            Context {
                scope: &self.scope,
                target: None,
                cluster: None,
                http: &self.http,
                memory: &self.memory,
                clock: &self.clock,
                idempotency_key: "run-1/probe",
            }
        }
    }
}
