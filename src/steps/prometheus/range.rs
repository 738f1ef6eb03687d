//! `prometheus.range`: how a value moved over a span of time.

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    promql,
    query::{At, labels},
};
use crate::{
    clients::prometheus::{Answer, Series, Value, lists},
    domain::{
        duration,
        evidence::{Origin, Passage},
        template::Input,
    },
    steps::{Context, Effect, Failure, Need, Outcome, Step, span::Span},
};

/// Asks the cluster's Prometheus for values over a span of time, and says of each series where it began and ended, its
/// bounds and which way it went. Values come in only through `vars`, as in `prometheus.query`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "Unchecked")]
pub struct Range {
    /// PromQL with `$name` holes, at most 8 KiB.
    pub query: String,
    /// The value of each hole, a template.
    pub vars: BTreeMap<String, Input<String>>,
    /// How far back, 1m to 7d; default 1h.
    pub since: Span<60_000, 604_800_000>,
    /// The end, a template that becomes an RFC 3339 time; default now.
    pub until: Option<Input<At>>,
    /// Points of each series, 2 to 500; default 120. Between two points lies at least a second; a value in between is not
    /// seen: use `max_over_time` for peaks.
    pub points: Points,
}

/// [`Range`] before its query and its variables are held against each other.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
struct Unchecked {
    /// PromQL with `$name` holes, at most 8 KiB.
    query: String,
    /// The value of each hole, a template.
    #[serde(default)]
    vars: BTreeMap<String, Input<String>>,
    /// How far back, 1m to 7d; default 1h.
    #[serde(default)]
    since: Option<Span<60_000, 604_800_000>>,
    /// The end, a template that becomes an RFC 3339 time; default now.
    #[serde(default)]
    until: Option<Input<At>>,
    /// Points of each series, 2 to 500; default 120. Between two points lies at least a second; a value in between is not
    /// seen: use `max_over_time` for peaks.
    #[serde(default)]
    points: Points,
}

/// Number of points.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "u64")]
#[schemars(inline)]
pub struct Points(#[schemars(range(min = 2, max = 500))] u64);

impl Default for Points {
    fn default() -> Self {
        Self(120)
    }
}

impl TryFrom<u64> for Points {
    type Error = String;

    fn try_from(points: u64) -> Result<Self, String> {
        if (2..=500).contains(&points) {
            Ok(Self(points))
        } else {
            Err("`points` is 2 to 500".to_owned())
        }
    }
}

/// What Prometheus answered.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Answered {
    /// The query as it was sent.
    pub query: String,
    /// From.
    #[schemars(with = "String")]
    pub start: Timestamp,
    /// Until.
    #[schemars(with = "String")]
    pub end: Timestamp,
    /// Seconds between two points.
    pub step_seconds: u64,
    /// The series with the highest peaks first, at most 20.
    pub series: Vec<Line>,
    /// How many series there were, also when fewer are kept.
    pub total: usize,
    /// The last value, when there is exactly one series; null when it has none.
    pub number: Option<f64>,
    /// Prometheus' warnings.
    pub warnings: Vec<String>,
}

/// One series over time.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Line {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Unix time in seconds and value; points without a finite value are left out.
    pub points: Vec<(f64, f64)>,
    /// Its lowest value; null when it has no finite one.
    pub min: Option<f64>,
    /// Its highest value.
    pub max: Option<f64>,
    /// Its first value.
    pub first: Option<f64>,
    /// Its last value.
    pub last: Option<f64>,
    /// The mean of its last third against that of its first.
    pub trend: Trend,
}

/// Which way a series went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trend {
    /// Its last third is more than a tenth higher than its first.
    Rising,
    /// Neither.
    Flat,
    /// Its last third is more than a tenth lower than its first.
    Falling,
}

/// Most series kept.
const MAX_SERIES: usize = 20;
const SINCE: Duration = Duration::from_hours(1);

impl TryFrom<Unchecked> for Range {
    type Error = String;

