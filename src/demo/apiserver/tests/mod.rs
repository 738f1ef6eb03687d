//! The fake API server, as kube sees it.

use futures::{StreamExt as _, TryStreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{EvictParams, ListParams, LogParams, WatchEvent, WatchParams},
};
use serde_json::json;

mod watcher;
mod write;

use super::*;
use crate::{clients, ops::clock::Clock};

struct Rig {
    tasks: Tasks,
    cluster: Cluster,
    url: Url,
    pods: Api<Pod>,
    clock: crate::ops::clock::Manual,
}

async fn rig() -> Rig {
    let (clock, hand) = Clock::manual("2026-11-23T03:00:00Z".parse().unwrap());
    let (tasks, cluster) = (Tasks::default(), Cluster::new(&clock));
    let server = ApiServer::start(&tasks, cluster.clone()).await.unwrap();
    let client = clients::kube::Client::from_url(&server.url).unwrap();
    Rig {
        tasks,
        cluster,
        url: server.url,
        pods: Api::namespaced(client.connect().await.unwrap().clone(), "spark-prod"),
        clock: hand,
    }
}

fn pod(name: &str, role: &str) -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": "spark-prod", "labels": { "spark-role": role } },
        "spec": { "containers": [{ "name": "main" }] },
        "status": { "phase": "Running" },
    })
}

fn code(error: &kube::Error) -> u16 {
    match error {
        kube::Error::Api(status) => status.code,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_list_is_paged_and_selected() {
    let rig = rig().await;
    for n in 1..=5 {
        rig.cluster.put(pod(&format!("exec-{n}"), "executor")).unwrap();
    }
    rig.cluster.put(pod("driver", "driver")).unwrap();
    let first = ListParams::default().labels("spark-role=executor").limit(2);
    let mut names = vec![];
    let mut token = None;
    loop {
        let mut page = first.clone();
        page.continue_token = token;
        let list = rig.pods.list(&page).await.unwrap();
        names.extend(list.items.into_iter().filter_map(|p| p.metadata.name));
        token = list.metadata.continue_.filter(|t| !t.is_empty());
        if token.is_none() {
            break;
        }
    }
    assert_eq!(names, ["exec-1", "exec-2", "exec-3", "exec-4", "exec-5"]);
    let phase = ListParams::default().fields("status.phase=Failed");
    assert_eq!(rig.pods.list(&phase).await.unwrap().items.len(), 0);
    assert_eq!(rig.cluster.unexpected(), Vec::<String>::new());
}

#[tokio::test]
async fn a_page_token_older_than_the_history_is_410() {
    let rig = rig().await;
    rig.cluster.put(pod("a", "driver")).unwrap();
    rig.cluster.put(pod("b", "driver")).unwrap();
    let page = ListParams::default().limit(1);
    let token = rig.pods.list(&page).await.unwrap().metadata.continue_.unwrap();
    rig.cluster.compact();
    let next = page.continue_token(&token);
    assert_eq!(code(&rig.pods.list(&next).await.unwrap_err()), 410);
}

#[tokio::test]
async fn a_watch_tells_changes_with_bookmarks_and_a_relabelled_pod_is_deleted_for_its_selector() {
    let rig = rig().await;
    rig.cluster.put(pod("a", "executor")).unwrap();
    let version = rig.pods.list(&ListParams::default()).await.unwrap().metadata.resource_version;
    rig.cluster.put(pod("b", "executor")).unwrap();
    let asked = WatchParams::default().labels("spark-role=executor");
    let mut events = rig.pods.watch(&asked, &version.unwrap()).await.unwrap().boxed();
    let mut seen = vec![];
    for step in 0..5 {
        match step {
            2 => rig.cluster.put(pod("a", "none")).unwrap(),
            3 => assert!(rig.cluster.delete("pods", "spark-prod", "b")),
            4 => rig.clock.advance(std::time::Duration::from_mins(10)),
            _ => {}
        }
        seen.push(match events.try_next().await.unwrap().unwrap() {
            WatchEvent::Added(p) => format!("added {}", p.metadata.name.unwrap()),
            WatchEvent::Modified(p) => format!("modified {}", p.metadata.name.unwrap()),
            WatchEvent::Deleted(p) => format!("deleted {}", p.metadata.name.unwrap()),
            WatchEvent::Bookmark(_) => "bookmark".to_owned(),
            WatchEvent::Error(status) => format!("error {}", status.code),
        });
    }
    assert_eq!(seen, ["added b", "bookmark", "deleted a", "deleted b", "bookmark"]);
    assert!(events.try_next().await.unwrap().is_none(), "the timeout ends the watch");
}

#[tokio::test]
async fn a_watch_from_a_forgotten_version_gets_a_410_event() {
    let rig = rig().await;
    rig.cluster.compact();
    let mut events = rig.pods.watch(&WatchParams::default(), "1000").await.unwrap().boxed();
    let event = events.try_next().await.unwrap().unwrap();
    assert!(matches!(event, WatchEvent::Error(status) if status.code == 410));
    assert!(events.try_next().await.unwrap().is_none());
}

#[tokio::test]
async fn draining_the_process_ends_open_watches() {
    let rig = rig().await;
    let asked = WatchParams::default().disable_bookmarks();
    let mut events = rig.pods.watch(&asked, "0").await.unwrap().boxed();
    assert_eq!(rig.tasks.shut_down(std::time::Duration::from_secs(5)).await, None);
    assert!(events.next().await.is_none_or(|event| event.is_err()));
}

#[tokio::test]
async fn a_log_is_cut_by_age_then_tail_then_bytes() {
    let rig = rig().await;
    rig.cluster.put(pod("a", "driver")).unwrap();
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    rig.cluster.log("spark-prod", "a", "main", at("2026-11-23T02:00:00Z"), "old");
    rig.cluster.log("spark-prod", "a", "main", at("2026-11-23T02:59:30Z"), "one\ntwo\nthree");
    let read = async |params: LogParams| rig.pods.logs("a", &params).await.unwrap();
    let since = LogParams { since_seconds: Some(60), ..LogParams::default() };
    assert_eq!(read(since.clone()).await, "one\ntwo\nthree\n");
    assert_eq!(read(LogParams { tail_lines: Some(2), ..since.clone() }).await, "two\nthree\n");
    let few = LogParams { tail_lines: Some(2), limit_bytes: Some(5), ..since };
    assert_eq!(read(few).await, "two\nt");
    let stamped = LogParams { tail_lines: Some(1), timestamps: true, ..LogParams::default() };
    assert_eq!(read(stamped).await, "2026-11-23T02:59:30Z three\n");
    let previous = LogParams { previous: true, ..LogParams::default() };
    assert_eq!(code(&rig.pods.logs("a", &previous).await.unwrap_err()), 400);
    assert_eq!(code(&rig.pods.logs("gone", &LogParams::default()).await.unwrap_err()), 404);
}

#[tokio::test]
async fn what_is_not_modelled_is_refused_and_recorded() {
    let rig = rig().await;
    let evict = rig.pods.evict("a", &EvictParams::default()).await.unwrap_err();
    assert_eq!(code(&evict), 405);
    assert_eq!(rig.cluster.unexpected().len(), 1, "{:?}", rig.cluster.unexpected());
    rig.cluster.deny("list", "pods");
    assert_eq!(code(&rig.pods.list(&ListParams::default()).await.unwrap_err()), 403);
    assert!(rig.cluster.put(json!({ "apiVersion": "v1", "kind": "Novel" })).is_err());
    assert!(
        rig.cluster
            .put(json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "x" } }))
            .is_err()
    );
}
