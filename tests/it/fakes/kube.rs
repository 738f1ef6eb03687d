//! A cluster for a step to look at: the demo's API server behind real clients. Calls it does not model fail the test.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a fake that cannot start fails its test")]

use futures::future::BoxFuture;
use paramedic::{
    clients::{self, Cluster, http, kube, spark},
    demo::{
        apiserver::{self, ApiServer},
        world::{self, World},
    },
    domain::{
        evidence::Findings,
        target::{SparkApp, Target},
        template::Scope,
    },
    ops::{
        clock::{Clock, Manual},
        lifecycle::Tasks,
    },
    steps::{
        Context, Failure, Memory, Outcome, Spec, Step,
        recorded::{Recall, Recorded},
        target::{Past, TargetSpec, resolve},
    },
};
use serde_json::{Value, json};

/// A step's surroundings.
pub struct Rig {
    pub cluster: apiserver::Cluster,
    pub clients: Cluster,
    pub target: Option<Target>,
    pub scope: Scope,
    pub hand: Manual,
    /// What the recorder knows.
    pub recorded: Recorded,
    http: http::Client,
    clock: Clock,
    _tasks: Tasks,
}

impl Memory for Rig {
    fn recorded<'a>(&'a self, asked: &'a Recall) -> BoxFuture<'a, Recorded> {
        let mut known = self.recorded.clone();
        known.pods.retain(|known| asked.holds(&known.pod, known.seen));
        Box::pin(async { known })
    }

    fn note<'a>(&'a self, key: &'a str, _: &'a str) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { panic!("no step here writes a note, but {key} did") })
    }
}

impl Rig {
    /// An empty cluster.
    pub async fn empty() -> Self {
        let (clock, hand) = manual();
        let tasks = Tasks::default();
        let cluster = apiserver::Cluster::new(&clock);
        let server = ApiServer::start(&tasks, cluster.clone()).await.unwrap();
        Self::around(tasks, clock, hand, cluster, &server.url, json!({}))
    }

    /// The demo's cluster, with its alert's labels and its application as the target.
    pub async fn demo() -> Self {
        let (clock, hand) = manual();
        let tasks = Tasks::default();
        let World { kube_url, alert, cluster } = world::start(&tasks, &clock).await.unwrap();
        let labels = alert["alerts"][0]["labels"].clone();
        let mut rig = Self::around(tasks, clock, hand, cluster, &kube_url, labels);
        rig.target = Some(Target::SparkApp(demo_app()));
        rig
    }

    fn around(
        tasks: Tasks,
        clock: Clock,
        hand: Manual,
        cluster: apiserver::Cluster,
        url: &http::Url,
        labels: Value,
    ) -> Self {
        let kube = kube::Client::from_url(url).unwrap();
        let http = http::Client::new(http::Guard::default()).unwrap();
        let spark = spark::Client::new(http.clone(), Some(kube.clone()), None);
        let clients = Cluster { kube: Some(kube), ..Cluster::new("demo", spark) };
        let scope = Scope::default().with("labels", labels);
        let recorded = Recorded::default();
        Self { cluster, clients, target: None, scope, hand, recorded, http, clock, _tasks: tasks }
    }

    /// Asks this History Server too.
    pub fn with_history(mut self, history: http::Url) -> Self {
        self.clients.spark =
            spark::Client::new(self.http.clone(), self.clients.kube.clone(), Some(history));
        self
    }

    /// Finds the targets that a playbook's `target` leads to.
    pub async fn targets(&self, yaml: &str) -> Result<Vec<Target>, String> {
        self.targets_of(&serde_saphyr::from_str(yaml).unwrap()).await
    }

    /// The same, of a playbook that was read.
    pub async fn targets_of(&self, spec: &TargetSpec) -> Result<Vec<Target>, String> {
        let past = Past { memory: self, now: self.clock.now() };
        resolve(spec, &self.scope, Some(&self.clients), "demo", past).await
    }

    /// Reads a step's inputs from YAML and runs it once.
    pub async fn run<S: Step>(&self, inputs: &str) -> Result<Outcome<S::Output>, Failure> {
        let step: S = serde_saphyr::from_str(inputs).unwrap();
        step.run(&self.context()).await
    }

    /// Runs a playbook's step once.
    pub async fn run_spec(&self, spec: &Spec) -> Result<Findings, Failure> {
        spec.run(&self.context()).await
    }

    fn context(&self) -> Context<'_> {
        Context {
            scope: &self.scope,
            target: self.target.as_ref(),
            cluster: Some(&self.clients),
            http: &self.http,
            memory: self,
            clock: &self.clock,
            idempotency_key: "test",
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.cluster.unexpected(), Vec::<String>::new());
        }
    }
}

/// The demo's application as a target.
pub fn demo_app() -> SparkApp {
    SparkApp {
        cluster: "demo".to_owned(),
        namespace: world::NAMESPACE.to_owned(),
        app_id: world::APP_ID.to_owned(),
        driver_pod: world::DRIVER.to_owned(),
        name: world::APPLICATION.to_owned(),
    }
}

/// A running pod with one container `main`.
pub fn pod(name: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": "spark-prod", "labels": labels },
        "spec": { "containers": [{ "name": "main" }] },
        "status": { "phase": "Running", "containerStatuses": [{
            "name": "main", "image": "i", "imageID": "", "ready": true, "restartCount": 0, "state": { "running": {} },
        }] },
    })
}

/// The client error inside a step's failure.
pub fn client_error<T>(result: Result<Outcome<T>, Failure>) -> clients::Error {
    match result {
        Err(Failure::Client(error)) => error,
        Err(Failure::Skipped(why)) => panic!("skipped: {why}"),
        Ok(outcome) => panic!("done: {}", outcome.summary),
    }
}

fn manual() -> (Clock, Manual) {
    Clock::manual("2026-11-23T03:15:00Z".parse().unwrap())
}
