//! Alertmanager is asked back: what it mutes pauses, what it lost is not closed, what never came is taken in.

mod adopted;
mod missing;
mod muted;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    app::{START, TestApp},
    fakes::alertmanager::Alertmanager,
};

/// A daemon and the Alertmanager it asks.
struct Rig {
    am: Alertmanager,
    app: TestApp,
}

impl Rig {
    async fn new() -> Self {
        Self::with("").await
    }

    /// With more in the source: `heartbeat: …`.
    async fn with(more: &str) -> Self {
        let am = Alertmanager::start(json!([]), json!([])).await;
        let yaml = format!("sources: {{ default: {{ alertmanagers: ['{}'], {more} }} }}", am.url);
        let app = TestApp::with(&yaml).await;
        app.engine.plant_loops().await.unwrap();
        Self { am, app }
    }

    /// Minutes pass, and what is due runs.
    async fn minutes(&self, minutes: u64) {
        for _ in 0..minutes {
            self.app.advance(Duration::from_mins(1));
            self.app.pump_until_quiet().await;
        }
    }

    /// A webhook with this alert.
    async fn webhook(&self, alert: &Value, status: &str) {
        let mut sent = alert.clone();
        sent["status"] = json!(status);
        self.app.post_alerts(&json!({ "alerts": [sent] })).await;
        self.app.pump_until_quiet().await;
    }

    fn pages(&self) -> usize {
        self.app.console().matches(">>> PAGE for ").count()
    }

    async fn incidents(&self) -> usize {
        let all = self.app.get("/api/v1/incidents?status=all").await.json();
        all["items"].as_array().unwrap().len()
    }

    async fn history(&self, number: i64) -> String {
        let lines = self.app.incident(number).await.lines;
        lines.into_iter().map(|line| line.text).collect::<Vec<_>>().join("\n")
    }
}

/// An alert as Alertmanager has it, for our receiver, since `began` seconds after the start.
fn alert(name: &str, severity: &str, began: i64) -> Value {
    let labels = json!({ "alertname": name, "namespace": "n", "severity": severity });
    json!({
        "labels": labels, "annotations": { "summary": format!("{name} is broken") }, "startsAt": at(began),
        "endsAt": "2026-12-01T00:00:00Z", "updatedAt": at(began), "generatorURL": "http://prom/graph",
        "fingerprint": fingerprint(&labels), "receivers": [{ "name": "paramedic" }],
        "status": { "state": "active", "silencedBy": [], "inhibitedBy": [] },
    })
}

fn fingerprint(labels: &Value) -> String {
    paramedic::domain::alert::fingerprint(&serde_json::from_value(labels.clone()).unwrap())
}

/// The same, muted by a silence.
fn silenced(mut alert: Value, silence: &str) -> Value {
    alert["status"] = json!({ "state": "suppressed", "silencedBy": [silence], "inhibitedBy": [] });
    alert
}

/// The same, inhibited by another alert.
fn inhibited(mut alert: Value) -> Value {
    alert["status"] = json!({ "state": "suppressed", "silencedBy": [], "inhibitedBy": ["aa11"] });
    alert
}

/// A silence until so many seconds after the start.
fn silence(id: &str, until: i64) -> Value {
    json!({
        "id": id, "status": { "state": "active" }, "startsAt": START, "endsAt": at(until),
        "createdBy": "Ana Lima", "comment": "planned work",
        "matchers": [{ "name": "namespace", "value": "n", "isRegex": false, "isEqual": true }],
    })
}

fn at(seconds: i64) -> String {
    let start: Timestamp = START.parse().unwrap();
    (start + SignedDuration::from_secs(seconds)).to_string()
}
