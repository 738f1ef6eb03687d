//! A Matrix homeserver: one room for cards, direct rooms that we make, transactions, edits, threads. What a correct client never
//! asks fails the run.

use std::{collections::BTreeMap, time::Duration};

use paramedic::clients::http::{Request, Response};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::slack::says;

pub const HOST: &str = "matrix.sim";
/// Where cards go.
pub const ROOM: &str = "!ops:matrix.sim";
const ME: &str = "@paramedic:matrix.sim";
/// Messages to one room at once, then one in two seconds.
const BURST: f64 = 15.0;

/// A message with its edits applied.
#[derive(Clone, Debug)]
pub struct Message {
    pub room: String,
    pub id: String,
    pub thread: Option<String>,
    /// Its newest content.
    pub body: String,
}

#[derive(Default)]
struct Room {
    creation: Value,
    made: u64,
    person: String,
    bucket: Option<(f64, Duration)>,
}

#[derive(Default)]
pub struct Matrix {
    rooms: BTreeMap<String, Room>,
    account_data: BTreeMap<String, Value>,
    transactions: BTreeMap<String, String>,
    pub messages: Vec<Message>,
    count: u64,
}

type Answer = Result<Value, (u16, &'static str, &'static str)>;

const NOT_FOUND: (u16, &str, &str) = (404, "M_NOT_FOUND", "Event not found.");

impl Matrix {
    pub fn answer(&mut self, request: &Request, now: Duration) -> Response {
        let path = request.url.path().strip_prefix("/_matrix/client/").unwrap();
        assert!(!path.contains(['!', '@', ':', '$']), "a path that is not encoded: {path}");
        let parts: Vec<String> = path
            .split('/')
            .map(|part| percent_decode_str(part).decode_utf8().unwrap().into_owned())
            .collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let body = request.body.as_deref().map(|body| serde_json::from_slice(body).unwrap());
        let body: Value = body.unwrap_or(Value::Null);
        self.rooms.entry(ROOM.to_owned()).or_default();
        match self.route(request.method.as_str(), &parts, &body, now) {
            Ok(body) => says(200, None, &body),
            Err((status, code, text)) => {
                let mut body = json!({"errcode": code, "error": text});
                if status == 429 {
                    body["retry_after_ms"] = json!(2_000);
                }
                says(status, None, &body)
            }
        }
    }

    fn route(&mut self, method: &str, parts: &[&str], body: &Value, now: Duration) -> Answer {
        match (method, parts) {
            ("GET", ["v3", "account", "whoami"]) => Ok(json!({"user_id": ME})),
            ("PUT", ["v3", "rooms", room, "send", "m.room.message", transaction]) => {
                self.send(room, transaction, body, now)
            }
            ("GET", ["v3", "rooms", room, "state", "m.room.encryption", ""]) => {
                self.joined(room)?;
                Err(NOT_FOUND)
            }
            ("GET", ["v3", "rooms", room, "state", "m.room.create", ""]) => {
                let room = self.joined(room)?;
                Ok(
                    json!({"type": "m.room.create", "sender": ME, "content": room.creation, "origin_server_ts": room.made}),
                )
            }
            ("GET", ["v3", "rooms", room, "state", "m.room.member", user]) => {
                let room = self.joined(room)?;
                if room.person == *user {
                    Ok(json!({"membership": "invite"}))
                } else {
                    Err(NOT_FOUND)
                }
            }
            ("GET", ["v3", "joined_rooms"]) => {
                Ok(json!({"joined_rooms": self.rooms.keys().collect::<Vec<_>>()}))
            }
            ("POST", ["v3", "createRoom"]) => {
                assert_eq!(body["is_direct"], true);
                self.count += 1;
                // Their order says nothing of their age.
                let id =
                    format!("!d{:x}:matrix.sim", self.count.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                let person = body["invite"][0].as_str().unwrap().to_owned();
                let creation = body["creation_content"].clone();
                let room = Room { creation, person, made: self.count, ..Room::default() };
                self.rooms.insert(id.clone(), room);
                Ok(json!({ "room_id": id }))
            }
            ("GET", ["v3", "user", ME, "account_data", kind]) => {
                self.account_data.get(*kind).cloned().ok_or(NOT_FOUND)
            }
            ("PUT", ["v3", "user", ME, "account_data", kind]) => {
                self.account_data.insert((*kind).to_owned(), body.clone());
                Ok(json!({}))
            }
            other => panic!("nobody prepared {other:?} of Matrix"),
        }
    }

    fn joined(&mut self, room: &str) -> Result<&mut Room, (u16, &'static str, &'static str)> {
        self.rooms.get_mut(room).ok_or((403, "M_FORBIDDEN", "not in this room"))
    }

    fn send(&mut self, room: &str, transaction: &str, content: &Value, now: Duration) -> Answer {
        self.joined(room)?;
        let place = format!("{room} {transaction}");
        if let Some(event) = self.transactions.get(&place) {
            return Ok(json!({ "event_id": event }));
        }
        let of = self.joined(room)?;
        let (left, at) = of.bucket.unwrap_or((BURST, now));
        let left = (left + now.saturating_sub(at).as_secs_f64() / 2.0).min(BURST);
        of.bucket = Some((left.max(1.0) - 1.0, now));
        if left < 1.0 {
            of.bucket = Some((left, now));
            return Err((429, "M_LIMIT_EXCEEDED", "Too Many Requests"));
        }
        assert!(content["m.mentions"].is_object() && content["body"].is_string(), "{content}");
        let relation = &content["m.relates_to"];
        let target = relation["event_id"].as_str();
        let known = |id: &str| self.messages.iter().position(|m| m.id == id && m.room == room);
        self.count += 1;
        let id = format!("$e{}", self.count);
        match (relation["rel_type"].as_str(), target.and_then(known)) {
            (Some("m.replace"), Some(original)) => {
                let newest = content["m.new_content"]["body"].as_str().unwrap();
                newest.clone_into(&mut self.messages[original].body);
            }
            (Some(_), None) => {
                return Err((400, "M_UNKNOWN", "Can't send relation to unknown event"));
            }
            (kind, top) => {
                assert!(matches!(kind, None | Some("m.thread")), "{content}");
                let thread = top.map(|top| self.messages[top].id.clone());
                let body = content["body"].as_str().unwrap().to_owned();
                let message = Message { room: room.to_owned(), id: id.clone(), thread, body };
                self.messages.push(message);
            }
        }
        self.transactions.insert(place, id.clone());
        Ok(json!({ "event_id": id }))
    }
}
