//! The daemon itself, as people run it: the built binary, a configuration file, a port.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use paramedic::clients::http::{Client, Guard, Method, Request};
use serde_json::{Value, json};

use super::{Bed, ports, process::Process, program, until};

/// How long a story waits for the daemon to do something.
const PATIENCE: Duration = Duration::from_mins(2);

/// A running `paramedic serve`.
pub struct Daemon {
    /// `http://127.0.0.1:port`.
    pub url: String,
    /// Its process, to stop, freeze and kill.
    pub process: Process,
    config: PathBuf,
    /// The size of the disk that only it sees, and which is empty when it starts.
    disk: Option<(PathBuf, String)>,
    log: PathBuf,
    http: Client,
}

impl Daemon {
    /// Starts one with this much more configuration (YAML at the top level; `DIR` becomes the bed's folder for it).
    pub async fn start(bed: &Bed, more: &str) -> Self {
        Self::start_at(bed, ports::free(), more).await
    }

    /// The same on a port that others know already.
    pub async fn start_at(bed: &Bed, port: u16, more: &str) -> Self {
        let store = format!("sqlite:{}", bed.folder("paramedic").join("paramedic.db").display());
        Self::starts(bed, "paramedic", (port, None), &format!("url: '{store}'"), more).await
    }

    /// Starts one of several, with this name and this `store:`.
    pub async fn start_on(bed: &Bed, name: &str, store: &str, more: &str) -> Self {
        Self::starts(bed, name, (ports::free(), None), store, more).await
    }

    async fn starts(
        bed: &Bed,
        name: &str,
        (port, disk): (u16, Option<(PathBuf, String)>),
        store: &str,
        more: &str,
    ) -> Self {
        let folder = bed.folder(name);
        let more = more.replace("DIR", &folder.display().to_string());
        let text = format!(
            "server: {{ listen: '127.0.0.1:{port}' }}\n\
             store: {{ {store} }}\n\
             incidents: {{ settle: 2s }}\n\
             log: {{ level: info }}\n\
             {more}\n"
        );
        let config = bed.file(&format!("{name}/paramedic.yaml"), &text);
        let log = folder.join("log");
        let url = format!("http://127.0.0.1:{port}");
        let http = Client::new(Guard::default()).unwrap();
        let process = run(bed, &config, disk.as_ref(), &log, &url).await;
        Self { url, process, config, disk, log, http }
    }

    /// Starts one whose store is on a disk of this size (`8m`), in memory, which only it sees.
    pub async fn start_on_small_disk(bed: &Bed, size: &str, more: &str) -> Self {
        let folder = bed.folder("disk");
        let store = format!("url: 'sqlite:{}'", folder.join("paramedic.db").display());
        let disk = Some((folder, size.to_owned()));
        Self::starts(bed, "paramedic", (ports::free(), disk), &store, more).await
    }

    /// Where its small disk is.
    pub fn disk(&self) -> &Path {
        &self.disk.as_ref().expect("it has a small disk").0
    }

    /// Starts it again after it ended.
    pub async fn starts_again(&mut self, bed: &Bed) {
        self.process = run(bed, &self.config, self.disk.as_ref(), &self.log, &self.url).await;
    }

    /// The webhook for Alertmanager.
    pub fn webhook(&self) -> String {
        format!("{}/api/v1/alertmanager", self.url)
    }

    /// Posts one alert, firing or resolved, as Alertmanager would.
    pub async fn alert(&self, status: &str, labels: &Value) {
        let body = json!({
            "version": "4", "groupKey": "{}:{}", "status": status, "receiver": "paramedic", "groupLabels": {},
            "commonLabels": labels, "commonAnnotations": {}, "externalURL": "http://am.example.org", "truncatedAlerts": 0,
            "alerts": [{ "status": status, "labels": labels, "annotations": { "summary": "a story's alert" },
                         "startsAt": "2026-11-23T03:12:00Z", "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "" }],
        });
        self.call(Method::POST, "/api/v1/alertmanager", &body).await;
    }

    /// Posts one firing alert; the answer's status, or `None` when nothing answered.
    pub async fn try_alert(&self, labels: &Value) -> Option<u16> {
        let body =
            json!({ "alerts": [{ "status": "firing", "labels": labels, "annotations": {} }] });
        let url = self.webhook().parse().unwrap();
        let request = Request::post(url, "alert", body.to_string(), "application/json");
        self.http.send(request).await.ok().map(|answer| answer.status)
    }

    /// A call of the API that must succeed.
    pub async fn call(&self, method: Method, path: &str, body: &Value) -> Value {
        let url = format!("{}{path}", self.url).parse().unwrap();
        let request = match method {
            Method::GET => Request::get(url, "ask the daemon"),
            _ => Request::post(url, "ask the daemon", body.to_string(), "application/json"),
        };
        let answer = self.http.send(request).await.unwrap().error_for_status("ask the daemon");
        answer.unwrap().json("ask the daemon").unwrap()
    }

    /// All incidents, newest first.
    pub async fn incidents(&self) -> Vec<Value> {
        let list = self.call(Method::GET, "/api/v1/incidents?status=all", &Value::Null).await;
        list["items"].as_array().unwrap().clone()
    }

    /// Waits until the incident looks as wanted; fails with how it looked last.
    pub async fn until_incident(
        &self,
        id: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let path = format!("/api/v1/incidents/{id}");
        until(&format!("{id}: {what}\n{}", self.process.output()), PATIENCE, async || {
            let known = self.incidents().await.iter().any(|item| item["id"] == id);
            let seen = if known {
                self.call(Method::GET, &path, &Value::Null).await
            } else {
                return None;
            };
            wanted(&seen).then_some(seen)
        })
        .await
    }

    /// How many pages the console printed.
    pub fn pages(&self) -> usize {
        self.process.output().matches(">>> PAGE for ").count()
    }
}

async fn run(
    bed: &Bed,
    config: &Path,
    disk: Option<&(PathBuf, String)>,
    log: &Path,
    url: &str,
) -> Process {
    let binary = env!("CARGO_BIN_EXE_paramedic");
    let mut command = match disk {
        None => Command::new(binary),
        Some((folder, size)) => {
            let mut command = Command::new(program("/usr/bin/unshare"));
            // In a user namespace of its own whoever runs the stories may mount.
            command.args(["--user", "--map-root-user", "--mount", "/bin/sh", "-c"]);
            command.arg("mount -t tmpfs -o size=$1 small \"$2\" && shift 2 && exec \"$@\"");
            command.args(["sh", size.as_str()]).arg(folder).arg(binary);
            command
        }
    };
    command.args(["serve", "--config"]).arg(config);
    let mut process = Process::start("paramedic", &mut command, log.to_owned());
    let ready = format!("{url}/readyz");
    process.until_ready(async || bed.get(&ready).await.filter(|r| r.status == 200)).await;
    process
}
