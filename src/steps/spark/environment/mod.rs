//! `spark.environment`: the settings an application runs with, and those that look like mistakes.

mod lint;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::lint::{Finding, Level};
use crate::{
    clients::{kube::one_line, spark::Via},
    domain::{
        evidence::{Origin, Passage},
        redact::{MASK, is_secret_name, redact},
    },
    steps::{Context, Effect, Failure, Need, Outcome, Step},
};

/// Settings in the output, at most.
const MAX_SETTINGS: usize = 500;
/// Longest value kept, characters.
const MAX_VALUE: usize = 500;

/// Reads the settings the run's Spark application was given (defaults are not among them) and checks them: keys Spark does
/// not know but almost does, and values that are dangerous or contradict each other. Secrets are masked.
///
/// Known keys are those of Spark 3.5; a key that is far from all of them is left alone, libraries bring their own.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Environment {}

/// The settings.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Output {
    /// By key: every `spark.*` setting that was given, secrets masked; at most 500.
    pub settings: BTreeMap<String, String>,
    /// What looks wrong, worst first.
    pub findings: Vec<Finding>,
    /// Version of Java.
    pub java: String,
    /// Version of Scala.
    pub scala: String,
    /// Version of Spark.
    pub spark: String,
    /// Where this came from.
    pub via: Via,
}

impl Step for Environment {
    const KIND: &'static str = "spark.environment";
    const EFFECT: Effect = Effect::Read;
    const NEEDS: &'static [Need] = super::NEEDS;
    const EXAMPLE: &'static str = "{}";
    type Output = Output;

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Output>, Failure> {
        let Self {} = self;
        let (app, cluster) = (context.spark_app()?, context.cluster()?);
        let session = cluster.spark.open(app).await?;
        let answer = session.environment().await?;
        let given: BTreeMap<String, String> = answer
            .spark_properties
            .into_iter()
            .filter(|(key, _)| key.starts_with("spark.") && key.len() <= 200)
            .take(MAX_SETTINGS)
            .collect();
        let findings = lint::check(&given);
        let settings: BTreeMap<String, String> =
            given.into_iter().map(|(key, value)| (key.clone(), shown(&key, &value))).collect();
        let mut passages: Vec<Passage> = findings.iter().map(Finding::passage).collect();
        passages.extend(memory(&settings));
        let attempt = session.application.attempts.first();
        let value = Output {
            spark: attempt.map(|a| one_line(&a.app_spark_version, 60)).unwrap_or_default(),
            java: one_line(&answer.runtime.java_version, 60),
            scala: one_line(answer.runtime.scala_version.trim_start_matches("version "), 60),
            via: session.via.clone(),
            settings,
            findings,
        };
        Ok(Outcome { summary: summary(&value), passages, value })
    }
}

/// A value as it may be kept.
fn shown(key: &str, value: &str) -> String {
    if is_secret_name(key) && !value.is_empty() {
        return MASK.to_owned();
    }
    one_line(&redact(value), MAX_VALUE)
}

/// The settings most diagnoses need, as lines: memory, cores, parallelism.
fn memory(settings: &BTreeMap<String, String>) -> Vec<Passage> {
    const TELLING: [&str; 16] = [
        "spark.driver.memory",
        "spark.driver.memoryOverhead",
        "spark.driver.memoryOverheadFactor",
        "spark.driver.maxResultSize",
        "spark.executor.cores",
        "spark.executor.instances",
        "spark.executor.memory",
        "spark.executor.memoryOverhead",
        "spark.executor.memoryOverheadFactor",
        "spark.executor.pyspark.memory",
        "spark.kubernetes.memoryOverheadFactor",
        "spark.memory.offHeap.size",
        "spark.dynamicAllocation.enabled",
        "spark.dynamicAllocation.maxExecutors",
        "spark.sql.shuffle.partitions",
        "spark.sql.autoBroadcastJoinThreshold",
    ];
    let given = TELLING.iter().filter_map(|key| Some((key, settings.get(*key)?)));
    given
        .map(|(key, value)| {
            Passage::new(Origin::SparkRest, "settings", format!("setting {key}={value}"))
        })
        .collect()
}

fn summary(output: &Output) -> String {
    let count = output.settings.len();
    let way = output.via.way;
    match output.findings.as_slice() {
        [] => format!("{count} settings, none looks wrong (by {way})"),
        [first, rest @ ..] => {
            let more =
                if rest.is_empty() { String::new() } else { format!(", {} more", rest.len()) };
            format!("{count} settings; {}{more} (by {way})", one_line(&first.line(), 200))
        }
    }
}
