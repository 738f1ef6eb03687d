//! The daemon in a test: a real engine on a real SQLite file, the real router on a real port, a clock moved by hand.
//!
//! Nothing runs by itself: alerts are applied and jobs are run by [`TestApp::pump_until_quiet`]. Dropping the app fails
//! the test when jobs are due that nobody ran.

use std::{
    io::Write,
    sync::{Arc, Mutex},
    time::Duration,
};

use metrics_exporter_prometheus::PrometheusHandle;
use paramedic::{
    cli::{
        reload,
        wire::{Parts, Wired, wire},
    },
    clients::{
        self, Cluster,
        http::{HeaderName, Method, Request, Url},
    },
    config::Config,
    domain::{ids::IncidentId, incident::Incident},
    engine::Engine,
    http,
    notify::console::Console,
    ops::{
        clock::{self, Clock},
        lifecycle::Tasks,
        metrics,
    },
    playbook::reload::Reloader,
};
use serde_json::{Value, json};
use sqlx::Connection as _;
use tokio::net::TcpListener;

/// Secrets that a test's configuration can name as `{ env: NAME }`.
const SECRETS: [(&str, &str); 9] = [
    ("VIEWER", "viewer-secret"),
    ("RESPONDER", "responder-secret"),
    ("SOURCE", "source-secret"),
    ("HMAC", "hmac-secret"),
    ("SLACK", "xoxb-secret"),
    ("SIGNING", "signing-secret"),
    ("FAKE_SLACK", crate::fakes::slack::TOKEN),
    // Of the key 0123456789abcdef, twice.
    ("HOOK", "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="),
    ("FAKE_SIGNING", crate::fakes::slack::SIGNING_SECRET),
];

/// When every test begins.
pub const START: &str = "2026-11-23T03:00:00Z";

/// A running daemon.
pub struct TestApp {
    pub engine: Engine,
    pub hand: clock::Manual,
    pub tasks: Tasks,
    pub url: String,
    screen: Screen,
    client: clients::http::Client,
    clock: Clock,
    config: Arc<Config>,
    reloader: Arc<Reloader>,
    clusters: Vec<Cluster>,
    /// Gone once the process died.
    folder: Option<tempfile::TempDir>,
}

/// Where the console channel writes.
#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What a request got.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: clients::http::HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// A problem's `detail`, after checking that it is one.
    pub fn detail(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let document = self.json();
        assert_eq!(document["status"], self.status, "{self:?}");
        document["detail"].as_str().unwrap().to_owned()
    }
}

impl TestApp {
    /// With the default configuration: open on loopback, built-in on-call, the console.
    pub async fn new() -> Self {
        Self::with("").await
    }

    /// With a configuration file of this content.
    pub async fn with(yaml: &str) -> Self {
        Self::built(yaml, None, vec![]).await
    }

    /// With a configuration, on-call files and clusters of the test's own.
    pub async fn built(yaml: &str, oncall: Option<&str>, clusters: Vec<Cluster>) -> Self {
        let files: Vec<_> = oncall.into_iter().map(|text| ("oncall.yaml", text)).collect();
        Self::start(yaml, &files, clusters).await
    }

    /// With more files beside the configuration (`oncall.yaml` and `playbooks/*` are used as they are), and clusters besides the configured ones.
    pub async fn start(yaml: &str, files: &[(&str, &str)], clusters: Vec<Cluster>) -> Self {
        Self::at(Clock::manual(START.parse().unwrap()), yaml, files, clusters).await
    }

    /// The same, with a clock that the world around it shares.
    pub async fn at(
        clock: (Clock, clock::Manual),
        yaml: &str,
        files: &[(&str, &str)],
        clusters: Vec<Cluster>,
    ) -> Self {
        Self::on(None, clock, yaml, files, clusters).await
    }

