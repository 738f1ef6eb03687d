//! Writes, as kube sees them: what is stored, what is refused, and in which words.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::Value;

use super::*;

async fn spark_prod() -> Rig {
    let rig = rig().await;
    let namespace =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "spark-prod" } });
    rig.cluster.put(namespace).unwrap();
    rig
}

fn maps(rig: &Rig) -> Api<ConfigMap> {
    Api::namespaced(rig.pods.clone().into_client(), "spark-prod")
}

fn as_pod(value: Value) -> Pod {
    serde_json::from_value(value).unwrap()
}

fn map(name: &str, data: &Value) -> ConfigMap {
    let value = json!({ "metadata": { "name": name }, "data": data });
    serde_json::from_value(value).unwrap()
}

fn executor(name: &str) -> Value {
    json!({ "metadata": { "name": name }, "spec": { "containers": [
        { "name": "main", "image": "spark:3.5.9", "resources": { "limits": { "memory": "1408Mi" } } },
    ] } })
}

fn message(error: kube::Error) -> String {
    match error {
        kube::Error::Api(status) => {
            format!("{} {}: {}", status.code, status.reason, status.message)
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_new_object_gets_what_the_server_owns_and_a_second_one_is_refused() {
    let rig = spark_prod().await;
    let params = PostParams::default();
    let created = rig.pods.create(&params, &as_pod(executor("a"))).await.unwrap();
    let phase = created.status.as_ref().unwrap().phase.as_deref();
    assert_eq!(phase, Some("Pending"));
    assert!(created.metadata.uid.is_some() && created.metadata.resource_version.is_some());
    assert_eq!(created.spec.unwrap().restart_policy.as_deref(), Some("Always"));
    let stored = rig.cluster.get("pods", "spark-prod", "a").unwrap().to_string();
    assert!(!stored.contains("null"), "{stored}");
    let again = rig.pods.create(&params, &as_pod(executor("a"))).await.unwrap_err();
    assert_eq!(message(again), "409 AlreadyExists: pods \"a\" already exists");
    let mut generated = executor("");
    generated["metadata"] = json!({ "generateName": "exec-" });
    let name = rig.pods.create(&params, &as_pod(generated)).await.unwrap().metadata.name.unwrap();
    assert!(name.starts_with("exec-") && name.len() == 10, "{name}");
    let elsewhere: Api<Pod> = Api::namespaced(rig.pods.clone().into_client(), "nowhere");
    let missing = elsewhere.create(&params, &as_pod(executor("a"))).await.unwrap_err();
    assert_eq!(message(missing), "404 NotFound: namespaces \"nowhere\" not found");
    for (change, why) in [
        (json!({ "metadata": { "name": "Bad_Name" } }), "metadata.name: Invalid value"),
        (json!({ "spec": { "containers": [] } }), "spec.containers: Required value"),
        (
            json!({ "metadata": { "name": "b", "labels": { "x": "a b" } } }),
            "metadata.labels: Invalid value",
        ),
        (
            json!({ "metadata": { "name": "b", "labels": { "x": "y".repeat(64) } } }),
            "no more than 63",
        ),
    ] {
        let bad = patch::merge(executor("b"), &change);
        let refused = message(rig.pods.create(&params, &as_pod(bad)).await.unwrap_err());
        assert!(refused.starts_with("422 Invalid: ") && refused.contains(why), "{refused}");
    }
}

#[tokio::test]
async fn a_field_that_is_not_there_or_of_another_type_is_refused() {
    let rig = spark_prod().await;
    let client = rig.pods.clone().into_client();
    let send = async |query: &str, change: Value| {
        let mut body = patch::merge(executor("a"), &change);
        body["apiVersion"] = json!("v1");
        body["kind"] = json!("Pod");
        let path = format!("/api/v1/namespaces/spark-prod/pods?dryRun=All&{query}");
        let request = axum::http::Request::post(path).header("content-type", "application/json");
        let request = request.body(body.to_string().into_bytes()).unwrap();
        client.request::<Value>(request).await.map_err(message)
    };
    let typo = || json!({ "spec": { "restartPolicyy": "Never" } });
    let refused = send("fieldValidation=Strict", typo()).await.unwrap_err();
    assert_eq!(
        refused,
        "400 BadRequest: strict decoding error: unknown field \"spec.restartPolicyy\""
    );
    assert!(send("fieldValidation=Warn", typo()).await.is_ok());
    let wrong = send("", json!({ "spec": { "nodeName": 5 } })).await.unwrap_err();
    assert!(
        wrong.starts_with(
            "400 BadRequest: Pod in version \"v1\" cannot be handled as a Pod: json: "
        ),
        "{wrong}"
    );
    let main = json!([{ "name": "main", "image": "i", "resources": { "limits": { "cpu": 2 } } }]);
    let seen = send("", json!({ "spec": { "containers": main } })).await.unwrap();
    assert_eq!(seen["spec"]["containers"][0]["resources"]["limits"]["cpu"], "2");
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let rig = spark_prod().await;
    let (maps, dry) = (maps(&rig), PostParams { dry_run: true, ..PostParams::default() });
    maps.create(&dry, &map("m", &json!({ "a": "1" }))).await.unwrap();
    maps.create(&PostParams::default(), &map("m", &json!({ "a": "1" }))).await.unwrap();
    let before = rig.cluster.get("configmaps", "spark-prod", "m");
    maps.replace("m", &dry, &map("m", &json!({ "a": "2" }))).await.unwrap();
    let patch = Patch::Merge(json!({ "data": { "a": "2" } }));
    let shown = maps.patch("m", &PatchParams::default().dry_run(), &patch).await.unwrap();
    assert_eq!(shown.data.unwrap()["a"], "2");
    maps.delete("m", &DeleteParams::default().dry_run()).await.unwrap();
    assert_eq!(rig.cluster.get("configmaps", "spark-prod", "m"), before);
}

#[tokio::test]
async fn an_update_from_an_old_version_loses() {
    let rig = spark_prod().await;
    let maps = maps(&rig);
    let first = maps.create(&PostParams::default(), &map("m", &json!({ "a": "1" }))).await.unwrap();
    let mut second = first.clone();
    second.data.as_mut().unwrap().insert("a".to_owned(), "2".to_owned());
    maps.replace("m", &PostParams::default(), &second).await.unwrap();
    let late = message(maps.replace("m", &PostParams::default(), &second).await.unwrap_err());
    assert!(late.starts_with("409 Conflict: Operation cannot be fulfilled on configmaps \"m\": the object has been modified"), "{late}");
    let newest = maps.get("m").await.unwrap();
    let same = maps.replace("m", &PostParams::default(), &newest).await.unwrap();
    assert_eq!(same.metadata.resource_version, newest.metadata.resource_version);
}

#[tokio::test]
async fn a_status_is_written_only_through_its_subresource() {
    let rig = spark_prod().await;
    rig.pods.create(&PostParams::default(), &as_pod(executor("a"))).await.unwrap();
    let status = Patch::Merge(json!({ "status": { "phase": "Failed" } }));
    rig.pods.patch("a", &PatchParams::default(), &status).await.unwrap();
    let phase = || rig.cluster.get("pods", "spark-prod", "a").unwrap()["status"]["phase"].clone();
    assert_eq!(phase(), "Pending");
    rig.pods.patch_status("a", &PatchParams::default(), &status).await.unwrap();
    assert_eq!(phase(), "Failed");
    let spec = Patch::Merge(json!({ "spec": { "nodeName": "elsewhere" } }));
    let refused = message(rig.pods.patch("a", &PatchParams::default(), &spec).await.unwrap_err());
    assert!(refused.contains("pod updates may not change fields other than"), "{refused}");
}

#[tokio::test]
async fn a_strategic_patch_merges_lists_by_their_keys() {
    let rig = spark_prod().await;
    let mut two = executor("a");
    two["spec"]["containers"] =
        json!([{ "name": "main", "image": "a" }, { "name": "proxy", "image": "b" }]);
    rig.pods.create(&PostParams::default(), &as_pod(two)).await.unwrap();
    let change = json!({ "spec": { "containers": [{ "name": "proxy", "image": "c" }] }, "metadata": { "labels": { "x": "y" } } });
    let patch = Patch::Strategic(change);
    let seen = rig.pods.patch("a", &PatchParams::default(), &patch).await.unwrap();
    let images: Vec<_> =
        seen.spec.unwrap().containers.into_iter().filter_map(|c| c.image).collect();
    assert_eq!(images, ["a", "c"]);
    assert_eq!(seen.metadata.labels.unwrap()["x"], "y");
}

#[tokio::test]
async fn an_owner_of_a_field_is_asked_before_another_takes_it() {
    let rig = spark_prod().await;
    let maps = maps(&rig);
    let apply = async |manager: &str, force: bool, data: Value| {
        let body = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "m" }, "data": data });
        let mut params = PatchParams::apply(manager);
        params.force = force;
        maps.patch("m", &params, &Patch::Apply(body)).await
    };
    let data = |map: ConfigMap| serde_json::to_value(map.data).unwrap();
    apply("one", false, json!({ "a": "1", "b": "1" })).await.unwrap();
    let both = apply("two", false, json!({ "b": "1", "c": "2" })).await.unwrap();
    assert_eq!(data(both), json!({ "a": "1", "b": "1", "c": "2" }));
    let conflict = message(apply("two", false, json!({ "a": "2" })).await.unwrap_err());
    assert_eq!(
        conflict,
        "409 Conflict: Apply failed with 1 conflict: conflict with \"one\" using v1: .data.a"
    );
    // What `two` lets go and nobody else has goes away; what `one` has too stays.
    let forced = apply("two", true, json!({ "a": "2" })).await.unwrap();
    assert_eq!(data(forced), json!({ "a": "2", "b": "1" }));
    let last = apply("one", false, json!({ "b": "1" })).await.unwrap();
    assert_eq!(data(last.clone()), json!({ "a": "2", "b": "1" }));
    let again = apply("one", false, json!({ "b": "1" })).await.unwrap();
    assert_eq!(again.metadata.resource_version, last.metadata.resource_version);
}

