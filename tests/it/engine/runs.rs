//! Diagnoses: what failed is said, what is known is not asked twice, and nothing outlives its deadline.

use std::sync::Arc;

use paramedic::{
    clients::{self, Cluster, kube, spark},
    playbook::{
        catalog::{Catalog, Shipped},
        source::{File, Kind},
    },
};

use super::{path::demo, *};

const SLOW: &str = "
name: slow
title: Slow
summary: Asks a pod.
owner: team:data
reviewed: 2026-11-23
match: [ 'alertname=\"A\"' ]
limits: { deadline: 30s }
steps:
  - id: pods
    kube.pods: { name: x, namespace: n }
";

pub(super) fn catalog(playbooks: &[&str]) -> Arc<Catalog> {
    let file = |(n, text): (usize, &&str)| File {
        name: format!("p{n}.yaml"),
        kind: Kind::Playbook,
        text: (*text).to_owned(),
    };
    let files: Vec<_> = playbooks.iter().enumerate().map(file).collect();
    let today = jiff::civil::date(2026, 11, 23);
    Arc::new(Catalog::over_shipped(&files, Shipped::SignaturesOnly, today).unwrap())
}

#[tokio::test]
async fn a_step_that_is_forbidden_is_said_on_the_card_and_the_others_go_on() {
    let demo = demo("", &[]).await;
    demo.cluster.deny("get", "pods/log");
    demo.app.post_alerts(&demo.alert).await;
    demo.app.pump_until_quiet().await;
    let incident = demo.app.incident(1).await;
    assert_eq!(incident.verdicts[0].id, "spark/executor/oom-killed");
    let caveats = incident.caveats.join("\n");
    assert!(caveats.contains("kube.logs failed: "), "{caveats}");
    assert!(demo.app.console().contains("kube.logs failed: "), "{}", demo.app.console());
    assert_sound(&demo.app).await;
}

#[tokio::test]
async fn a_refire_within_the_cooldown_shows_the_earlier_findings_and_asks_nothing() {
    let demo = demo("", &[]).await;
    let app = &demo.app;
    app.post_alerts(&demo.alert).await;
    app.pump_until_quiet().await;
    let asked = demo.cluster.requests().iter().filter(|r| r.contains("/log")).count();
    for status in ["resolved", "firing"] {
        let mut body = demo.alert.clone();
        body["alerts"][0]["status"] = json!(status);
        app.post_alerts(&body).await;
        live(app, 121).await;
    }
    let incident = app.incident(1).await;
    assert_eq!((incident.opening, incident.running, incident.runs_done), (2, 0, 1));
    assert_eq!(incident.verdicts[0].id, "spark/executor/oom-killed");
    let caveats = incident.caveats.join("\n");
    assert!(caveats.contains("from before the alert fired again"), "{caveats}");
    assert_eq!(demo.cluster.requests().iter().filter(|r| r.contains("/log")).count(), asked);
    // Another alert of the same application joins: still one run.
    let mut body = demo.alert.clone();
    body["alerts"][0]["labels"]["container"] = json!("other");
    body["alerts"][0]["fingerprint"] = json!("00000000000000aa");
    app.post_alerts(&body).await;
    live(app, 2).await;
    let incident = app.incident(1).await;
    assert_eq!((incident.running, incident.runs_done), (0, 1));
    // After the cooldown a new opening looks anew.
    for (status, wait) in [("resolved", 700), ("firing", 1)] {
        let mut body = demo.alert.clone();
        body["alerts"][0]["status"] = json!(status);
        app.post_alerts(&body).await;
        body["alerts"][0]["fingerprint"] = json!("00000000000000aa");
        body["alerts"][0]["labels"]["container"] = json!("other");
        app.post_alerts(&body).await;
        app.pump_until_quiet().await;
        app.advance(Duration::from_secs(wait));
        app.pump_until_quiet().await;
    }
    assert!(demo.cluster.requests().iter().filter(|r| r.contains("/log")).count() > asked);
    assert_sound(app).await;
}

