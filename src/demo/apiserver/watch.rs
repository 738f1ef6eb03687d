//! Watches: every change after a resource version, as a stream of JSON lines.

use std::{collections::VecDeque, time::Duration};

use axum::{body::Body, http::header, response::IntoResponse as _};
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    Address, Parameters, Server, number, only, parameter,
    selector::Selector,
    state::{Change, Cluster},
    status::{Failure, Outcome},
    view::View,
    websocket::Socket,
};

/// How long a watch lasts when the client does not say, seconds.
const DEFAULT_TIMEOUT: usize = 300;

pub(super) fn start(
    server: &Server,
    address: Address,
    parameters: &Parameters,
    view: View,
    socket: Option<Socket>,
) -> Outcome {
    let known = [
        "watch",
        "labelSelector",
        "fieldSelector",
        "resourceVersion",
        "resourceVersionMatch",
        "allowWatchBookmarks",
        "timeoutSeconds",
        "limit",
        "sendInitialEvents",
        "includeObject",
        "pretty",
        "timeout",
    ];
    only(parameters, &known)?;
    let selector = Selector::parse(
        address.resource.plural,
        parameter(parameters, "labelSelector"),
        parameter(parameters, "fieldSelector"),
    )?;
    let seconds = number(parameters, "timeoutSeconds")?.unwrap_or(DEFAULT_TIMEOUT);
    let asked = number(parameters, "resourceVersion")?.unwrap_or(0) as u64;
    let initial = initial(parameters, asked)?;
    let newest = server.cluster.lock().version;
    if asked > newest {
        let why = format!("Too large resource version: {asked}, current: {newest}");
        return Err(Failure::new(504, "Timeout", why));
    }
    let mut watcher = Watcher {
        cluster: server.cluster.clone(),
        view,
        address,
        selector,
        seen: asked,
        bookmarks: parameter(parameters, "allowWatchBookmarks") == "true",
        ready: VecDeque::new(),
        ended: false,
    };
    if initial {
        watcher.everything();
    }
    watcher.collect();
    watcher.bookmark(parameter(parameters, "sendInitialEvents") == "true");
    let (clock, stop) = (server.cluster.clock().clone(), server.tasks.stop().draining.clone());
    // The deadline is fixed now: the future is polled only when nothing is left to send.
    let deadline = clock.monotonic() + Duration::from_secs(seconds as u64);
    let timeout = Box::pin(async move {
        clock.sleep(deadline.saturating_sub(clock.monotonic())).await;
    });
    let lines = stream::unfold((watcher, timeout, stop), next);
    if let Some(socket) = socket {
        return Ok(socket.send(&server.tasks, lines));
    }
    let body = Body::from_stream(lines.map(Ok::<_, std::convert::Infallible>));
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// Whether the watch begins with the present state: without a version, or when it is asked for.
fn initial(parameters: &Parameters, version: u64) -> Result<bool, Failure> {
    let invalid = |why: &str| Err(Failure::new(422, "Invalid", why));
    let how = parameter(parameters, "resourceVersionMatch");
    match parameter(parameters, "sendInitialEvents") {
        "" if !how.is_empty() => invalid(
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is \
             provided",
        ),
        "" => Ok(version == 0),
        _ if how != "NotOlderThan" => invalid(
            "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ),
        "true" => Ok(true),
        "false" => Ok(false),
        other => invalid(&format!("sendInitialEvents: invalid value {other:?}")),
    }
}

struct Watcher {
    cluster: Cluster,
    view: View,
    address: Address,
    selector: Selector,
    seen: u64,
    bookmarks: bool,
    ready: VecDeque<Value>,
    ended: bool,
}

type Going<T> = (Watcher, T, CancellationToken);

async fn next<T: Future<Output = ()> + Unpin>(going: Going<T>) -> Option<(String, Going<T>)> {
    let (mut watcher, mut timeout, stop) = going;
    let mut changes = watcher.cluster.changes();
    loop {
        if let Some(event) = watcher.ready.pop_front() {
            return Some((format!("{event}\n"), (watcher, timeout, stop)));
        }
        if watcher.ended {
            return None;
        }
        // The receiver was made before the look, so a change in between is not missed.
        changes.mark_unchanged();
        watcher.collect();
        if !watcher.ready.is_empty() {
            continue;
        }
        tokio::select! {
            moved = changes.changed() => watcher.ended = moved.is_err(),
            () = &mut timeout => {
                watcher.bookmark(false);
                watcher.ended = true;
            }
            () = stop.cancelled() => watcher.ended = true,
        }
    }
}

impl Watcher {
    /// The present state as `ADDED` events: what a watch without a version starts with.
    fn everything(&mut self) {
        let state = self.cluster.lock();
        let store = self.address.resource.store;
        for ((kind, namespace, _), object) in &state.objects {
            let here = *kind == store && self.holds(namespace);
            if here && self.selector.matches(object) {
                self.ready.push_back(json!({ "type": "ADDED", "object": self.view.one(object) }));
            }
        }
        self.seen = state.version;
    }

    /// Changes since the last look; 410 when some of them are forgotten.
    fn collect(&mut self) {
        let state = self.cluster.lock();
        if self.seen < state.oldest {
            let message = format!("too old resource version: {} ({})", self.seen, state.oldest);
            let gone = Failure::new(410, "Expired", message);
            self.ready.push_back(json!({ "type": "ERROR", "object": gone.body() }));
            self.ended = true;
            return;
        }
        for change in state.history.iter().filter(|change| change.version > self.seen) {
            if let Some(event) = self.event(change) {
                self.ready.push_back(event);
            }
        }
        self.seen = state.version;
    }

    /// A selector turns a change into what this watcher sees: an object that stops matching is deleted for it.
    fn event(&self, change: &Change) -> Option<Value> {
        let (store, namespace, _) = &change.key;
        if *store != self.address.resource.store || !self.holds(namespace) {
            return None;
        }
        let matching = |object: &&Value| self.selector.matches(object);
        let before = change.before.as_ref().filter(matching);
        let after = change.after.as_ref().filter(matching);
        let (kind, object) = match (before, after) {
            (None, Some(object)) => ("ADDED", object.clone()),
            (Some(_), Some(object)) => ("MODIFIED", object.clone()),
            (Some(last), None) => {
                let mut last = change.after.clone().unwrap_or_else(|| last.clone());
                last["metadata"]["resourceVersion"] = json!(change.version.to_string());
                ("DELETED", last)
            }
            (None, None) => return None,
        };
        Some(json!({ "type": kind, "object": self.view.one(&object) }))
    }

    fn holds(&self, namespace: &str) -> bool {
        self.address.namespace.is_empty() || self.address.namespace == namespace
    }

    /// Tells how far it has seen; `end` says that all initial events are sent.
    fn bookmark(&mut self, end: bool) {
        if self.bookmarks && !self.ended {
            let resource = self.address.resource;
            let mut metadata = json!({ "resourceVersion": self.seen.to_string() });
            if end {
                metadata["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
            }
            let object = json!({
                "kind": resource.kind, "apiVersion": resource.api_version(), "metadata": metadata,
            });
            self.ready.push_back(json!({ "type": "BOOKMARK", "object": object }));
        }
    }
}
