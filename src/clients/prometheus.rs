//! Prometheus' HTTP API, as far as a diagnosis needs it: queries, and what it knows of itself ([`lists`]).
//!
//! Queries go by POST, because a query with its label values may be longer than a URL can be. Sample values stay as
//! Prometheus writes them (`NaN`, `+Inf`) next to their number, since JSON has no word for those.

pub mod lists;

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de};

use super::{
    Error, Kind, Result,
    http::{self, Request, Response, Url},
};

/// Most series kept of one answer.
pub const MAX_SERIES: usize = 1_000;
/// Most points kept of one series.
const MAX_POINTS: usize = 11_000;
/// Most warnings kept.
const MAX_WARNINGS: usize = 10;
const TIMEOUT: Duration = Duration::from_secs(10);

/// One Prometheus, or anything that speaks its API; cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    http: http::Client,
    base: Url,
}

/// What a query returned.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The value.
    pub value: Value,
    /// How many series there were, which may be more than are kept.
    pub total: usize,
    /// Prometheus' own warnings, such as a partial answer.
    pub warnings: Vec<String>,
}

/// A query's value by its type.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// One sample per series, at most [`MAX_SERIES`].
    Vector(Vec<Sample>),
    /// One number.
    Scalar(Point),
    /// Points per series.
    Matrix(Vec<Series>),
    /// Text.
    Text(String),
}

/// A series' value at one instant.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Sample {
    /// The series' labels; `__name__` is the metric's name.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    #[serde(flatten)]
    pub point: Point,
}

/// A number at an instant.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Point {
    /// Unix time, seconds.
    pub time: f64,
    /// The value; null when it is not a finite number.
    pub value: Option<f64>,
    /// The value as Prometheus writes it: `12.5`, `NaN`, `+Inf`.
    pub text: String,
}

/// A series' values over time.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Series {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its points, oldest first; at most 11 000.
    pub points: Vec<Point>,
}

impl Client {
    /// A client of the Prometheus at `base`, with or without a path prefix.
    pub fn new(http: http::Client, mut base: Url) -> Self {
        let path = format!("{}/", base.path().trim_end_matches('/'));
        base.set_path(&path);
        Self { http, base }
    }

    /// Evaluates `query` at `at`, or now.
    pub async fn query(&self, query: &str, at: Option<Timestamp>) -> Result<Answer> {
        let operation = "query Prometheus";
        let url = self.url("api/v1/query", operation)?;
        let query = utf8_percent_encode(query, NON_ALPHANUMERIC);
        let time = at.map_or(String::new(), |at| {
            let milliseconds = at.as_millisecond();
            format!("&time={}.{:03}", milliseconds.div_euclid(1000), milliseconds.rem_euclid(1000))
        });
        let body = format!("query={query}&timeout={}s{time}", TIMEOUT.as_secs());
        let form = "application/x-www-form-urlencoded";
        let request = Request::post(url, operation, body, form).timeout(TIMEOUT);
        answer(&self.http.send(request).await?, operation)
    }

    fn url(&self, path: &str, operation: &str) -> Result<Url> {
        self.base.join(path).map_err(|error| {
            Error::new(Kind::Malformed, operation, format!("its address is unusable: {error}"))
        })
    }
}

#[derive(Deserialize)]
struct Envelope {
    status: String,
    #[serde(default)]
    data: Option<Data>,
    #[serde(default, rename = "errorType")]
    error_type: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase", tag = "resultType", content = "result")]
enum Data {
    Vector(Vec<RawSample>),
    Scalar(Point),
    Matrix(Vec<RawSeries>),
    String((f64, String)),
}

#[derive(Deserialize)]
struct RawSample {
    metric: BTreeMap<String, String>,
    value: Point,
}

#[derive(Deserialize)]
struct RawSeries {
    metric: BTreeMap<String, String>,
    values: Vec<Point>,
}

impl<'de> Deserialize<'de> for Point {
    fn deserialize<D: de::Deserializer<'de>>(
        deserializer: D,
    ) -> std::result::Result<Self, D::Error> {
        let (time, text) = <(f64, String)>::deserialize(deserializer)?;
        // Rust reads every form Prometheus writes: 1e-05, NaN, +Inf, -Inf.
        let number: f64 = text.parse().map_err(de::Error::custom)?;
        Ok(Self { time, value: number.is_finite().then_some(number), text })
    }
}

