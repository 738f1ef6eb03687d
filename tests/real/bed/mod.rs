//! The bed: real servers for one story, in a folder of their own, gone when the story ends.
//!
//! Start servers on the story's own thread (a plain `#[tokio::test]` does): when that thread dies, even by SIGKILL, the
//! kernel takes the servers with it.

#![allow(dead_code, reason = "stories of `it` use PostgreSQL only, those of `real` all else")]

pub mod alertmanager;
pub mod apps;
pub mod chaos;
pub mod cluster;
pub mod daemon;
pub mod kubelet;
pub mod metastore;
pub mod metric;
pub mod moto;
pub mod on_spark;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod prometheus;
pub mod spark;
pub mod steps;
pub mod synapse;
pub mod tls;
pub mod verdicts;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use paramedic::clients::http::{Client, Guard, Request, Response};

/// How long any server may take to be ready on a busy machine.
pub const READY: Duration = Duration::from_mins(3);
/// Between two looks at a foreign process.
const POLL: Duration = Duration::from_millis(50);

/// A folder for one story's servers, and an HTTP client.
pub struct Bed {
    folder: tempfile::TempDir,
    http: Client,
}

impl Bed {
    /// An empty bed.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("paramedic-bed-").tempdir().unwrap();
        // PostgreSQL runs as another user and must get to its data.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder, http: Client::new(Guard::default()).unwrap() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A new folder in the bed.
    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// Writes a file into the bed.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// A GET; `None` when nothing answers.
    pub async fn get(&self, url: &str) -> Option<Response> {
        self.http.send(Request::get(url.parse().unwrap(), "look")).await.ok()
    }

    /// A GET that must be answered with JSON and a status of success to count.
    pub async fn json(&self, url: &str) -> Option<serde_json::Value> {
        self.get(url).await?.error_for_status("look").ok()?.json("look").ok()
    }
}

/// Looks again and again until there is something to see, and fails when `bound` is over. Level-triggered: it does not
/// matter when the change came.
#[allow(
    clippy::disallowed_methods,
    reason = "polls foreign processes, which have no clock of ours"
)]
pub async fn until<T>(what: &str, bound: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            tokio::time::sleep(POLL).await;
        }
    };
    let Ok(seen) = tokio::time::timeout(bound, looking).await else {
        panic!("waited {} s in vain: {what}", bound.as_secs())
    };
    seen
}

/// A metric without labels in a page of `/metrics`.
pub fn metric_value(page: &str, name: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// The Python of a virtual environment under `target/`.
pub fn venv(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target").join(format!("venv-{name}"));
    let python = folder.join("bin/python");
    assert!(python.exists(), "{} is missing; run ./tests/run install", python.display());
    folder
}

/// A program that a Debian package brings.
pub fn program(path: &str) -> &str {
    assert!(Path::new(path).exists(), "{path} is missing; run ./tests/run install");
    path
}
