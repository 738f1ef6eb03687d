//! The databases that every story runs on, and a store on one of them with a clock in hand.

use std::{
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use paramedic::{
    ops::{
        clock::{Clock, Manual},
        lifecycle::Tasks,
    },
    store::{Changes, Claim, Error, Job, NewJob, Repeat, Settings, Store, sim},
};
use serde_json::json;

use crate::bed::{Bed, postgres::Postgres};

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    Sqlite,
    Postgres,
    Sim,
}

/// What keeps the data while stores come and go.
pub enum Place {
    File { _folder: tempfile::TempDir },
    Database,
    World { world: Arc<sim::World>, _tasks: Tasks },
}

/// A store, and the hand on its clock.
pub struct Shop {
    pub store: Store,
    pub hand: Manual,
    pub clock: Clock,
    pub tasks: Tasks,
    pub settings: Settings,
    pub place: Place,
}

impl Shop {
    /// An empty store.
    pub async fn opens(backend: Backend) -> Self {
        let (clock, hand) = Clock::manual("2026-11-23T03:12:00Z".parse().unwrap());
        let (url, place) = match backend {
            Backend::Sqlite => {
                let folder = tempfile::tempdir().unwrap();
                (
                    format!("sqlite:{}", folder.path().join("p.db").display()),
                    Place::File { _folder: folder },
                )
            }
            Backend::Postgres => (database(), Place::Database),
            Backend::Sim => {
                let (name, tasks) = (unique("world"), Tasks::default());
                let world = sim::World::begin(&name, &tasks).await.unwrap();
                (format!("sim:{name}"), Place::World { world, _tasks: tasks })
            }
        };
        let (tasks, settings) = (Tasks::default(), Settings::at(url));
        let store = Store::open(&settings, clock.clone(), &tasks).await.unwrap();
        Self { store, hand, clock, tasks, settings, place }
    }

    /// The process dies and another one opens the store.
    pub async fn restarts(self) -> Self {
        let Self { store, hand, clock, tasks, settings, place } = self;
        drop(store);
        tasks.stop().stopped.cancel();
        tasks.shut_down(Duration::from_secs(5)).await;
        let tasks = Tasks::default();
        let store = Store::open(&settings, clock.clone(), &tasks).await.unwrap();
        Self { store, hand, clock, tasks, settings, place }
    }

    /// Another replica. A SQLite file has one.
    pub async fn replica(&self) -> Store {
        Store::open(&self.settings, self.clock.clone(), &self.tasks).await.unwrap()
    }

    pub fn is_shared(&self) -> bool {
        !matches!(self.place, Place::File { .. })
    }

    pub async fn claim(&self) -> Vec<Job> {
        let claim =
            Claim { owner: "w", kinds: &["post"], limit: 10, lease: Duration::from_secs(30) };
        self.store.claim(claim).await.unwrap()
    }

    pub async fn commit(&self, changes: Changes) -> Result<(), Error> {
        self.store.commit(changes, self.store.now()).await
    }

    pub async fn add(&self, key: &str, repeat: Repeat) {
        let changes = Changes { jobs: vec![self.job(key, repeat)], ..Changes::default() };
        self.commit(changes).await.unwrap();
    }

    /// A job of kind `post`, due now.
    pub fn job(&self, key: &str, repeat: Repeat) -> NewJob {
        NewJob {
            key: key.to_owned(),
            kind: "post",
            incident: None,
            due: self.store.now(),
            priority: 1,
            payload: json!({}),
            repeat,
        }
    }
}

/// A name nothing else in this process has.
fn unique(what: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{what}_{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The address of a new, empty database in this process's cluster.
pub fn database() -> String {
    let (name, cluster) = (unique("story"), cluster());
    let cluster = cluster.lock().unwrap();
    cluster.sql("postgres", &format!("CREATE DATABASE {name}"));
    cluster.url(&name)
}

/// Runs SQL in the database at this address.
pub fn sql(url: &str, sql: &str) -> String {
    let name = url.rsplit('/').next().unwrap();
    cluster().lock().unwrap().sql(name, sql)
}

/// One PostgreSQL for all stories of this process. It dies with the process, and its folder goes too.
#[allow(
    clippy::disallowed_methods,
    reason = "the server lives as long as the thread that started it"
)]
fn cluster() -> &'static Mutex<Postgres> {
    static CLUSTER: OnceLock<Mutex<Postgres>> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let (started, cluster) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let bed = Bed::new();
            removed_afterwards(&bed);
            let settings = ["fsync=off", "full_page_writes=off", "max_connections=400"];
            let postgres = runtime.block_on(Postgres::start_with(&bed, &settings));
            started.send(Mutex::new(postgres)).unwrap();
            loop {
                std::thread::park();
            }
        });
        cluster.recv().unwrap()
    })
}

/// A shell that waits for the end of this process, however it comes, and removes the bed.
fn removed_afterwards(bed: &Bed) {
    let folder = bed.path().display();
    // The server changed its user, so the kernel does not end it with us.
    let script = format!(
        "read -r _; pid=$(head -n 1 '{folder}/postgres/data/postmaster.pid') && kill -s QUIT \"$pid\"; \
         sleep 1; rm -rf '{folder}'; sleep 2; rm -rf '{folder}'"
    );
    let child = Command::new("/bin/sh")
        .args(["-c", &script])
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Its standard input closes when this process ends.
    std::mem::forget(child);
}

/// Runs every story on every backend, each as a test of its own: `store::jobs::postgres::<story>`.
macro_rules! on_every_backend {
    ($($story:ident),* $(,)?) => {
        on_every_backend!(@ sqlite Sqlite $($story)*);
        on_every_backend!(@ postgres Postgres $($story)*);
        on_every_backend!(@ sim Sim $($story)*);
    };
    (@ $module:ident $backend:ident $($story:ident)*) => {
        mod $module {
            use crate::store::backend::{Backend, Shop};

            $(#[tokio::test]
            async fn $story() {
                super::$story(Shop::opens(Backend::$backend).await).await;
            })*
        }
    };
}
pub(super) use on_every_backend;
