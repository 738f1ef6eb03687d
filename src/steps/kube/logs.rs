//! `kube.logs`: the end of container logs.

use futures::{StreamExt as _, stream};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Pattern, Role, Selector, Since,
    which::{Found, Which},
};
use crate::{
    clients::{
        self, Error, Kind,
        kube::{Log, LogQuery, Pod, one_line},
    },
    domain::{
        evidence::{Origin, Passage},
        template::{Input, Name},
    },
    steps::{Context, Effect, Failure, Need, Outcome, Step},
};

/// Logs read in one step, at most; failed pods come first.
const MAX_LOGS: usize = 20;
/// Bytes kept of one log, at most: the newest.
const MAX_BYTES: usize = 512 * 1024;
/// Logs read at once.
const PARALLEL: usize = 4;

/// Reads the end of container logs: of one pod, of pods by selector, or of the target's driver or executors.
///
/// All containers unless one is named. A log dies with its pod: then the step fails and says so. Terminal colours and
/// control characters are removed.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Logs {
    /// One pod by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Input<Name>>,
    /// Namespace; default: the target's, else the alert's label `namespace`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Input<Name>>,
    /// The target's driver, or its executors; failed pods first, at most 20 logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Labels: a map, or `k=v,k2=v2`; values are templates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Selector>,
    /// Only this container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Input<Name>>,
    /// Of a container that was restarted, read the run before the restart. Others are read as they are.
    #[serde(default)]
    pub previous: bool,
    /// Last lines of each log, 1 to 5 000; default 200.
    #[serde(default = "default_tail")]
    #[schemars(range(min = 1, max = 5_000))]
    pub tail: Tail,
    /// Only lines this young: `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Since>,
    /// Only lines that match this regular expression, with their surroundings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grep: Option<Pattern>,
    /// Lines kept before and after each match; 0 to 50, default 3.
    #[serde(default = "default_around")]
    #[schemars(range(max = 50))]
    pub around: Around,
}

/// Number of last lines.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "usize")]
#[schemars(inline)]
pub struct Tail(usize);

impl TryFrom<usize> for Tail {
    type Error = String;

    fn try_from(lines: usize) -> Result<Self, String> {
        if (1..=5_000).contains(&lines) {
            Ok(Self(lines))
        } else {
            Err("`tail` is 1 to 5000 lines".to_owned())
        }
    }
}

/// Number of surrounding lines.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "usize")]
#[schemars(inline)]
pub struct Around(usize);

impl TryFrom<usize> for Around {
    type Error = String;

    fn try_from(lines: usize) -> Result<Self, String> {
        if lines <= 50 { Ok(Self(lines)) } else { Err("`around` is 0 to 50 lines".to_owned()) }
    }
}

fn default_tail() -> Tail {
    Tail(200)
}

fn default_around() -> Around {
    Around(3)
}

/// The logs.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Output {
    /// One entry per log that was read.
    pub logs: Vec<ContainerLog>,
    /// Logs that could not be read, with the reason.
    pub missing: Vec<Missing>,
    /// Lines in all logs together.
    pub lines: usize,
    /// Lines that matched `grep`; 0 without it.
    pub matches: usize,
}

/// One container's log.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ContainerLog {
    /// Pod.
    pub pod: String,
    /// Container.
    pub container: String,
    /// `driver`, `executor`, or empty.
    pub role: String,
    /// True when this is the run before the last restart.
    pub previous: bool,
    /// The text.
    pub text: String,
    /// Its lines.
    pub lines: usize,
    /// True when older lines were left out to respect a byte limit.
    pub cut: bool,
}

/// A log that could not be read.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Missing {
    /// Pod.
    pub pod: String,
    /// Container.
    pub container: String,
    /// Why.
    pub reason: String,
}

struct Job {
    pod: Pod,
    container: String,
    previous: bool,
}

impl Step for Logs {
    const KIND: &'static str = "kube.logs";
    const EFFECT: Effect = Effect::Read;
    const NEEDS: &'static [Need] = &[
        Need { group: "", resource: "pods", verb: "get" },
        Need { group: "", resource: "pods", verb: "list" },
        Need { group: "", resource: "pods/log", verb: "get" },
    ];
    const EXAMPLE: &'static str = "pod: \"{{pod.name}}\"\nprevious: true\ntail: 400";
    type Output = Output;

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Output>, Failure> {
        let which = Which {
            name: self.pod.as_ref(),
            selector: self.selector.as_ref(),
            role: self.role,
            namespace: self.namespace.as_ref(),
        };
        let mut found = which.pods(context).await?;
        if found.pods.is_empty() {
            return Err(gone(&found));
        }
        found.pods.sort_by_key(|pod| !pod.has_failed());
        let jobs = self.jobs(&found, context)?;
        let kube = context.kube()?;
        let read = stream::iter(jobs).map(|job| async move {
            let log = self.read(kube, &job).await;
            (job, log)
        });
        let read: Vec<_> = read.buffered(PARALLEL).collect().await;
        self.outcome(read)
    }
}

