//! A Kubernetes for one story: the demo's API server with a kubelet behind it, and real Spark submitted to it.
//!
//! All of it runs on the story's own thread. So no story may block that thread while something waits for the API server:
//! run programs with [`Cluster::run`], not with [`super::process::run`].

use std::{path::PathBuf, process::Command, time::Duration};

use axum::http::{HeaderValue, header};
use paramedic::{
    clients::http::{Client, Guard, Request},
    demo::apiserver::{self, ApiServer},
    ops::{clock::Clock, lifecycle::Tasks},
};
use serde_json::{Value, json};

use super::{
    Bed,
    kubelet::{self, Kubelet},
    process::Process,
    spark::{self, Version},
    tls, until, venv,
};

/// The namespace of the stories' applications.
pub const NAMESPACE: &str = "spark-prod";
/// How long a story waits for Spark on a busy machine.
const PATIENCE: Duration = Duration::from_mins(4);

/// A running cluster.
pub struct Cluster {
    /// Its objects, to look at and to change.
    pub api: apiserver::Cluster,
    /// `http://127.0.0.1:port`.
    pub url: String,
    /// Its processes, to hurt them.
    pub kubelet: Kubelet,
    /// The system's clock.
    pub clock: Clock,
    /// The bearer token of kubectl and Spark, where the cluster wants one.
    pub token: Option<String>,
    authority: Option<PathBuf>,
    /// Where its programs and its pods' volumes and logs are.
    pub(super) folder: PathBuf,
    http: Client,
    tasks: Tasks,
}

/// How an application is submitted.
pub struct Submit {
    /// Which Spark.
    pub version: Version,
    /// Whether its driver is a pod.
    pub cluster_mode: bool,
    /// Its name.
    pub name: &'static str,
    /// The Python program.
    pub program: &'static str,
    /// How many executors; each has one core and 512 MiB. The program's text `FOLDER` becomes the cluster's folder.
    pub executors: u8,
    /// More settings.
    pub settings: Vec<String>,
}

impl Submit {
    /// One executor in cluster mode.
    pub fn new(version: Version, name: &'static str, program: &'static str) -> Self {
        Self { version, cluster_mode: true, name, program, executors: 1, settings: vec![] }
    }

    /// Adds a setting: `spark.task.maxFailures=1`.
    #[must_use]
    pub fn with(mut self, setting: impl Into<String>) -> Self {
        self.settings.push(setting.into());
        self
    }
}

impl Cluster {
    /// Starts one with the namespaces `default` and `spark-prod`, two nodes, and a service account `spark`.
    pub async fn start(bed: &Bed) -> Self {
        Self::start_with(bed, false).await
    }

    /// The same behind TLS, with a certificate authority of its own: kubectl and `spark-submit` are given it, with
    /// [`Self::token`]. [`Self::call`] is not, and a driver in a pod is not either.
    pub async fn start_tls(bed: &Bed) -> Self {
        Self::start_with(bed, true).await
    }

