//! Around every request: what a browser may not be tricked into, what every answer says, and what a bug may not break.
//!
//! Forms are protected without state: a browser says with each unsafe request where it comes from (`Sec-Fetch-Site`,
//! `Origin`), and a page of another site cannot forge either. Programs send neither and are left alone. The referrer
//! policy is `same-origin` because under `no-referrer` browsers send `Origin: null` with our own forms.

use std::{panic::AssertUnwindSafe, time::Duration};

use axum::{
    extract::{Request, State as Shared},
    http::{HeaderMap, HeaderValue, Method, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::FutureExt as _;

use super::{State, auth::browser, problem::Problem, ui};

/// Longest one request may take: the longest body, and a silence at every Alertmanager.
const DEADLINE: Duration = Duration::from_secs(90);

/// What every answer carries, unless it says otherwise.
const HEADERS: [(header::HeaderName, &str); 6] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CACHE_CONTROL, "no-store"),
    (header::REFERRER_POLICY, "same-origin"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
];

/// The outermost layer.
pub async fn guard(Shared(state): Shared<State>, request: Request, next: Next) -> Response {
    let page = wants_page(request.uri().path(), request.headers());
    let mut response = match same_site(&state, request.method(), request.headers()) {
        Ok(()) => run(request, next).await,
        Err(problem) => problem.into_response(),
    };
    if page && let Some(problem) = response.extensions_mut().remove::<Problem>() {
        response = ui::problem::page(&state, &problem, response);
    }
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// A handler's panic is a bug in one answer, not the end of the pager.
async fn run(request: Request, next: Next) -> Response {
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(DEADLINE, answer).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => Problem::internal("a handler panicked").into_response(),
        Err(_) => Problem::unavailable("a request took too long").into_response(),
    }
}

fn same_site(state: &State, method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    if method.is_safe() {
        return Ok(());
    }
    let public = state.config.server.public_url.as_ref();
    let public = public.map(|url| url.get().origin().ascii_serialization());
    browser::check_same_site(headers, public.as_deref())
}

fn wants_page(path: &str, headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    accept.contains("text/html") && !path.starts_with("/api/")
}
