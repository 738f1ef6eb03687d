//! `kube.logs`: the end of container logs.

use futures::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
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
        target::Target,
        template::{Input, Name},
    },
    steps::{Context, Effect, Failure, Need, Outcome, Step, recorded::Recorded},
};

/// Logs read in one step, at most; failed pods come first.
const MAX_LOGS: usize = 20;
/// Bytes kept of one log, at most: the newest.
const MAX_BYTES: usize = 512 * 1024;
/// Logs read at once.
const PARALLEL: usize = 4;
/// Remarks of one step.
const MAX_REMARKS: usize = 5;

/// Reads the end of container logs: of one pod, of pods by selector, or of the target's driver or executors.
///
/// All containers unless one is named. A log dies with its pod: then the end of it is taken that the recorder read in time,
/// and the card says so; if it has none, the step fails and says why. Terminal colours and control characters are removed.
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

impl Default for Around {
    fn default() -> Self {
        default_around()
    }
}

impl Around {
    /// The number.
    pub fn get(self) -> usize {
        self.0
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
    /// What the card says beside the findings: which logs come from the recorder, and which are gone.
    pub remarks: Vec<String>,
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
    /// Empty for a log that was read just now; else when the recorder read it.
    pub recorded: String,
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

/// A log with a remark on where it comes from.
struct Text {
    log: Log,
    recorded: String,
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
        let recorded = which.recorded(context, true).await?;
        if let (Some(_), Some(Target::SparkApp(app))) = (&self.pod, context.target) {
            // A pod that was made again under the same name, by another run of the application, is another pod.
            found.pods.retain(|pod| {
                pod.app_id == app.app_id || app.app_id.is_empty() || recorded.pods.is_empty()
            });
        }
        found.pods.extend(gone_pods(&found.pods, &recorded));
        if found.pods.is_empty() {
            return Err(gone(&found, recorded.trouble.as_deref()));
        }
        found.pods.sort_by_key(|pod| !pod.has_failed());
        let jobs = self.jobs(&found, context)?;
        let kube = context.kube()?;
        let (known, now) = (&recorded, context.clock.now());
        let read = stream::iter(jobs).map(|job| async move {
            let log = self.read(kube, &job, known, now).await;
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

    /// From the pod while it is there, else what the recorder read of it.
    async fn read(
        &self,
        kube: &clients::kube::Client,
        job: &Job,
        recorded: &Recorded,
        now: Timestamp,
    ) -> clients::Result<Text> {
        let operation = format!("read the log of {}", job.pod.label());
        let error = if job.pod.gone.is_empty() {
            let query = LogQuery {
                namespace: job.pod.namespace.clone(),
                pod: job.pod.name.clone(),
                container: job.container.clone(),
                previous: job.previous,
                tail_lines: self.tail.0,
                since: self.since.map(|since| since.0),
                ..LogQuery::default()
            };
            match kube.log_tail(&query, MAX_BYTES).await {
                Ok(log) => return Ok(Text { log, recorded: String::new() }),
                Err(error) => error,
            }
        } else {
            Error::new(Kind::NotFound, operation, "")
        };
        match self.recall(job, recorded, now) {
            Ok(text) => Ok(text),
            Err(why) if error.kind == Kind::NotFound => {
                Err(Error { reason: format!("log gone: {why}"), ..error })
            }
            Err(_) => Err(error),
        }
    }

    /// The end of a log as the recorder read it, or why there is none.
    fn recall(&self, job: &Job, recorded: &Recorded, now: Timestamp) -> Result<Text, String> {
        let none = || "the pod was deleted, and the recorder has not read it".to_owned();
        let pod = recorded.pods.iter().find(|known| known.pod.uid == job.pod.uid);
        let pod = pod.ok_or_else(none)?;
        let container = job.pod.containers.iter().find(|c| c.name == job.container);
        let run = container.map_or(0, |c| c.restarts - i32::from(job.previous));
        let mut logs: Vec<_> = pod.logs.iter().filter(|l| l.container == job.container).collect();
        // The run that was asked for, else the newest one there is.
        logs.sort_by_key(|log| (log.read_at.is_some(), log.restarts == run, log.restarts));
        let log = logs.pop().ok_or_else(none)?;
        let Some(read_at) = log.read_at else { return Err(log.lost.clone()) };
        let lines = log.text.lines().count();
        let skip = lines.saturating_sub(self.tail.0);
        let text = log.text.split_inclusive('\n').skip(skip).collect();
        let when = if now.duration_since(read_at) > SignedDuration::from_hours(12) {
            read_at.strftime("%Y-%m-%d %H:%M:%S UTC")
        } else {
            read_at.strftime("%H:%M:%S UTC")
        };
        let gone = if pod.is_gone() { ", before the pod was deleted" } else { "" };
        let recorded = format!("read at {when}{gone}");
        Ok(Text { log: Log { text, cut: log.cut || skip > 0 }, recorded })
    }

    fn outcome(&self, read: Vec<(Job, clients::Result<Text>)>) -> Result<Outcome<Output>, Failure> {
        let mut value =
            Output { logs: vec![], missing: vec![], lines: 0, matches: 0, remarks: vec![] };
        let (mut passages, mut first_error) = (vec![], None);
        for (job, result) in read {
            let (pod, container) = (job.pod.name.clone(), job.container.clone());
            match result {
                Ok(Text { log: Log { text, cut }, recorded }) => {
                    if !recorded.is_empty() {
                        value
                            .remarks
                            .push(format!("the log of {} was {recorded}", job.pod.label()));
                    }
                    let (text, matches) = match &self.grep {
                        Some(pattern) => pattern.grep(&text, self.around.0),
                        None => (text, 0),
                    };
                    let lines = text.lines().count();
                    value.lines += lines;
                    value.matches += matches;
                    if !text.is_empty() {
                        let (origin, mut source) = origin(&job);
                        if !recorded.is_empty() {
                            source = format!("{source}, {recorded}");
                        }
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
                        recorded,
                    });
                }
                Err(error) => {
                    let reason = error.reason.clone();
                    let said = one_line(&reason, 200);
                    value.remarks.push(format!("no log of {}: {said}", job.pod.label()));
                    value.missing.push(Missing { pod, container, reason });
                    first_error.get_or_insert(error);
                }
            }
        }
        if let (true, Some(error)) = (value.logs.is_empty(), first_error) {
            return Err(error.into());
        }
        let more = value.remarks.len().saturating_sub(MAX_REMARKS);
        if more > 0 {
            value.remarks.truncate(MAX_REMARKS);
            value.remarks.push(format!("{more} more logs are not complete or gone"));
        }
        let summary = self.summary(&value);
        Ok(Outcome { value, passages, summary })
    }

    fn summary(&self, output: &Output) -> String {
        let text = match output.logs.as_slice() {
            [only] if !only.recorded.is_empty() => {
                format!("{} lines of {} ({})", only.lines, only.pod, only.recorded)
            }
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

/// Pods that exist no more and whose logs are meant: when some are still there, only those that failed.
fn gone_pods(live: &[Pod], recorded: &Recorded) -> Vec<Pod> {
    let pods = recorded.pods.iter().filter(|known| {
        known.is_gone()
            && (live.is_empty() || known.pod.has_failed())
            && !live.iter().any(|pod| pod.uid == known.pod.uid)
    });
    let mut pods: Vec<Pod> = pods.map(|known| known.pod.clone()).collect();
    pods.sort_by_key(|pod| !pod.has_failed());
    pods.truncate(MAX_LOGS);
    pods
}

fn gone(found: &Found, trouble: Option<&str>) -> Failure {
    let trouble = trouble.map(|why| format!("; the recorder {}", one_line(why, 300)));
    let why = format!("the log is gone: the pod was deleted{}", trouble.unwrap_or_default());
    Error::new(Kind::NotFound, format!("read the log of {}", found.what), why).into()
}
