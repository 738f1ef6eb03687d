//! What the cluster holds, and the handle that changes it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Context as _;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{auth::User, discovery, quota};
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
    logged: watch::Sender<u64>,
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
    pub logs: BTreeMap<LogKey, Log>,
    pub answers: BTreeMap<(String, String, u16, String), Scripted>,
    /// The latest time the state has seen.
    pub now: Timestamp,
    pub denied: BTreeSet<(String, String)>,
    pub tokens: BTreeMap<String, User>,
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

/// A container's log.
#[derive(Default)]
pub(super) struct Log {
    pub lines: VecDeque<Line>,
    /// Lines forgotten at the front.
    pub dropped: u64,
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
            logged: watch::Sender::new(0),
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
        let key = (resource.store, namespace, name);
        let stamp = self.stamp();
        self.transact(|state| {
            let old = state.objects.get(&key).map(|before| before["metadata"].clone());
            let kept = |field: &str, new: Value| {
                old.as_ref().map(|m| m[field].clone()).filter(|v| !v.is_null()).unwrap_or(new)
            };
            let uid = kept("uid", json!(state.next_uid()));
            let created = kept("creationTimestamp", json!(stamp));
            let metadata = &mut object["metadata"];
            for (field, value) in [("uid", uid), ("creationTimestamp", created)] {
                if metadata[field].is_null() {
                    metadata[field] = value;
                }
            }
            state.write(key, object);
        });
        Ok(())
    }

    /// Deletes an object at once by its resource name, with what it owns, and a pod's logs with it. False when there was
    /// none.
    pub fn delete(&self, plural: &str, namespace: &str, name: &str) -> bool {
        self.transact(|state| match state.key(plural, namespace, name) {
            Some(key) => {
                state.remove(&key);
                true
            }
            None => false,
        })
    }

    /// An object by its resource name.
    pub fn get(&self, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        let state = self.lock();
        state.key(plural, namespace, name).and_then(|key| state.objects.get(&key).cloned())
    }

    /// Every object of a resource, in all namespaces.
    pub fn list(&self, plural: &str) -> Vec<Value> {
        let state = self.lock();
        state.objects.iter().filter(|(key, _)| key.0 == plural).map(|(_, o)| o.clone()).collect()
    }

    /// Changes an object as a controller does. False when it is not there; no new version when nothing changed.
    pub fn update(
        &self,
        plural: &str,
        namespace: &str,
        name: &str,
        change: impl FnOnce(&mut Value),
    ) -> bool {
        self.transact(|state| {
            let Some(key) = state.key(plural, namespace, name) else { return false };
            let Some(before) = state.objects.get(&key) else { return false };
            let mut after = before.clone();
            change(&mut after);
            if after != *before {
                state.write(key, after);
            }
            true
        })
    }

    /// Does `work` with the state locked, and wakes the watchers when it changed something.
    pub(super) fn transact<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        state.now = self.inner.clock.now();
        let before = state.version;
        let result = work(&mut state);
        if state.version != before {
            quota::refresh(&mut state);
        }
        let version = state.version;
        drop(state);
        if version != before {
            self.inner.changed.send_replace(version);
        }
        result
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

    /// What a pod's containers have written so far, container after container.
    pub fn log_text(&self, namespace: &str, pod: &str) -> String {
        let state = self.lock();
        let own = |(ns, name, _, previous): &LogKey| ns == namespace && name == pod && !previous;
        let lines = state.logs.iter().filter(|(key, _)| own(key)).flat_map(|(_, log)| &log.lines);
        lines.fold(String::new(), |text, line| text + &line.text + "\n")
    }

    /// A container starts again: its log so far becomes the log of the previous instance.
    pub fn rotate_log(&self, namespace: &str, pod: &str, container: &str) {
        let mut state = self.lock();
        let key = |previous| (namespace.to_owned(), pod.to_owned(), container.to_owned(), previous);
        let lines = state.logs.remove(&key(false)).unwrap_or_default();
        state.logs.insert(key(true), lines);
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
        let log = state.logs.entry(key).or_default();
        log.lines.extend(text.lines().map(|line| Line { at, text: line.to_owned() }));
        let over = log.lines.len().saturating_sub(MAX_LINES);
        log.lines.drain(..over);
        log.dropped += over as u64;
        drop(state);
        self.inner.logged.send_modify(|writes| *writes += 1);
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

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    pub(super) fn logged(&self) -> watch::Receiver<u64> {
        self.inner.logged.subscribe()
    }

    /// Moves with every change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changed.subscribe()
    }

    pub(super) fn stamp(&self) -> String {
        stamp(self.inner.clock.now())
    }
}

/// A time as Kubernetes writes it: whole seconds.
pub(in crate::demo) fn stamp(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

impl State {
    /// The key of an object that is there.
    pub(super) fn key(&self, plural: &str, namespace: &str, name: &str) -> Option<Key> {
        let mut keys = self.objects.keys();
        keys.find(|(p, ns, n)| *p == plural && ns == namespace && n == name).cloned()
    }

    /// An id for the next object.
    pub(super) fn next_uid(&self) -> String {
        format!("00000000-0000-4000-8000-{:012}", self.version + 1)
    }

    /// Stores an object under a new version, and gives it as it is stored.
    pub(super) fn write(&mut self, key: Key, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let before = self.objects.insert(key.clone(), object.clone());
        self.record(Change { version: self.version, key, before, after: Some(object.clone()) });
        object
    }

    /// Takes an object away, with what it owns alone.
    pub(super) fn remove(&mut self, key: &Key) {
        let Some(before) = self.objects.remove(key) else { return };
        self.version += 1;
        if key.0 == "pods" {
            self.logs.retain(|(ns, pod, ..), _| !(*ns == key.1 && *pod == key.2));
        }
        let change =
            Change { version: self.version, key: key.clone(), before: Some(before), after: None };
        self.record(change);
        super::gc::collect(self);
    }

    fn record(&mut self, change: Change) {
        self.history.push_back(change);
        if self.history.len() > MAX_HISTORY
            && let Some(forgotten) = self.history.pop_front()
        {
            self.oldest = forgotten.version;
        }
    }
}
