//! `paramedic rbac`: the Roles that the loaded playbooks and the evidence recorder need, and nothing more, ready for
//! `kubectl apply`.
//!
//! From the steps' `NEEDS`, and for the recorder from `recorder.namespaces`; each rule says which playbooks it is for. What
//! is optional or cannot be known stands there as a comment.

use std::{
    collections::BTreeMap, collections::BTreeSet, fmt::Write as _, io::Write, path::PathBuf,
    process::ExitCode,
};

use jiff::civil::Date;
use serde_json::{Value, json};

use super::wire;
use crate::{
    config::Config,
    domain::template::{Filled as _, Name},
    playbook::{
        catalog::{Catalog, Shipped},
        needs::{Needs, Permission, Permissions},
    },
};

/// Prints roles and bindings for kubectl
#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// Folder of your playbooks; the shipped ones are always in force. Default: that of --config
    #[arg(long, value_name = "DIR")]
    pub playbooks: Option<PathBuf>,
    /// Configuration file, for its playbooks and clusters
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A namespace that alerts come from; repeat it for each
    #[arg(long, value_name = "NAMESPACE", required_unless_present = "cluster_wide")]
    pub namespace: Vec<String>,
    /// One role for all namespaces instead
    #[arg(long, conflicts_with = "namespace")]
    pub cluster_wide: bool,
    /// Service account to bind, as NAMESPACE/NAME
    #[arg(long, value_name = "ACCOUNT", default_value = "paramedic/paramedic")]
    pub service_account: String,
    /// Allow the API server's proxy to pods too, for Spark UIs that cannot be reached otherwise
    #[arg(long)]
    pub with_proxy: bool,
    /// How to answer
    #[arg(long, value_enum, default_value_t = Form::Yaml)]
    pub output: Form,
}

/// How it is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// With comments, for people and kubectl.
    #[default]
    Yaml,
    /// One `List` object.
    Json,
}

