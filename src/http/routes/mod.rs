//! One file per route.

pub mod actions;
pub mod declare;
pub mod health;
pub mod incidents;
pub mod intake;
pub mod metrics;
pub mod oncall;
pub mod slack;

use axum::{
    body::Body,
    extract::{FromRequestParts, Path, Query},
    http::{HeaderMap, request::Parts},
};
use serde::de::DeserializeOwned;

use super::{
    body::{self, Bounds},
    problem::Problem,
};
use crate::domain::ids::IncidentId;

/// Largest body of an API request or a form, bytes.
pub const MAX_JSON: usize = 64 * 1024;

/// What the path names; unreadable names are a 404 problem.
pub struct At<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(names)| Self(names))
            .map_err(|_| Problem::not_found("this address is not readable"))
    }
}

/// The query's parameters; what does not fit is a 400 problem.
pub struct Asked<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::from_request_parts(parts, state).await;
        query
            .map(|Query(asked)| Self(asked))
            .map_err(|error| Problem::bad_request(error.body_text()))
    }
}

/// Reads a JSON body; an empty one counts as `{}`. A mistake is told with its path and position.
async fn json<T: DeserializeOwned>(body: Body, headers: &HeaderMap) -> Result<T, Problem> {
    let bounds = Bounds { limit: MAX_JSON, budget: None, believe_length: false };
    let held = body::read(body, headers, bounds).await?;
    let text: &[u8] = if held.bytes.trim_ascii().is_empty() { b"{}" } else { &held.bytes };
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." { "the body".to_owned() } else { format!("`{path}`") };
        Problem::bad_request(format!("{path}: {}", error.inner()))
    })?;
    reader.end().map_err(|error| Problem::bad_request(format!("the body: {error}")))?;
    Ok(value)
}

/// An incident's number out of a path.
pub fn incident_id(text: &str) -> Result<IncidentId, Problem> {
    let shown: String = text.chars().take(40).collect();
    let unknown = || format!("`{}` is not an incident; write INC-12 or 12", shown.escape_debug());
    text.parse().map_err(|_| Problem::not_found(unknown()))
}
