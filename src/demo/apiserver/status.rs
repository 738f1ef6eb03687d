//! `Status` errors, in the shape and words of the real API server.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::discovery::Resource;

/// What every handler returns.
pub(super) type Outcome = Result<Response, Failure>;

/// A refusal.
#[derive(Debug)]
pub(super) struct Failure {
    pub code: u16,
    pub reason: &'static str,
    pub message: String,
    /// Recorded as a call nobody should have made.
    pub unexpected: bool,
}

impl Failure {
    pub(super) fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), unexpected: false }
    }

    pub(super) fn unexpected(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { unexpected: true, ..Self::new(code, reason, message) }
    }

    pub(super) fn not_found(resource: &Resource, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} \"{name}\" not found", resource.full_name()))
    }

    /// An object that breaks a rule of its kind.
    pub(super) fn invalid(resource: &Resource, name: &str, why: impl std::fmt::Display) -> Self {
        let dot = if resource.group.is_empty() { "" } else { "." };
        let kind = format!("{}{dot}{}", resource.kind, resource.group);
        Self::new(422, "Invalid", format!("{kind} \"{name}\" is invalid: {why}"))
    }

    /// The answer to a path that no API serves: plain text.
    pub(super) fn page_not_found() -> Self {
        Self::new(404, "", "404 page not found")
    }

    pub(super) fn expired() -> Self {
        Self::new(
            410,
            "Expired",
            "The provided continue parameter is too old to display a consistent list result.",
        )
    }

    pub(super) fn body(&self) -> serde_json::Value {
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        })
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let code = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if self.reason.is_empty() {
            return (code, self.message).into_response();
        }
        (code, Json(self.body())).into_response()
    }
}
