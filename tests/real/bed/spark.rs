//! Real Spark (PySpark 3.5): a standalone master and worker, and applications on them.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::Value;

use super::{
    Bed, ports,
    process::{Process, find, kill},
    until, venv,
};

/// The Sparks that are installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// PySpark 3.5.
    V3,
    /// PySpark 4.1.
    V4,
}

impl Version {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::V3, Self::V4];

    /// The image that has it, for the test's kubelet.
    pub fn image(self) -> &'static str {
        match self {
            Self::V3 => "spark:3.5.9",
            Self::V4 => "spark:4.1.4",
        }
    }

    /// Its virtual environment.
    pub fn venv(self) -> PathBuf {
        match self {
            Self::V3 => venv("spark"),
            Self::V4 => venv("spark4"),
        }
    }
}

/// `SPARK_HOME` inside the wheel.
pub fn home(version: Version) -> PathBuf {
    let libraries = version.venv().join("lib");
    let mut pythons = std::fs::read_dir(&libraries).unwrap().flatten();
    let python = pythons.next().expect("a venv has one Python").path();
    let home = python.join("site-packages/pyspark");
    assert!(home.exists(), "{} is missing; run ./tests/run install", home.display());
    home
}

/// A master with one worker of two cores.
pub struct Cluster {
    /// `spark://127.0.0.1:port`.
    pub master: String,
    _master: Process,
    _worker: Process,
}

/// An application that lost an executor, still running.
pub struct App {
    /// The driver's UI and REST API: `http://127.0.0.1:port`.
    pub ui: String,
    /// `spark.app.id`.
    pub id: String,
    /// What the driver writes.
    pub driver_log: PathBuf,
    /// The executor's entry in the driver's REST API, after its removal.
    pub lost: Value,
    _driver: Process,
    _cluster: Cluster,
}

impl Cluster {
    /// Starts both and waits until the worker is registered.
    pub async fn start(bed: &Bed) -> Self {
        let folder = bed.folder("spark");
        let (port, web, worker_web) = (ports::free(), ports::free(), ports::free());
        let master = format!("spark://127.0.0.1:{port}");
        let mut command = script(&folder, "spark-class");
        command.arg("org.apache.spark.deploy.master.Master").args(["--host", "127.0.0.1"]);
        command.args(["--port", &port.to_string(), "--webui-port", &web.to_string()]);
        let mut first = Process::start("spark-master", &mut command, folder.join("master.log"));
        let state = format!("http://127.0.0.1:{web}/json/");
        first.until_ready(async || bed.json(&state).await).await;

        let mut command = script(&folder, "spark-class");
        command.arg("org.apache.spark.deploy.worker.Worker").args(["--host", "127.0.0.1"]);
        command.args(["-c", "2", "-m", "2g", "--webui-port", &worker_web.to_string(), "-d"]);
        command.arg(folder.join("work")).arg(&master);
        let mut second = Process::start("spark-worker", &mut command, folder.join("worker.log"));
        second
            .until_ready(async || bed.json(&state).await.filter(|s| s["aliveworkers"] == 1))
            .await;
        Self { master, _master: first, _worker: second }
    }
}

