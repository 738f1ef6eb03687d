//! The methods of the Web API that a correct client uses.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, Method};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::{BURST, Channel, Message, TOKEN, World, blocks};

/// One call.
pub struct Request<'a> {
    pub verb: &'a Method,
    pub query: Option<&'a str>,
    pub headers: &'a HeaderMap,
    pub body: &'a str,
}

/// Why a call is refused.
pub enum Refusal {
    /// `ok: false`.
    Says(String),
    /// HTTP 429.
    Limited,
}

type Answer = Result<Value, Refusal>;

fn says(error: &str) -> Refusal {
    Refusal::Says(error.to_owned())
}

/// A person's direct channel; any other id is itself.
pub fn direct(id: &str) -> String {
    match id.strip_prefix('U') {
        Some(rest) => format!("D{rest}"),
        None => id.to_owned(),
    }
}

impl World {
    pub fn answer(&mut self, method: &str, request: &Request<'_>) -> Answer {
        match request.headers.get("authorization").map(|value| value.to_str().unwrap()) {
            None => return Err(says("not_authed")),
            Some(auth) if auth != format!("Bearer {TOKEN}") => return Err(says("invalid_auth")),
            Some(_) => {}
        }
        let is_read = matches!(
            method,
            "conversations.history" | "conversations.replies" | "users.conversations"
        );
        let arguments = if is_read && request.verb == Method::GET {
            parse_query(request.query.unwrap_or(""))
        } else if request.verb == Method::POST && request.query.is_none() {
            self.json(method, request)?
        } else {
            return Err(self.surprise(method, "wrong HTTP method", "invalid_post_type"));
        };
        match method {
            "auth.test" => {
                Ok(json!({"team": "Test", "user": "paramedic", "team_id": "T1", "user_id": "U1"}))
            }
            "chat.postMessage" => self.post(&arguments),
            "chat.update" => self.update(&arguments),
            "conversations.history" => self.history(&arguments),
            "conversations.replies" => self.replies(&arguments),
            "conversations.open" => self.open(&arguments),
            "users.conversations" => self.conversations(&arguments),
            _ => Err(self.surprise(method, "unknown method", "unknown_method")),
        }
    }

    fn surprise(&mut self, what: &str, why: &str, error: &str) -> Refusal {
        self.surprises.push(format!("{what}: {why}"));
        says(error)
    }

    fn json(&mut self, method: &str, request: &Request<'_>) -> Answer {
        let kind = request.headers.get("content-type").map_or("", |value| value.to_str().unwrap());
        if kind != "application/json; charset=utf-8" {
            return Err(self.surprise(method, "content type", "invalid_post_type"));
        }
        match serde_json::from_str::<Value>(request.body) {
            Ok(value) if value.is_object() => Ok(value),
            Ok(_) | Err(_) => Err(self.surprise(method, "body is no JSON object", "invalid_json")),
        }
    }

    fn known(&mut self, method: &str, arguments: &Value, known: &[&str]) -> Result<(), Refusal> {
        let unknown = arguments.as_object().unwrap().keys().find(|k| !known.contains(&k.as_str()));
        match unknown.cloned() {
            Some(key) => {
                Err(self.surprise(method, &format!("no argument {key}"), "invalid_arguments"))
            }
            None => Ok(()),
        }
    }

    /// Text, blocks and metadata of a post or an update.
    fn content(&mut self, method: &str, arguments: &Value) -> Result<(), Refusal> {
        let text = arguments["text"].as_str().unwrap_or("");
        if text.is_empty() {
            return Err(self.surprise(method, "no fallback text", "no_text"));
        }
        if text.encode_utf16().count() > 4_000 {
            return Err(self.surprise(method, "text over 4 000", "msg_too_long"));
        }
        if let Err(why) = blocks::escaped(text).and_then(|()| blocks::check(&arguments["blocks"])) {
            return Err(self.surprise(method, &why, "invalid_blocks"));
        }
        if arguments["parse"] != "none" || arguments["link_names"] != false {
            return Err(self.surprise(method, "names would be linked", "invalid_arguments"));
        }
        let metadata = &arguments["metadata"];
        if !metadata["event_type"].is_string() || !metadata["event_payload"].is_object() {
            return Err(self.surprise(method, "metadata", "invalid_metadata_format"));
        }
        Ok(())
    }

