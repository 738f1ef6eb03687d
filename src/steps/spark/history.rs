//! `spark.history`: what is left of an application after its end, whether that can be trusted, and whether it was slower
//! than usual.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::application::Run;
use crate::{
    clients::{
        kube::one_line,
        spark::{Application, Attempt, History as Server},
    },
    domain::{
        evidence::{Origin, Passage},
        target::Target,
        template::Input,
    },
    steps::{Context, Effect, Failure, Need, Outcome, Step},
};

/// Applications the server is asked for; earlier runs are looked for among them.
const LISTED: usize = 1_000;
/// Earlier runs in the output.
const EARLIER: usize = 10;
/// An event log that did not grow for so long, of an application that has not ended, was left behind. Seconds.
const STALE: i64 = 900;

/// Asks the configured History Server about the run's Spark application: whether it knows it, whether the event log is
/// complete, and how long its earlier runs of the same name took.
///
/// The server says nothing about success: a failed application is `completed`, too. One whose driver was killed stays in
/// progress for ever.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct History {
    /// `spark.app.name` to look for; default: the name of the run's application.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Input<String>>,
}

/// What the History Server says.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Output {
    /// It knows the application.
    pub known: bool,
    /// The application's newest attempt.
    pub run: Option<Run>,
    /// The state of its event log.
    pub event_log: EventLog,
    /// When the event log was last seen to grow, RFC 3339; empty when not known.
    pub updated: String,
    /// Earlier finished runs of the same name, newest first; at most 10.
    pub earlier: Vec<Run>,
    /// How long they took, the median, milliseconds.
    pub median_ms: Option<i64>,
    /// This run's duration of that median, per cent: 250 means 2.5 times as long.
    pub slower_percent: Option<i64>,
    /// How many applications the server lists (at most 1 000 are asked for).
    pub listed: usize,
    /// The server's Spark version; empty when it does not say.
    pub version: String,
}

/// The state of an event log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventLog {
    /// Closed in order.
    Complete,
    /// The application still writes it.
    Growing,
    /// Not closed, and not written for 15 minutes: the driver was killed, or cannot write any more.
    Abandoned,
    /// The server does not know the application: it wrote no event log, or elsewhere.
    Missing,
}

impl EventLog {
    fn word(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Growing => "growing",
            Self::Abandoned => "abandoned",
            Self::Missing => "missing",
        }
    }
}

impl Step for History {
    const KIND: &'static str = "spark.history";
    const EFFECT: Effect = Effect::Read;
    const NEEDS: &'static [Need] = &[];
    const EXAMPLE: &'static str = "name: \"{{labels.app}}\"";
    type Output = Output;

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Output>, Failure> {
        let server = context.cluster()?.spark.history().ok_or_else(|| {
            Failure::Skipped(
                "no History Server is configured (`history` of the cluster)".to_owned(),
            )
        })?;
        let (id, name) = self.wanted(context)?;
        let (found, listed, version) =
            tokio::join!(find(&server, &id), server.list(LISTED), server.version());
        let (found, listed) = (found?, listed?);
        let name = found
            .as_ref()
            .map(|found| found.name.clone())
            .filter(|n| !n.is_empty())
            .unwrap_or(name);
        let found = found.or_else(|| {
            let newest = listed
                .iter()
                .filter(|_| id.is_empty())
                .find(|a| a.name == name && !name.is_empty());
            newest.cloned()
        });
        let mut output = Output {
            known: found.is_some(),
            run: found.as_ref().map(Run::new),
            event_log: event_log(found.as_ref(), context.clock.now()),
            updated: updated(found.as_ref()),
            earlier: earlier(&listed, &name, found.as_ref()),
            median_ms: None,
            slower_percent: None,
            listed: listed.len(),
            version: version.map(|v| one_line(&v, 60)).unwrap_or_default(),
        };
        output.compare();
        let label = if id.is_empty() { one_line(&name, 120) } else { id };
        let passages = output.passages(&label);
        Ok(Outcome { summary: output.summary(&label), passages, value: output })
    }
}

