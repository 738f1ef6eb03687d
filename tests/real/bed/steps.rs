//! Our own steps against the story's cluster, as a run calls them.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use paramedic::{
    clients::{self, http, kube, spark},
    domain::{
        target::{SparkApp, Target},
        template::Scope,
    },
    steps::{Context, Failure, Memory, Outcome, Step},
};

use super::cluster::{Cluster, NAMESPACE};

struct NoMemory;

impl Memory for NoMemory {
    fn note<'a>(&'a self, key: &'a str, _: &'a str) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { panic!("no step here writes a note, but {key} did") })
    }
}

/// An application as a target, from one of its pods.
pub fn target(cluster: &Cluster, pod: &str) -> SparkApp {
    let pod = cluster.pod(pod);
    let label = |name: &str| pod["metadata"]["labels"][name].as_str().unwrap().to_owned();
    let driver = label("spark-role") == "driver";
    SparkApp {
        cluster: "test".to_owned(),
        namespace: NAMESPACE.to_owned(),
        app_id: label("spark-app-selector"),
        driver_pod: if driver {
            pod["metadata"]["name"].as_str().unwrap().to_owned()
        } else {
            String::new()
        },
        name: label("spark-app-name"),
    }
}

/// Reads a step's inputs from YAML and runs it once.
pub async fn run<S: Step>(
    cluster: &Cluster,
    app: &SparkApp,
    inputs: &str,
) -> Result<Outcome<S::Output>, Failure> {
    let step: S = serde_saphyr::from_str(inputs).unwrap();
    let kube = kube::Client::from_url(&cluster.url.parse().unwrap()).unwrap();
    let http = http::Client::new(http::Guard::default()).unwrap();
    let clients = clients::Cluster {
        name: "test".to_owned(),
        spark: spark::Client::new(http.clone(), Some(kube.clone()), None),
        kube: Some(kube),
        prometheus: None,
        metastores: BTreeMap::default(),
    };
    let context = Context {
        scope: &Scope::default(),
        target: Some(&Target::SparkApp(app.clone())),
        cluster: Some(&clients),
        http: &http,
        memory: &NoMemory,
        clock: &cluster.clock,
        idempotency_key: "test",
    };
    step.run(&context).await
}
