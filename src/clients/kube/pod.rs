//! A pod as diagnosis sees it: where it ran, how each container stands, how each one ended.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1 as core;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One pod. Missing values are empty, so that expressions can compare them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Pod {
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// `driver`, `executor`, or empty: the label `spark-role`.
    pub role: String,
    /// Executor number: the label `spark-exec-id`.
    pub exec_id: String,
    /// `spark.app.id`: the label `spark-app-selector`.
    pub app_id: String,
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    pub phase: String,
    /// Why it is in this phase: `Evicted`, `NodeLost`; usually empty.
    pub reason: String,
    /// More words on the reason.
    pub message: String,
    /// The node it was scheduled to.
    pub node: String,
    /// Its IP address.
    pub ip: String,
    /// When the node accepted it, RFC 3339.
    pub started: String,
    /// When its deletion was asked for, RFC 3339; empty while nobody did.
    pub deleted: String,
    /// When it was seen to exist no more, RFC 3339; empty while it exists. Only the recorder knows such pods.
    pub gone: String,
    /// Containers, init containers first.
    pub containers: Vec<Container>,
    /// Conditions that explain a pod that is not running: not scheduled, or disrupted.
    pub conditions: Vec<Condition>,
    /// Its unique id: a pod made again under the same name has another.
    #[serde(skip)]
    pub uid: String,
    /// Its resource version: a newer state of it has a larger one. 0 when the server's is no number.
    #[serde(skip)]
    pub resource_version: u64,
    /// All labels.
    #[serde(skip)]
    pub labels: BTreeMap<String, String>,
    /// Port of the Spark UI: the container port named `spark-ui`, else 4040.
    #[serde(skip)]
    pub ui_port: u16,
    /// When it was created.
    #[serde(skip)]
    pub created: Option<Timestamp>,
    /// What Spark 4.1 and later write about the driver's last exception.
    #[serde(skip)]
    pub exit_exception: String,
}

/// One container of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Container {
    /// Name.
    pub name: String,
    /// Where it stands.
    pub state: ContainerState,
    /// Why: `OOMKilled`, `Error`, `ImagePullBackOff`; empty while running.
    pub reason: String,
    /// Exit code, when terminated.
    pub exit_code: Option<i32>,
    /// The signal behind an exit code above 128: `SIGKILL` for 137; empty otherwise.
    pub signal: String,
    /// More words on the reason.
    pub message: String,
    /// How often it was restarted.
    pub restarts: i32,
    /// Exit code of the run before this one.
    pub last_exit_code: Option<i32>,
    /// Reason of the run before this one.
    pub last_reason: String,
}

/// Where a container stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ContainerState {
    /// The node has said nothing about it.
    #[default]
    Unknown,
    /// Not started: image, volumes, back-off.
    Waiting,
    /// Running.
    Running,
    /// Ended.
    Terminated,
}

/// A condition that explains trouble.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Condition {
    /// `PodScheduled`, `DisruptionTarget`.
    pub name: String,
    /// `True`, `False`, `Unknown`.
    pub status: String,
    /// `Unschedulable`, `PreemptionByScheduler`, `DeletionByTaintManager`.
    pub reason: String,
    /// More words on the reason.
    pub message: String,
}

/// Container state reasons that mean "it will not start by itself".
const STUCK: [&str; 7] = [
    "ImagePullBackOff",
    "ErrImagePull",
    "InvalidImageName",
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
];

impl Pod {
    /// Failed, or a container of it ended badly (now or before its last restart) or cannot start.
    pub fn has_failed(&self) -> bool {
        let bad = |code: Option<i32>| code.is_some_and(|code| code != 0);
        self.phase == "Failed"
            || self.containers.iter().any(|c| {
                bad(c.exit_code) || bad(c.last_exit_code) || STUCK.contains(&c.reason.as_str())
            })
    }

