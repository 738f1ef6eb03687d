//! `kube.*` steps beyond pods: nodes, owners, roll-outs, quotas, volumes, services, permissions, usage.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use paramedic::{
    clients::Kind,
    domain::evidence::Passage,
    steps::{
        Failure, Outcome,
        kube::{
            access::Access, node::Node, owners::Owners, pvc::Pvc, quota::Quota, rollout::Rollout,
            service::Service, top::Top,
        },
    },
};
use serde_json::{Value, json};

use crate::fakes::kube::{Rig, client_error, pod};

fn lines<T>(found: &Outcome<T>) -> String {
    let line = |passage: &Passage| format!("{}: {}", passage.source, passage.text);
    found.passages.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn skipped<T>(result: Result<Outcome<T>, Failure>) -> String {
    match result {
        Err(Failure::Skipped(why)) => why,
        Err(other) => panic!("failed: {other}"),
        Ok(outcome) => panic!("done: {}", outcome.summary),
    }
}

fn owned(mut object: Value, kind: &str, api_version: &str, name: &str, uid: &str) -> Value {
    object["metadata"]["ownerReferences"] = json!([{ "apiVersion": api_version, "kind": kind, "name": name, "uid": uid, "controller": true }]);
    object
}

fn event(name: &str, kind: &str, of: &str, namespace: &str, reason: &str, message: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Event", "type": "Warning", "reason": reason, "message": message,
        "metadata": { "name": name, "namespace": namespace }, "lastTimestamp": "2026-11-23T03:10:00Z",
        "involvedObject": { "kind": kind, "name": of, "namespace": namespace } })
}

fn node(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name },
        "spec": { "unschedulable": true, "taints": [{ "key": "node.kubernetes.io/disk-pressure", "effect": "NoSchedule" }] },
        "status": {
            "allocatable": { "cpu": "4", "memory": "16Gi", "pods": "110", "ephemeral-storage": "50Gi" },
            "conditions": [
                { "type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": "container runtime is down" },
                { "type": "DiskPressure", "status": "True", "reason": "KubeletHasDiskPressure" },
                { "type": "PIDPressure", "status": "False", "reason": "KubeletHasSufficientPID" },
            ] } })
}

fn placed(name: &str, on: &str, namespace: &str, memory: &str) -> Value {
    let mut pod = pod(name, &json!({}));
    pod["metadata"]["namespace"] = json!(namespace);
    pod["spec"]["nodeName"] = json!(on);
    pod["spec"]["containers"][0]["resources"] =
        json!({ "requests": { "memory": memory, "cpu": "1" } });
    pod
}

