//! A real Alertmanager is asked back: what it mutes, and what never reached us.

use paramedic::{
    clients::http::{Client, Guard, Method, Request},
    ops::clock::Clock,
};
use serde_json::{Value, json};

use crate::bed::{
    Bed,
    alertmanager::{Alertmanager, Receiver},
    daemon::Daemon,
    ports,
};

/// A call of Alertmanager's API that must succeed.
async fn call(am: &Alertmanager, method: Method, path: &str, body: &Value) -> String {
    let url = format!("{}/api/v2/{path}", am.url).parse().unwrap();
    let mut request = Request::post(url, "call it", body.to_string(), "application/json");
    request.method = method;
    let answer = Client::new(Guard::default()).unwrap().send(request).await.unwrap();
    let answer = answer.error_for_status("call it").unwrap();
    String::from_utf8(answer.body).unwrap()
}

/// Alerts that began ten minutes ago and go on for an hour.
async fn fire(am: &Alertmanager, names: &[&str]) {
    let now = Clock::System.now();
    let at = |minutes: i64| (now + jiff::SignedDuration::from_mins(minutes)).to_string();
    let alert = |name: &&str| {
        json!({
            "labels": { "alertname": name, "namespace": "spark-prod", "severity": "critical" },
            "annotations": {}, "startsAt": at(-10), "endsAt": at(60),
        })
    };
    let alerts: Vec<Value> = names.iter().map(alert).collect();
    call(am, Method::POST, "alerts", &json!(alerts)).await;
}

fn asks(am: &Alertmanager) -> String {
    format!("sources: {{ default: {{ alertmanagers: ['{}'] }} }}", am.url)
}

#[tokio::test]
async fn a_silence_made_after_the_alert_fired_pauses_it_and_its_end_pages_at_a_repeat_interval_of_hours()
 {
    let bed = Bed::new();
    // Each must know the other's address before it starts.
    let port = ports::free();
    let webhook = format!("http://127.0.0.1:{port}/api/v1/alertmanager");
    let am = Alertmanager::start(&bed, &Receiver { url: &webhook, token: None }).await;
    let daemon = Daemon::start_at(&bed, port, &asks(&am)).await;
    fire(&am, &["SparkExecutorLost"]).await;
    let paged = |seen: &Value| seen.to_string().contains("paged Operator by console");
    daemon.until_incident("INC-1", "paged", paged).await;

    let now = Clock::System.now();
    let silence = json!({
        "matchers": [{ "name": "namespace", "value": "spark-prod", "isRegex": false, "isEqual": true }],
        "startsAt": now.to_string(), "endsAt": (now + jiff::SignedDuration::from_hours(1)).to_string(),
        "createdBy": "Ana Lima", "comment": "a new node pool",
    });
    let made = call(&am, Method::POST, "silences", &silence).await;
    let id =
        serde_json::from_str::<Value>(&made).unwrap()["silenceID"].as_str().unwrap().to_owned();
    let muted = |seen: &Value| seen["card"]["next"].to_string().contains("muted by silence");
    let seen = daemon.until_incident("INC-1", "muted", muted).await;
    let card = seen["card"].to_string();
    assert!(card.contains("of Ana Lima") && card.contains("(a new node pool)"), "{card}");
    let before = daemon.pages();

    call(&am, Method::DELETE, &format!("silence/{id}"), &Value::Null).await;
    let again = |seen: &Value| {
        let card = seen["card"].to_string();
        card.contains("not muted any more: its alerts notify again in Alertmanager")
            && card.contains("round 2 began")
            && card.matches("paged Operator by console: delivered").count() > 1
    };
    daemon.until_incident("INC-1", "paged again", again).await;
    assert!(daemon.pages() > before);
    assert_eq!(daemon.incidents().await.len(), 1);
}

#[tokio::test]
async fn a_daemon_that_lost_its_store_has_an_incident_for_every_alert_that_fires() {
    let bed = Bed::new();
    let nowhere = format!("http://127.0.0.1:{}/", ports::free());
    let am = Alertmanager::start(&bed, &Receiver { url: &nowhere, token: None }).await;
    fire(&am, &["SparkExecutorLost", "SparkDriverFailed", "Watchdog"]).await;
    let daemon = Daemon::start(&bed, &asks(&am)).await;
    let paged = |seen: &Value| seen.to_string().contains("paged Operator by console");
    daemon.until_incident("INC-1", "paged", paged).await;
    daemon.until_incident("INC-2", "paged", paged).await;
    let mut titles: Vec<String> = daemon
        .incidents()
        .await
        .iter()
        .map(|item| item["title"].as_str().unwrap().to_owned())
        .collect();
    titles.sort();
    assert_eq!(titles, ["SparkDriverFailed · spark-prod", "SparkExecutorLost · spark-prod"]);
}