impl History {
    /// Id and name to look for; one of them is known.
    fn wanted(&self, context: &Context<'_>) -> Result<(String, String), Failure> {
        if let Some(name) = &self.name {
            let name = name.fill(context.scope)?;
            if name.is_empty() {
                return Err(Failure::Skipped("`name` is empty, as a missing label is".to_owned()));
            }
            return Ok((String::new(), name));
        }
        match context.target {
            Some(Target::SparkApp(app)) if !(app.app_id.is_empty() && app.name.is_empty()) => {
                Ok((app.app_id.clone(), app.name.clone()))
            }
            _ => Err(Failure::Skipped(
                "neither the id nor the name of a Spark application is known; set `name`"
                    .to_owned(),
            )),
        }
    }
}

async fn find(server: &Server<'_>, id: &str) -> crate::clients::Result<Option<Application>> {
    if id.is_empty() { Ok(None) } else { server.application(id).await }
}

fn event_log(found: Option<&Application>, now: jiff::Timestamp) -> EventLog {
    let Some(attempt) = found.and_then(|found| found.attempts.first()) else {
        return EventLog::Missing;
    };
    if attempt.completed {
        return EventLog::Complete;
    }
    let idle = attempt.updated().or(attempt.started()).map(|at| now.duration_since(at).as_secs());
    if idle.is_some_and(|idle| idle > STALE) { EventLog::Abandoned } else { EventLog::Growing }
}

fn updated(found: Option<&Application>) -> String {
    let attempt = found.and_then(|found| found.attempts.first());
    attempt.and_then(Attempt::updated).map(|at| at.to_string()).unwrap_or_default()
}

/// Finished runs of the same name, newest first, the application itself left out.
fn earlier(listed: &[Application], name: &str, own: Option<&Application>) -> Vec<Run> {
    let same = |application: &&Application| {
        !name.is_empty()
            && application.name == name
            && own.is_none_or(|own| own.id != application.id)
            && application.attempts.first().is_some_and(|attempt| attempt.completed)
    };
    let mut runs: Vec<&Application> = listed.iter().filter(same).collect();
    let start =
        |application: &&Application| application.attempts.first().map(|a| a.start_time_epoch);
    runs.sort_by_key(|application| std::cmp::Reverse(start(application)));
    runs.into_iter().take(EARLIER).map(Run::new).collect()
}

impl Output {
    fn compare(&mut self) {
        let mut took: Vec<i64> =
            self.earlier.iter().map(|run| run.duration_ms).filter(|ms| *ms > 0).collect();
        took.sort_unstable();
        self.median_ms = took.get(took.len() / 2).copied();
        let own = self.run.as_ref().map(|run| run.duration_ms).filter(|ms| *ms > 0);
        self.slower_percent =
            own.zip(self.median_ms).map(|(own, usual)| super::percent(own, usual));
    }

    fn passages(&self, label: &str) -> Vec<Passage> {
        let mut lines = vec![];
        match (&self.run, self.listed) {
            (None, 0) => lines.push("history lists no application at all".to_owned()),
            (None, _) => lines.push(format!("history does not know application {label}")),
            (Some(run), _) => {
                let log = self.event_log.word();
                let ended = if run.ended.is_empty() {
                    String::new()
                } else {
                    format!(" ended={}", run.ended)
                };
                lines.push(format!(
                    "history application {label} eventLog={log} started={}{ended}",
                    run.started
                ));
            }
        }
        if let (Some(run), Some(usual), Some(percent)) =
            (&self.run, self.median_ms, self.slower_percent)
        {
            let (took, usual) = (super::duration(run.duration_ms), super::duration(usual));
            let count = self.earlier.len();
            lines.push(format!(
                "history application {label} took {took}, {percent} % of the median {usual} of {count} earlier runs"
            ));
        }
        let source = "History Server".to_owned();
        lines
            .into_iter()
            .map(|line| Passage::new(Origin::SparkRest, source.clone(), line))
            .collect()
    }

    fn summary(&self, label: &str) -> String {
        let passages = self.passages(label);
        let lines: Vec<&str> = passages.iter().map(|passage| passage.text.as_str()).collect();
        one_line(&lines.join("; "), 400)
    }
}