/// Starts an application, kills one of its two executors with SIGKILL while it works, and waits until the driver says why
/// the executor is gone.
pub async fn app_losing_an_executor(bed: &Bed) -> App {
    let cluster = Cluster::start(bed).await;
    let script = bed.file("spark/app.py", WORKING);
    let (web, port) = (ports::free(), ports::free());
    let mut command = submit(bed, &cluster.master, &script);
    let ui = format!("http://127.0.0.1:{web}");
    let driver_log = bed.folder("spark").join("driver.log");
    command.env("DRIVER_PORT", port.to_string()).env("UI_PORT", web.to_string());
    let mut driver = Process::start("spark-driver", &mut command, driver_log.clone());
    let applications = format!("{ui}/api/v1/applications");
    let id = driver
        .until_ready(async || Some(bed.json(&applications).await?[0]["id"].as_str()?.to_owned()))
        .await;

    let executors = format!("{applications}/{id}/allexecutors");
    // Not before it has finished a task: what ends an executor that is not whole yet has other words.
    let works = |e: &&Value| {
        e["isActive"] == true && e["activeTasks"] == 1 && e["completedTasks"].as_u64() > Some(0)
    };
    let live = |all: &Value| {
        let all = all.as_array().into_iter().flatten();
        all.filter(|e| e["id"] != "driver").filter(works).count()
    };
    driver.until_ready(async || bed.json(&executors).await.filter(|all| live(all) == 2)).await;
    let victims = find(&["CoarseGrainedExecutorBackend", &format!("127.0.0.1:{port}"), &id]);
    kill("KILL", victims.first().expect("two executors run"));

    let lost = until("the driver removes the executor", Duration::from_mins(2), async || {
        let all = bed.json(&executors).await?;
        let gone = |e: &&Value| e["isActive"] == false && e["removeReason"].is_string();
        all.as_array()?.iter().find(gone).cloned()
    })
    .await;
    App { ui, id, driver_log, lost, _driver: driver, _cluster: cluster }
}

/// An application in one process (`local[1]`) with a failed job, a finished query and a running stream; it writes an event log.
pub struct Streaming {
    /// The driver's UI and REST API.
    pub ui: String,
    /// `spark.app.id`.
    pub id: String,
    events: PathBuf,
    driver: Process,
}

impl Streaming {
    /// Asks it to end in order, which closes its event log.
    pub async fn end(&mut self) {
        self.driver.stop("TERM").await;
    }
}

/// Starts it, and waits until its stream runs.
pub async fn streaming_app(bed: &Bed) -> Streaming {
    let script = bed.file("spark/stream.py", STREAMING);
    let (events, web) = (bed.folder("spark/events"), ports::free());
    let mut command = submit(bed, "local[1]", &script);
    command.env("UI_PORT", web.to_string()).env("EVENTS", &events);
    let log = bed.folder("spark").join("stream.log");
    let mut driver = Process::start("spark-stream", &mut command, log);
    let ui = format!("http://127.0.0.1:{web}");
    let applications = format!("{ui}/api/v1/applications");
    let id = driver
        .until_ready(async || Some(bed.json(&applications).await?[0]["id"].as_str()?.to_owned()))
        .await;
    let jobs = format!("{applications}/{id}/jobs");
    let streams = |all: &Value| {
        let text = |job: &Value| job["description"].as_str().unwrap_or_default().to_owned();
        all.as_array().is_some_and(|all| all.iter().any(|job| text(job).contains("runId = ")))
    };
    driver.until_ready(async || bed.json(&jobs).await.filter(streams)).await;
    Streaming { ui, id, events, driver }
}

/// A History Server.
pub struct HistoryServer {
    /// `http://127.0.0.1:port`.
    pub url: String,
    _process: Process,
}

impl HistoryServer {
    /// Starts one over the application's event log, and waits until it lists something.
    pub async fn start(bed: &Bed, app: &Streaming) -> Self {
        let (folder, port) = (bed.folder("spark"), ports::free());
        let mut command = script(&folder, "spark-class");
        let options = format!(
            "-Dspark.history.fs.logDirectory=file://{} -Dspark.history.ui.port={port} -Dspark.history.fs.update.interval=1s",
            app.events.display()
        );
        command
            .arg("org.apache.spark.deploy.history.HistoryServer")
            .env("SPARK_HISTORY_OPTS", options);
        let mut process = Process::start("spark-history", &mut command, folder.join("history.log"));
        let url = format!("http://127.0.0.1:{port}");
        let list = format!("{url}/api/v1/applications");
        process
            .until_ready(async || bed.json(&list).await.filter(|all| all[0]["id"].is_string()))
            .await;
        Self { url, _process: process }
    }
}

