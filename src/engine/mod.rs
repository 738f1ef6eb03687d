//! When things happen: intake, correlation, runs, posts, pages, timers. Everything durable goes through one path:
//! load, decide (pure), commit state + timeline + jobs in one transaction ([`change`]); then the worker ([`worker`]) claims
//! the jobs, does the IO and commits its outcome the same way. There is no in-memory queue whose loss matters.

pub mod actions;
mod alarm;
pub mod change;
pub mod channels;
pub mod correlate;
pub mod dead_man;
pub mod deliver;
pub mod diagnose;
mod effects;
mod evidence;
pub mod execution;
pub mod files;
pub mod heartbeats;
pub mod intake;
pub mod memory;
pub mod outage;
mod overdue;
pub mod pages;
pub mod periodic;
pub mod posts;
mod reconcile;
pub mod recorder;
mod retention;
pub mod runs;
mod storms;
pub mod sync;
pub mod teams;
pub mod worker;

use std::{
    collections::BTreeMap,
    ops::Deref,
    sync::{Arc, PoisonError, RwLock},
};

use jiff::Timestamp;

use self::{channels::Channels, recorder::Recorder};
use crate::{
    clients::{self, Clusters},
    domain::{
        incident::{self, Settings, correlate::GroupBy},
        oncall::OnCall,
        severity::Severity,
    },
    ops::clock::Clock,
    playbook::catalog::Catalog,
    store::Store,
};

/// What the engine needs to know of the configuration.
#[derive(Clone, Debug)]
pub struct Options {
    /// The daemon's own address for people.
    pub public_url: String,
    /// How alerts become incidents.
    pub group_by: GroupBy,
    /// Settle and reopen times.
    pub incidents: Settings,
    /// When many incidents are one storm.
    pub storm: incident::storm::Settings,
    /// `severity` label to severity.
    pub severity_map: BTreeMap<String, Severity>,
    /// For missing and unknown severity labels.
    pub default_severity: Severity,
    /// Configured sources by name.
    pub sources: BTreeMap<String, Source>,
    /// Who notices when nobody runs.
    pub dead_man: Option<dead_man::DeadMan>,
    /// Resolved incidents are kept this long.
    pub keep: std::time::Duration,
    /// Most that the store may hold, bytes; `None`: no limit.
    pub max_size: Option<i64>,
    /// For incidents no team owns.
    pub default_policy: String,
    /// Channels for incidents no team owns.
    pub default_channels: Vec<String>,
}

/// A source as the engine sees it.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// Added to its alerts where they lack them.
    pub labels: BTreeMap<String, String>,
    /// Labels that do not tell alerts apart.
    pub ignore: Vec<String>,
    /// The name of our receiver in Alertmanager.
    pub receiver: String,
    /// Where silences are made, and who is asked back.
    pub alertmanagers: Vec<clients::alertmanager::Client>,
    /// Its watchdog alert, if it has one.
    pub heartbeat: Option<heartbeats::Heartbeat>,
}

/// A value that a reload may replace.
pub struct Shared<T>(RwLock<Arc<T>>);

impl<T> From<Arc<T>> for Shared<T> {
    fn from(value: Arc<T>) -> Self {
        Self(RwLock::new(value))
    }
}

impl<T: Default> Default for Shared<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T> Shared<T> {
    /// Holds `value`.
    pub fn new(value: T) -> Self {
        Self(RwLock::new(Arc::new(value)))
    }

    /// The value of now.
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces it; running work keeps what it began with.
    pub fn set(&self, value: Arc<T>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = value;
    }
}

/// The engine; cheap to clone.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

/// What the engine is made of.
pub struct Inner {
    /// Durable state.
    pub store: Store,
    /// Time.
    pub clock: Clock,
    /// From the configuration.
    pub options: Options,
    /// Playbooks and signatures.
    pub catalog: Shared<Catalog>,
    /// People, schedules, policies.
    pub oncall: Shared<OnCall>,
    /// Clients per cluster.
    pub clusters: Clusters,
    /// Teams by namespace.
    pub namespace_teams: teams::NamespaceTeams,
    /// Evidence of pods that will be gone.
    pub recorder: Recorder,
    /// HTTP for addresses from playbooks.
    pub http: clients::http::Client,
    /// What is wrong with reloaded files; "" for what was looked at and is right.
    pub wrong_files: Shared<files::WrongFiles>,
    /// Where messages go.
    pub channels: Channels,
    /// This process, as leases name it.
    pub owner: String,
    /// Since when the store takes no write.
    pub outage: outage::Outage,
    /// When this process started, monotonic: its wall clock may have been wrong then.
    pub started_at: std::time::Duration,
}

impl Deref for Engine {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Engine {
    /// Puts it together; nothing runs yet.
    pub fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// The store's time.
    pub fn now(&self) -> Timestamp {
        self.store.now()
    }
}
