//! `spark.executors`: who works, who died, and why Spark thinks they died.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    clients::{
        kube::one_line,
        spark::{Executor as Answer, Via, time},
    },
    domain::evidence::{Origin, Passage},
    steps::{Context, Effect, Failure, Need, Outcome, Step},
};

/// Executors in the output, at most; the last to die come first.
const MAX_SHOWN: usize = 200;

/// Reads the executors of the run's Spark application from Spark's REST API, dead ones with the reason Spark recorded.
/// The reason survives in the History Server after all pods are gone.
///
/// Reached by the driver's pod IP or UI service (both subject to `egress.allow`), the API server's proxy (optional:
/// `get` on `pods/proxy`), or the History Server. The driver itself is not listed.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Executors {
    /// Which ones; default `all`.
    #[serde(default)]
    pub state: State,
}

/// Which executors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Dead and active ones.
    #[default]
    All,
    /// Those that work.
    Active,
    /// Those that were removed.
    Dead,
}

/// The executors.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Output {
    /// The last to die first, then by number; at most 200.
    pub executors: Vec<Executor>,
    /// How many are active in the application, whatever `state` asks for.
    pub active: usize,
    /// How many are dead.
    pub dead: usize,
    /// Failed tasks of all executors.
    pub failed_tasks: i64,
    /// Where this came from.
    pub via: Via,
}

/// One executor.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Executor {
    /// Its number.
    pub id: String,
    /// Host and port of its block manager.
    pub host: String,
    /// False when it was removed.
    pub active: bool,
    /// Spark no longer schedules on it.
    pub excluded: bool,
    /// When it came, RFC 3339.
    pub added: String,
    /// When it was removed, RFC 3339.
    pub removed: String,
    /// Why it was removed, in Spark's words.
    pub remove_reason: String,
    /// Cores.
    pub cores: i64,
    /// Tasks that failed on it.
    pub failed_tasks: i64,
    /// Tasks that finished on it.
    pub completed_tasks: i64,
    /// Tasks that run on it.
    pub active_tasks: i64,
    /// Share of task time spent in garbage collection, per cent.
    pub gc_percent: i64,
    /// Highest JVM heap, bytes; 0 when not measured.
    pub peak_heap_bytes: i64,
    /// Highest resident memory of Python workers, bytes; 0 when not measured.
    pub peak_python_bytes: i64,
}

impl Step for Executors {
    const KIND: &'static str = "spark.executors";
    const EFFECT: Effect = Effect::Read;
    const NEEDS: &'static [Need] = super::NEEDS;
    const EXAMPLE: &'static str = "state: dead";
    type Output = Output;

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Output>, Failure> {
        let (app, cluster) = (context.spark_app()?, context.cluster()?);
        let session = cluster.spark.open(app).await?;
        let answers = session.executors().await?;
        let (value, passages) = report(answers, self.state, session.via.clone());
        Ok(Outcome { summary: summary(&value), passages, value })
    }
}

fn report(answers: Vec<Answer>, state: State, via: Via) -> (Output, Vec<Passage>) {
    let mut all: Vec<Answer> = answers.into_iter().filter(|e| e.id != "driver").collect();
    let active = all.iter().filter(|e| e.is_active).count();
    let dead = all.len() - active;
    let failed_tasks = all.iter().map(|e| e.failed_tasks).fold(0_i64, i64::saturating_add);
    all.retain(|e| match state {
        State::All => true,
        State::Active => e.is_active,
        State::Dead => !e.is_active,
    });
    all.sort_by_key(|e| {
        let removed = time(&e.remove_time).map(|t| std::cmp::Reverse(t.as_millisecond()));
        (e.is_active, removed, e.id.parse::<u64>().unwrap_or(u64::MAX))
    });
    all.truncate(MAX_SHOWN);
    let passages = all.iter().filter_map(passage).collect();
    let executors = all.into_iter().map(Executor::new).collect();
    (Output { executors, active, dead, failed_tasks, via }, passages)
}