    /// True when its node, not its own work, ended it: eviction, node lost or shut down, taint, preemption.
    pub fn lost_with_its_node(&self) -> bool {
        let by_node = |reason: &str| {
            matches!(reason, "NodeLost" | "NodeShutdown" | "Shutdown" | "Terminated" | "Evicted")
        };
        let disrupted = |condition: &Condition| {
            condition.name == "DisruptionTarget"
                && matches!(
                    condition.reason.as_str(),
                    "DeletionByTaintManager" | "DeletionByPodGC" | "TerminationByKubelet"
                )
        };
        self.phase == "Unknown" || by_node(&self.reason) || self.conditions.iter().any(disrupted)
    }

    /// How a person names it: `driver etl-driver`, `executor 3 (pod etl-exec-3)`, `pod proxy-1`.
    pub fn label(&self) -> String {
        match (self.role.as_str(), self.exec_id.as_str()) {
            ("driver", _) => format!("driver {}", self.name),
            ("executor", "") => format!("executor (pod {})", self.name),
            ("executor", id) => format!("executor {id} (pod {})", self.name),
            _ => format!("pod {}", self.name),
        }
    }
}

impl From<core::Pod> for Pod {
    fn from(pod: core::Pod) -> Self {
        let core::Pod { metadata, spec, status } = pod;
        let (spec, status) = (spec.unwrap_or_default(), status.unwrap_or_default());
        let labels = metadata.labels.unwrap_or_default();
        let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
        let time = |t: Option<Timestamp>| t.map(|t| t.to_string()).unwrap_or_default();
        let statuses = status.init_container_statuses.unwrap_or_default();
        let containers = statuses.into_iter().chain(status.container_statuses.unwrap_or_default());
        let mut containers: Vec<_> = containers.map(container).collect();
        for declared in &spec.containers {
            if !containers.iter().any(|c| c.name == declared.name) {
                containers.push(Container { name: declared.name.clone(), ..Container::default() });
            }
        }
        Self {
            name: metadata.name.unwrap_or_default(),
            namespace: metadata.namespace.unwrap_or_default(),
            uid: metadata.uid.unwrap_or_default(),
            resource_version: metadata
                .resource_version
                .and_then(|version| version.parse().ok())
                .unwrap_or_default(),
            gone: String::new(),
            role: label("spark-role"),
            exec_id: label("spark-exec-id"),
            app_id: label("spark-app-selector"),
            phase: status.phase.unwrap_or_default(),
            reason: status.reason.unwrap_or_default(),
            message: status.message.unwrap_or_default(),
            node: spec.node_name.unwrap_or_default(),
            ip: status.pod_ip.unwrap_or_default(),
            started: time(status.start_time.map(|t| t.0)),
            deleted: time(metadata.deletion_timestamp.map(|t| t.0)),
            containers,
            conditions: status
                .conditions
                .unwrap_or_default()
                .into_iter()
                .filter_map(condition)
                .collect(),
            ui_port: ui_port(&spec.containers),
            created: metadata.creation_timestamp.map(|t| t.0),
            exit_exception: metadata
                .annotations
                .and_then(|mut a| a.remove("spark.exit-exception"))
                .unwrap_or_default(),
            labels,
        }
    }
}

fn container(status: core::ContainerStatus) -> Container {
    let mut container =
        Container { name: status.name, restarts: status.restart_count, ..Container::default() };
    let state = status.state.unwrap_or_default();
    if let Some(ended) = state.terminated {
        container.state = ContainerState::Terminated;
        container.signal = signal(&ended);
        container.exit_code = Some(ended.exit_code);
        container.reason = ended.reason.unwrap_or_default();
        container.message = ended.message.unwrap_or_default();
    } else if let Some(waiting) = state.waiting {
        container.state = ContainerState::Waiting;
        container.reason = waiting.reason.unwrap_or_default();
        container.message = waiting.message.unwrap_or_default();
    } else if state.running.is_some() {
        container.state = ContainerState::Running;
    }
    if let Some(last) = status.last_state.and_then(|s| s.terminated) {
        container.last_exit_code = Some(last.exit_code);
        container.last_reason = last.reason.unwrap_or_default();
    }
    container
}

