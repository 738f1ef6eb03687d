//! How an alert leads to the object a run is about.
//!
//! Labels seldom name a Spark application directly, so a playbook lists hints from exact to vague and the first that
//! fits wins. A hint that does not fit is no error: an alert often outlives its pod. When none fits, the card says why,
//! hint by hint, and the steps that need the target are skipped.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Need;
use crate::{
    clients::{
        self, Cluster, kube,
        spark::record::{self, Runner},
    },
    domain::{
        target::{Metastore, Pod, SparkApp, Target},
        template::{Filled, Input, Name, Scope},
    },
    steps::{Memory, recorded::Recall},
};

/// Most targets of one alert.
const MAX_TARGETS: usize = 20;
/// How long a failure of a pod that is gone counts as recent.
const RECENT: SignedDuration = SignedDuration::from_hours(1);

/// What a playbook is about.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TargetSpec {
    /// A Spark application: hints, tried in order.
    SparkApp(Vec<Hint>),
    /// One pod.
    Pod(PodSpec),
    /// A Hive Metastore of the cluster's configuration.
    Metastore(MetastoreSpec),
}

impl TargetSpec {
    /// The permissions that finding it needs.
    pub fn needs(&self) -> Vec<&'static Need> {
        match self {
            Self::SparkApp(hints) => hints.iter().flat_map(Hint::needs).collect(),
            Self::Pod(_) | Self::Metastore(_) => vec![],
        }
    }
}

impl Hint {
    fn needs(&self) -> &'static [Need] {
        const LIST: Need = Need { group: "", resource: "pods", verb: "list" };
        const GET: Need = Need { group: "", resource: "pods", verb: "get" };
        match self {
            Self::Id(_) | Self::RecentFailuresIn(_) => &[LIST],
            Self::Pod(_) => &[GET, LIST],
            Self::Application(_) => &[
                LIST,
                Need { group: "sparkoperator.k8s.io", resource: "sparkapplications", verb: "get" },
                Need { group: "sparkoperator.k8s.io", resource: "sparkconnects", verb: "get" },
                Need { group: "spark.apache.org", resource: "sparkapplications", verb: "get" },
            ],
        }
    }
}

/// One way to find a Spark application. The namespace is the alert's label `namespace`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Hint {
    /// By `spark.app.id`. Fits even when Kubernetes cannot be asked: a History Server may still know it.
    Id(Input<AppId>),
    /// By one of its pods, through the label `spark-app-selector`; also by one that is gone, when the recorder saw it.
    Pod(Input<Name>),
    /// By the name of its `SparkApplication` (of either operator) or `SparkConnect`, or its `spark.app.name`; the newest run.
    Application(Input<Name>),
    /// Every application in this namespace whose driver or executors have failed, one target each; at most 20.
    /// Pods that are gone count for an hour, when the recorder saw them.
    RecentFailuresIn(Input<Name>),
}

/// Which pod.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PodSpec {
    /// Its name.
    pub name: Input<Name>,
    /// Its namespace; default: the alert's label `namespace`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Input<Name>>,
}

/// Which metastore.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MetastoreSpec {
    /// Its key in the cluster's `metastores`; default `main`.
    #[serde(default = "main")]
    pub name: Input<Name>,
}

fn main() -> Input<Name> {
    "main".into()
}

/// `spark.app.id`: a label value of letters, digits, `-`, `_` and `.`, at most 63 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppId(pub String);

impl Filled for AppId {
    const WHAT: &'static str = "a Spark application id";

    fn parse(text: &str) -> Result<Self, String> {
        let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
        let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let bytes = text.as_bytes();
        if bytes.len() <= 63 && edge(bytes.first()) && edge(bytes.last()) && text.bytes().all(inner)
        {
            return Ok(Self(text.to_owned()));
        }
        let shown: String = text.chars().take(40).collect();
        Err(format!("`{}` is not the id of a Spark application", shown.escape_debug()))
    }
}

/// What is known of pods that exist no more.
#[derive(Clone, Copy)]
pub struct Past<'a> {
    /// The recorder.
    pub memory: &'a dyn Memory,
    /// Now.
    pub now: Timestamp,
}

