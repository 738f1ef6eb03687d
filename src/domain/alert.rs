//! Alerts as the world sends them: Alertmanager 0.25 to 0.34, Grafana, Mimir, VictoriaMetrics.
//!
//! The payload is read in two passes: the envelope with its alerts still raw, then one alert at a time. One unusable
//! alert is reported with its path and the others go on; a payload is refused only when it is not an object with an
//! `alerts` array. Unknown fields are ignored, `alertname` may be missing, label names may be any UTF-8, and the root
//! `status` is never read (a truncated payload may say `resolved` while alerts fire).

use std::{borrow::Cow, collections::BTreeMap};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Label or annotation names and values, sorted by name. A missing label and an empty one mean the same.
pub type Labels = BTreeMap<String, String>;

/// Longest label or annotation value kept, bytes; longer ones are cut with a mark.
pub const MAX_VALUE: usize = 64 * 1024;
/// Most labels or annotations kept per alert.
pub const MAX_LABELS: usize = 512;

/// Whether an alert fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It fires.
    Firing,
    /// It is over.
    Resolved,
}

/// One labelled alert of a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Of this alert alone.
    pub status: Status,
    /// Its identity in words.
    pub labels: Labels,
    /// Text for people.
    pub annotations: Labels,
    /// When it began, a hint only: a restart of Alertmanager may forget it.
    pub starts_at: Timestamp,
    /// Where its expression can be seen; empty when unknown.
    pub generator_url: String,
    /// 16 hex digits; computed from the labels when the sender left it out.
    pub fingerprint: String,
}

impl Alert {
    /// A label's value, "" when missing.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    /// The `alertname`, or a stand-in a person understands.
    pub fn name(&self) -> &str {
        match self.label("alertname") {
            "" => "(no alertname)",
            name => name,
        }
    }
}

/// What is said once per delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The receiver's name; Alertmanager sends it regex-quoted.
    pub receiver: String,
    /// Where the sender's own page is; shown, never part of a key.
    pub external_url: String,
    /// Alerts left out by `max_alerts`.
    pub truncated_alerts: u64,
    /// Alertmanager's own group, for `incidents.group_by: alertmanager`.
    pub group_labels: Labels,
    /// It is no webhook: we asked Alertmanager, then. What was heard of an alert since is newer.
    #[serde(default)]
    pub asked_at: Option<Timestamp>,
}

/// An alert that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// Where: `alerts[3].labels.pod`.
    pub path: String,
    /// Why, and what was expected.
    pub reason: String,
}

/// A delivery's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// What is said once.
    pub envelope: Envelope,
    /// In the order sent.
    pub alerts: Vec<Result<Alert, Rejected>>,
}

/// A delivery that is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} (at {path}, line {line}, column {column})")]
pub struct NotAPayload {
    /// What is wrong, and what was expected.
    pub reason: String,
    /// Where in the document.
    pub path: String,
    /// Line of the body, from 1.
    pub line: usize,
    /// Column of that line, from 1.
    pub column: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outer<'a> {
    #[serde(borrow)]
    alerts: Vec<&'a RawValue>,
    #[serde(default, borrow)]
    receiver: Option<Cow<'a, str>>,
    #[serde(default, rename = "externalURL", borrow)]
    external_url: Option<Cow<'a, str>>,
    #[serde(default)]
    truncated_alerts: Option<u64>,
    #[serde(default)]
    group_labels: Option<Labels>,
    /// Ours alone; whoever else sends it only makes their own alerts count less.
    #[serde(default, rename = "paramedicAskedAt")]
    asked_at: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "an alert")]
struct Inner {
    status: Status,
    labels: Labels,
    #[serde(default)]
    annotations: Option<Labels>,
    #[serde(default)]
    starts_at: Option<Timestamp>,
    #[serde(default, rename = "generatorURL")]
    generator_url: Option<String>,
    #[serde(default)]
    fingerprint: Option<String>,
}

/// Checks that a body is a payload and counts its alerts, without building them.
pub fn count(body: &[u8]) -> Result<usize, NotAPayload> {
    outer(body).map(|outer| outer.alerts.len())
}

/// Reads a whole payload. `received_at` stands in for a missing `startsAt`.
pub fn parse(body: &[u8], received_at: Timestamp) -> Result<Payload, NotAPayload> {
    let outer = outer(body)?;
    let alerts = outer.alerts.iter().enumerate().map(|(index, raw)| one(index, raw, received_at));
    let alerts = alerts.collect();
    let envelope = Envelope {
        receiver: clean(&outer.receiver.unwrap_or_default(), 1024),
        external_url: clean(&outer.external_url.unwrap_or_default(), 2048),
        truncated_alerts: outer.truncated_alerts.unwrap_or_default(),
        group_labels: clean_labels(outer.group_labels.unwrap_or_default()),
        asked_at: outer.asked_at.and_then(|at| at.as_str()?.parse().ok()),
    };
    Ok(Payload { envelope, alerts })
}

