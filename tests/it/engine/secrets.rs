//! Secrets that alerts carry: nowhere after the webhook was applied.

use super::*;

const SECRETS: [&str; 7] = [
    "hunter2-label",
    "hunter2-named",
    "hunter2-annotation",
    "hunter2-url",
    "hunter2-external",
    "hunter2-wrong",
    "hunter2-group",
];

#[tokio::test]
async fn secrets_of_an_alert_reach_neither_store_nor_people() {
    let rig = Rig::with(TWO, "incidents: { group_by: alertmanager }\n").await;
    let body = json!({
        "externalURL": "http://admin:hunter2-external@am:9093",
        "groupLabels": { "password": "hunter2-group" },
        "alerts": [
            { "status": "firing",
              "labels": { "alertname": "A", "namespace": "n", "dsn": "postgres://u:hunter2-label@db/x", "db_password": "hunter2-named" },
              "annotations": { "summary": "could not log in with password=hunter2-annotation" },
              "generatorURL": "http://x:hunter2-url@prom:9090/graph" },
            { "status": "firing", "labels": "token=hunter2-wrong" },
        ],
    });
    rig.app.post_alerts(&body).await;
    rig.app.pump_until_quiet().await;
    rig.live(5).await;
    act(&rig.app, 1, "note", &json!({ "by": "Mei", "text": "tried secret=hunter2-note" })).await;
    rig.live(5).await;
    let mut places = vec![("console".to_owned(), rig.app.console())];
    for channel in [&rig.ops, ANA] {
        for message in rig.slack.messages(channel) {
            places.push(("Slack".to_owned(), format!("{message:?}")));
        }
    }
    for number in 1..=2 {
        places.push((
            "API".to_owned(),
            rig.app.get(&format!("/api/v1/incidents/INC-{number}")).await.body,
        ));
        places.push((
            "page".to_owned(),
            rig.app.page(&format!("/incidents/INC-{number}")).await.body,
        ));
        places.push(("timeline".to_owned(), format!("{:?}", events(&rig.app, number).await)));
    }
    assert!(places.iter().any(|(_, text)| text.contains("could not log in")), "{places:#?}");
    for (place, text) in &places {
        for secret in SECRETS.iter().chain(&["hunter2-note"]) {
            assert!(!text.contains(secret), "{secret} is on the {place}: {text}");
        }
    }
    assert_sound(&rig.app).await;
    // What retention does every ten minutes.
    rig.app.engine.store.forget().await.unwrap();
    let file = std::fs::read(rig.app.database()).unwrap();
    let log = std::fs::read(rig.app.database().with_extension("db-wal")).unwrap_or_default();
    for secret in SECRETS {
        let holds = |bytes: &[u8]| bytes.windows(secret.len()).any(|w| w == secret.as_bytes());
        assert!(!holds(&file), "{secret} is in the store's file");
        assert!(!holds(&log), "{secret} is in the store's log");
    }
}
