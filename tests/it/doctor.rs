//! `paramedic doctor` against fakes that are well, and then against each way in which one is not.
#![allow(clippy::disallowed_methods, reason = "small fakes are spawned as they are")]

use axum::{Json, Router, http::StatusCode, response::IntoResponse as _, routing::get};
use paramedic::{
    cli::doctor::{Finding, State, examine},
    config::Config,
    demo::apiserver::{ApiServer, Cluster},
    ops::{clock::Clock, lifecycle::Tasks},
};
use serde_json::json;

use crate::fakes::{
    matrix::{self, Matrix},
    prometheus::Prometheus,
    slack::{self, Slack},
};

const DAY: jiff::civil::Date = jiff::civil::date(2026, 11, 23);

/// Everything a configuration can name, well.
struct World {
    folder: tempfile::TempDir,
    cluster: Cluster,
    slack: Slack,
    matrix: Matrix,
    prometheus: Prometheus,
    alertmanager: String,
    history: String,
    kube: String,
    room: String,
    more: String,
    _tasks: Tasks,
}

async fn serve(app: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    url
}

async fn alertmanager(status: &'static str, date: Option<&'static str>) -> String {
    let answer = move || async move {
        let body =
            json!({ "cluster": { "status": status }, "versionInfo": { "version": "0.28.0" } });
        let headers = date.map(|date| [("date", date)]);
        match headers {
            Some(headers) => (headers, Json(body)).into_response(),
            None => Json(body).into_response(),
        }
    };
    let receivers = async move || Json(json!([{ "name": "night-watch" }, { "name": "paramedic" }]));
    let app = Router::new().route("/api/v2/status", get(answer));
    serve(app.route("/api/v2/receivers", get(receivers))).await
}

async fn history(listed: usize) -> String {
    let all: Vec<_> =
        (0..listed).map(|n| json!({ "id": format!("spark-{n}"), "attempts": [] })).collect();
    let app = Router::new()
        .route("/api/v1/version", get(|| async { Json(json!({ "spark": "3.5.9" })) }))
        .route("/api/v1/applications", get(move || async move { Json(all) }));
    serve(app).await
}

impl World {
    async fn new() -> Self {
        let tasks = Tasks::default();
        let cluster = Cluster::new(&Clock::System);
        let server = ApiServer::start(&tasks, cluster.clone()).await.unwrap();
        let (slack, matrix) = (Slack::start(Clock::System).await, Matrix::start().await);
        let room = matrix.room("#ops:test");
        Self {
            folder: tempfile::tempdir().unwrap(),
            cluster,
            slack,
            matrix,
            prometheus: Prometheus::start([(
                "vector(1)",
                json!({ "resultType": "vector", "result": [] }),
            )])
            .await,
            alertmanager: alertmanager("ready", None).await,
            history: history(1).await,
            kube: server.url.to_string(),
            room,
            more: String::new(),
            _tasks: tasks,
        }
    }

    fn config(&self) -> Config {
        let kubeconfig = self.folder.path().join("kubeconfig");
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: a\nclusters: [ {{ name: a, cluster: {{ server: '{}' }} }} ]\nusers: [ {{ name: me, user: {{}} }} ]\ncontexts: [ {{ name: a, context: {{ cluster: a, user: me }} }} ]\n",
            self.kube
        );
        std::fs::write(&kubeconfig, text).unwrap();
        let yaml = format!(
            "default_policy: default\nstore: {{ url: 'sqlite:{}' }}\nchannels: {{ ops: {{ slack: C0000001 }}, room: {{ matrix: '{}' }} }}\n\
             slack: {{ token: {{ env: SLACK }}, signing_secret: {{ env: SIGNING }}, api_url: '{}' }}\n\
             matrix: {{ homeserver: '{}', token: {{ env: MATRIX }} }}\n\
             sources: {{ am: {{ token: {{ env: SOURCE }}, alertmanagers: ['{}'], heartbeat: {{ match: ['alertname=\"Watchdog\"'] }} }} }}\n\
             clusters: {{ prod: {{ kube: {{ kubeconfig: {{ path: '{}' }} }}, prometheus: '{}', history: '{}' }} }}\n\
             dead_man: {{ url: 'http://127.0.0.1:9/ping' }}\n\
             egress: {{ allow: [10.0.0.0/8] }}\n{}",
            self.folder.path().join("paramedic.db").display(),
            self.room,
            self.slack.api_url,
            self.matrix.url,
            self.alertmanager,
            kubeconfig.display(),
            self.prometheus.url,
            self.history,
            self.more,
        );
        let file = self.folder.path().join("paramedic.yaml");
        std::fs::write(&file, yaml).unwrap();
        let env = [
            ("SLACK", slack::TOKEN),
            ("SIGNING", slack::SIGNING_SECRET),
            ("MATRIX", matrix::TOKEN),
            ("SOURCE", "source-secret"),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Config::load(Some(&file), env.into_iter()).unwrap()
    }

