//! Calls of the client-server API, and what its errors mean.
//!
//! Every send carries a transaction id derived from the delivery's key, so repeating one is always safe (the server
//! remembers it for 24 h, for the same device): a lost answer is [`Outcome::Retry`], never unclear.

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::SecretString;
use serde_json::Value;

use crate::{
    clients::{
        self, Kind,
        http::{Client, HeaderName, HeaderValue, Method, Request, Response, Url},
    },
    notify::{Failure, Outcome, wording},
};

/// A homeserver and who we are there.
pub(super) struct Api {
    pub(super) http: Client,
    pub(super) homeserver: Url,
    pub(super) token: SecretString,
}

/// One call.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    /// Below `/_matrix/client/`, made with [`path`].
    pub(super) path: String,
    pub(super) query: &'a [(&'a str, &'a str)],
    pub(super) body: Option<&'a Value>,
    pub(super) timeout: Duration,
    /// What this is for, without secrets.
    pub(super) operation: &'a str,
}

/// Why a call failed.
#[derive(Debug)]
pub(super) enum Fault {
    /// No answer.
    Transport(clients::Error),
    /// An answer, of the server or of something before it.
    Answer(Refusal),
}

/// An answer that is not 2xx.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// `M_FORBIDDEN`; empty when the answer is not Matrix's.
    pub(super) code: String,
    pub(super) text: String,
    pub(super) after: Option<Duration>,
    operation: String,
}

/// Any call but a long poll answers well within this.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
/// A server over its user limit will not recover in seconds.
const SLOW: Duration = Duration::from_mins(10);

/// Joins path parts, each percent-encoded: room ids, aliases and keys hold `!`, `#`, `/` and more.
pub(super) fn path(parts: &[&str]) -> String {
    const SET: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    let encoded: Vec<_> =
        parts.iter().map(|part| utf8_percent_encode(part, SET).to_string()).collect();
    encoded.join("/")
}

impl Api {
    pub(super) async fn get(&self, path: String, operation: &str) -> Result<Value, Fault> {
        self.call(Call {
            method: Method::GET,
            path,
            query: &[],
            body: None,
            timeout: TIMEOUT,
            operation,
        })
        .await
    }

    pub(super) async fn put(
        &self,
        path: String,
        body: &Value,
        operation: &str,
    ) -> Result<Value, Fault> {
        let body = Some(body);
        self.call(Call { method: Method::PUT, path, query: &[], body, timeout: TIMEOUT, operation })
            .await
    }

    pub(super) async fn post(
        &self,
        path: String,
        body: &Value,
        operation: &str,
    ) -> Result<Value, Fault> {
        let body = Some(body);
        self.call(Call {
            method: Method::POST,
            path,
            query: &[],
            body,
            timeout: TIMEOUT,
            operation,
        })
        .await
    }

    pub(super) async fn call(&self, call: Call<'_>) -> Result<Value, Fault> {
        let Call { method, path, query, body, timeout, operation } = call;
        let mut url = self.homeserver.clone();
        url.set_path(&format!("{}/_matrix/client/{path}", url.path().trim_end_matches('/')));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = Request::new(method, url, operation).bearer(&self.token).timeout(timeout);
        if let Some(body) = body {
            request.body = Some(body.to_string().into_bytes());
            let json = HeaderValue::from_static("application/json");
            request = request.header(HeaderName::from_static("content-type"), json);
        }
        let response = self.http.send(request).await.map_err(Fault::Transport)?;
        if (200..300).contains(&response.status) {
            return response.json(operation).map_err(Fault::Transport);
        }
        Err(Fault::Answer(Refusal::read(&response, operation)))
    }
}

impl Refusal {
    fn read(response: &Response, operation: &str) -> Self {
        let body: Value = serde_json::from_slice(&response.body).unwrap_or(Value::Null);
        let text = |key: &str, max| {
            wording::cut(&wording::line(body[key].as_str().unwrap_or("")), max).into_owned()
        };
        // The header first; the field is deprecated but some servers send only that.
        let field = || body["retry_after_ms"].as_u64().map(Duration::from_millis);
        Self {
            status: response.status,
            code: text("errcode", 60),
            text: text("error", 200),
            after: response.retry_after().or_else(field),
            operation: operation.to_owned(),
        }
    }

    fn says(&self) -> String {
        if self.code.is_empty() {
            format!("HTTP {}", self.status)
        } else {
            format!("{} ({})", self.code, self.text)
        }
    }

    fn outcome(&self) -> Outcome {
        match (self.status, self.code.as_str()) {
            (_, "M_RESOURCE_LIMIT_EXCEEDED") => Outcome::Retry { after: Some(SLOW) },
            (408 | 429 | 500.., _) | (_, "M_LIMIT_EXCEEDED") => {
                Outcome::Retry { after: self.after }
            }
            (_, _) => Outcome::Permanent,
        }
    }

    /// What a person can do about it.
    fn hint(&self) -> &'static str {
        match (self.status, self.code.as_str()) {
            (_, "M_UNKNOWN_TOKEN" | "M_MISSING_TOKEN") => {
                ": put a valid access token into `matrix.token`"
            }
            (_, "M_FORBIDDEN") => ": invite the bot's user to the room and let it send messages",
            (404, "M_NOT_FOUND") => ": is the room's id or alias right?",
            (300..=499, "") => ": is `matrix.homeserver` the address of the homeserver?",
            (_, _) => "",
        }
    }
}

