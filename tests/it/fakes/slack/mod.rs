//! A Slack workspace: channels, people, threads, edits, metadata, limits and the ways Slack fails.
//!
//! What a correct client may meet (rate limits, a vanished message) is answered as Slack answers it. What a correct client
//! never does (a block over its limit, a missing fallback text, an unknown field, a method nobody planned for) is answered
//! too, and fails the test.
#![allow(clippy::disallowed_methods, reason = "fake servers are spawned as they are")]

mod blocks;
mod methods;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Body,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, Method, StatusCode},
    response::{IntoResponse, Response},
    routing::any,
};
use futures::stream;
use hmac::{Hmac, KeyInit as _, Mac as _};
use paramedic::ops::clock::Clock;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use sha2::Sha256;

/// The bot's token.
pub const TOKEN: &str = "xoxb-1-test";
/// The app's signing secret.
pub const SIGNING_SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
/// What the app may do unless a test says otherwise.
const SCOPES: &str =
    "chat:write,im:write,im:history,channels:history,channels:read,groups:history,groups:read";
/// Messages to one channel at once, then one a second.
const BURST: f64 = 5.0;

/// A running fake.
pub struct Slack {
    /// Base of the Web API, with its `/`.
    pub api_url: String,
    state: Arc<Mutex<World>>,
}

/// How the next call of a method fails.
#[derive(Clone, Copy, Debug)]
pub enum Trouble {
    /// HTTP 429 with this `Retry-After`; nothing is done.
    Limited(u64),
    /// `ok: false` with HTTP 200; nothing is done.
    Says(&'static str),
    /// The call is done, then a proxy answers HTML 502.
    DoneThenHtml502,
    /// The call is done, then the answer breaks off.
    DoneThenBroken,
    /// The call is done, and the answer never comes.
    DoneThenSilence,
    /// A proxy answers HTML 502; nothing is done.
    Html502,
}

/// A message as people see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Its `ts`.
    pub ts: String,
    /// Its thread's parent.
    pub thread_ts: Option<String>,
    /// Fallback text.
    pub text: String,
    /// Blocks, as last edited.
    pub blocks: Value,
    /// Our metadata.
    pub metadata: Value,
    /// How often it was edited.
    pub edits: usize,
}

/// A signed button click, as Slack would post it to us.
#[derive(Clone, Debug)]
pub struct Click {
    /// `X-Slack-Request-Timestamp`.
    pub timestamp: String,
    /// `X-Slack-Signature`.
    pub signature: String,
    /// The form.
    pub body: String,
}

struct World {
    clock: Clock,
    url: String,
    channels: BTreeMap<String, Channel>,
    people: Vec<String>,
    troubles: BTreeMap<String, VecDeque<Trouble>>,
    calls: Vec<String>,
    answers: Vec<Value>,
    surprises: Vec<String>,
    serial: u64,
    /// Scopes of the token, as Slack lists them with every answer.
    scopes: String,
}

#[derive(Default)]
struct Channel {
    name: String,
    archived: bool,
    without_us: bool,
    messages: Vec<Message>,
    /// Tokens left, and when they were counted, seconds.
    bucket: Option<(f64, f64)>,
}

impl Slack {
    /// A workspace whose only member is the app.
    pub async fn start(clock: Clock) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(World {
            clock,
            url: url.clone(),
            channels: BTreeMap::new(),
            people: vec![],
            troubles: BTreeMap::new(),
            calls: vec![],
            answers: vec![],
            surprises: vec![],
            serial: 0,
            scopes: SCOPES.to_owned(),
        }));
        let app = Router::new()
            .route("/api/{method}", any(call))
            .route("/response/{user}", any(respond))
            .with_state(Arc::clone(&state));
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { api_url: format!("{url}/api/"), state }
    }

    /// Adds a channel with the app in it; its id.
    pub fn channel(&self, name: &str) -> String {
        self.add(name, Channel::default())
    }

    /// Adds a channel without the app; its id.
    pub fn channel_without_us(&self, name: &str) -> String {
        self.add(name, Channel { without_us: true, ..Channel::default() })
    }

    fn add(&self, name: &str, channel: Channel) -> String {
        let mut world = self.state.lock().unwrap();
        let id = format!("C{:07}", world.channels.len() + 1);
        world.channels.insert(id.clone(), Channel { name: name.to_owned(), ..channel });
        id
    }

    /// Adds a person.
    pub fn person(&self, id: &str) {
        self.state.lock().unwrap().people.push(id.to_owned());
    }

    /// The app has only these scopes.
    pub fn grants(&self, scopes: &str) {
        scopes.clone_into(&mut self.state.lock().unwrap().scopes);
    }

    /// Archives a channel.
    pub fn archive(&self, channel: &str) {
        self.state.lock().unwrap().channels.get_mut(channel).unwrap().archived = true;
    }

    /// Brings an archived channel back.
    pub fn restore(&self, channel: &str) {
        self.state.lock().unwrap().channels.get_mut(channel).unwrap().archived = false;
    }

    /// Deletes a message, as a person may.
    pub fn delete(&self, channel: &str, ts: &str) {
        let mut world = self.state.lock().unwrap();
        world.channels.get_mut(channel).unwrap().messages.retain(|message| message.ts != ts);
    }

    /// Makes the next call of a method fail; several queue up.
    pub fn next(&self, method: &str, trouble: Trouble) {
        let mut world = self.state.lock().unwrap();
        world.troubles.entry(method.to_owned()).or_default().push_back(trouble);
    }

    /// All messages of a channel (an id, or a person's id for the direct one), oldest first.
    pub fn messages(&self, channel: &str) -> Vec<Message> {
        let world = self.state.lock().unwrap();
        let id = methods::direct(channel);
        world.channels.get(&id).map(|c| c.messages.clone()).unwrap_or_default()
    }

    /// The methods called so far.
    pub fn calls(&self) -> Vec<String> {
        self.state.lock().unwrap().calls.clone()
    }

    /// What was posted to clickers' response URLs.
    pub fn answers(&self) -> Vec<Value> {
        self.state.lock().unwrap().answers.clone()
    }

    /// A person clicks a button, or chooses from a menu, that is really on the message.
    pub fn click(&self, channel: &str, ts: &str, user: &str, verb: &str) -> Click {
        let mut world = self.state.lock().unwrap();
        let message = world.channels[channel].messages.iter().find(|m| m.ts == ts).unwrap();
        let elements = message.blocks.as_array().unwrap().iter().filter(|b| b["type"] == "actions");
        let mut elements = elements.flat_map(|block| block["elements"].as_array().unwrap());
        let action = elements.find_map(|element| action(element, verb));
        let mut action = action.unwrap_or_else(|| panic!("no button {verb} on {ts}"));
        world.serial += 1;
        action["action_ts"] =
            json!(format!("{}.{:06}", world.clock.now().as_second(), world.serial));
        let payload = json!({
            "type": "block_actions", "api_app_id": "A1", "trigger_id": "1.2.3",
            "user": {"id": user, "username": "x", "team_id": "T1"}, "team": {"id": "T1"},
            "container": {"type": "message", "message_ts": ts, "channel_id": channel, "is_ephemeral": false},
            "channel": {"id": channel, "name": "x"}, "actions": [action],
            "response_url": format!("{}/response/{user}", world.url),
        });
        let body =
            format!("payload={}", utf8_percent_encode(&payload.to_string(), NON_ALPHANUMERIC));
        let timestamp = world.clock.now().as_second().to_string();
        let mut mac = Hmac::<Sha256>::new_from_slice(SIGNING_SECRET.as_bytes()).unwrap();
        mac.update(format!("v0:{timestamp}:{body}").as_bytes());
        let digest = mac.finalize().into_bytes();
        let hex = digest.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        Click { timestamp, signature: format!("v0={hex}"), body }
    }

    /// Fails when a call did what a correct client never does; so does dropping the fake.
    pub fn assert_no_surprises(&self) {
        let surprises = std::mem::take(&mut self.state.lock().unwrap().surprises);
        assert!(surprises.is_empty(), "Slack was surprised: {surprises:#?}");
    }
}