#[tokio::test]
async fn a_sick_node_is_told_with_its_taints_its_load_and_its_events() {
    let rig = Rig::empty().await;
    rig.cluster.put(node("node-x")).unwrap();
    rig.cluster.put(placed("a", "node-x", "spark-prod", "10Gi")).unwrap();
    rig.cluster.put(placed("b", "node-x", "other", "5Gi")).unwrap();
    rig.cluster.put(placed("c", "node-y", "other", "50Gi")).unwrap();
    rig.cluster
        .put(event(
            "e1",
            "Node",
            "node-x",
            "default",
            "EvictionThresholdMet",
            "Attempting to reclaim ephemeral-storage",
        ))
        .unwrap();
    let found = rig.run::<Node>("{ name: node-x }").await.unwrap();
    insta::assert_snapshot!(lines(&found), @r#"
    node node-x: Node/node-x condition Ready=False reason=KubeletNotReady message=container runtime is down
    node node-x: Node/node-x condition DiskPressure=True reason=KubeletHasDiskPressure
    node node-x: Node/node-x is cordoned
    node node-x: Node/node-x taint node.kubernetes.io/disk-pressure:NoSchedule
    node node-x: Node/node-x memory requested 93 % of allocatable by pods of all namespaces
    events of node-x: EvictionThresholdMet Node/node-x: Attempting to reclaim ephemeral-storage
    "#);
    insta::assert_snapshot!(found.summary, @"node node-x: not ready, cordoned, DiskPressure, taint node.kubernetes.io/disk-pressure:NoSchedule, memory requested 93 %, last warning: EvictionThresholdMet Attempting to reclaim ephemeral-storage");
    assert_eq!(found.value.requested_of, "all namespaces");
}

#[tokio::test]
async fn without_the_right_to_list_all_pods_those_of_the_namespace_are_counted_and_it_says_so() {
    let rig = Rig::demo().await;
    let found = rig.run::<Node>("{ name: node-b }").await.unwrap();
    assert_eq!((found.value.exists, found.value.ready), (true, true));
    assert_eq!(found.value.missing, Vec::<String>::new());
    // Its driver's node, when no name is given.
    assert_eq!(rig.run::<Node>("{}").await.unwrap().value.name, "node-a");
    rig.cluster.deny("list", "pods");
    rig.cluster.deny("list", "events");
    let found = rig.run::<Node>("{ name: node-b }").await.unwrap();
    assert!(
        found.value.missing[0].starts_with("requests: pods is forbidden"),
        "{:?}",
        found.value.missing
    );
    assert_eq!(found.value.missing.len(), 2);
}

#[tokio::test]
async fn a_node_that_is_gone_is_a_finding() {
    let rig = Rig::empty().await;
    let found = rig.run::<Node>("{ name: spot-7 }").await.unwrap();
    assert_eq!(lines(&found), "node spot-7: Node/spot-7 does not exist");
    rig.cluster.deny("get", "nodes");
    assert_eq!(client_error(rig.run::<Node>("{ name: spot-7 }").await).kind, Kind::Denied);
    let why = skipped(rig.run::<Node>("{}").await);
    assert!(why.contains("set `name`"), "{why}");
}

fn deployment(image: &str, replicas: u8) -> Value {
    json!({ "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "web", "namespace": "spark-prod", "uid": "d-1", "managedFields": [
            { "manager": "helm", "operation": "Update", "time": "2026-11-23T03:00:00Z", "fieldsV1": { "f:spec": {} } },
            { "manager": "kube-controller-manager", "subresource": "status", "time": "2026-11-23T03:14:00Z", "fieldsV1": { "f:status": {} } },
        ] },
        "spec": { "replicas": replicas, "selector": { "matchLabels": { "app": "web" } },
            "template": { "spec": { "containers": [{ "name": "web", "image": image }] } } },
        "status": { "readyReplicas": 1, "unavailableReplicas": 2, "conditions": [
            { "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "ReplicaSet \"web-2\" has timed out progressing." } ] } })
}

fn replica_set(name: &str, revision: &str, at: &str, image: &str, mode: &str) -> Value {
    let set = json!({ "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": { "name": name, "namespace": "spark-prod", "uid": name, "labels": { "app": "web" }, "creationTimestamp": at,
            "annotations": { "deployment.kubernetes.io/revision": revision } },
        "spec": { "replicas": 1, "template": { "spec": { "containers": [{ "name": "web", "image": image,
            "env": [{ "name": "MODE", "value": mode }, { "name": "API_TOKEN", "value": mode }] }] } } } });
    owned(set, "Deployment", "apps/v1", "web", "d-1")
}

async fn web() -> Rig {
    let rig = Rig::empty().await;
    rig.cluster.put(deployment("web:2", 3)).unwrap();
    rig.cluster.put(replica_set("web-1", "1", "2026-11-20T10:00:00Z", "web:1", "fast")).unwrap();
    rig.cluster.put(replica_set("web-2", "2", "2026-11-23T03:00:00Z", "web:2", "slow")).unwrap();
    let other = replica_set("other-9", "9", "2026-11-23T03:10:00Z", "x", "y");
    rig.cluster.put(owned(other, "Deployment", "apps/v1", "else", "d-2")).unwrap();
    rig.cluster
        .put(owned(
            pod("web-2-x", &json!({ "app": "web" })),
            "ReplicaSet",
            "apps/v1",
            "web-2",
            "web-2",
        ))
        .unwrap();
    rig
}

