//! What the cluster holds, and the handle that changes it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{Address, discovery, status::Failure};
use crate::ops::clock::Clock;

/// Changes kept for watchers; an older resource version is answered with 410.
const MAX_HISTORY: usize = 4_096;
/// Requests and unexpected calls kept.
const MAX_RECORDED: usize = 4_096;
/// Lines kept of one log.
const MAX_LINES: usize = 100_000;

/// A handle to the cluster's content; cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Clock,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

/// Resource, namespace, name.
pub(super) type Key = (&'static str, String, String);
/// Namespace, pod, container, previous.
pub(super) type LogKey = (String, String, String, bool);

#[derive(Default)]
pub(super) struct State {
    pub version: u64,
    pub objects: BTreeMap<Key, Value>,
    pub history: VecDeque<Change>,
    /// Versions below this are forgotten.
    pub oldest: u64,
    pub logs: BTreeMap<LogKey, VecDeque<Line>>,
    pub answers: BTreeMap<(String, String, u16, String), Scripted>,
    pub refuses_forgotten: bool,
    denied: BTreeSet<(String, String)>,
    requests: Vec<String>,
    unexpected: Vec<String>,
}

/// One change, for watchers.
#[derive(Clone)]
pub(super) struct Change {
    pub version: u64,
    pub key: Key,
    pub before: Option<Value>,
    pub after: Option<Value>,
}

#[derive(Clone)]
pub(super) struct Line {
    pub at: Timestamp,
    pub text: String,
}

/// A canned answer of a pod's HTTP port.
#[derive(Clone)]
pub(super) struct Scripted {
    pub status: u16,
    pub content_type: &'static str,
    pub body: String,
}

impl Cluster {
    /// An empty cluster.
    pub fn new(clock: &Clock) -> Self {
        let state = State { version: 1_000, oldest: 1_000, ..State::default() };
        let inner = Inner {
            clock: clock.clone(),
            state: Mutex::new(state),
            changed: watch::Sender::new(0),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Creates or replaces an object, given as its JSON; the server fills what it owns (uid, versions, times).
    /// Fails for kinds it does not know and objects without a name.
    pub fn put(&self, mut object: Value) -> anyhow::Result<()> {
        let text =
            |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (api_version, kind) = (text("/apiVersion"), text("/kind"));
        let resource = discovery::by_kind(api_version, kind)
            .with_context(|| format!("the demo cluster knows no kind {api_version} {kind}"))?;
        let name = text("/metadata/name").to_owned();
        anyhow::ensure!(!name.is_empty(), "a {kind} needs a name");
        let namespace = text("/metadata/namespace").to_owned();
        anyhow::ensure!(
            namespace.is_empty() != resource.namespaced,
            "a {kind} {} a namespace",
            if resource.namespaced { "needs" } else { "has not" }
        );
        let key = (resource.plural, namespace, name);
        let mut state = self.lock();
        let before = state.objects.get(&key).cloned();
        state.version += 1;
        let version = state.version;
        let old = before.as_ref().map(|b| &b["metadata"]);
        let kept = |field: &str, new: Value| {
            old.map(|m| m[field].clone()).filter(|v| !v.is_null()).unwrap_or(new)
        };
        let uid = kept("uid", json!(format!("00000000-0000-4000-8000-{version:012}")));
        let created = kept("creationTimestamp", json!(self.stamp()));
        let metadata = &mut object["metadata"];
        for (field, value) in [("uid", uid), ("creationTimestamp", created)] {
            if metadata[field].is_null() {
                metadata[field] = value;
            }
        }
        metadata["resourceVersion"] = json!(version.to_string());
        state.objects.insert(key.clone(), object.clone());
        state.record(Change { version, key, before, after: Some(object) });
        drop(state);
        self.inner.changed.send_replace(version);
        Ok(())
    }

    /// Deletes an object by its plural resource name, and a pod's logs with it. False when there was none.
    pub fn delete(&self, plural: &str, namespace: &str, name: &str) -> bool {
        let mut state = self.lock();
        let key =
            state.objects.keys().find(|(p, ns, n)| *p == plural && ns == namespace && n == name);
        let Some(key) = key.cloned() else { return false };
        state.version += 1;
        let version = state.version;
        let before = state.objects.remove(&key);
        if plural == "pods" {
            state.logs.retain(|(ns, pod, ..), _| !(ns == namespace && pod == name));
        }
        state.record(Change { version, key, before, after: None });
        drop(state);
        self.inner.changed.send_replace(version);
        true
    }

    /// Appends lines to a container's log, written at `at`.
    pub fn log(&self, namespace: &str, pod: &str, container: &str, at: Timestamp, text: &str) {
        self.append(namespace, pod, container, false, at, text);
    }

    /// The same for the instance before the last restart.
    pub fn previous_log(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        at: Timestamp,
        text: &str,
    ) {
        self.append(namespace, pod, container, true, at, text);
    }

    fn append(
        &self,
        ns: &str,
        pod: &str,
        container: &str,
        previous: bool,
        at: Timestamp,
        text: &str,
    ) {
        let key = (ns.to_owned(), pod.to_owned(), container.to_owned(), previous);
        let mut state = self.lock();
        let lines = state.logs.entry(key).or_default();
        lines.extend(text.lines().map(|line| Line { at, text: line.to_owned() }));
        let over = lines.len().saturating_sub(MAX_LINES);
        lines.drain(..over);
        drop(state);
        // The version stays; who follows the log looks.
        self.inner.changed.send_modify(|_| {});
    }

    /// What a pod's port answers to a path; with a query when only that query is meant. JSON when `body` is JSON.
    pub fn answer(
        &self,
        namespace: &str,
        pod: &str,
        port: u16,
        path: &str,
        status: u16,
        body: &str,
    ) {
        let json = serde_json::from_str::<serde::de::IgnoredAny>(body).is_ok();
        let content_type = if json { "application/json" } else { "text/plain" };
        let scripted = Scripted { status, content_type, body: body.to_owned() };
        let key = (namespace.to_owned(), pod.to_owned(), port, path.to_owned());
        self.lock().answers.insert(key, scripted);
    }

    /// Refuses a verb (`get`, `list`, `watch`) on a resource (`pods`, `pods/log`) with 403 from now on.
    pub fn deny(&self, verb: &str, resource: &str) {
        self.lock().denied.insert((verb.to_owned(), resource.to_owned()));
    }

    /// Allows it again.
    pub fn allow_again(&self, verb: &str, resource: &str) {
        self.lock().denied.remove(&(verb.to_owned(), resource.to_owned()));
    }

    /// Refuses watches from a forgotten version with HTTP 410 from now on, as some servers do, rather than with an event.
    pub fn refuse_forgotten_versions(&self) {
        self.lock().refuses_forgotten = true;
    }

    /// Forgets all changes so far: older resource versions and page tokens are answered with 410.
    pub fn compact(&self) {
        let mut state = self.lock();
        state.history.clear();
        state.version += 1;
        state.oldest = state.version;
        let version = state.version;
        drop(state);
        self.inner.changed.send_replace(version);
    }

    /// Every request so far: `GET /api/v1/…`.
    pub fn requests(&self) -> Vec<String> {
        self.lock().requests.clone()
    }

    /// Calls this server does not model; a test expects none.
    pub fn unexpected(&self) -> Vec<String> {
        self.lock().unexpected.clone()
    }

    pub(super) fn note_request(&self, request: String) {
        let mut state = self.lock();
        if state.requests.len() < MAX_RECORDED {
            state.requests.push(request);
        }
    }

    pub(super) fn note_unexpected(&self, call: String) {
        let mut state = self.lock();
        if state.unexpected.len() < MAX_RECORDED {
            state.unexpected.push(call);
        }
    }

    pub(super) fn allow(&self, verb: &str, address: &Address) -> Result<(), Failure> {
        let plural = address.resource.plural;
        let resource = match address.sub.first() {
            Some(sub) => format!("{plural}/{sub}"),
            None => plural.to_owned(),
        };
        if !self.lock().denied.contains(&(verb.to_owned(), resource.clone())) {
            return Ok(());
        }
        let (group, namespace) = (address.resource.group, &address.namespace);
        let message = format!(
            "{plural} is forbidden: User \"system:serviceaccount:paramedic:paramedic\" cannot {verb} resource \
             \"{resource}\" in API group \"{group}\" in the namespace \"{namespace}\""
        );
        Err(Failure::new(403, "Forbidden", message))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changed.subscribe()
    }

    fn stamp(&self) -> String {
        stamp(self.inner.clock.now())
    }
}

/// A time as Kubernetes writes it: whole seconds.
pub(in crate::demo) fn stamp(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

impl State {
    fn record(&mut self, change: Change) {
        self.history.push_back(change);
        if self.history.len() > MAX_HISTORY
            && let Some(forgotten) = self.history.pop_front()
        {
            self.oldest = forgotten.version;
        }
    }
}
