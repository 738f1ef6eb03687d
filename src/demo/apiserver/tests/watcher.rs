//! kube's own watcher over everything that interrupts it; followed logs; both faces of events; who may do what.

use futures::TryStreamExt as _;
use k8s_openapi::api::events::v1::Event;
use kube::{
    core::PartialObjectMeta,
    runtime::watcher::{self, watcher},
};

use super::*;

fn name(event: &watcher::Event<Pod>) -> String {
    match event {
        watcher::Event::Apply(pod) => format!("apply {}", pod.metadata.name.as_ref().unwrap()),
        watcher::Event::Delete(pod) => format!("delete {}", pod.metadata.name.as_ref().unwrap()),
        watcher::Event::Init => "init".to_owned(),
        watcher::Event::InitApply(pod) => format!("init {}", pod.metadata.name.as_ref().unwrap()),
        watcher::Event::InitDone => "done".to_owned(),
    }
}

async fn next(
    events: &mut (impl futures::Stream<Item = watcher::Result<watcher::Event<Pod>>> + Unpin),
) -> String {
    name(&events.try_next().await.unwrap().unwrap())
}

#[tokio::test]
async fn the_watcher_lists_page_by_page_and_goes_on_from_there() {
    let rig = rig().await;
    for n in 1..=3 {
        rig.cluster.put(pod(&format!("p-{n}"), "executor")).unwrap();
    }
    let mut events = watcher(rig.pods.clone(), watcher::Config::default().page_size(2)).boxed();
    for wanted in ["init", "init p-1", "init p-2", "init p-3", "done"] {
        assert_eq!(next(&mut events).await, wanted);
    }
    rig.cluster.delete("pods", "spark-prod", "p-2");
    assert_eq!(next(&mut events).await, "delete p-2");
}

#[tokio::test]
async fn the_watcher_may_stream_its_list() {
    let rig = rig().await;
    rig.cluster.put(pod("a", "executor")).unwrap();
    let mut events =
        watcher(rig.pods.clone(), watcher::Config::default().streaming_lists()).boxed();
    for wanted in ["init", "init a", "done"] {
        assert_eq!(next(&mut events).await, wanted);
    }
    rig.cluster.put(pod("b", "executor")).unwrap();
    assert_eq!(next(&mut events).await, "apply b");
    assert_eq!(rig.cluster.requests().len(), 1);
    assert_eq!(rig.cluster.unexpected(), Vec::<String>::new());
}

#[tokio::test]
async fn the_watcher_lists_again_after_a_410() {
    let rig = rig().await;
    rig.cluster.put(pod("a", "executor")).unwrap();
    let mut events = watcher(rig.pods.clone(), watcher::Config::default().timeout(30)).boxed();
    for wanted in ["init", "init a", "done"] {
        assert_eq!(next(&mut events).await, wanted);
    }
    // Its watch has not begun yet; the version it would begin from is forgotten.
    rig.cluster.compact();
    let gone = events.next().await.unwrap().unwrap_err();
    assert!(matches!(&gone, watcher::Error::WatchError(status) if status.code == 410), "{gone:?}");
    for wanted in ["init", "init a", "done"] {
        assert_eq!(next(&mut events).await, wanted);
    }
}

#[tokio::test]
async fn a_version_of_the_future_is_told_so() {
    let rig = rig().await;
    let ahead = rig.pods.list(&ListParams::default().at("999999")).await.unwrap_err();
    assert_eq!(code(&ahead), 504);
    assert_eq!(code(&rig.pods.watch(&WatchParams::default(), "999999").await.err().unwrap()), 504);
}

#[tokio::test]
async fn metadata_alone_is_shown_when_it_is_asked_for() {
    let rig = rig().await;
    rig.cluster.put(pod("a", "driver")).unwrap();
    let list = rig.pods.list_metadata(&ListParams::default()).await.unwrap();
    let first: &PartialObjectMeta<Pod> = &list.items[0];
    assert_eq!(first.metadata.name.as_deref(), Some("a"));
    assert_eq!(rig.cluster.unexpected(), Vec::<String>::new());
}