/// Runs a script with `spark-submit` on the master (or `local[1]`), everything on loopback.
pub fn submit(bed: &Bed, master: &str, script_file: &Path) -> Command {
    let folder = bed.folder("spark");
    let mut command = script(&folder, "spark-submit");
    command.args(["--master", master, "--driver-memory", "512m"]);
    let settings = [
        "spark.executor.memory=512m".to_owned(),
        "spark.executor.cores=1".to_owned(),
        "spark.cores.max=2".to_owned(),
        "spark.driver.host=127.0.0.1".to_owned(),
        "spark.driver.bindAddress=127.0.0.1".to_owned(),
        format!("spark.local.dir={}", folder.join("local").display()),
        format!("spark.sql.warehouse.dir={}", folder.join("warehouse").display()),
    ];
    for setting in settings {
        command.args(["--conf", &setting]);
    }
    command.arg(script_file);
    command
}

/// A script of `SPARK_HOME/bin`, in an environment that keeps it on loopback and in its folder.
fn script(folder: &Path, name: &str) -> Command {
    script_of(Version::V3, folder, name)
}

/// The same of any version.
pub fn script_of(version: Version, folder: &Path, name: &str) -> Command {
    let python = version.venv().join("bin/python");
    let mut command = Command::new(home(version).join("bin").join(name));
    command
        .current_dir(folder)
        .env("SPARK_HOME", home(version))
        .env("PYSPARK_PYTHON", &python)
        .env("PYSPARK_DRIVER_PYTHON", &python)
        .env("SPARK_LOCAL_IP", "127.0.0.1")
        .env("SPARK_LOCAL_HOSTNAME", "localhost")
        .env("SPARK_PUBLIC_DNS", "127.0.0.1")
        .env("SPARK_LOCAL_DIRS", folder.join("local"))
        .env("SPARK_DAEMON_MEMORY", "512m")
        .env("KUBECONFIG", "/dev/null");
    command
}

/// Keeps two executors busy in small tasks, so that the loss of one is noticed and survived; then waits to be killed.
const WORKING: &str = r#"
import os, threading, time
from pyspark.sql import SparkSession

spark = (
    SparkSession.builder.appName("nightly-etl")
    .config("spark.ui.port", os.environ["UI_PORT"])
    .config("spark.driver.port", os.environ["DRIVER_PORT"])
    # Its connection breaks before the worker says why: it waits 5 s for that by default, which a busy machine may need.
    .config("spark.standalone.executorRemoveDelayOnDisconnection", "2min")
    .getOrCreate()
)

def slow(rows):
    for row in rows:
        time.sleep(1)
        yield row

print(spark.sparkContext.parallelize(range(120), 60).mapPartitions(slow).count(), flush=True)
threading.Event().wait()
"#;

/// Fails a job, answers a query, then streams until it is told to end.
const STREAMING: &str = r#"
import os, threading
from pyspark.sql import SparkSession

spark = (
    SparkSession.builder.appName("orders")
    .config("spark.ui.port", os.environ["UI_PORT"])
    .config("spark.eventLog.enabled", "true")
    .config("spark.eventLog.dir", "file://" + os.environ["EVENTS"])
    .config("spark.hadoop.fs.s3a.secret.key", "hunter2hunter2")
    .config("spark.sql.autoBroadcastJoinThreshold", "2g")
    .config("spark.sql.shuffle.partition", "2")
    .config("spark.sql.shuffle.partitions", "2")
    .getOrCreate()
)

def broken(row):
    raise ValueError("row 7 is broken")

try:
    spark.sparkContext.parallelize(range(4), 2).map(broken).count()
except Exception as error:
    print(type(error), flush=True)
spark.range(100).groupBy().count().collect()
rate = spark.readStream.format("rate").option("rowsPerSecond", 5).load()
query = rate.writeStream.queryName("orders").format("memory").trigger(processingTime="1 second").start()
threading.Event().wait()
"#;
