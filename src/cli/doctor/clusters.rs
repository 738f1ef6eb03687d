//! Each configured cluster: its API server, what we may do there, and whether dead executors leave anything behind.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, stream};
use serde_json::Value;

use super::{Doctor, Finding, Seen, State, bounded, services};
use crate::{
    cli::wire,
    clients::{
        self,
        kube::{Asked, Client, Groups, ListQuery, Resource},
    },
    config,
    playbook::needs::{Permission, Permissions},
};

/// Questions of one cluster at once.
const PARALLEL: usize = 8;

/// All of them, at once.
pub(super) async fn all(doctor: &Doctor<'_>) -> Seen {
    let looks = doctor.config.clusters.iter().map(|(name, settings)| one(doctor, name, settings));
    let mut seen = Seen::default();
    for part in futures::future::join_all(looks).await {
        seen.merge(part);
    }
    seen
}

async fn one(doctor: &Doctor<'_>, name: &str, settings: &config::Cluster) -> Seen {
    let what = format!("cluster {name}");
    let cluster = match wire::cluster(name, settings, &doctor.http) {
        Ok(cluster) => cluster,
        Err(error) => {
            let remedy = format!("correct `clusters.{name}`");
            return Finding::new(State::Fail, &what, format!("{error:#}"), remedy).into();
        }
    };
    let kube = async {
        let Some(kube) = &cluster.kube else {
            let says = "no Kubernetes access: steps that need it are skipped";
            return Finding::new(State::Warn, &what, says, format!("add `clusters.{name}.kube`"))
                .into();
        };
        if let Err(error) = kube.connect().await {
            let remedy = if error.kind == clients::Kind::Timeout {
                format!("does the credential plugin of `clusters.{name}.kube` hang?")
            } else {
                format!(
                    "correct `clusters.{name}.kube` or what it names; the daemon starts without it and tries again"
                )
            };
            return Finding::new(State::Fail, &what, error.to_string(), remedy).into();
        }
        bounded(&what, api(doctor, &what, kube, settings.teams_by_namespace)).await
    };
    let (mut seen, others) = tokio::join!(kube, services::of_cluster(doctor, name, &cluster));
    seen.merge(others);
    seen
}

async fn api(doctor: &Doctor<'_>, what: &str, kube: &Client, teams: bool) -> Seen {
    let mut seen = Seen::default();
    match kube.version().await {
        Ok(answer) => {
            seen.clock(what, answer.date, doctor.clock.now());
            seen.add(Finding::ok(what, format!("Kubernetes {}", answer.version)));
        }
        Err(error) => {
            let remedy = match error.kind {
                clients::Kind::Denied => "give it valid credentials",
                _ => "is its address right, and can this machine reach it?",
            };
            seen.add(Finding::new(State::Fail, what, &error.reason, remedy));
            return seen;
        }
    }
    let served = kube.groups().await.unwrap_or_default();
    seen.add(permissions(doctor, what, kube, &served, teams).await);
    seen.add(recorder(doctor, what, kube).await);
    if !doctor.needs.proxy.is_empty() {
        seen.findings.extend(executors(doctor, what, kube, &served).await);
    }
    seen
}

/// Every permission in question, with the playbooks that need it.
fn questions(
    doctor: &Doctor<'_>,
    served: &Groups,
    teams: bool,
) -> BTreeMap<Asked, BTreeSet<String>> {
    let mut asked: BTreeMap<Asked, BTreeSet<String>> = BTreeMap::new();
    let mut add = |permissions: &Permissions, namespace: &str| {
        let known = permissions.iter().filter(|(permission, _)| is_served(permission, served));
        for (Permission { group, resource, verb }, playbooks) in known {
            let question = Asked {
                verb: verb.clone(),
                group: group.clone(),
                resource: resource.clone(),
                namespace: namespace.to_owned(),
                name: String::new(),
            };
            asked.entry(question).or_default().extend(playbooks.iter().cloned());
        }
    };
    add(&doctor.needs.cluster, "");
    add(&doctor.needs.default_namespace, "default");
    if doctor.namespaces.is_empty() {
        add(&doctor.needs.namespaced, "");
    }
    for namespace in doctor.namespaces {
        add(&doctor.needs.namespaced, namespace);
    }
    if teams {
        let (verb, resource) = ("list".to_owned(), "namespaces".to_owned());
        let list = Asked { verb, resource, ..Asked::default() };
        asked.entry(list).or_default().insert("teams_by_namespace".to_owned());
    }
    asked
}

/// One line about all permissions.
async fn permissions(
    doctor: &Doctor<'_>,
    what: &str,
    kube: &Client,
    served: &Groups,
    teams: bool,
) -> Finding {
    let what = format!("{what}, permissions");
    let asked = questions(doctor, served, teams);
    let total = asked.len();
    match missing(kube, asked).await {
        Ok((count, missing)) => verdict(doctor, &what, (count, total), &missing),
        Err(error) => unasked(&what, &error),
    }
}

