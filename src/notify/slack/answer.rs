//! What Slack's answers mean for the next attempt.
//!
//! Slack says `ok: false` with HTTP 200; only rate limits and its own trouble have a status. Between the lines stands
//! the question that matters for a page: was the message taken? A clear no is [`Outcome::Retry`] or
//! [`Outcome::Permanent`]; an answer that leaves it open is [`Outcome::Unclear`], and the next attempt looks first.

use std::time::Duration;

use serde_json::Value;

use crate::{
    clients::{self, Kind, http::Response},
    notify::{Failure, Outcome, wording},
};

/// Slack refuses for load it will not name a time for.
const SLOW: Duration = Duration::from_mins(1);

/// A call's answer when it is `ok`.
pub(super) fn read(answer: clients::Result<Response>) -> Result<Value, Failure> {
    let response = answer.map_err(|error| transport(&error))?;
    let failure = |outcome, reason: String| Failure { outcome, reason };
    match response.status {
        200 => {}
        429 => {
            let after = response.retry_after();
            return Err(failure(Outcome::Retry { after }, "Slack asks to slow down".to_owned()));
        }
        status @ 500.. => {
            let why = format!("Slack answered HTTP {status}, so the message may have arrived");
            return Err(failure(Outcome::Unclear, why));
        }
        status => {
            let why = format!("Slack answered HTTP {status}; is the API address right?");
            return Err(failure(Outcome::Permanent, why));
        }
    }
    let body: Value = response.json("read Slack's answer").map_err(|_| {
        let why = "Slack's answer is not JSON, so the message may have arrived".to_owned();
        failure(Outcome::Unclear, why)
    })?;
    match (body["ok"].as_bool(), body["error"].as_str()) {
        (Some(true), _) => Ok(body),
        (Some(false), error) => Err(refused(error.unwrap_or("no reason"), &body)),
        (None, _) => {
            let why = "Slack's answer has no `ok`, so the message may have arrived".to_owned();
            Err(failure(Outcome::Unclear, why))
        }
    }
}

/// A transport failure. A connection may break after the request was read, so only our own refusal is a clear no.
fn transport(error: &clients::Error) -> Failure {
    let outcome = match error.kind {
        Kind::Unreachable | Kind::Timeout => Outcome::Unclear,
        Kind::Throttled { after } => Outcome::Retry { after },
        Kind::Denied | Kind::NotFound | Kind::Malformed | Kind::Refused => Outcome::Permanent,
    };
    Failure { outcome, reason: error.to_string() }
}

fn refused(error: &str, body: &Value) -> Failure {
    let shown = wording::cut(&wording::line(error), 80).into_owned();
    let hint = hint(error, body);
    let dash = if hint.is_empty() { "" } else { ": " };
    Failure { outcome: outcome(error), reason: format!("Slack says {shown}{dash}{hint}") }
}

fn outcome(error: &str) -> Outcome {
    match error {
        "ratelimited" | "rate_limited" => Outcome::Retry { after: None },
        "message_limit_exceeded"
        | "service_unavailable"
        | "request_timeout"
        | "update_failed"
        | "team_added_to_org"
        | "external_channel_migrating" => Outcome::Retry { after: Some(SLOW) },
        "internal_error" | "fatal_error" => Outcome::Unclear,
        "message_not_found" | "thread_not_found" | "cant_update_message" | "edit_window_closed" => {
            Outcome::CardGone
        }
        // Everything else is configuration, permission, an archived channel or a message we should not have built.
        _ => Outcome::Permanent,
    }
}