/// Splits a payload into bodies of at most `size` alerts each, so that each can be applied and forgotten on its own.
/// The alerts' own text is carried over byte for byte.
pub fn split(body: &[u8], size: usize) -> Result<Vec<Vec<u8>>, NotAPayload> {
    let outer = outer(body)?;
    let head = serde_json::json!({
        "receiver": outer.receiver,
        "externalURL": outer.external_url,
        "truncatedAlerts": outer.truncated_alerts,
        "groupLabels": outer.group_labels,
        "paramedicAskedAt": outer.asked_at,
    })
    .to_string();
    let head = head.trim_end_matches('}');
    let bodies = outer.alerts.chunks(size.max(1)).map(|chunk| {
        let alerts: Vec<&str> = chunk.iter().map(|raw| raw.get()).collect();
        format!("{head},\"alerts\":[{}]}}", alerts.join(",")).into_bytes()
    });
    Ok(bodies.collect())
}

fn outer(body: &[u8]) -> Result<Outer<'_>, NotAPayload> {
    // A derived reader would also take a list, field by field.
    if !is_object(body) {
        return Err(NotAPayload {
            reason: "not an Alertmanager webhook payload, which is a JSON object with an `alerts` array: it does not begin with `{`".to_owned(),
            path: ".".to_owned(),
            line: 1,
            column: 1,
        });
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let outer: Result<Outer<'_>, _> = serde_path_to_error::deserialize(&mut reader);
    let outer = outer.map_err(|error| {
        let (path, inner) = (error.path().to_string(), error.inner());
        NotAPayload {
            reason: format!(
                "not an Alertmanager webhook payload, which is a JSON object with an `alerts` array: {}",
                without_value(without_position(&inner.to_string()))
            ),
            path: cut(&path),
            line: inner.line(),
            column: inner.column(),
        }
    })?;
    reader.end().map_err(|error| NotAPayload {
        reason: "text after the payload's end".to_owned(),
        path: ".".to_owned(),
        line: error.line(),
        column: error.column(),
    })?;
    Ok(outer)
}

fn one(index: usize, raw: &RawValue, received_at: Timestamp) -> Result<Alert, Rejected> {
    if !is_object(raw.get().as_bytes()) {
        let reason = "not an alert, which is a JSON object".to_owned();
        return Err(Rejected { path: format!("alerts[{index}]"), reason });
    }
    let mut reader = serde_json::Deserializer::from_str(raw.get());
    let inner: Inner = serde_path_to_error::deserialize(&mut reader).map_err(|error| Rejected {
        path: cut(format!("alerts[{index}].{}", error.path()).trim_end_matches('.')),
        reason: without_value(without_position(&error.inner().to_string())),
    })?;
    let labels = clean_labels(inner.labels);
    let fingerprint = match inner.fingerprint {
        Some(given) if is_fingerprint(&given) => given,
        Some(_) | None => fingerprint(&labels),
    };
    // Go's zero time stands for "not set".
    let starts_at = inner.starts_at.filter(|at| *at > Timestamp::UNIX_EPOCH).unwrap_or(received_at);
    Ok(Alert {
        status: inner.status,
        labels,
        annotations: clean_labels(inner.annotations.unwrap_or_default()),
        starts_at,
        generator_url: clean(&inner.generator_url.unwrap_or_default(), 8192),
        fingerprint,
    })
}

fn is_object(json: &[u8]) -> bool {
    json.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
}

fn without_position(message: &str) -> &str {
    message.rfind(" at line ").map_or(message, |at| &message[..at])
}

/// A mistake told without the text it was made with: that may be anything, a secret too.
fn without_value(message: &str) -> String {
    let quoted = message.find(['"', '`']).zip(message.rfind(", expected"));
    match quoted {
        Some((from, to)) if from < to => cut(&format!("{}…{}", &message[..from], &message[to..])),
        Some(_) | None => cut(message),
    }
}

fn cut(text: &str) -> String {
    clean(text, 200)
}