    fn try_from(unchecked: Unchecked) -> Result<Self, String> {
        let Unchecked { query, vars, since, until, points } = unchecked;
        let since = since.map_or_else(|| Span::new(SINCE), Ok)?;
        let range = Self { query, vars, since, until, points };
        range.parse()?;
        Ok(range)
    }
}

impl Range {
    fn parse(&self) -> Result<promql::Query, String> {
        promql::Query::with_vars(&self.query, &self.vars)
    }
}

impl Step for Range {
    const KIND: &'static str = "prometheus.range";
    const EFFECT: Effect = Effect::Read;
    const NEEDS: &'static [Need] = &[];
    const EXAMPLE: &'static str = r#"query: max by (pod) (container_memory_working_set_bytes{pod=$pod})
vars: { pod: "{{labels.pod}}" }
since: 1h
points: 120"#;
    type Output = Answered;

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Answered>, Failure> {
        let client = super::client(context)?;
        let mut values = BTreeMap::new();
        for (name, input) in &self.vars {
            values.insert(name.clone(), input.fill(context.scope)?);
        }
        let filled = self.parse().and_then(|query| query.fill(&values));
        let query = filled.map_err(Failure::Skipped)?;
        let until = self.until.as_ref().map(|until| until.fill(context.scope)).transpose()?;
        let end = until.map_or_else(|| context.clock.now(), At::get);
        let since = self.since.get();
        let back = SignedDuration::try_from(since).unwrap_or(SignedDuration::MAX);
        let start = end.saturating_sub(back).unwrap_or(Timestamp::MIN);
        let step = since.as_secs().div_ceil(self.points.0).max(1);
        let range = lists::Range { start, end, step };
        let answer = client.query_range(&query, range).await?;
        Ok(outcome(query, range, since, answer))
    }
}

fn outcome(
    query: String,
    range: lists::Range,
    since: Duration,
    answer: Answer,
) -> Outcome<Answered> {
    let Answer { value, total, warnings } = answer;
    let series = match value {
        Value::Matrix(series) => series,
        Value::Vector(_) | Value::Scalar(_) | Value::Text(_) => vec![],
    };
    let mut series: Vec<Line> = series.into_iter().map(line).collect();
    let peak = |line: &Line| line.max.unwrap_or(f64::NEG_INFINITY);
    series.sort_by(|a, b| peak(b).total_cmp(&peak(a)));
    let cut = series.len() > MAX_SERIES;
    series.truncate(MAX_SERIES);
    let number = match series.as_slice() {
        [only] if total == 1 => only.last,
        _ => None,
    };
    let span = duration::format(since);
    let mut lines: Vec<String> =
        series.iter().map(|s| format!("{} {}", labels(&s.labels), moved(s, &span))).collect();
    let summary = match lines.as_slice() {
        [] => "no data".to_owned(),
        [only] => only.clone(),
        [first, ..] => format!("{total} series; highest: {first}"),
    };
    if lines.is_empty() {
        lines.push(summary.clone());
    }
    let passages = lines.into_iter().map(|line| Passage {
        cut,
        ..Passage::new(Origin::Metric, "Prometheus", format!("range {query}: {line}"))
    });
    let passages = passages.collect();
    let lists::Range { start, end, step } = range;
    let value = Answered { query, start, end, step_seconds: step, series, total, number, warnings };
    Outcome { value, passages, summary }
}

fn line(series: Series) -> Line {
    let points: Vec<(f64, f64)> =
        series.points.iter().filter_map(|p| p.value.map(|value| (p.time, value))).collect();
    let values = || points.iter().map(|point| point.1);
    Line {
        labels: series.labels,
        min: values().reduce(f64::min),
        max: values().reduce(f64::max),
        first: values().next(),
        last: values().next_back(),
        trend: trend(&points),
        points,
    }
}

