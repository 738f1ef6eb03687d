//! kubectl, as people have it, against the test's Kubernetes: what it prints is what they would see.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::bed::{
    Bed,
    cluster::{Cluster, NAMESPACE},
};

/// The words of a line.
fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[tokio::test]
async fn kubectl_shows_pods_as_tables_documents_and_single_fields() {
    let bed = Bed::new();
    let cluster = Cluster::start(&bed).await;
    cluster.shell_pod("web", "Always", "echo up; exec sleep 1000").await;
    cluster.shell_pod("once", "Never", "exit 3").await;
    cluster.ended("once").await;
    cluster.until_pod("web runs", |pod| pod["status"]["phase"] == "Running").await;

    let table = cluster.kubectl_ok(&["get", "pods"]).await;
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(words(lines[0]), ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]);
    assert_eq!(words(lines[1])[..4], ["once", "0/1", "Error", "0"]);
    assert_eq!(words(lines[2])[..4], ["web", "1/1", "Running", "0"]);
    let wide = cluster.kubectl_ok(&["get", "pods", "-A", "-o", "wide", "-l", "app=web"]).await;
    assert!(wide.lines().nth(1).unwrap().starts_with(NAMESPACE), "{wide}");
    assert!(wide.contains("node-"), "{wide}");
    let object: Value =
        serde_json::from_str(&cluster.kubectl_ok(&["get", "pod", "web", "-o", "json"]).await)
            .unwrap();
    assert_eq!(object["status"]["phase"], "Running");
    let yaml = cluster.kubectl_ok(&["get", "pod", "web", "-o", "yaml"]).await;
    assert!(yaml.contains("\n  phase: Running\n"), "{yaml}");
    let exit = "jsonpath={.status.containerStatuses[0].state.terminated.exitCode}";
    assert_eq!(cluster.kubectl_ok(&["get", "pod", "once", "-o", exit]).await, "3");

    let described = cluster.kubectl_ok(&["describe", "pod", "once"]).await;
    assert!(described.contains("Exit Code:    3"), "{described}");
    assert!(described.contains("Successfully assigned spark-prod/once to node-"), "{described}");
    let (code, missing) = cluster.kubectl(&["get", "pod", "nobody"]).await;
    assert_eq!(
        (code, missing.as_str()),
        (1, "Error from server (NotFound): pods \"nobody\" not found\n")
    );
    let nodes = cluster.kubectl_ok(&["get", "nodes"]).await;
    assert_eq!(words(nodes.lines().nth(1).unwrap())[..2], ["node-a", "Ready"]);
    let events = cluster
        .kubectl_ok(&["get", "events", "--field-selector", "involvedObject.name=once"])
        .await;
    assert!(events.contains("pod/once"), "{events}");
    cluster.kubectl_ok(&["get", "events.events.k8s.io"]).await;
    let version: Value =
        serde_json::from_str(&cluster.kubectl_ok(&["get", "--raw", "/version"]).await).unwrap();
    assert_eq!(version["major"], "1");
    // There is no metrics server, and kubectl says so.
    let (code, top) = cluster.kubectl(&["top", "pods"]).await;
    assert!(code != 0 && top.contains("Metrics API not available"), "{top}");
}