    async fn start_with(bed: &Bed, tls: bool) -> Self {
        let (clock, tasks) = (Clock::System, Tasks::default());
        let api = apiserver::Cluster::new(&clock);
        for name in ["default", "kube-system", NAMESPACE] {
            let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name },
                                    "status": { "phase": "Active" } });
            api.put(namespace).unwrap();
        }
        for node in kubelet::nodes() {
            api.put(node).unwrap();
        }
        let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount",
                              "metadata": { "name": "spark", "namespace": NAMESPACE } });
        api.put(account).unwrap();
        let (server, authority) = if tls {
            let made = tls::Made::new(bed);
            let server = ApiServer::start_tls(&tasks, api.clone(), made.identity()).await;
            (server.unwrap(), Some(made.authority))
        } else {
            (ApiServer::start(&tasks, api.clone()).await.unwrap(), None)
        };
        let url = server.url.as_str().trim_end_matches('/').to_owned();
        let folder = bed.folder("cluster");
        let kubelet = Kubelet::start(&tasks, &clock, &api, folder.join("pods"), &url);
        let http = Client::new(Guard::default()).unwrap();
        Self { api, url, kubelet, clock, token: None, authority, folder, http, tasks }
    }

    /// Submits an application. In client mode the process is the driver, in cluster mode it ends when the driver pod is
    /// created.
    pub fn submit(&self, bed: &Bed, submit: &Submit) -> Process {
        let Submit { version, cluster_mode, name, program, executors, settings } = submit;
        let program = program.replace("FOLDER", &self.folder.display().to_string());
        let file = bed.file(&format!("cluster/{name}.py"), &program);
        let mut command = spark::script_of(*version, &self.folder, "spark-submit");
        let mode = if *cluster_mode { "cluster" } else { "client" };
        command.args(["--master", &format!("k8s://{}", self.url), "--deploy-mode", mode]);
        command.args(["--name", name]);
        let mut all = vec![
            format!("spark.kubernetes.namespace={NAMESPACE}"),
            format!("spark.kubernetes.container.image={}", version.image()),
            "spark.kubernetes.authenticate.driver.serviceAccountName=spark".to_owned(),
            format!("spark.executor.instances={executors}"),
            "spark.executor.memory=512m".to_owned(),
            "spark.executor.cores=1".to_owned(),
            "spark.driver.memory=512m".to_owned(),
            // All of it is slower by default, for the sake of a big cluster.
            "spark.kubernetes.allocation.batch.delay=200ms".to_owned(),
            "spark.kubernetes.executor.eventProcessingInterval=200ms".to_owned(),
            // The submitting JVM ends as soon as the driver pod is there.
            "spark.kubernetes.submission.waitAppCompletion=false".to_owned(),
        ];
        if !cluster_mode {
            all.push("spark.driver.host=127.0.0.1".to_owned());
            all.push("spark.driver.bindAddress=127.0.0.1".to_owned());
            all.push(format!("spark.ui.port={}", super::ports::free()));
        }
        let way = if *cluster_mode { "authenticate.submission" } else { "authenticate" };
        if let Some(file) = &self.authority {
            all.push(format!("spark.kubernetes.{way}.caCertFile={}", file.display()));
        }
        if let Some(token) = &self.token {
            all.push(format!("spark.kubernetes.{way}.oauthToken={token}"));
        }
        all.extend(settings.iter().cloned());
        for setting in all {
            command.args(["--conf", &setting]);
        }
        match cluster_mode {
            true => command.arg(format!("local://{}", file.display())),
            false => command.arg(file),
        };
        let log = self.folder.join(format!("{name}.submit.log"));
        Process::start(&format!("submit-{name}"), &mut command, log)
    }

    /// Lets a program that waits for the file `FOLDER/stop` end.
    pub fn finish(&self) {
        self.mark("stop");
    }

    /// Calls the API server: status and body.
    pub async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let url = format!("{}{path}", self.url).parse().unwrap();
        let mut request = Request::new(method.parse().unwrap(), url, "call the API server");
        if let Some(body) = body {
            request.body = Some(body.to_string().into_bytes());
            request =
                request.header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let answer = self.http.send(request).await.unwrap();
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        (answer.status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Runs a program to its end without blocking the story's thread, which the API server needs. Exit code and output,
    /// standard error after standard output.
    pub async fn run(&self, command: Command) -> (i32, String) {
        let mut command = tokio::process::Command::from(command);
        let output = command.kill_on_drop(true).output();
        let output = tokio::time::timeout(PATIENCE, output).await;
        let output = output.expect("the program ends").expect("the program starts");
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        (output.status.code().unwrap_or(-1), text)
    }

    /// Waits for Spark. Fails at once when the kubelet is dead.
    pub async fn until<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        until(what, PATIENCE, async || {
            assert_eq!(self.tasks.dead(), None, "while waiting: {what}");
            look().await
        })
        .await
    }

    /// Waits until a pod looks as wanted; shows all pods when it never does.
    pub async fn until_pod(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let look = async || self.api.list("pods").into_iter().find(|pod| wanted(pod));
        self.until(what, look).await
    }

    /// Waits until a pod of an application's role runs.
    pub async fn until_running(&self, role: &str, number: usize) -> Vec<String> {
        let what = format!("{number} pods of role {role} run");
        self.until(&what, async || {
            let running: Vec<String> = self
                .api
                .list("pods")
                .iter()
                .filter(|pod| pod["metadata"]["labels"]["spark-role"] == role)
                .filter(|pod| pod["status"]["phase"] == "Running")
                .map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned())
                .collect();
            (running.len() == number).then_some(running)
        })
        .await
    }

    /// Runs kubectl against the story's namespace: exit code, and standard output before standard error.
    pub async fn kubectl(&self, arguments: &[&str]) -> (i32, String) {
        self.run(self.kubectl_command(arguments)).await
    }

    /// The same, and it must succeed.
    pub async fn kubectl_ok(&self, arguments: &[&str]) -> String {
        let (code, output) = self.kubectl(arguments).await;
        assert_eq!(code, 0, "kubectl {arguments:?}: {output}");
        output
    }

    /// kubectl, not started yet. Its cache and home are the cluster's folder.
    pub fn kubectl_command(&self, arguments: &[&str]) -> Command {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test", "namespace": NAMESPACE } }],
            "clusters": [{ "name": "test", "cluster": self.trust() }],
            "users": [{ "name": "test", "user": self.token.as_ref().map_or(json!({}), |token| json!({ "token": token })) }],
        });
        let file = self.folder.join("kubeconfig.json");
        std::fs::write(&file, config.to_string()).unwrap();
        let mut command = Command::new(venv("kubectl").join("bin/kubectl"));
        command.env("KUBECONFIG", file).env("HOME", &self.folder).current_dir(&self.folder);
        command.args(arguments);
        command
    }

    fn trust(&self) -> Value {
        match &self.authority {
            Some(file) => json!({ "server": self.url, "certificate-authority": file }),
            None => json!({ "server": self.url }),
        }
    }

    /// A pod of the machine's own programs, without a JVM: `sh -c SCRIPT`.
    pub async fn shell_pod(&self, name: &str, restart: &str, script: &str) {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "labels": { "app": name } },
            "spec": { "restartPolicy": restart, "containers": [
                { "name": "main", "image": "busybox:1", "command": ["sh", "-c", script] },
            ] },
        });
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods");
        let (status, answer) = self.call("POST", &path, Some(&pod)).await;
        assert_eq!(status, 201, "{answer}");
    }

    /// A pod as it is now.
    pub fn pod(&self, name: &str) -> Value {
        self.api.get("pods", NAMESPACE, name).unwrap_or_else(|| panic!("there is no pod {name}"))
    }

    /// Waits until a pod has ended, and gives it.
    pub async fn ended(&self, name: &str) -> Value {
        self.until_pod(&format!("pod {name} ends"), |pod| {
            let ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
            pod["metadata"]["name"] == name && ended
        })
        .await
    }

    /// A pod's log so far.
    pub fn log(&self, pod: &str) -> String {
        self.api.log_text(NAMESPACE, pod)
    }

    /// The events about an object, oldest first: `Reason: message`.
    pub fn events(&self, name: &str) -> Vec<String> {
        let mut events = self.api.list("events");
        events.retain(|event| event["involvedObject"]["name"] == name);
        events.sort_by_key(|event| {
            event["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap()
        });
        let text = |event: &Value, field: &str| event[field].as_str().unwrap().to_owned();
        events.iter().map(|e| format!("{}: {}", text(e, "reason"), text(e, "message"))).collect()
    }
}

impl Drop for Cluster {
    #[allow(clippy::print_stdout, reason = "the story has failed; this is why")]
    fn drop(&mut self) {
        // Before the bed's folder goes: a JVM would write into it again.
        self.tasks.stop().draining.cancel();
        self.kubelet.power_off();
        if !std::thread::panicking() {
            assert_eq!(self.tasks.dead(), None);
            assert_eq!(self.api.unexpected(), Vec::<String>::new());
            return;
        }
        println!("--- unexpected calls: {:#?}", self.api.unexpected());
        let requests = self.api.requests();
        println!("--- the last requests: {:#?}", &requests[requests.len().saturating_sub(20)..]);
        for pod in self.api.list("pods") {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            println!("--- pod {name}: {}", pod["status"]);
            let log = self.log(name);
            let lines: Vec<&str> = log.lines().collect();
            println!("{}", lines[lines.len().saturating_sub(30)..].join("\n"));
        }
    }
}
