//! A pod's status as canonical lines, which signatures match and verdicts quote.
//!
//! The forms are a contract with the signatures:
//! `pod <pod> phase=<phase> reason=<reason> message=<message>`,
//! `pod <pod> container <container> terminated: reason=<reason> exitCode=<code> message=<message>`,
//! `pod <pod> container <container> previously terminated: reason=<reason> exitCode=<code> restarts=<n>`,
//! `pod <pod> waiting: reason=<reason> message=<message>`,
//! `pod <pod> condition <type>=<status> reason=<reason> message=<message>`,
//! `pod <pod> is gone since <time>; this is how the recorder last saw it`. Empty parts are left out.

use crate::{
    clients::kube::{Container, ContainerState, Pod, one_line},
    domain::evidence::{Origin, Passage},
};

/// Longest message kept in a line, characters.
const MAX_MESSAGE: usize = 1_000;

/// Everything noteworthy about a pod; nothing for a pod that simply runs.
pub(crate) fn pod_passages(pod: &Pod) -> Vec<Passage> {
    let mut lines = vec![];
    let name = &pod.name;
    if !pod.reason.is_empty()
        || !pod.message.is_empty()
        || matches!(pod.phase.as_str(), "Failed" | "Unknown")
    {
        let (reason, message) = (part("reason", &pod.reason), part("message", &pod.message));
        lines.push(format!("pod {name} phase={}{reason}{message}", pod.phase));
    }
    for c in &pod.conditions {
        let (reason, message) = (part("reason", &c.reason), part("message", &c.message));
        lines.push(format!("pod {name} condition {}={}{reason}{message}", c.name, c.status));
    }
    lines.extend(pod.containers.iter().flat_map(|c| container(name, c)));
    if !pod.deleted.is_empty() {
        lines.push(format!("pod {name} deletion was asked for at {}", pod.deleted));
    }
    if !pod.gone.is_empty() {
        lines.push(format!(
            "pod {name} is gone since {}; this is how the recorder last saw it",
            pod.gone
        ));
    }
    if !pod.exit_exception.is_empty() {
        lines.push(format!(
            "pod {name} exit exception: {}",
            one_line(&pod.exit_exception, MAX_MESSAGE)
        ));
    }
    lines.into_iter().map(|line| Passage::new(Origin::PodStatus, pod.label(), line)).collect()
}

fn container(pod: &str, container: &Container) -> Vec<String> {
    let name = &container.name;
    let mut lines = vec![];
    let (reason, message) =
        (part("reason", &container.reason), part("message", &container.message));
    match (container.state, container.exit_code) {
        (ContainerState::Terminated, Some(code)) => {
            lines.push(format!(
                "pod {pod} container {name} terminated:{reason} exitCode={code}{message}"
            ));
        }
        (ContainerState::Waiting, _) => lines.push(format!("pod {pod} waiting:{reason}{message}")),
        (ContainerState::Terminated | ContainerState::Running | ContainerState::Unknown, _) => {}
    }
    if let Some(code) = container.last_exit_code {
        let reason = part("reason", &container.last_reason);
        let restarts = container.restarts;
        lines.push(format!(
            "pod {pod} container {name} previously terminated:{reason} exitCode={code} restarts={restarts}"
        ));
    }
    lines
}

fn part(name: &str, value: &str) -> String {
    match one_line(value, MAX_MESSAGE) {
        value if value.is_empty() => String::new(),
        value => format!(" {name}={value}"),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1 as core;

    use super::*;

    fn lines(json: &str) -> String {
        let pod = Pod::from(serde_json::from_str::<core::Pod>(json).unwrap());
        let passages = pod_passages(&pod);
        passages.iter().map(|p| format!("{}: {}", p.source, p.text)).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_real_executor_ended_by_sigterm_reads_as_one_line_each() {
        insta::assert_snapshot!(lines(include_str!("../../../tests/fixtures/spark-3.5/pods/executor-sigterm.json")), @r"
        executor 1 (pod nightly-report-6e7d8ca206ebcca9-exec-1): pod nightly-report-6e7d8ca206ebcca9-exec-1 phase=Failed
        executor 1 (pod nightly-report-6e7d8ca206ebcca9-exec-1): pod nightly-report-6e7d8ca206ebcca9-exec-1 container spark-kubernetes-executor terminated: reason=Error exitCode=143
        executor 1 (pod nightly-report-6e7d8ca206ebcca9-exec-1): pod nightly-report-6e7d8ca206ebcca9-exec-1 deletion was asked for at 2026-11-23T05:41:07Z
        ");
    }

    #[test]
    fn an_oom_kill_before_a_restart_an_image_and_an_eviction_have_their_forms() {
        let status = |name: &str, state: &str| {
            format!(
                r#"{{"name":"{name}","image":"i","imageID":"","ready":false,"restartCount":2,{state}}}"#
            )
        };
        let pod = format!(
            r#"{{"metadata":{{"name":"x"}},"status":{{"phase":"Failed","reason":"Evicted","message":"The node was low on\nresource: memory.",
            "conditions":[{{"type":"PodScheduled","status":"False","reason":"Unschedulable","message":"0/3 nodes"}}],
            "containerStatuses":[{},{},{}]}}}}"#,
            status("a", r#""state":{"terminated":{"exitCode":137,"reason":"OOMKilled"}}"#),
            status(
                "b",
                r#""state":{"waiting":{"reason":"ImagePullBackOff","message":"Back-off pulling"}}"#
            ),
            status(
                "c",
                r#""state":{"running":{}},"lastState":{"terminated":{"exitCode":1,"reason":"Error"}}"#
            ),
        );
        insta::assert_snapshot!(lines(&pod), @r"
        pod x: pod x phase=Failed reason=Evicted message=The node was low on resource: memory.
        pod x: pod x condition PodScheduled=False reason=Unschedulable message=0/3 nodes
        pod x: pod x container a terminated: reason=OOMKilled exitCode=137
        pod x: pod x waiting: reason=ImagePullBackOff message=Back-off pulling
        pod x: pod x container c previously terminated: reason=Error exitCode=1 restarts=2
        ");
    }

    #[test]
    fn a_pod_that_is_gone_says_the_same_and_since_when() {
        let json = include_str!("../../../tests/fixtures/spark-3.5/pods/executor-sigterm.json");
        let mut pod = Pod::from(serde_json::from_str::<core::Pod>(json).unwrap());
        let live = pod_passages(&pod);
        pod.gone = "2026-11-23T05:41:08Z".to_owned();
        let gone = pod_passages(&pod);
        assert_eq!(gone[..live.len()], live);
        assert_eq!(
            gone[live.len()].text,
            "pod nightly-report-6e7d8ca206ebcca9-exec-1 is gone since 2026-11-23T05:41:08Z; this is how the recorder last saw it"
        );
    }

    #[test]
    fn a_running_pod_says_nothing() {
        assert_eq!(lines(r#"{"metadata":{"name":"x"},"status":{"phase":"Running"}}"#), "");
    }
}