fn signal(ended: &core::ContainerStateTerminated) -> String {
    let number = match (ended.signal, ended.exit_code) {
        (Some(number), _) if number > 0 => number,
        (_, code @ 129..=192) => code - 128,
        _ => return String::new(),
    };
    let name = match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

fn condition(condition: core::PodCondition) -> Option<Condition> {
    let troubled = match condition.type_.as_str() {
        "PodScheduled" => condition.status != "True",
        "DisruptionTarget" => condition.status == "True",
        _ => false,
    };
    troubled.then(|| Condition {
        name: condition.type_,
        status: condition.status,
        reason: condition.reason.unwrap_or_default(),
        message: condition.message.unwrap_or_default(),
    })
}

fn ui_port(containers: &[core::Container]) -> u16 {
    let ports = containers.iter().flat_map(|c| c.ports.iter().flatten());
    ports
        .filter(|port| port.name.as_deref() == Some("spark-ui"))
        .find_map(|port| u16::try_from(port.container_port).ok())
        .unwrap_or(4040)
}

/// Text on one line: white space and control characters become single spaces, at most `limit` characters are kept.
pub fn one_line(text: &str, limit: usize) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let mut line = String::new();
    let mut count = 0;
    for word in words.filter(|word| !word.is_empty()) {
        if count > 0 {
            line.push(' ');
            count += 1;
        }
        for c in word.chars() {
            if count >= limit {
                line.push('…');
                return line;
            }
            line.push(c);
            count += 1;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Pod {
        serde_json::from_str::<core::Pod>(json).unwrap().into()
    }

    #[test]
    fn a_real_executor_that_got_sigterm_is_read() {
        let pod =
            read(include_str!("../../../tests/fixtures/spark-3.5/pods/executor-sigterm.json"));
        assert_eq!(pod.label(), "executor 1 (pod nightly-report-6e7d8ca206ebcca9-exec-1)");
        assert_eq!(pod.app_id, "spark-4dbb817998fe49e9853d1610eddeec70");
        assert_eq!((pod.phase.as_str(), pod.node.as_str()), ("Failed", "node-1"));
        assert_eq!(pod.deleted, "2026-11-23T05:41:07Z");
        let container = &pod.containers[0];
        assert_eq!((container.exit_code, container.signal.as_str()), (Some(143), "SIGTERM"));
        assert!(pod.has_failed() && !pod.lost_with_its_node());
    }

    #[test]
    fn a_real_drivers_ui_port_is_the_named_one() {
        let pod = read(include_str!("../../../tests/fixtures/spark-3.5/pods/driver-failed.json"));
        assert_eq!(
            (pod.ui_port, pod.label().as_str()),
            (14046, "driver nightly-report-6e488fa206ebb11d-driver")
        );
        assert_eq!(read("{}").ui_port, 4040);
    }

    #[test]
    fn an_image_that_cannot_be_pulled_is_a_failure_and_an_eviction_is_the_nodes() {
        let pull = read(
            r#"{"status":{"phase":"Pending","containerStatuses":[{"name":"c","image":"i","imageID":"","ready":false,
            "restartCount":0,"state":{"waiting":{"reason":"ImagePullBackOff"}}}]}}"#,
        );
        assert!(pull.has_failed());
        let evicted = read(
            r#"{"status":{"phase":"Failed","reason":"Evicted","message":"The node was low on resource: memory."}}"#,
        );
        assert!(evicted.has_failed() && evicted.lost_with_its_node());
        let tainted = read(
            r#"{"status":{"conditions":[{"type":"DisruptionTarget","status":"True","reason":"DeletionByTaintManager"}]}}"#,
        );
        assert!(tainted.lost_with_its_node());
        let fresh = read(r#"{"spec":{"containers":[{"name":"c"}]},"status":{"phase":"Pending"}}"#);
        assert!(!fresh.has_failed());
        assert_eq!(fresh.containers[0].state, ContainerState::Unknown);
    }

    #[test]
    fn hostile_text_becomes_one_bounded_line() {
        assert_eq!(one_line(" a\n\n\tb\0c ", 100), "a b c");
        assert_eq!(one_line(&"é".repeat(65_536), 3), "ééé…");
        assert_eq!(one_line("", 3), "");
        assert_eq!(one_line("abc", 3), "abc");
    }
}
