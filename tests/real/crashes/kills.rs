//! kill -9 at any moment, under load from a real Alertmanager: every alert has its incident, every incident its card in a
//! room of a real homeserver, its page by Matrix and its page by webhook, each once.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use paramedic::{clients::http::Method, ops::clock::Clock};
use serde_json::{Value, json};

use super::{PATIENCE, fire};
use crate::{
    bed::{
        Bed,
        alertmanager::{Alertmanager, Receiver},
        daemon::Daemon,
        ports, until,
    },
    chat::Chat,
    webhook_receiver::WebhookReceiver,
};

const KEY: [u8; 32] = [9; 32];
/// Kills in a usual run; `PARAMEDIC_TEST_KILLS` asks for more.
const KILLS: u64 = 40;
/// A kill while the homeserver makes a room may cost one more; each kill would without its mark.
const DIRECT_ROOMS: usize = 3;

/// The same sequence in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

#[allow(clippy::disallowed_methods, reason = "whoever runs the story asks for more")]
fn kills() -> u64 {
    let asked = std::env::var("PARAMEDIC_TEST_KILLS").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(KILLS)
}

/// A homeserver with the bot, Ana and a room for cards with both.
struct Room {
    chat: Chat,
    bot: String,
    ana: String,
    id: String,
}

/// Ana's direct rooms, as far as she has looked.
#[derive(Default)]
struct Direct {
    rooms: Vec<String>,
    since: String,
}

impl Room {
    async fn start(bed: &Bed) -> Self {
        let chat = Chat::start(bed).await;
        let (bot, ana) = (chat.account("medic").await, chat.account("ana").await);
        let made = json!({ "preset": "private_chat", "invite": ["@ana:localhost"], "room_alias_name": "ops" });
        let made = chat.call(&bot, Method::POST, "createRoom", &made).await;
        let id = made["room_id"].as_str().unwrap().to_owned();
        chat.join(&ana, &id).await;
        Self { chat, bot, ana, id }
    }

    /// Cards by incident: events that are no edit and stand in no thread.
    async fn cards(&self) -> BTreeMap<String, usize> {
        counted(&self.chat.messages(&self.ana, &self.id).await)
    }

    /// Pages to Ana by incident, in all rooms that were made for her; she enters them when she looks.
    async fn pages(&self, direct: &mut Direct) -> BTreeMap<String, usize> {
        for room in self.chat.invitations(&self.ana, &mut direct.since).await {
            self.chat.join(&self.ana, &room).await;
            direct.rooms.push(room);
        }
        let mut all = vec![];
        for room in &direct.rooms {
            all.append(&mut self.chat.messages(&self.ana, room).await);
        }
        counted(&all)
    }
}

/// Original messages by the incident their headline names.
fn counted(messages: &[Value]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let originals = messages.iter().filter(|m| m["content"]["m.relates_to"].is_null());
    for message in originals {
        let body = message["content"]["body"].as_str().unwrap();
        let headline = body.lines().find(|line| line.contains(" · INC-")).unwrap();
        let incident = headline.rsplit(" · ").next().unwrap();
        *counts.entry(incident.to_owned()).or_default() += 1;
    }
    counts
}

/// One person, reached by Matrix and by a webhook whose receiver drops repeats of an id.
fn configuration(bed: &Bed, receiver: &WebhookReceiver, room: &Room) -> String {
    let people = format!(
        "people:\n  - {{ id: ana, name: Ana Lima, contacts: {{ webhook: '{}', matrix: '@ana:localhost' }}, notify: {{ default: [ {{ at: 0m, by: [webhook, matrix] }} ] }} }}\n\
         policies:\n  - {{ id: data, steps: [ {{ at: 0m, page: ['person:ana'] }} ], then: {{ page: ['person:ana'], every: 30m }} }}\n",
        receiver.url
    );
    let oncall = bed.file("paramedic/oncall.yaml", &people);
    let secret = bed.file("paramedic/secret", &format!("whsec_{}", STANDARD.encode(KEY)));
    let token = bed.file("paramedic/matrix-token", &room.bot);
    format!(
        "storm: {{ by: [] }}\ndefault_policy: data\noncall: {{ dir: '{}' }}\nwebhook: {{ secret: {{ file: '{}' }} }}\n\
         matrix: {{ homeserver: '{}', token: {{ file: '{}' }}, rate: 100/s, burst: 1000 }}\n\
         channels: {{ ops: {{ matrix: '#ops:localhost' }} }}",
        oncall.display(),
        secret.display(),
        room.chat.synapse.url,
        token.display(),
    )
}