#[tokio::test]
async fn a_cluster_that_never_answers_ends_with_the_deadline_and_a_word() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let kube = kube::Client::from_url(&url).unwrap();
    let http = clients::http::Client::new(clients::http::Guard::default()).unwrap();
    let spark = spark::Client::new(http, Some(kube.clone()), None);
    let cluster = Cluster { kube: Some(kube), ..Cluster::new("silent", spark) };
    let app = TestApp::built("", None, vec![cluster]).await;
    app.engine.catalog.set(catalog(&[SLOW]));
    app.post_alerts(&payload(&[("firing", &[("alertname", "A")], 0)])).await;
    let deadline = async {
        let called = listener.accept().await.unwrap();
        app.advance(Duration::from_secs(31));
        called
    };
    let ((), _held) = futures::future::join(app.pump_until_quiet(), deadline).await;
    let incident = app.incident(1).await;
    assert_eq!((incident.running, incident.runs_done), (0, 1));
    let caveats = incident.caveats.join("\n");
    assert!(caveats.contains("deadline of 30s was over"), "{caveats}");
    assert!(app.console().contains("PAGE for Operator"), "{}", app.console());
    assert_sound(&app).await;
}

#[tokio::test]
async fn a_playbook_that_is_removed_before_its_run_is_said_to_be_gone() {
    let app = TestApp::new().await;
    app.engine.catalog.set(catalog(&[SLOW]));
    app.post_alerts(&payload(&[("firing", &[("alertname", "A")], 0)])).await;
    while app.engine.store.runs(IncidentId(1)).await.unwrap().is_empty() {
        // The run's own job is claimed after this turn.
        app.engine.pump().await.unwrap();
    }
    app.engine.catalog.set(catalog(&[]));
    app.pump_until_quiet().await;
    let incident = app.incident(1).await;
    assert_eq!((incident.running, incident.runs_done), (0, 1));
    let caveats = incident.caveats.join("\n");
    assert!(caveats.contains("playbook slow was removed while it ran"), "{caveats}");
    assert_sound(&app).await;
}

#[tokio::test]
async fn a_condition_that_cannot_be_answered_is_said_and_does_not_run() {
    let app = TestApp::new().await;
    let unknown = SLOW.replace("limits:", "if: labels.replicas | int > 3\nlimits:");
    app.engine.catalog.set(catalog(&[&unknown]));
    for _ in 0..2 {
        alert(&app, "firing", &[], 0).await;
        alert(&app, "firing", &[("pod", "b")], 0).await;
    }
    let incident = app.incident(1).await;
    assert_eq!(incident.caveats.len(), 1, "{:?}", incident.caveats);
    assert!(
        incident.caveats[0].starts_with("playbook slow did not run: "),
        "{:?}",
        incident.caveats
    );
    assert!(app.engine.store.runs(IncidentId(1)).await.unwrap().is_empty());
    assert_sound(&app).await;
}

#[tokio::test]
async fn more_targets_than_allowed_are_counted_on_the_card() {
    let demo = demo("", &[]).await;
    let names: Vec<String> = (0..7).map(|n| format!("pod-{n}")).collect();
    for name in &names {
        demo.cluster.put(crate::fakes::kube::pod(name, &json!({}))).unwrap();
    }
    let labels: Vec<_> = names
        .iter()
        .map(|name| {
            [
                ("alertname", "KubePodCrashLooping"),
                ("namespace", "spark-prod"),
                ("cluster", "demo"),
                ("pod", name.as_str()),
            ]
        })
        .collect();
    let alerts: Vec<_> = labels.iter().map(|l| ("firing", &l[..], 0)).collect();
    demo.app.post_alerts(&payload(&alerts)).await;
    demo.app.pump_until_quiet().await;
    let incident = demo.app.incident(1).await;
    assert_eq!(incident.runs_done, 5);
    let caveats = incident.caveats.join("\n");
    assert!(caveats.contains("2 more targets were not looked at"), "{caveats}");
    assert_sound(&demo.app).await;
}

#[tokio::test]
async fn a_diagnosis_whose_worker_comes_late_has_all_of_its_time() {
    let app = TestApp::new().await;
    app.engine.catalog.set(catalog(&[SLOW]));
    app.post_alerts(&payload(&[("firing", &[("alertname", "A")], 0)])).await;
    while app.engine.apply_next().await.unwrap() != Applied::Nothing {}
    for job in app.engine.claim_lane(2).await.unwrap() {
        app.engine.run_leased(job, app.engine.clock.monotonic()).await;
    }
    app.advance(Duration::from_mins(2));
    app.pump_until_quiet().await;
    let said = app.incident(1).await.caveats.join("\n");
    assert!(said.contains("kube.pods") && !said.contains("deadline"), "{said}");
    assert_sound(&app).await;
}
