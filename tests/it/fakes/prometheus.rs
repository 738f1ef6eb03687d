//! A Prometheus that answers prepared queries, and fails the test on any other.
#![allow(clippy::disallowed_methods, reason = "fake servers are spawned as they are")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{
    Form, Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};

/// A running fake.
pub struct Prometheus {
    /// `http://127.0.0.1:port/prom`: it lives under a prefix, as many do.
    pub url: String,
    state: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    answers: BTreeMap<String, Value>,
    asked: Vec<BTreeMap<String, String>>,
    unexpected: Vec<String>,
}

impl Prometheus {
    /// Starts one that knows these queries. A value is `data` of the API's answer, a text is an error, null never answers.
    pub async fn start<const N: usize>(answers: [(&str, Value); N]) -> Self {
        let answers = answers.map(|(query, data)| (query.to_owned(), data)).into();
        let state = Arc::new(Mutex::new(Known { answers, ..Known::default() }));
        let app = Router::new()
            .route("/prom/api/v1/query", post(query))
            .route("/prom/api/v1/query_range", post(query))
            .route("/prom/api/v1/{list}", get(list))
            .with_state(Arc::clone(&state));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/prom", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, state }
    }

    /// Changes the answer to a query.
    pub fn set(&self, query: &str, data: Value) {
        self.state.lock().unwrap().answers.insert(query.to_owned(), data);
    }

    /// Prepares a list: `alerts`, `rules` or `targets`.
    pub fn list(&self, name: &str, data: Value) {
        self.set(&format!("list {name}"), data);
    }

    /// How often it was asked.
    pub fn answered(&self) -> usize {
        self.state.lock().unwrap().asked.len()
    }

    /// The forms it was sent.
    pub fn asked(&self) -> Vec<BTreeMap<String, String>> {
        self.state.lock().unwrap().asked.clone()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let unexpected = &self.state.lock().unwrap().unexpected;
            assert!(unexpected.is_empty(), "queries nobody prepared: {unexpected:?}");
        }
    }
}

async fn query(
    State(state): State<Arc<Mutex<Known>>>,
    Form(form): Form<BTreeMap<String, String>>,
) -> Response {
    let query = form.get("query").cloned().unwrap_or_default();
    let answer = {
        let mut state = state.lock().unwrap();
        state.asked.push(form);
        state.answers.get(&query).cloned()
    };
    said(&state, query, answer).await
}

async fn list(State(state): State<Arc<Mutex<Known>>>, Path(list): Path<String>) -> Response {
    let query = format!("list {list}");
    let answer = state.lock().unwrap().answers.get(&query).cloned();
    said(&state, query, answer).await
}

async fn said(state: &Mutex<Known>, query: String, answer: Option<Value>) -> Response {
    match answer {
        Some(Value::Null) => std::future::pending().await,
        Some(Value::String(error)) => {
            let body = json!({ "status": "error", "errorType": "execution", "error": error });
            (StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response()
        }
        Some(data) => Json(json!({ "status": "success", "data": data })).into_response(),
        None => {
            state.lock().unwrap().unexpected.push(query);
            StatusCode::NOT_IMPLEMENTED.into_response()
        }
    }
}
