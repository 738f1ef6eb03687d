//! What a step remembers: incidents like this one, and those around it, with how they ended and what people wrote.

use paramedic::domain::incident::Who;

use super::{runs::catalog, *};

/// Asks for both, about a target of its own.
const PAST: &str = "
name: past
title: Past
summary: Looks back.
owner: team:data
reviewed: 2026-11-23
match: [ 'alertname=~\"A|B|C\"' ]
target: { pod: { name: \"{{labels.pod}}\" } }
limits: { cooldown: 0s }
steps:
  - id: similar
    incident.similar: { limit: 3 }
  - id: changes
    incident.changes: { since: 2h }
";

fn ana() -> Who {
    Who { id: "ana".to_owned(), name: "Ana Lima".to_owned(), via: "web".to_owned() }
}

/// The recorded results of both steps of an incident's run.
async fn looked(app: &TestApp, number: i64) -> (Value, Value) {
    let run = app.engine.store.runs(IncidentId(number)).await.unwrap().pop().unwrap();
    let steps = app.engine.store.steps(&run.id).await.unwrap();
    let value = |id: &str| steps[id].findings.value.clone();
    (value("similar"), value("changes"))
}

fn labels_of<'a>(name: &'a str, namespace: &'a str, pod: &'a str) -> [(&'a str, &'a str); 3] {
    [("alertname", name), ("namespace", namespace), ("pod", pod)]
}

#[tokio::test]
async fn an_earlier_incident_of_the_same_alerts_is_remembered_with_its_end() {
    let app = TestApp::new().await;
    app.engine.catalog.set(catalog(&[PAST]));
    let labels = labels_of("A", "n", "etl-1");
    app.post_alerts(&payload(&[("firing", &labels, 0)])).await;
    app.pump_until_quiet().await;
    let (similar, changes) = looked(&app, 1).await;
    assert_eq!((&similar["count"], &changes["count"]), (&json!(0), &json!(0)));
    app.engine.ack(IncidentId(1), None, ana()).await.unwrap();
    let note = "raised the overhead, password=hunter2";
    app.engine.note(IncidentId(1), ana(), note).await.unwrap();
    app.post_alerts(&payload(&[("resolved", &labels, 0)])).await;
    app.pump_until_quiet().await;
    for wait in [Duration::from_mins(3), Duration::from_hours(5)] {
        app.advance(wait);
        app.pump_until_quiet().await;
    }
    // The same alert after too long to be the same incident.
    app.post_alerts(&payload(&[("firing", &labels, 5 * 3_600)])).await;
    app.pump_until_quiet().await;
    let (similar, changes) = looked(&app, 2).await;
    let earlier = &similar["incidents"][0];
    assert_eq!((&earlier["id"], &earlier["status"]), (&json!("INC-1"), &json!("resolved")));
    assert_eq!(earlier["because"], json!(["same alerts", "same target"]));
    assert_eq!(
        (&earlier["acknowledged_by"], &earlier["ended"]),
        (&json!("Ana Lima"), &json!("every alert was over"))
    );
    assert_eq!(earlier["notes"], json!(["Ana Lima: raised the overhead, password=***"]));
    assert_eq!(changes["count"], 0, "five hours ago is not just before: {changes}");
}

#[tokio::test]
async fn another_alert_about_the_same_target_and_one_beside_it_are_found() {
    let app = TestApp::new().await;
    app.engine.catalog.set(catalog(&[PAST]));
    for (name, namespace, pod) in [("A", "n", "etl-1"), ("A", "other", "web"), ("B", "n", "etl-2")]
    {
        app.post_alerts(&payload(&[("firing", &labels_of(name, namespace, pod), 0)])).await;
        app.pump_until_quiet().await;
        app.advance(Duration::from_mins(8));
        app.pump_until_quiet().await;
    }
    app.post_alerts(&payload(&[("firing", &labels_of("C", "n", "etl-1"), 0)])).await;
    app.pump_until_quiet().await;
    let (similar, changes) = looked(&app, 4).await;
    let told = |found: &Value| {
        let lines = found["incidents"].as_array().unwrap().iter().map(|earlier| {
            let title = earlier["title"].as_str().unwrap_or_default();
            format!("{} {} {}", earlier["id"].as_str().unwrap(), title, earlier["because"])
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(told(&similar), @r#"INC-1 A · n ["same target"]"#);
    insta::assert_snapshot!(told(&changes), @r#"
    INC-3 B · n ["same namespace","opened within 10 minutes before"]
    INC-1 A · n ["same target","same namespace"]
    "#);
}

/// Asks the alert's own Alertmanager.
const SILENCES: &str = "
name: silences
title: Silences
summary: Asks Alertmanager.
owner: team:data
reviewed: 2026-11-23
match: [ 'alertname=\"A\"' ]
steps:
  - id: silences
    alertmanager.silences: {}
  - id: other
    alertmanager.alerts: { source: lab }
";

#[tokio::test]
async fn steps_ask_the_alertmanager_that_sent_the_alert() {
    let matchers = json!([{ "name": "pod", "value": "etl-1", "isRegex": false, "isEqual": true }]);
    let silences = json!([{
        "id": "s1", "status": { "state": "active" }, "matchers": matchers, "createdBy": "ana", "comment": "token=hunter2hunter2",
        "startsAt": "2026-11-23T01:00:00Z", "endsAt": "2026-11-23T09:00:00Z", "updatedAt": "2026-11-23T01:00:00Z",
    }]);
    let fake = crate::fakes::alertmanager::Alertmanager::start(json!([]), silences).await;
    let app =
        TestApp::with(&format!("sources: {{ default: {{ alertmanagers: ['{}'] }} }}", fake.url))
            .await;
    app.engine.catalog.set(catalog(&[SILENCES]));
    app.post_alerts(&payload(&[("firing", &labels_of("A", "n", "etl-1"), 0)])).await;
    app.pump_until_quiet().await;
    let run = app.engine.store.runs(IncidentId(1)).await.unwrap().pop().unwrap();
    let steps = app.engine.store.steps(&run.id).await.unwrap();
    assert_eq!(steps["silences"].findings.value["active"], 1, "{steps:?}");
    assert_eq!(steps["other"].reason, "there is no source `lab`; see `sources:`");
    let kept = serde_json::to_string(&steps).unwrap();
    assert!(!kept.contains("hunter2"), "{kept}");
}
