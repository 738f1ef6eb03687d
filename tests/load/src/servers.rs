//! The servers of a case: the product as people run it, the floor, PostgreSQL. Each ends with the value that holds it.

use std::{
    fs::{self, File},
    net::TcpListener,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    alerts::TEAMS,
    drive::{Target, get},
};

/// Longest wait for a server, and for work to be done.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// A running program, killed when dropped.
pub struct Process(Child);

impl Process {
    fn start(command: &mut Command, log: &Path) -> Self {
        let log = File::options().create(true).append(true).open(log).expect("a log file");
        let out = log.try_clone().expect("the log file again");
        let child = command.stdin(Stdio::null()).stdout(out).stderr(log).spawn();
        Self(child.unwrap_or_else(|error| panic!("{command:?} does not start: {error}")))
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Ends it in good order.
    pub fn stop(mut self) {
        self.signal("TERM");
    }

    /// Sends a signal that ends it, and waits for the end.
    fn signal(&mut self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.0.id().to_string()]).status();
        assert!(sent.is_ok_and(|sent| sent.success()), "{name} was sent");
        self.0.wait().expect("it ended");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A port that nobody listens on now.
pub fn port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// The product.
pub struct Product {
    /// Its process.
    pub process: Process,
    /// `127.0.0.1:port`.
    pub address: String,
    /// From the start of the process to the first `/readyz` that said yes.
    pub ready: Duration,
}

/// How the product runs.
pub struct Setup {
    /// Its binary.
    pub program: PathBuf,
    /// Its configuration, store and log.
    pub folder: PathBuf,
    /// `store.url`; a file in the folder when there is none.
    pub store: Option<String>,
    /// Where its people are reached: `127.0.0.1:port`.
    pub sink: String,
}

impl Setup {
    /// The store's file.
    pub fn file(&self) -> PathBuf {
        self.folder.join("paramedic.db")
    }

    /// Waits until every webhook is applied.
    pub async fn until_applied(&self) {
        self.until_no("deliveries WHERE state = 'new'").await;
    }

    /// Waits until the store's file has no such rows. Gauges are as old as the product's last look at it.
    pub async fn until_no(&self, rows: &str) {
        let none = async || {
            let db = rusqlite::Connection::open(self.file()).expect("the store's file");
            let sql = format!("SELECT count(*) FROM {rows}");
            db.query_row(&sql, [], |row| row.get::<_, i64>(0)).expect("a count") == 0
        };
        until(&format!("there are no {rows}"), Duration::from_millis(50), none).await;
    }

    /// Starts the product; its store stays from one start to the next.
    pub async fn start(&self) -> Product {
        let address = format!("127.0.0.1:{}", port());
        let config = self.write(&address);
        let begin = Instant::now();
        let process = Process::start(
            Command::new(&self.program).args(["serve", "--config"]).arg(config),
            &self.folder.join("log"),
        );
        let ready = async || matches!(get(&address, "/readyz").await, Some((200, _)));
        until("the product is ready", Duration::from_millis(2), ready).await;
        Product { process, address, ready: begin.elapsed() }
    }

    /// Many teams, each with one person who has an address of his own; one playbook of one step.
    fn write(&self, address: &str) -> PathBuf {
        let file = |name: &str, text: &str| {
            let path = self.folder.join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("the folder");
            fs::write(&path, text).expect("a file of the configuration");
            path.display().to_string()
        };
        let (mut people, mut policies, mut teams) = (String::new(), String::new(), String::new());
        for team in 0..TEAMS {
            let contact = format!("contacts: {{ webhook: 'http://{}/t{team}' }}", self.sink);
            people += &format!(
                "  - {{ id: p{team}, {contact}, notify: {{ default: [ {{ at: 0m, by: [webhook] }} ] }} }}\n"
            );
            policies += &format!(
                "  - {{ id: t{team}, steps: [ {{ at: 0m, page: ['person:p{team}'] }} ], then: {{ page: ['person:p{team}'], every: 30m }} }}\n"
            );
            teams += &format!(
                "  - {{ id: t{team}, owns: ['team=\"t{team}\"'], policy: t{team}, channels: [] }}\n"
            );
        }
        let oncall =
            file("oncall.yaml", &format!("people:\n{people}policies:\n{policies}teams:\n{teams}"));
        let secret = file("secret", "whsec_CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=");
        let playbook = "name: crash-looping\ntitle: Crash looping\nowner: team:t0\nreviewed: 2026-11-30\n\
                        match: [ 'alertname=\"KubePodCrashLooping\"' ]\nsteps: [ { id: before, incident.similar: { since: 24h } } ]\n";
        file("playbooks/crash-looping.yaml", playbook);
        let store =
            self.store.clone().unwrap_or_else(|| format!("sqlite:{}", self.file().display()));
        let playbooks = self.folder.join("playbooks").display().to_string();
        let config = format!(
            "server: {{ listen: '{address}' }}\nstore: {{ url: '{store}' }}\nlog: {{ level: warn }}\nstorm: {{ by: [] }}\nincidents: {{ settle: 1s }}\n\
             default_policy: t0\noncall: {{ dir: '{oncall}' }}\nwebhook: {{ secret: {{ file: '{secret}' }} }}\nplaybooks: {{ dir: '{playbooks}' }}\n"
        );
        self.folder.join(file("paramedic.yaml", &config))
    }
}

impl Product {
    /// Its webhook.
    pub fn target(&self) -> Target {
        Target { address: self.address.clone(), path: "/api/v1/alertmanager" }
    }

