//! A Loki that answers one prepared query as documented, and fails the test on any other.
#![allow(clippy::disallowed_methods, reason = "fake servers are spawned as they are")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::get,
};
use serde_json::{Value, json};

/// What it does.
#[derive(Clone, Debug)]
pub enum Mood {
    /// The result of a query that selects lines.
    Streams(Value),
    /// The result of a query that counts.
    Matrix,
    /// A status with plain text, as Loki says errors.
    Says(u16, &'static str),
}

/// A running fake; it knows one query, and one tenant or none.
pub struct Loki {
    /// `http://127.0.0.1:port/prefix`.
    pub url: String,
    state: Arc<Mutex<Known>>,
}

struct Known {
    query: String,
    tenant: Option<&'static str>,
    mood: Mood,
    asked: Vec<BTreeMap<String, String>>,
    unexpected: Vec<String>,
}

impl Loki {
    /// Starts one.
    pub async fn start(query: &str, tenant: Option<&'static str>, mood: Mood) -> Self {
        let (query, asked, unexpected) = (query.to_owned(), vec![], vec![]);
        let state = Arc::new(Mutex::new(Known { query, tenant, mood, asked, unexpected }));
        let app = Router::new()
            .route("/prefix/loki/api/v1/query_range", get(query_range))
            .with_state(Arc::clone(&state));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/prefix", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, state }
    }

    /// The parameters it was sent.
    pub fn asked(&self) -> Vec<BTreeMap<String, String>> {
        self.state.lock().unwrap().asked.clone()
    }
}

impl Drop for Loki {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let unexpected = &self.state.lock().unwrap().unexpected;
            assert!(unexpected.is_empty(), "requests nobody prepared: {unexpected:?}");
        }
    }
}

async fn query_range(
    State(state): State<Arc<Mutex<Known>>>,
    Query(form): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let mut known = state.lock().unwrap();
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if header("authorization") != Some("Bearer gateway-token") {
        return (StatusCode::UNAUTHORIZED, "no token").into_response();
    }
    if known.tenant.is_some() && header("x-scope-orgid").is_none() {
        return (StatusCode::UNAUTHORIZED, "no org id").into_response();
    }
    assert_eq!(header("x-scope-orgid"), known.tenant);
    if form.get("query") != Some(&known.query) {
        known.unexpected.push(format!("{form:?}"));
        return (StatusCode::BAD_REQUEST, "parse error").into_response();
    }
    known.asked.push(form);
    let data = match &known.mood {
        Mood::Says(status, text) => {
            return (StatusCode::from_u16(*status).unwrap(), *text).into_response();
        }
        Mood::Streams(streams) => {
            json!({ "resultType": "streams", "result": streams, "stats": {} })
        }
        Mood::Matrix => json!({ "resultType": "matrix", "result": [
            { "metric": {}, "values": [[1_795_403_520, "3"]] },
        ] }),
    };
    axum::Json(json!({ "status": "success", "data": data })).into_response()
}