#[tokio::test]
async fn a_running_pod_is_given_its_grace_and_a_forced_delete_none() {
    let rig = spark_prod().await;
    for name in ["a", "b"] {
        rig.cluster.put(pod(name, "driver")).unwrap();
        rig.cluster
            .update("pods", "spark-prod", name, |pod| pod["spec"]["nodeName"] = json!("node-a"));
    }
    let marked = rig.pods.delete("a", &DeleteParams::default()).await.unwrap().left().unwrap();
    assert_eq!(marked.metadata.deletion_grace_period_seconds, Some(30));
    assert!(rig.cluster.get("pods", "spark-prod", "a").is_some());
    rig.pods.delete("b", &DeleteParams::default().grace_period(0)).await.unwrap();
    assert!(rig.cluster.get("pods", "spark-prod", "b").is_none());
    let other = DeleteParams {
        preconditions: Some(kube::api::Preconditions {
            uid: Some("other".to_owned()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    assert_eq!(code(&rig.pods.delete("a", &other).await.unwrap_err()), 409);
    assert_eq!(code(&rig.pods.delete("b", &DeleteParams::default()).await.unwrap_err()), 404);
}

#[tokio::test]
async fn what_loses_its_owner_goes_unless_it_is_orphaned() {
    let rig = spark_prod().await;
    let maps = maps(&rig);
    for name in ["one", "two"] {
        let owner = maps.create(&PostParams::default(), &map(name, &json!({}))).await.unwrap();
        let mut pod = executor(&format!("{name}-exec"));
        pod["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": owner.metadata.uid.unwrap(),
        }]);
        rig.pods.create(&PostParams::default(), &as_pod(pod)).await.unwrap();
    }
    maps.delete("one", &DeleteParams::background()).await.unwrap();
    maps.delete("two", &DeleteParams::orphan()).await.unwrap();
    assert!(rig.cluster.get("pods", "spark-prod", "one-exec").is_none());
    let kept = rig.cluster.get("pods", "spark-prod", "two-exec").unwrap();
    assert_eq!(kept["metadata"]["ownerReferences"], json!([]));
    let mut late = executor("late");
    late["metadata"]["ownerReferences"] =
        json!([{ "apiVersion": "v1", "kind": "ConfigMap", "name": "one", "uid": "gone" }]);
    rig.pods.create(&PostParams::default(), &as_pod(late)).await.unwrap();
    assert!(rig.cluster.get("pods", "spark-prod", "late").is_none());
}

#[tokio::test]
async fn a_finalizer_holds_an_object_and_a_namespace_takes_all_along() {
    let rig = spark_prod().await;
    let maps = maps(&rig);
    let mut held = map("m", &json!({}));
    held.metadata.finalizers = Some(vec!["example.org/hold".to_owned()]);
    maps.create(&PostParams::default(), &held).await.unwrap();
    maps.delete("m", &DeleteParams::default()).await.unwrap();
    assert!(maps.get("m").await.unwrap().metadata.deletion_timestamp.is_some());
    let free = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    maps.patch("m", &PatchParams::default(), &free).await.unwrap();
    assert_eq!(code(&maps.get("m").await.unwrap_err()), 404);
    rig.pods.create(&PostParams::default(), &as_pod(executor("a"))).await.unwrap();
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> =
        Api::all(rig.pods.clone().into_client());
    namespaces.delete("spark-prod", &DeleteParams::default()).await.unwrap();
    assert_eq!(rig.cluster.list("pods").len(), 0);
}

#[tokio::test]
async fn a_collection_is_deleted_by_selector() {
    let rig = spark_prod().await;
    for (name, role) in [("a", "executor"), ("b", "executor"), ("c", "driver")] {
        rig.cluster.put(pod(name, role)).unwrap();
    }
    let executors = ListParams::default().labels("spark-role=executor");
    let gone = rig.pods.delete_collection(&DeleteParams::default(), &executors).await.unwrap();
    assert_eq!(gone.left().unwrap().items.len(), 2);
    assert_eq!(rig.cluster.list("pods").len(), 1);
}

#[tokio::test]
async fn a_quota_refuses_in_the_real_servers_words_and_counts_what_is_used() {
    let rig = spark_prod().await;
    rig.cluster
        .put(json!({
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "compute-quota", "namespace": "spark-prod" },
            "spec": { "hard": { "limits.memory": "2Gi", "pods": "10" } },
        }))
        .unwrap();
    rig.pods.create(&PostParams::default(), &as_pod(executor("a"))).await.unwrap();
    let refused =
        message(rig.pods.create(&PostParams::default(), &as_pod(executor("b"))).await.unwrap_err());
    assert_eq!(
        refused,
        "403 Forbidden: pods \"b\" is forbidden: exceeded quota: compute-quota, requested: limits.memory=1408Mi, used: limits.memory=1408Mi, limited: limits.memory=2Gi"
    );
    let mut silent = executor("c");
    silent["spec"]["containers"][0]["resources"] = json!({});
    let refused =
        message(rig.pods.create(&PostParams::default(), &as_pod(silent)).await.unwrap_err());
    assert_eq!(
        refused,
        "403 Forbidden: pods \"c\" is forbidden: failed quota: compute-quota: must specify limits.memory for: main"
    );
    let used = || rig.cluster.list("resourcequotas")[0]["status"]["used"].clone();
    assert_eq!(used(), json!({ "limits.memory": "1408Mi", "pods": "1" }));
    rig.cluster.update("pods", "spark-prod", "a", |pod| pod["status"]["phase"] = json!("Failed"));
    assert_eq!(used(), json!({ "limits.memory": "0", "pods": "0" }));
    rig.pods.create(&PostParams::default(), &as_pod(executor("b"))).await.unwrap();
}
