//! Several clusters, by their configuration: each alert is looked at where it comes from, an unknown cluster is said, and
//! teams by namespace never delay or lose a page.

use std::time::Duration;

use paramedic::{
    demo::apiserver::{ApiServer, Cluster},
    ops::{clock::Clock, lifecycle::Tasks},
};
use serde_json::json;

use crate::{
    app::{TestApp, firing},
    fakes::kube::pod,
};

const PLAYBOOK: &str = "name: look\ntitle: Look\nowner: team:x\nmatch: [alertname=Sick]\ntarget: { pod: { name: \"{{labels.pod}}\" } }\nsteps:\n  - id: pods\n    kube.pods: {}\n  - id: note\n    incident.note: { text: looked }\n";

const ONCALL: &str = r#"
people:
  - { id: ana, contacts: { console: ana }, notify: { default: [ { at: 0m, by: [console] } ] } }
policies:
  - { id: default, steps: [ { at: 0m, page: [person:ana] } ], then: { page: [person:ana], every: 30m } }
  - { id: data, steps: [ { at: 0m, page: [person:ana] } ], then: { page: [person:ana], every: 30m } }
teams:
  - { id: data, owns: ['team="data"'], policy: data, channels: [console] }
"#;

/// A cluster of the test, with what its API server answers.
struct Site {
    cluster: Cluster,
    url: String,
    _tasks: Tasks,
}

async fn site(name: &str, clock: &Clock) -> Site {
    let tasks = Tasks::default();
    let cluster = Cluster::new(clock);
    let mut sick = pod("web-1", &json!({}));
    sick["status"]["containerStatuses"][0]["state"] =
        json!({ "terminated": { "exitCode": 137, "reason": format!("OOMKilledIn{name}") } });
    cluster.put(sick).unwrap();
    let server = ApiServer::start(&tasks, cluster.clone()).await.unwrap();
    Site { cluster, url: server.url.to_string(), _tasks: tasks }
}

fn kubeconfig(east: &Site, west: &Site, contexts: &[&str]) -> String {
    let both = [("east", &east.url), ("west", &west.url)];
    let entry = |(name, url): &(&str, &String)| {
        format!("{{ name: {name}, cluster: {{ server: '{url}' }} }}")
    };
    let clusters: Vec<String> = both.iter().map(entry).collect();
    let context =
        |name: &&str| format!("{{ name: {name}, context: {{ cluster: {name}, user: me }} }}");
    let contexts: Vec<String> = contexts.iter().map(context).collect();
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: east\nclusters: [ {} ]\nusers: [ {{ name: me, user: {{}} }} ]\ncontexts: [ {} ]\n",
        clusters.join(", "),
        contexts.join(", ")
    )
}

async fn app(more: &str) -> (TestApp, Site, Site, tempfile::TempDir) {
    app_with(more, &["east", "west"]).await
}

/// Both clusters are configured; the kubeconfig has only these contexts.
async fn app_with(more: &str, contexts: &[&str]) -> (TestApp, Site, Site, tempfile::TempDir) {
    let (clock, hand) = Clock::manual(crate::app::START.parse().unwrap());
    let (east, west) = (site("East", &clock).await, site("West", &clock).await);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");
    std::fs::write(&path, kubeconfig(&east, &west, contexts)).unwrap();
    let playbooks = folder.path().join("playbooks");
    std::fs::create_dir(&playbooks).unwrap();
    std::fs::write(playbooks.join("look.yaml"), PLAYBOOK).unwrap();
    let kube = |context: &str| {
        format!(
            "{{ kube: {{ kubeconfig: {{ path: '{}', context: {context} }} }}{more} }}",
            path.display()
        )
    };
    let config = format!(
        "incidents: {{ settle: 0s }}\nplaybooks: {{ dir: '{}' }}\nclusters:\n  east: {}\n  west: {}\n",
        playbooks.display(),
        kube("east"),
        kube("west")
    );
    let app = TestApp::at((clock, hand), &config, &[("oncall.yaml", ONCALL)], vec![]).await;
    (app, east, west, folder)
}

async fn alert(app: &TestApp, labels: &[(&str, &str)]) {
    let base = [
        ("alertname", "Sick"),
        ("namespace", "spark-prod"),
        ("pod", "web-1"),
        ("severity", "critical"),
    ];
    let all: Vec<(&str, &str)> = base.iter().chain(labels).copied().collect();
    app.post_alerts(&firing(&[&all])).await;
    app.pump_until_quiet().await;
}

#[tokio::test]
async fn each_alert_is_looked_at_in_its_own_cluster() {
    let (app, east, west, _folder) = app("").await;
    alert(&app, &[("cluster", "west")]).await;
    let runs = app.engine.store.runs(app.incident(1).await.id).await.unwrap();
    let steps = app.engine.store.steps(&runs[0].id).await.unwrap();
    let text = &steps["pods"].findings.passages[0].text;
    assert!(text.contains("OOMKilledInWest"), "{text}");
    assert!(east.cluster.requests().is_empty(), "{:?}", east.cluster.requests());
    assert!(!west.cluster.requests().is_empty());
}