    /// Where a write goes: an id, a name, or a person.
    fn place(&mut self, name: &str) -> Result<&mut Channel, Refusal> {
        let id = self.id(name).ok_or_else(|| says("channel_not_found"))?;
        let now = self.clock.monotonic().as_secs_f64();
        let channel = self.channels.get_mut(&id).unwrap();
        if channel.archived {
            return Err(says("is_archived"));
        }
        if channel.without_us {
            return Err(says("not_in_channel"));
        }
        let (left, at) = channel.bucket.unwrap_or((BURST, now));
        let left = (left + now - at).min(BURST);
        let spent = if left < 1.0 { 0.0 } else { 1.0 };
        channel.bucket = Some((left - spent, now));
        if spent == 0.0 { Err(Refusal::Limited) } else { Ok(channel) }
    }

    fn id(&mut self, name: &str) -> Option<String> {
        if self.people.iter().any(|person| person == name) {
            let id = direct(name);
            self.channels.entry(id.clone()).or_default();
            return Some(id);
        }
        let bare = name.trim_start_matches('#');
        let found = self.channels.iter().find(|(id, channel)| *id == name || channel.name == bare);
        found.map(|(id, _)| id.clone())
    }

    fn post(&mut self, arguments: &Value) -> Answer {
        const METHOD: &str = "chat.postMessage";
        self.known(
            METHOD,
            arguments,
            &[
                "channel",
                "text",
                "blocks",
                "metadata",
                "thread_ts",
                "unfurl_links",
                "unfurl_media",
                "link_names",
                "parse",
            ],
        )?;
        self.content(METHOD, arguments)?;
        let name = arguments["channel"].as_str().unwrap_or("").to_owned();
        let id = self.id(&name).ok_or_else(|| says("channel_not_found"))?;
        self.serial += 1;
        let ts = format!("{}.{:06}", self.clock.now().as_second(), self.serial);
        let thread_ts = arguments["thread_ts"].as_str().map(str::to_owned);
        if let Some(thread) = &thread_ts {
            let parent = self.channels[&id].messages.iter().find(|message| message.ts == *thread);
            let is_reply = parent.ok_or_else(|| says("thread_not_found"))?.thread_ts.is_some();
            if is_reply {
                let why = "thread_ts names a reply";
                return Err(self.surprise(METHOD, why, "cannot_reply_to_message"));
            }
        }
        let channel = self.place(&name)?;
        channel.messages.push(Message {
            ts: ts.clone(),
            thread_ts,
            text: arguments["text"].as_str().unwrap().to_owned(),
            blocks: arguments["blocks"].clone(),
            metadata: arguments["metadata"].clone(),
            edits: 0,
        });
        Ok(json!({"channel": id, "ts": ts, "message": {"type": "message"}}))
    }

    fn update(&mut self, arguments: &Value) -> Answer {
        const METHOD: &str = "chat.update";
        self.known(
            METHOD,
            arguments,
            &["channel", "ts", "text", "blocks", "metadata", "link_names", "parse"],
        )?;
        self.content(METHOD, arguments)?;
        let (id, ts) = (arguments["channel"].as_str().unwrap_or(""), arguments["ts"].as_str());
        if !self.channels.contains_key(id) {
            return Err(self.surprise(METHOD, "needs a channel's id", "channel_not_found"));
        }
        let found = self
            .channels
            .get_mut(id)
            .unwrap()
            .messages
            .iter_mut()
            .find(|m| Some(m.ts.as_str()) == ts);
        let message = found.ok_or_else(|| says("message_not_found"))?;
        let actions = |blocks: &Value| {
            let all = blocks.as_array().unwrap().iter();
            all.filter_map(|b| b["block_id"].as_str().map(str::to_owned)).collect::<Vec<_>>()
        };
        let (before, after) = (actions(&message.blocks), actions(&arguments["blocks"]));
        let kept = before.iter().any(|block| after.contains(block))
            && message.blocks != arguments["blocks"];
        arguments["text"].as_str().unwrap().clone_into(&mut message.text);
        message.blocks = arguments["blocks"].clone();
        message.metadata = arguments["metadata"].clone();
        message.edits += 1;
        let answer = json!({"channel": id, "ts": message.ts, "text": message.text});
        if kept {
            return Err(self.surprise(
                METHOD,
                "a changed message keeps a block_id",
                "block_mismatch",
            ));
        }
        Ok(answer)
    }

