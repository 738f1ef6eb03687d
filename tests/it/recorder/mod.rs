//! The evidence recorder's stories: pods come, die and are deleted before anybody asks, and the card still knows.
//!
//! The watches are real and run by themselves, against the demo's API server; a story waits for what must become true.

mod card;
mod kept;
mod replicas;
mod soak;
mod trouble;

use std::{collections::BTreeSet, time::Duration};

use paramedic::{
    clients::{self, Cluster, kube, spark},
    demo::apiserver::{self, ApiServer},
    engine::recorder::Counts,
    ops::{clock::Clock, lifecycle::Tasks},
    steps::recorded::{Recall, RecordedPod},
};
use serde_json::{Value, json};

use crate::app::{START, TestApp};

/// Label selector and name of the application in these stories.
const APP: &str = "spark-4dbb817998fe49e9853d1610eddeec70";

/// A daemon that records an API server's pods.
struct Rig {
    app: TestApp,
    cluster: apiserver::Cluster,
    tasks: Tasks,
    expected: Expected,
}

impl Rig {
    async fn new(yaml: &str) -> Self {
        Self::on(tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap(), yaml).await
    }

    async fn on(listener: tokio::net::TcpListener, yaml: &str) -> Self {
        let rig = Self::not_started(listener, yaml).await;
        rig.records();
        // Once it watches, nothing that a story does can fall between list and watch unseen.
        rig.until("it watches", |rig| rig.watches() >= 2).await;
        rig
    }

    async fn not_started(listener: tokio::net::TcpListener, yaml: &str) -> Self {
        let (clock, hand) = Clock::manual(START.parse().unwrap());
        let tasks = Tasks::default();
        let cluster = apiserver::Cluster::new(&clock);
        let server = ApiServer::on(listener, &tasks, cluster.clone()).unwrap();
        let app = TestApp::at((clock, hand), yaml, &[], vec![access(&server)]).await;
        let expected = Expected(cluster.clone());
        Self { app, cluster, tasks, expected }
    }

    fn watches(&self) -> usize {
        self.cluster.requests().iter().filter(|request| request.contains("watch=true")).count()
    }

    fn counts(&self) -> Counts {
        self.app.engine.recorder.counts("prod")
    }

    /// Waits for what the recorder's tasks bring about; time stands still meanwhile.
    async fn until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !done(self) {
                tokio::task::yield_now().await;
            }
        };
        let ended = tokio::time::timeout(Duration::from_secs(30), waiting).await;
        assert!(
            ended.is_ok(),
            "never: {what}: {:?}, {:?}",
            self.counts(),
            self.app.engine.recorder.troubles()
        );
    }

    /// The same while seconds pass: what is tried again needs them.
    async fn until_later(&self, what: &str, done: impl Fn(&Self) -> bool) {
        self.until(what, |rig| {
            let over = done(rig);
            if !over {
                rig.app.advance(Duration::from_millis(20));
            }
            over
        })
        .await;
    }

    /// Waits for what has to be asked for; seconds pass when `later`.
    async fn becomes(&self, what: &str, later: bool, done: impl AsyncFn() -> bool) {
        let waiting = async {
            while !done().await {
                if later {
                    self.app.advance(Duration::from_millis(20));
                }
                tokio::task::yield_now().await;
            }
        };
        let ended = tokio::time::timeout(Duration::from_secs(30), waiting).await;
        assert!(ended.is_ok(), "never: {what}: {:?}", self.counts());
    }

    /// Waits until a pod is known to be gone.
    async fn gone(&self, name: &str) {
        let gone = async || self.recall(name).await.is_some_and(|known| known.is_gone());
        self.becomes("it is seen to be gone", false, gone).await;
    }

    async fn recall(&self, name: &str) -> Option<RecordedPod> {
        let asked = Recall {
            cluster: "prod".to_owned(),
            name: name.to_owned(),
            logs: true,
            ..Recall::default()
        };
        self.app.engine.recorder.recall(&asked).await.pods.into_iter().next()
    }

    /// The daemon dies without a word, and another one starts on the same store, in the same cluster.
    async fn dies_and_restarts(self) -> Self {
        let Self { app, cluster, tasks, expected } = self;
        let app = app.dies_and_restarts().await;
        Self { app, cluster, tasks, expected }
    }

    fn records(&self) {
        self.app.engine.recorder.start(&self.app.tasks);
    }
}

