//! A receiver of Standard Webhooks with a verifier of its own: wrong, stale or unsigned calls are refused and fail the test.
#![allow(clippy::disallowed_methods, reason = "fake servers are spawned as they are")]

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use paramedic::ops::clock::Clock;
use serde_json::Value;
use sha2::Sha256;

/// A running fake.
pub struct WebhookReceiver {
    /// Where it listens.
    pub url: String,
    state: Arc<Mutex<Inbox>>,
}

/// How the next call is answered.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// Refused with this status; nothing is kept.
    Refuses(u16),
    /// Refused with this status and `Retry-After`, seconds.
    Later(u16, u64),
    /// Kept, and then answered with this status: the sender cannot know.
    KeepsThen(u16),
}

struct Inbox {
    clock: Clock,
    key: Vec<u8>,
    next: VecDeque<Answer>,
    attempts: Vec<(String, i64)>,
    kept: Vec<(String, Value)>,
    surprises: Vec<String>,
}

impl WebhookReceiver {
    /// A receiver that knows this key.
    pub async fn start(clock: Clock, key: &[u8]) -> Self {
        let state = Arc::new(Mutex::new(Inbox {
            clock,
            key: key.to_vec(),
            next: VecDeque::new(),
            attempts: vec![],
            kept: vec![],
            surprises: vec![],
        }));
        let app = Router::new().route("/hook", post(receive)).with_state(Arc::clone(&state));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?key=do-not-log", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, state }
    }

    /// Answers the next call so; several queue up.
    pub fn next(&self, answer: Answer) {
        self.state.lock().unwrap().next.push_back(answer);
    }

    /// Ids and payloads, each id once, in the order of arrival.
    pub fn kept(&self) -> Vec<(String, Value)> {
        self.state.lock().unwrap().kept.clone()
    }

    /// Id and time of every correctly signed attempt.
    pub fn attempts(&self) -> Vec<(String, i64)> {
        self.state.lock().unwrap().attempts.clone()
    }

    /// Fails when a call was not as the standard asks; so does dropping the fake.
    pub fn assert_no_surprises(&self) {
        let surprises = std::mem::take(&mut self.state.lock().unwrap().surprises);
        assert!(surprises.is_empty(), "the receiver was surprised: {surprises:#?}");
    }
}

impl Drop for WebhookReceiver {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.assert_no_surprises();
        }
    }
}

async fn receive(
    State(state): State<Arc<Mutex<Inbox>>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut inbox = state.lock().unwrap();
    let (id, at, payload) = match inbox.verify(&headers, &body) {
        Ok(verified) => verified,
        Err(why) => {
            inbox.surprises.push(why.clone());
            return (StatusCode::UNAUTHORIZED, why).into_response();
        }
    };
    inbox.attempts.push((id.clone(), at));
    let answer = inbox.next.pop_front();
    if matches!(answer, None | Some(Answer::KeepsThen(_)))
        && !inbox.kept.iter().any(|(known, _)| *known == id)
    {
        inbox.kept.push((id, payload));
    }
    let status = |code| StatusCode::from_u16(code).unwrap();
    match answer {
        None => StatusCode::NO_CONTENT.into_response(),
        Some(Answer::Refuses(code) | Answer::KeepsThen(code)) => {
            (status(code), [("location", "http://169.254.169.254/")]).into_response()
        }
        Some(Answer::Later(code, after)) => {
            (status(code), [("retry-after", after.to_string())]).into_response()
        }
    }
}

impl Inbox {
    fn verify(&self, headers: &HeaderMap, body: &[u8]) -> Result<(String, i64, Value), String> {
        let header = |name: &str| {
            let value = headers.get(name).ok_or(format!("no {name}"))?;
            value.to_str().map(str::to_owned).map_err(|_| format!("{name} is no text"))
        };
        let (id, time, signatures) =
            (header("webhook-id")?, header("webhook-timestamp")?, header("webhook-signature")?);
        if id.is_empty() || id.contains('.') {
            return Err(format!("webhook-id {id:?}"));
        }
        let at: i64 = time.parse().map_err(|_| format!("webhook-timestamp {time:?}"))?;
        if at.abs_diff(self.clock.now().as_second()) > 300 {
            return Err(format!("a stale timestamp: {at}"));
        }
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).unwrap();
        mac.update(format!("{id}.{time}.").as_bytes());
        mac.update(body);
        let right = STANDARD.encode(mac.finalize().into_bytes());
        let offered = signatures.split(' ').map(|signature| signature.split_once(','));
        if !offered.into_iter().any(|signature| signature == Some(("v1", right.as_str()))) {
            return Err(format!("no fitting signature in {signatures:?}"));
        }
        if body.len() > 20_480 {
            return Err(format!("a body of {} bytes", body.len()));
        }
        let payload: Value = serde_json::from_slice(body).map_err(|e| e.to_string())?;
        let complete = payload["type"].is_string()
            && payload["timestamp"].as_str().is_some_and(|t| t.parse::<jiff::Timestamp>().is_ok())
            && payload["data"].is_object();
        if complete { Ok((id, at, payload)) } else { Err(format!("payload {payload}")) }
    }
}
