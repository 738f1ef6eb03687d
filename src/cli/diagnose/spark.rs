//! `paramedic diagnose spark`: what is wrong with an application in a cluster, by the shipped playbooks' own steps.
//!
//! Only reads: the shipped playbooks have no other steps, and this is checked. Without a cluster in the kubeconfig a
//! History Server alone may still tell.

use std::{collections::BTreeMap, io::Write, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use futures::future::BoxFuture;
use jiff::civil::Date;
use serde_json::json;

use super::show::{Asked, Report};
use crate::{
    cli::Output,
    clients::{
        Cluster,
        http::{self, Url},
        kube, spark,
    },
    domain::{
        evidence::{Evidence, StepState},
        target::Target,
        template::{Filled as _, Name, Scope},
        verdict::Verdict,
    },
    engine::execution::{Execution, Recorded},
    ops::clock::Clock,
    playbook::{catalog::Catalog, model::Playbook, plan},
    steps::{
        self, Effect,
        target::{AppId, Past, TargetSpec, resolve},
    },
};

/// Which shipped playbooks are asked.
const PLAYBOOKS: [&str; 2] = ["spark-driver-failed", "spark-executor-lost"];

/// How long the search for the application may take.
const RESOLVE: Duration = Duration::from_secs(20);

/// What is wrong with a Spark application in a cluster; only reads
#[derive(Clone, Debug, clap::Args)]
pub struct Spark {
    /// Its `SparkApplication`, its `spark.app.name` or `spark.app.id`, or one of its pods
    #[arg(value_name = "APP|POD")]
    pub name: String,
    /// Its namespace; default: the context's
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// A context of your kubeconfig; default: the current one, or the pod's own service account
    #[arg(long, value_name = "CONTEXT")]
    pub context: Option<String>,
    /// A History Server, for applications whose pods are gone
    #[arg(long, value_name = "URL")]
    pub history: Option<Url>,
    /// Networks that may be reached besides public ones, such as 10.0.0.0/8 for drivers' pod addresses
    #[arg(long, value_name = "CIDR")]
    pub allow: Vec<http::Cidr>,
    /// How to answer
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

impl Spark {
    /// Looks and prints.
    pub async fn run(
        &self,
        clock: &Clock,
        today: Date,
        out: &mut impl Write,
    ) -> anyhow::Result<ExitCode> {
        let kube = kube::Client::open(&kube::Source::Inferred(self.context.clone())).await;
        let kube = match kube {
            Ok(kube) => Some(kube),
            Err(_) if self.history.is_some() && self.context.is_none() => None,
            Err(error) => {
                return Err(error).context(
                    "no cluster to ask; name one with `--context`, or a History Server with `--history`",
                );
            }
        };
        let catalog = Catalog::shipped(today)
            .map_err(|found| crate::cli::wire::refused("the shipped playbooks", &found))?;
        self.look(kube, &catalog, clock, out).await
    }

    /// As [`Self::run`], with a client and playbooks that are there already.
    pub async fn look(
        &self,
        kube: Option<kube::Client>,
        catalog: &Catalog,
        clock: &Clock,
        out: &mut impl Write,
    ) -> anyhow::Result<ExitCode> {
        let http = http::Client::new(http::Guard { allow: self.allow.clone() })?;
        let namespace = match (&self.namespace, &kube) {
            (Some(namespace), _) => namespace.clone(),
            (None, Some(kube)) => kube.default_namespace().to_owned(),
            (None, None) => String::new(),
        };
        let history = self.history.clone();
        let name = self.context.clone().unwrap_or_else(|| "current".to_owned());
        let spark = spark::Client::new(http.clone(), kube.clone(), history);
        let cluster = Cluster { kube, ..Cluster::new(name, spark) };
        let target = self.find(&cluster, &namespace, clock).await?;
        let work =
            Work { clock, http: &http, cluster: &cluster, target: &target, namespace: &namespace };
        let mut evidence: Vec<Evidence> = Vec::new();
        let playbooks = PLAYBOOKS.map(|name| catalog.playbooks.iter().find(|p| p.name == name));
        for playbook in playbooks {
            let playbook = playbook.context("a shipped playbook is missing")?;
            evidence.extend(work.run(playbook).await?);
        }
        let verdicts = judge(catalog, &mut evidence);
        let nothing = evidence.iter().all(|step| step.state != StepState::Done);
        let report = Report::new(verdicts, vec![]).about(target.label(), asked(&evidence));
        report.print(self.output, out)?;
        anyhow::ensure!(
            !nothing,
            "nothing could be read about {}; the reasons stand above",
            target.label()
        );
        Ok(ExitCode::SUCCESS)
    }

    /// The application behind the name: by pod, by application, at last by id.
    async fn find(
        &self,
        cluster: &Cluster,
        namespace: &str,
        clock: &Clock,
    ) -> anyhow::Result<Target> {
        anyhow::ensure!(
            Name::parse(&self.name).is_ok() || AppId::parse(&self.name).is_ok(),
            "`{}` is neither the name of a pod or an application nor an application's id",
            self.name.escape_debug()
        );
        let labels = json!({ "name": self.name, "namespace": namespace });
        let scope = Scope::default().with("labels", labels);
        let search = |hints: &'static str| {
            let scope = &scope;
            async move {
                let spec: TargetSpec = serde_saphyr::from_str(hints).map_err(|e| e.to_string())?;
                let past = Past { memory: &NoMemory, now: clock.now() };
                let found = resolve(&spec, scope, Some(cluster), &cluster.name, past);
                let found = tokio::time::timeout(RESOLVE, found).await;
                found.unwrap_or_else(|_| Err("the cluster did not answer in time".to_owned()))
            }
        };
        let by_name =
            "spark_app: [ { pod: \"{{labels.name}}\" }, { application: \"{{labels.name}}\" } ]";
        let miss = match search(by_name).await {
            Ok(mut found) if !found.is_empty() => return Ok(found.swap_remove(0)),
            Ok(_) => "nothing fits".to_owned(),
            Err(miss) => miss,
        };
        let by_id = search("spark_app: [ { id: \"{{labels.name}}\" } ]").await.unwrap_or_default();
        let known = |target: &Target| match target {
            // An id alone says nothing of whether it exists; a History Server may know it.
            Target::SparkApp(app) => {
                !app.driver_pod.is_empty() || !app.name.is_empty() || self.history.is_some()
            }
            Target::Pod(_) | Target::Metastore(_) => false,
        };
        by_id.into_iter().find(known).ok_or_else(|| {
            anyhow::anyhow!("{miss}. Names are looked up in namespace `{namespace}` (`-n` for another); for one whose pods are gone give its id and `--history`")
        })
    }
}

struct Work<'a> {
    clock: &'a Clock,
    http: &'a http::Client,
    cluster: &'a Cluster,
    target: &'a Target,
    namespace: &'a str,
}

