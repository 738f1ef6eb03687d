//! What went wrong with a call to the API server, in words that say what to do.

use std::time::Duration;

use reqwest::header;
use serde::Deserialize;

use crate::clients::{Error, Kind, http::Response};

use super::pod::one_line;

/// How the reason of a 410 ends: a page token outlived the server's history.
pub(super) const EXPIRED: &str = ": it changed while it was read; ask again";

/// The permission a call needs.
pub(super) struct Access<'a> {
    /// `get`, `list`.
    pub verb: &'a str,
    /// API group; "" is the core group.
    pub group: &'a str,
    /// Resource with its subresource: `pods/log`.
    pub resource: &'a str,
    /// Namespace; empty for cluster-wide.
    pub namespace: &'a str,
}

/// The part of a `Status` object that matters.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    message: String,
    reason: String,
    details: Details,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Details {
    retry_after_seconds: u64,
}

impl Access<'_> {
    fn rule(&self) -> String {
        let kind = if self.namespace.is_empty() { "ClusterRole" } else { "Role" };
        let place = match self.namespace {
            "" => String::new(),
            namespace => format!(" of namespace {namespace}"),
        };
        format!(
            "grant its service account, in a {kind}{place}: {{apiGroups: [\"{}\"], resources: [\"{}\"], verbs: [\"{}\"]}}",
            self.group, self.resource, self.verb
        )
    }
}

/// The error that a non-2xx answer means.
pub(super) fn refusal(answer: &Response, operation: &str, access: &Access<'_>) -> Error {
    let status: Status = serde_json::from_slice(&answer.body).unwrap_or_else(|_| Status {
        message: String::from_utf8_lossy(&answer.body).into_owned(),
        ..Status::default()
    });
    let said = match one_line(&status.message, 300) {
        text if text.is_empty() => format!("HTTP {}", answer.status),
        text => text,
    };
    let (kind, reason) = match answer.status {
        401 => (Kind::Denied, format!("{said}: the credentials are missing, wrong or expired")),
        403 => (Kind::Denied, format!("{said}; {}", access.rule())),
        404 => (Kind::NotFound, said),
        410 => (Kind::Refused, format!("{said}{EXPIRED}")),
        408 | 504 => (Kind::Timeout, said),
        429 | 503 => (Kind::Throttled { after: after(answer, &status) }, said),
        502 => (Kind::Unreachable, said),
        _ if status.reason == "Timeout" => (Kind::Timeout, said),
        code => (Kind::Refused, format!("{said} (HTTP {code})")),
    };
    Error::new(kind, operation, reason)
}

fn after(answer: &Response, status: &Status) -> Option<Duration> {
    let header = answer.headers.get(header::RETRY_AFTER).and_then(|v| v.to_str().ok());
    let seconds = header.and_then(|text| text.trim().parse().ok());
    let seconds = seconds.or(Some(status.details.retry_after_seconds)).filter(|s| *s > 0)?;
    Some(Duration::from_secs(seconds).min(Duration::from_hours(1)))
}

/// A failure before any answer.
pub(super) fn transport(error: &kube::Error, operation: &str) -> Error {
    let kind = match error {
        kube::Error::Auth(_) => Kind::Denied,
        kube::Error::InferConfig(_) | kube::Error::BuildRequest(_) => Kind::Refused,
        _ => Kind::Unreachable,
    };
    Error::new(kind, operation, innermost(error))
}

/// The words of the innermost cause: outer ones only repeat "error trying to connect".
pub(super) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    one_line(&cause.to_string(), 300)
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;

    use super::*;

    fn refused(status: u16, body: &str) -> Error {
        let answer = Response { status, headers: HeaderMap::new(), body: body.into(), cut: false };
        let access = Access { verb: "list", group: "", resource: "pods", namespace: "spark-prod" };
        refusal(&answer, "list the pods of namespace spark-prod", &access)
    }

    #[test]
    fn a_missing_permission_is_told_with_the_rule_that_grants_it() {
        let body = r#"{"kind":"Status","status":"Failure","reason":"Forbidden","code":403,
            "message":"pods is forbidden: User \"system:serviceaccount:ops:paramedic\" cannot list resource \"pods\""}"#;
        let error = refused(403, body);
        assert_eq!(error.kind, Kind::Denied);
        insta::assert_snapshot!(error, @r#"could not list the pods of namespace spark-prod: pods is forbidden: User "system:serviceaccount:ops:paramedic" cannot list resource "pods"; grant its service account, in a Role of namespace spark-prod: {apiGroups: [""], resources: ["pods"], verbs: ["list"]}"#);
    }

    #[test]
    fn the_status_decides_the_kind() {
        let throttled = Kind::Throttled { after: Some(Duration::from_secs(7)) };
        let cases = [
            (401, "", Kind::Denied),
            (404, "404 page not found", Kind::NotFound),
            (410, "", Kind::Refused),
            (429, r#"{"details":{"retryAfterSeconds":7}}"#, throttled),
            (503, "<html>", Kind::Throttled { after: None }),
            (504, "", Kind::Timeout),
            (500, r#"{"reason":"Timeout"}"#, Kind::Timeout),
            (400, r#"{"message":"bad"}"#, Kind::Refused),
        ];
        for (status, body, kind) in cases {
            assert_eq!(refused(status, body).kind, kind, "{status}");
        }
    }

    #[test]
    fn a_hostile_body_becomes_one_short_line() {
        let error = refused(500, &format!("a\0b\n\u{1b}[31m{}", "x".repeat(65_536)));
        assert!(error.reason.len() < 400 && !error.reason.contains(['\0', '\n', '\u{1b}']));
    }
}