/// Lets a recorder work that may do only this, until it has recorded all that is `enough` for, else until it says what is
/// refused; that.
pub async fn troubles_under(rules: BTreeSet<(String, String, String)>, enough: bool) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rig = Rig::not_started(listener, "").await;
    rig.cluster.grant_only(rules).unwrap();
    let dies = |name: &str| {
        say(&rig.cluster, name, "executor", "INFO last words");
        rig.cluster.put(killed(name, "executor")).unwrap();
        rig.cluster.put(event(name, &format!("of-{name}"), "Killing", "Stopping")).unwrap();
    };
    dies("exec-1");
    rig.records();
    let troubles = || rig.app.engine.recorder.troubles();
    if enough {
        // What comes after the lists is brought by the watches alone.
        rig.until("it watches", |rig| rig.watches() >= 2).await;
        dies("exec-2");
        rig.until("both logs are read", |rig| rig.counts().kept == 2).await;
        let events = async || rig.recall("exec-2").await.is_some_and(|pod| pod.events.len() == 1);
        rig.becomes("the event is seen", false, events).await;
    } else {
        rig.until("it is refused", |_| !troubles().is_empty()).await;
    }
    troubles().join("\n")
}

/// What a daemon knows of the cluster.
fn access(server: &ApiServer) -> Cluster {
    let kube = kube::Client::from_url(&server.url).unwrap();
    let http = clients::http::Client::new(clients::http::Guard::default()).unwrap();
    let spark = spark::Client::new(http, Some(kube.clone()), None);
    Cluster { kube: Some(kube), ..Cluster::new("prod", spark) }
}

/// Fails the story when the recorder asked for something the API server does not model.
struct Expected(apiserver::Cluster);

impl Drop for Expected {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.0.unexpected(), Vec::<String>::new());
        }
    }
}

/// A Spark pod whose container is in this state.
fn pod(name: &str, role: &str, phase: &str, state: &Value) -> Value {
    let container = format!("spark-kubernetes-{role}");
    let running = state["running"].is_object();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": "spark-prod", "uid": format!("uid-{name}"), "labels": {
            "spark-role": role, "spark-app-selector": APP, "spark-app-name": "nightly", "spark-exec-id": "1" } },
        "spec": { "nodeName": "node-7", "containers": [{ "name": container }] },
        "status": { "phase": phase, "startTime": START, "containerStatuses": [{
            "name": container, "image": "i", "imageID": "", "ready": running, "restartCount": 0, "state": state }] },
    })
}

fn running(name: &str, role: &str) -> Value {
    pod(name, role, "Running", &json!({ "running": {} }))
}

fn killed(name: &str, role: &str) -> Value {
    pod(name, role, "Failed", &json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled" } }))
}

fn event(about: &str, name: &str, reason: &str, message: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Event", "metadata": { "name": name, "namespace": "spark-prod" },
        "involvedObject": { "kind": "Pod", "name": about, "namespace": "spark-prod", "uid": format!("uid-{about}") },
        "type": if reason.starts_with("Failed") { "Warning" } else { "Normal" }, "reason": reason, "message": message, "count": 1, "lastTimestamp": START,
    })
}

/// A log line of the pod's own container.
fn say(cluster: &apiserver::Cluster, pod: &str, role: &str, text: &str) {
    cluster.log(
        "spark-prod",
        pod,
        &format!("spark-kubernetes-{role}"),
        START.parse().unwrap(),
        text,
    );
}

fn alert(labels: &[(&str, &str)]) -> Value {
    let all: Vec<(&str, &str)> = [("namespace", "spark-prod"), ("cluster", "prod")]
        .into_iter()
        .chain(labels.iter().copied())
        .collect();
    crate::app::firing(&[&all])
}
