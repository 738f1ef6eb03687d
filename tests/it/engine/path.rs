//! The whole way of one alert, from the webhook to the resolved card.

use paramedic::{
    clients::{self, Cluster, kube, spark},
    demo::{apiserver, world},
    domain::incident::{Status, Wake},
    ops::lifecycle::Tasks,
};

use super::*;

/// The demo's cluster and a daemon that watches it.
pub struct Demo {
    pub app: TestApp,
    pub alert: Value,
    pub cluster: apiserver::Cluster,
    _tasks: Tasks,
}

/// Starts both with these files and this configuration.
pub async fn demo(yaml: &str, files: &[(&str, &str)]) -> Demo {
    let (clock, hand) = Clock::manual(START.parse().unwrap());
    let tasks = Tasks::default();
    let world = world::start(&tasks, &clock).await.unwrap();
    let kube = kube::Client::from_url(&world.kube_url).unwrap();
    let http = clients::http::Client::new(clients::http::Guard::default()).unwrap();
    let spark = spark::Client::new(http, Some(kube.clone()), None);
    let cluster = Cluster { kube: Some(kube), ..Cluster::new(world::CLUSTER, spark) };
    let app = TestApp::at((clock, hand), yaml, files, vec![cluster]).await;
    Demo { app, alert: world.alert, cluster: world.cluster, _tasks: tasks }
}

#[tokio::test]
async fn an_oom_killed_executor_is_diagnosed_paged_and_its_end_is_shown() {
    let demo = demo("", &[]).await;
    let app = &demo.app;
    app.post_alerts(&demo.alert).await;
    app.pump_until_quiet().await;
    live(app, 2).await;
    let incident = app.incident(1).await;
    let best = &incident.verdicts[0];
    assert_eq!(best.id, "spark/executor/oom-killed");
    assert!(best.confidence > 0.8, "{}", best.confidence);
    assert!(best.evidence.iter().any(|quote| quote.quote.contains("OOMKilled")), "{best:#?}");
    assert_eq!((incident.running, incident.runs_done), (0, 1));
    assert!(matches!(incident.wake, Wake::Step(_)), "the next step is due: {:?}", incident.wake);
    let console = app.console();
    assert!(console.contains("PAGE for Operator"), "{console}");
    assert!(console.contains("OOMKilled"), "{console}");
    assert!(!console.contains("no playbook matched"), "{console}");
    let sent = messages(app, 1).await;
    assert_eq!(sent.iter().filter(|m| m.is_page && m.state == "sent").count(), 1);
    let mut over = demo.alert.clone();
    over["alerts"][0]["status"] = json!("resolved");
    app.post_alerts(&over).await;
    live(app, 121).await;
    assert_eq!(app.incident(1).await.status, Status::Resolved);
    assert!(app.console().contains("P1 RESOLVED"), "{}", app.console());
    assert_eq!(demo.cluster.unexpected(), Vec::<String>::new());
    assert_sound(app).await;
}

#[tokio::test]
async fn an_alert_without_a_playbook_is_posted_and_paged_all_the_same() {
    let rig = Rig::new().await;
    alert(&rig.app, "firing", &[], 0).await;
    rig.live(1).await;
    let card = &rig.slack.messages(&rig.ops)[0];
    assert!(card.blocks.to_string().contains("no playbook matched"), "{}", card.blocks);
    assert_eq!(rig.pages(ANA), 1);
    assert_sound(&rig.app).await;
}
