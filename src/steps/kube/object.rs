//! `kube.object`: one Kubernetes object of any kind, Secrets excepted.

use std::sync::LazyLock;

use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::which::Which;
use crate::{
    clients::kube::one_line,
    domain::{
        evidence::{Origin, Passage},
        template::{Filled, Input, Name},
    },
    steps::{Context, Effect, Failure, Need, Outcome, Step},
};

/// Reads one object, without its managed fields. Secrets are refused, and environment variables whose name suggests a
/// secret are masked.
///
/// The permission depends on the kind, `get` on that resource; `paramedic rbac` knows it unless the kind is a template.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Object {
    /// `v1`, `apps/v1`, `sparkoperator.k8s.io/v1beta2`.
    pub api_version: Input<ApiVersion>,
    /// `ConfigMap`, `Deployment`.
    pub kind: Input<KindName>,
    /// Its name.
    pub name: Input<Name>,
    /// Namespace; default: the target's, else the alert's label `namespace`. Ignored for kinds without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Input<Name>>,
}

/// An API group and version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiVersion(pub String);

impl Filled for ApiVersion {
    const WHAT: &'static str = "a Kubernetes API version";

    fn parse(text: &str) -> Result<Self, String> {
        let (group, version) = text.split_once('/').unwrap_or(("core", text));
        let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b);
        let version_fine =
            version.starts_with('v') && version.bytes().all(|b| fine(b) && b != b'.');
        if text.len() <= 200 && Name::parse(group).is_ok() && version_fine {
            return Ok(Self(text.to_owned()));
        }
        let shown: String = text.chars().take(60).collect();
        Err(format!("`{}` is not an API version such as v1 or apps/v1", shown.escape_debug()))
    }
}

/// A kind that may be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KindName(pub String);

impl Filled for KindName {
    const WHAT: &'static str = "a Kubernetes kind";

    fn parse(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("secret") || text.eq_ignore_ascii_case("secrets") {
            return Err("secrets are never read".to_owned());
        }
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_uppercase());
        if first && text.len() <= 63 && text.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Ok(Self(text.to_owned()));
        }
        let shown: String = text.chars().take(63).collect();
        Err(format!("`{}` is not a kind such as ConfigMap", shown.escape_debug()))
    }
}

/// The permission one `kube.object` needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Granted {
    /// `get` on this.
    Known {
        /// API group; "" is the core group.
        group: String,
        /// Resource: `configmaps`.
        resource: String,
        /// It belongs to the whole cluster, not to a namespace.
        cluster_wide: bool,
    },
    /// The kind or its group is this template.
    Unknown(String),
}

/// Kinds without a namespace that a playbook may want to read.
const CLUSTER_WIDE: [&str; 13] = [
    "Node",
    "Namespace",
    "PersistentVolume",
    "StorageClass",
    "PriorityClass",
    "RuntimeClass",
    "IngressClass",
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "CSIDriver",
    "CSINode",
    "APIService",
];

impl Object {
    /// The permission it needs, as far as the playbook says. A kind becomes its resource by the rule the API machinery
    /// itself uses to guess.
    pub fn granted(&self) -> Granted {
        let (version, kind) = (self.api_version.source(), self.kind.source());
        if let Some(template) = [kind, version].into_iter().find(|text| text.contains("{{")) {
            return Granted::Unknown(template.to_owned());
        }
        let group = version.split_once('/').map_or("", |(group, _)| group);
        let lower = kind.to_ascii_lowercase();
        let resource = match lower.as_str() {
            "endpoints" => lower,
            word if word.ends_with('s') => format!("{word}es"),
            word => word.strip_suffix('y').map_or(format!("{word}s"), |stem| format!("{stem}ies")),
        };
        let cluster_wide = CLUSTER_WIDE.contains(&kind);
        Granted::Known { group: group.to_owned(), resource, cluster_wide }
    }
}

/// The object.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Output {
    /// As Kubernetes has it.
    pub object: Value,
}

impl Step for Object {
    const KIND: &'static str = "kube.object";
    const EFFECT: Effect = Effect::Read;
    const NEEDS: &'static [Need] = &[];
    const EXAMPLE: &'static str = "api_version: sparkoperator.k8s.io/v1beta2\nkind: SparkApplication\nname: \"{{labels.name}}\"";
    type Output = Output;

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Output>, Failure> {
        let Self { api_version, kind, name, namespace } = self;
        let which = Which { name: None, selector: None, role: None, namespace: namespace.as_ref() };
        let ApiVersion(api_version) = api_version.fill(context.scope)?;
        let KindName(kind) = kind.fill(context.scope)?;
        let Name(name) = name.fill(context.scope)?;
        let namespace = which.namespace(context)?;
        let mut object = context.kube()?.object(&api_version, &kind, &namespace, &name).await?;
        tidy(&mut object);
        mask(&mut object);
        let lines = status_lines(&object);
        let source = format!("{kind} {name}");
        let summary = match lines.first() {
            Some(line) => format!("{source}: {}", one_line(line, 200)),
            None => format!("{source} read"),
        };
        let passages = lines
            .into_iter()
            .map(|line| {
                Passage::new(Origin::Object, source.clone(), format!("{kind}/{name} {line}"))
            })
            .collect();
        Ok(Outcome { value: Output { object }, passages, summary })
    }
}

