//! The Matrix channel against a real homeserver: what the fake in `tests/it` claims about Synapse is shown here.

use std::time::Duration;

use paramedic::{
    clients::http::{Client, Guard, Method, Request, Url},
    domain::{
        card::{Action, Card, Verb},
        ids::IncidentId,
        severity::Severity,
    },
    notify::{
        Delivery, Message, Note, Notifier as _, Outcome, Page, Receipt,
        matrix::{Matrix, MatrixSettings},
    },
    ops::clock::Clock,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::bed::{
    Bed,
    synapse::{Limits, Synapse},
};

const PASSWORD: &str = "a-long-password";
const ANA: &str = "@ana:localhost";
/// Longer than any poll needs; a slow machine is not a failure.
const PATIENCE: Duration = Duration::from_secs(30);

/// A homeserver with the bot, a person, and a room with both.
struct Scene {
    synapse: Synapse,
    http: Client,
    bot: String,
    ana: String,
    room: String,
}

impl Scene {
    async fn start(bed: &Bed, limits: Limits) -> Self {
        let synapse = Synapse::start(bed, limits).await;
        let http = Client::new(Guard::default()).unwrap();
        let mut scene =
            Self { synapse, http, bot: String::new(), ana: String::new(), room: String::new() };
        scene.bot = scene.account("medic").await;
        scene.ana = scene.account("ana").await;
        let room = json!({"preset": "private_chat", "invite": [ANA], "room_alias_name": "oncall"});
        let made = scene.call(&scene.bot, Method::POST, &["v3", "createRoom"], &room).await;
        made["room_id"].as_str().unwrap().clone_into(&mut scene.room);
        scene.join(&scene.room).await;
        scene
    }

    /// Registers and logs in; the access token.
    async fn account(&self, name: &str) -> String {
        self.synapse.register(name, PASSWORD);
        let login = json!({
            "type": "m.login.password", "identifier": {"type": "m.id.user", "user": name},
            "password": PASSWORD, "device_id": "DEVICE",
        });
        let answer = self.call("", Method::POST, &["v3", "login"], &login).await;
        answer["access_token"].as_str().unwrap().to_owned()
    }

    async fn join(&self, room: &str) {
        self.call(&self.ana, Method::POST, &["v3", "join", room], &json!({})).await;
    }

    async fn call(&self, token: &str, method: Method, path: &[&str], body: &Value) -> Value {
        let encode = |part: &&str| utf8_percent_encode(part, NON_ALPHANUMERIC).to_string();
        let path: Vec<_> = path.iter().map(encode).collect();
        let url: Url =
            format!("{}/_matrix/client/{}", self.synapse.url, path.join("/")).parse().unwrap();
        let mut request = Request::new(method, url, "act in a story").timeout(PATIENCE);
        if !token.is_empty() {
            request = request.bearer(&SecretString::from(token));
        }
        if !body.is_null() {
            request.body = Some(body.to_string().into_bytes());
        }
        let answer = self.http.send(request).await.unwrap();
        answer.error_for_status("act in a story").unwrap().json("act in a story").unwrap()
    }

    /// Ana does something in the room; the event's id.
    async fn ana_sends(&self, kind: &str, transaction: &str, content: Value) -> String {
        let path = ["v3", "rooms", &self.room, "send", kind, transaction];
        let sent = self.call(&self.ana, Method::PUT, &path, &content).await;
        sent["event_id"].as_str().unwrap().to_owned()
    }

    /// What Ana sees of an event, edits applied as her client does.
    async fn seen(&self, room: &str, event: &str) -> Value {
        let path = ["v3", "rooms", room, "event", event];
        let event = self.call(&self.ana, Method::GET, &path, &Value::Null).await;
        let edit = &event["unsigned"]["m.relations"]["m.replace"]["content"]["m.new_content"];
        if edit.is_object() { edit.clone() } else { event["content"].clone() }
    }

    /// All messages of a room, newest first.
    async fn messages(&self, room: &str) -> Vec<Value> {
        let path =
            format!("{}/_matrix/client/v3/rooms/{room}/messages?dir=b&limit=500", self.synapse.url);
        let request = Request::get(path.parse().unwrap(), "read a room");
        let answer =
            self.http.send(request.bearer(&SecretString::from(self.ana.as_str()))).await.unwrap();
        let page: Value = answer.json("read a room").unwrap();
        let all = page["chunk"].as_array().unwrap().iter();
        all.filter(|event| event["type"] == "m.room.message").cloned().collect()
    }

    /// Our client, as after a start of the daemon.
    fn matrix(&self) -> Matrix {
        let settings = MatrixSettings {
            homeserver: self.synapse.url.parse().unwrap(),
            token: self.bot.as_str().into(),
            clear_text_in_encrypted_rooms: false,
            per_second: 0.2,
            burst: 10,
        };
        Matrix::new(self.http.clone(), settings, Clock::System)
    }
}

fn card(revision: i64) -> Card {
    Card {
        incident: IncidentId(12),
        revision,
        round: 1,
        title: "SparkExecutorLost · spark-prod".to_owned(),
        severity: Severity::P1,
        status: "triggered".to_owned(),
        since: "2026-11-23T03:12:05Z".parse().unwrap(),
        at: "2026-11-23T03:16:15Z".parse().unwrap(),
        summary: format!("revision {revision} <b>& more</b>"),
        labels: vec![],
        members: String::new(),
        verdicts: vec![],
        diagnosis: "no playbook matched".to_owned(),
        parts: vec![],
        caveats: vec![],
        history: vec![],
        next: String::new(),
        links: vec![],
        actions: vec![Action { verb: Verb::Ack, done_by: String::new() }],
    }
}

fn delivery<'a>(
    key: &'a str,
    address: &'a str,
    message: &'a Message,
    card: Option<&'a Receipt>,
) -> Delivery<'a> {
    Delivery { key, address, message, card, unclear: false }
}