/// What a person can do about it.
fn hint(error: &str, body: &Value) -> String {
    match error {
        "not_in_channel" | "channel_not_found" => {
            "invite the app with /invite in that channel, and write its id in the configuration"
                .to_owned()
        }
        "is_archived" | "is_inactive" => {
            "the channel is archived; configure another one".to_owned()
        }
        "missing_scope" => {
            let needed = body["needed"].as_str().unwrap_or("(not named)");
            format!("add the scope {} to the app and install it again", wording::line(needed))
        }
        "invalid_auth" | "not_authed" | "account_inactive" | "token_revoked" | "token_expired" => {
            "put a valid bot token (xoxb-…) into `slack.token`".to_owned()
        }
        "restricted_action" | "restricted_action_read_only_channel" => {
            "the workspace forbids the app to post there; ask its admin".to_owned()
        }
        _ => {
            let detail = body["response_metadata"]["messages"][0].as_str().unwrap_or("");
            wording::cut(&wording::line(detail), 200).into_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clients::http::HeaderMap;

    fn answer(status: u16, body: &str) -> Result<Value, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", "7".parse().unwrap());
        read(Ok(Response { status, headers, body: body.into(), cut: false }))
    }

    fn says(error: &str) -> Outcome {
        let body = json!({"ok": false, "error": error}).to_string();
        answer(200, &body).unwrap_err().outcome
    }

    #[test]
    fn every_documented_error_has_its_outcome() {
        for permanent in [
            "channel_not_found",
            "not_in_channel",
            "is_archived",
            "is_inactive",
            "restricted_action",
            "restricted_action_thread_only_channel",
            "invalid_blocks",
            "invalid_blocks_format",
            "msg_too_long",
            "msg_blocks_too_long",
            "too_many_attachments",
            "no_text",
            "invalid_auth",
            "not_authed",
            "account_inactive",
            "token_revoked",
            "token_expired",
            "missing_scope",
            "metadata_too_large",
            "thread_locked",
            "cannot_reply_to_message",
            "ekm_access_denied",
            "never_heard_of",
        ] {
            assert_eq!(says(permanent), Outcome::Permanent, "{permanent}");
        }
        for retry in [
            "ratelimited",
            "rate_limited",
            "message_limit_exceeded",
            "service_unavailable",
            "request_timeout",
            "update_failed",
            "team_added_to_org",
            "external_channel_migrating",
        ] {
            assert!(matches!(says(retry), Outcome::Retry { .. }), "{retry}");
        }
        for unclear in ["internal_error", "fatal_error"] {
            assert_eq!(says(unclear), Outcome::Unclear, "{unclear}");
        }
        for gone in ["message_not_found", "cant_update_message", "edit_window_closed"] {
            assert_eq!(says(gone), Outcome::CardGone, "{gone}");
        }
    }

    #[test]
    fn a_status_or_a_page_of_html_has_its_outcome() {
        let after = Some(Duration::from_secs(7));
        assert_eq!(answer(429, "").unwrap_err().outcome, Outcome::Retry { after });
        for (status, body) in
            [(502, "<html>"), (500, ""), (503, "{}"), (200, "<html>"), (200, "{}"), (200, "")]
        {
            assert_eq!(
                answer(status, body).unwrap_err().outcome,
                Outcome::Unclear,
                "{status} {body}"
            );
        }
        for status in [301, 400, 403, 404] {
            assert_eq!(answer(status, "").unwrap_err().outcome, Outcome::Permanent, "{status}");
        }
        assert_eq!(answer(200, r#"{"ok":true,"ts":"1"}"#).unwrap()["ts"], "1");
    }

    #[test]
    fn a_transport_failure_leaves_it_open_unless_we_refused() {
        let of = |kind| read(Err(clients::Error::new(kind, "post", "x"))).unwrap_err().outcome;
        assert_eq!(of(Kind::Timeout), Outcome::Unclear);
        assert_eq!(of(Kind::Unreachable), Outcome::Unclear);
        assert_eq!(of(Kind::Refused), Outcome::Permanent);
    }

    #[test]
    fn the_reason_tells_a_person_what_to_do() {
        let body =
            json!({"ok": false, "error": "missing_scope", "needed": "chat:write"}).to_string();
        insta::assert_snapshot!(answer(200, &body).unwrap_err(), @"Slack says missing_scope: add the scope chat:write to the app and install it again");
    }
}
