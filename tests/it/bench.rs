//! What a step needs around it when it runs without an engine.

use futures::future::BoxFuture;
use jiff::Timestamp;
use paramedic::{
    clients::{
        Cluster, alertmanager, hive,
        http::{Client, Guard},
        loki, prometheus, s3, spark,
    },
    domain::{evidence::Findings, target::Target, template::Scope},
    ops::clock::{Clock, Manual},
    steps::{Context, Failure, Memory, Spec, Step},
};

use crate::fakes;

/// A cluster, a clock and a scope for one step.
pub struct Bench {
    pub cluster: Cluster,
    pub target: Option<Target>,
    pub scope: Scope,
    pub hand: Manual,
    clock: Clock,
    http: Client,
    memory: NoMemory,
}

/// A memory of Alertmanagers, and of nothing else.
#[derive(Default)]
struct NoMemory {
    alertmanagers: Vec<alertmanager::Client>,
}

impl Memory for NoMemory {
    fn note<'a>(&'a self, _: &'a str, text: &'a str) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { panic!("no step of this bench writes notes: {text}") })
    }

    fn alertmanagers<'a>(
        &'a self,
        source: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<alertmanager::Client>, String>> {
        Box::pin(async move {
            match source {
                None => Ok(self.alertmanagers.clone()),
                Some(source) => Err(format!("there is no source `{source}`")),
            }
        })
    }
}

impl Bench {
    /// A bench with an empty cluster named `prod-eu`, and a clock that only the test moves.
    pub fn new() -> Self {
        let (clock, hand) = Clock::manual("2026-11-23T03:12:00Z".parse::<Timestamp>().unwrap());
        let http = Client::new(Guard::default()).unwrap();
        let cluster = Cluster::new("prod-eu", spark::Client::new(http.clone(), None, None));
        let (scope, memory) = (Scope::default(), NoMemory::default());
        Self { cluster, target: None, scope, hand, clock, http, memory }
    }

    /// Adds a metastore to the cluster.
    pub fn metastore(mut self, name: &str, address: &str) -> Self {
        self.cluster.metastores.insert(name.to_owned(), hive::Client::new(address).unwrap());
        self
    }

    /// Adds a bucket to the cluster, with the keys the fake knows.
    pub fn bucket(mut self, name: &str, endpoint: &str, bucket: &str) -> Self {
        let settings = s3::Settings {
            endpoint: endpoint.parse().unwrap(),
            bucket: bucket.to_owned(),
            region: "us-east-1".to_owned(),
            keys: Some((fakes::s3::ACCESS.into(), fakes::s3::SECRET.into())),
            path_style: true,
        };
        let client = s3::Client::new(self.http.clone(), settings).unwrap();
        self.cluster.buckets.insert(name.to_owned(), client);
        self
    }

    /// Adds an Alertmanager of the incident's source.
    pub fn alertmanager(mut self, url: &str) -> Self {
        let client = alertmanager::Client::new(self.http.clone(), url.parse().unwrap());
        self.memory.alertmanagers.push(client);
        self
    }

    /// Gives the cluster a Loki.
    pub fn loki(mut self, url: &str, tenant: Option<&str>) -> Self {
        let settings = loki::Settings {
            url: url.parse().unwrap(),
            tenant: tenant.map(str::to_owned),
            token: Some("gateway-token".into()),
        };
        self.cluster.loki = Some(loki::Client::new(self.http.clone(), settings).unwrap());
        self
    }

    /// Gives the cluster a Prometheus.
    pub fn prometheus(mut self, url: &str) -> Self {
        let client = prometheus::Client::new(self.http.clone(), url.parse().unwrap());
        self.cluster.prometheus = Some(client);
        self
    }

    /// Runs a step that is written as in a playbook: `hive.metastore: { name: main }`.
    pub async fn run(&self, yaml: &str) -> Result<Findings, Failure> {
        self.spec(&read(yaml)).await
    }

    async fn spec(&self, spec: &Spec) -> Result<Findings, Failure> {
        let context = Context {
            scope: &self.scope,
            target: self.target.as_ref(),
            cluster: Some(&self.cluster),
            http: &self.http,
            memory: &self.memory,
            clock: &self.clock,
            idempotency_key: "run-1/step",
        };
        let bound = std::time::Duration::from_secs(20);
        tokio::time::timeout(bound, spec.run(&context)).await.expect("a step ends by itself")
    }
}

/// Reads `kind: inputs`.
fn read(yaml: &str) -> Spec {
    struct OneStep(Spec);
    impl<'de> serde::Deserialize<'de> for OneStep {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Visitor;
            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = OneStep;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("one step kind with its inputs")
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(
                    self,
                    mut map: A,
                ) -> Result<OneStep, A::Error> {
                    let kind: String = map.next_key()?.unwrap_or_default();
                    Ok(OneStep(Spec::next_value(&kind, &mut map)?.expect("a registered kind")))
                }
            }
            deserializer.deserialize_map(Visitor)
        }
    }
    serde_saphyr::from_str::<OneStep>(yaml).expect("a step as in a playbook").0
}

/// The passages' texts, one per line.
pub fn passages(findings: &Findings) -> String {
    findings.passages.iter().map(|p| p.text.as_str()).collect::<Vec<_>>().join("\n")
}

/// Parses a kind's own example.
pub fn example<S: Step>() -> S {
    serde_saphyr::from_str(S::EXAMPLE).expect("the example parses")
}
