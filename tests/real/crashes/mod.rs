//! Crashes for real: the daemon, its database, its disk. Each story ends with a ledger: what was answered 2xx has its incident,
//! and each incident its page.

mod disk;
mod kills;
mod pair;
mod server;

use std::{collections::BTreeMap, time::Duration};

use paramedic::{
    clients::http::{Client, Guard, Request},
    ops::clock::Clock,
};
use serde_json::{Value, json};

use crate::bed::{alertmanager::Alertmanager, daemon::Daemon, until};

/// How long the last page may take: retries of Alertmanager included.
const PATIENCE: Duration = Duration::from_mins(3);
/// Many incidents at once would be one storm, with one page.
const EACH_BY_ITSELF: &str = "storm: { by: [] }";

fn labels(name: &str) -> Value {
    json!({ "alertname": name, "namespace": "spark-prod", "severity": "critical" })
}

/// Fires an alert in Alertmanager, for an hour.
async fn fire(am: &Alertmanager, name: &str) {
    let now = Clock::System.now();
    let body = json!([{
        "labels": labels(name), "annotations": {},
        "startsAt": now.to_string(), "endsAt": (now + jiff::SignedDuration::from_hours(1)).to_string(),
    }]);
    let url = format!("{}/api/v2/alerts", am.url).parse().unwrap();
    let request = Request::post(url, "fire", body.to_string(), "application/json");
    let http = Client::new(Guard::default()).unwrap();
    http.send(request).await.unwrap().error_for_status("fire").unwrap();
}

/// Pages on the console by the name of their alert: those that are the first, and those that say they may be a repeat.
fn pages(daemon: &Daemon) -> BTreeMap<String, (usize, usize)> {
    let mut pages = BTreeMap::new();
    for page in daemon.process.output().split(">>> PAGE for ").skip(1) {
        let Some((head, _)) = page.split_once(" · spark-prod") else { continue };
        let name = head.rsplit([' ', '\n']).next().unwrap().to_owned();
        let said: String = page.chars().take(600).collect();
        let (first, repeat): &mut (usize, usize) = pages.entry(name).or_default();
        if said.contains("possible repeat") { *repeat += 1 } else { *first += 1 }
    }
    pages
}

/// Waits until every alert was paged; then each has one incident.
async fn all_are_paged(daemon: &Daemon, names: &[String]) {
    let paged = async || {
        let pages = pages(daemon);
        names.iter().all(|name| pages.contains_key(name)).then_some(())
    };
    until("every alert is paged", PATIENCE, paged).await;
    let all = daemon.incidents().await;
    let titles = all.iter().map(|item| item["title"].as_str().unwrap().to_owned());
    let mut titles: Vec<String> = titles.filter(|title| title.ends_with("spark-prod")).collect();
    titles.sort();
    let mut wanted: Vec<String> = names.iter().map(|name| format!("{name} · spark-prod")).collect();
    wanted.sort();
    assert_eq!(titles, wanted, "one incident for each alert");
}