fn answer(response: &Response, operation: &str) -> Result<Answer> {
    // Prometheus explains its 400, 422 and 503 in the same JSON envelope; a proxy before it does not.
    let envelope: Envelope = match response.json(operation) {
        Ok(envelope) => envelope,
        Err(unreadable) => {
            response.clone().error_for_status(operation)?;
            return Err(unreadable);
        }
    };
    let Envelope { status, data, error_type, error, warnings } = envelope;
    let Some(data) = data.filter(|_| status == "success") else {
        let kind = match error_type.as_str() {
            "timeout" | "canceled" => Kind::Timeout,
            "unavailable" => Kind::Throttled { after: None },
            _ => Kind::Refused,
        };
        return Err(Error::new(kind, operation, format!("{error_type}: {error}")));
    };
    let (total, value) = match data {
        Data::Vector(samples) => (samples.len(), Value::Vector(vector(samples))),
        Data::Scalar(point) => (1, Value::Scalar(point)),
        Data::Matrix(series) => (series.len(), Value::Matrix(matrix(series))),
        Data::String((_, text)) => (1, Value::Text(text)),
    };
    Ok(Answer { value, total, warnings: warnings.into_iter().take(MAX_WARNINGS).collect() })
}

fn vector(samples: Vec<RawSample>) -> Vec<Sample> {
    let kept = samples.into_iter().take(MAX_SERIES);
    kept.map(|RawSample { metric, value }| Sample { labels: metric, point: value }).collect()
}

fn matrix(series: Vec<RawSeries>) -> Vec<Series> {
    let kept = series.into_iter().take(MAX_SERIES);
    kept.map(|RawSeries { metric, mut values }| {
        values.truncate(MAX_POINTS);
        Series { labels: metric, points: values }
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, body: &str) -> Result<Answer> {
        let headers = http::HeaderMap::new();
        answer(&Response { status, headers, body: body.into(), cut: false }, "query Prometheus")
    }

    #[test]
    fn each_type_of_value_is_read() {
        let vector = r#"{"status":"success","data":{"resultType":"vector","result":[
            {"metric":{"__name__":"up","job":"spark"},"value":[1732359600.123,"1"]},
            {"metric":{},"value":[1732359600,"NaN"]}]},"warnings":["partial"]}"#;
        let answer = read(200, vector).unwrap();
        assert_eq!((answer.total, answer.warnings.as_slice()), (2, &["partial".to_owned()][..]));
        let Value::Vector(samples) = answer.value else { panic!("a vector") };
        assert_eq!(
            (samples[0].point.value, samples[0].labels["job"].as_str()),
            (Some(1.0), "spark")
        );
        assert_eq!((samples[1].point.value, samples[1].point.text.as_str()), (None, "NaN"));

        let scalar = r#"{"status":"success","data":{"resultType":"scalar","result":[1,"+Inf"]}}"#;
        let text = r#"{"status":"success","data":{"resultType":"string","result":[1,"a b"]}}"#;
        let matrix = r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"2"],[2,"3"]]}]}}"#;
        assert!(matches!(read(200, scalar).unwrap().value, Value::Scalar(p) if p.text == "+Inf"));
        assert_eq!(read(200, text).unwrap().value, Value::Text("a b".to_owned()));
        assert!(
            matches!(read(200, matrix).unwrap().value, Value::Matrix(s) if s[0].points.len() == 2)
        );
    }

    #[test]
    fn prometheus_own_words_survive_a_refusal() {
        let refused = r#"{"status":"error","errorType":"bad_data","error":"1:5: parse error: unexpected <EOF>"}"#;
        let error = read(400, refused).unwrap_err();
        assert_eq!(error.kind, Kind::Refused);
        insta::assert_snapshot!(error, @"could not query Prometheus: bad_data: 1:5: parse error: unexpected <EOF>");
        let late = r#"{"status":"error","errorType":"timeout","error":"query timed out in expression evaluation"}"#;
        assert_eq!(read(503, late).unwrap_err().kind, Kind::Timeout);
    }

    #[test]
    fn the_answer_of_a_proxy_is_judged_by_its_status_and_nonsense_is_malformed() {
        assert_eq!(read(502, "<html>bad gateway").unwrap_err().kind, Kind::Unreachable);
        assert_eq!(read(401, "").unwrap_err().kind, Kind::Denied);
        for nonsense in [
            "",
            "{}",
            "[]",
            r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"x"]}]}}"#,
        ] {
            assert_eq!(read(200, nonsense).unwrap_err().kind, Kind::Malformed, "{nonsense}");
        }
    }

    #[test]
    fn no_more_series_are_kept_than_the_bound() {
        let one = r#"{"metric":{},"value":[1,"1"]}"#;
        let many = vec![one; MAX_SERIES + 5].join(",");
        let body =
            format!(r#"{{"status":"success","data":{{"resultType":"vector","result":[{many}]}}}}"#);
        let answer = read(200, &body).unwrap();
        let Value::Vector(samples) = answer.value else { panic!("a vector") };
        assert_eq!((samples.len(), answer.total), (MAX_SERIES, MAX_SERIES + 5));
    }
}