fn trend(points: &[(f64, f64)]) -> Trend {
    let third = points.len() / 3;
    if third == 0 {
        return Trend::Flat;
    }
    let mean = |part: &[(f64, f64)]| {
        // Halves first, so that the sum of huge values stays finite.
        #[allow(clippy::cast_precision_loss, reason = "at most 500 points")]
        let count = part.len() as f64;
        part.iter().map(|point| point.1 / count).sum::<f64>()
    };
    let (before, after) = (mean(&points[..third]), mean(&points[points.len() - third..]));
    let scale = before.abs().max(after.abs());
    match after - before {
        change if change > scale / 10.0 => Trend::Rising,
        change if change < -scale / 10.0 => Trend::Falling,
        _ => Trend::Flat,
    }
}

/// How a series moved, in words.
fn moved(line: &Line, span: &str) -> String {
    let (Some(first), Some(last), Some(min), Some(max)) =
        (line.first, line.last, line.min, line.max)
    else {
        return "has no finite value".to_owned();
    };
    let trend = match line.trend {
        Trend::Rising => "rising",
        Trend::Flat => "flat",
        Trend::Falling => "falling",
    };
    format!("{trend} over {span}: first {first}, last {last}, min {min}, max {max}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::prometheus::Point;

    fn series(pod: &str, values: &[f64]) -> Series {
        let points = values.iter().enumerate().map(|(at, value)| Point {
            time: f64::from(u32::try_from(at).unwrap()),
            value: value.is_finite().then_some(*value),
            text: value.to_string(),
        });
        Series { labels: [("pod".to_owned(), pod.to_owned())].into(), points: points.collect() }
    }

    fn told(series: Vec<Series>) -> Outcome<Answered> {
        let answer = Answer { total: series.len(), value: Value::Matrix(series), warnings: vec![] };
        let range = lists::Range { start: Timestamp::MIN, end: Timestamp::MAX, step: 30 };
        outcome("mem".to_owned(), range, Duration::from_mins(90), answer)
    }

    #[test]
    fn each_series_says_where_it_went_and_the_highest_comes_first() {
        let outcome = told(vec![
            series("a", &[5.0, 5.1, 5.0, 5.0]),
            series("b", &[1.0, 2.0, 9.0]),
            series("c", &[3.0, f64::NAN, 1.0, 1.0]),
            series("d", &[f64::NAN]),
        ]);
        let lines: Vec<_> = outcome.passages.iter().map(|p| p.text.as_str()).collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        range mem: {pod="b"} rising over 1h 30m: first 1, last 9, min 1, max 9
        range mem: {pod="a"} flat over 1h 30m: first 5, last 5, min 5, max 5.1
        range mem: {pod="c"} falling over 1h 30m: first 3, last 1, min 1, max 3
        range mem: {pod="d"} has no finite value
        "#);
        assert_eq!(outcome.value.number, None);
        assert_eq!(told(vec![series("a", &[1.0, 7.0])]).value.number, Some(7.0));
        assert_eq!(told(vec![]).summary, "no data");
    }

    #[test]
    fn many_series_are_cut_and_huge_values_stay_finite() {
        let outcome = told((0..100).map(|n| series(&n.to_string(), &[f64::from(n)])).collect());
        assert_eq!((outcome.value.series.len(), outcome.value.total), (MAX_SERIES, 100));
        assert!(outcome.passages[0].cut);
        assert_eq!(outcome.value.series[0].max, Some(99.0));
        let huge = [f64::MAX; 9];
        assert_eq!(line(series("a", &huge)).trend, Trend::Flat);
    }

    #[test]
    fn what_is_out_of_range_is_refused_when_the_playbook_is_loaded() {
        let read = |yaml: &str| serde_saphyr::from_str::<Range>(yaml).map_err(|e| e.to_string());
        assert!(read(Range::EXAMPLE).is_ok());
        for (bad, why) in [
            ("query: up\npoints: 1", "2 to 500"),
            ("query: up\nsince: 8d", "out of range"),
            ("query: up{pod=$pod}", "not under `vars:`"),
            ("query: up\nstep: 1", "step"),
            ("query: up\nuntil: noon", "is not a time"),
        ] {
            let error = read(bad).unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }
}