/// Finds the targets of one alert. `cluster` is its configured cluster, `cluster_name` what its label calls it. The
/// error is one line for the card.
pub async fn resolve(
    spec: &TargetSpec,
    scope: &Scope,
    cluster: Option<&Cluster>,
    cluster_name: &str,
    past: Past<'_>,
) -> Result<Vec<Target>, String> {
    let cluster_name = cluster.map_or(cluster_name, |cluster| &cluster.name).to_owned();
    let search = Search {
        kube: cluster.and_then(|cluster| cluster.kube.as_ref()),
        namespace: label_namespace(scope),
        cluster: cluster_name,
        past,
    };
    match spec {
        TargetSpec::SparkApp(hints) => search.spark_apps(hints, scope).await,
        TargetSpec::Pod(pod) => {
            let name = pod.name.fill(scope).map_err(|error| error.to_string())?.0;
            let namespace = match &pod.namespace {
                Some(input) => input.fill(scope).map_err(|error| error.to_string())?.0,
                None => search.namespace.ok_or(NO_NAMESPACE)?,
            };
            Ok(vec![Target::Pod(Pod { cluster: search.cluster, namespace, name })])
        }
        TargetSpec::Metastore(metastore) => {
            let name = metastore.name.fill(scope).map_err(|error| error.to_string())?.0;
            Ok(vec![Target::Metastore(Metastore { cluster: search.cluster, name })])
        }
    }
}

const NO_NAMESPACE: &str = "the alert has no usable label `namespace`";

/// The alert's label `namespace`, when it is a possible namespace.
pub(super) fn label_namespace(scope: &Scope) -> Option<String> {
    let value = scope.names().get("labels")?.get("namespace")?.as_str()?;
    Name::parse(value).ok().map(|name| name.0)
}

struct Search<'a> {
    past: Past<'a>,
    kube: Option<&'a kube::Client>,
    namespace: Option<String>,
    cluster: String,
}

/// Why a hint does not fit.
type Miss = String;

