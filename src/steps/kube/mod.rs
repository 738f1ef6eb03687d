//! Steps that read Kubernetes.

pub mod access;
pub mod diff;
pub mod events;
pub mod logs;
pub mod node;
pub mod object;
pub mod owners;
pub mod pods;
pub mod pvc;
pub mod quota;
pub mod rollout;
pub mod service;
pub mod top;

mod json;
mod passages;
mod selector;
mod text;
mod which;

pub(crate) use passages::pod_passages;
pub use selector::{LabelValue, Selector};
pub use text::{Pattern, Since};
pub use which::Role;

#[cfg(test)]
mod tests {
    use crate::steps::{Step, kube};

    fn check<S: Step>() {
        if let Err(error) = serde_saphyr::from_str::<S>(S::EXAMPLE) {
            panic!("{}: {error}", S::KIND);
        }
        let typo = format!("{}\nnot_an_input: 1", S::EXAMPLE);
        assert!(serde_saphyr::from_str::<S>(&typo).is_err(), "{} takes any key", S::KIND);
    }

    #[test]
    fn every_example_is_read_and_an_unknown_input_is_not() {
        check::<kube::pods::Pods>();
        check::<kube::logs::Logs>();
        check::<kube::events::Events>();
        check::<kube::object::Object>();
        check::<kube::node::Node>();
        check::<kube::owners::Owners>();
        check::<kube::rollout::Rollout>();
        check::<kube::quota::Quota>();
        check::<kube::pvc::Pvc>();
        check::<kube::service::Service>();
        check::<kube::access::Access>();
        check::<kube::top::Top>();
    }

    #[test]
    fn numbers_outside_their_range_are_refused() {
        for bad in
            ["tail: 0", "tail: 5001", "around: 51", "since: 8d", "grep: \"(\"", "role: master"]
        {
            assert!(serde_saphyr::from_str::<kube::logs::Logs>(bad).is_err(), "{bad}");
        }
    }
}