    async fn examined(&self, namespaces: &[&str]) -> Vec<Finding> {
        let namespaces: Vec<String> = namespaces.iter().map(|n| (*n).to_owned()).collect();
        examine(&self.config(), &namespaces, Clock::System, DAY).await
    }

    /// The lines that are not ok, without what differs from run to run.
    async fn troubles(&self, namespaces: &[&str]) -> String {
        let found = self.examined(namespaces).await;
        let lines = found.iter().filter(|f| f.state != State::Ok).map(ToString::to_string);
        let text = lines.collect::<Vec<_>>().join("\n");
        let folder = self.folder.path().display().to_string();
        let text = text.replace(&folder, "DIR").replace(&self.room, "ROOM");
        regex::Regex::new(r"127\.0\.0\.1:\d+").unwrap().replace_all(&text, "HOST").into_owned()
    }
}

/// What every one of these worlds lacks on purpose: on-call files.
const ALWAYS: &str = "warn  on-call: no files: only the built-in operator is paged, on the console -> set `oncall: { dir: … }`";

fn but_always(text: &str) -> String {
    text.lines().filter(|line| *line != ALWAYS).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_world_that_is_well_has_nothing_to_look_at() {
    let world = World::new().await;
    assert_eq!(world.troubles(&["spark-prod"]).await, ALWAYS);
    let found = world.examined(&["spark-prod"]).await;
    let whats: Vec<&str> = found.iter().map(|finding| finding.what.as_str()).collect();
    for what in [
        "playbooks",
        "store",
        "time zones",
        "heartbeat",
        "egress",
        "cluster prod",
        "cluster prod, permissions",
        "Prometheus of cluster prod",
        "History Server of cluster prod",
        "Slack",
        "Slack scopes",
        "Matrix",
        "clock",
    ] {
        assert!(whats.contains(&what), "{what} was not looked at: {whats:?}");
    }
    // Nothing was made anywhere.
    assert!(!world.folder.path().join("paramedic.db").exists());
    assert_eq!(world.slack.calls(), ["auth.test", "auth.test"]);
}

#[tokio::test]
async fn a_missing_permission_names_its_playbooks_and_how_to_grant_it() {
    let world = World::new().await;
    world.cluster.deny("list", "events");
    world.cluster.deny("get", "sparkapplications");
    insta::assert_snapshot!(but_always(&world.troubles(&["a", "b"]).await), @r"
    FAIL  cluster prod, permissions: 7 of 38 are missing: get sparkapplications.spark.apache.org (for pod-crashloop, spark-driver-failed, spark-executor-lost) in a, b; get sparkapplications.sparkoperator.k8s.io (for pod-crashloop, spark-driver-failed, spark-executor-lost) in a, b; list events (for pod-crashloop, spark-driver-failed, spark-executor-lost) in a, b; list events (for spark-driver-failed, spark-executor-lost) in default -> paramedic rbac --namespace a --namespace b | kubectl apply -f -
    warn  cluster prod, recorder: without these evidence is lost: list events (for events of deleted pods) -> name the namespaces in `recorder.namespaces`, or grant them in a ClusterRole (`paramedic rbac`)
    ");
    // Without namespaces it may be granted where it is needed, so it is no failure.
    insta::assert_snapshot!(but_always(&world.troubles(&[]).await), @r"
    warn  cluster prod, permissions: 4 of 20 are not granted in the whole cluster: get sparkapplications.spark.apache.org (for pod-crashloop, spark-driver-failed, spark-executor-lost); get sparkapplications.sparkoperator.k8s.io (for pod-crashloop, spark-driver-failed, spark-executor-lost); list events (for pod-crashloop, spark-driver-failed, spark-executor-lost); list events (for spark-driver-failed, spark-executor-lost) in default -> say --namespace for each namespace that alerts come from to look there, or grant them (`paramedic rbac`)
    warn  cluster prod, recorder: without these evidence is lost: list events (for events of deleted pods) -> name the namespaces in `recorder.namespaces`, or grant them in a ClusterRole (`paramedic rbac`)
    ");
    world.cluster.deny("create", "selfsubjectaccessreviews");
    let said = but_always(&world.troubles(&["a"]).await);
    assert!(
        said.starts_with(
            "warn  cluster prod, permissions: could not be asked for: selfsubjectaccessreviews"
        ),
        "{said}"
    );
}

#[tokio::test]
async fn what_the_recorder_may_not_do_is_told_with_the_evidence_that_is_lost_where_it_watches() {
    let mut world = World::new().await;
    world.more = "recorder: { namespaces: [spark-prod, spark-dev] }".to_owned();
    let found = world.examined(&["spark-prod"]).await;
    let line = |f: &&Finding| f.what == "cluster prod, recorder";
    let said = found.iter().find(line).map(ToString::to_string);
    insta::assert_snapshot!(said.unwrap(), @"ok    cluster prod, recorder: all 10 that it needs, in spark-prod, spark-dev");
    world.cluster.deny("watch", "pods");
    insta::assert_snapshot!(but_always(&world.troubles(&["spark-prod"]).await), @"warn  cluster prod, recorder: without these evidence is lost: watch pods (for status, exit code and log of deleted pods) in spark-dev, spark-prod -> grant them (`paramedic rbac --config`)");
}

#[tokio::test]
async fn a_cluster_nobody_answers_for_fails_and_the_rest_is_still_looked_at() {
    let mut world = World::new().await;
    world.kube = "http://127.0.0.1:1".to_owned();
    let said = but_always(&world.troubles(&[]).await);
    assert!(
        said.starts_with("FAIL  cluster prod: ") && said.ends_with("can this machine reach it?"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
    world.more = "recorder: {}\n".to_owned();
    std::fs::write(world.folder.path().join("broken"), "{").unwrap();
    let mut config = world.config();
    for cluster in config.clusters.values_mut() {
        let path = Some(world.folder.path().join("broken"));
        let file = paramedic::config::Kubeconfig { path, context: None };
        cluster.kube = Some(paramedic::config::Kube::Kubeconfig(file));
    }
    let found = examine(&config, &[], Clock::System, DAY).await;
    let bad = found.iter().find(|finding| finding.state == State::Fail).unwrap();
    assert_eq!(
        (bad.what.as_str(), bad.remedy.as_str()),
        (
            "cluster prod",
            "correct `clusters.prod.kube` or what it names; the daemon starts without it and tries again"
        )
    );
    // Its Prometheus is part of the same entry; the channels are not.
    assert!(found.iter().any(|finding| finding.what == "Slack" && finding.state == State::Ok));
}

#[tokio::test]
async fn services_that_are_down_lost_or_empty_are_told_each_in_its_line() {
    let mut world = World::new().await;
    world.alertmanager = "http://127.0.0.1:1".to_owned();
    world.history = history(0).await;
    world.prometheus.set("vector(1)", json!("too many samples"));
    insta::assert_snapshot!(but_always(&world.troubles(&[]).await), @r#"
    FAIL  Prometheus of cluster prod: execution: too many samples -> start it, or correct `clusters.prod.prometheus`
    warn  History Server of cluster prod: Spark 3.5.9, but it lists no application -> is its log directory the one applications write to (spark.eventLog.dir)?
    FAIL  Alertmanager HOST of source am: Connection refused (os error 111) -> correct `sources.am.alertmanagers`, or start it
    "#);
    world.alertmanager = alertmanager("settling", Some("Mon, 23 Nov 2020 05:00:00 GMT")).await;
    world.history =
        serve(Router::new().fallback(|| async { (StatusCode::BAD_GATEWAY, "no") })).await;
    world.prometheus.set("vector(1)", json!({ "resultType": "vector", "result": [] }));
    let said = but_always(&world.troubles(&[]).await);
    let said =
        regex::Regex::new(r"is \d+ s behind").unwrap().replace(&said, "is N s behind").into_owned();
    insta::assert_snapshot!(said, @r#"
    FAIL  History Server of cluster prod: HTTP 502: no -> start it, or correct `clusters.prod.history`
    warn  Alertmanager HOST of source am: version 0.28.0, cluster settling -> wait until its peers have found each other
    FAIL  clock: Alertmanager HOST of source am is N s behind this machine -> let NTP run on both machines
    "#);
}

#[tokio::test]
async fn a_receiver_that_alertmanager_does_not_have_is_told_with_those_it_has() {
    let world = World::new().await;
    let mut config = world.config();
    config.sources.get_mut("am").unwrap().receiver = "pager".to_owned();
    let found = examine(&config, &[], Clock::System, DAY).await;
    let told = found.iter().find(|finding| finding.says.contains("receiver")).unwrap();
    assert_eq!(told.state, State::Warn);
    insta::assert_snapshot!(told.says, @"has no receiver `pager`; it has: night-watch, paramedic");
    insta::assert_snapshot!(told.remedy, @"correct `sources.am.receiver`, or add the receiver and a route to Alertmanager: an alert whose webhook is lost is not found");
}

#[tokio::test]
async fn a_token_without_its_scopes_and_a_wrong_one_are_told() {
    let mut world = World::new().await;
    world.slack.grants("chat:write,channels:read");
    insta::assert_snapshot!(but_always(&world.troubles(&[]).await), @r#"
    FAIL  Slack scopes: im:write is missing: people cannot be paged by direct message -> add it to the app and install the app again
    warn  Slack scopes: channels:history is missing: a message whose answer was lost may be sent twice -> add it to the app and install the app again
    warn  Slack scopes: im:history is missing: a page whose answer was lost may be sent twice -> add it to the app and install the app again
    "#);
    world.slack.next("auth.test", slack::Trouble::Says("token_revoked"));
    world.slack.grants("chat:write,im:write,im:history,channels:history");
    insta::assert_snapshot!(but_always(&world.troubles(&[]).await), @"FAIL  Slack: Slack says token_revoked: put a valid bot token (xoxb-…) into `slack.token`");
    world.slack.next("auth.test", slack::Trouble::Html502);
    let said = but_always(&world.troubles(&[]).await);
    assert!(
        said.starts_with("FAIL  Slack: ") && said.ends_with("can this machine reach it?"),
        "{said}"
    );
    world.room = "#nowhere:test".to_owned();
    let said = but_always(&world.troubles(&[]).await);
    assert!(
        said.contains("channel room): ") && said.contains("is the room's id or alias right?"),
        "{said}"
    );
}

#[tokio::test]
async fn a_room_that_would_not_take_a_card_says_why() {
    let mut world = World::new().await;
    world.matrix.needs_power(&world.room, 50);
    insta::assert_snapshot!(but_always(&world.troubles(&[]).await), @"FAIL  Matrix room ROOM (channel room): messages need power level 50, and the bot has 0 -> raise the bot's power level in the room's settings");
    world.matrix.encrypt(&world.room);
    insta::assert_snapshot!(but_always(&world.troubles(&[]).await), @"FAIL  Matrix room ROOM (channel room): it is encrypted, and a card in clear text would leak -> use another room, or set `matrix.clear_text_in_encrypted_rooms`");
    world.room = world.matrix.closed_room("#closed:test");
    insta::assert_snapshot!(but_always(&world.troubles(&[]).await), @"FAIL  Matrix room ROOM (channel room): the bot is not in it -> invite the bot; it follows the invitation with its first card");
}

#[tokio::test]
async fn what_is_not_configured_is_advice_and_bad_files_fail() {
    let world = World::new().await;
    let folder = world.folder.path();
    let bare = |yaml: &str| {
        let file = folder.join("bare.yaml");
        let store = format!("store: {{ url: 'sqlite:{}' }}\n{yaml}", folder.join("p.db").display());
        std::fs::write(&file, store).unwrap();
        Config::load(Some(&file), std::iter::empty()).unwrap()
    };
    let said = async |config: &Config| {
        let found = examine(config, &[], Clock::System, DAY).await;
        let lines = found.iter().filter(|f| f.state != State::Ok).map(ToString::to_string);
        lines.collect::<Vec<_>>().join("\n").replace(&folder.display().to_string(), "DIR")
    };
    insta::assert_snapshot!(said(&bare("")).await, @r#"
    warn  on-call: no files: only the built-in operator is paged, on the console -> set `oncall: { dir: … }`
    warn  heartbeat: not configured: nobody notices when alerts stop coming -> let Prometheus send a Watchdog alert and set `sources.<name>.heartbeat`
    warn  dead man: not configured: nobody notices when this daemon does not run -> let something outside wait for a ping, and set `dead_man: { url: … }`
    warn  clusters: none: playbooks cannot look at pods, Spark or metastores -> add `clusters:`
    warn  sources: none is configured: alerts are taken from anybody on this machine, and no Alertmanager is known -> add `sources:`
    "#);
    std::fs::create_dir(folder.join("playbooks")).unwrap();
    std::fs::write(folder.join("playbooks/a.yaml"), "name: a\n").unwrap();
    std::fs::write(folder.join("people.yaml"), "people: 3\n").unwrap();
    let config = bare("playbooks: { dir: playbooks }\noncall: { dir: people.yaml }\n");
    insta::assert_snapshot!(said(&config).await, @r#"
    FAIL  playbooks: cannot be used: DIR/playbooks/a.yaml:1: the key `title` is missing -> `paramedic check` shows every mistake
    FAIL  on-call: cannot be used: DIR/people.yaml:1: this should be a list -> `paramedic check` shows every mistake
    warn  heartbeat: not configured: nobody notices when alerts stop coming -> let Prometheus send a Watchdog alert and set `sources.<name>.heartbeat`
    warn  dead man: not configured: nobody notices when this daemon does not run -> let something outside wait for a ping, and set `dead_man: { url: … }`
    warn  clusters: none: playbooks cannot look at pods, Spark or metastores -> add `clusters:`
    warn  sources: none is configured: alerts are taken from anybody on this machine, and no Alertmanager is known -> add `sources:`
    "#);
    // An address in a playbook that the guard refuses; and a store in a place that is none.
    let playbook = "name: a\ntitle: t\nowner: team:x\nmatch: [a=b]\nsteps:\n  - id: a\n    net.http: { url: 'http://10.1.2.3:8080/health' }\n  - id: b\n    net.tcp: { address: '169.254.169.254:80' }\n";
    std::fs::write(folder.join("playbooks/a.yaml"), playbook).unwrap();
    let mut config = bare("playbooks: { dir: playbooks }\n");
    config.store.url = format!("sqlite:{}/nowhere/p.db", folder.display());
    insta::assert_snapshot!(said(&config).await, @r#"
    warn  on-call: no files: only the built-in operator is paged, on the console -> set `oncall: { dir: … }`
    FAIL  store: cannot write into DIR/nowhere: No such file or directory (os error 2) -> make the folder DIR/nowhere and let the daemon's user write there
    warn  heartbeat: not configured: nobody notices when alerts stop coming -> let Prometheus send a Watchdog alert and set `sources.<name>.heartbeat`
    warn  dead man: not configured: nobody notices when this daemon does not run -> let something outside wait for a ping, and set `dead_man: { url: … }`
    warn  clusters: none: playbooks cannot look at pods, Spark or metastores -> add `clusters:`
    FAIL  egress: playbook a: 10.1.2.3 is outside the allowed networks; add its network to `egress.allow` to permit it
    FAIL  egress: playbook a: 169.254.169.254 is a cloud metadata service, which no playbook, label or cluster object may reach -> no setting permits it; take it out of the playbook
    warn  sources: none is configured: alerts are taken from anybody on this machine, and no Alertmanager is known -> add `sources:`
    "#);
}

#[tokio::test]
async fn applications_that_lose_their_dead_executors_are_counted() {
    let world = World::new().await;
    let application = |name: &str, keeps: &str| {
        json!({ "apiVersion": "sparkoperator.k8s.io/v1beta2", "kind": "SparkApplication", "metadata": { "name": name, "namespace": "spark-prod" },
            "spec": { "sparkConf": { "spark.kubernetes.executor.deleteOnTermination": keeps } } })
    };
    world.cluster.put(application("keeps", "false")).unwrap();
    assert_eq!(but_always(&world.troubles(&["spark-prod"]).await), "");
    world.cluster.put(application("loses", "true")).unwrap();
    insta::assert_snapshot!(but_always(&world.troubles(&["spark-prod"]).await), @"warn  cluster prod, evidence: 1 of 2 Spark applications delete the pods of failed executors at once, such as loses -> set spark.kubernetes.executor.deleteOnTermination=false in their sparkConf, and let a job remove old pods");
    world.cluster.deny("list", "sparkapplications");
    assert_eq!(but_always(&world.troubles(&["spark-prod"]).await), "");
}
