//! `/livez`: is a restart needed? `/readyz`: can alerts be taken?

use axum::{Json, extract::State as Shared, http::StatusCode, response::IntoResponse};
use serde_json::json;

use crate::{engine::Engine, http::State};

/// Alive unless one of our tasks died: then a restart helps.
pub async fn livez(Shared(state): Shared<State>) -> impl IntoResponse {
    match state.tasks.dead() {
        None => (StatusCode::OK, "alive\n".to_owned()),
        Some(task) => {
            let name = task.split(':').next().unwrap_or_default();
            (StatusCode::INTERNAL_SERVER_ERROR, format!("the task {name} died; the log says why\n"))
        }
    }
}

/// Ready when the store takes a write, alerts are worked off, and the process does not end. With reasons; what the recorder
/// cannot do is said too.
pub async fn readyz(Shared(state): Shared<State>) -> impl IntoResponse {
    let ask = async { state.engine.store.check().await.err().map(|error| error.to_string()) };
    let store = state.store.get(&state.engine.clock, ask).await;
    if let Some(reason) = &store {
        tracing::warn!(reason, "not ready: the store does not take a write");
    }
    let backlog = match &store {
        None => state.backlog_problem().await,
        Some(_) => None,
    };
    let checks = [
        ("store", store.map(|_| no_write(&state.engine))),
        ("backlog", backlog),
        ("process", state.is_draining().then(|| "ends".to_owned())),
        ("tasks", state.tasks.dead().map(|_| "one died; the log says which".to_owned())),
    ];
    let ready = checks.iter().all(|(_, problem)| problem.is_none());
    // Said, but no reason to take no alerts.
    let troubles = state.engine.recorder.troubles();
    let recorder = ("recorder", (!troubles.is_empty()).then(|| troubles.join("; ")));
    let checks: Vec<_> = checks
        .into_iter()
        .chain([recorder])
        .map(|(name, problem)| json!({ "name": name, "ok": problem.is_none(), "reason": problem }))
        .collect();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": ready, "checks": checks })))
}

fn no_write(engine: &Engine) -> String {
    let since = engine.outage.since().map_or_else(String::new, |since| format!(" {since}"));
    format!("takes no write{since}; the log says why")
}
