//! Alertmanager's API v2: making a silence, for people's buttons; and reading alerts and silences ([`read`]), for steps.

pub mod read;

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::{
    Result,
    http::{self, Request, Trust, Url},
};

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// One Alertmanager instance.
#[derive(Clone, Debug)]
pub struct Client {
    http: http::Client,
    base: Url,
}

/// A silence to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Silence {
    /// Label name and exact value; all must match.
    pub matchers: Vec<(String, String)>,
    /// From.
    pub starts_at: Timestamp,
    /// Until.
    pub ends_at: Timestamp,
    /// Who asked for it.
    pub created_by: String,
    /// Why, with the incident.
    pub comment: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Created {
    #[serde(rename = "silenceID")]
    silence_id: String,
}

impl Client {
    /// For the instance at `base`, such as `http://am-0:9093`.
    pub fn new(http: http::Client, base: Url) -> Self {
        Self { http, base }
    }

    /// Its address.
    pub fn url(&self) -> &Url {
        &self.base
    }

    fn at(&self, what: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/api/v2/{what}", self.base.path().trim_end_matches('/')));
        url
    }

    /// Makes a silence; returns its id. Peers of a cluster learn of it from each other.
    pub async fn silence(&self, silence: &Silence) -> Result<String> {
        let operation = "make a silence in Alertmanager";
        let matchers: Vec<_> = silence
            .matchers
            .iter()
            .map(|(name, value)| json!({ "name": name, "value": value, "isRegex": false, "isEqual": true }))
            .collect();
        let body = json!({
            "matchers": matchers,
            "startsAt": silence.starts_at.to_string(),
            "endsAt": silence.ends_at.to_string(),
            "createdBy": silence.created_by,
            "comment": silence.comment,
        });
        let url = self.at("silences");
        let request =
            Request::post(url, operation, body.to_string().into_bytes(), "application/json")
                .timeout(TIMEOUT)
                .trust(Trust::Configured);
        let response = self.http.send(request).await?.error_for_status(operation)?;
        Ok(response.json::<Created>(operation)?.silence_id)
    }
}