#[tokio::test]
async fn kubectl_applies_creates_and_deletes() {
    let bed = Bed::new();
    let cluster = Cluster::start(&bed).await;
    let file = |colour: &str| {
        let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "settings" }, "data": { "colour": colour } });
        bed.file(&format!("{colour}.json"), &map.to_string()).display().to_string()
    };
    let (red, green, blue) = (file("red"), file("green"), file("blue"));
    let colour = async || {
        cluster.kubectl_ok(&["get", "configmap", "settings", "-o", "jsonpath={.data.colour}"]).await
    };

    let dry = cluster.kubectl_ok(&["apply", "-f", &red, "--dry-run=server"]).await;
    assert_eq!(dry, "configmap/settings created (server dry run)\n");
    assert!(cluster.api.get("configmaps", NAMESPACE, "settings").is_none());
    assert_eq!(cluster.kubectl_ok(&["apply", "-f", &red]).await, "configmap/settings created\n");
    assert_eq!(cluster.kubectl_ok(&["apply", "-f", &red]).await, "configmap/settings unchanged\n");
    assert_eq!(
        cluster.kubectl_ok(&["apply", "-f", &green]).await,
        "configmap/settings configured\n"
    );
    assert_eq!(colour().await, "green");
    let (code, conflict) =
        cluster.kubectl(&["apply", "--server-side", "--field-manager=other", "-f", &blue]).await;
    assert!(code != 0 && conflict.contains("Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using v1: .data.colour"), "{conflict}");
    let forced =
        ["apply", "--server-side", "--field-manager=other", "--force-conflicts", "-f", &blue];
    assert_eq!(cluster.kubectl_ok(&forced).await, "configmap/settings serverside-applied\n");
    assert_eq!(colour().await, "blue");
    cluster.kubectl_ok(&["label", "configmap", "settings", "team=data"]).await;
    cluster.kubectl_ok(&["annotate", "configmap", "settings", "note=a"]).await;
    let patch = r#"{"data":{"size":"small"}}"#;
    cluster.kubectl_ok(&["patch", "configmap", "settings", "--type=merge", "-p", patch]).await;
    let operations = r#"[{"op":"replace","path":"/data/size","value":"big"}]"#;
    cluster.kubectl_ok(&["patch", "configmap", "settings", "--type=json", "-p", operations]).await;
    let seen = cluster.api.get("configmaps", NAMESPACE, "settings").unwrap();
    assert_eq!(seen["data"], json!({ "colour": "blue", "size": "big" }));
    assert_eq!(seen["metadata"]["labels"]["team"], "data");
    let deleted = cluster.kubectl_ok(&["delete", "configmap", "settings"]).await;
    assert!(deleted.starts_with("configmap \"settings\" deleted"), "{deleted}");

    // A pod ends by SIGTERM, and kubectl waits until it is gone.
    cluster.shell_pod("web", "Always", "exec sleep 1000").await;
    cluster.until_pod("web runs", |pod| pod["status"]["phase"] == "Running").await;
    cluster.kubectl_ok(&["delete", "pod", "web"]).await;
    assert!(cluster.api.get("pods", NAMESPACE, "web").is_none());
    cluster.kubectl_ok(&["create", "-f", &red]).await;
    let (code, twice) = cluster.kubectl(&["create", "-f", &red]).await;
    assert!(
        code != 0
            && twice.contains("(AlreadyExists): ")
            && twice.contains("configmaps \"settings\" already exists"),
        "{twice}"
    );
}

#[tokio::test]
async fn kubectl_reads_logs_tails_follows_and_looks_before_a_restart() {
    let bed = Bed::new();
    let cluster = Cluster::start(&bed).await;
    cluster.shell_pod("once", "Never", "for n in 1 2 3; do echo line $n; done").await;
    cluster.ended("once").await;
    assert_eq!(cluster.kubectl_ok(&["logs", "once"]).await, "line 1\nline 2\nline 3\n");
    assert_eq!(cluster.kubectl_ok(&["logs", "once", "--tail=1"]).await, "line 3\n");
    assert_eq!(
        cluster.kubectl_ok(&["logs", "once", "--since=1h", "-c", "main"]).await.lines().count(),
        3
    );
    assert_eq!(
        cluster.kubectl_ok(&["logs", "once", "--since-time=2100-01-01T00:00:00Z"]).await,
        ""
    );
    let (code, none) = cluster.kubectl(&["logs", "once", "--previous"]).await;
    assert!(
        code != 0
            && none.contains("previous terminated container \"main\" in pod \"once\" not found"),
        "{none}"
    );

    // It writes when it is told to, and kubectl sees it at once; the end of the pod is the end of the log.
    let go = bed.folder("cluster").join("go");
    let script =
        format!("echo waiting; until [ -e {} ]; do sleep 0.05; done; echo gone", go.display());
    cluster.shell_pod("slow", "Never", &script).await;
    cluster
        .until_pod("slow runs", |pod| {
            pod["metadata"]["name"] == "slow" && pod["status"]["phase"] == "Running"
        })
        .await;
    let mut command =
        tokio::process::Command::from(cluster.kubectl_command(&["logs", "-f", "slow"]));
    let mut follower = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("waiting"));
    std::fs::write(go, "").unwrap();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("gone"));
    assert_eq!(lines.next_line().await.unwrap(), None);
    assert!(follower.wait().await.unwrap().success());

    let count = bed.folder("cluster").join("count");
    let script = format!(
        "echo x >>{0}; echo run $(wc -l <{0}); [ $(wc -l <{0}) -lt 2 ] && exit 7; exec sleep 1000",
        count.display()
    );
    cluster.shell_pod("again", "Always", &script).await;
    cluster
        .until_pod("it runs again", |pod| {
            let status = &pod["status"]["containerStatuses"][0];
            status["restartCount"] == 1 && status["ready"] == true
        })
        .await;
    assert_eq!(cluster.kubectl_ok(&["logs", "again", "--previous"]).await, "run 1\n");
    cluster
        .until("the second run writes", async || {
            cluster.log("again").contains("run 2").then_some(())
        })
        .await;
    let table = cluster.kubectl_ok(&["get", "pod", "again"]).await;
    assert!(table.contains("1 (") && table.contains("ago)"), "{table}");
}