#[tokio::test]
async fn a_card_is_sent_once_edited_in_place_and_has_its_evidence_in_a_thread() {
    let bed = Bed::new();
    let scene = Scene::start(&bed, Limits::Loose).await;
    let matrix = scene.matrix();
    let (first, second) = (Message::Card(card(1)), Message::Card(card(2)));
    let sent = matrix.send(&delivery("k", "#oncall:localhost", &first, None)).await.unwrap();
    assert_eq!(sent.address, scene.room);
    let again =
        scene.matrix().send(&delivery("k", "#oncall:localhost", &first, None)).await.unwrap();
    assert_eq!(again, sent, "the same key, even after a restart, is the same event");
    assert_eq!(scene.messages(&scene.room).await.len(), 1);

    let edited = matrix.send(&delivery("k:2", &scene.room, &second, Some(&sent))).await.unwrap();
    assert_eq!(edited, sent);
    let seen = scene.seen(&scene.room, &sent.id).await;
    assert!(seen["body"].as_str().unwrap().contains("revision 2"), "{seen}");
    let html = seen["formatted_body"].as_str().unwrap();
    assert!(html.contains("revision 2 &lt;b&gt;&amp; more&lt;/b&gt;"), "{html}");

    let log = "line <1>\n".repeat(20_000);
    let note = Note { title: "log".to_owned(), body: log, mention: ANA.to_owned() };
    let note = Message::Evidence(note);
    let evidence = matrix.send(&delivery("e", &scene.room, &note, Some(&sent))).await.unwrap();
    let seen = scene.seen(&scene.room, &evidence.id).await;
    assert_eq!(seen["m.relates_to"]["rel_type"], "m.thread");
    assert_eq!(seen["m.relates_to"]["event_id"], sent.id.as_str());

    let nothing = Receipt { id: "$0000000000000000000000000000000000000000000".to_owned(), ..sent };
    let failed = matrix.send(&delivery("k:3", &scene.room, &second, Some(&nothing))).await;
    assert_eq!(failed.unwrap_err().outcome, Outcome::CardGone);
}