#[tokio::test]
async fn an_unknown_cluster_is_said_and_the_other_steps_still_run() {
    let (app, east, west, _folder) = app("").await;
    alert(&app, &[("cluster", "north")]).await;
    let incident = app.incident(1).await;
    let said = incident.caveats.join("\n");
    assert!(
        said.contains("cluster `north` is not configured; configured are: east, west"),
        "{said}"
    );
    let runs = app.engine.store.runs(incident.id).await.unwrap();
    let steps = app.engine.store.steps(&runs[0].id).await.unwrap();
    assert_eq!(format!("{:?} {:?}", steps["pods"].state, steps["note"].state), "Skipped Done");
    assert!(east.cluster.requests().is_empty() && west.cluster.requests().is_empty());
    alert(&app, &[("cluster", "")]).await;
    let said = app.incident(2).await.caveats.join("\n");
    assert!(said.contains("the alert has no label `cluster`"), "{said}");
}

fn namespace(team: &str) -> serde_json::Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "spark-prod", "annotations": { "paramedic.io/team": team } } })
}

#[tokio::test]
async fn a_namespace_names_the_team_when_no_matcher_does() {
    let (app, east, west, _folder) = app(", teams_by_namespace: true").await;
    east.cluster.put(namespace("data")).unwrap();
    west.cluster.put(namespace("nobody")).unwrap();
    app.engine.read_teams().await;
    let asked = east.cluster.requests().len();
    alert(&app, &[("cluster", "east"), ("alertname", "Other")]).await;
    assert_eq!(
        (app.incident(1).await.team.as_str(), app.incident(1).await.caveats.len()),
        ("data", 0)
    );
    // Finding the owner asked nobody.
    assert_eq!(east.cluster.requests().len(), asked);
    alert(&app, &[("cluster", "west"), ("alertname", "Other")]).await;
    let incident = app.incident(2).await;
    assert_eq!(incident.team, "");
    let said = incident.caveats.join("\n");
    assert!(said.contains("annotated with team `nobody`, which is in no on-call file"), "{said}");
}

#[tokio::test]
async fn a_cluster_that_cannot_be_read_loses_no_page_and_the_incident_says_so() {
    let (app, east, _west, _folder) = app(", teams_by_namespace: true").await;
    east.cluster.deny("list", "namespaces");
    app.engine.read_teams().await;
    alert(&app, &[("cluster", "east"), ("alertname", "Other")]).await;
    let incident = app.incident(1).await;
    let said = incident.caveats.join("\n");
    assert!(said.contains("the team of namespace spark-prod is not known, the default policy pages: could not list the namespaces: namespaces is forbidden"), "{said}");
    assert!(app.console().contains(">>> PAGE for ana"), "{}", app.console());
    // A matcher needs no namespace, so nothing is said.
    alert(&app, &[("cluster", "east"), ("team", "data"), ("alertname", "Third")]).await;
    assert_eq!(app.incident(2).await.team, "data");
    assert_eq!(app.incident(2).await.caveats, Vec::<String>::new());
}

#[tokio::test]
async fn a_broken_kubeconfig_stops_nothing_else_is_said_and_once_mended_is_used_without_a_restart()
{
    let (app, east, west, folder) = app_with("", &["east"]).await;
    app.engine.recorder.start(&app.tasks);
    let troubles = || app.engine.recorder.troubles().join("\n");
    until(&app, "both of its watches are said", || troubles().lines().count() == 2).await;
    let why = "could not reach cluster west: could not read the kubeconfig ";
    assert!(troubles().contains(why) && !troubles().contains("cluster east: "), "{}", troubles());
    let ready = app.get("/readyz").await;
    assert!(ready.status == 200 && ready.body.contains(why), "{ready:?}");
    app.engine.recorder.set_gauges();
    let metrics = app.get("/metrics").await.body;
    assert!(metrics.contains("paramedic_recorder_troubles{cluster=\"west\"} 2"), "{metrics}");
    // Its alert is paged, and the diagnosis says why it saw nothing.
    alert(&app, &[("cluster", "west"), ("namespace", "elsewhere")]).await;
    assert_eq!(app.console().matches(">>> PAGE for ").count(), 1);
    let said = app.get("/api/v1/incidents/INC-1").await.body;
    assert!(said.contains(why), "{said}");
    alert(&app, &[("cluster", "east")]).await;
    assert!(!east.cluster.requests().is_empty());
    let said = app.get("/api/v1/incidents/INC-2").await.body;
    assert!(!said.contains(why), "{said}");
    // Somebody corrects the file.
    let mended = kubeconfig(&east, &west, &["east", "west"]);
    std::fs::write(folder.path().join("kubeconfig"), mended).unwrap();
    alert(&app, &[("cluster", "west")]).await;
    let runs = app.engine.store.runs(app.incident(3).await.id).await.unwrap();
    let steps = app.engine.store.steps(&runs[0].id).await.unwrap();
    let text = &steps["pods"].findings.passages[0].text;
    assert!(text.contains("OOMKilledInWest"), "{text}");
    until(&app, "the recorder watches it", || troubles().is_empty()).await;
    app.pump_until_quiet().await;
}

/// Waits while seconds pass.
async fn until(app: &TestApp, what: &str, done: impl Fn() -> bool) {
    let waiting = async {
        while !done() {
            app.advance(Duration::from_millis(20));
            tokio::task::yield_now().await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(30), waiting).await;
    assert!(ended.is_ok(), "never: {what}: {:?}", app.engine.recorder.troubles());
}
