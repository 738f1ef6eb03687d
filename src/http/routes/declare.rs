//! `POST /api/v1/incidents`: a person declares an incident that no alert told of.

use std::collections::BTreeMap;

use axum::{
    Extension, Json,
    extract::{Request, State as Shared},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::json;

use super::{actions::via, json as read_json};
use crate::{
    domain::severity::Severity,
    http::{State, auth::Caller, problem::Problem},
};

/// Most labels.
const MAX_LABELS: usize = 64;

/// What is declared.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Declaration {
    title: String,
    severity: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    by: Option<String>,
}

/// 201 with the new incident's id and address.
pub async fn declare(
    Shared(state): Shared<State>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let Declaration { title, severity, labels, by } = read_json(body, &parts.headers).await?;
    let title = title.replace(char::is_control, " ");
    if title.trim().is_empty() {
        return Err(Problem::bad_request("`title` is empty: what is wrong?"));
    }
    if labels.len() > MAX_LABELS
        || labels.iter().any(|(name, value)| name.is_empty() || value.contains('\0'))
    {
        return Err(Problem::bad_request("`labels`: at most 64, with names and without NUL"));
    }
    let severity: Severity = severity
        .parse()
        .map_err(|reason: String| Problem::bad_request(format!("`severity`: {reason}")))?;
    let who = caller.who(&state, by.as_deref(), via(&parts.headers));
    let incident = state.engine.declare(title.trim(), severity, labels, who).await?;
    let id = incident.id.to_string();
    let place = format!("/api/v1/incidents/{id}");
    let message = format!("{id} declared, {severity}");
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, place)],
        Json(json!({ "id": id, "message": message })),
    )
        .into_response())
}
