//! `prometheus.query`: an instant query against the cluster's Prometheus.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::promql;
use crate::{
    clients::prometheus::{Answer, Sample, Series, Value},
    domain::{
        evidence::{Origin, Passage},
        template::{Filled, Input},
    },
    steps::{Context, Effect, Failure, Need, Outcome, Step},
};

/// Asks the cluster's Prometheus once. Values come in only through `vars`: `$name` in the query becomes a quoted string
/// that no label can break out of, and after `=~` it still means itself.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "Unchecked")]
pub struct Query {
    /// PromQL with `$name` holes, at most 8 KiB: `sum(rate(jvm_gc_seconds_sum{pod=$pod}[5m]))`.
    pub query: String,
    /// The value of each hole, a template.
    pub vars: BTreeMap<String, Input<String>>,
    /// The instant, a template that becomes an RFC 3339 time such as `2026-11-23T03:12:00Z`; default now.
    pub at: Option<Input<At>>,
}

/// [`Query`] before its query and its variables are held against each other.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
struct Unchecked {
    /// PromQL with `$name` holes, at most 8 KiB: `sum(rate(jvm_gc_seconds_sum{pod=$pod}[5m]))`.
    query: String,
    /// The value of each hole, a template.
    #[serde(default)]
    vars: BTreeMap<String, Input<String>>,
    /// The instant, a template that becomes an RFC 3339 time such as `2026-11-23T03:12:00Z`; default now.
    #[serde(default)]
    at: Option<Input<At>>,
}

/// An instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At(Timestamp);

/// What Prometheus answered. One of `samples`, `series`, `number` and `text` is set, by the query's type.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Answered {
    /// The query as it was sent.
    pub query: String,
    /// Vector: one sample per series, at most 1 000.
    pub samples: Vec<Sample>,
    /// Matrix: points per series, at most 1 000 series.
    pub series: Vec<Series>,
    /// Scalar, or the value of a vector with exactly one sample; null when there is none, or when it is not finite.
    pub number: Option<f64>,
    /// String.
    pub text: Option<String>,
    /// How many series matched, also when fewer are kept.
    pub total: usize,
    /// Prometheus' warnings.
    pub warnings: Vec<String>,
}

/// Most series that become passages; the value has them all.
const MAX_PASSAGES: usize = 50;

impl At {
    /// The instant.
    pub fn get(self) -> Timestamp {
        self.0
    }
}

impl Filled for At {
    const WHAT: &'static str = "an RFC 3339 time";

    fn parse(text: &str) -> Result<Self, String> {
        let shown: String = text.chars().take(40).collect();
        text.parse().map(Self).map_err(|_| {
            format!("`{}` is not a time such as 2026-11-23T03:12:00Z", shown.escape_debug())
        })
    }
}

impl TryFrom<Unchecked> for Query {
    type Error = String;

    fn try_from(unchecked: Unchecked) -> Result<Self, String> {
        let Unchecked { query, vars, at } = unchecked;
        let query = Self { query, vars, at };
        query.parse()?;
        Ok(query)
    }
}

impl Query {
    fn parse(&self) -> Result<promql::Query, String> {
        promql::Query::with_vars(&self.query, &self.vars)
    }
}

impl Step for Query {
    const KIND: &'static str = "prometheus.query";
    const EFFECT: Effect = Effect::Read;
    const NEEDS: &'static [Need] = &[];
    const EXAMPLE: &'static str = r#"query: max by (pod) (container_memory_working_set_bytes{pod=$pod})
vars: { pod: "{{labels.pod}}" }"#;
    type Output = Answered;

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Answered>, Failure> {
        let client = super::client(context)?;
        let mut values = BTreeMap::new();
        for (name, input) in &self.vars {
            values.insert(name.clone(), input.fill(context.scope)?);
        }
        let filled = self.parse().and_then(|query| query.fill(&values));
        let query = filled.map_err(Failure::Skipped)?;
        let at = self.at.as_ref().map(|at| at.fill(context.scope)).transpose()?;
        let answer = client.query(&query, at.map(|at| at.0)).await?;
        Ok(outcome(query, answer))
    }
}

