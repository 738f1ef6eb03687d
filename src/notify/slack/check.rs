//! Whether a workspace would take our messages: who we are there, and what the app may do.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{JSON, Slack, TIMEOUT, answer};
use crate::{
    clients::http::Request,
    notify::{Failure, wording},
};

/// What Slack says of our token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The workspace.
    pub team: String,
    /// The app's user there.
    pub user: String,
    /// Scopes of the token; `None` when Slack does not say.
    pub scopes: Option<BTreeSet<String>>,
    /// Slack's clock.
    pub date: Option<Timestamp>,
}

impl Slack {
    /// Asks Slack about our token. Sends nothing to anybody.
    pub async fn check(&self) -> Result<Checked, Failure> {
        let operation = "ask Slack who we are";
        let request = Request::post(self.url("auth.test")?, operation, json!({}).to_string(), JSON);
        let sent = self.http.send(request.bearer(&self.settings.token).timeout(TIMEOUT)).await;
        let headers = sent.as_ref().ok().map(|answer| (answer.headers.clone(), answer.date()));
        let said = answer::read(sent)?;
        let text = |name: &str| {
            let value = said.get(name).and_then(Value::as_str).unwrap_or_default();
            wording::cut(&wording::line(value), 80).into_owned()
        };
        let (headers, date) = headers.unwrap_or_default();
        let scopes = headers.get("x-oauth-scopes").and_then(|value| value.to_str().ok());
        let scopes =
            scopes.map(|all| all.split(',').map(|scope| scope.trim().to_owned()).collect());
        Ok(Checked { team: text("team"), user: text("user"), scopes, date })
    }
}
