//! `logs.loki`: log lines from Loki, where they outlive their pod.
//!
//! The query is LogQL with `$name` holes, filled as in `prometheus.query`: LogQL has the same strings and the same kinds of
//! quotes, so no label can break out of its own. What comes back is a log like any other: signatures search it.

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    clients::{loki, one_line, readable},
    domain::{
        evidence::{Origin, Passage},
        template::Input,
    },
    steps::{
        Context, Effect, Failure, Need, Outcome, Step,
        kube::{Pattern, Role, logs::Around},
        prometheus::{promql, query::At},
        span::Span,
    },
};

/// Reads lines from the cluster's Loki. Values come in only through `vars`: `$name` becomes a quoted string that no label
/// can break out of, and after `=~` and `|~` it still means itself.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "Unchecked")]
pub struct Loki {
    /// LogQL with `$name` holes, at most 8 KiB: `{namespace=$ns, pod=~"etl-.*"} |= "ERROR"`. It must select lines, not count
    /// them.
    pub query: String,
    /// The value of each hole, a template.
    pub vars: BTreeMap<String, Input<String>>,
    /// How far back, 1s to 7d; default 1h.
    pub since: Span<1_000, 604_800_000>,
    /// The end, a template that becomes an RFC 3339 time; default now.
    pub until: Option<Input<At>>,
    /// Most lines, in all streams together, 1 to 5 000; default 500.
    pub limit: Limit,
    /// `newest` keeps the last lines when there are more, `oldest` the first; default `newest`. Lines always stand in the
    /// order of time.
    pub keep: Keep,
    /// Only lines that match this regular expression, with their surroundings. Lines around a match are found only when the
    /// query itself does not filter them away.
    pub grep: Option<Pattern>,
    /// Lines kept before and after each match; 0 to 50, default 3.
    pub around: Around,
    /// Whose log it is, for signatures: `driver` or `executor`; default any pod's.
    pub role: Option<Role>,
}

/// [`Loki`] before its query and its variables are held against each other.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
struct Unchecked {
    /// LogQL with `$name` holes, at most 8 KiB: `{namespace=$ns, pod=~"etl-.*"} |= "ERROR"`. It must select lines, not count
    /// them.
    query: String,
    /// The value of each hole, a template.
    #[serde(default)]
    vars: BTreeMap<String, Input<String>>,
    /// How far back, 1s to 7d; default 1h.
    #[serde(default)]
    since: Option<Span<1_000, 604_800_000>>,
    /// The end, a template that becomes an RFC 3339 time; default now.
    #[serde(default)]
    until: Option<Input<At>>,
    /// Most lines, in all streams together, 1 to 5 000; default 500.
    #[serde(default)]
    limit: Limit,
    /// `newest` keeps the last lines when there are more, `oldest` the first; default `newest`. Lines always stand in the
    /// order of time.
    #[serde(default)]
    keep: Keep,
    /// Only lines that match this regular expression, with their surroundings. Lines around a match are found only when the
    /// query itself does not filter them away.
    #[serde(default)]
    grep: Option<Pattern>,
    /// Lines kept before and after each match; 0 to 50, default 3.
    #[serde(default)]
    around: Around,
    /// Whose log it is, for signatures: `driver` or `executor`; default any pod's.
    #[serde(default)]
    role: Option<Role>,
}

/// Number of lines.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "usize")]
#[schemars(inline)]
pub struct Limit(#[schemars(range(min = 1, max = 5_000))] usize);

impl Default for Limit {
    fn default() -> Self {
        Self(500)
    }
}

impl TryFrom<usize> for Limit {
    type Error = String;

    fn try_from(lines: usize) -> Result<Self, String> {
        if (1..=5_000).contains(&lines) {
            Ok(Self(lines))
        } else {
            Err("`limit` is 1 to 5000 lines".to_owned())
        }
    }
}

/// Which lines are kept when there are more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// The last ones.
    #[default]
    Newest,
    /// The first ones.
    Oldest,
}

/// What was found.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Found {
    /// The query as it was sent.
    pub query: String,
    /// From.
    #[schemars(with = "String")]
    pub start: Timestamp,
    /// Until.
    #[schemars(with = "String")]
    pub end: Timestamp,
    /// The streams, at most 50; those with the newest line first.
    pub streams: Vec<Stream>,
    /// Lines in all streams together.
    pub lines: usize,
    /// Lines that matched `grep`; 0 without it.
    pub matches: usize,
    /// True when there are more lines than `limit`.
    pub cut: bool,
}

/// Lines of one stream.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Stream {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// How many lines were read.
    pub lines: usize,
    /// Time of its last line.
    #[schemars(with = "Option<String>")]
    pub newest: Option<Timestamp>,
    /// Its last line, at most 500 characters.
    pub last: String,
}

const SINCE: Duration = Duration::from_hours(1);
/// Most streams kept.
const MAX_STREAMS: usize = 50;
/// Longest text of one stream, bytes: the newest.
const MAX_TEXT: usize = 256 * 1024;