/// Runs it. `today` is for the age of reviews.
pub fn run(args: &Args, today: Date, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let config = args.config.as_deref().map(|path| Config::from_process(Some(path))).transpose()?;
    let by_namespace =
        config.iter().any(|config| config.clusters.values().any(|c| c.teams_by_namespace));
    let recorded = config.as_ref().map(|config| config.recorder.namespaces.clone());
    let dir = args.playbooks.clone().or(config.and_then(|config| config.playbooks.dir));
    let catalog = match &dir {
        Some(dir) => Catalog::load(dir, Shipped::Used, today),
        None => Catalog::shipped(today),
    };
    let catalog = catalog.map_err(|found| wire::refused("the playbooks", &found))?;
    let mut needs = Needs::of(&catalog.playbooks);
    if by_namespace {
        needs.teams_by_namespace();
    }
    let roles = roles(args, needs, recorded)?;
    match args.output {
        Form::Yaml => out.write_all(yaml(args, &roles, catalog.playbooks.len())?.as_bytes())?,
        Form::Json => writeln!(out, "{}", serde_json::to_string_pretty(&list(args, &roles)?)?)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A role with its binding.
struct Role {
    /// `None`: a `ClusterRole`.
    namespace: Option<String>,
    name: &'static str,
    rules: Vec<Rule>,
    remarks: Vec<String>,
}

/// Resources of one group with the same verbs for the same playbooks.
struct Rule {
    group: String,
    resources: Vec<String>,
    verbs: Vec<String>,
    playbooks: BTreeSet<String>,
}

fn add(all: &mut Permissions, more: Permissions) {
    for (permission, playbooks) in more {
        all.entry(permission).or_default().extend(playbooks);
    }
}

/// `recorded`: the configuration's `recorder.namespaces`; `None` without a configuration.
fn roles(
    args: &Args,
    mut needs: Needs,
    recorded: Option<Vec<String>>,
) -> anyhow::Result<Vec<Role>> {
    for namespace in &args.namespace {
        Name::parse(namespace).map_err(|error| anyhow::anyhow!("--namespace: {error}"))?;
    }
    let mut remarks: Vec<String> = needs.unknown.iter().cloned().collect();
    let proxy = Permission {
        group: String::new(),
        resource: "pods/proxy".to_owned(),
        verb: "get".to_owned(),
    };
    if args.with_proxy && !needs.proxy.is_empty() {
        needs.namespaced.insert(proxy, needs.proxy.clone());
    } else if !needs.proxy.is_empty() {
        remarks.push("only when Spark UIs cannot be reached at their pod's address: --with-proxy adds `get` on pods/proxy, which reaches every port of every pod".to_owned());
    }
    let (read, wide) = ("paramedic-read", "paramedic-read-cluster");
    if args.cluster_wide {
        let mut all = needs.namespaced;
        for more in [needs.cluster, needs.default_namespace, needs.recorder] {
            add(&mut all, more);
        }
        return Ok(vec![Role { namespace: None, name: read, rules: rules(&all), remarks }]);
    }
    let mut found = vec![];
    let recorded = match recorded {
        Some(named) if named.is_empty() => {
            add(&mut needs.cluster, needs.recorder.clone());
            vec![]
        }
        Some(named) => named,
        None => {
            remarks.push("the recorder watches all namespaces unless `recorder.namespaces` names them: name those of these roles there, or print for your --config".to_owned());
            args.namespace.clone()
        }
    };
    let nodes = needs.cluster.keys().any(|permission| permission.resource == "nodes");
    if !needs.cluster.is_empty() {
        let mut remarks = vec![];
        if nodes {
            remarks.push("optional: `list` on pods here lets kube.node count the requests of all pods of a node, not only those of the run's namespace".to_owned());
        }
        if recorded.is_empty() {
            remarks.push(
                "the recorder watches all namespaces, because `recorder.namespaces` names none"
                    .to_owned(),
            );
        }
        found.push(Role { namespace: None, name: wide, rules: rules(&needs.cluster), remarks });
    }
    let own = args.namespace.iter().any(|namespace| namespace == "default");
    if !needs.default_namespace.is_empty() && !own {
        let name = "paramedic-read-node-events";
        let namespace = Some("default".to_owned());
        found.push(Role {
            namespace,
            name,
            rules: rules(&needs.default_namespace),
            remarks: vec![],
        });
    }
    for namespace in args.namespace.iter().chain(&recorded).collect::<BTreeSet<_>>() {
        let mut here = Permissions::new();
        if recorded.contains(namespace) {
            add(&mut here, needs.recorder.clone());
        }
        if args.namespace.contains(namespace) {
            add(&mut here, needs.namespaced.clone());
            if namespace == "default" {
                add(&mut here, needs.default_namespace.clone());
            }
        }
        let namespace = Some(namespace.clone());
        found.push(Role { namespace, name: read, rules: rules(&here), remarks: remarks.clone() });
    }
    Ok(found)
}

fn rules(permissions: &Permissions) -> Vec<Rule> {
    type Wanted<'a> = (BTreeSet<&'a str>, BTreeSet<String>);
    let mut verbs: BTreeMap<(&str, &str), Wanted<'_>> = BTreeMap::new();
    for (permission, playbooks) in permissions {
        let entry = verbs.entry((&permission.group, &permission.resource)).or_default();
        entry.0.insert(&permission.verb);
        entry.1.extend(playbooks.iter().cloned());
    }
    let mut rules: Vec<Rule> = vec![];
    for ((group, resource), (verbs, playbooks)) in verbs {
        let verbs: Vec<String> = verbs.into_iter().map(str::to_owned).collect();
        let same = rules
            .iter_mut()
            .find(|rule| rule.group == group && rule.verbs == verbs && rule.playbooks == playbooks);
        match same {
            Some(rule) => rule.resources.push(resource.to_owned()),
            None => rules.push(Rule {
                group: group.to_owned(),
                resources: vec![resource.to_owned()],
                verbs,
                playbooks,
            }),
        }
    }
    rules
}

fn account(args: &Args) -> anyhow::Result<(&str, &str)> {
    let parts = args.service_account.split_once('/');
    let fine = |part: &str| Name::parse(part).is_ok();
    parts.filter(|(namespace, name)| fine(namespace) && fine(name)).ok_or_else(|| {
        anyhow::anyhow!("--service-account: write NAMESPACE/NAME, such as paramedic/paramedic")
    })
}

impl Role {
    fn kind(&self) -> &'static str {
        if self.namespace.is_some() { "Role" } else { "ClusterRole" }
    }
}

