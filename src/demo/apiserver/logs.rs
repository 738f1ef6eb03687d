//! Pod logs.

use axum::{http::header, response::IntoResponse as _};
use jiff::SignedDuration;
use serde_json::Value;

use super::{
    Address, Parameters, Server, follow, number, objects, only, parameter,
    state::Line,
    status::{Failure, Outcome},
};

pub(super) fn read(server: &Server, address: &Address, parameters: &Parameters) -> Outcome {
    let known = [
        "container",
        "previous",
        "tailLines",
        "sinceSeconds",
        "limitBytes",
        "timestamps",
        "follow",
    ];
    only(parameters, &known)?;
    let cluster = &server.cluster;
    let pod = objects::find(cluster, address)?;
    let container = container(&pod, &address.name, parameter(parameters, "container"))?;
    let previous = parameter(parameters, "previous") == "true";
    let bad = |message: String| Failure::new(400, "BadRequest", message);
    let now = cluster.clock().now();
    let state = cluster.lock();
    let key = (address.namespace.clone(), address.name.clone(), container.clone(), previous);
    let lines = state.logs.get(&key);
    if lines.is_none() {
        let pod_name = &address.name;
        if previous {
            return Err(bad(format!(
                "previous terminated container \"{container}\" in pod \"{pod_name}\" not found"
            )));
        }
        if let Some(reason) = waiting(&pod, &container) {
            return Err(bad(format!(
                "container \"{container}\" in pod \"{pod_name}\" is waiting to start: {reason}"
            )));
        }
    }
    if parameter(parameters, "follow") == "true" {
        let there = lines.map_or(0, std::collections::VecDeque::len);
        let tail = number(parameters, "tailLines")?.unwrap_or(there);
        return follow::start(server, key.clone(), there.saturating_sub(tail));
    }
    let mut lines: Vec<&Line> = lines.into_iter().flatten().collect();
    if let Some(seconds) = number(parameters, "sinceSeconds")? {
        let age = SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
        lines.retain(|line| now.duration_since(line.at) <= age);
    }
    if let Some(tail) = number(parameters, "tailLines")? {
        lines.drain(..lines.len().saturating_sub(tail));
    }
    let stamped = parameter(parameters, "timestamps") == "true";
    let mut text = String::new();
    for line in lines {
        if stamped {
            text.push_str(&line.at.to_string());
            text.push(' ');
        }
        text.push_str(&line.text);
        text.push('\n');
    }
    let mut body = text.into_bytes();
    if let Some(limit) = number(parameters, "limitBytes")? {
        body.truncate(limit);
    }
    Ok(([(header::CONTENT_TYPE, "text/plain")], body).into_response())
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