impl Drop for Slack {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.assert_no_surprises();
        }
    }
}

fn action(element: &Value, verb: &str) -> Option<Value> {
    if element["action_id"] == verb {
        return Some(json!({
            "type": "button", "action_id": verb, "block_id": "b", "value": element["value"], "text": element["text"],
        }));
    }
    let options = element["options"].as_array()?;
    let option = options
        .iter()
        .find(|o| o["value"].as_str().is_some_and(|v| v.ends_with(&format!(":{verb}"))))?;
    Some(json!({
        "type": "static_select", "action_id": element["action_id"], "block_id": "b", "selected_option": option,
    }))
}

async fn call(
    State(state): State<Arc<Mutex<World>>>,
    Path(method): Path<String>,
    verb: Method,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: String,
) -> Response {
    let (answer, trouble, scopes) = {
        let mut world = state.lock().unwrap();
        world.calls.push(method.clone());
        let trouble = world.troubles.get_mut(&method).and_then(VecDeque::pop_front);
        match trouble {
            Some(Trouble::Limited(after)) => return limited(after),
            Some(Trouble::Says(error)) => return says(error),
            Some(Trouble::Html502) => return bad_gateway(),
            Some(Trouble::DoneThenHtml502 | Trouble::DoneThenBroken | Trouble::DoneThenSilence)
            | None => {}
        }
        let request = methods::Request {
            verb: &verb,
            query: query.as_deref(),
            headers: &headers,
            body: &body,
        };
        (world.answer(&method, &request), trouble, world.scopes.clone())
    };
    match trouble {
        Some(Trouble::DoneThenHtml502) => bad_gateway(),
        Some(Trouble::DoneThenBroken) => {
            let broken = stream::iter([Ok("{\"ok\""), Err(std::io::Error::other("cut off"))]);
            Response::builder().body(Body::from_stream(broken)).unwrap()
        }
        Some(Trouble::DoneThenSilence) => std::future::pending().await,
        Some(Trouble::Limited(_) | Trouble::Says(_) | Trouble::Html502) | None => match answer {
            Ok(mut body) => {
                body["ok"] = json!(true);
                ([("x-oauth-scopes", scopes)], axum::Json(body)).into_response()
            }
            Err(methods::Refusal::Says(error)) => says(&error),
            Err(methods::Refusal::Limited) => limited(1),
        },
    }
}

async fn respond(
    State(state): State<Arc<Mutex<World>>>,
    Path(user): Path<String>,
    body: String,
) -> &'static str {
    let mut body: Value = serde_json::from_str(&body).unwrap();
    body["user"] = json!(user);
    state.lock().unwrap().answers.push(body);
    "ok"
}

fn says(error: &str) -> Response {
    axum::Json(json!({"ok": false, "error": error})).into_response()
}

fn limited(after: u64) -> Response {
    let headers = [("retry-after", after.to_string())];
    (StatusCode::TOO_MANY_REQUESTS, headers, r#"{"ok":false,"error":"ratelimited"}"#)
        .into_response()
}

fn bad_gateway() -> Response {
    (StatusCode::BAD_GATEWAY, "<html><h1>502 Bad Gateway</h1></html>").into_response()
}
