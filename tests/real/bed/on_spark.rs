//! A step of ours against a real server.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use paramedic::{
    clients::{
        Cluster,
        http::{Client, Guard},
        spark,
    },
    domain::{
        target::{SparkApp, Target},
        template::Scope,
    },
    ops::clock::Clock,
    steps::{Context, Memory, Outcome, Step},
};

struct NoMemory;

impl Memory for NoMemory {
    fn note<'a>(&'a self, key: &'a str, _: &'a str) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { panic!("no step here writes a note, but {key} did") })
    }
}

/// Runs a step once on a Spark application that `history` answers for: a History Server, or a driver's own UI, which speaks
/// as one does.
pub async fn on_spark<S: Step>(history: &str, app_id: &str, inputs: &str) -> Outcome<S::Output> {
    let http = Client::new(Guard::default()).unwrap();
    let cluster = Cluster {
        name: "real".to_owned(),
        kube: None,
        spark: spark::Client::new(http.clone(), None, Some(history.parse().unwrap())),
        prometheus: None,
        metastores: BTreeMap::default(),
    };
    let app = SparkApp {
        cluster: "real".to_owned(),
        namespace: "spark-prod".to_owned(),
        app_id: app_id.to_owned(),
        ..SparkApp::default()
    };
    let target = Target::SparkApp(app);
    let scope = Scope::default();
    let context = Context {
        scope: &scope,
        target: Some(&target),
        cluster: Some(&cluster),
        http: &http,
        memory: &NoMemory,
        clock: &Clock::System,
        idempotency_key: "real",
    };
    let step: S = serde_saphyr::from_str(inputs).unwrap();
    step.run(&context).await.unwrap_or_else(|failure| panic!("{}: {failure}", S::KIND))
}