    fn history(&mut self, arguments: &Value) -> Answer {
        self.look("conversations.history", arguments)?;
        let mut messages = self.window(arguments, |message| message.thread_ts.is_none())?;
        messages.reverse();
        Ok(page(&messages, arguments))
    }

    fn replies(&mut self, arguments: &Value) -> Answer {
        self.look("conversations.replies", arguments)?;
        let ts = arguments["ts"].as_str().unwrap_or("").to_owned();
        let of_thread =
            |message: &Message| message.ts == ts || message.thread_ts.as_ref() == Some(&ts);
        let messages = self.window(arguments, of_thread)?;
        if messages.is_empty() {
            return Err(says("thread_not_found"));
        }
        Ok(page(&messages, arguments))
    }

    /// One heavy read too many is as bad as none: each must be bounded, not by times of a clock that may be wrong, and ask for
    /// metadata.
    fn look(&mut self, method: &str, arguments: &Value) -> Result<(), Refusal> {
        self.known(method, arguments, &["channel", "ts", "limit", "include_all_metadata"])?;
        let limit: usize = arguments["limit"].as_str().and_then(|l| l.parse().ok()).unwrap_or(0);
        if !(1..=999).contains(&limit) || arguments["include_all_metadata"] != "true" {
            return Err(self.surprise(
                method,
                "an unbounded look, or one without metadata",
                "invalid_arguments",
            ));
        }
        Ok(())
    }

    fn window(
        &self,
        arguments: &Value,
        wanted: impl Fn(&Message) -> bool,
    ) -> Result<Vec<Message>, Refusal> {
        let id = arguments["channel"].as_str().unwrap_or("");
        let channel = self.channels.get(id).ok_or_else(|| says("channel_not_found"))?;
        Ok(channel.messages.iter().filter(|m| wanted(m)).cloned().collect())
    }

    fn open(&mut self, arguments: &Value) -> Answer {
        self.known("conversations.open", arguments, &["users"])?;
        let user = arguments["users"].as_str().unwrap_or("").to_owned();
        if !self.people.contains(&user) {
            return Err(says("user_not_found"));
        }
        let id = self.id(&user).unwrap();
        Ok(json!({"channel": {"id": id}}))
    }

    fn conversations(&mut self, arguments: &Value) -> Answer {
        self.known(
            "users.conversations",
            arguments,
            &["types", "exclude_archived", "limit", "cursor"],
        )?;
        // Slack may return fewer than asked for; two make a client follow the cursor.
        let from: usize = arguments["cursor"].as_str().map_or(0, |cursor| cursor.parse().unwrap());
        let ours: Vec<_> =
            self.channels.iter().filter(|(id, c)| id.starts_with('C') && !c.without_us).collect();
        let channels: Vec<_> = ours
            .iter()
            .skip(from)
            .take(2)
            .map(|(id, c)| json!({"id": id, "name": c.name}))
            .collect();
        let next = if from + 2 < ours.len() { (from + 2).to_string() } else { String::new() };
        Ok(json!({"channels": channels, "response_metadata": {"next_cursor": next}}))
    }
}

fn page(messages: &[Message], arguments: &Value) -> Value {
    let limit = arguments["limit"].as_str().unwrap().parse().unwrap();
    let shown: Vec<_> = messages
        .iter()
        .take(limit)
        .map(|m| json!({"type": "message", "ts": m.ts, "text": m.text, "metadata": m.metadata}))
        .collect();
    json!({"messages": shown, "has_more": messages.len() > limit})
}

fn parse_query(query: &str) -> Value {
    let decode = |text: &str| {
        percent_decode_str(&text.replace('+', " ")).decode_utf8().unwrap().into_owned()
    };
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    json!(pairs.map(|(name, value)| (decode(name), decode(value))).collect::<BTreeMap<_, _>>())
}
