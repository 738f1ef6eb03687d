//! The engine's stories: alerts come in over HTTP, time passes, and what people see is looked at.
//!
//! Everything is real but the clock and the other sides (Slack, Kubernetes). Nothing runs by itself: [`Rig::live`] lets
//! time pass second by second and runs what is due, as the daemon would.

mod cards;
mod clock;
mod crash;
mod delivery;
mod identity;
mod life;
mod past;
mod path;
mod rounds;
mod runs;
mod secrets;
mod storms;
mod together;
mod volume;
mod wakes;

use std::time::Duration;

use paramedic::{
    domain::{
        ids::IncidentId,
        incident::{Event, fold},
    },
    engine::correlate::Applied,
    ops::clock::Clock,
    store::{Filter, Sent},
};
use serde_json::{Value, json};

use crate::{
    app::{Answer, START, TestApp},
    fakes::slack::Slack,
};

/// Slack id of Ana, who is paged first.
const ANA: &str = "U024BE7LH";
/// Slack id of Raj, who is paged next.
const RAJ: &str = "U024BE7RP";
/// Two people on two transports.
const TWO: &str = "
people:
  - { id: ana, name: Ana Lima, contacts: { slack: U024BE7LH, console: ana },
      notify: { default: [ { at: 0m, by: [slack] }, { at: 2m, by: [console] } ] } }
  - { id: raj, name: Raj Patel, contacts: { slack: U024BE7RP, console: raj },
      notify: { default: [ { at: 0m, by: [slack] }, { at: 2m, by: [console] } ] } }