#[tokio::test]
async fn kubectl_watches_a_pod_come_and_end() {
    let bed = Bed::new();
    let cluster = Cluster::start(&bed).await;
    let mut command = tokio::process::Command::from(cluster.kubectl_command(&[
        "get",
        "pods",
        "-w",
        "--no-headers",
    ]));
    let mut watcher = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(watcher.stdout.take().unwrap()).lines();
    cluster
        .until("kubectl watches", async || {
            cluster.api.requests().iter().any(|r| r.contains("watch=true")).then_some(())
        })
        .await;
    cluster.shell_pod("once", "Never", "true").await;
    let mut seen = vec![];
    while seen.last().map(String::as_str) != Some("Completed") {
        let line = lines.next_line().await.unwrap().unwrap();
        seen.push(words(&line)[2].to_owned());
        seen.dedup();
    }
    assert_eq!(seen, ["Pending", "ContainerCreating", "Running", "Completed"]);
    watcher.kill().await.unwrap();
}

#[tokio::test]
async fn kubectl_may_do_what_its_role_says_over_tls() {
    let bed = Bed::new();
    let mut cluster = Cluster::start_tls(&bed).await;
    cluster.api.token("reader-token", "system:serviceaccount:spark-prod:reader", &[]);
    cluster.api.token("admin-token", "admin", &["system:masters"]);
    for object in [
        json!({ "kind": "Role", "rules": [
            { "apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list"] },
        ] }),
        json!({ "kind": "RoleBinding", "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader" },
                "subjects": [{ "kind": "ServiceAccount", "name": "reader", "namespace": NAMESPACE }] }),
    ] {
        let mut object = object;
        object["apiVersion"] = json!("rbac.authorization.k8s.io/v1");
        object["metadata"] = json!({ "name": "reader", "namespace": NAMESPACE });
        cluster.api.put(object).unwrap();
    }
    cluster.token = Some("reader-token".to_owned());
    assert_eq!(cluster.kubectl(&["auth", "can-i", "list", "pods"]).await, (0, "yes\n".to_owned()));
    assert_eq!(cluster.kubectl(&["auth", "can-i", "delete", "pods"]).await, (1, "no\n".to_owned()));
    let list = cluster.kubectl_ok(&["auth", "can-i", "--list"]).await;
    assert!(
        list.lines().any(|line| words(line)[0] == "pods/log" && line.contains("[get list]")),
        "{list}"
    );
    assert_eq!(
        cluster.kubectl_ok(&["get", "pods"]).await,
        "No resources found in spark-prod namespace.\n"
    );
    let (_, denied) = cluster.kubectl(&["get", "pods", "-n", "default"]).await;
    assert_eq!(
        denied,
        "Error from server (Forbidden): pods is forbidden: User \"system:serviceaccount:spark-prod:reader\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\"\n"
    );
    cluster.token = Some("admin-token".to_owned());
    cluster.kubectl_ok(&["get", "pods", "-A"]).await;
    cluster.token = Some("stolen".to_owned());
    let (_, unknown) = cluster.kubectl(&["get", "pods"]).await;
    assert!(unknown.contains("You must be logged in to the server"), "{unknown}");
}