impl Logs {
    fn jobs(&self, found: &Found, context: &Context<'_>) -> Result<Vec<Job>, Failure> {
        let only = self.container.as_ref().map(|c| c.fill(context.scope)).transpose()?;
        let mut jobs = vec![];
        for pod in &found.pods {
            let known =
                pod.containers.iter().filter(|c| only.as_ref().is_none_or(|o| o.0 == c.name));
            jobs.extend(known.map(|c| Job {
                pod: pod.clone(),
                container: c.name.clone(),
                previous: self.previous && c.restarts > 0,
            }));
        }
        if let (true, Some(only)) = (jobs.is_empty(), only) {
            let why = format!("{} has no container `{}`", found.what, only.0);
            return Err(Error::new(Kind::NotFound, "read logs", why).into());
        }
        jobs.truncate(MAX_LOGS);
        Ok(jobs)
    }

    async fn read(&self, kube: &clients::kube::Client, job: &Job) -> clients::Result<Log> {
        let query = LogQuery {
            namespace: job.pod.namespace.clone(),
            pod: job.pod.name.clone(),
            container: job.container.clone(),
            previous: job.previous,
            tail_lines: self.tail.0,
            since: self.since.map(|since| since.0),
            ..LogQuery::default()
        };
        kube.log_tail(&query, MAX_BYTES).await
    }

    fn outcome(&self, read: Vec<(Job, clients::Result<Log>)>) -> Result<Outcome<Output>, Failure> {
        let mut value = Output { logs: vec![], missing: vec![], lines: 0, matches: 0 };
        let (mut passages, mut first_error) = (vec![], None);
        for (job, result) in read {
            let (pod, container) = (job.pod.name.clone(), job.container.clone());
            match result {
                Ok(Log { text, cut }) => {
                    let (text, matches) = match &self.grep {
                        Some(pattern) => pattern.grep(&text, self.around.0),
                        None => (text, 0),
                    };
                    let lines = text.lines().count();
                    value.lines += lines;
                    value.matches += matches;
                    if !text.is_empty() {
                        let (origin, source) = origin(&job);
                        passages.push(Passage { origin, source, text: text.clone(), cut });
                    }
                    let role = job.pod.role.clone();
                    let previous = job.previous;
                    value.logs.push(ContainerLog {
                        pod,
                        container,
                        role,
                        previous,
                        text,
                        lines,
                        cut,
                    });
                }
                Err(error) => {
                    let reason = error.reason.clone();
                    value.missing.push(Missing { pod, container, reason });
                    first_error.get_or_insert(error);
                }
            }
        }
        if let (true, Some(error)) = (value.logs.is_empty(), first_error) {
            return Err(error.into());
        }
        let summary = self.summary(&value);
        Ok(Outcome { value, passages, summary })
    }

    fn summary(&self, output: &Output) -> String {
        let text = match output.logs.as_slice() {
            [only] => format!("{} lines of {}", only.lines, only.pod),
            logs => format!("{} lines of {} logs", output.lines, logs.len()),
        };
        let matches = match &self.grep {
            Some(_) => format!(", {} matches", output.matches),
            None => String::new(),
        };
        let missing = output.missing.first().map(|first| {
            let reason = one_line(&first.reason, 120);
            format!("; {} not read ({}: {reason})", output.missing.len(), first.pod)
        });
        format!("{text}{matches}{}", missing.unwrap_or_default())
    }
}

/// A side-car's log in a Spark pod is not the driver's or executor's.
fn origin(job: &Job) -> (Origin, String) {
    let pod = &job.pod;
    let spark = |name: &str| name.starts_with("spark-kubernetes-");
    let own = spark(&job.container) || !pod.containers.iter().any(|c| spark(&c.name));
    let origin = match pod.role.as_str() {
        "driver" if own => Origin::DriverLog,
        "executor" if own => Origin::ExecutorLog,
        _ => Origin::PodLog,
    };
    let container = match pod.containers.len() {
        0 | 1 => String::new(),
        _ => format!(", container {}", job.container),
    };
    let previous = if job.previous { ", before its restart" } else { "" };
    let source = format!("{}{container}{previous}", pod.label());
    (origin, source)
}

fn gone(found: &Found) -> Failure {
    let why = "the log is gone: the pod was deleted".to_owned();
    Error::new(Kind::NotFound, format!("read the log of {}", found.what), why).into()
}
