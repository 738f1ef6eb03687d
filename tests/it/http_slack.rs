//! Somebody presses a button in Slack.

use std::time::Duration;

use axum::{Router, extract::State, routing::post};
use hmac::{Hmac, KeyInit as _, Mac as _};
use paramedic::domain::incident::Status;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::sync::watch;

use crate::app::{Answer, TestApp, firing};

const PATH: &str = "/slack/interactions";
const ONCALL: &str = "
people:
  - { id: ana, name: Ana Lima, time_zone: America/Sao_Paulo, contacts: { slack: U024BE7LH, console: ana }, notify: { default: [ { at: 0m, by: [console] } ] } }
schedules:
  - { id: primary, time_zone: UTC, layers: [ { rotate: weekly, handoff: \"Mon 09:00\", since: 2026-01-05, people: [ana] } ] }
policies:
  - { id: default, steps: [ { at: 0m, page: [\"schedule:primary\"] } ], then: { page: [\"person:ana\"], every: 30m } }
";

/// Takes what is posted to a `response_url`, and nothing else.
#[derive(Clone)]
struct FakeSlack(watch::Sender<Vec<Value>>);

impl FakeSlack {
    #[allow(clippy::disallowed_methods, reason = "a fake's server")]
    async fn start() -> (Self, String) {
        let fake = Self(watch::Sender::default());
        let take = |State(fake): State<Self>, body: String| async move {
            let answer = serde_json::from_str(&body).unwrap();
            fake.0.send_modify(|told| told.push(answer));
            "ok"
        };
        let router = Router::new().route("/actions/T1/1/x", post(take)).with_state(fake.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (fake, url)
    }

    /// The texts told so far, once there are this many.
    async fn told(&self, count: usize) -> Vec<String> {
        let mut told = self.0.subscribe();
        let enough = told.wait_for(|told| told.len() >= count);
        let told = tokio::time::timeout(Duration::from_secs(20), enough).await;
        let told = told.expect("Slack is told in time").unwrap().clone();
        let texts = told.iter().map(|answer| {
            assert_eq!(answer["response_type"], "ephemeral");
            assert_eq!(answer["replace_original"], false);
            answer["text"].as_str().unwrap().to_owned()
        });
        texts.collect()
    }
}

async fn start() -> (TestApp, FakeSlack, String) {
    let (fake, url) = FakeSlack::start().await;
    let yaml = format!(
        "slack: {{ token: {{ env: SLACK }}, signing_secret: {{ env: SIGNING }}, api_url: \"{url}/api/\" }}\noncall: {{ dir: oncall.yaml }}\n"
    );
    let app = TestApp::start(&yaml, &[("oncall.yaml", ONCALL)], vec![]).await;
    app.post_alerts(&firing(&[&[
        ("alertname", "ExecutorLost"),
        ("namespace", "spark"),
        ("severity", "critical"),
    ]]))
    .await;
    app.pump_until_quiet().await;
    (app, fake, url)
}

fn click(url: &str, user: &str, action: &Value) -> String {
    let payload = json!({
        "type": "block_actions", "user": { "id": user }, "channel": { "id": "C1" },
        "container": { "type": "message", "message_ts": "1763.5", "channel_id": "C1" },
        "response_url": format!("{url}/actions/T1/1/x"), "actions": [action],
    });
    format!("payload={}", utf8_percent_encode(&payload.to_string(), NON_ALPHANUMERIC))
}

fn button(verb: &str, at: &str) -> Value {
    json!({ "type": "button", "action_id": verb, "value": format!("1:1:{verb}"), "action_ts": at })
}

async fn send(app: &TestApp, secret: &str, body: &str) -> Answer {
    let time = app.engine.now().as_second().to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("v0:{time}:{body}").as_bytes());
    let hex =
        mac.finalize().into_bytes().iter().fold(String::new(), |hex, b| format!("{hex}{b:02x}"));
    let signature = format!("v0={hex}");
    let headers =
        [("x-slack-request-timestamp", time.as_str()), ("x-slack-signature", signature.as_str())];
    app.send("POST", PATH, &headers, body).await
}

#[tokio::test]
async fn a_pressed_button_acknowledges_as_the_person_and_tells_only_them() {
    let (app, slack, url) = start().await;
    let body = click(&url, "U024BE7LH", &button("ack", "1.1"));
    assert_eq!(send(&app, "signing-secret", &body).await.status, 200);
    let incident = app.incident(1).await;
    assert_eq!(incident.status, Status::Acknowledged);
    assert_eq!(incident.ack.unwrap().by.name, "Ana Lima");
    insta::assert_snapshot!(slack.told(1).await.join("\n"), @"Ana Lima has INC-1; escalation stopped");
    // Slack sends it again: nothing happens twice.
    assert_eq!(send(&app, "signing-secret", &body).await.status, 200);
    let resolve = click(&url, "U024BE7LH", &button("resolve", "1.2"));
    assert_eq!(send(&app, "signing-secret", &resolve).await.status, 200);
    let told = slack.told(2).await;
    assert_eq!(told.len(), 2, "{told:?}");
    insta::assert_snapshot!(told[1], @"1 alerts of INC-1 still fire: silence them in Alertmanager, or resolve anyway");
    app.pump_until_quiet().await;
}

#[tokio::test]
async fn a_person_nobody_knows_is_told_what_to_add_and_changes_nothing() {
    let (app, slack, url) = start().await;
    let body = click(&url, "U999", &button("ack", "1.1"));
    assert_eq!(send(&app, "signing-secret", &body).await.status, 200);
    insta::assert_snapshot!(slack.told(1).await[0], @r#"nothing done: nobody in the on-call files has this contact. Add to your entry under `people`:  contacts: { slack: "U999" }"#);
    assert!(app.incident(1).await.ack.is_none());
}

#[tokio::test]
async fn what_slack_did_not_sign_is_refused_before_it_is_read() {
    let (app, _, url) = start().await;
    let body = click(&url, "U024BE7LH", &button("ack", "1.1"));
    assert_eq!(send(&app, "another-secret", &body).await.status, 401);
    assert_eq!(app.send("POST", PATH, &[], body.as_str()).await.status, 401);
    assert_eq!(send(&app, "signing-secret", "payload=%7B").await.status, 400);
    let long = "x".repeat(512 * 1024 + 1);
    assert_eq!(send(&app, "signing-secret", &long).await.status, 413);
    assert!(app.incident(1).await.ack.is_none());
    let without = TestApp::new().await;
    assert_eq!(send(&without, "signing-secret", &body).await.status, 404);
}
