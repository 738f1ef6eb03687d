//! Which permissions a set of playbooks needs in its clusters, and for which of them.
//!
//! From the steps' `NEEDS` and the search for targets. What depends on a value nobody knows before the alert (the kind of a
//! `kube.object` that is a template) is told, not guessed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::model::Playbook;
use crate::steps::{
    Need, Spec, Step as _,
    kube::{node::Node, object::Granted},
    target::TargetSpec,
};

/// One verb on one resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permission {
    /// API group; "" is the core group.
    pub group: String,
    /// Resource, with its subresource.
    pub resource: String,
    /// Verb.
    pub verb: String,
}

/// Permissions, each with the playbooks that need it.
pub type Permissions = BTreeMap<Permission, BTreeSet<String>>;

/// What a set of playbooks needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// In each namespace that alerts come from.
    pub namespaced: Permissions,
    /// In the whole cluster: nodes, namespaces.
    pub cluster: Permissions,
    /// In the namespace `default`, where events of nodes lie.
    pub default_namespace: Permissions,
    /// What cannot be known, one sentence each.
    pub unknown: BTreeSet<String>,
    /// Of the evidence recorder, in each namespace that it watches.
    pub recorder: Permissions,
    /// Steps that can reach Spark's UI through the API server's proxy when nothing else works.
    pub proxy: BTreeSet<String>,
}

/// What the evidence recorder does in each namespace that it watches.
const RECORDER: [Need; 5] = [
    Need { group: "", resource: "pods", verb: "list" },
    Need { group: "", resource: "pods", verb: "watch" },
    Need { group: "", resource: "pods/log", verb: "get" },
    Need { group: "", resource: "events", verb: "list" },
    Need { group: "", resource: "events", verb: "watch" },
];

/// Resources that belong to the whole cluster.
const CLUSTER_WIDE: [(&str, &str); 2] = [("", "nodes"), ("", "namespaces")];

impl Permission {
    fn of(need: &Need) -> Self {
        let Need { group, resource, verb } = *need;
        Self { group: group.to_owned(), resource: resource.to_owned(), verb: verb.to_owned() }
    }

    /// True for what every account may do anyway: ask what it may do itself.
    fn is_everybodys(&self) -> bool {
        self.group == "authorization.k8s.io" && self.resource == "selfsubjectaccessreviews"
    }
}

impl Needs {
    /// What these playbooks need, and the recorder, which is always on.
    pub fn of(playbooks: &[Arc<Playbook>]) -> Self {
        let recorder = |need| (Permission::of(need), BTreeSet::from(["recorder".to_owned()]));
        let mut needs =
            Self { recorder: RECORDER.iter().map(recorder).collect(), ..Self::default() };
        for playbook in playbooks {
            if let Some(target) = &playbook.target {
                for need in target.needs() {
                    needs.add(Permission::of(need), &playbook.name);
                }
                if matches!(target, TargetSpec::SparkApp(_)) {
                    needs.proxied(playbook);
                }
            }
            for step in &playbook.steps {
                needs.step(step.spec.leaf(), playbook, &step.id);
            }
        }
        needs
    }

    /// Adds what `clusters.<name>.teams_by_namespace` needs.
    pub fn teams_by_namespace(&mut self) {
        let need = Need { group: "", resource: "namespaces", verb: "list" };
        self.add(Permission::of(&need), "teams_by_namespace");
    }

    fn step(&mut self, spec: &Spec, playbook: &Playbook, id: &str) {
        for need in spec.needs() {
            self.add(Permission::of(need), &playbook.name);
        }
        if spec.kind() == Node::KIND {
            let events = Need { group: "", resource: "events", verb: "list" };
            let who = self.default_namespace.entry(Permission::of(&events)).or_default();
            who.insert(playbook.name.clone());
        }
        let Spec::KubeObject(object) = spec else { return };
        match object.granted() {
            Granted::Known { group, resource, cluster_wide } => {
                let permission = Permission { group, resource, verb: "get".to_owned() };
                if cluster_wide {
                    self.cluster.entry(permission).or_default().insert(playbook.name.clone());
                } else {
                    self.add(permission, &playbook.name);
                }
            }
            Granted::Unknown(kind) => {
                self.unknown.insert(format!(
                    "playbook {}, step {id}: kube.object reads the kind `{kind}`, which is known only when it runs; grant `get` on what it may be",
                    playbook.name
                ));
            }
        }
    }

    fn proxied(&mut self, playbook: &Playbook) {
        let spark = |kind: &str| kind.starts_with("spark.") && kind != "spark.history";
        if playbook.steps.iter().any(|step| spark(step.spec.leaf().kind())) {
            self.proxy.insert(playbook.name.clone());
        }
    }

    fn add(&mut self, permission: Permission, playbook: &str) {
        if permission.is_everybodys() {
            return;
        }
        let wide =
            CLUSTER_WIDE.contains(&(permission.group.as_str(), permission.resource.as_str()));
        let of = if wide { &mut self.cluster } else { &mut self.namespaced };
        of.entry(permission).or_default().insert(playbook.to_owned());
    }
}
