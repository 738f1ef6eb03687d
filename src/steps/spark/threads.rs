//! `spark.threads`: what a driver or executor that makes no progress is waiting for.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    clients::{
        kube::one_line,
        spark::{Thread as Answer, Via},
    },
    domain::{
        evidence::{Origin, Passage},
        template::{Filled, Input},
    },
    steps::{Context, Effect, Failure, Need, Outcome, Step},
};

/// Threads in the output, at most.
const MAX_SHOWN: usize = 50;
/// Frames kept of one thread, innermost first.
const MAX_FRAMES: usize = 40;

/// Reads the threads of the driver or one executor: those that work for the application, and those that block each other.
///
/// Only of a running application; the History Server has none. Threads that only wait for work are counted, not shown.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Threads {
    /// `driver` or an executor's number; default `driver`.
    #[serde(default = "driver")]
    pub executor: Input<Executor>,
}

fn driver() -> Input<Executor> {
    "driver".into()
}

/// `driver`, or an executor's number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executor(pub String);

impl Filled for Executor {
    const WHAT: &'static str = "`driver` or an executor's number";

    fn parse(text: &str) -> Result<Self, String> {
        let number =
            !text.is_empty() && text.len() <= 10 && text.bytes().all(|b| b.is_ascii_digit());
        if number || text == "driver" {
            return Ok(Self(text.to_owned()));
        }
        let shown: String = text.chars().take(40).collect();
        Err(format!("`{}` is neither `driver` nor an executor's number", shown.escape_debug()))
    }
}

/// The threads.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Output {
    /// Those that block or are blocked, then `main`, then task threads; at most 50.
    pub threads: Vec<Thread>,
    /// How many are in each state, of all.
    pub states: BTreeMap<String, usize>,
    /// Threads that wait for one another in a circle; empty when there is none.
    pub deadlock: Vec<String>,
    /// Where this came from.
    pub via: Via,
}

/// One thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Thread {
    /// Name.
    pub name: String,
    /// `RUNNABLE`, `BLOCKED`, `WAITING`, `TIMED_WAITING`.
    pub state: String,
    /// The thread it waits for; empty when for none.
    pub blocked_by: String,
    /// Frames, innermost first; at most 40.
    pub stack: Vec<String>,
}

impl Step for Threads {
    const KIND: &'static str = "spark.threads";
    const EFFECT: Effect = Effect::Read;
    const NEEDS: &'static [Need] = super::NEEDS;
    const EXAMPLE: &'static str = "executor: driver";
    type Output = Output;

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Output>, Failure> {
        let (app, cluster) = (context.spark_app()?, context.cluster()?);
        let Executor(executor) = self.executor.fill(context.scope)?;
        let session = cluster.spark.open(app).await?;
        let answers = session.threads(&executor).await?;
        let value = Output {
            states: states(&answers),
            deadlock: circle(&answers),
            threads: chosen(&answers),
            via: session.via.clone(),
        };
        let who = if executor == "driver" { executor } else { format!("executor {executor}") };
        let mut passages: Vec<Passage> = value.threads.iter().map(|t| t.passage(&who)).collect();
        if !value.deadlock.is_empty() {
            let text = format!("deadlock in the {who}: {}", value.deadlock.join(" waits for "));
            passages.insert(0, Passage::new(Origin::SparkRest, format!("threads of {who}"), text));
        }
        let all: Vec<String> =
            value.states.iter().map(|(state, n)| format!("{n} {state}")).collect();
        let dead = if value.deadlock.is_empty() { "" } else { "DEADLOCK; " };
        let main = value.threads.iter().find(|t| t.name == "main").and_then(|t| t.stack.first());
        let main =
            main.map(|frame| format!("; main at {}", one_line(frame, 120))).unwrap_or_default();
        let summary =
            format!("threads of {who}: {dead}{}{main} (by {})", all.join(", "), value.via.way);
        Ok(Outcome { value, passages, summary })
    }
}

fn states(threads: &[Answer]) -> BTreeMap<String, usize> {
    let mut states = BTreeMap::new();
    for thread in threads {
        *states.entry(one_line(&thread.thread_state, 30)).or_insert(0) += 1;
    }
    states
}