/// One line about what the evidence recorder needs, in each namespace that it watches.
async fn recorder(doctor: &Doctor<'_>, what: &str, kube: &Client) -> Finding {
    let what = format!("{what}, recorder");
    let named = &doctor.config.recorder.namespaces;
    let places = if named.is_empty() { &[String::new()] } else { named.as_slice() };
    let mut asked: BTreeMap<Asked, BTreeSet<String>> = BTreeMap::new();
    for place in places {
        for Permission { group, resource, verb } in doctor.needs.recorder.keys().cloned() {
            let evidence = match resource.as_str() {
                "events" => "events of deleted pods",
                "pods/log" => "logs of deleted pods",
                _ => "status, exit code and log of deleted pods",
            };
            let question =
                Asked { verb, group, resource, namespace: place.clone(), ..Asked::default() };
            asked.entry(question).or_default().insert(evidence.to_owned());
        }
    }
    let total = asked.len();
    let missing = match missing(kube, asked).await {
        Ok((_, missing)) => missing,
        Err(error) => return unasked(&what, &error),
    };
    let place = if named.is_empty() { "the whole cluster" } else { &named.join(", ") };
    if missing.is_empty() {
        return Finding::ok(&what, format!("all {total} that it needs, in {place}"));
    }
    let says = format!("without these evidence is lost: {}", missing.join("; "));
    let remedy = if named.is_empty() {
        "name the namespaces in `recorder.namespaces`, or grant them in a ClusterRole (`paramedic rbac`)"
    } else {
        "grant them (`paramedic rbac --config`)"
    };
    Finding::new(State::Warn, &what, says, remedy)
}

fn unasked(what: &str, error: &clients::Error) -> Finding {
    let says = format!("could not be asked for: {}", error.reason);
    Finding::new(State::Warn, what, says, "every account may ask; is the API server well?")
}

/// What of this is not granted: how many of them, and a line for each with what it is for and where.
async fn missing(
    kube: &Client,
    asked: BTreeMap<Asked, BTreeSet<String>>,
) -> clients::Result<(usize, Vec<String>)> {
    let answers: Vec<_> = stream::iter(asked)
        .map(async |(question, whose)| (kube.may_we(&question).await, question, whose))
        .buffer_unordered(PARALLEL)
        .collect()
        .await;
    let mut missing: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut count = 0;
    for (answer, question, whose) in answers {
        if !answer?.allowed {
            let names: Vec<&str> = whose.iter().map(String::as_str).collect();
            let what = format!("{} (for {})", question.what(), names.join(", "));
            count += 1;
            missing.entry(what).or_default().insert(question.namespace);
        }
    }
    let line = |(what, places): (String, BTreeSet<String>)| {
        let places: Vec<String> = places.into_iter().filter(|place| !place.is_empty()).collect();
        let joined = places.join(", ");
        if joined.is_empty() { what } else { format!("{what} in {joined}") }
    };
    Ok((count, missing.into_iter().map(line).collect()))
}

fn verdict(
    doctor: &Doctor<'_>,
    what: &str,
    (count, total): (usize, usize),
    missing: &[String],
) -> Finding {
    let everywhere = doctor.namespaces.is_empty();
    let joined = missing.join("; ");
    if missing.is_empty() {
        let place = if everywhere { "the whole cluster" } else { &doctor.namespaces.join(", ") };
        return Finding::ok(what, format!("all {total} that the playbooks need, in {place}"));
    }
    if everywhere {
        let says = format!("{count} of {total} are not granted in the whole cluster: {joined}");
        let remedy = "say --namespace for each namespace that alerts come from to look there, or grant them (`paramedic rbac`)";
        return Finding::new(State::Warn, what, says, remedy);
    }
    let flags: Vec<String> =
        doctor.namespaces.iter().map(|namespace| format!("--namespace {namespace}")).collect();
    let remedy = format!("paramedic rbac {} | kubectl apply -f -", flags.join(" "));
    Finding::new(State::Fail, what, format!("{count} of {total} are missing: {joined}"), remedy)
}

/// What nobody installed needs no permission.
fn is_served(permission: &Permission, served: &Groups) -> bool {
    let group = &permission.group;
    group.is_empty() || served.0.is_empty() || served.0.iter().any(|(g, _)| g == group)
}

/// Whether failed executors leave their pods behind.
async fn executors(
    doctor: &Doctor<'_>,
    what: &str,
    kube: &Client,
    served: &Groups,
) -> Option<Finding> {
    const KEY: &str = "spark.kubernetes.executor.deleteOnTermination";
    if !served.has("sparkoperator.k8s.io", "v1beta2") {
        return None;
    }
    let places =
        if doctor.namespaces.is_empty() { vec![String::new()] } else { doctor.namespaces.to_vec() };
    let mut deleting = vec![];
    let mut total = 0;
    for namespace in places {
        let asked = ListQuery { limit: 500, ..ListQuery::of(&namespace) };
        // Not needed otherwise, so often not allowed: then nothing can be said.
        let listed = kube.list(Resource::SPARK_APPLICATIONS, &asked).await.ok()?;
        total += listed.items.len();
        let keeps = |application: &&Value| application["spec"]["sparkConf"][KEY] == "false";
        let names = listed
            .items
            .iter()
            .filter(|a| !keeps(a))
            .filter_map(|a| a["metadata"]["name"].as_str());
        deleting.extend(names.map(str::to_owned));
    }
    let what = format!("{what}, evidence");
    match deleting.as_slice() {
        [] if total == 0 => None,
        [] => Some(Finding::ok(&what, "all Spark applications keep the pods of failed executors")),
        [first, ..] => {
            let says = format!(
                "{} of {total} Spark applications delete the pods of failed executors at once, such as {first}",
                deleting.len()
            );
            let remedy =
                format!("set {KEY}=false in their sparkConf, and let a job remove old pods");
            Some(Finding::new(State::Warn, &what, says, remedy))
        }
    }
}