/// There is no incident to write to.
struct NoMemory;

impl steps::Memory for NoMemory {
    fn note<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async { Err("there is no incident".to_owned()) })
    }
}

impl Work<'_> {
    async fn run(&self, playbook: &Arc<Playbook>) -> anyhow::Result<Vec<Evidence>> {
        let reads = playbook.steps.iter().all(|step| step.effect == Effect::Read);
        anyhow::ensure!(reads, "playbook {} does more than read", playbook.name);
        let labels = BTreeMap::from([("namespace".to_owned(), self.namespace.to_owned())]);
        let alert = plan::alert_scope(&labels, &BTreeMap::new(), vec![]);
        let base = plan::run_scope(alert, Some(self.target), json!({}));
        let execution = Execution {
            id: "diagnose",
            playbook,
            base: &base,
            target: Some(self.target),
            cluster: Some(self.cluster),
            http: self.http,
            memory: &NoMemory,
            clock: self.clock,
        };
        let mut evidence = Vec::new();
        let record = |_| -> Recorded<'_> { Box::pin(async { Ok(()) }) };
        execution.drive(&mut evidence, playbook.limits.deadline, &record).await?;
        // As they stand in the playbook, not as they happened to end: the same question gets the same answer.
        let place = |step: &Evidence| {
            let id = step.step.split('[').next().unwrap_or_default();
            playbook.steps.iter().position(|known| known.id == id)
        };
        evidence.sort_by_key(|step| (place(step), step.step.clone()));
        Ok(evidence)
    }
}

/// Both playbooks read some of the same things: a passage counts once.
fn judge(catalog: &Catalog, evidence: &mut [Evidence]) -> Vec<Verdict> {
    let mut seen: Vec<crate::domain::evidence::Passage> = Vec::new();
    for step in evidence.iter_mut() {
        step.findings.passages.retain(|passage| {
            let new = !seen.contains(passage);
            if new {
                seen.push(passage.clone());
            }
            new
        });
    }
    catalog.signatures.diagnose(evidence, &[])
}

/// What was asked and how it ended, each once; a condition that plainly does not hold is no news.
fn asked(evidence: &[Evidence]) -> Vec<Asked> {
    let mut asked: Vec<Asked> = Vec::new();
    for step in evidence {
        let (state, said) = match step.state {
            StepState::Done => ("done", &step.findings.summary),
            StepState::Skipped => ("skipped", &step.reason),
            StepState::Failed => ("failed", &step.reason),
            StepState::Uncertain => ("uncertain", &step.reason),
        };
        let plain = step.state == StepState::Skipped
            && (said.ends_with("does not hold") || said.ends_with("is empty"));
        let known = asked.iter().any(|known| known.step == step.kind && known.said == *said);
        if !plain && !known {
            asked.push(Asked { step: step.kind.clone(), state, said: said.clone() });
        }
    }
    asked
}
