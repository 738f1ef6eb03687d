//! `/metrics`: Prometheus text; for viewers, or this machine when there are no tokens.

use axum::{extract::State as Shared, http::header, response::IntoResponse};

use crate::http::State;

/// All metrics of the process.
pub async fn show(Shared(state): Shared<State>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], state.metrics.render())
}
