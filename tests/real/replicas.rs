//! Two daemons on one PostgreSQL: every alert becomes one incident and one page, whoever got it, whoever dies.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use crate::bed::{Bed, daemon::Daemon, postgres::Postgres, until};

/// How long a story waits for a page.
const PATIENCE: Duration = Duration::from_mins(2);

/// Thirty incidents at once would be one storm, with one page.
const EACH_BY_ITSELF: &str = "storm: { by: [] }";

fn labels(name: &str) -> Value {
    json!({ "alertname": name, "namespace": "spark-prod", "severity": "critical" })
}

/// Pages by title of their incident, over all outputs: those that are the first, and those that say they may be a repeat.
fn pages(daemons: &[&Daemon]) -> BTreeMap<String, (usize, usize)> {
    let mut pages = BTreeMap::new();
    for daemon in daemons {
        let output = daemon.process.output();
        for page in output.split(">>> PAGE for ").skip(1) {
            let title = page.split(" · spark-prod").next().unwrap();
            let title = title.rsplit([' ', '\n']).next().unwrap().to_owned();
            let head: String = page.chars().take(600).collect();
            let (first, repeat): &mut (usize, usize) = pages.entry(title).or_default();
            if head.contains("possible repeat") { *repeat += 1 } else { *first += 1 }
        }
    }
    pages
}

async fn until_paged(daemons: &[&Daemon], names: &[String]) {
    let what = "every alert is paged";
    until(what, PATIENCE, async || {
        let pages = pages(daemons);
        names.iter().all(|name| pages.contains_key(name)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn two_replicas_share_the_work_and_one_goes_on_when_the_other_freezes_or_dies() {
    let bed = Bed::new();
    let postgres = Postgres::start(&bed).await;
    postgres.sql("postgres", "CREATE DATABASE paramedic");
    let store = format!("url: '{}'", postgres.url("paramedic"));
    let (mut a, b) = tokio::join!(
        Daemon::start_on(&bed, "a", &store, EACH_BY_ITSELF),
        Daemon::start_on(&bed, "b", &store, EACH_BY_ITSELF),
    );

    // Each alert to both at once, as two Alertmanagers do.
    let shared: Vec<String> = (0..30).map(|i| format!("Shared{i}")).collect();
    let posts = shared.iter().flat_map(|name| {
        let labels = labels(name);
        [&a, &b].map(|daemon| {
            let labels = labels.clone();
            async move { daemon.try_alert(&labels).await }
        })
    });
    let answers = futures::future::join_all(posts).await;
    assert!(answers.iter().all(|answer| *answer == Some(200)), "{answers:?}");
    until_paged(&[&a, &b], &shared).await;

    // Frozen in the middle: the other one pages, and what the first one wakes up with changes nothing.
    let frozen = vec!["Frozen".to_owned()];
    assert_eq!(a.try_alert(&labels("Frozen")).await, Some(200));
    a.process.freeze();
    until_paged(&[&a, &b], &frozen).await;
    a.process.thaw();

    let killed = vec!["Killed".to_owned()];
    assert_eq!(a.try_alert(&labels("Killed")).await, Some(200));
    a.process.kill();
    until_paged(&[&a, &b], &killed).await;

    let alone = vec!["Alone".to_owned()];
    assert_eq!(b.try_alert(&labels("Alone")).await, Some(200));
    until_paged(&[&b], &alone).await;
    a.starts_again(&bed).await;
    let back = vec!["Back".to_owned()];
    assert_eq!(a.try_alert(&labels("Back")).await, Some(200));
    until_paged(&[&a, &b], &back).await;

    let names = [shared, frozen, killed, alone, back].concat();
    let incidents = b.incidents().await;
    let mut titles: Vec<String> = incidents
        .iter()
        .map(|item| item["title"].as_str().unwrap().replace(" · spark-prod", ""))
        .collect();
    titles.sort();
    let mut wanted = names.clone();
    wanted.sort();
    assert_eq!(titles, wanted, "one incident for each alert");
    let pages = pages(&[&a, &b]);
    for name in &names {
        let (first, repeat) = pages[name];
        assert!(
            first == 1 || (first == 0 && repeat == 1),
            "{name}: {first} pages, {repeat} repeats"
        );
        // Only what was in the middle may come twice, and says so.
        let in_the_middle = ["Frozen", "Killed"].contains(&name.as_str());
        assert!(repeat == 0 || in_the_middle, "{name}: {repeat} repeats");
    }
}

#[tokio::test]
async fn while_the_server_is_away_webhooks_are_refused_and_afterwards_nothing_is_lost() {
    let bed = Bed::new();
    let mut postgres = Postgres::start(&bed).await;
    postgres.sql("postgres", "CREATE DATABASE paramedic");
    let store = format!("url: '{}', acquire_timeout: 1s", postgres.url("paramedic"));
    let daemon = Daemon::start_on(&bed, "a", &store, "").await;
    assert_eq!(daemon.try_alert(&labels("Before")).await, Some(200));

    postgres.stop().await;
    assert_eq!(daemon.try_alert(&labels("Meanwhile")).await, Some(503));
    let ready = format!("{}/readyz", daemon.url);
    until("it says that it is not ready", PATIENCE, async || {
        bed.get(&ready).await.filter(|answer| answer.status == 503)
    })
    .await;

    postgres.start_again().await;
    // Alertmanager would try again; the process is the same one.
    until("webhooks are taken again", PATIENCE, async || {
        daemon.try_alert(&labels("Meanwhile")).await.filter(|status| *status == 200)
    })
    .await;
    let names = ["Before".to_owned(), "Meanwhile".to_owned()];
    until_paged(&[&daemon], &names).await;
    until("it is ready again", PATIENCE, async || {
        bed.get(&ready).await.filter(|answer| answer.status == 200)
    })
    .await;
    assert_eq!(daemon.incidents().await.len(), 2);
    let pages = pages(&[&daemon]);
    assert_eq!(pages["Meanwhile"], (1, 0));
    let (first, repeat) = pages["Before"];
    assert!(first == 1 && repeat <= 1, "{pages:?}");
}
