//! `kube.service`: whether anything answers behind a service: its selector, its pods, its ready addresses.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    json::{list, selector, text},
    owners,
    which::Which,
};
use crate::{
    clients::{
        self,
        kube::{Client, ListQuery, Resource, one_line},
    },
    domain::{
        evidence::{Origin, Passage},
        template::{Input, Name},
    },
    steps::{Context, Effect, Failure, Need, Outcome, Step},
};

/// Services looked at, at most.
const MAX_SERVICES: usize = 10;

/// Reads services with what is behind them: a selector that matches no pod, pods that are not ready, a named port that no
/// container has.
///
/// One by name; without, those that select the run's pod or driver (Spark makes a headless one for its executors to find
/// the driver).
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// One service by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Input<Name>>,
    /// Namespace; default: the target's, else the alert's label `namespace`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Input<Name>>,
}

/// The services.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Output {
    /// At most 10.
    pub services: Vec<Behind>,
    /// Those behind which nothing is ready.
    pub dead: Vec<Behind>,
}

/// One service with what is behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Behind {
    /// Name.
    pub name: String,
    /// `ClusterIP`, `Headless`, `LoadBalancer`, `NodePort`, `ExternalName`.
    pub kind: String,
    /// `k=v,k2=v2`; empty when somebody else keeps its addresses.
    pub selector: String,
    /// `ui 4040->spark-ui`.
    pub ports: Vec<String>,
    /// Pods the selector matches.
    pub pods: usize,
    /// Addresses that are ready.
    pub ready: usize,
    /// Addresses that are not.
    pub not_ready: usize,
    /// Named target ports that no matching pod has.
    pub unknown_ports: Vec<String>,
}

impl Step for Service {
    const KIND: &'static str = "kube.service";
    const EFFECT: Effect = Effect::Read;
    const NEEDS: &'static [Need] = &[
        Need { group: "", resource: "services", verb: "get" },
        Need { group: "", resource: "services", verb: "list" },
        Need { group: "", resource: "pods", verb: "get" },
        Need { group: "", resource: "pods", verb: "list" },
        Need { group: "discovery.k8s.io", resource: "endpointslices", verb: "list" },
    ];
    const EXAMPLE: &'static str = "name: \"{{labels.service}}\"";
    type Output = Output;

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Output>, Failure> {
        let kube = context.kube()?;
        let (namespace, found, what) = self.find(context).await?;
        let mut services = vec![];
        for service in found.iter().take(MAX_SERVICES) {
            services.push(behind(kube, &namespace, service).await?);
        }
        let dead: Vec<Behind> = services.iter().filter(|s| s.is_dead()).cloned().collect();
        let passages = services.iter().flat_map(Behind::passages).collect();
        let summary = match (services.as_slice(), dead.as_slice()) {
            ([], _) => format!("no service selects {what}"),
            ([one], _) => one.summary(),
            (all, []) => format!("{} services, all with ready addresses", all.len()),
            (all, [first, ..]) => {
                format!(
                    "{} of {} services have no ready address: {}",
                    dead.len(),
                    all.len(),
                    first.summary()
                )
            }
        };
        Ok(Outcome { value: Output { services, dead }, passages, summary })
    }
}

impl Service {
    /// Namespace, services, and for whom they were looked for.
    async fn find(&self, context: &Context<'_>) -> Result<(String, Vec<Value>, String), Failure> {
        let kube = context.kube()?;
        if let Some(name) = &self.name {
            let namespace = Which::of_namespace(self.namespace.as_ref()).namespace(context)?;
            let Name(name) = name.fill(context.scope)?;
            let service = kube.read(Resource::SERVICES, &namespace, &name).await?;
            return Ok((namespace, vec![service], name));
        }
        let (namespace, pod) = owners::start(context, None, self.namespace.as_ref()).await?;
        let object = kube.read(Resource::PODS, &namespace, &pod).await?;
        let mut found = kube.list(Resource::SERVICES, &ListQuery::of(&namespace)).await?.items;
        found.retain(|service| selects(service, &object));
        let what = format!("pod {namespace}/{pod}");
        Ok((namespace, found, what))
    }
}

/// True when the service has a selector and the pod has all of its labels.
fn selects(service: &Value, pod: &Value) -> bool {
    let wanted = service.pointer("/spec/selector").and_then(Value::as_object);
    wanted.is_some_and(|wanted| {
        !wanted.is_empty()
            && wanted.iter().all(|(k, v)| pod["metadata"]["labels"].get(k) == Some(v))
    })
}