fn yaml(args: &Args, roles: &[Role], playbooks: usize) -> anyhow::Result<String> {
    let (namespace, account) = account(args)?;
    let mut text = format!(
        "# What {playbooks} playbooks and the evidence recorder need, and nothing more. Printed by `paramedic rbac`; apply with kubectl apply -f.\n"
    );
    if !args.cluster_wide {
        text.push_str("# Alerts without a label `namespace` search all namespaces for their application: only for those use --cluster-wide.\n");
    }
    for role in roles {
        let kind = role.kind();
        let place =
            role.namespace.as_ref().map(|n| format!(", namespace: {n}")).unwrap_or_default();
        let head = "apiVersion: rbac.authorization.k8s.io/v1";
        writeln!(
            text,
            "---\n{head}\nkind: {kind}\nmetadata: {{ name: {}{place} }}\nrules:",
            role.name
        )?;
        for Rule { group, resources, verbs, playbooks } in &role.rules {
            let names: Vec<&str> = playbooks.iter().map(String::as_str).collect();
            let group = if group.is_empty() { "\"\"" } else { group };
            let (resources, verbs) = (resources.join(", "), verbs.join(", "));
            writeln!(text, "  # {}", names.join(", "))?;
            writeln!(
                text,
                "  - {{ apiGroups: [{group}], resources: [{resources}], verbs: [{verbs}] }}"
            )?;
        }
        for remark in &role.remarks {
            writeln!(text, "  # NOTE {}", crate::clients::kube::one_line(remark, 500))?;
        }
        writeln!(
            text,
            "---\n{head}\nkind: {kind}Binding\nmetadata: {{ name: {}{place} }}",
            role.name
        )?;
        writeln!(
            text,
            "roleRef: {{ apiGroup: rbac.authorization.k8s.io, kind: {kind}, name: {} }}",
            role.name
        )?;
        writeln!(
            text,
            "subjects:\n  - {{ kind: ServiceAccount, name: {account}, namespace: {namespace} }}"
        )?;
    }
    Ok(text)
}

