//! `POST /api/v1/alertmanager[/<source>]`: a webhook comes in; 200 only after its commit.
//!
//! Order matters: what the headers can prove, then room for the body, then the body, then what only the body can prove.
//! Overload and store trouble are 503, never 429: Alertmanager retries a 5xx only. What can never be taken (no payload,
//! too large) is a 4xx that says why, counted, and logged loudly, because those alerts page nobody.

use axum::{
    Json,
    extract::{Request, State as Shared},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde_json::json;

use super::At;
use crate::{
    domain::alert::NotAPayload,
    engine::intake::{Error, MAX_BODY},
    http::{
        State,
        auth::{self, source::Proof},
        body::{self, Bounds},
        problem::Problem,
    },
    ops::metrics as names,
};

/// The source of an address without a name.
const UNNAMED: &str = "default";

/// `/api/v1/alertmanager`.
pub async fn unnamed(Shared(state): Shared<State>, request: Request) -> Response {
    receive(&state, UNNAMED, request).await
}

/// `/api/v1/alertmanager/{source}`.
pub async fn named(
    Shared(state): Shared<State>,
    At(source): At<String>,
    request: Request,
) -> Response {
    receive(&state, &source, request).await
}

async fn receive(state: &State, source: &str, request: Request) -> Response {
    let clock = &state.engine.clock;
    let started = clock.monotonic();
    // Labels come from the configuration only: a stranger must not make new time series.
    let label = if state.senders.contains_key(source) { source } else { "unknown" }.to_owned();
    let response = match take(state, source, request).await {
        Ok(accepted) => Json(json!({ "accepted": accepted })).into_response(),
        Err(problem) => {
            if problem.status() == StatusCode::PAYLOAD_TOO_LARGE {
                tracing::error!(source = label, "a webhook is too large: its alerts page nobody");
            }
            problem.into_response()
        }
    };
    let code = response.status().as_str().to_owned();
    metrics::counter!(names::WEBHOOKS, "source" => label, "code" => code).increment(1);
    let took = clock.monotonic().saturating_sub(started);
    metrics::histogram!(names::WEBHOOK_SECONDS).record(took.as_secs_f64());
    response
}

async fn take(state: &State, source: &str, request: Request) -> Result<usize, Problem> {
    if state.is_draining() {
        return Err(Problem::unavailable("the process ends"));
    }
    let (parts, body) = request.into_parts();
    let headers = &parts.headers;
    let sender = state.senders.get(source).ok_or_else(|| unknown(state, source, headers))?;
    let proof = sender.check(source, headers, state.config.server.listen.is_loopback())?;
    if let Some(reason) = state.backlog_problem().await {
        return Err(Problem::unavailable(reason));
    }
    let believe_length = proof == Proof::Done;
    let bounds = Bounds { limit: MAX_BODY, budget: Some(&state.budget), believe_length };
    let mut held = body::read(body, headers, bounds).await?;
    sender.check_body(source, &proof, &held.bytes, state.engine.now())?;
    // `held` keeps its room until the commit.
    let bytes = std::mem::take(&mut held.bytes);
    state.engine.take_in(source.to_owned(), bytes).await.map_err(|error| match error {
        Error::NotAPayload(reason) => not_a_payload(source, reason),
        Error::Overloaded(reason) => Problem::unavailable(reason),
        Error::Store(error) => Problem::from(error),
    })
}

/// The answer repeats what stands in the body; the log does not.
fn not_a_payload(source: &str, reason: NotAPayload) -> Problem {
    let NotAPayload { path, line, column, .. } = &reason;
    tracing::error!(source, ?path, line, column, "a webhook is no payload: its alerts page nobody");
    Problem::bad_request(reason.to_string())
        .with("path", reason.path)
        .with("line", reason.line)
        .with("column", reason.column)
}

/// Names the sources there are only to those who may see the configuration's names anyway.
fn unknown(state: &State, source: &str, headers: &axum::http::HeaderMap) -> Problem {
    let shown: String = source.chars().take(63).collect();
    let what = format!("there is no source `{}`", shown.escape_debug());
    if auth::caller(state, headers, false).is_err() {
        return Problem::not_found(what);
    }
    let names: Vec<&str> = state.senders.keys().map(String::as_str).collect();
    let names = names.join(", ");
    Problem::not_found(format!(
        "{what}; configured: {names}. Add it below `sources`, or correct the address"
    ))
}
