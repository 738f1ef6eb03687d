//! `/sync` with filters, `since`, `limited` and long poll; `/messages` for what a sync left out.

use std::{collections::BTreeMap, time::Duration};

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::{BOT, Event, Room, Server, World, routes::Answer};

type Query = BTreeMap<String, String>;

pub async fn sync(server: &Server, query: &str) -> Answer {
    let query = parse(query);
    let filter: Value =
        query.get("filter").map_or(Value::Null, |f| serde_json::from_str(f).unwrap());
    let timeline = &filter["room"]["timeline"];
    {
        let mut world = server.world.lock().unwrap();
        if timeline["types"].as_array().is_none_or(|types| types.len() > 4)
            || filter["room"]["state"]["types"] != json!([])
            || filter["presence"]["types"] != json!([])
        {
            world.surprises.push(format!("a sync that is not filtered: {filter}"));
        }
    }
    let since = match query.get("since").map(|since| position(since, 's')) {
        Some(None) => return Err((400, "M_UNKNOWN", "Invalid stream token".to_owned())),
        Some(Some(since)) => Some(since),
        None => None,
    };
    let wait = query
        .get("timeout")
        .and_then(|t| t.parse().ok())
        .map_or(Duration::ZERO, Duration::from_millis);
    let deadline = tokio::time::Instant::now() + wait;
    loop {
        // Listening starts before looking, so that nothing falls between.
        let news = server.news.notified();
        let answer = server.world.lock().unwrap().sync(since, timeline);
        let is_empty = answer["rooms"]["join"].as_object().is_none_or(serde_json::Map::is_empty);
        if !is_empty || since.is_none() || tokio::time::timeout_at(deadline, news).await.is_err() {
            return Ok(answer);
        }
    }
}

impl World {
    fn sync(&self, since: Option<usize>, filter: &Value) -> Value {
        let max = filter["limit"].as_u64().map_or(10, |l| usize::try_from(l).unwrap());
        let max = max.min(self.max_timeline);
        let mut joined = serde_json::Map::new();
        for (id, room) in
            self.rooms.iter().filter(|(_, room)| room.members.get(BOT) == Some(&"join"))
        {
            let all = room.filtered(filter, since.unwrap_or(0), usize::MAX);
            if all.is_empty() {
                continue;
            }
            let shown = &all[all.len().saturating_sub(max)..];
            let before = shown.first().map_or(self.position, |e| e.position);
            joined.insert(
                id.clone(),
                json!({"timeline": {
                    "events": shown.iter().map(|e| raw(e)).collect::<Vec<_>>(),
                    "limited": shown.len() < all.len(), "prev_batch": format!("p{before}"),
                }}),
            );
        }
        json!({"next_batch": format!("s{}", self.position), "rooms": {"join": joined}})
    }
}

/// Events before `from` and after `to`, newest first.
pub fn messages(world: &mut World, room: &str, query: &str) -> Value {
    let query = parse(query);
    let text = |name: &str| query.get(name).map_or("", String::as_str);
    let filter: Value = serde_json::from_str(text("filter")).unwrap_or(Value::Null);
    let (from, to) = (position(text("from"), 'p'), position(text("to"), 's'));
    let limit: usize = text("limit").parse().unwrap_or(10);
    let (Some(from), Some(to)) = (from, to) else {
        world.surprises.push(format!("messages without bounds: {query:?}"));
        return json!({"chunk": []});
    };
    if text("dir") != "b" {
        world.surprises.push(format!("messages in the wrong direction: {query:?}"));
    }
    let all = world.rooms[room].filtered(&filter, to, from);
    // A server may answer less than was asked for; three make a client go on.
    let chunk: Vec<_> = all.iter().rev().take(limit.min(3)).collect();
    let mut answer =
        json!({"start": text("from"), "chunk": chunk.iter().map(|e| raw(e)).collect::<Vec<_>>()});
    if chunk.len() < all.len() {
        answer["end"] = json!(format!("p{}", chunk.last().unwrap().position));
    }
    answer
}

impl Room {
    fn filtered(&self, filter: &Value, after: usize, before: usize) -> Vec<&Event> {
        let has = |list: &Value, text: &str| {
            list.as_array().is_some_and(|all| all.iter().any(|v| v == text))
        };
        let inside = |e: &&Event| after < e.position && e.position < before;
        let wanted =
            |e: &&Event| has(&filter["types"], &e.kind) && !has(&filter["not_senders"], &e.sender);
        self.events.iter().filter(inside).filter(wanted).collect()
    }
}

fn raw(event: &Event) -> Value {
    json!({
        "event_id": event.id, "sender": event.sender, "type": event.kind, "content": event.content,
        "origin_server_ts": 1_795_409_013_000_usize + event.position, "unsigned": {"age": 54, "membership": "join"},
    })
}

fn position(token: &str, kind: char) -> Option<usize> {
    token.strip_prefix(kind)?.parse().ok()
}

fn parse(query: &str) -> Query {
    let decode = |text: &str| {
        percent_decode_str(&text.replace('+', " ")).decode_utf8().unwrap().into_owned()
    };
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (decode(name), decode(value))).collect()
}