impl Fault {
    /// True when the server has this answer.
    pub(super) fn is(&self, status: u16, code: &str) -> bool {
        matches!(self, Self::Answer(r) if r.status == status && r.code == code)
    }

    /// As a delivery's failure.
    pub(super) fn failure(self) -> Failure {
        match self {
            Self::Transport(error) => {
                let outcome = match error.kind {
                    // Malformed: a 2xx that is no JSON comes from something before the server.
                    Kind::Unreachable | Kind::Timeout | Kind::Malformed => {
                        Outcome::Retry { after: None }
                    }
                    Kind::Throttled { after } => Outcome::Retry { after },
                    Kind::Denied | Kind::NotFound | Kind::Refused => Outcome::Permanent,
                };
                Failure { outcome, reason: error.to_string() }
            }
            Self::Answer(refusal) => Failure {
                outcome: refusal.outcome(),
                reason: format!(
                    "could not {}: Matrix says {}{}",
                    refusal.operation,
                    refusal.says(),
                    refusal.hint()
                ),
            },
        }
    }

    /// As a client's error.
    pub(super) fn error(self) -> clients::Error {
        match self {
            Self::Transport(error) => error,
            Self::Answer(refusal) => {
                let kind = match (refusal.outcome(), refusal.status) {
                    (Outcome::Retry { after }, 429 | 503) => Kind::Throttled { after },
                    (_, 500..) => Kind::Unreachable,
                    (_, 401 | 403) => Kind::Denied,
                    (_, 404) => Kind::NotFound,
                    (_, _) => Kind::Refused,
                };
                let reason = format!("Matrix says {}{}", refusal.says(), refusal.hint());
                clients::Error::new(kind, refusal.operation, reason)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::http::HeaderMap;

    fn refusal(status: u16, after: Option<&str>, body: &str) -> Refusal {
        let mut headers = HeaderMap::new();
        if let Some(after) = after {
            headers.insert("retry-after", after.parse().unwrap());
        }
        Refusal::read(&Response { status, headers, body: body.into(), cut: false }, "send")
    }

    #[test]
    fn path_parts_cannot_break_out() {
        assert_eq!(
            path(&["v3", "rooms", "!a:b.org", "../x?y#z"]),
            "v3/rooms/%21a%3Ab.org/..%2Fx%3Fy%23z"
        );
    }

    #[test]
    fn the_header_wins_over_the_deprecated_field() {
        let body =
            r#"{"errcode":"M_LIMIT_EXCEEDED","error":"Too Many Requests","retry_after_ms":1746}"#;
        let after = |header| refusal(429, header, body).outcome();
        assert_eq!(after(Some("2")), Outcome::Retry { after: Some(Duration::from_secs(2)) });
        assert_eq!(after(None), Outcome::Retry { after: Some(Duration::from_millis(1_746)) });
    }

    #[test]
    fn the_recorded_answer_of_a_limited_synapse_names_its_delay() {
        let recorded = include_str!("../../../tests/fixtures/matrix/rate-limited.json");
        let recorded: Value = serde_json::from_str(recorded).unwrap();
        let header = recorded["headers"]["Retry-After"].as_str();
        let outcome = refusal(429, header, &recorded["body"].to_string()).outcome();
        assert_eq!(outcome, Outcome::Retry { after: Some(Duration::from_secs(2)) });
    }

    #[test]
    fn every_documented_error_has_its_outcome() {
        let code = |status, code: &str| {
            refusal(status, None, &format!(r#"{{"errcode":"{code}","error":"x"}}"#)).outcome()
        };
        for (status, name) in [
            (401, "M_UNKNOWN_TOKEN"),
            (401, "M_MISSING_TOKEN"),
            (403, "M_FORBIDDEN"),
            (404, "M_NOT_FOUND"),
            (404, "M_UNRECOGNIZED"),
            (400, "M_BAD_JSON"),
            (400, "M_NOT_JSON"),
            (400, "M_INVALID_PARAM"),
            (401, "M_USER_LOCKED"),
            (403, "M_USER_SUSPENDED"),
            (403, "M_USER_DEACTIVATED"),
            (413, "M_TOO_LARGE"),
        ] {
            assert_eq!(code(status, name), Outcome::Permanent, "{name}");
        }
        assert_eq!(code(403, "M_RESOURCE_LIMIT_EXCEEDED"), Outcome::Retry { after: Some(SLOW) });
        for status in [408, 429, 500, 502, 503, 504] {
            let html = refusal(status, None, "<html>bad gateway</html>").outcome();
            assert_eq!(html, Outcome::Retry { after: None }, "{status}");
        }
        assert_eq!(refusal(301, None, "").outcome(), Outcome::Permanent);
    }

    #[test]
    fn the_reason_tells_a_person_what_to_do() {
        let body = r#"{"errcode":"M_UNKNOWN_TOKEN","error":"Invalid access token passed.","soft_logout":false}"#;
        insta::assert_snapshot!(Fault::Answer(refusal(401, None, body)).failure(), @"could not send: Matrix says M_UNKNOWN_TOKEN (Invalid access token passed.): put a valid access token into `matrix.token`");
        insta::assert_snapshot!(Fault::Answer(refusal(404, None, "<html>")).error(), @"could not send: Matrix says HTTP 404: is `matrix.homeserver` the address of the homeserver?");
    }
}