fn tidy(object: &mut Value) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    metadata.remove("managedFields");
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        // A second copy of the whole object.
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
}

/// Masks `{name: DB_PASSWORD, value: …}` anywhere in the object.
fn mask(value: &mut Value) {
    static SECRET: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new("(?i)passw|secret|token|credential|private|access_?key|api_?key").ok()
    });
    match value {
        Value::Array(items) => items.iter_mut().for_each(mask),
        Value::Object(fields) => {
            let name = fields.get("name").and_then(Value::as_str).unwrap_or_default();
            let secret = SECRET.as_ref().is_none_or(|secret| secret.is_match(name));
            if secret && let Some(value) = fields.get_mut("value").filter(|v| v.is_string()) {
                *value = Value::from("***");
            }
            fields.values_mut().for_each(mask);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What the object says of its own state: phase, operator state, and every condition.
fn status_lines(object: &Value) -> Vec<String> {
    let text = |value: &Value| one_line(value.as_str().unwrap_or_default(), 1_000);
    let status = &object["status"];
    let mut lines = vec![];
    for (name, value) in [
        ("phase", &status["phase"]),
        ("state", &status["applicationState"]["state"]),
        ("errorMessage", &status["applicationState"]["errorMessage"]),
    ] {
        match text(value) {
            value if value.is_empty() => {}
            value => lines.push(format!("{name}={value}")),
        }
    }
    for condition in status["conditions"].as_array().into_iter().flatten().take(50) {
        let part = |name: &str| match text(&condition[name]) {
            value if value.is_empty() => String::new(),
            value => format!(" {name}={value}"),
        };
        let (kind, state) = (text(&condition["type"]), text(&condition["status"]));
        lines.push(format!("condition {kind}={state}{}{}", part("reason"), part("message")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_in_any_spelling_are_refused_when_the_playbook_is_loaded() {
        for kind in ["Secret", "secret", "SECRET", "Secrets"] {
            let yaml = format!("{{ api_version: v1, kind: {kind}, name: x }}");
            assert!(serde_saphyr::from_str::<Object>(&yaml).is_err(), "{kind}");
        }
        for bad in ["", "pod", "Pod/x", "../Pod", "Po d", &"A".repeat(65_536)] {
            assert!(KindName::parse(bad).is_err(), "{bad:.20}");
        }
    }

    #[test]
    fn a_literal_kind_is_granted_exactly_and_a_template_is_told() {
        let granted = |yaml: &str| serde_saphyr::from_str::<Object>(yaml).unwrap().granted();
        for (version, kind, group, resource) in [
            ("v1", "ConfigMap", "", "configmaps"),
            ("networking.k8s.io/v1", "NetworkPolicy", "networking.k8s.io", "networkpolicies"),
            ("networking.k8s.io/v1", "Ingress", "networking.k8s.io", "ingresses"),
            ("v1", "Endpoints", "", "endpoints"),
        ] {
            let found = granted(&format!("{{ api_version: {version}, kind: {kind}, name: x }}"));
            let known = Granted::Known {
                group: group.to_owned(),
                resource: resource.to_owned(),
                cluster_wide: false,
            };
            assert_eq!(found, known);
        }
        let wide = granted("{ api_version: v1, kind: Node, name: x }");
        assert!(matches!(wide, Granted::Known { cluster_wide: true, .. }));
        let unknown = granted("{ api_version: v1, kind: \"{{labels.kind}}\", name: x }");
        assert_eq!(unknown, Granted::Unknown("{{labels.kind}}".to_owned()));
    }

    #[test]
    fn an_api_version_is_a_group_and_a_version() {
        for fine in ["v1", "apps/v1", "sparkoperator.k8s.io/v1beta2"] {
            assert!(ApiVersion::parse(fine).is_ok(), "{fine}");
        }
        for bad in ["", "1", "apps/", "/v1", "../v1", "apps/v1/x", "v1\0"] {
            assert!(ApiVersion::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn managed_fields_go_secrets_are_masked_and_the_state_becomes_lines() {
        let mut object = json!({
            "metadata": { "managedFields": [1], "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "x" } },
            "spec": { "containers": [{ "env": [
                { "name": "DB_PASSWORD", "value": "hunter2" }, { "name": "MODE", "value": "fast" },
            ] }] },
            "status": { "applicationState": { "state": "FAILED", "errorMessage": "driver container failed with ExitCode: 1" },
                "conditions": [{ "type": "Ready", "status": "False", "reason": "NoDriver", "message": "a\nb" }] },
        });
        tidy(&mut object);
        mask(&mut object);
        assert!(!object.to_string().contains("hunter2") && object.to_string().contains("fast"));
        assert!(object["metadata"]["managedFields"].is_null());
        assert_eq!(
            status_lines(&object),
            [
                "state=FAILED",
                "errorMessage=driver container failed with ExitCode: 1",
                "condition Ready=False reason=NoDriver message=a b",
            ]
        );
        assert!(status_lines(&json!([])).is_empty());
    }
}
