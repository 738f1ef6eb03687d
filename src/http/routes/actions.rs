//! `POST /api/v1/incidents/{id}/{ack|resolve|silence|snooze|escalate|note}`: people act.

use axum::{
    Extension, Json,
    extract::{Request, State as Shared},
    http::{HeaderMap, StatusCode, header},
};
use serde_json::{Value, json};

use super::{At, incident_id, json as read_json};
use crate::http::{
    State,
    act::{Action, Fields, Outcome},
    auth::Caller,
    problem::Problem,
};

/// Answers what the person is told; 409 when the incident says no.
pub async fn act(
    Shared(state): Shared<State>,
    Extension(caller): Extension<Caller>,
    At((id, action)): At<(String, String)>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let id = incident_id(&id)?;
    let (parts, body) = request.into_parts();
    let fields: Fields = read_json(body, &parts.headers).await?;
    let who = caller.who(&state, fields.by.as_deref(), via(&parts.headers));
    let action = Action::read(&action, fields, state.engine.now())?;
    match action.carry_out(&state, id, who).await? {
        Outcome::Done(message) => Ok(Json(json!({ "message": message }))),
        Outcome::Refused { message, anyway_helps } => {
            let problem = Problem::new(StatusCode::CONFLICT, message);
            Err(if anyway_helps { problem.with("anyway", true) } else { problem })
        }
    }
}

/// How the timeline says it was done.
pub fn via(headers: &HeaderMap) -> &'static str {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    if agent.is_some_and(|agent| agent.starts_with("paramedic-cli/")) { "cli" } else { "api" }
}
