//! The columns that kubectl prints.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::discovery::Resource;

/// Column definitions, and the cells of each object's row.
pub(super) fn rows(
    resource: &Resource,
    items: &[&Value],
    now: Timestamp,
) -> (Value, Vec<Vec<Value>>) {
    // A name with a star is shown only with `-o wide`.
    let columns: &[&str] = match resource.plural {
        "pods" => &[
            "Name",
            "Ready",
            "Status",
            "Restarts",
            "Age",
            "*IP",
            "*Node",
            "*Nominated Node",
            "*Readiness Gates",
        ],
        "nodes" => &["Name", "Status", "Roles", "Age", "Version"],
        "namespaces" => &["Name", "Status", "Age"],
        "configmaps" => &["Name", "Data", "Age"],
        "services" => &["Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age"],
        "events" => &["Last Seen", "Type", "Reason", "Object", "Message"],
        _ => &["Name", "Age"],
    };
    let definitions = columns.iter().map(|name| {
        let format = if *name == "Name" { "name" } else { "" };
        let kind = if *name == "Data" { "integer" } else { "string" };
        json!({
            "name": name.trim_start_matches('*'), "type": kind, "format": format, "description": "",
            "priority": u8::from(name.starts_with('*')),
        })
    });
    let cells = |object: &&Value| row(resource, object, now);
    (definitions.collect(), items.iter().map(cells).collect())
}

fn row(resource: &Resource, object: &Value, now: Timestamp) -> Vec<Value> {
    let (metadata, status) = (&object["metadata"], &object["status"]);
    let (name, age) = (metadata["name"].clone(), json!(since(&metadata["creationTimestamp"], now)));
    match resource.plural {
        "pods" => pod(object, now),
        "nodes" => {
            let conditions = status["conditions"].as_array().into_iter().flatten();
            let mut of_ready = conditions.filter(|condition| condition["type"] == "Ready");
            let mut words = match of_ready.next().and_then(|c| c["status"].as_str()) {
                Some("True") => "Ready".to_owned(),
                Some("False") => "NotReady".to_owned(),
                _ => "Unknown".to_owned(),
            };
            if object["spec"]["unschedulable"] == true {
                words.push_str(",SchedulingDisabled");
            }
            vec![
                name,
                json!(words),
                json!("<none>"),
                age,
                status["nodeInfo"]["kubeletVersion"].clone(),
            ]
        }
        "namespaces" => {
            let phase =
                if metadata["deletionTimestamp"].is_null() { "Active" } else { "Terminating" };
            vec![name, json!(phase), age]
        }
        "configmaps" => {
            let count = object["data"].as_object().map_or(0, serde_json::Map::len);
            vec![name, json!(count), age]
        }
        "services" => {
            let spec = &object["spec"];
            let ports = spec["ports"].as_array().into_iter().flatten();
            let ports: Vec<String> = ports
                .map(|p| format!("{}/{}", p["port"], p["protocol"].as_str().unwrap_or("TCP")))
                .collect();
            let ip = spec["clusterIP"].as_str().unwrap_or("<none>");
            vec![
                name,
                spec["type"].clone(),
                json!(ip),
                json!("<none>"),
                json!(ports.join(",")),
                age,
            ]
        }
        "events" => {
            let about = &object["involvedObject"];
            let text = |field: &str| about[field].as_str().unwrap_or_default().to_owned();
            let seen = match &object["lastTimestamp"] {
                Value::Null => &object["eventTime"],
                last => last,
            };
            let what = format!("{}/{}", text("kind").to_lowercase(), text("name"));
            let (kind, reason) = (object["type"].clone(), object["reason"].clone());
            vec![json!(since(seen, now)), kind, reason, json!(what), object["message"].clone()]
        }
        _ => vec![name, age],
    }
}

fn pod(object: &Value, now: Timestamp) -> Vec<Value> {
    let (metadata, status) = (&object["metadata"], &object["status"]);
    let statuses = || status["containerStatuses"].as_array().into_iter().flatten();
    let total = object["spec"]["containers"].as_array().map_or(0, Vec::len);
    let ready = statuses().filter(|container| container["ready"] == true).count();
    let restarts: i64 = statuses().filter_map(|c| c["restartCount"].as_i64()).sum();
    let last = statuses()
        .filter_map(|c| c["lastState"]["terminated"]["finishedAt"].as_str())
        .max()
        .map(|at| format!(" ({} ago)", since(&json!(at), now)));
    let mut words =
        status["reason"].as_str().or(status["phase"].as_str()).unwrap_or_default().to_owned();
    for container in statuses() {
        let (waiting, ended) = (&container["state"]["waiting"], &container["state"]["terminated"]);
        if let Some(reason) = waiting["reason"].as_str() {
            reason.clone_into(&mut words);
        } else if let Some(reason) = ended["reason"].as_str().filter(|_| status["reason"].is_null())
        {
            reason.clone_into(&mut words);
        }
    }
    if !metadata["deletionTimestamp"].is_null() {
        "Terminating".clone_into(&mut words);
    }
    let or_none = |value: &Value| value.as_str().unwrap_or("<none>").to_owned();
    vec![
        metadata["name"].clone(),
        json!(format!("{ready}/{total}")),
        json!(words),
        json!(format!("{restarts}{}", last.unwrap_or_default())),
        json!(since(&metadata["creationTimestamp"], now)),
        json!(or_none(&status["podIP"])),
        json!(or_none(&object["spec"]["nodeName"])),
        json!("<none>"),
        json!("<none>"),
    ]
}

/// How long ago, as kubectl writes it: `45s`, `5m12s`, `7h`, `3d`.
fn since(at: &Value, now: Timestamp) -> String {
    let Some(at) = at.as_str().and_then(|at| at.parse::<Timestamp>().ok()) else {
        return "<unknown>".to_owned();
    };
    let seconds = now.duration_since(at).as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    let two = |big: i64, big_unit: &str, small: i64, small_unit: &str| {
        if small == 0 {
            format!("{big}{big_unit}")
        } else {
            format!("{big}{big_unit}{small}{small_unit}")
        }
    };
    match () {
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        () if hours < 3 => format!("{minutes}m"),
        () if hours < 8 => two(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if days < 8 => two(days, "d", hours % 24, "h"),
        () => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_written_as_kubectl_writes_them() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        for (at, text) in [
            ("2026-11-23T11:59:15Z", "45s"),
            ("2026-11-23T11:54:48Z", "5m12s"),
            ("2026-11-23T11:55:00Z", "5m"),
            ("2026-11-23T10:00:00Z", "120m"),
            ("2026-11-23T07:30:00Z", "4h30m"),
            ("2026-11-20T11:00:00Z", "3d1h"),
            ("2026-11-23T12:00:05Z", "0s"),
            ("nonsense", "<unknown>"),
        ] {
            assert_eq!(since(&json!(at), now), text, "{at}");
        }
    }
}
