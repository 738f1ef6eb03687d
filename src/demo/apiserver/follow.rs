//! A log that is followed: what is there, then every new line, until the container ends or the pod is gone.

use axum::{body::Body, http::header, response::IntoResponse as _};
use futures::{StreamExt as _, stream};
use tokio_util::sync::CancellationToken;

use super::{
    Server,
    state::{Cluster, LogKey},
    status::Outcome,
};

/// Follows from line `sent` on.
pub(super) fn start(server: &Server, key: LogKey, sent: usize) -> Outcome {
    let tail = Tail { cluster: server.cluster.clone(), key, sent };
    let lines = stream::unfold((tail, server.stop.clone()), next);
    let body = Body::from_stream(lines.map(Ok::<_, std::convert::Infallible>));
    Ok(([(header::CONTENT_TYPE, "text/plain")], body).into_response())
}

struct Tail {
    cluster: Cluster,
    key: LogKey,
    /// Lines sent so far.
    sent: usize,
}

type Going = (Tail, CancellationToken);

async fn next((mut tail, stop): Going) -> Option<(String, Going)> {
    let mut changes = tail.cluster.changes();
    loop {
        // Before the look, so that a line in between is not missed.
        changes.mark_unchanged();
        let (text, over) = tail.look();
        if !text.is_empty() {
            return Some((text, (tail, stop)));
        }
        if over {
            return None;
        }
        tokio::select! {
            moved = changes.changed() => moved.ok()?,
            () = stop.cancelled() => return None,
        }
    }
}

impl Tail {
    /// New lines, and whether there will be no more.
    fn look(&mut self) -> (String, bool) {
        let state = self.cluster.lock();
        let lines = state.logs.get(&self.key);
        let mut text = String::new();
        for line in lines.into_iter().flatten().skip(self.sent) {
            text.push_str(&line.text);
            text.push('\n');
        }
        let there = lines.map_or(0, std::collections::VecDeque::len);
        let (namespace, pod, container, _) = &self.key;
        let object = state.objects.get(&("pods", namespace.clone(), pod.clone()));
        let statuses = object.and_then(|pod| pod["status"]["containerStatuses"].as_array());
        let ended = statuses.is_some_and(|all| {
            all.iter()
                .any(|s| s["name"] == container.as_str() && s["state"]["terminated"].is_object())
        });
        self.sent = self.sent.max(there);
        (text, ended || object.is_none())
    }
}