    /// One of several on this store; `None`: a file of its own.
    pub async fn on(
        store: Option<&str>,
        (clock, hand): (Clock, clock::Manual),
        yaml: &str,
        files: &[(&str, &str)],
        clusters: Vec<Cluster>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::create_dir(path("playbooks")).unwrap();
        for (name, text) in files.iter().chain(&[("paramedic.yaml", yaml)]) {
            std::fs::write(path(name), text).unwrap();
        }
        let mut env = SECRETS.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let own = format!("sqlite:{}", path("paramedic.db"));
        let store = store.map_or(own, ToOwned::to_owned);
        env.push(("PARAMEDIC__STORE__URL".to_owned(), store));
        if files.iter().any(|(name, _)| *name == "oncall.yaml") {
            env.push(("PARAMEDIC__ONCALL__DIR".to_owned(), path("oncall.yaml")));
        }
        if files.iter().any(|(name, _)| name.starts_with("playbooks/")) {
            env.push(("PARAMEDIC__PLAYBOOKS__DIR".to_owned(), path("playbooks")));
        }
        let file = folder.path().join("paramedic.yaml");
        let config = Arc::new(Config::load(Some(&file), env.into_iter()).unwrap());
        Self::starts(folder, config, clock, hand, clusters).await
    }

    async fn starts(
        folder: tempfile::TempDir,
        config: Arc<Config>,
        clock: Clock,
        hand: clock::Manual,
        clusters: Vec<Cluster>,
    ) -> Self {
        let (tasks, screen) = (Tasks::default(), Screen::default());
        let console = Console::new(screen.clone(), false);
        let parts = Parts { clock: clock.clone(), console, clusters: clusters.clone() };
        let Wired { engine, reloader } = wire(&config, parts, &tasks).await.unwrap();
        let state = http::State::new(engine.clone(), Arc::clone(&config), prometheus(), &tasks);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (serving, state) = (tasks.clone(), state.unwrap());
        tasks.spawn("http.serve", async move { http::serve(state, listener, &serving).await });
        let client = clients::http::Client::new(clients::http::Guard::default()).unwrap();
        Self {
            engine,
            hand,
            tasks,
            url,
            screen,
            client,
            clock,
            config,
            reloader,
            clusters,
            folder: Some(folder),
        }
    }

    /// The process dies without a word, and another one starts on the same store.
    pub async fn dies_and_restarts(self) -> Self {
        self.restarts_after(async |_| ()).await
    }

    /// The process ends, something is done with the store's file, and another process starts on it.
    pub async fn restarts_after(mut self, meanwhile: impl AsyncFnOnce(&std::path::Path)) -> Self {
        let file = self.database();
        let folder = self.folder.take().unwrap();
        let (config, clusters) = (Arc::clone(&self.config), self.clusters.clone());
        let (clock, hand, tasks) = (self.clock.clone(), self.hand.clone(), self.tasks.clone());
        drop(self);
        tasks.stop().stopped.cancel();
        tasks.shut_down(Duration::from_secs(5)).await;
        meanwhile(&file).await;
        Self::starts(folder, config, clock, hand, clusters).await
    }

    /// What the console channel printed so far.
    pub fn console(&self) -> String {
        String::from_utf8(self.screen.0.lock().unwrap().clone()).unwrap()
    }

    /// Changes a row behind the daemon's back.
    pub fn sql(&self, sql: &str, id: i64) {
        let db = rusqlite::Connection::open(self.database()).unwrap();
        db.execute(sql, [id]).unwrap();
    }

    /// The store's file.
    pub fn database(&self) -> std::path::PathBuf {
        self.folder.as_ref().unwrap().path().join("paramedic.db")
    }

    /// Somebody writes a file of the configuration's folder, and the daemon looks at its files.
    pub async fn edit(&self, name: &str, text: &str) {
        std::fs::write(self.folder.as_ref().unwrap().path().join(name), text).unwrap();
        reload::look(&self.engine, &self.reloader, &self.config).await.unwrap();
    }

    /// Time passes.
    pub fn advance(&self, by: Duration) {
        self.hand.advance(by);
    }

    /// Applies deliveries and runs jobs until none is due.
    pub async fn pump_until_quiet(&self) {
        for _ in 0..200 {
            if self.engine.pump().await.unwrap() == 0 && !self.is_due().await {
                return;
            }
        }
        panic!("jobs are due again and again: {:?}", self.engine.store.job_counts().await);
    }

