//! The HTTP face: alert intake, the API, the UI, health. [`router`] is the only list of routes.
//!
//! Three kinds of callers, three doors. Senders of alerts prove themselves per source ([`auth::source`]). People and
//! programs hold a token, or are on this machine ([`auth::people`]). Slack signs. What a browser could be tricked into is
//! refused for all of them in one place ([`outer`]), before any handler runs. Errors are RFC 9457 problems; those that
//! are ours (5xx) say nothing of the inside.
//!
//! Only HTTP/1: TLS and HTTP/2 belong to the proxy in front of it.

mod act;
mod auth;
mod body;
mod cached;
mod outer;
mod problem;
mod routes;
mod server;
mod state;
mod ui;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{get, post},
};

use self::{
    problem::Problem,
    routes::{actions, declare, health, incidents, intake, metrics, oncall, slack},
};
pub use self::{server::serve, state::State};

/// Every route of the daemon.
pub fn router(state: State) -> Router {
    let people = Router::new()
        .route("/", get(ui::list::home))
        .route("/incidents", get(ui::list::page))
        .route("/incidents/{id}", get(ui::incident::page))
        .route("/incidents/{id}/{action}", post(ui::forms::act))
        .route("/oncall", get(ui::oncall::page))
        .route("/metrics", get(metrics::show))
        .route("/api/v1/incidents", get(incidents::list).post(declare::declare))
        .route("/api/v1/incidents/{id}", get(incidents::show))
        .route("/api/v1/incidents/{id}/timeline", get(incidents::timeline))
        .route("/api/v1/incidents/{id}/{action}", post(actions::act))
        .route("/api/v1/oncall", get(oncall::now))
        .layer(DefaultBodyLimit::max(routes::MAX_JSON))
        .layer(middleware::from_fn_with_state(state.clone(), auth::people));
    let machines = Router::new()
        .route("/api/v1/alertmanager", post(intake::unnamed).put(intake::unnamed))
        .route("/api/v1/alertmanager/{source}", post(intake::named).put(intake::named))
        .route("/slack/interactions", post(slack::click));
    let anybody = Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/assets/{name}", get(ui::assets::show));
    people
        .merge(machines)
        .merge(anybody)
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(state.clone(), outer::guard))
        .with_state(state)
}

async fn nothing_here() -> Problem {
    Problem::not_found("there is nothing at this address; the UI is at /, the API below /api/v1/")
}

async fn wrong_method() -> Problem {
    Problem::new(
        axum::http::StatusCode::METHOD_NOT_ALLOWED,
        "this address does not take this method",
    )
}
