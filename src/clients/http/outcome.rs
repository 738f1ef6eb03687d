//! What an HTTP status means for the caller, and the words for it.

use std::{sync::LazyLock, time::Duration};

use jiff::{Timestamp, fmt::rfc2822};
use regex::Regex;
use reqwest::header;
use serde::de::DeserializeOwned;

use super::{
    super::{Error, Kind, Result},
    HeaderMap, Response,
};

/// Longest excerpt of a body in an error, characters.
const EXCERPT: usize = 200;
/// Longest wait another side may ask for.
const MAX_AFTER: Duration = Duration::from_hours(1);

impl Response {
    /// This answer when its status is 2xx, else the error it means: 401 and 403 are `Denied`, 404 `NotFound`, 429 and
    /// 503 `Throttled`, 502 `Unreachable`, 408 and 504 `Timeout`, every other status `Refused`.
    pub fn error_for_status(self, operation: &str) -> Result<Self> {
        let kind = match self.status {
            200..=299 => return Ok(self),
            401 | 403 => Kind::Denied,
            404 => Kind::NotFound,
            429 | 503 => Kind::Throttled { after: retry_after(&self.headers) },
            408 | 504 => Kind::Timeout,
            502 => Kind::Unreachable,
            _ => Kind::Refused,
        };
        let excerpt = excerpt(&self.body);
        let colon = if excerpt.is_empty() { "" } else { ": " };
        Err(Error::new(kind, operation, format!("HTTP {}{colon}{excerpt}", self.status)))
    }

    /// How long the other side asks us to wait, at most an hour; `None` when it does not say.
    pub fn retry_after(&self) -> Option<Duration> {
        retry_after(&self.headers)
    }

    /// The other side's clock when it answered; `None` when it does not say.
    pub fn date(&self) -> Option<Timestamp> {
        date(self.headers.get(header::DATE)?.to_str().ok()?.trim())
    }

    /// The body as JSON of a type.
    pub fn json<T: DeserializeOwned>(&self, operation: &str) -> Result<T> {
        let malformed = |reason: String| Error::new(Kind::Malformed, operation, reason);
        if self.cut {
            return Err(malformed(format!("the answer is longer than {} bytes", self.body.len())));
        }
        let mut reader = serde_json::Deserializer::from_slice(&self.body);
        serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let start = excerpt(&self.body);
            malformed(format!(
                "the answer is not the JSON we expect ({error}); it starts with: {start}"
            ))
        })
    }
}

/// `Retry-After` in seconds or as a date; a date is read against the answer's own `Date`, so no clock is needed.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let value = text(header::RETRY_AFTER)?;
    let wait = if let Ok(seconds) = value.parse::<f64>() {
        Duration::try_from_secs_f64(seconds).ok()?
    } else {
        let (until, now) = (date(value)?, date(text(header::DATE)?)?);
        Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO)
    };
    Some(wait.min(MAX_AFTER))
}

fn date(text: &str) -> Option<Timestamp> {
    rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

/// The start of a body on one line, without control characters and without what looks like a credential.
fn excerpt(body: &[u8]) -> String {
    static SECRET: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(concat!(
            r#"(?i)\b([\w-]*(?:token|password|passwd|secret|api[_-]?key|authorization)["']?\s*[:=]\s*["']?"#,
            r#"(?:(?:bearer|basic)\s+)?|(?:bearer|basic)\s+)[^\s"'&,;]+"#
        ))
        .ok()
    });
    let start = &body[..body.len().min(EXCERPT * 8)];
    let line: String = String::from_utf8_lossy(start)
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    let Some(secret) = SECRET.as_ref() else { return String::new() };
    let clean = secret.replace_all(&line, "${1}***");
    let mut short: String = clean.chars().take(EXCERPT).collect();
    if clean.chars().nth(EXCERPT).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> Response {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        Response { status, headers: map, body: body.into(), cut: false }
    }

    type Case<'a> = (u16, &'a [(&'static str, &'a str)], Kind);

    #[test]
    fn a_status_becomes_the_kind_that_decides_the_retry() {
        let after = |seconds| Kind::Throttled { after: Some(Duration::from_secs(seconds)) };
        let date = ("date", "Mon, 23 Nov 2026 03:00:00 GMT");
        let cases: [Case<'_>; 12] = [
            (401, &[], Kind::Denied),
            (403, &[], Kind::Denied),
            (404, &[], Kind::NotFound),
            (429, &[], Kind::Throttled { after: None }),
            (429, &[("retry-after", "2")], after(2)),
            (429, &[("retry-after", "Mon, 23 Nov 2026 03:00:30 GMT"), date], after(30)),
            (429, &[("retry-after", "-1")], Kind::Throttled { after: None }),
            (429, &[("retry-after", "99999999")], after(3_600)),
            (502, &[], Kind::Unreachable),
            (504, &[], Kind::Timeout),
            (301, &[], Kind::Refused),
            (500, &[], Kind::Refused),
        ];
        for (status, headers, kind) in cases {
            let error = answer(status, headers, "").error_for_status("ask").unwrap_err();
            assert_eq!(error.kind, kind, "{status} {headers:?}");
        }
        assert!(answer(204, &[], "").error_for_status("ask").is_ok());
    }

    #[test]
    fn an_error_quotes_the_body_without_secrets_and_on_one_line() {
        let body =
            "no\u{0}such\napp; token=abc123 \"password\": \"hunter2\" Authorization: Bearer xyz";
        let error =
            answer(500, &[], body).error_for_status("list the executors of app-1").unwrap_err();
        insta::assert_snapshot!(error, @r#"could not list the executors of app-1: HTTP 500: no such app; token=*** "password": "***" Authorization: Bearer ***"#);
    }

    #[test]
    fn a_long_body_is_cut() {
        let error = answer(500, &[], &"ä".repeat(65_536)).error_for_status("ask").unwrap_err();
        assert!(error.reason.chars().count() < EXCERPT + 20, "{error}");
    }

    #[test]
    fn json_of_the_wrong_shape_says_where() {
        #[derive(Debug, serde::Deserialize)]
        struct Version {
            #[allow(dead_code, reason = "read by Debug only")]
            spark: String,
        }
        let error = answer(200, &[], r#"{"spark":3}"#).json::<Version>("ask").unwrap_err();
        insta::assert_snapshot!(error, @r#"could not ask: the answer is not the JSON we expect (spark: invalid type: integer `3`, expected a string at line 1 column 10); it starts with: {"spark":3}"#);
        let cut = Response { cut: true, ..answer(200, &[], r#"{"spark":"3.5.7"}"#) };
        assert_eq!(cut.json::<Version>("ask").unwrap_err().kind, Kind::Malformed);
    }
}
