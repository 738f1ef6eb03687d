//! The daemon in a real Matrix room: the card, its edits, its thread, and a reaction that acknowledges.

use std::time::Duration;

use paramedic::clients::http::{Client, Guard, Method, Request};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::bed::{
    Bed,
    daemon::Daemon,
    synapse::{Limits, Synapse},
    until,
};

const PASSWORD: &str = "a-long-password";
const ONCALL: &str = r#"
people:
  - id: ana
    name: Ana Lima
    time_zone: UTC
    contacts: { matrix: "@ana:localhost", console: ana }
    notify: { default: [ { at: 0m, by: [console] } ] }
schedules:
  - id: primary
    time_zone: UTC
    layers: [ { rotate: weekly, handoff: "Mon 09:00", since: 2026-01-05, people: [ana] } ]
policies:
  - id: data
    steps: [ { at: 0m, page: [schedule:primary] } ]
    repeat: { every: 15m, times: 1 }
    then: { page: [person:ana], every: 30m }
"#;

/// A homeserver and whoever acts there.
pub struct Chat {
    /// The server.
    pub synapse: Synapse,
    http: Client,
}

impl Chat {
    /// Starts a homeserver that limits nobody.
    pub async fn start(bed: &Bed) -> Self {
        let synapse = Synapse::start(bed, Limits::Loose).await;
        Self { synapse, http: Client::new(Guard::default()).unwrap() }
    }

    /// A call that must succeed.
    pub async fn call(&self, token: &str, method: Method, path: &str, body: &Value) -> Value {
        let url = format!("{}/_matrix/client/v3/{path}", self.synapse.url).parse().unwrap();
        let text = if method == Method::GET { String::new() } else { body.to_string() };
        let mut request = Request::post(url, "chat", text, "application/json");
        request.method = method;
        let request = request.bearer(&SecretString::from(token.to_owned()));
        let answer = self.http.send(request).await.unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
        answer.json("chat").unwrap()
    }

    /// Registers and logs in; the access token.
    pub async fn account(&self, name: &str) -> String {
        self.synapse.register(name, PASSWORD);
        let login = json!({ "type": "m.login.password", "password": PASSWORD,
                            "identifier": { "type": "m.id.user", "user": name } });
        let token = self.call("none", Method::POST, "login", &login).await;
        token["access_token"].as_str().unwrap().to_owned()
    }

    /// Follows an invitation.
    pub async fn join(&self, token: &str, room: &str) {
        self.call(token, Method::POST, &format!("join/{}", encoded(room)), &json!({})).await;
    }

    /// Rooms that this account was invited to since the last look, or ever when `since` is empty.
    pub async fn invitations(&self, token: &str, since: &mut String) -> Vec<String> {
        // Without moving on Synapse would repeat its answer for two minutes.
        let path = match since.as_str() {
            "" => "sync?timeout=0".to_owned(),
            since => format!("sync?timeout=0&since={}", encoded(since)),
        };
        let news = self.call(token, Method::GET, &path, &Value::Null).await;
        news["next_batch"].as_str().unwrap().clone_into(since);
        let invited = news["rooms"]["invite"].as_object();
        invited.into_iter().flat_map(|rooms| rooms.keys().cloned()).collect()
    }

    /// All messages of the room, newest first.
    pub async fn messages(&self, token: &str, room: &str) -> Vec<Value> {
        let (mut all, mut from) = (vec![], String::new());
        loop {
            let path = format!("rooms/{}/messages?dir=b&limit=500{from}", encoded(room));
            let mut page = self.call(token, Method::GET, &path, &Value::Null).await;
            all.append(page["chunk"].as_array_mut().unwrap());
            let Some(end) = page["end"].as_str() else { break };
            from = format!("&from={}", encoded(end));
        }
        all.retain(|event| event["type"] == "m.room.message");
        all
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

#[tokio::test]
async fn a_reaction_to_the_card_in_a_real_room_acknowledges_the_incident() {
    let bed = Bed::new();
    let chat = Chat::start(&bed).await;
    let (bot, ana) = (chat.account("medic").await, chat.account("ana").await);
    let made = json!({ "preset": "private_chat", "invite": ["@ana:localhost"] });
    let made = chat.call(&bot, Method::POST, "createRoom", &made).await;
    let room = made["room_id"].as_str().unwrap().to_owned();
    chat.join(&ana, &room).await;

    bed.file("paramedic/oncall.yaml", ONCALL);
    bed.file("paramedic/token", &bot);
    let config = format!(
        "matrix: {{ homeserver: '{}', token: {{ file: 'DIR/token' }} }}\n\
         channels: {{ ops: {{ matrix: '{room}' }} }}\n\
         oncall: {{ dir: 'DIR/oncall.yaml' }}\n\
         default_policy: data",
        chat.synapse.url
    );
    let daemon = Daemon::start(&bed, &config).await;
    let labels =
        json!({ "alertname": "SparkDriverOOM", "namespace": "spark-prod", "severity": "critical" });
    daemon.alert("firing", &labels).await;
    daemon.until_incident("INC-1", "paged", |s| s.to_string().contains("paged Ana Lima")).await;
    let card = until("the card is in the room", Duration::from_mins(1), async || {
        let all = chat.messages(&ana, &room).await;
        all.into_iter().rfind(|event| event["content"]["m.relates_to"].is_null())
    })
    .await;
    assert!(card["content"]["body"].as_str().unwrap().contains("SparkDriverOOM"), "{card:#}");

    let event = card["event_id"].as_str().unwrap();
    let reaction =
        json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": event, "key": "👍" } });
    let path = format!("rooms/{}/send/m.reaction/one", encoded(&room));
    chat.call(&ana, Method::PUT, &path, &reaction).await;
    let acked = daemon
        .until_incident("INC-1", "acknowledged", |s| s["card"]["status"] == "acknowledged")
        .await;
    assert!(acked.to_string().contains("Ana Lima has it (by matrix"), "{acked:#}");

    let edited = until("the card says who has it", Duration::from_mins(1), async || {
        let all = chat.messages(&ana, &room).await;
        let edit = |e: &Value| {
            let relation = &e["content"]["m.relates_to"];
            relation["rel_type"] == "m.replace" && relation["event_id"] == event
        };
        let shows =
            |e: &Value| e["content"]["m.new_content"]["body"].to_string().contains("Ana Lima");
        all.into_iter().find(|e| edit(e) && shows(e))
    })
    .await;
    assert_eq!(edited["sender"], "@medic:localhost");

    // A note goes under the card, into its thread.
    let note = json!({ "text": "looking at the driver" });
    daemon.call(Method::POST, "/api/v1/incidents/INC-1/note", &note).await;
    until("the note is in the thread", Duration::from_mins(1), async || {
        let all = chat.messages(&ana, &room).await;
        all.into_iter().find(|e| {
            e["content"]["m.relates_to"]["rel_type"] == "m.thread"
                && e["content"]["body"].to_string().contains("looking at the driver")
        })
    })
    .await;
}
