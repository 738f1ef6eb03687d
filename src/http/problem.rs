//! Errors as the outside sees them: RFC 9457 problem details.
//!
//! A 4xx tells the caller what to change. A 5xx is generic: what went wrong inside is logged, once, where it is known.

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};

use crate::{domain::ids::IncidentId, engine::change};

/// Seconds after which a refused sender may try again.
const RETRY_AFTER: &str = "5";
/// Longest detail, characters: parts of it may come from the request.
const MAX_DETAIL: usize = 1_000;

/// An error answer.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    more: Map<String, Value>,
}

impl Problem {
    /// Any status, with a sentence for the caller.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let detail: String = detail.into().chars().take(MAX_DETAIL).collect();
        Self { status, detail, headers: vec![], more: Map::new() }
    }

    /// 400: the request itself is wrong.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 401: who are you? `scheme` is what the answer asks for, `Bearer` or `Basic`.
    pub fn unauthorised(scheme: &'static str, detail: impl Into<String>) -> Self {
        let challenge = match scheme {
            "Basic" => "Basic realm=\"Paramedic\", charset=\"UTF-8\"",
            _ => "Bearer realm=\"Paramedic\"",
        };
        Self::new(StatusCode::UNAUTHORIZED, detail)
            .header(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    }

    /// 403: known, or not asked who, but not allowed.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// 404.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// 404 for an incident.
    pub fn no_incident(id: IncidentId) -> Self {
        Self::not_found(format!("there is no incident {id}"))
    }

    /// 503: try again. The reason is logged here and not told.
    pub fn unavailable(reason: impl std::fmt::Display) -> Self {
        tracing::warn!(reason = %reason, "a request was answered 503");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "not now; try again in a few seconds")
            .header(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER))
    }

    /// 500: a bug. What it is, is logged here and not told.
    pub fn internal(reason: impl std::fmt::Display) -> Self {
        tracing::error!(reason = %reason, "a request was answered 500");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "something broke here; the log of the daemon says what",
        )
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Adds a member to the document.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.more.insert(name.to_owned(), value.into());
        self
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Its sentence.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let mut document =
            json!({ "title": title, "status": self.status.as_u16(), "detail": self.detail });
        if let Value::Object(members) = &mut document {
            members.extend(self.more.clone());
        }
        let mut response = Response::new(Body::from(document.to_string()));
        *response.status_mut() = self.status;
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        for (name, value) in &self.headers {
            response.headers_mut().append(name, value.clone());
        }
        // For browsers the outermost layer writes a page from it.
        response.extensions_mut().insert(self);
        response
    }
}

impl From<change::Error> for Problem {
    fn from(error: change::Error) -> Self {
        match error {
            change::Error::Refused(refusal) => Self::new(StatusCode::CONFLICT, refusal.to_string()),
            change::Error::NoSuchIncident(id) => Self::no_incident(id),
            change::Error::Store(error) => Self::from(error),
        }
    }
}

impl From<crate::store::Error> for Problem {
    fn from(error: crate::store::Error) -> Self {
        Self::unavailable(error)
    }
}