fn outcome(query: String, answer: Answer) -> Outcome<Answered> {
    let Answer { value, total, warnings } = answer;
    let mut result = Answered { query, total, warnings, ..Answered::default() };
    let mut lines = vec![];
    match value {
        Value::Vector(samples) => {
            lines.extend(
                samples.iter().map(|s| format!("{} = {}", labels(&s.labels), s.point.text)),
            );
            if let [only] = samples.as_slice() {
                result.number = only.point.value;
            }
            result.samples = samples;
        }
        Value::Scalar(point) => {
            lines.push(format!("{{}} = {}", point.text));
            result.number = point.value;
        }
        Value::Matrix(series) => {
            lines.extend(series.iter().map(|s| {
                let last = s.points.last().map_or("nothing", |p| p.text.as_str());
                format!("{} = {last}", labels(&s.labels))
            }));
            result.series = series;
        }
        Value::Text(text) => {
            lines.push(format!("{{}} = {}", text.escape_debug()));
            result.text = Some(text);
        }
    }
    let summary = match lines.as_slice() {
        [] => "no data".to_owned(),
        [only] => only.clone(),
        [first, ..] => format!("{total} series; first: {first}"),
    };
    if lines.is_empty() {
        lines.push("no data".to_owned());
    }
    let cut = lines.len() > MAX_PASSAGES;
    let passages = lines.into_iter().take(MAX_PASSAGES).map(|line| Passage {
        cut,
        ..Passage::new(Origin::Metric, "Prometheus", format!("metric {}: {line}", result.query))
    });
    Outcome { passages: passages.collect(), value: result, summary }
}

/// Labels as Prometheus shows them, without the metric's name, which the query has.
pub(super) fn labels(labels: &BTreeMap<String, String>) -> String {
    let mut out = String::from("{");
    for (name, value) in labels.iter().filter(|(name, _)| *name != "__name__") {
        if out.len() > 1 {
            out.push_str(", ");
        }
        out.push_str(name);
        out.push('=');
        promql::quote(&mut out, value);
    }
    out.push('}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::prometheus::Point;

    fn sample(pod: &str, text: &str) -> Sample {
        let labels = [("__name__", "up"), ("ns", "a\nb"), ("pod", pod)];
        let labels = labels.map(|(n, v)| (n.to_owned(), v.to_owned())).into();
        Sample {
            labels,
            point: Point { time: 1.0, value: text.parse().ok(), text: text.to_owned() },
        }
    }

    fn vector(samples: Vec<Sample>) -> Outcome<Answered> {
        let total = samples.len();
        let answer = Answer { value: Value::Vector(samples), total, warnings: vec![] };
        outcome("up".to_owned(), answer)
    }

    #[test]
    fn each_series_is_one_passage_on_one_line() {
        let outcome = vector(vec![sample("etl-1", "1"), sample("etl-2", "0")]);
        let lines: Vec<_> = outcome.passages.iter().map(|p| p.text.as_str()).collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        metric up: {ns="a\nb", pod="etl-1"} = 1
        metric up: {ns="a\nb", pod="etl-2"} = 0
        "#);
        insta::assert_snapshot!(outcome.summary, @r#"2 series; first: {ns="a\nb", pod="etl-1"} = 1"#);
        assert_eq!(outcome.value.number, None);
    }

    #[test]
    fn an_empty_answer_is_said_and_a_single_number_is_easy_to_use() {
        assert_eq!(vector(vec![]).passages[0].text, "metric up: no data");
        assert_eq!(vector(vec![sample("etl-1", "7")]).value.number, Some(7.0));
    }

    #[test]
    fn many_series_are_cut_and_marked() {
        let outcome = vector(vec![sample("etl-1", "1"); MAX_PASSAGES + 1]);
        assert_eq!((outcome.passages.len(), outcome.passages[0].cut), (MAX_PASSAGES, true));
        assert_eq!(outcome.value.samples.len(), MAX_PASSAGES + 1);
    }

    #[test]
    fn a_query_is_held_against_its_variables_when_it_is_loaded() {
        let read = |yaml: &str| serde_saphyr::from_str::<Query>(yaml).map_err(|e| e.to_string());
        assert!(read(Query::EXAMPLE).is_ok());
        let error = read("query: up{pod=$pod}").unwrap_err();
        assert!(error.contains("not under `vars:`"), "{error}");
        assert!(read("query: up\nat: noon").unwrap_err().contains("is not a time"));
        assert!(read("query: up\nlimit: 3").is_err());
    }
}
