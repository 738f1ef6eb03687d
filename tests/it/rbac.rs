//! The roles that `paramedic rbac` prints are enough for every shipped playbook, and none of their verbs is too many.

use std::collections::BTreeSet;

use paramedic::{
    cli::rbac::{Args, Form, run},
    demo::world,
    domain::alert::Labels,
    playbook::{catalog::Catalog, plan},
};
use serde_json::{Value, json};

use crate::{
    fakes::kube::{Rig, pod},
    recorder,
};

const DAY: jiff::civil::Date = jiff::civil::date(2026, 11, 23);

type Rule = (String, String, String);

/// Group, resource, verb of everything that is printed.
fn printed(with_proxy: bool) -> BTreeSet<Rule> {
    let args = Args {
        cluster_wide: true,
        with_proxy,
        output: Form::Json,
        service_account: "paramedic/paramedic".to_owned(),
        ..Args::default()
    };
    let mut out = Vec::new();
    run(&args, DAY, &mut out).unwrap();
    let list: Value = serde_json::from_slice(&out).unwrap();
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect()
    };
    let mut rules = BTreeSet::new();
    for rule in list["items"][0]["rules"].as_array().unwrap() {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                for verb in texts(&rule["verbs"]) {
                    rules.insert((group.clone(), resource.clone(), verb));
                }
            }
        }
    }
    rules
}

fn labelled(name: &str, role: &str, labels: &[(&str, &str)]) -> Value {
    let mut all = json!({ "spark-role": role });
    for (key, value) in labels {
        all[*key] = json!(value);
    }
    pod(name, &all)
}

fn owned(mut object: Value, kind: &str, api_version: &str, name: &str) -> Value {
    object["metadata"]["ownerReferences"] = json!([{ "kind": kind, "apiVersion": api_version, "name": name, "uid": name, "controller": true }]);
    object
}

/// Pods of every kind of owner, with their owners up to what somebody wrote.
fn furnish_workloads(cluster: &paramedic::demo::apiserver::Cluster) {
    let object = |kind: &str, api_version: &str, name: &str| {
        json!({ "kind": kind, "apiVersion": api_version, "spec": {},
                "metadata": { "name": name, "namespace": world::NAMESPACE, "uid": name } })
    };
    let (apps, batch, spark) = ("apps/v1", "batch/v1", "sparkoperator.k8s.io/v1beta2");
    for made in [
        object("Deployment", apps, "web"),
        owned(object("ReplicaSet", apps, "web-a"), "Deployment", apps, "web"),
        object("StatefulSet", apps, "db"),
        owned(pod("db-0", &json!({})), "StatefulSet", apps, "db"),
        object("DaemonSet", apps, "agent"),
        owned(pod("agent-x", &json!({})), "DaemonSet", apps, "agent"),
        object("CronJob", batch, "tick"),
        owned(object("Job", batch, "tick-1"), "CronJob", batch, "tick"),
        owned(pod("tick-1-x", &json!({})), "Job", batch, "tick-1"),
        object("ScheduledSparkApplication", spark, "nightly"),
        owned(
            object("SparkApplication", spark, "nightly-1"),
            "ScheduledSparkApplication",
            spark,
            "nightly",
        ),
        owned(pod("nightly-1-driver", &json!({})), "SparkApplication", spark, "nightly-1"),
    ] {
        cluster.put(made).unwrap();
    }
}

/// The demo's job, one of Apache's operator, a Connect server, a metastore's pod and a pod that crash-loops.
fn furnish(cluster: &paramedic::demo::apiserver::Cluster) {
    let meta = |name: &str| json!({ "name": name, "namespace": world::NAMESPACE });
    let mut looping = pod("web-1", &json!({}));
    looping["status"]["containerStatuses"][0]["lastState"] =
        json!({ "terminated": { "exitCode": 1 } });
    for object in [
        json!({ "apiVersion": "spark.apache.org/v1", "kind": "SparkApplication", "metadata": meta("pi"), "status": {} }),
        labelled(
            "pi-0-driver",
            "driver",
            &[("spark.operator/spark-app-name", "pi"), ("spark-app-selector", "spark-pi")],
        ),
        json!({ "apiVersion": "sparkoperator.k8s.io/v1alpha1", "kind": "SparkConnect", "metadata": meta("shared"), "status": { "server": { "podName": "shared-server" } } }),
        labelled(
            "shared-server",
            "connect-server",
            &[("sparkoperator.k8s.io/connect-name", "shared")],
        ),
        pod("hms-0", &json!({ "app.kubernetes.io/name": "hive-metastore" })),
        owned(looping, "ReplicaSet", "apps/v1", "web-a"),
    ] {
        cluster.put(object).unwrap();
    }
}