schedules:
  - { id: primary, time_zone: UTC, layers: [ { rotate: weekly, handoff: \"Mon 09:00\", since: 2026-01-05, people: [ana] } ] }
  - { id: secondary, time_zone: UTC, layers: [ { rotate: weekly, handoff: \"Mon 09:00\", since: 2026-01-05, people: [raj] } ] }
policies:
  - id: data
    steps: [ { at: 0m, page: [\"schedule:primary\"] }, { at: 5m, page: [\"schedule:secondary\"] } ]
    then: { page: [\"person:ana\", \"person:raj\"], every: 30m }
    ack_expires: { P0: 60m, P1: 60m, P2: 60m }
";

/// A daemon with a Slack workspace, two people on call and one channel.
struct Rig {
    app: TestApp,
    slack: Slack,
    /// The id of the channel `ops`.
    ops: String,
}

impl Rig {
    async fn new() -> Self {
        Self::with(TWO, "").await
    }

    /// With other on-call files and more configuration.
    async fn with(oncall: &str, more: &str) -> Self {
        let (clock, hand) = Clock::manual(START.parse().unwrap());
        let slack = Slack::start(clock.clone()).await;
        let ops = slack.channel("ops");
        slack.person(ANA);
        slack.person(RAJ);
        let yaml = format!(
            "default_policy: data\nchannels: {{ ops: {{ slack: {ops} }} }}\noncall: {{ dir: oncall.yaml }}\n\
             slack: {{ token: {{ env: FAKE_SLACK }}, signing_secret: {{ env: FAKE_SIGNING }}, api_url: \"{}\" }}\n{more}",
            slack.api_url
        );
        let app = TestApp::at((clock, hand), &yaml, &[("oncall.yaml", oncall)], vec![]).await;
        Self { app, slack, ops }
    }

    /// Lets the seconds pass one by one.
    async fn live(&self, seconds: u64) {
        live(&self.app, seconds).await;
    }

    /// Somebody clicks a button of the newest message that has it; what they are told.
    async fn click(&self, channel: &str, user: &str, verb: &str) -> String {
        let messages = self.slack.messages(channel);
        let last = messages.iter().rev().find(|m| m.thread_ts.is_none()).unwrap();
        self.click_on(channel, &last.ts, user, verb).await
    }

    /// The same on a certain message.
    async fn click_on(&self, channel: &str, ts: &str, user: &str, verb: &str) -> String {
        let click = self.slack.click(channel, ts, user, verb);
        self.send_click(&click).await
    }

    /// Posts a click as Slack would; what the person is told.
    async fn send_click(&self, click: &crate::fakes::slack::Click) -> String {
        let before = self.slack.answers().len();
        let headers = [
            ("content-type", "application/x-www-form-urlencoded"),
            ("x-slack-request-timestamp", click.timestamp.as_str()),
            ("x-slack-signature", click.signature.as_str()),
        ];
        let answer =
            self.app.send("POST", "/slack/interactions", &headers, click.body.as_str()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        until(|| self.slack.answers().len() > before).await;
        self.slack.answers()[before]["text"].as_str().unwrap().to_owned()
    }

    /// Direct messages so far.
    fn pages(&self, user: &str) -> usize {
        self.slack.messages(user).len()
    }
}

/// Lets the seconds pass one by one and runs what is due.
async fn live(app: &TestApp, seconds: u64) {
    for _ in 0..seconds {
        app.advance(Duration::from_secs(1));
        app.pump_until_quiet().await;
    }
}

/// Waits for what another task does.
async fn until(mut done: impl FnMut() -> bool) {
    let waiting = async {
        while !done() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("it happens in time");
}

/// Label names and values.
type Labels<'a> = &'a [(&'a str, &'a str)];

/// A payload of alerts: status, labels, seconds after the start that it began.
fn payload(alerts: &[(&str, Labels<'_>, i64)]) -> Value {
    let start: jiff::Timestamp = START.parse().unwrap();
    let alerts: Vec<Value> = alerts
        .iter()
        .map(|(status, labels, began)| {
            let labels: std::collections::BTreeMap<_, _> = labels.iter().copied().collect();
            let began = start + jiff::SignedDuration::from_secs(*began);
            json!({ "status": status, "labels": labels, "annotations": {}, "startsAt": began.to_string() })
        })
        .collect();
    json!({ "alerts": alerts, "externalURL": "http://am:9093" })
}

/// Posts one alert of name `A` in namespace `n` and runs what follows.
async fn alert(app: &TestApp, status: &str, labels: &[(&str, &str)], began: i64) {
    let labels: Vec<_> = [("alertname", "A"), ("namespace", "n")]
        .into_iter()
        .chain(labels.iter().copied())
        .collect();
    app.post_alerts(&payload(&[(status, &labels, began)])).await;
    app.pump_until_quiet().await;
}

/// An incident's timeline.
async fn events(app: &TestApp, number: i64) -> Vec<Event> {
    let all = app.engine.store.timeline(IncidentId(number), 0, 10_000).await.unwrap();
    all.into_iter().map(|(_, _, event)| event).collect()
}

/// The history lines of an incident, as its card shows them.
async fn history(app: &TestApp, number: i64) -> String {
    let lines = app.incident(number).await.lines;
    lines.into_iter().map(|line| line.text).collect::<Vec<_>>().join("\n")
}

/// Everything sent for an incident.
async fn messages(app: &TestApp, number: i64) -> Vec<Sent> {
    app.engine.store.messages(IncidentId(number)).await.unwrap()
}

/// How many incidents there are.
async fn incidents(app: &TestApp) -> usize {
    let all = Filter { open: None, before: None, limit: 500 };
    app.engine.store.incidents(all).await.unwrap().len()
}

/// An action through the API.
async fn act(app: &TestApp, number: i64, action: &str, fields: &Value) -> Answer {
    app.post(&format!("/api/v1/incidents/INC-{number}/{action}"), &fields.to_string()).await
}

/// The invariants that hold whatever happened: each state is the fold of its timeline, and each open incident wakes.
pub async fn assert_sound(app: &TestApp) {
    let store = &app.engine.store;
    assert_eq!(store.without_wake_up().await.unwrap(), [], "lost wake-ups");
    let all = Filter { open: None, before: None, limit: 500 };
    for summary in store.incidents(all).await.unwrap() {
        let id: IncidentId = summary.id.parse().unwrap();
        let stored = store.incident(id).await.unwrap().unwrap().incident;
        let timeline = store.timeline(id, 0, 100_000).await.unwrap();
        let refolded =
            timeline.iter().fold(None, |state, (_, at, event)| Some(fold(state, id, *at, event)));
        assert_eq!(refolded.as_ref(), Some(&stored), "{id} is not the fold of its timeline");
        if !stored.is_open() {
            continue;
        }
        let (firing, members) = if stored.is_storm() {
            let (members, open) = store.storm_counts(id).await.unwrap();
            (open, members)
        } else {
            store.member_counts(id).await.unwrap()
        };
        assert_eq!((stored.firing, stored.members), (firing, members), "{id}: firing, members");
    }
}