impl TryFrom<Unchecked> for Loki {
    type Error = String;

    fn try_from(unchecked: Unchecked) -> Result<Self, String> {
        let Unchecked { query, vars, since, until, limit, keep, grep, around, role } = unchecked;
        let since = since.map_or_else(|| Span::new(SINCE), Ok)?;
        let step = Self { query, vars, since, until, limit, keep, grep, around, role };
        step.parse()?;
        Ok(step)
    }
}

impl Loki {
    fn parse(&self) -> Result<promql::Query, String> {
        promql::Query::with_vars(&self.query, &self.vars)
    }
}

impl Step for Loki {
    const KIND: &'static str = "logs.loki";
    const EFFECT: Effect = Effect::Read;
    const NEEDS: &'static [Need] = &[];
    const EXAMPLE: &'static str = r#"query: '{namespace=$ns, pod=$pod}'
vars: { ns: "{{labels.namespace}}", pod: "{{labels.pod}}" }
since: 30m
grep: ERROR|FATAL
role: driver"#;
    type Output = Found;

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Found>, Failure> {
        let cluster = context.cluster()?;
        let Some(client) = &cluster.loki else {
            let why = format!("cluster {} has no `loki:` configured", cluster.name);
            return Err(Failure::Skipped(why));
        };
        let mut values = BTreeMap::new();
        for (name, input) in &self.vars {
            values.insert(name.clone(), input.fill(context.scope)?);
        }
        let filled = self.parse().and_then(|query| query.fill(&values));
        let until = self.until.as_ref().map(|until| until.fill(context.scope)).transpose()?;
        let end = until.map_or_else(|| context.clock.now(), At::get);
        let back = SignedDuration::try_from(self.since.get()).unwrap_or(SignedDuration::MAX);
        let query = loki::Query {
            query: filled.map_err(Failure::Skipped)?,
            start: end.saturating_sub(back).unwrap_or(Timestamp::MIN),
            end,
            limit: self.limit.0,
            forward: self.keep == Keep::Oldest,
        };
        let streams = client.query_range(&query).await?;
        Ok(self.outcome(query, streams))
    }
}

impl Loki {
    fn outcome(&self, query: loki::Query, mut streams: Vec<loki::Stream>) -> Outcome<Found> {
        let newest = |stream: &loki::Stream| stream.lines.last().map_or(i64::MIN, |line| line.0);
        streams.retain(|stream| !stream.lines.is_empty());
        streams.sort_by_key(|stream| std::cmp::Reverse(newest(stream)));
        let lines = streams.iter().map(|stream| stream.lines.len()).sum();
        let cut = lines >= self.limit.0 || streams.len() > MAX_STREAMS;
        let origin = match self.role {
            Some(Role::Driver) => Origin::DriverLog,
            Some(Role::Executor) => Origin::ExecutorLog,
            None => Origin::PodLog,
        };
        let (mut passages, mut shown, mut matches) = (vec![], vec![], 0);
        for stream in streams.into_iter().take(MAX_STREAMS) {
            let source = format!("Loki {}", name(&stream.labels));
            let mut text = text(&stream);
            if let Some(pattern) = &self.grep {
                let (found, count) = pattern.grep(&text, self.around.get());
                text = found;
                matches += count;
            }
            let last = stream.lines.last();
            shown.push(Stream {
                lines: stream.lines.len(),
                newest: last.and_then(|line| Timestamp::from_nanosecond(line.0.into()).ok()),
                last: last.map_or_else(String::new, |line| one_line(&line.1, 500)),
                labels: stream.labels,
            });
            if !text.is_empty() {
                passages.push(Passage { cut, ..Passage::new(origin, source, text) });
            }
        }
        let summary = match (lines, &self.grep) {
            (0, _) => "no lines".to_owned(),
            (_, Some(_)) => format!("{matches} of {lines} lines match"),
            (_, None) => format!("{lines} lines in {} streams", shown.len()),
        };
        let loki::Query { query, start, end, .. } = query;
        let value = Found { query, start, end, streams: shown, lines, matches, cut };
        Outcome { value, passages, summary }
    }
}

/// What a person calls a stream: its pod, else its application, else its labels.
fn name(labels: &BTreeMap<String, String>) -> String {
    let known = ["pod", "pod_name", "instance", "app", "job", "service_name"];
    let named = known.iter().find_map(|label| labels.get(*label)).filter(|name| !name.is_empty());
    let all = || labels.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join(",");
    one_line(&named.cloned().unwrap_or_else(all), 200)
}

/// The lines as a log, without terminal colours, the newest that fit.
fn text(stream: &loki::Stream) -> String {
    let mut kept = vec![];
    let mut bytes = 0;
    for (_, line) in stream.lines.iter().rev() {
        bytes += line.len() + 1;
        if bytes > MAX_TEXT && !kept.is_empty() {
            break;
        }
        kept.push(readable(line));
    }
    kept.reverse();
    kept.join("\n")
}