/// Runs every step of every shipped playbook that an alert leads to, under these rules; what was refused.
async fn refused(rules: BTreeSet<Rule>) -> String {
    let mut rig = Rig::demo().await;
    furnish(&rig.cluster);
    furnish_workloads(&rig.cluster);
    rig.cluster.grant_only(rules).unwrap();
    let catalog = Catalog::shipped(DAY).unwrap();
    let base = [("cluster", "demo"), ("namespace", world::NAMESPACE), ("severity", "critical")];
    let alerts: [&[(&str, &str)]; 10] = [
        &[("alertname", "SparkExecutorOOMKilled"), ("application_id", world::APP_ID)],
        &[("alertname", "SparkDriverOOMKilled"), ("pod", world::DRIVER)],
        &[("alertname", "SparkApplicationFailed"), ("name", "pi")],
        &[("alertname", "SparkSubmissionFailing"), ("name", "shared")],
        &[("alertname", "KubePodCrashLooping"), ("pod", "web-1")],
        &[("alertname", "KubePodCrashLooping"), ("pod", "db-0")],
        &[("alertname", "KubePodCrashLooping"), ("pod", "agent-x")],
        &[("alertname", "KubePodCrashLooping"), ("pod", "tick-1-x")],
        &[("alertname", "KubePodCrashLooping"), ("pod", "nightly-1-driver")],
        &[("alertname", "HiveMetastoreDown")],
    ];
    let mut said = vec![];
    for alert in alerts {
        let labels: Labels = base
            .iter()
            .chain(alert)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let scope = plan::alert_scope(&labels, &Labels::new(), vec![]);
        let matching = catalog.matching(&labels, &scope);
        assert_eq!(matching.len(), 1, "{alert:?}");
        let (playbook, _) = &matching[0];
        rig.scope = scope
            .with("pod", json!({ "name": "web-1", "namespace": world::NAMESPACE }))
            .with("node", "node-a");
        rig.target = None;
        match rig.targets_of(playbook.target.as_ref().unwrap()).await {
            Ok(mut targets) => rig.target = Some(targets.remove(0)),
            Err(why) => said.push(why),
        }
        for step in &playbook.steps {
            match rig.run_spec(&step.spec).await {
                Ok(findings) => said.push(findings.value.to_string()),
                Err(failure) => said.push(failure.to_string()),
            }
        }
    }
    said.retain(|line| line.contains("is forbidden"));
    said.join("\n")
}

#[tokio::test]
async fn the_printed_roles_are_enough_for_every_shipped_playbook() {
    let said = refused(printed(true)).await;
    assert_eq!(said, "");
    let without = refused(printed(false)).await;
    assert!(without.contains("pods/proxy"), "{without}");
}

#[tokio::test]
async fn without_any_one_of_the_printed_verbs_a_shipped_playbook_is_refused() {
    let all = printed(true);
    // To watch is the recorder's, which has a story of its own.
    for rule in all.iter().filter(|(_, _, verb)| verb != "watch") {
        let fewer = all.iter().filter(|other| *other != rule).cloned().collect();
        let said = refused(fewer).await;
        let (group, resource, verb) = rule;
        let words = format!("cannot {verb} resource \"{resource}\" in API group \"{group}\"");
        // Within JSON the quotes are escaped.
        assert!(said.replace('\\', "").contains(&words), "{rule:?} is not needed: {said}");
    }
}

#[tokio::test]
async fn the_recorder_records_under_the_printed_roles_and_says_which_of_its_verbs_is_missing() {
    let all = printed(false);
    assert_eq!(recorder::troubles_under(all.clone(), true).await, "");
    for (resource, verb) in [
        ("pods", "list"),
        ("pods", "watch"),
        ("pods/log", "get"),
        ("events", "list"),
        ("events", "watch"),
    ] {
        let rule = (String::new(), resource.to_owned(), verb.to_owned());
        assert!(all.contains(&rule), "{rule:?} is not printed");
        let fewer = all.iter().filter(|other| **other != rule).cloned().collect();
        let said = recorder::troubles_under(fewer, false).await;
        let words = format!("cannot {verb} resource \"{resource}\" in API group \"\"");
        assert!(said.contains(&words), "{rule:?}: {said}");
    }
    let watched = all.iter().filter(|(_, _, verb)| verb == "watch");
    let watched: Vec<&str> = watched.map(|(_, resource, _)| resource.as_str()).collect();
    assert_eq!(watched, ["events", "pods"], "nothing else is watched");
}