/// Pages by webhook, by incident.
fn pages(receiver: &WebhookReceiver) -> BTreeMap<String, usize> {
    let mut pages = BTreeMap::new();
    for (_, event) in receiver.kept() {
        if event["type"] == "incident.page" {
            let incident = event["data"]["incident"].as_str().unwrap().to_owned();
            *pages.entry(incident).or_default() += 1;
        }
    }
    pages
}

/// Waits until the incidents are exactly those of the alerts; their ids.
async fn incidents(daemon: &Daemon, fired: &[String]) -> Vec<String> {
    let all = async || {
        let path = "/api/v1/incidents?status=all&limit=500";
        let items = daemon.call(Method::GET, path, &Value::Null).await;
        let items = items["items"].as_array().unwrap().clone();
        (items.len() >= fired.len()).then_some(items)
    };
    let all = until("every alert has its incident", PATIENCE, all).await;
    let of = |key: &str| {
        let mut all: Vec<String> =
            all.iter().map(|item| item[key].as_str().unwrap().to_owned()).collect();
        all.sort_unstable();
        all
    };
    let mut wanted: Vec<String> = fired.iter().map(|name| format!("{name} · spark-prod")).collect();
    wanted.sort();
    assert_eq!(of("title"), wanted, "one incident for each alert");
    of("id")
}

/// Waits until everybody has everything; then each is there once.
async fn ledger(
    kills: u64,
    daemon: &Daemon,
    fired: &[String],
    got: (&WebhookReceiver, &Room),
) -> String {
    let (receiver, room) = got;
    let incidents = incidents(daemon, fired).await;
    let once: BTreeMap<String, usize> = incidents.into_iter().map(|id| (id, 1)).collect();
    let all = |seen: &BTreeMap<_, _>| once.keys().all(|id| seen.contains_key(id)).then_some(());
    let mut direct = Direct::default();
    until("every incident is paged by webhook", PATIENCE, async || all(&pages(receiver))).await;
    let by_matrix = async || all(&room.pages(&mut direct).await);
    until("every incident is paged by Matrix", PATIENCE, by_matrix).await;
    until("every incident has its card", PATIENCE, async || all(&room.cards().await)).await;
    assert_eq!(pages(receiver), once, "pages by webhook");
    assert_eq!(room.pages(&mut direct).await, once, "pages by Matrix");
    assert_eq!(room.cards().await, once, "cards in the room");
    assert!(
        direct.rooms.len() <= DIRECT_ROOMS,
        "{} direct rooms with one person",
        direct.rooms.len()
    );
    let all = once.len();
    format!(
        "{kills} kills: {} alerts, {all} incidents, {all} cards; pages due {}, received {all} by webhook in {} attempts and {all} by Matrix \
         in {} room(s); difference 0",
        fired.len(),
        2 * all,
        receiver.attempts().len(),
        direct.rooms.len(),
    )
}

#[tokio::test]
async fn killed_at_any_moment_under_load_every_alert_has_one_incident_and_one_page() {
    let kills = kills();
    let bed = Bed::new();
    let receiver = WebhookReceiver::start(Clock::System, &KEY).await;
    let room = Room::start(&bed).await;
    let config = configuration(&bed, &receiver, &room);
    let port = ports::free();
    let webhook = format!("http://127.0.0.1:{port}/api/v1/alertmanager");
    let am = Alertmanager::start(&bed, &Receiver { url: &webhook, token: None }).await;
    let mut daemon = Daemon::start_at(&bed, port, &config).await;
    let mut dice = Dice(0x5eed_1e55);
    let mut fired: Vec<String> = vec![];
    for kill in 0..kills {
        for number in 0..=dice.below(2) {
            let name = format!("Broken{kill}x{number}");
            fire(&am, &name).await;
            fired.push(name);
        }
        // Looks at it so many times first, so that the moment differs: before the webhook, while it is applied, while it pages.
        for _ in 0..dice.below(40) {
            drop(bed.get(&format!("{}/livez", daemon.url)).await);
            tokio::task::yield_now().await;
        }
        let paged = pages(&receiver).len();
        if dice.below(3) == 0 {
            let more = async || (pages(&receiver).len() > paged).then_some(());
            until("a page arrives", PATIENCE, more).await;
        }
        daemon.process.kill();
        daemon.starts_again(&bed).await;
    }
    println!("{}", ledger(kills, &daemon, &fired, (&receiver, &room)).await);
}
