//! Applications that stories hurt, and what a story waits for before it hurts one.
//!
//! An executor that has registered is not whole yet: what ends it then has other words than later. So a story waits until it
//! has finished a task. And it counts no lines: Spark may write one twice.

use super::{
    Bed,
    cluster::{Cluster, Submit},
    process::Process,
    spark::Version,
};

/// Works in small tasks until it is told to end.
pub const WORKS: &str = r#"
import os, time
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()

def slow(n):
    time.sleep(0.2)
    return n

while not os.path.exists("FOLDER/stop"):
    spark.sparkContext.parallelize(range(4), 4).map(slow).count()
spark.stop()
"#;

/// Shuffles 64 MiB between two executors. Maps come in pairs, one on each executor, so that each reader needs 16 blocks of
/// the other executor. Readers fetch one block after the other, and stop after their first row until there is the file `go`:
/// what they read then, they learnt where to find before.
pub const SHUFFLES: &str = r#"
import os, time
from pyspark.sql import SparkSession

context = SparkSession.builder.config("spark.reducer.maxReqsInFlight", 1).config("spark.reducer.maxSizeInFlight", "5m").getOrCreate().sparkContext

def mark(name):
    open("FOLDER/" + name, "w").close()

def until(name):
    while not os.path.exists("FOLDER/" + name):
        time.sleep(0.05)

def writes(number, _):
    mark("map-%d" % number)
    until("map-%d" % (number ^ 1))
    return ((key, os.urandom(1 << 18)) for key in range(8))

def reads(number, rows):
    count = 0
    for _ in rows:
        mark("reduce-%d" % number)
        until("go")
        count += 1
    yield count

written = context.parallelize(range(32), 32).mapPartitionsWithIndex(writes)
print("counted %d" % written.partitionBy(2, lambda key: key).mapPartitionsWithIndex(reads).sum(), flush=True)
"#;

/// An application with one executor whose driver is outside, as soon as the executor works; and its driver.
pub async fn working(bed: &Bed, cluster: &Cluster, settings: &[&str]) -> Process {
    let mut submit = Submit::new(Version::V3, "works", WORKS)
        .with("spark.task.maxFailures=50")
        .with("spark.executor.maxNumFailures=50");
    submit.cluster_mode = false;
    submit.settings.extend(settings.iter().map(|setting| (*setting).to_owned()));
    let driver = cluster.submit(bed, &submit);
    cluster.works(|| driver.output(), 1).await;
    driver
}

impl Cluster {
    /// Waits until the driver has the result of a task of this executor: both know each other then.
    pub async fn works(&self, log: impl Fn() -> String, id: u32) {
        let whose = format!(" (executor {id}) (");
        let done = |line: &str| line.contains("Finished task ") && line.contains(&whose);
        let finished = async || log().lines().any(done).then_some(());
        self.until(&format!("executor {id} finishes a task"), finished).await;
    }

    /// Waits for a text in a log.
    pub async fn says(&self, log: impl Fn() -> String, text: &str) {
        let said = async || log().contains(text).then_some(());
        self.until(&format!("it says: {text}"), said).await;
    }

    /// Makes a file that a program waits for as `FOLDER/name`.
    pub fn mark(&self, name: &str) {
        std::fs::write(self.folder.join(name), "").unwrap();
    }

    /// Waits for a file that a program makes.
    pub async fn marked(&self, name: &str) {
        let there = async || self.folder.join(name).exists().then_some(());
        self.until(&format!("the program makes the file {name}"), there).await;
    }
}