fn list(args: &Args, roles: &[Role]) -> anyhow::Result<Value> {
    let (namespace, account) = account(args)?;
    let mut items = vec![];
    for role in roles {
        let (api, kind) = ("rbac.authorization.k8s.io/v1", role.kind());
        let mut metadata = json!({ "name": role.name });
        if let Some(namespace) = &role.namespace {
            metadata["namespace"] = json!(namespace);
        }
        let rule = |rule: &Rule| json!({ "apiGroups": [rule.group], "resources": rule.resources, "verbs": rule.verbs });
        let granted: Vec<Value> = role.rules.iter().map(rule).collect();
        items.push(
            json!({ "apiVersion": api, "kind": kind, "metadata": metadata, "rules": granted }),
        );
        items.push(
            json!({ "apiVersion": api, "kind": format!("{kind}Binding"), "metadata": metadata,
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role.name },
            "subjects": [{ "kind": "ServiceAccount", "name": account, "namespace": namespace }] }),
        );
    }
    Ok(json!({ "apiVersion": "v1", "kind": "List", "items": items }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Date = jiff::civil::date(2026, 11, 23);

    fn said(args: &Args) -> String {
        let mut out = Vec::new();
        assert_eq!(run(args, DAY, &mut out).unwrap(), ExitCode::SUCCESS);
        String::from_utf8(out).unwrap()
    }

    fn args(namespaces: &[&str]) -> Args {
        Args {
            namespace: namespaces.iter().map(|n| (*n).to_owned()).collect(),
            cluster_wide: namespaces.is_empty(),
            service_account: "paramedic/paramedic".to_owned(),
            ..Args::default()
        }
    }

    fn with(step: &str) -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            "name: mine\ntitle: t\nowner: team:x\nmatch: [a=b]\nsteps:\n  - id: one\n    {step}\n"
        );
        std::fs::write(dir.path().join("mine.yaml"), text).unwrap();
        let asked = Args { playbooks: Some(dir.path().to_owned()), ..args(&["spark-prod"]) };
        let text = said(&asked);
        (dir, text)
    }

    #[test]
    fn the_shipped_playbooks_need_this() {
        insta::assert_snapshot!(said(&args(&["spark-prod"])), @r#"
        # What 5 playbooks and the evidence recorder need, and nothing more. Printed by `paramedic rbac`; apply with kubectl apply -f.
        # Alerts without a label `namespace` search all namespaces for their application: only for those use --cluster-wide.
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRole
        metadata: { name: paramedic-read-cluster }
        rules:
          # spark-driver-failed, spark-executor-lost
          - { apiGroups: [""], resources: [nodes], verbs: [get] }
          # NOTE optional: `list` on pods here lets kube.node count the requests of all pods of a node, not only those of the run's namespace
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: ClusterRoleBinding
        metadata: { name: paramedic-read-cluster }
        roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: paramedic-read-cluster }
        subjects:
          - { kind: ServiceAccount, name: paramedic, namespace: paramedic }
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: Role
        metadata: { name: paramedic-read-node-events, namespace: default }
        rules:
          # spark-driver-failed, spark-executor-lost
          - { apiGroups: [""], resources: [events], verbs: [list] }
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: RoleBinding
        metadata: { name: paramedic-read-node-events, namespace: default }
        roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: paramedic-read-node-events }
        subjects:
          - { kind: ServiceAccount, name: paramedic, namespace: paramedic }
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: Role
        metadata: { name: paramedic-read, namespace: spark-prod }
        rules:
          # pod-crashloop, recorder, spark-driver-failed, spark-executor-lost
          - { apiGroups: [""], resources: [events], verbs: [list, watch] }
          # pod-crashloop, spark-driver-failed, spark-executor-lost
          - { apiGroups: [""], resources: [limitranges, resourcequotas], verbs: [list] }
          # hive-metastore-down, pod-crashloop, recorder, spark-driver-failed, spark-executor-lost
          - { apiGroups: [""], resources: [pods], verbs: [get, list, watch] }
          # hive-metastore-down, pod-crashloop, recorder, spark-driver-failed, spark-executor-lost
          - { apiGroups: [""], resources: [pods/log], verbs: [get] }
          # pod-crashloop
          - { apiGroups: [apps], resources: [controllerrevisions], verbs: [list] }
          # pod-crashloop
          - { apiGroups: [apps], resources: [daemonsets, deployments, statefulsets], verbs: [get] }
          # pod-crashloop
          - { apiGroups: [apps], resources: [replicasets], verbs: [get, list] }
          # pod-crashloop
          - { apiGroups: [batch], resources: [cronjobs, jobs], verbs: [get] }
          # pod-crashloop, spark-driver-failed, spark-executor-lost
          - { apiGroups: [spark.apache.org], resources: [sparkapplications], verbs: [get] }
          # pod-crashloop
          - { apiGroups: [sparkoperator.k8s.io], resources: [scheduledsparkapplications], verbs: [get] }
          # pod-crashloop, spark-driver-failed, spark-executor-lost
          - { apiGroups: [sparkoperator.k8s.io], resources: [sparkapplications, sparkconnects], verbs: [get] }
          # NOTE only when Spark UIs cannot be reached at their pod's address: --with-proxy adds `get` on pods/proxy, which reaches every port of every pod
          # NOTE the recorder watches all namespaces unless `recorder.namespaces` names them: name those of these roles there, or print for your --config
        ---
        apiVersion: rbac.authorization.k8s.io/v1
        kind: RoleBinding
        metadata: { name: paramedic-read, namespace: spark-prod }
        roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: paramedic-read }
        subjects:
          - { kind: ServiceAccount, name: paramedic, namespace: paramedic }
        "#);
    }

    #[test]
    fn the_shipped_manifest_grants_the_shipped_playbooks_exactly_this() {
        let printed: Value =
            serde_json::from_str(&said(&Args { output: Form::Json, ..args(&[]) })).unwrap();
        let manifest = include_str!("../../deploy/kubernetes/rbac.yaml");
        let mut granted = BTreeSet::new();
        let mut needed = BTreeSet::new();
        let add = |rules: &Value, to: &mut BTreeSet<String>| {
            for rule in rules.as_array().unwrap() {
                for resource in rule["resources"].as_array().unwrap() {
                    for verb in rule["verbs"].as_array().unwrap() {
                        to.insert(format!("{} {resource} {verb}", rule["apiGroups"][0]));
                    }
                }
            }
        };
        for part in manifest.split("\n---\n") {
            let object: Value = serde_saphyr::from_str(part).unwrap();
            if object["kind"] == "ClusterRole" {
                add(&object["rules"], &mut granted);
            }
        }
        add(&printed["items"][0]["rules"], &mut needed);
        assert_eq!(granted, needed);
    }

    #[test]
    fn nodes_are_granted_in_the_cluster_and_their_events_in_default() {
        let (_dir, text) = with("kube.node: { name: n }");
        assert!(text.contains("kind: ClusterRole\nmetadata: { name: paramedic-read-cluster }\nrules:\n  # mine, spark-driver-failed, spark-executor-lost\n  - { apiGroups: [\"\"], resources: [nodes], verbs: [get] }"), "{text}");
        assert!(
            text.contains("metadata: { name: paramedic-read-node-events, namespace: default }"),
            "{text}"
        );
    }

    #[test]
    fn an_object_s_kind_is_granted_when_it_is_known_and_told_when_it_is_not() {
        let (_dir, text) = with(
            "kube.object: { api_version: networking.k8s.io/v1, kind: NetworkPolicy, name: x }",
        );
        assert!(
            text.contains(
                "- { apiGroups: [networking.k8s.io], resources: [networkpolicies], verbs: [get] }"
            ),
            "{text}"
        );
        let (_dir, text) =
            with("kube.object: { api_version: v1, kind: \"{{labels.kind}}\", name: x }");
        assert!(
            text.contains(
                "# NOTE playbook mine, step one: kube.object reads the kind `{{labels.kind}}`"
            ),
            "{text}"
        );
    }

    #[test]
    fn a_repeated_step_s_permissions_are_those_of_the_step_it_repeats() {
        let (_dir, text) =
            with("flow.wait_until: { until: result.total == 0, step: { kube.quota: {} } }");
        assert!(text.contains("resources: [limitranges, resourcequotas], verbs: [list]"), "{text}");
    }

    #[test]
    fn the_proxy_is_granted_only_when_it_is_asked_for() {
        let plain = said(&args(&["a", "b"]));
        assert!(
            !plain.contains("resources: [pods/proxy]") && plain.contains("--with-proxy"),
            "{plain}"
        );
        // One in each namespace, and one for events of nodes.
        assert_eq!(plain.matches("kind: RoleBinding").count(), 3);
        let more = said(&Args { with_proxy: true, ..args(&["a"]) });
        assert!(more.contains("resources: [pods/proxy], verbs: [get]"), "{more}");
    }

    #[test]
    fn teams_by_namespace_are_granted_when_a_cluster_uses_them() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("paramedic.yaml");
        let cluster = "{ kube: { kubeconfig: {} }, teams_by_namespace: true }";
        std::fs::write(&file, format!("clusters: {{ prod: {cluster} }}\n")).unwrap();
        let text = said(&Args { config: Some(file), ..args(&["a"]) });
        let rule = "  # teams_by_namespace\n  - { apiGroups: [\"\"], resources: [namespaces], verbs: [list] }";
        assert!(text.contains(rule), "{text}");
    }

    #[test]
    fn the_recorder_is_granted_where_the_configuration_lets_it_watch() {
        let alone = [
            "# recorder\n  - { apiGroups: [\"\"], resources: [events, pods], verbs: [list, watch] }\n",
            "# recorder\n  - { apiGroups: [\"\"], resources: [pods/log], verbs: [get] }\n",
        ];
        let has_it = |text: &str| alone.iter().all(|rule| text.contains(rule));
        let asked = |recorder: &str| {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("paramedic.yaml");
            std::fs::write(&file, format!("recorder: {recorder}\n")).unwrap();
            said(&Args { config: Some(file), ..args(&["spark-prod"]) })
        };
        let everywhere = asked("{}");
        let (wide, narrow) = everywhere.split_once("kind: Role\n").unwrap();
        assert!(wide.contains("paramedic-read-cluster") && has_it(wide), "{wide}");
        assert!(!narrow.contains("watch]"), "{narrow}");
        let named = asked("{ namespaces: [spark-prod, spark-dev] }");
        let (wide, narrow) = named.split_once("kind: Role\n").unwrap();
        assert!(!wide.contains("watch]"), "{wide}");
        let (dev, prod) = narrow.split_once("paramedic-read, namespace: spark-prod }").unwrap();
        assert!(dev.contains("namespace: spark-dev") && has_it(dev), "{dev}");
        assert!(prod.contains("resources: [pods], verbs: [get, list, watch] }"), "{prod}");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for bad in ["", "A", "a b", "../x", "a\nb"] {
            assert!(run(&args(&[bad]), DAY, &mut Vec::new()).is_err(), "{bad:?}");
            let account = Args { service_account: bad.to_owned(), ..args(&["a"]) };
            assert!(run(&account, DAY, &mut Vec::new()).is_err(), "{bad:?}");
        }
    }
}
