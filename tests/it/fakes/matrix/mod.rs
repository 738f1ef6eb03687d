//! A Matrix homeserver: rooms, transactions, edits, threads, reactions, sync, and the ways it fails.
//!
//! It answers as Synapse does (the shapes are copied from recorded answers). What a correct client never does fails the
//! test: an edit of an edit, a thread under a reply, HTML that clients do not show, an unencoded room id, a message
//! without `m.mentions`.
#![allow(clippy::disallowed_methods, reason = "fake servers are spawned as they are")]

mod check;
mod routes;
mod sync;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use tokio::sync::Notify;

/// The bot's user id.
pub const BOT: &str = "@paramedic:test";
/// The bot's access token, of one device.
pub const TOKEN: &str = "syt_bot_device";

/// A running fake.
pub struct Matrix {
    /// `http://127.0.0.1:port`.
    pub url: String,
    server: Arc<Server>,
}

/// How the next send fails.
#[derive(Clone, Copy, Debug)]
pub enum Trouble {
    /// 429 with `Retry-After` (seconds) and `retry_after_ms`, as far as given.
    Limited(Option<u64>, Option<u64>),
    /// This status and error code; nothing is done.
    Refused(u16, &'static str),
    /// A proxy answers HTML 502; nothing is done.
    Html502,
    /// The event is stored, then a proxy answers HTML 504.
    DoneThenHtml504,
    /// The event is stored, then the answer breaks off.
    DoneThenBroken,
}

/// An event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its id.
    pub id: String,
    /// Who sent it.
    pub sender: String,
    /// Its type.
    pub kind: String,
    /// Its content.
    pub content: Value,
    /// Its place in the server's stream.
    position: usize,
}

/// A message with its edits applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// The original event's id.
    pub id: String,
    /// The newest content.
    pub content: Value,
    /// How often it was edited.
    pub edits: usize,
    /// The root of its thread.
    pub thread: Option<String>,
}

#[derive(Default)]
struct Server {
    world: Mutex<World>,
    news: Notify,
}

#[derive(Default)]
struct World {
    rooms: BTreeMap<String, Room>,
    transactions: BTreeMap<String, String>,
    account_data: BTreeMap<String, Value>,
    troubles: VecDeque<Trouble>,
    /// So many writes of account data are refused.
    unrecorded: usize,
    requests: Vec<String>,
    surprises: Vec<String>,
    position: usize,
    /// Timelines longer than this are `limited` in a sync.
    max_timeline: usize,
}

#[derive(Default)]
struct Room {
    /// Power level that messages need.
    power: i64,
    alias: String,
    encrypted: bool,
    /// Who made it.
    creator: String,
    /// The content of its first event.
    creation: Value,
    /// User to `join`, `invite` or `leave`.
    members: BTreeMap<String, &'static str>,
    events: Vec<Event>,
}

