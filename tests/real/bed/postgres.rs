//! A private PostgreSQL cluster. Run by root it changes to the user `postgres`, because the server refuses root.

use std::{fs, os::unix::fs::chown, path::PathBuf, process::Command};

use super::{
    Bed, ports,
    process::{Process, run},
    program,
};

/// A PostgreSQL that can be stopped and started again on the same port and data.
pub struct Postgres {
    /// Its port on 127.0.0.1; the user is `app`, without a password.
    pub port: u16,
    folder: PathBuf,
    programs: PathBuf,
    settings: Vec<String>,
    process: Process,
}

impl Postgres {
    /// Creates a cluster and starts it.
    pub async fn start(bed: &Bed) -> Self {
        Self::start_with(bed, &[]).await
    }

    /// With these settings of the server (`name=value`).
    pub async fn start_with(bed: &Bed, settings: &[&str]) -> Self {
        let folder = bed.folder("postgres");
        let programs = programs();
        if let Some((user, group)) = owner() {
            chown(&folder, Some(user), Some(group)).unwrap();
        }
        let data = folder.join("data");
        let options = ["-U", "app", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"];
        run(as_owner(&programs.join("initdb")).arg("-D").arg(&data).args(options));
        let port = ports::free();
        let settings: Vec<String> = settings.iter().map(ToString::to_string).collect();
        let process = serve(&programs, &folder, port, &settings);
        let mut postgres = Self { port, folder, programs, settings, process };
        postgres.until_ready().await;
        postgres
    }

    /// Ends it as an operator would: open sessions are cut off.
    pub async fn stop(&mut self) {
        self.process.stop("INT").await;
    }

    /// Kills all its processes at once.
    pub async fn crash(&mut self) {
        let parent = format!(" {} ", self.process.id());
        let is_child = |id: &String| {
            fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default().contains(&parent)
        };
        let mut children = super::process::find(&["postgres: "]);
        children.retain(is_child);
        self.process.kill();
        for id in &children {
            super::process::kill("KILL", id);
        }
        let gone = async || {
            let left = super::process::find(&["postgres: "]);
            (!children.iter().any(|id| left.contains(id))).then_some(())
        };
        super::until("its processes are gone", super::READY, gone).await;
    }

    /// Starts it again after [`Self::stop`] or [`Self::crash`].
    pub async fn start_again(&mut self) {
        self.process = serve(&self.programs, &self.folder, self.port, &self.settings);
        self.until_ready().await;
    }

    /// Stops all its processes where they are: connections stay open and nothing answers.
    pub fn freeze(&self) {
        self.process.freeze();
        // Each session has a group of its own.
        self.sessions("STOP");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.process.thaw();
        self.sessions("CONT");
    }

    fn sessions(&self, signal: &str) {
        for id in super::process::find(&["postgres: app "]) {
            let parent = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            if parent.contains(&format!(" {} ", self.process.id())) {
                super::process::kill(signal, &id);
            }
        }
    }

    /// The address of a database, for `store.url`.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://app@127.0.0.1:{}/{database}", self.port)
    }

    /// Runs SQL in a database.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        run(self.psql(database).args(["-c", sql]))
    }

    /// A command that runs SQL as a session of its own, to be started.
    pub fn session(&self, database: &str, sql: &str) -> Command {
        let mut command = self.psql(database);
        command.args(["-c", sql]);
        command
    }

    fn psql(&self, database: &str) -> Command {
        let mut command = Command::new(self.programs.join("psql"));
        command.args(["-h", "127.0.0.1", "-U", "app", "-X", "-At", "-v", "ON_ERROR_STOP=1"]);
        command.args(["-p", &self.port.to_string(), "-d", database]);
        command
    }

    async fn until_ready(&mut self) {
        let mut ask = self.psql("postgres");
        ask.args(["-c", "SELECT 1"]);
        self.process
            .until_ready(async || {
                ask.output().ok().filter(|output| output.status.success()).map(drop)
            })
            .await;
    }
}

fn serve(
    programs: &std::path::Path,
    folder: &std::path::Path,
    port: u16,
    settings: &[String],
) -> Process {
    let mut command = as_owner(&programs.join("postgres"));
    command.arg("-D").arg(folder.join("data")).args(["-p", &port.to_string()]);
    command.args(["-c", "listen_addresses=127.0.0.1", "-c"]);
    command.arg(format!("unix_socket_directories={}", folder.display()));
    command.args(settings.iter().flat_map(|setting| ["-c", setting]));
    Process::start("postgres", &mut command, folder.join("log"))
}

/// The newest server's programs.
fn programs() -> PathBuf {
    let versions = fs::read_dir(program("/usr/lib/postgresql")).unwrap().flatten();
    let found =
        versions.map(|entry| entry.path().join("bin")).filter(|b| b.join("initdb").exists());
    found.max().expect("no PostgreSQL server is installed; run ./tests/run install")
}

/// User and group ids of `postgres`, when we are root.
fn owner() -> Option<(u32, u32)> {
    let number = |args: &[&str]| run(Command::new("id").args(args)).trim().parse::<u32>().unwrap();
    (number(&["-u"]) == 0).then(|| (number(&["-u", "postgres"]), number(&["-g", "postgres"])))
}

/// Makes a private file the server's own, as it wants its key to be.
pub fn give(file: &std::path::Path) {
    if let Some((user, group)) = owner() {
        chown(file, Some(user), Some(group)).unwrap();
    }
}

fn as_owner(binary: &std::path::Path) -> Command {
    let Some((user, group)) = owner() else { return Command::new(binary) };
    let mut command = Command::new("/usr/bin/setpriv");
    command.args([format!("--reuid={user}"), format!("--regid={group}")]);
    command.arg("--clear-groups").arg(binary).current_dir("/");
    command
}