fn is_fingerprint(text: &str) -> bool {
    text.len() <= 64 && !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// Alertmanager's own fingerprint: FNV-1a 64 over sorted `name 0xFF value 0xFF`, 16 hex digits.
pub fn fingerprint(labels: &Labels) -> String {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(PRIME);
    let hash = labels.iter().fold(OFFSET, |hash, (name, value)| {
        let hash = step(name.bytes().fold(hash, step), 0xff);
        step(value.bytes().fold(hash, step), 0xff)
    });
    format!("{hash:016x}")
}

/// Keeps text storable and showable: no NUL (no database takes it), at most `max` bytes.
fn clean(text: &str, max: usize) -> String {
    let cut = text.floor_char_boundary(max);
    let mut kept = text[..cut].replace('\0', "\u{fffd}");
    if cut < text.len() {
        kept.push('…');
    }
    kept
}

fn clean_labels(labels: Labels) -> Labels {
    let usual = |text: &String| text.len() <= MAX_VALUE && !text.contains('\0');
    if labels.len() <= MAX_LABELS && labels.iter().all(|(n, v)| usual(n) && usual(v)) {
        return labels;
    }
    let kept = labels.into_iter().take(MAX_LABELS);
    kept.map(|(name, value)| (clean(&name, 1024), clean(&value, MAX_VALUE))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn read(body: &str) -> Payload {
        parse(body.as_bytes(), NOW).unwrap()
    }

    #[test]
    fn a_real_payload_is_read_and_its_fingerprint_is_the_one_we_compute() {
        let body = include_bytes!("../../tests/fixtures/alertmanager/prom-firing-driver-oom.json");
        let payload = parse(body, NOW).unwrap();
        let alert = payload.alerts[0].as_ref().unwrap();
        assert_eq!(alert.name(), "SparkDriverOOM");
        assert_eq!(alert.starts_at.to_string(), "2026-11-23T04:40:50.417Z");
        assert_eq!(alert.fingerprint, fingerprint(&alert.labels));
    }

    #[test]
    fn an_unusable_alert_is_named_by_its_path_and_the_others_go_on() {
        let payload = read(
            r#"{"alerts":[{"status":"firing","labels":{"a":"b"}},{"status":"firing","labels":{"a":3}},
                {"status":"maybe","labels":{}},7,{"status":"resolved","labels":{"c":"d"}}]}"#,
        );
        let bad: Vec<String> = payload
            .alerts
            .iter()
            .filter_map(|a| a.as_ref().err())
            .map(|r| format!("{}: {}", r.path, r.reason))
            .collect();
        insta::assert_snapshot!(bad.join("\n"), @r"
        alerts[1].labels.a: invalid type: integer …, expected a string
        alerts[2].status: unknown variant …, expected `firing` or `resolved`
        alerts[3]: not an alert, which is a JSON object
        ");
        assert_eq!(payload.alerts.iter().filter(|a| a.is_ok()).count(), 2);
    }

    #[test]
    fn what_is_not_a_payload_is_refused_with_its_place() {
        let say = |body: &str| parse(body.as_bytes(), NOW).unwrap_err().to_string();
        insta::assert_snapshot!([say("[]"), say("{}"), say(r#"{"alerts":{}}"#), say("{\"alerts\":[\n{]}")].join("\n"), @r"
        not an Alertmanager webhook payload, which is a JSON object with an `alerts` array: it does not begin with `{` (at ., line 1, column 1)
        not an Alertmanager webhook payload, which is a JSON object with an `alerts` array: missing field `alerts` (at ., line 1, column 2)
        not an Alertmanager webhook payload, which is a JSON object with an `alerts` array: invalid type: map, expected a sequence (at alerts, line 1, column 10)
        not an Alertmanager webhook payload, which is a JSON object with an `alerts` array: key must be a string (at alerts[0], line 2, column 2)
        ");
    }

    #[test]
    fn a_refusal_is_short_and_does_not_repeat_what_it_refuses() {
        for body in [
            format!(r#"{{"alerts":"{}"}}"#, "hunter2".repeat(100)),
            format!(r#"{{"alerts":[],"groupLabels":{{"{}":0}}}}"#, "k".repeat(1_000)),
        ] {
            let refused = parse(body.as_bytes(), NOW).unwrap_err().to_string();
            assert!(refused.len() < 450 && !refused.contains("hunter2"), "{refused}");
        }
    }

    #[test]
    fn hostile_text_is_kept_storable() {
        let long = "x".repeat(70_000);
        let payload = read(&format!(
            r#"{{"alerts":[{{"status":"firing","labels":{{"a\u0000b":"c\u0000","ünïcode 🔥":"{long}"}},"startsAt":"0001-01-01T00:00:00Z"}}]}}"#
        ));
        let alert = payload.alerts[0].as_ref().unwrap();
        assert_eq!(alert.label("a\u{fffd}b"), "c\u{fffd}");
        assert_eq!(alert.label("ünïcode 🔥").len(), MAX_VALUE + '…'.len_utf8());
        assert_eq!((alert.name(), alert.starts_at), ("(no alertname)", NOW));
    }

    #[test]
    fn grafana_extras_and_nulls_are_no_obstacle() {
        let payload = read(
            r#"{"version":"1","orgId":1,"title":"x","state":"alerting","alerts":[{"status":"firing","labels":{"alertname":"A"},
                "annotations":null,"values":null,"valueString":"","silenceURL":"u","imageURL":null,"endsAt":"0001-01-01T00:00:00Z"}]}"#,
        );
        assert!(payload.alerts[0].is_ok());
    }

    #[test]
    fn a_split_payload_says_the_same() {
        let body = include_bytes!("../../tests/fixtures/alertmanager/prom-firing-group3.json");
        let whole = parse(body, NOW).unwrap();
        let parts: Vec<Payload> =
            split(body, 2).unwrap().iter().map(|b| parse(b, NOW).unwrap()).collect();
        assert_eq!(parts.len(), 2);
        assert!(parts.iter().all(|p| p.envelope == whole.envelope));
        let alerts: Vec<_> = parts.into_iter().flat_map(|p| p.alerts).collect();
        assert_eq!(alerts, whole.alerts);
    }
}