impl Search<'_> {
    async fn spark_apps(&self, hints: &[Hint], scope: &Scope) -> Result<Vec<Target>, String> {
        let mut misses = vec![];
        for hint in hints {
            match self.hint(hint, scope).await {
                Ok(apps) => return Ok(apps.into_iter().map(Target::SparkApp).collect()),
                Err(miss) => misses.push(miss),
            }
        }
        Err(format!("no Spark application found: {}", misses.join("; ")))
    }

    async fn hint(&self, hint: &Hint, scope: &Scope) -> Result<Vec<SparkApp>, Miss> {
        match hint {
            Hint::Id(input) => {
                let AppId(id) = input.fill(scope).map_err(|error| error.to_string())?;
                Ok(vec![self.by_id(id).await])
            }
            Hint::Pod(input) => {
                let Name(name) = input.fill(scope).map_err(|error| error.to_string())?;
                Ok(vec![self.by_pod(&name).await?])
            }
            Hint::Application(input) => {
                let Name(name) = input.fill(scope).map_err(|error| error.to_string())?;
                Ok(vec![self.by_application(name).await?])
            }
            Hint::RecentFailuresIn(input) => {
                let Name(namespace) = input.fill(scope).map_err(|error| error.to_string())?;
                self.recent_failures(namespace).await
            }
        }
    }

    /// The id alone is a target; the driver and the name are added when Kubernetes can tell them.
    async fn by_id(&self, app_id: String) -> SparkApp {
        let labels = format!("spark-app-selector={app_id}");
        let pods = match self.kube {
            Some(kube) => list(kube, self.namespace.as_deref().unwrap_or(""), labels).await,
            None => Ok(vec![]),
        };
        // A refused or failed look-up is told by the steps that need those pods; the id stays true.
        let mut apps = pods.map(|pods| self.applications(pods)).unwrap_or_default();
        if apps.iter().all(|app| app.driver_pod.is_empty()) {
            let asked = Recall { app_id: app_id.clone(), ..self.asked("") };
            let known = self.applications(self.recorded(&asked).await);
            apps = if known.is_empty() { apps } else { known };
        }
        apps.pop().unwrap_or_else(|| SparkApp {
            cluster: self.cluster.clone(),
            namespace: self.namespace.clone().unwrap_or_default(),
            app_id,
            ..SparkApp::default()
        })
    }

    async fn by_pod(&self, name: &str) -> Result<SparkApp, Miss> {
        let (kube, namespace) = (self.kube()?, self.namespace()?);
        let pod = match kube.pod(namespace, name).await {
            Ok(pod) => pod,
            Err(error) => {
                let asked = Recall { name: name.to_owned(), ..self.asked(namespace) };
                match self.recorded(&asked).await.into_iter().next() {
                    Some(pod) => pod,
                    None if error.kind == clients::Kind::NotFound => {
                        return Err(format!("pod {namespace}/{name} is gone"));
                    }
                    None => return Err(error.to_string()),
                }
            }
        };
        let drives = Runner::drives(&pod.role);
        if pod.app_id.is_empty() && !drives {
            return Err(format!("pod {namespace}/{name} does not belong to a Spark application"));
        }
        if drives {
            return Ok(self.application(&pod));
        }
        Ok(self.by_id(pod.app_id).await)
    }

    async fn by_application(&self, name: String) -> Result<SparkApp, Miss> {
        let (kube, namespace) = (self.kube()?, self.namespace()?);
        match record::find(kube, namespace, &name).await {
            Ok(found) if !(found.app_id.is_empty() && found.driver_pod.is_empty()) => {
                Ok(SparkApp {
                    cluster: self.cluster.clone(),
                    namespace: namespace.to_owned(),
                    app_id: found.app_id,
                    driver_pod: found.driver_pod,
                    name,
                })
            }
            Ok(found) => match self.recorded_driver(namespace, &name).await {
                Some(app) => Ok(app),
                None => Err(format!(
                    "{} {namespace}/{name} has no driver ({})",
                    found.runner.kind(),
                    found.state
                )),
            },
            Err(error) if error.kind == clients::Kind::NotFound => {
                let gone = self.recorded_driver(namespace, &name).await;
                gone.ok_or_else(|| {
                    format!("namespace {namespace} has no Spark application `{name}`")
                })
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// The newest driver of that name that exists no more.
    async fn recorded_driver(&self, namespace: &str, name: &str) -> Option<SparkApp> {
        for label in ["sparkoperator.k8s.io/app-name", "spark-app-name"] {
            let asked = self.asked(namespace);
            let asked = asked.with_labels(&format!("{label}={name},spark-role=driver"));
            if let Some(driver) = self.recorded(&asked).await.into_iter().next() {
                return Some(self.application(&driver));
            }
        }
        None
    }

    async fn recent_failures(&self, namespace: String) -> Result<Vec<SparkApp>, Miss> {
        let runs = "spark-role in (driver,executor,connect-server)".to_owned();
        let live = list(self.kube()?, &namespace, runs).await;
        let since = self.past.now.saturating_sub(RECENT).ok();
        let gone = self.recorded(&Recall { since, ..self.asked(&namespace) }).await;
        let mut pods = match live {
            Ok(live) => live,
            Err(error) if gone.is_empty() => return Err(error.to_string()),
            Err(_) => vec![],
        };
        // What exists is told by the cluster; the recorder adds what does not.
        let known: Vec<String> = pods.iter().map(|pod| pod.uid.clone()).collect();
        pods.extend(gone.into_iter().filter(|pod| !known.contains(&pod.uid)));
        let failed: Vec<String> =
            pods.iter().filter(|pod| pod.has_failed()).map(identity).collect();
        let related = pods.into_iter().filter(|pod| failed.contains(&identity(pod))).collect();
        let mut apps = self.applications(related);
        apps.truncate(MAX_TARGETS);
        if apps.is_empty() {
            return Err(format!("no Spark pod in namespace {namespace} has failed"));
        }
        Ok(apps)
    }

    fn asked(&self, namespace: &str) -> Recall {
        let (cluster, namespace) = (self.cluster.clone(), namespace.to_owned());
        Recall { cluster, namespace, ..Recall::default() }
    }

    /// The pods that the recorder knows, newest first.
    async fn recorded(&self, asked: &Recall) -> Vec<kube::Pod> {
        let recorded = self.past.memory.recorded(asked).await;
        recorded.pods.into_iter().map(|known| known.pod).collect()
    }

    /// One application per id, by its driver when there is one.
    fn applications(&self, pods: Vec<kube::Pod>) -> Vec<SparkApp> {
        let mut by_id: BTreeMap<String, kube::Pod> = BTreeMap::new();
        let rank = |pod: &kube::Pod| (Runner::drives(&pod.role), pod.created);
        for pod in pods.into_iter().filter(|pod| !identity(pod).is_empty()) {
            let better = by_id.get(&identity(&pod)).is_none_or(|have| rank(&pod) > rank(have));
            if better {
                by_id.insert(identity(&pod), pod);
            }
        }
        by_id.values().map(|pod| self.application(pod)).collect()
    }

    fn application(&self, pod: &kube::Pod) -> SparkApp {
        let name = Runner::of(&pod.labels).map(|(_, name)| name);
        let is_driver = Runner::drives(&pod.role);
        SparkApp {
            cluster: self.cluster.clone(),
            namespace: pod.namespace.clone(),
            app_id: pod.app_id.clone(),
            driver_pod: if is_driver { pod.name.clone() } else { String::new() },
            name: name.unwrap_or_default(),
        }
    }

    fn kube(&self) -> Result<&kube::Client, Miss> {
        self.kube.ok_or_else(|| {
            format!("cluster `{}` has no Kubernetes access configured", self.cluster.escape_debug())
        })
    }

    fn namespace(&self) -> Result<&str, Miss> {
        self.namespace.as_deref().ok_or_else(|| NO_NAMESPACE.to_owned())
    }
}

/// What the pods of one application have in common: its id; a Connect server's pod has none, but drives alone.
fn identity(pod: &kube::Pod) -> String {
    if pod.app_id.is_empty() && Runner::drives(&pod.role) {
        return pod.name.clone();
    }
    pod.app_id.clone()
}

async fn list(
    kube: &kube::Client,
    namespace: &str,
    labels: String,
) -> clients::Result<Vec<kube::Pod>> {
    let query =
        kube::PodQuery { namespace: namespace.to_owned(), labels, ..kube::PodQuery::default() };
    kube.pods(&query).await.map(|listed| listed.items)
}

#[cfg(test)]
mod tests {
    use futures::future::BoxFuture;
    use serde_json::json;

    use super::*;

    struct Nothing;

    impl Memory for Nothing {
        fn note<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<(), String>> {
            Box::pin(async { Err("a search writes no notes".to_owned()) })
        }
    }

    const NO_PAST: Past<'static> = Past { memory: &Nothing, now: Timestamp::UNIX_EPOCH };

    fn read(yaml: &str) -> Result<TargetSpec, String> {
        serde_saphyr::from_str(yaml).map_err(|error| error.to_string())
    }

    #[test]
    fn the_documented_form_is_read_with_positions() {
        let spec = read(
            "spark_app:\n  - { id: \"{{labels.application_id}}\" }\n  - { recent_failures_in: spark-prod }\n",
        );
        let Ok(TargetSpec::SparkApp(hints)) = spec else { panic!("{spec:?}") };
        let [Hint::Id(id), Hint::RecentFailuresIn(namespace)] = hints.as_slice() else {
            panic!("{hints:?}")
        };
        assert_eq!((id.source(), id.position().0), ("{{labels.application_id}}", 2));
        assert_eq!(namespace.position().0, 3);
        assert!(
            matches!(read("metastore: {}"), Ok(TargetSpec::Metastore(m)) if m.name.source() == "main")
        );
        assert!(matches!(read("pod: { name: x }"), Ok(TargetSpec::Pod(_))));
    }

    #[test]
    fn what_is_not_documented_is_refused() {
        for bad in [
            "spark_app: [ { uid: x } ]",
            "pod: { name: x, kind: y }",
            "job: {}",
            "pod: {}",
            "spark_app: [ { pod: Not_A_Name } ]",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_linter_finds_every_template_in_a_serialised_target() {
        let spec = read("spark_app: [ { pod: \"{{labels.pod}}\" } ]").unwrap();
        let json = serde_json::to_value(&spec).unwrap();
        assert_eq!(json["spark_app"][0]["pod"]["$input"], "{{labels.pod}}");
    }

    #[test]
    fn a_hostile_id_is_no_id() {
        for bad in
            ["", "a,spark-role=driver", "a b", "../x", "a\0", "-a", "a-", &"a".repeat(65_536)]
        {
            assert!(AppId::parse(bad).is_err(), "{bad:?}");
        }
        assert!(AppId::parse("spark-4dbb817998fe49e9853d1610eddeec70").is_ok());
    }

    #[tokio::test]
    async fn an_id_is_a_target_even_when_nobody_can_be_asked() {
        let spec = read("spark_app: [ { id: \"{{labels.application_id}}\" } ]").unwrap();
        let labels = json!({ "application_id": "spark-1a2b", "namespace": "spark-prod" });
        let scope = Scope::default().with("labels", labels);
        let targets = resolve(&spec, &scope, None, "prod", NO_PAST).await.unwrap();
        assert_eq!(targets[0].key(), "spark_app/prod/spark-prod/spark-1a2b");
    }

    #[tokio::test]
    async fn when_no_hint_fits_each_says_why() {
        let spec = read(
            "spark_app: [ { id: \"{{labels.application_id}}\" }, { pod: \"{{labels.pod}}\" } ]",
        )
        .unwrap();
        let labels = json!({ "pod": "etl-driver", "namespace": "../kube-system" });
        let scope = Scope::default().with("labels", labels);
        let error = resolve(&spec, &scope, None, "prod", NO_PAST).await.unwrap_err();
        for part in
            ["no Spark application found", "labels.application_id", "`prod` has no Kubernetes"]
        {
            assert!(error.contains(part), "{error}");
        }
        assert!(!error.contains('\n'), "{error}");
    }
}