async fn behind(kube: &Client, namespace: &str, service: &Value) -> clients::Result<Behind> {
    let name = text(service, "/metadata/name").to_owned();
    let labels = selector(service.pointer("/spec/selector"));
    let slices = ListQuery {
        labels: format!("kubernetes.io/service-name={name}"),
        ..ListQuery::of(namespace)
    };
    let slices = kube.list(Resource::SLICES, &slices).await?.items;
    let pods = match labels.as_str() {
        "" => vec![],
        labels => {
            let asked = ListQuery { labels: labels.to_owned(), ..ListQuery::of(namespace) };
            kube.list(Resource::PODS, &asked).await?.items
        }
    };
    let headless = text(service, "/spec/clusterIP") == "None";
    let kind = if headless { "Headless" } else { text(service, "/spec/type") };
    let endpoints = slices.iter().flat_map(|slice| list(slice, "/endpoints"));
    let (mut ready, mut not_ready) = (0, 0);
    for endpoint in endpoints {
        let count = list(endpoint, "/addresses").len();
        // Absent means ready, says the API.
        if endpoint.pointer("/conditions/ready") == Some(&Value::Bool(false)) {
            not_ready += count;
        } else {
            ready += count;
        }
    }
    let ports = list(service, "/spec/ports");
    Ok(Behind {
        kind: if kind.is_empty() { "ClusterIP".to_owned() } else { one_line(kind, 40) },
        ports: ports.iter().take(20).map(port).collect(),
        pods: pods.len(),
        unknown_ports: unknown_ports(ports, &pods),
        selector: labels,
        ready,
        not_ready,
        name,
    })
}

fn port(port: &Value) -> String {
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let name = text(port, "/name");
    let space = if name.is_empty() { "" } else { " " };
    let target = port.get("targetPort").map(|t| format!("->{}", plain(t))).unwrap_or_default();
    one_line(&format!("{name}{space}{}{target}", plain(&port["port"])), 120)
}

/// Target ports by name that no container of the pods has. Without pods nothing can be said.
fn unknown_ports(ports: &[Value], pods: &[Value]) -> Vec<String> {
    if pods.is_empty() {
        return vec![];
    }
    let containers = || pods.iter().flat_map(|pod| list(pod, "/spec/containers"));
    let has = |name: &str| {
        containers().flat_map(|c| list(c, "/ports")).any(|port| text(port, "/name") == name)
    };
    let named = ports.iter().map(|port| text(port, "/targetPort")).filter(|name| !name.is_empty());
    named.filter(|name| !has(name)).map(str::to_owned).collect()
}

impl Behind {
    fn is_dead(&self) -> bool {
        self.ready == 0 && self.kind != "ExternalName"
    }

    fn passages(&self) -> Vec<Passage> {
        let Self { name, selector, pods, ready, not_ready, .. } = self;
        let mut lines = vec![];
        if !selector.is_empty() && *pods == 0 {
            lines.push(format!("Service/{name} selector matches no pod: {selector}"));
        }
        if self.is_dead() {
            lines.push(format!(
                "Service/{name} has no ready address: {not_ready} not ready, {pods} pods"
            ));
        } else {
            lines.push(format!("Service/{name} ready={ready} notReady={not_ready}"));
        }
        for port in &self.unknown_ports {
            lines.push(format!("Service/{name} target port {port} is of no container"));
        }
        let source = format!("service {name}");
        lines.into_iter().map(|line| Passage::new(Origin::Object, source.clone(), line)).collect()
    }

    fn summary(&self) -> String {
        let Self { name, selector, pods, ready, not_ready, .. } = self;
        let what = match (*pods, *ready) {
            (0, 0) if !selector.is_empty() => format!("its selector matches no pod ({selector})"),
            (_, 0) => format!("no ready address, {not_ready} not ready"),
            (_, ready) => format!("{ready} ready, {not_ready} not ready"),
        };
        let ports = match self.unknown_ports.as_slice() {
            [] => String::new(),
            names => format!("; no container has port {}", names.join(", ")),
        };
        format!("service {name}: {what}{ports}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_service_without_a_selector_selects_nothing() {
        let pod = json!({ "metadata": { "labels": { "app": "web", "tier": "front" } } });
        let service = |selector: Value| json!({ "spec": { "selector": selector } });
        assert!(selects(&service(json!({ "app": "web" })), &pod));
        for other in [json!({}), json!(null), json!({ "app": "web", "x": "y" }), json!("app=web")] {
            assert!(!selects(&service(other), &pod));
        }
    }
}