impl Matrix {
    /// A server with the bot's account.
    pub async fn start() -> Self {
        let server = Arc::new(Server::default());
        server.world.lock().unwrap().max_timeline = usize::MAX;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = routes::router(Arc::clone(&server));
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, server }
    }

    /// A room with the bot in it; its id. Ids have no server part, as in rooms of version 12.
    pub fn room(&self, alias: &str) -> String {
        self.add(alias, "join")
    }

    /// A room the bot is invited to.
    pub fn invitation(&self, alias: &str) -> String {
        self.add(alias, "invite")
    }

    /// A room the bot cannot enter.
    pub fn closed_room(&self, alias: &str) -> String {
        self.add(alias, "leave")
    }

    fn add(&self, alias: &str, membership: &'static str) -> String {
        let mut world = self.server.world.lock().unwrap();
        world.add_room(alias, [(BOT.to_owned(), membership)])
    }

    /// Messages to a room need this power level from now on.
    pub fn needs_power(&self, room: &str, level: i64) {
        self.server.world.lock().unwrap().rooms.get_mut(room).unwrap().power = level;
    }

    /// Turns encryption on.
    pub fn encrypt(&self, room: &str) {
        self.server.world.lock().unwrap().rooms.get_mut(room).unwrap().encrypted = true;
    }

    /// A person leaves.
    pub fn leave(&self, room: &str, user: &str) {
        let mut world = self.server.world.lock().unwrap();
        world.rooms.get_mut(room).unwrap().members.insert(user.to_owned(), "leave");
    }

    /// Makes the next send fail; several queue up.
    pub fn next(&self, trouble: Trouble) {
        self.server.world.lock().unwrap().troubles.push_back(trouble);
    }

    /// Refuses the next writes of account data.
    pub fn records_nothing(&self, times: usize) {
        self.server.world.lock().unwrap().unrecorded = times;
    }

    /// A person makes a room with the bot in it, whose first event says this.
    pub fn room_of(&self, creator: &str, creation: Value) -> String {
        let mut world = self.server.world.lock().unwrap();
        let id = world.add_room("", [(BOT.to_owned(), "join"), (creator.to_owned(), "join")]);
        let room = world.rooms.get_mut(&id).unwrap();
        (room.creator, room.creation) = (creator.to_owned(), creation);
        id
    }

    /// Shortens the timelines of later syncs.
    pub fn limit_timelines(&self, max: usize) {
        self.server.world.lock().unwrap().max_timeline = max;
    }

    /// A person does something in a room; the event's id.
    pub fn event(&self, room: &str, sender: &str, kind: &str, content: Value) -> String {
        let id = self.server.world.lock().unwrap().append(room, sender, kind, content);
        self.server.news.notify_waiters();
        id
    }

    /// A person reacts.
    pub fn react(&self, room: &str, sender: &str, target: &str, key: &str) -> String {
        let relation = json!({"rel_type": "m.annotation", "event_id": target, "key": key});
        self.event(room, sender, "m.reaction", json!({"m.relates_to": relation}))
    }

    /// All rooms, oldest first.
    pub fn rooms(&self) -> Vec<String> {
        self.server.world.lock().unwrap().rooms.keys().cloned().collect()
    }

    /// All events of a room.
    pub fn events(&self, room: &str) -> Vec<Event> {
        self.server.world.lock().unwrap().rooms[room].events.clone()
    }

    /// The bot's messages as people see them.
    pub fn messages(&self, room: &str) -> Vec<Shown> {
        let events = self.events(room);
        let of_bot = events.iter().filter(|e| e.kind == "m.room.message" && e.sender == BOT);
        let is_edit = |e: &&Event| e.content["m.relates_to"]["rel_type"] == "m.replace";
        let originals = of_bot.clone().filter(|e| !is_edit(e));
        originals
            .map(|original| {
                let edits: Vec<_> = of_bot
                    .clone()
                    .filter(|e| {
                        is_edit(e) && e.content["m.relates_to"]["event_id"] == original.id.as_str()
                    })
                    .collect();
                let newest =
                    edits.last().map_or(&original.content, |e| &e.content["m.new_content"]);
                let relation = &original.content["m.relates_to"];
                let thread =
                    (relation["rel_type"] == "m.thread").then(|| relation["event_id"].as_str());
                Shown {
                    id: original.id.clone(),
                    content: newest.clone(),
                    edits: edits.len(),
                    thread: thread.flatten().map(str::to_owned),
                }
            })
            .collect()
    }

    /// `GET /v3/sync` and so on, in order.
    pub fn requests(&self) -> Vec<String> {
        self.server.world.lock().unwrap().requests.clone()
    }

    /// Fails when a call did what a correct client never does; so does dropping the fake.
    pub fn assert_no_surprises(&self) {
        let surprises = std::mem::take(&mut self.server.world.lock().unwrap().surprises);
        assert!(surprises.is_empty(), "Matrix was surprised: {surprises:#?}");
    }
}

impl Drop for Matrix {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.assert_no_surprises();
        }
    }
}

impl World {
    fn add_room<const N: usize>(
        &mut self,
        alias: &str,
        members: [(String, &'static str); N],
    ) -> String {
        let id = format!("!room{}_Jd-Hj6", self.rooms.len() + 1);
        let room = Room { alias: alias.to_owned(), members: members.into(), ..Room::default() };
        self.rooms.insert(id.clone(), room);
        id
    }

    fn append(&mut self, room: &str, sender: &str, kind: &str, content: Value) -> String {
        self.position += 1;
        let id = format!("$event{}", self.position);
        let (sender, kind) = (sender.to_owned(), kind.to_owned());
        let event = Event { id: id.clone(), sender, kind, content, position: self.position };
        self.rooms.get_mut(room).unwrap().events.push(event);
        id
    }
}
