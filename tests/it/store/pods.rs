//! The store's side: what replaces what, what is found by what, and what is pruned.

use jiff::{SignedDuration, Timestamp};
use paramedic::store::{PodRow, PodsOf};

use super::backend::{Shop, on_every_backend};

on_every_backend!(
    a_pod_is_found_by_application_by_name_by_namespace_and_by_age,
    a_log_that_was_read_is_not_replaced_by_the_failure_to_read_it,
    older_knowledge_does_not_replace_newer_whoever_writes_it_last,
    old_rows_go_and_then_the_oldest_until_the_rest_fits,
);

fn row(uid: &str, container: &str, at: Timestamp) -> PodRow {
    PodRow {
        cluster: "prod".to_owned(),
        uid: uid.to_owned(),
        container: container.to_owned(),
        restarts: 0,
        namespace: "n".to_owned(),
        name: format!("pod-{uid}"),
        app_id: format!("app-{uid}"),
        seen_at: at,
        gone_at: None,
        failed: false,
        has_log: false,
        version: 0,
        record: "{}".to_owned(),
    }
}

const ANY: PodsOf<'_> = PodsOf {
    cluster: "prod",
    namespace: "",
    app_id: "",
    name: "",
    since: Timestamp::UNIX_EPOCH,
    limit: 10,
};

async fn found(shop: &Shop, of: PodsOf<'_>) -> String {
    let rows = shop.store.recorded_pods(of).await.unwrap();
    rows.iter().map(|row| row.uid.as_str()).collect::<Vec<_>>().join(" ")
}

async fn a_pod_is_found_by_application_by_name_by_namespace_and_by_age(shop: Shop) {
    let now = shop.store.now();
    let earlier = now - SignedDuration::from_mins(5);
    let elsewhere = PodRow { cluster: "other".to_owned(), ..row("c", "", now) };
    let gone = PodRow { gone_at: Some(now), ..row("b", "", now) };
    let rows = vec![row("a", "", earlier), gone, elsewhere, row("b", "main", now)];
    shop.store.save_pods(rows).await.unwrap();
    assert_eq!(found(&shop, ANY).await, "b a");
    assert_eq!(found(&shop, PodsOf { app_id: "app-a", ..ANY }).await, "a");
    assert_eq!(found(&shop, PodsOf { name: "pod-b", ..ANY }).await, "b");
    assert_eq!(found(&shop, PodsOf { namespace: "n", ..ANY }).await, "b a");
    assert_eq!(found(&shop, PodsOf { namespace: "m", ..ANY }).await, "");
    assert_eq!(found(&shop, PodsOf { since: now, ..ANY }).await, "b");
    assert_eq!(found(&shop, PodsOf { name: "' OR 1=1 --\0", ..ANY }).await, "");
    let live = shop.store.live_recorded_pods("prod", 10).await.unwrap();
    assert_eq!((live.len(), live[0].uid.as_str()), (1, "a"));
}

async fn a_log_that_was_read_is_not_replaced_by_the_failure_to_read_it(shop: Shop) {
    let now = shop.store.now();
    let log =
        |text: &str, has_log| PodRow { has_log, record: text.to_owned(), ..row("a", "main", now) };
    let newest = async || shop.store.recorded_logs("prod", "a").await.unwrap()[0].2.clone();
    for (text, has_log, kept) in [
        ("lost", false, "lost"),
        ("read", true, "read"),
        ("gone", false, "read"),
        ("read again", true, "read again"),
    ] {
        shop.store.save_pods(vec![log(text, has_log)]).await.unwrap();
        assert_eq!(newest().await, kept);
    }
    assert_eq!(shop.store.recorded_size().await.unwrap().0, 1);
}

async fn older_knowledge_does_not_replace_newer_whoever_writes_it_last(shop: Shop) {
    let now = shop.store.now();
    let write = async |container: &str, has_log, version, text: &str| {
        let row = PodRow { has_log, version, record: text.to_owned(), ..row("a", container, now) };
        shop.store.save_pods(vec![row]).await.unwrap();
    };
    let kept = async || {
        let pod = shop.store.recorded_pods(ANY).await.unwrap()[0].record.clone();
        (pod, shop.store.recorded_logs("prod", "a").await.unwrap()[0].2.clone())
    };
    write("", false, 7, "killed").await;
    write("main", true, 70, "all of it").await;
    // A replica that was frozen, and one whose watch had a gap.
    write("", false, 6, "running").await;
    write("main", true, 60, "half of it").await;
    write("main", false, 99, "gone").await;
    assert_eq!(kept().await, ("killed".to_owned(), "all of it".to_owned()));
    // The same status with one more event.
    write("", false, 7, "killed, and said so").await;
    write("main", true, 71, "all of it and more").await;
    assert_eq!(kept().await, ("killed, and said so".to_owned(), "all of it and more".to_owned()));
}

async fn old_rows_go_and_then_the_oldest_until_the_rest_fits(shop: Shop) {
    let now = shop.store.now();
    let at = |minutes: i64| now - SignedDuration::from_mins(minutes);
    let text = "x".repeat(10_000);
    let rows: Vec<PodRow> = (0..1_200)
        .map(|n| PodRow { record: text.clone(), ..row(&format!("{n:04}"), "", at(n)) })
        .collect();
    for batch in rows.chunks(200) {
        shop.store.save_pods(batch.to_vec()).await.unwrap();
    }
    let kept = |before, bytes| shop.store.prune_pods(before, bytes);
    assert_eq!(kept(at(5_000), u64::MAX).await.unwrap(), 0);
    assert_eq!(kept(at(999), u64::MAX).await.unwrap(), 200);
    let gone = kept(at(5_000), 5_000_000).await.unwrap();
    let (left, bytes) = shop.store.recorded_size().await.unwrap();
    assert_eq!(i64::try_from(gone).unwrap() + left, 1_000);
    assert!((4_000_000..=5_000_000).contains(&bytes), "no more went than had to: {bytes}");
    assert_eq!(found(&shop, PodsOf { limit: 1, ..ANY }).await, "0000", "the newest stay");
}
