//! The endpoints a bot uses, and what they answer.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, State},
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::any,
};
use futures::stream;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::{BOT, Room, Server, TOKEN, Trouble, World, check, sync};

/// What an endpoint answers: JSON, or a status with code and words.
pub type Answer = Result<Value, (u16, &'static str, String)>;

pub fn router(server: Arc<Server>) -> Router {
    Router::new().route("/_matrix/client/{*path}", any(serve)).with_state(server)
}

async fn serve(
    State(server): State<Arc<Server>>,
    Path(_): Path<String>,
    uri: Uri,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let raw = uri.path().trim_start_matches("/_matrix/client/");
    // Split before decoding: an encoded slash belongs to its part.
    let parts: Vec<String> = raw
        .split('/')
        .map(|part| percent_decode_str(part).decode_utf8().unwrap().into_owned())
        .collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    {
        let mut world = server.world.lock().unwrap();
        world.requests.push(format!("{method} /{}", parts.join("/")));
        if raw.contains(['!', '#', '@', ':', '$']) {
            world.surprises.push(format!("a path that is not encoded: {raw}"));
        }
    }
    match headers.get("authorization").map(|value| value.to_str().unwrap()) {
        None => return refused(401, "M_MISSING_TOKEN", "Missing access token"),
        Some(auth) if auth != format!("Bearer {TOKEN}") => {
            return refused(401, "M_UNKNOWN_TOKEN", "Invalid access token passed.");
        }
        Some(_) => {}
    }
    let json: Value = match (body.is_empty(), serde_json::from_slice(&body)) {
        (true, _) => Value::Null,
        (false, Ok(json)) => json,
        (false, Err(_)) => return refused(400, "M_NOT_JSON", "Content not JSON."),
    };
    if method == Method::GET && parts == ["v3", "sync"] {
        return reply(sync::sync(&server, uri.query().unwrap_or("")).await);
    }
    let mut world = server.world.lock().unwrap();
    if let ["v3", "rooms", room, "send", kind, transaction] = parts[..]
        && method == Method::PUT
    {
        let trouble = world.troubles.pop_front();
        let answer = send(&mut world, room, kind, transaction, &json, trouble);
        drop(world);
        server.news.notify_waiters();
        return answer;
    }
    reply(world.route(&method, &parts, uri.query().unwrap_or(""), &json))
}

fn send(
    world: &mut World,
    room: &str,
    kind: &str,
    transaction: &str,
    content: &Value,
    trouble: Option<Trouble>,
) -> Response {
    match trouble {
        Some(Trouble::Limited(header, field)) => {
            let mut body = json!({"errcode": "M_LIMIT_EXCEEDED", "error": "Too Many Requests"});
            if let Some(ms) = field {
                body["retry_after_ms"] = json!(ms);
            }
            let mut answer = (StatusCode::TOO_MANY_REQUESTS, axum::Json(body)).into_response();
            if let Some(seconds) = header {
                answer.headers_mut().insert("retry-after", seconds.into());
            }
            return answer;
        }
        Some(Trouble::Refused(status, code)) => return refused(status, code, "refused"),
        Some(Trouble::Html502) => return html(StatusCode::BAD_GATEWAY),
        Some(Trouble::DoneThenHtml504 | Trouble::DoneThenBroken) | None => {}
    }
    let answer = world.send(room, kind, transaction, content);
    match trouble {
        Some(Trouble::DoneThenHtml504) => html(StatusCode::GATEWAY_TIMEOUT),
        Some(Trouble::DoneThenBroken) => {
            let broken = stream::iter([Ok("{\"event"), Err(std::io::Error::other("cut off"))]);
            Response::builder().body(Body::from_stream(broken)).unwrap()
        }
        Some(Trouble::Limited(..) | Trouble::Refused(..) | Trouble::Html502) | None => {
            reply(answer)
        }
    }
}

impl World {
    fn route(&mut self, method: &Method, parts: &[&str], query: &str, body: &Value) -> Answer {
        match (method.as_str(), parts) {
            ("GET", ["v3", "account", "whoami"]) => {
                Ok(json!({"user_id": BOT, "is_guest": false, "device_id": "DEVICE"}))
            }
            ("GET", ["v3", "directory", "room", alias]) => {
                let found = self.rooms.iter().find(|(_, room)| room.alias == *alias);
                let (id, _) = found.ok_or_else(|| not_found("Room alias not found"))?;
                Ok(json!({"room_id": id, "servers": ["test"]}))
            }
            ("POST", ["v3", "join", room]) => self.join(room),
            ("GET", ["v3", "rooms", room, "state", "m.room.encryption", ""]) => {
                self.joined(room)?;
                if self.rooms[*room].encrypted {
                    Ok(json!({"algorithm": "m.megolm.v1.aes-sha2"}))
                } else {
                    Err(not_found("Event not found."))
                }
            }
            ("GET", ["v3", "rooms", room, "state", "m.room.create", ""]) => {
                self.joined(room)?;
                let Room { creator, creation, .. } = &self.rooms[*room];
                if query != "format=event" {
                    return Ok(creation.clone());
                }
                Ok(json!({"type": "m.room.create", "sender": creator, "content": creation}))
            }
            ("GET", ["v3", "joined_rooms"]) => {
                let joined = self.rooms.iter().filter(|(_, r)| r.members.get(BOT) == Some(&"join"));
                let joined: Vec<&String> = joined.map(|(id, _)| id).collect();
                Ok(json!({ "joined_rooms": joined }))
            }
            ("GET", ["v3", "rooms", room, "state", "m.room.power_levels", ""]) => {
                self.joined(room)?;
                Ok(json!({"users_default": 0, "events_default": self.rooms[*room].power}))
            }
            ("GET", ["v3", "rooms", room, "state", "m.room.member", user]) => {
                self.joined(room)?;
                let membership = self.rooms[*room].members.get(*user);
                let membership = membership.ok_or_else(|| not_found("Event not found."))?;
                Ok(json!({"membership": membership}))
            }
            ("GET", ["v3", "rooms", room, "messages"]) => {
                self.joined(room)?;
                Ok(sync::messages(self, room, query))
            }
            ("POST", ["v3", "createRoom"]) => Ok(self.create(body)),
            ("GET", ["v3", "user", BOT, "account_data", kind]) => self
                .account_data
                .get(*kind)
                .cloned()
                .ok_or_else(|| not_found("Account data not found")),
            ("PUT", ["v3", "user", BOT, "account_data", _]) if self.unrecorded > 0 => {
                self.unrecorded -= 1;
                Err((500, "M_UNKNOWN", "Internal server error".to_owned()))
            }
            ("PUT", ["v3", "user", BOT, "account_data", kind]) => {
                self.account_data.insert((*kind).to_owned(), body.clone());
                Ok(json!({}))
            }
            _ => {
                self.surprises.push(format!("no endpoint {method} {}", parts.join("/")));
                Err((404, "M_UNRECOGNIZED", "Unrecognized request".to_owned()))
            }
        }
    }

    fn joined(&self, room: &str) -> Result<(), (u16, &'static str, String)> {
        let member = self.rooms.get(room).and_then(|room| room.members.get(BOT));
        if member == Some(&"join") {
            return Ok(());
        }
        Err((403, "M_FORBIDDEN", format!("User {BOT} not in room {room}")))
    }

    fn join(&mut self, room: &str) -> Answer {
        let known = self.rooms.get_mut(room).filter(|room| room.members.get(BOT) != Some(&"leave"));
        let known =
            known.ok_or((403, "M_FORBIDDEN", "You are not invited to this room.".to_owned()))?;
        known.members.insert(BOT.to_owned(), "join");
        Ok(json!({"room_id": room}))
    }

    fn create(&mut self, body: &Value) -> Value {
        if body["is_direct"] != true {
            self.surprises.push("a room that is not direct".to_owned());
        }
        let invited = body["invite"][0].as_str().unwrap().to_owned();
        let id = self.add_room("", [(BOT.to_owned(), "join"), (invited, "invite")]);
        let room = self.rooms.get_mut(&id).unwrap();
        (room.creator, room.creation) = (BOT.to_owned(), body["creation_content"].clone());
        json!({"room_id": id})
    }

    fn send(&mut self, room: &str, kind: &str, transaction: &str, content: &Value) -> Answer {
        self.joined(room)?;
        let place = format!("{room} {kind} {transaction}");
        if let Some(event) = self.transactions.get(&place) {
            return Ok(json!({"event_id": event}));
        }
        if content.to_string().len() > 64_000 {
            self.surprises.push("an event over the limit".to_owned());
            return Err((413, "M_TOO_LARGE", "event too large".to_owned()));
        }
        match check::relation(&self.rooms[room].events, content) {
            Ok(()) => {}
            Err(check::Wrong::Unknown) => {
                return Err((400, "M_UNKNOWN", "Can't send relation to unknown event".to_owned()));
            }
            Err(check::Wrong::Invalid(why)) => {
                self.surprises.push(why.clone());
                return Err((400, "M_UNKNOWN", why));
            }
        }
        if let Err(why) = check::message(content) {
            self.surprises.push(why);
        }
        let event = self.append(room, BOT, kind, content.clone());
        self.transactions.insert(place, event.clone());
        Ok(json!({"event_id": event}))
    }
}

fn not_found(text: &str) -> (u16, &'static str, String) {
    (404, "M_NOT_FOUND", text.to_owned())
}

fn reply(answer: Answer) -> Response {
    match answer {
        Ok(body) => axum::Json(body).into_response(),
        Err((status, code, text)) => refused(status, code, &text),
    }
}

fn refused(status: u16, code: &str, text: &str) -> Response {
    let body = json!({"errcode": code, "error": text});
    (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response()
}

fn html(status: StatusCode) -> Response {
    (status, "<html><h1>proxy error</h1></html>").into_response()
}