    /// The sum of a metric over its labels.
    pub async fn metric(&self, name: &str) -> f64 {
        let Some((200, body)) = get(&self.address, "/metrics").await else { return f64::NAN };
        let text = String::from_utf8_lossy(&body);
        let values = text.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Waits until a metric is at least this much.
    pub async fn until_metric(&self, name: &str, at_least: f64) {
        let there = async || self.metric(name).await >= at_least;
        until(&format!("{name} is {at_least}"), Duration::from_millis(50), there).await;
    }
}

/// The floor.
pub struct Floor {
    /// Its process.
    pub process: Process,
    /// Where webhooks go.
    pub target: Target,
}

impl Floor {
    /// Starts it with an empty store in this folder.
    pub async fn start(folder: &Path) -> Self {
        let address = format!("127.0.0.1:{}", port());
        let program = std::env::current_exe().expect("this program");
        let file = folder.join("floor.db");
        let process = Process::start(
            Command::new(program).args(["floor", &address]).arg(file),
            &folder.join("floor.log"),
        );
        let up = async || get(&address, "/").await.is_some();
        until("the floor is up", Duration::from_millis(5), up).await;
        Self { process, target: Target { address, path: "/durable" } }
    }
}

/// A PostgreSQL of its own, with the settings that it has when nobody changes them.
pub struct Postgres {
    process: Process,
    port: u16,
}

impl Postgres {
    /// Makes a cluster in this folder and starts it.
    pub async fn start(folder: &Path) -> Self {
        let versions = fs::read_dir("/usr/lib/postgresql")
            .expect("PostgreSQL; run ./tests/run install")
            .flatten();
        let programs =
            versions.map(|entry| entry.path().join("bin")).max().expect("a version of PostgreSQL");
        let user = owner();
        if let Some((user, group)) = user {
            chown(folder, Some(user), Some(group)).expect("the folder is the server's");
        }
        let as_owner = |name: &str| {
            let program = programs.join(name);
            let Some((user, group)) = user else { return Command::new(program) };
            let mut command = Command::new("setpriv");
            command.args([
                format!("--reuid={user}"),
                format!("--regid={group}"),
                "--clear-groups".to_owned(),
            ]);
            command.arg(program).current_dir("/");
            command
        };
        let (data, port) = (folder.join("data"), port());
        let made = as_owner("initdb")
            .arg("-D")
            .arg(&data)
            .args(["-U", "app", "--auth=trust", "-E", "UTF8", "--locale=C.UTF-8"])
            .output();
        assert!(
            made.is_ok_and(|made| made.status.success()),
            "initdb failed in {}",
            data.display()
        );
        let mut serve = as_owner("postgres");
        serve.arg("-D").arg(&data).args([
            "-p",
            &port.to_string(),
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
        ]);
        serve.arg(format!("unix_socket_directories={}", folder.display()));
        let process = Process::start(&mut serve, &folder.join("postgres.log"));
        let server = Self { process, port };
        let up = async || server.run("postgres", "SELECT 1").await.is_ok();
        until("PostgreSQL is up", Duration::from_millis(50), up).await;
        server
    }

    /// An empty database; its `store.url`.
    pub async fn database(&self, name: &str) -> String {
        self.run("postgres", &format!("CREATE DATABASE {name}")).await.expect("a database");
        self.url(name)
    }

    /// The number that this SQL gives.
    pub async fn number(&self, database: &str, sql: &str) -> sqlx::Result<i64> {
        use sqlx::Connection as _;
        let mut db = sqlx::PgConnection::connect(&self.url(database)).await?;
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql.to_owned())).fetch_one(&mut db).await
    }

    /// Runs SQL.
    pub async fn run(&self, database: &str, sql: &str) -> sqlx::Result<()> {
        use sqlx::Connection as _;
        let mut db = sqlx::PgConnection::connect(&self.url(database)).await?;
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut db).await.map(drop)
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://app@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Killed, it would leave the processes of its sessions.
        self.process.signal("INT");
    }
}

/// User and group ids of `postgres`, when we are root: the server refuses root.
fn owner() -> Option<(u32, u32)> {
    let id = |args: &[&str]| {
        let output = Command::new("id").args(args).output().expect("id runs");
        String::from_utf8_lossy(&output.stdout).trim().parse::<u32>().expect("a number")
    };
    (id(&["-u"]) == 0).then(|| (id(&["-u", "postgres"]), id(&["-g", "postgres"])))
}

/// Looks again and again until it holds.
pub async fn until(what: &str, every: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !holds().await {
        assert!(begin.elapsed() < PATIENCE, "not within {} s: {what}", PATIENCE.as_secs());
        tokio::time::sleep(every).await;
    }
}