#[tokio::test]
async fn a_followed_log_ends_with_its_container() {
    let rig = rig().await;
    rig.cluster.put(pod("a", "driver")).unwrap();
    let at = "2026-11-23T03:00:00Z".parse().unwrap();
    rig.cluster.log("spark-prod", "a", "main", at, "old\none");
    let follow = LogParams { follow: true, tail_lines: Some(1), ..LogParams::default() };
    let mut lines =
        futures::AsyncBufReadExt::lines(rig.pods.log_stream("a", &follow).await.unwrap());
    assert_eq!(lines.try_next().await.unwrap().unwrap(), "one");
    rig.cluster.log("spark-prod", "a", "main", at, "two");
    assert_eq!(lines.try_next().await.unwrap().unwrap(), "two");
    rig.cluster.log("spark-prod", "a", "main", at, "three");
    rig.cluster.update("pods", "spark-prod", "a", |pod| {
        pod["status"]["containerStatuses"] =
            json!([{ "name": "main", "state": { "terminated": { "exitCode": 0 } } }]);
    });
    assert_eq!(lines.try_next().await.unwrap().unwrap(), "three");
    assert_eq!(lines.try_next().await.unwrap(), None);
}

#[tokio::test]
async fn an_event_has_two_faces() {
    let rig = rig().await;
    rig.cluster
        .put(json!({
            "apiVersion": "v1", "kind": "Event", "metadata": { "name": "a.1", "namespace": "spark-prod" },
            "involvedObject": { "kind": "Pod", "name": "a" }, "reason": "Killing", "message": "Stopping container main",
            "type": "Normal", "count": 2,
        }))
        .unwrap();
    let events: Api<Event> = Api::namespaced(rig.pods.clone().into_client(), "spark-prod");
    let event = events.get("a.1").await.unwrap();
    assert_eq!(event.note.as_deref(), Some("Stopping container main"));
    assert_eq!(event.regarding.unwrap().name.as_deref(), Some("a"));
    assert_eq!(event.deprecated_count, Some(2));
}

#[tokio::test]
async fn a_role_opens_what_it_names_and_nothing_else() {
    let rig = rig().await;
    rig.cluster.put(pod("a", "driver")).unwrap();
    for mut object in [
        json!({ "kind": "ClusterRole", "metadata": { "name": "one" }, "rules": [
            { "apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"], "verbs": ["get"] },
        ] }),
        json!({ "kind": "RoleBinding", "metadata": { "name": "one", "namespace": "spark-prod" },
                "roleRef": { "kind": "ClusterRole", "name": "one" },
                "subjects": [{ "kind": "Group", "name": "system:serviceaccounts:ops" }] }),
    ] {
        object["apiVersion"] = json!("rbac.authorization.k8s.io/v1");
        rig.cluster.put(object).unwrap();
    }
    rig.cluster.token("good", "system:serviceaccount:ops:paramedic", &[]);
    let pods = async |token: &str| -> Api<Pod> {
        let mut config = kube::Config::new(rig.url.as_str().parse().unwrap());
        config.auth_info.token = (!token.is_empty()).then(|| token.to_owned().into());
        Api::namespaced(kube::Client::try_from(config).unwrap(), "spark-prod")
    };
    let good = pods("good").await;
    assert!(good.get("a").await.is_ok());
    let denied = good.list(&ListParams::default()).await.unwrap_err();
    let kube::Error::Api(status) = denied else { panic!("{denied}") };
    assert_eq!(
        status.message,
        "pods is forbidden: User \"system:serviceaccount:ops:paramedic\" cannot list resource \"pods\" in API group \"\" in the namespace \"spark-prod\""
    );
    let other = good.get("b").await.unwrap_err();
    assert!(other.to_string().contains("pods \"b\" is forbidden: "), "{other}");
    assert_eq!(code(&good.logs("a", &LogParams::default()).await.unwrap_err()), 403);
    assert_eq!(code(&pods("").await.get("a").await.unwrap_err()), 403);
    assert_eq!(code(&pods("bad").await.get("a").await.unwrap_err()), 401);
}
