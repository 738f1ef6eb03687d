//! Pod logs: what was written so far, and what is still being written (`follow`).

use std::convert::Infallible;

use axum::{body::Body, http::header, response::IntoResponse as _};
use futures::stream;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{
    Address, Parameters, Server, number, objects, only, parameter,
    state::{Cluster, Line, LogKey},
    status::{Failure, Outcome},
};

/// What of a log is asked for.
struct Query {
    key: LogKey,
    since: Option<Timestamp>,
    tail: Option<usize>,
    stamped: bool,
    /// Bytes still to send.
    room: usize,
}

pub(super) fn read(server: &Server, address: &Address, parameters: &Parameters) -> Outcome {
    let known = [
        "container",
        "previous",
        "tailLines",
        "sinceSeconds",
        "sinceTime",
        "limitBytes",
        "timestamps",
        "follow",
        "pretty",
    ];
    only(parameters, &known)?;
    let cluster = &server.cluster;
    let pod = objects::find(cluster, address)?;
    let container = container(&pod, &address.name, parameter(parameters, "container"))?;
    let is = |name: &str| matches!(parameter(parameters, name), "true" | "1");
    let previous = is("previous");
    let key = (address.namespace.clone(), address.name.clone(), container, previous);
    if !cluster.lock().logs.contains_key(&key) {
        absent(&pod, &key)?;
    }
    let mut query = Query {
        since: since(parameters, cluster.clock().now())?,
        tail: number(parameters, "tailLines")?,
        stamped: is("timestamps"),
        room: number(parameters, "limitBytes")?.unwrap_or(usize::MAX),
        key,
    };
    let mut seen = 0;
    let text = next(cluster, &mut query, &mut seen);
    let kind = [(header::CONTENT_TYPE, "text/plain")];
    if !is("follow") || previous {
        return Ok((kind, text).into_response());
    }
    query.tail = None;
    let follower = Follower {
        cluster: cluster.clone(),
        query,
        seen,
        uid: pod["metadata"]["uid"].clone(),
        stop: server.tasks.stop().draining.clone(),
    };
    let first = stream::once(async move { Ok::<_, Infallible>(text) });
    let rest = stream::unfold(follower, |mut follower| async {
        let text = follower.next().await?;
        Some((Ok(text), follower))
    });
    Ok((kind, Body::from_stream(futures::StreamExt::chain(first, rest))).into_response())
}

/// A container without a log may have none yet, or never.
fn absent(pod: &Value, key: &LogKey) -> Result<(), Failure> {
    let (_, name, container, previous) = key;
    let bad = |message: String| Err(Failure::new(400, "BadRequest", message));
    if *previous {
        return bad(format!(
            "previous terminated container \"{container}\" in pod \"{name}\" not found"
        ));
    }
    match waiting(pod, container) {
        Some(reason) => bad(format!(
            "container \"{container}\" in pod \"{name}\" is waiting to start: {reason}"
        )),
        None => Ok(()),
    }
}

fn since(parameters: &Parameters, now: Timestamp) -> Result<Option<Timestamp>, Failure> {
    let bad = |why: String| Failure::new(400, "BadRequest", why);
    match (number(parameters, "sinceSeconds")?, parameter(parameters, "sinceTime")) {
        (None, "") => Ok(None),
        (None, at) => {
            let wrong = |_| bad(format!("sinceTime: invalid value {at:?}"));
            at.parse().map(Some).map_err(wrong)
        }
        (Some(seconds), "") => {
            let age = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
            Ok(Some(now.checked_sub(age).unwrap_or(Timestamp::MIN)))
        }
        (Some(_), _) => {
            Err(bad("at most one of `sinceTime` or `sinceSeconds` may be specified".to_owned()))
        }
    }
}

/// The lines after the first `seen` ones, as they are sent.
fn next(cluster: &Cluster, query: &mut Query, seen: &mut u64) -> Vec<u8> {
    let state = cluster.lock();
    let Some(log) = state.logs.get(&query.key) else { return vec![] };
    let skip = usize::try_from(seen.saturating_sub(log.dropped)).unwrap_or(usize::MAX);
    let mut lines: Vec<&Line> = log.lines.iter().skip(skip).collect();
    *seen = log.dropped + log.lines.len() as u64;
    if let Some(since) = query.since {
        lines.retain(|line| line.at >= since);
    }
    if let Some(tail) = query.tail {
        lines.drain(..lines.len().saturating_sub(tail));
    }
    let mut text = String::new();
    for line in lines {
        if query.stamped {
            text.push_str(&line.at.to_string());
            text.push(' ');
        }
        text.push_str(&line.text);
        text.push('\n');
    }
    let mut bytes = text.into_bytes();
    bytes.truncate(query.room);
    query.room -= bytes.len();
    bytes
}

struct Follower {
    cluster: Cluster,
    query: Query,
    seen: u64,
    uid: Value,
    stop: tokio_util::sync::CancellationToken,
}

impl Follower {
    /// The next lines, as soon as there are some; `None` when the container has ended and all is said.
    async fn next(&mut self) -> Option<Vec<u8>> {
        let (mut objects, mut logs) = (self.cluster.changes(), self.cluster.logged());
        loop {
            objects.mark_unchanged();
            logs.mark_unchanged();
            // Asked before the log is read: what is written before the end is not missed.
            let ended = self.ended();
            let text = next(&self.cluster, &mut self.query, &mut self.seen);
            if !text.is_empty() {
                return Some(text);
            }
            if ended || self.query.room == 0 {
                return None;
            }
            tokio::select! {
                moved = objects.changed() => moved.ok()?,
                moved = logs.changed() => moved.ok()?,
                () = self.stop.cancelled() => return None,
            }
        }
    }

    fn ended(&self) -> bool {
        let (namespace, name, container, _) = &self.query.key;
        let pod = self.cluster.get("pods", namespace, name);
        pod.is_none_or(|pod| {
            let statuses = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
            let mut own = statuses.filter(|status| status["name"] == **container);
            pod["metadata"]["uid"] != self.uid
                || own.any(|status| !status["state"]["terminated"].is_null())
        })
    }
}

fn container(pod: &Value, name: &str, asked: &str) -> Result<String, Failure> {
    let names: Vec<&str> = ["initContainers", "containers"]
        .iter()
        .filter_map(|list| pod["spec"][list].as_array())
        .flatten()
        .filter_map(|container| container["name"].as_str())
        .collect();
    let bad = |message: String| Err(Failure::new(400, "BadRequest", message));
    match (asked, names.as_slice()) {
        ("", [only]) => Ok((*only).to_owned()),
        ("", names) => bad(format!(
            "a container name must be specified for pod {name}, choose one of: [{}]",
            names.join(" ")
        )),
        (asked, names) if names.contains(&asked) => Ok(asked.to_owned()),
        (asked, _) => bad(format!("container {asked} is not valid for pod {name}")),
    }
}

fn waiting<'a>(pod: &'a Value, container: &str) -> Option<&'a str> {
    let statuses = pod["status"]["containerStatuses"].as_array()?;
    let status = statuses.iter().find(|status| status["name"] == container)?;
    status["state"]["waiting"]["reason"].as_str()
}