#[tokio::test]
async fn a_pod_leads_to_its_deployment_and_to_what_changed_in_it() {
    let mut rig = web().await;
    let found = rig.run::<Owners>("{ pod: web-2-x, namespace: spark-prod }").await.unwrap();
    insta::assert_snapshot!(lines(&found), @r#"
    pod web-2-x: Pod/web-2-x owned by ReplicaSet/web-2 owned by Deployment/web
    ReplicaSet web-2: ReplicaSet/web-2 replicas=1
    Deployment web: Deployment/web replicas=3 ready=1 unavailable=2
    "#);
    assert_eq!((found.value.kind.as_str(), found.value.ends.as_str()), ("Deployment", ""));
    rig.target = Some(target("web-2-x"));
    let found = rig.run::<Rollout>("{ since: 6h }").await.unwrap();
    insta::assert_snapshot!(lines(&found), @r#"
    Deployment web: Deployment/web changed at 2026-11-23T03:00:00Z revision=2 by=helm
    Deployment web: Deployment/web changed containers.web.image: web:1 -> web:2
    Deployment web: Deployment/web changed containers.web.env.API_TOKEN: *** -> ***
    Deployment web: Deployment/web changed containers.web.env.MODE: fast -> slow
    Deployment web: Deployment/web condition Progressing=False reason=ProgressDeadlineExceeded message=ReplicaSet "web-2" has timed out progressing.
    "#);
    insta::assert_snapshot!(found.summary, @"Deployment web: changed at 2026-11-23T03:00:00Z by=helm; containers.web.image: web:1 -> web:2; containers.web.env.API_TOKEN: *** -> ***; containers.web.env.MODE: fast -> slow; replicas=3 ready=1 unavailable=2");
    // The same by name; what is older than `since` is in the output, and no signature sees it.
    let named =
        rig.run::<Rollout>("{ name: web, namespace: spark-prod, since: 5m }").await.unwrap();
    assert_eq!(
        (named.value.lately, named.value.changes.len(), named.value.revision),
        (false, 3, 2)
    );
    assert!(!lines(&named).contains("changed"), "{}", lines(&named));
}

fn target(name: &str) -> paramedic::domain::target::Target {
    let (cluster, namespace) = ("demo".to_owned(), "spark-prod".to_owned());
    paramedic::domain::target::Target::Pod(paramedic::domain::target::Pod {
        cluster,
        namespace,
        name: name.to_owned(),
    })
}

#[tokio::test]
async fn owners_end_where_they_are_unknown_gone_or_forbidden_and_a_circle_ends() {
    let rig = web().await;
    let ends = async |name: &str| {
        rig.run::<Owners>(&format!("{{ pod: {name}, namespace: spark-prod }}"))
            .await
            .unwrap()
            .value
            .ends
    };
    for (name, kind, version) in [
        ("w", "Workflow", "argoproj.io/v1alpha1"),
        ("j", "Job", "batch/v1"),
        ("r", "Pod", "v1"),
        ("s", "Node", "v1"),
    ] {
        rig.cluster.put(owned(pod(name, &json!({})), kind, version, name, "u")).unwrap();
    }
    assert_eq!(ends("w").await, "Workflow/w is of a kind that is not followed");
    assert_eq!(ends("j").await, "Job/j does not exist (any more)");
    assert_eq!(ends("s").await, "it is a static pod: a file on its node defines it");
    assert_eq!(ends("r").await, "only the first 8 owners were followed");
    rig.cluster.deny("get", "deployments");
    let why = ends("web-2-x").await;
    assert!(
        why.starts_with("Deployment/web was not read: deployments.apps \"web\" is forbidden"),
        "{why}"
    );
    assert_eq!(
        client_error(rig.run::<Owners>("{ pod: gone, namespace: spark-prod }").await).kind,
        Kind::NotFound
    );
}

#[tokio::test]
async fn an_executor_leads_through_its_driver_to_its_operator_s_record_and_a_pod_alone_to_none() {
    let mut rig = Rig::demo().await;
    let driver = "etl-daily-driver";
    let mut object = pod(driver, &json!({ "spark-role": "driver" }));
    object = owned(object, "SparkApplication", "sparkoperator.k8s.io/v1beta2", "etl-daily", "u");
    rig.cluster.put(object).unwrap();
    let found = rig.run::<Owners>("{ pod: \"{{labels.pod}}\" }").await.unwrap();
    insta::assert_snapshot!(found.summary, @"Pod/etl-daily-93c1a78b2f4d6e10-exec-2 owned by Pod/etl-daily-driver owned by SparkApplication/etl-daily (state=RUNNING)");
    rig.cluster.put(pod("alone", &json!({}))).unwrap();
    assert!(skipped(rig.run::<Rollout>("{ kind: deployment }").await).contains("without `name`"));
    rig.target = Some(target("alone"));
    assert_eq!(
        skipped(rig.run::<Rollout>("{}").await),
        "pod spark-prod/alone: it belongs to Pod/alone, which keeps no revisions"
    );
}

#[tokio::test]
async fn a_quota_that_is_used_up_is_told_first() {
    let rig = Rig::empty().await;
    rig.cluster.put(json!({ "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "compute", "namespace": "spark-prod" },
        "spec": { "hard": { "pods": "50", "requests.memory": "32Gi" } } })).unwrap();
    for n in 0..12 {
        let mut pod = pod(&format!("p-{n}"), &json!({}));
        if n < 4 {
            pod["spec"]["containers"][0]["resources"] = json!({ "requests": { "memory": "8Gi" } });
        }
        rig.cluster.put(pod).unwrap();
    }
    rig.cluster.put(json!({ "apiVersion": "v1", "kind": "LimitRange", "metadata": { "name": "caps", "namespace": "spark-prod" },
        "spec": { "limits": [{ "type": "Container", "max": { "memory": "4Gi" } }] } })).unwrap();
    let found = rig.run::<Quota>("{ namespace: spark-prod }").await.unwrap();
    insta::assert_snapshot!(lines(&found), @r#"
    ResourceQuota compute: ResourceQuota/compute requests.memory used=32Gi hard=32Gi (100 %, used up)
    ResourceQuota compute: ResourceQuota/compute pods used=12 hard=50 (24 %)
    LimitRange caps: LimitRange/caps Container max memory=4Gi
    "#);
    insta::assert_snapshot!(found.summary, @"1 quota of spark-prod used up: compute requests.memory 32Gi of 32Gi; 1 limit per pod");
    let none = rig.run::<Quota>("{ namespace: other }").await.unwrap();
    assert_eq!(none.summary, "namespace other has no quota");
    rig.cluster.deny("list", "limitranges");
    let partly = rig.run::<Quota>("{ namespace: spark-prod }").await.unwrap();
    assert!(partly.value.missing[0].contains("limitranges"), "{:?}", partly.value.missing);
    rig.cluster.deny("list", "resourcequotas");
    assert_eq!(
        client_error(rig.run::<Quota>("{ namespace: spark-prod }").await).kind,
        Kind::Denied
    );
}

fn claim(name: &str, phase: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": { "name": name, "namespace": "spark-prod" },
        "spec": { "storageClassName": "fast", "resources": { "requests": { "storage": "100Gi" } } },
        "status": { "phase": phase, "capacity": if phase == "Bound" { json!({ "storage": "100Gi" }) } else { json!(null) } } })
}

#[tokio::test]
async fn volumes_a_pod_mounts_are_told_when_they_are_not_bound_or_not_there() {
    let mut rig = Rig::empty().await;
    let mut mounting = pod("etl", &json!({}));
    mounting["spec"]["volumes"] = json!([
        { "name": "a", "persistentVolumeClaim": { "claimName": "data" } },
        { "name": "b", "persistentVolumeClaim": { "claimName": "scratch" } },
        { "name": "c", "persistentVolumeClaim": { "claimName": "gone" } }, { "name": "d", "emptyDir": {} } ]);
    for object in
        [mounting, claim("data", "Bound"), claim("scratch", "Pending"), claim("else", "Lost")]
    {
        rig.cluster.put(object).unwrap();
    }
    rig.cluster
        .put(event(
            "e1",
            "PersistentVolumeClaim",
            "scratch",
            "spark-prod",
            "ProvisioningFailed",
            "no space in pool",
        ))
        .unwrap();
    rig.target = Some(target("etl"));
    let found = rig.run::<Pvc>("{}").await.unwrap();
    insta::assert_snapshot!(lines(&found), @r#"
    volume claim gone: PersistentVolumeClaim/gone does not exist
    volume claim scratch: PersistentVolumeClaim/scratch phase=Pending class=fast requested=100Gi
    volume claim data: PersistentVolumeClaim/data phase=Bound capacity=100Gi
    events of scratch: ProvisioningFailed PersistentVolumeClaim/scratch: no space in pool
    "#);
    insta::assert_snapshot!(found.summary, @"2 of 3 volume claims are not bound: gone Missing, scratch Pending");
    rig.target = None;
    assert_eq!(rig.run::<Pvc>("{ namespace: spark-prod }").await.unwrap().value.total, 3);
    let one = rig.run::<Pvc>("{ name: nowhere, namespace: spark-prod }").await.unwrap();
    assert_eq!(lines(&one), "volume claim nowhere: PersistentVolumeClaim/nowhere does not exist");
}

#[tokio::test]
async fn a_service_with_nothing_behind_it_says_why() {
    let mut rig = Rig::empty().await;
    let service = |name: &str, selector: Value, target: Value| {
        json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": name, "namespace": "spark-prod" },
            "spec": { "type": "ClusterIP", "clusterIP": "10.0.0.1", "selector": selector,
                "ports": [{ "name": "http", "port": 80, "targetPort": target }] } })
    };
    rig.cluster.put(service("typo", json!({ "app": "wbe" }), json!(8080))).unwrap();
    rig.cluster.put(service("web", json!({ "app": "web" }), json!("http-metrics"))).unwrap();
    rig.cluster.put(pod("web-1", &json!({ "app": "web" }))).unwrap();
    rig.cluster.put(json!({ "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": { "name": "web-x", "namespace": "spark-prod", "labels": { "kubernetes.io/service-name": "web" } },
        "endpoints": [{ "addresses": ["10.1.0.1"], "conditions": { "ready": false } }, { "addresses": ["10.1.0.2"], "conditions": {} }] })).unwrap();
    let typo = rig.run::<Service>("{ name: typo, namespace: spark-prod }").await.unwrap();
    insta::assert_snapshot!(lines(&typo), @r#"
    service typo: Service/typo selector matches no pod: app=wbe
    service typo: Service/typo has no ready address: 0 not ready, 0 pods
    "#);
    rig.target = Some(target("web-1"));
    let web = rig.run::<Service>("{}").await.unwrap();
    insta::assert_snapshot!(lines(&web), @r#"
    service web: Service/web ready=1 notReady=1
    service web: Service/web target port http-metrics is of no container
    "#);
    insta::assert_snapshot!(web.summary, @"service web: 1 ready, 1 not ready; no container has port http-metrics");
    rig.cluster.delete("services", "spark-prod", "web");
    assert_eq!(
        rig.run::<Service>("{}").await.unwrap().summary,
        "no service selects pod spark-prod/web-1"
    );
}

#[tokio::test]
async fn what_an_account_may_not_do_is_told_and_not_being_allowed_to_ask_is_no_failure() {
    let rig = Rig::demo().await;
    rig.cluster.deny("create", "pods");
    rig.cluster.deny("get", "pods/log");
    let ask = "[ { verb: create, resource: pods }, { verb: get, resource: pods/log }, { verb: list, resource: deployments, group: apps } ]";
    let found =
        rig.run::<Access>(&format!("{{ service_account: spark, may: {ask} }}")).await.unwrap();
    insta::assert_snapshot!(lines(&found), @r#"
    service account spark-prod/spark: service account spark-prod/spark may not create pods in namespace spark-prod
    service account spark-prod/spark: service account spark-prod/spark may not get pods/log in namespace spark-prod
    service account spark-prod/spark: service account spark-prod/spark may list deployments.apps in namespace spark-prod
    "#);
    insta::assert_snapshot!(found.summary, @"service account spark-prod/spark may not create pods, get pods/log");
    assert_eq!(
        rig.run::<Access>(&format!("{{ may: {ask} }}")).await.unwrap().value.account,
        "Paramedic"
    );
    rig.cluster.deny("create", "localsubjectaccessreviews");
    let why =
        skipped(rig.run::<Access>(&format!("{{ service_account: spark, may: {ask} }}")).await);
    assert!(
        why.contains("resources: [\"localsubjectaccessreviews\"], verbs: [\"create\"]"),
        "{why}"
    );
}

#[tokio::test]
async fn usage_is_told_against_its_limits_and_without_a_metrics_server_the_step_is_skipped() {
    let rig = Rig::demo().await;
    assert_eq!(
        skipped(rig.run::<Top>("{ role: driver }").await),
        "the cluster serves no metrics.k8s.io: install metrics-server, or ask Prometheus"
    );
    rig.cluster.serve_metrics();
    let labels = json!({ "spark-app-selector": rig_app(), "spark-role": "driver" });
    rig.cluster.put(json!({ "apiVersion": "metrics.k8s.io/v1beta1", "kind": "PodMetrics",
        "metadata": { "name": "etl-daily-driver", "namespace": "spark-prod", "labels": labels },
        "containers": [{ "name": "spark-kubernetes-driver", "usage": { "cpu": "950m", "memory": "2400Mi" } }] })).unwrap();
    let found = rig.run::<Top>("{}").await.unwrap();
    insta::assert_snapshot!(lines(&found), @"pod etl-daily-driver: pod etl-daily-driver container spark-kubernetes-driver uses memory 2.3 GiB of 2.3 GiB (98 %), cpu 950m without a limit");
    assert_eq!((found.value.total, found.value.without.len()), (1, 3));
    let named = rig.run::<Top>("{ name: etl-daily-driver }").await.unwrap();
    assert_eq!(named.value.containers[0].memory_percent, Some(98));
}

fn rig_app() -> &'static str {
    paramedic::demo::world::APP_ID
}

#[tokio::test]
async fn a_hostile_name_reaches_no_server() {
    let rig = Rig::empty().await;
    let scope = json!({ "x": "../../secrets/a", "namespace": "spark-prod" });
    let mut rig = rig;
    rig.scope = paramedic::domain::template::Scope::default().with("labels", scope);
    assert!(
        skipped(rig.run::<Node>("{ name: \"{{labels.x}}\" }").await)
            .contains("not a Kubernetes name")
    );
    assert!(
        skipped(rig.run::<Service>("{ name: \"{{labels.x}}\" }").await)
            .contains("not a Kubernetes name")
    );
    let may = "{ may: [ { verb: \"{{labels.x}}\", resource: pods } ] }";
    // Slashes and dots are words of the API; the server is told, and decides.
    assert_eq!(rig.run::<Access>(may).await.unwrap().value.answers.len(), 1);
    assert!(
        rig.cluster.requests().iter().all(|request| !request.contains("secrets")),
        "{:?}",
        rig.cluster.requests()
    );
}
