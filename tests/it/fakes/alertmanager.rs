//! An Alertmanager that has prepared alerts and silences, with the API's own filter; any other call fails the test.
#![allow(clippy::disallowed_methods, reason = "fake servers are spawned as they are")]

use std::sync::{Arc, Mutex};

use axum::{
    Json, Router,
    extract::{RawQuery, State},
    http::{StatusCode, Uri},
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};

/// A running fake.
pub struct Alertmanager {
    /// `http://127.0.0.1:port/am`.
    pub url: String,
    state: Arc<Mutex<Known>>,
}

struct Known {
    started_at: String,
    config: String,
    alerts: Value,
    silences: Value,
    status: StatusCode,
    filters: Vec<String>,
    unexpected: Vec<String>,
}

impl Alertmanager {
    /// Starts one that answers with these lists.
    pub async fn start(alerts: Value, silences: Value) -> Self {
        Self::with_status(alerts, silences, 200).await
    }

    /// Starts one that answers everything with this status.
    pub async fn failing(status: u16) -> Self {
        Self::with_status(json!([]), json!([]), status).await
    }

    async fn with_status(alerts: Value, silences: Value, status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap();
        let (filters, unexpected) = (vec![], vec![]);
        let (started_at, config) = ("2026-11-01T00:00:00Z".to_owned(), "route: {}".to_owned());
        let known = Known { started_at, config, alerts, silences, status, filters, unexpected };
        let state = Arc::new(Mutex::new(known));
        let app = Router::new().fallback(answer).with_state(Arc::clone(&state));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/am", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, state }
    }

    /// From now on it has these alerts.
    pub fn set_alerts(&self, alerts: Value) {
        self.state.lock().unwrap().alerts = alerts;
    }

    /// From now on it has these silences.
    pub fn set_silences(&self, silences: Value) {
        self.state.lock().unwrap().silences = silences;
    }

    /// It started then.
    pub fn set_started_at(&self, at: &str) {
        at.clone_into(&mut self.state.lock().unwrap().started_at);
    }

    /// It runs with this configuration.
    pub fn set_config(&self, config: &str) {
        config.clone_into(&mut self.state.lock().unwrap().config);
    }

    /// From now on it answers everything with this status.
    pub fn set_status(&self, status: u16) {
        self.state.lock().unwrap().status = StatusCode::from_u16(status).unwrap();
    }

    /// The filters it was sent.
    pub fn filters(&self) -> Vec<String> {
        self.state.lock().unwrap().filters.clone()
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let unexpected = &self.state.lock().unwrap().unexpected;
            assert!(unexpected.is_empty(), "calls nobody prepared: {unexpected:?}");
        }
    }
}

async fn answer(
    State(state): State<Arc<Mutex<Known>>>,
    RawQuery(query): RawQuery,
    uri: Uri,
) -> Response {
    let mut known = state.lock().unwrap();
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap();
        assert_eq!(name, "filter");
        let value = value.replace('+', " ");
        let value = percent_encoding::percent_decode_str(&value).decode_utf8().unwrap();
        known.filters.push(value.into_owned());
    }
    if known.status != StatusCode::OK {
        return (known.status, Json("bad matcher format")).into_response();
    }
    match uri.path() {
        "/am/api/v2/alerts" => Json(known.alerts.clone()).into_response(),
        "/am/api/v2/status" => {
            let (uptime, config) = (&known.started_at, &known.config);
            Json(json!({ "uptime": uptime, "config": { "original": config } })).into_response()
        }
        "/am/api/v2/silences" => Json(known.silences.clone()).into_response(),
        other => {
            known.unexpected.push(other.to_owned());
            StatusCode::NOT_FOUND.into_response()
        }
    }
}