/// The reason stays whole: on Kubernetes it has several lines, and signatures want all of them.
pub(crate) fn passage(executor: &Answer) -> Option<Passage> {
    let id = &executor.id;
    let text = if executor.is_active {
        executor.is_excluded.then(|| format!("executor {id} excluded by Spark"))?
    } else {
        match executor.remove_reason.trim() {
            "" => format!("executor {id} removed: no reason recorded"),
            reason => format!("executor {id} removed: {reason}"),
        }
    };
    Some(Passage::new(Origin::SparkRest, format!("executor {id}"), text))
}

impl Executor {
    fn new(answer: Answer) -> Self {
        let stamp = |text: &str| time(text).map(|t| t.to_string()).unwrap_or_default();
        Self {
            added: stamp(&answer.add_time),
            removed: stamp(&answer.remove_time),
            gc_percent: super::percent(answer.total_gc_time, answer.total_duration),
            peak_heap_bytes: answer.peak_memory_metrics.jvm_heap,
            peak_python_bytes: answer.peak_memory_metrics.python_rss,
            id: answer.id,
            host: answer.host_port,
            active: answer.is_active,
            excluded: answer.is_excluded,
            remove_reason: answer.remove_reason.trim().to_owned(),
            cores: answer.total_cores,
            failed_tasks: answer.failed_tasks,
            completed_tasks: answer.completed_tasks,
            active_tasks: answer.active_tasks,
        }
    }
}

fn summary(output: &Output) -> String {
    let failed = match output.failed_tasks {
        0 => String::new(),
        n => format!(", {n} failed tasks"),
    };
    let first = output.executors.iter().find(|e| !e.active && !e.remove_reason.is_empty());
    let why = first.map(|e| {
        let reason = one_line(e.remove_reason.lines().next().unwrap_or_default(), 120);
        format!("; executor {}: {reason}", e.id)
    });
    let (active, dead, way) = (output.active, output.dead, output.via.way);
    format!("{active} active, {dead} dead{failed}{} (by {way})", why.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::spark::Way;

    fn real(state: State) -> (Output, Vec<Passage>) {
        let answers = serde_json::from_str(include_str!(
            "../../../tests/fixtures/spark-3.5/rest/executorlost-allexecutors.json"
        ));
        report(answers.unwrap(), state, Via { way: Way::History, tried: vec![] })
    }

    #[test]
    fn a_real_oom_kill_is_quoted_whole() {
        let (output, passages) = real(State::Dead);
        assert_eq!((output.active, output.dead, output.executors.len()), (1, 1, 1));
        assert_eq!(output.executors[0].removed, "2026-11-23T05:32:00.627Z");
        insta::assert_snapshot!(summary(&output), @"1 active, 1 dead; executor 1: The executor with id 1 exited with exit code 137(SIGKILL, possible container OOM). (by History Server)");
        let lines: Vec<_> = passages[0].text.lines().collect();
        assert_eq!(
            lines[0],
            "executor 1 removed: The executor with id 1 exited with exit code 137(SIGKILL, possible container OOM)."
        );
        assert_eq!(lines.last(), Some(&"\t termination reason: OOMKilled"));
    }

    #[test]
    fn the_driver_is_no_executor_and_the_dead_come_first() {
        let (output, passages) = real(State::All);
        let ids: Vec<_> = output.executors.iter().map(|e| (e.id.as_str(), e.active)).collect();
        assert_eq!(ids, [("1", false), ("2", true)]);
        assert_eq!(passages.len(), 1);
        assert_eq!(real(State::Active).0.executors.len(), 1);
    }

    #[test]
    fn a_removal_without_a_reason_and_an_exclusion_are_said() {
        let answers = vec![
            Answer { id: "1".to_owned(), ..Answer::default() },
            Answer { id: "2".to_owned(), is_active: true, is_excluded: true, ..Answer::default() },
        ];
        let (_, passages) = report(answers, State::All, Via { way: Way::PodIp, tried: vec![] });
        let texts: Vec<_> = passages.iter().map(|p| p.text.as_str()).collect();
        assert_eq!(
            texts,
            ["executor 1 removed: no reason recorded", "executor 2 excluded by Spark"]
        );
    }
}
