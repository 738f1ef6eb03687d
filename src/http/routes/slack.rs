//! `POST /slack/interactions`: somebody pressed a button. (Being built.)

/// Clicks seen lately.
#[derive(Default)]
pub struct Seen;

/// Not yet.
pub async fn click() -> crate::http::problem::Problem {
    crate::http::problem::Problem::not_found("Slack is not configured")
}