#[tokio::test]
async fn a_reaction_arrives_once_and_not_again_after_a_restart() {
    let bed = Bed::new();
    let scene = Scene::start(&bed, Limits::Loose).await;
    let matrix = scene.matrix();
    let message = Message::Card(card(1));
    let sent = matrix.send(&delivery("k", &scene.room, &message, None)).await.unwrap();
    let reaction = |key: &str| json!({"m.relates_to": {"rel_type": "m.annotation", "event_id": sent.id, "key": key}});
    scene.ana_sends("m.reaction", "old", reaction("✅")).await;
    let start = matrix.pull(None, PATIENCE).await.unwrap();
    assert_eq!(start.acks, [], "what was before the first pull is not news");

    let (batch, id) = futures::join!(
        matrix.pull(Some(&start.next_batch), PATIENCE),
        scene.ana_sends("m.reaction", "new", reaction("👍\u{fe0f}")),
    );
    let batch = batch.unwrap();
    let acks: Vec<_> = batch.acks.iter().map(|a| (&a.event_id, &a.target_event_id)).collect();
    assert_eq!(acks, [(&id, &sent.id)]);
    assert_eq!((batch.acks[0].sender.as_str(), batch.acks[0].key.as_str()), (ANA, "👍"));

    let restarted = scene.matrix();
    let next = restarted.pull(Some(&batch.next_batch), Duration::ZERO).await.unwrap();
    assert_eq!((next.acks, next.redactions), (vec![], vec![]));

    let path = ["v3", "rooms", &scene.room, "redact", &id, "undo"];
    scene.call(&scene.ana, Method::PUT, &path, &json!({})).await;
    let undone = restarted.pull(Some(&next.next_batch), PATIENCE).await.unwrap();
    assert_eq!(undone.redactions.iter().map(|r| &r.redacts).collect::<Vec<_>>(), [&id]);
}

#[tokio::test]
async fn what_a_busy_room_leaves_out_of_a_sync_is_read_back() {
    let bed = Bed::new();
    let scene = Scene::start(&bed, Limits::Loose).await;
    let matrix = scene.matrix();
    let start = matrix.pull(None, PATIENCE).await.unwrap();
    let mut sent = vec![];
    for n in 0..170 {
        let command = json!({"msgtype": "m.text", "body": format!("!note {n}")});
        sent.push(scene.ana_sends("m.room.message", &format!("c{n}"), command).await);
    }
    let batch = matrix.pull(Some(&start.next_batch), PATIENCE).await.unwrap();
    let got: Vec<_> = batch.commands.into_iter().map(|command| command.event_id).collect();
    assert_eq!(got, sent);
}

#[tokio::test]
async fn a_page_reaches_the_person_in_one_direct_room_and_never_an_encrypted_one() {
    let bed = Bed::new();
    let scene = Scene::start(&bed, Limits::Loose).await;
    let page = Page {
        card: card(1),
        person: "Ana Lima".to_owned(),
        why: "step 1".to_owned(),
        remark: String::new(),
    };
    let page = Message::Page(page);
    let first = scene.matrix().send(&delivery("p1", ANA, &page, None)).await.unwrap();
    assert_ne!(first.address, scene.room);
    scene.join(&first.address).await;
    let second = scene.matrix().send(&delivery("p2", ANA, &page, None)).await.unwrap();
    assert_eq!(second.address, first.address);
    let seen = scene.seen(&second.address, &second.id).await;
    assert_eq!(seen["m.mentions"], json!({"user_ids": [ANA]}));

    let state = ["v3", "rooms", &scene.room, "state", "m.room.encryption"];
    let algorithm = json!({"algorithm": "m.megolm.v1.aes-sha2"});
    scene.call(&scene.bot, Method::PUT, &state, &algorithm).await;
    let message = Message::Card(card(1));
    let refused = scene.matrix().send(&delivery("k", &scene.room, &message, None)).await;
    assert_eq!(refused.unwrap_err().outcome, Outcome::Permanent);
    assert!(scene.messages(&scene.room).await.is_empty());
}

#[tokio::test]
async fn the_default_rate_limit_names_a_delay_after_which_the_same_message_goes_through() {
    let bed = Bed::new();
    let scene = Scene::start(&bed, Limits::Default).await;
    let matrix = scene.matrix();
    let message = Message::Card(card(1));
    let mut delivered = 0;
    let after = loop {
        let key = format!("k{delivered}");
        match matrix.send(&delivery(&key, &scene.room, &message, None)).await {
            Ok(_) => delivered += 1,
            Err(failure) => match failure.outcome {
                Outcome::Retry { after: Some(after) } => break after,
                other => panic!("{other:?}: {failure}"),
            },
        }
        assert!(delivered < 100, "Synapse limits nothing");
    };
    assert!(after > Duration::ZERO && after < PATIENCE, "{after:?}");
    // The real server's own clock must move: this is the one wait that nothing can shorten.
    Clock::System.sleep(after).await;
    let key = format!("k{delivered}");
    matrix.send(&delivery(&key, &scene.room, &message, None)).await.unwrap();
    assert_eq!(scene.messages(&scene.room).await.len(), delivered + 1);
}
