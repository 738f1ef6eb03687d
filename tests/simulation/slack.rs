//! A Slack workspace: channels, direct channels, threads, edits, our metadata. It has no idempotency key: what comes twice
//! stands there twice. What a correct client never asks fails the run.

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use paramedic::clients::http::{HeaderMap, Request, Response};
use serde_json::{Value, json};

pub const HOST: &str = "slack.sim";
/// Where cards go.
pub const CHANNEL: &str = "C0SIMOPS";
/// Whom we may write to.
const PEOPLE: [&str; 1] = ["U0RAJPATEL"];
/// Messages to one channel at once, then one a second.
const BURST: f64 = 5.0;

/// A message as people see it.
#[derive(Clone, Debug)]
pub struct Message {
    pub at: Duration,
    pub ts: String,
    pub thread: Option<String>,
    /// Its key when it was posted; an edit has another one.
    pub key: String,
    /// Of its newest content.
    pub revision: Option<i64>,
    pub incident: String,
    pub text: String,
}

#[derive(Default)]
struct Channel {
    messages: Vec<Message>,
    /// Tokens left, and when they were counted.
    bucket: Option<(f64, Duration)>,
}

#[derive(Default)]
pub struct Slack {
    channels: BTreeMap<String, Channel>,
    serial: u64,
}

type Answer = Result<Value, &'static str>;

impl Slack {
    pub fn messages(&self) -> impl Iterator<Item = &Message> {
        self.channels.values().flat_map(|channel| &channel.messages)
    }

    /// The Web API; `epoch` is when the run began.
    pub fn answer(&mut self, request: &Request, now: Duration, epoch: Timestamp) -> Response {
        let body: Value = match &request.body {
            Some(body) => serde_json::from_slice(body).unwrap(),
            None => request
                .url
                .query_pairs()
                .into_owned()
                .collect::<BTreeMap<_, _>>()
                .into_iter()
                .map(|(n, v)| (n, json!(v)))
                .collect(),
        };
        let method = request.url.path().strip_prefix("/api/").unwrap();
        let answer = match (request.method.as_str(), method) {
            ("POST", "chat.postMessage") => self.post(&body, now, epoch),
            ("POST", "chat.update") => self.update(&body, now),
            ("POST", "conversations.open") => open(&body),
            ("GET", "conversations.history" | "conversations.replies") => Ok(self.read(&body)),
            other => panic!("nobody prepared {other:?} of Slack"),
        };
        match answer {
            Ok(mut body) => {
                body["ok"] = json!(true);
                says(200, None, &body)
            }
            Err("429") => says(429, Some(1), &json!({"ok": false, "error": "ratelimited"})),
            Err(error) => says(200, None, &json!({"ok": false, "error": error})),
        }
    }

    fn spend(&mut self, channel: &str, now: Duration) -> Result<&mut Channel, &'static str> {
        let channel = self.channels.entry(channel.to_owned()).or_default();
        let (left, at) = channel.bucket.unwrap_or((BURST, now));
        let left = (left + now.saturating_sub(at).as_secs_f64()).min(BURST);
        if left < 1.0 {
            channel.bucket = Some((left, now));
            return Err("429");
        }
        channel.bucket = Some((left - 1.0, now));
        Ok(channel)
    }

    fn post(&mut self, body: &Value, now: Duration, epoch: Timestamp) -> Answer {
        let place = body["channel"].as_str().unwrap();
        let id = place_of(place)?;
        let (key, content) = content(body);
        self.serial += 1;
        let second = (epoch + SignedDuration::try_from(now).unwrap()).as_second();
        let ts = format!("{second}.{:06}", self.serial);
        let thread = body["thread_ts"].as_str().map(str::to_owned);
        let channel = self.spend(&id, now)?;
        if let Some(thread) = &thread {
            let parent = channel.messages.iter().find(|m| m.ts == *thread);
            let parent = parent.ok_or("thread_not_found")?;
            assert!(parent.thread.is_none(), "a reply to a reply: {body}");
        }
        channel.messages.push(Message { at: now, ts: ts.clone(), thread, key, ..content });
        Ok(json!({"channel": id, "ts": ts, "message": {"type": "message"}}))
    }

    fn update(&mut self, body: &Value, now: Duration) -> Answer {
        let id = body["channel"].as_str().unwrap();
        assert_eq!(place_of(id).as_deref(), Ok(id), "an edit names a channel's id");
        let (_, content) = content(body);
        let channel = self.spend(id, now)?;
        let ts = body["ts"].as_str().unwrap();
        let message =
            channel.messages.iter_mut().find(|m| m.ts == ts).ok_or("message_not_found")?;
        (message.revision, message.text) = (content.revision, content.text);
        Ok(json!({"channel": id, "ts": ts}))
    }

    /// A channel's messages, newest first, or a thread's, oldest first.
    fn read(&self, body: &Value) -> Value {
        let text = |name: &str| body[name].as_str();
        let limit: usize = text("limit").unwrap().parse().unwrap();
        assert!(
            (1..=999).contains(&limit) && text("include_all_metadata") == Some("true"),
            "{body}"
        );
        let messages = self.channels.get(text("channel").unwrap());
        let messages = messages.map_or(&[][..], |channel| &channel.messages);
        let wanted = |m: &&Message| match text("ts") {
            Some(ts) => m.ts == ts || m.thread.as_deref() == Some(ts),
            None => m.thread.is_none(),
        };
        let mut found: Vec<&Message> = messages.iter().filter(wanted).collect();
        if text("ts").is_none() {
            found.reverse();
        }
        let shown = found.iter().take(limit).map(|m| {
            let payload = json!({"key": m.key});
            json!({"type": "message", "ts": m.ts, "text": m.text,
                   "metadata": {"event_type": "paramedic", "event_payload": payload}})
        });
        json!({"messages": shown.collect::<Vec<_>>(), "has_more": found.len() > limit})
    }
}

fn open(body: &Value) -> Answer {
    let id = place_of(body["users"].as_str().unwrap())?;
    Ok(json!({"channel": {"id": id}}))
}

/// The id behind a channel or a person.
fn place_of(name: &str) -> Result<String, &'static str> {
    let direct = |person: &str| format!("D{}", &person[1..]);
    match PEOPLE.iter().find(|person| name == **person || name == direct(person)) {
        Some(person) => Ok(direct(person)),
        None if name == CHANNEL => Ok(name.to_owned()),
        None => Err("channel_not_found"),
    }
}

/// Its key, and what is shown.
fn content(body: &Value) -> (String, Message) {
    let text = body["text"].as_str().unwrap();
    assert!(
        !text.is_empty() && body["blocks"].as_array().is_some_and(|all| all.len() <= 50),
        "{body}"
    );
    assert_eq!(body["metadata"]["event_type"], "paramedic");
    let payload = &body["metadata"]["event_payload"];
    let content = Message {
        at: Duration::ZERO,
        ts: String::new(),
        thread: None,
        key: String::new(),
        revision: payload["revision"].as_i64(),
        incident: payload["incident"].as_str().unwrap_or_default().to_owned(),
        text: format!("{text} {}", body["blocks"]),
    };
    (payload["key"].as_str().unwrap().to_owned(), content)
}

/// An answer with JSON.
pub fn says(status: u16, after: Option<u64>, body: &Value) -> Response {
    let mut headers = HeaderMap::new();
    if let Some(after) = after {
        headers.insert("retry-after", after.into());
    }
    Response { status, headers, body: body.to_string().into_bytes(), cut: false }
}
