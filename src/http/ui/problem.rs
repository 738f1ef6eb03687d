//! An error, for somebody who looks at it in a browser.

use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::{Page, respond};
use crate::http::{State, problem::Problem};

/// The problem as a page, with the status and headers it had.
pub fn page(state: &State, problem: &Problem, response: Response) -> Response {
    let status = response.status();
    let content = json!({
        "status": status.as_u16(),
        "name": status.canonical_reason().unwrap_or("Error"),
        "detail": problem.detail(),
        "ours": status.is_server_error(),
    });
    let title = format!("{} {}", status.as_u16(), content["name"].as_str().unwrap_or_default());
    let page = Page { template: "problem", title, reload: None, caller: None, content };
    match respond(state, page) {
        Ok(page) => {
            let (mut parts, _) = response.into_parts();
            for name in [axum::http::header::CONTENT_TYPE, axum::http::header::CONTENT_LENGTH] {
                parts.headers.remove(&name);
            }
            let (page_parts, body) = page.into_parts();
            parts.headers.extend(page_parts.headers);
            Response::from_parts(parts, body)
        }
        Err(broken) => broken.into_response(),
    }
}