/// The threads worth showing, most telling first.
fn chosen(threads: &[Answer]) -> Vec<Thread> {
    let holders: Vec<i64> = threads.iter().filter_map(|t| t.blocked_by_thread_id).collect();
    let rank = |thread: &Answer| {
        let name = &thread.thread_name;
        if thread.blocked_by_thread_id.is_some() || holders.contains(&thread.thread_id) {
            Some(0)
        } else if name == "main" {
            Some(1)
        } else if name.starts_with("Executor task launch worker") {
            Some(2)
        } else if ["broadcast-exchange", "dag-scheduler-event-loop", "stream execution thread"]
            .iter()
            .any(|telling| name.starts_with(telling))
        {
            Some(3)
        } else {
            None
        }
    };
    let mut ranked: Vec<(u8, &Answer)> =
        threads.iter().filter_map(|thread| Some((rank(thread)?, thread))).collect();
    ranked.sort_by_key(|(rank, thread)| (*rank, thread.thread_id));
    let name_of = |id: i64| {
        let holder = threads.iter().find(|thread| thread.thread_id == id);
        holder.map_or_else(|| format!("thread {id}"), |thread| one_line(&thread.thread_name, 200))
    };
    let shown = |answer: &Answer| Thread {
        name: one_line(&answer.thread_name, 200),
        state: one_line(&answer.thread_state, 30),
        blocked_by: answer.blocked_by_thread_id.map(name_of).unwrap_or_default(),
        stack: answer.stack_trace.elems.iter().take(MAX_FRAMES).map(|f| one_line(f, 300)).collect(),
    };
    ranked.into_iter().take(MAX_SHOWN).map(|(_, answer)| shown(answer)).collect()
}

/// Names of threads that wait for one another; the first is repeated at the end.
fn circle(threads: &[Answer]) -> Vec<String> {
    let waits: BTreeMap<i64, i64> =
        threads.iter().filter_map(|t| Some((t.thread_id, t.blocked_by_thread_id?))).collect();
    let name = |id: &i64| {
        let found = threads.iter().find(|thread| thread.thread_id == *id);
        found.map_or_else(|| id.to_string(), |thread| one_line(&thread.thread_name, 200))
    };
    for start in waits.keys() {
        let mut path = vec![*start];
        while let Some(next) = path.last().and_then(|last| waits.get(last)) {
            if next == start {
                path.push(*start);
                return path.iter().map(name).collect();
            }
            if path.contains(next) {
                break;
            }
            path.push(*next);
        }
    }
    vec![]
}

impl Thread {
    fn passage(&self, who: &str) -> Passage {
        let by = match self.blocked_by.as_str() {
            "" => String::new(),
            by => format!(" blocked by {by}"),
        };
        let head = format!("thread {} {}{by}", self.name, self.state);
        let frames = self.stack.iter().map(String::as_str);
        let text = std::iter::once(head.as_str()).chain(frames).collect::<Vec<_>>().join("\n  at ");
        Passage::new(Origin::SparkRest, format!("threads of {who}"), text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thread(id: i64, name: &str, waits_for: Option<i64>) -> Answer {
        Answer {
            thread_id: id,
            thread_name: name.to_owned(),
            thread_state: if waits_for.is_some() { "BLOCKED" } else { "WAITING" }.to_owned(),
            blocked_by_thread_id: waits_for,
            ..Answer::default()
        }
    }

    #[test]
    fn threads_in_a_circle_are_a_deadlock_and_a_chain_is_none() {
        let circular = [thread(1, "a", Some(2)), thread(2, "b", Some(3)), thread(3, "c", Some(2))];
        assert_eq!(circle(&circular), ["b", "c", "b"]);
        let chain = [thread(1, "a", Some(2)), thread(2, "b", Some(9)), thread(3, "c", None)];
        assert!(circle(&chain).is_empty());
        assert_eq!(circle(&[thread(1, "self", Some(1))]), ["self", "self"]);
    }

    #[test]
    fn the_driver_and_its_tasks_are_shown_and_idle_pools_are_counted() {
        let threads = [
            thread(5, "main", None),
            thread(6, "Executor task launch worker for task 1.0 in stage 0.0 (TID 1)", None),
            thread(7, "netty-rpc-env-timeout", None),
            thread(8, "waits", Some(7)),
        ];
        let names: Vec<_> = chosen(&threads).into_iter().map(|t| t.name).collect();
        assert_eq!(names[..3], ["netty-rpc-env-timeout", "waits", "main"]);
        assert_eq!((names.len(), states(&threads)["WAITING"]), (4, 3));
    }

    #[test]
    fn only_a_driver_or_a_number_is_asked_for() {
        for bad in ["", "1/../..", "Driver", "-1", "99999999999"] {
            assert!(Executor::parse(bad).is_err(), "{bad}");
        }
    }
}