    async fn is_due(&self) -> bool {
        let kinds: Vec<&str> = paramedic::engine::worker::kinds().collect();
        let due = self.engine.store.next_due(&kinds).await.unwrap();
        due.is_some_and(|due| due <= self.engine.now())
    }

    /// An incident's state.
    pub async fn incident(&self, number: i64) -> Incident {
        let stored = self.engine.store.incident(IncidentId(number)).await.unwrap();
        stored.unwrap_or_else(|| panic!("there is no INC-{number}")).incident
    }

    /// Posts a payload to the unnamed source; it must be taken.
    pub async fn post_alerts(&self, payload: &Value) {
        let answer = self.post("/api/v1/alertmanager", &payload.to_string()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    /// GET, as a browser.
    pub async fn page(&self, path: &str) -> Answer {
        self.send("GET", path, &[("accept", "text/html,application/xhtml+xml")], "").await
    }

    /// POST with a JSON body.
    pub async fn post(&self, path: &str, body: &str) -> Answer {
        self.send("POST", path, &[("content-type", "application/json")], body).await
    }

    /// Any request.
    pub async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        let url: Url = format!("{}{path}", self.url).parse().unwrap();
        let mut request = Request::new(Method::from_bytes(method.as_bytes()).unwrap(), url, "test");
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            request = request.header(name, value.parse().unwrap());
        }
        request.body = Some(body.into());
        let response = self.client.send(request).await.unwrap();
        let body = String::from_utf8(response.body).unwrap();
        Answer { status: response.status, headers: response.headers, body }
    }
}

impl Drop for TestApp {
    #[allow(
        clippy::disallowed_methods,
        reason = "drop cannot await; the check gets a thread of its own"
    )]
    fn drop(&mut self) {
        // A simulated world has no address that could be looked at.
        let is_world = self.config.store.url.starts_with("sim:");
        if std::thread::panicking() || self.folder.is_none() || is_world {
            return;
        }
        // A connection of its own: the store's belong to a runtime that this thread is blocking.
        let (url, now) = (self.config.store.url.clone(), self.engine.now().as_millisecond());
        let left = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(due(&url, now))
        });
        let jobs = left.join().unwrap();
        assert!(
            jobs.is_empty(),
            "the test ended while jobs were due: {jobs:?}; call pump_until_quiet"
        );
    }
}

/// Keys of jobs that are due in the store at `url`.
async fn due(url: &str, now: i64) -> Vec<String> {
    let sql = "SELECT job_key FROM jobs WHERE state = 'ready' AND due_at <= $1 LIMIT 5";
    if url.starts_with("postgres:") {
        let mut db = sqlx::PgConnection::connect(url).await.unwrap();
        return sqlx::query_scalar(sql).bind(now).fetch_all(&mut db).await.unwrap();
    }
    let file = url.strip_prefix("sqlite:").unwrap();
    let db =
        rusqlite::Connection::open_with_flags(file, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)
            .unwrap();
    let mut jobs = db.prepare(sql).unwrap();
    jobs.query_map([now], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// The one recorder of this test process.
pub fn prometheus() -> PrometheusHandle {
    metrics::install().unwrap()
}

/// An Alertmanager payload of firing alerts, one per label set.
pub fn firing(alerts: &[&[(&str, &str)]]) -> Value {
    let alerts: Vec<Value> = alerts
        .iter()
        .map(|labels| {
            let labels: std::collections::BTreeMap<&str, &str> = labels.iter().copied().collect();
            json!({ "status": "firing", "labels": labels, "annotations": {}, "startsAt": "2026-11-23T02:59:00Z",
                    "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "http://prom:9090/graph?g0.expr=up" })
        })
        .collect();
    json!({ "version": "4", "groupKey": "{}:{}", "status": "firing", "receiver": "paramedic", "groupLabels": {},
            "commonLabels": {}, "commonAnnotations": {}, "externalURL": "http://am:9093", "truncatedAlerts": 0, "alerts": alerts })
}
