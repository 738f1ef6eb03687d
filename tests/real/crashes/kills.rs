//! kill -9 at any moment, under load from a real Alertmanager: every alert has its incident, every incident its page, once.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use paramedic::{clients::http::Method, ops::clock::Clock};
use serde_json::Value;

use super::{PATIENCE, fire};
use crate::{
    bed::{
        Bed,
        alertmanager::{Alertmanager, Receiver},
        daemon::Daemon,
        ports, until,
    },
    webhook_receiver::WebhookReceiver,
};

const KEY: [u8; 32] = [9; 32];
/// Kills in a usual run; `PARAMEDIC_TEST_KILLS` asks for more.
const KILLS: u64 = 40;

/// The same sequence in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

#[allow(clippy::disallowed_methods, reason = "whoever runs the story asks for more")]
fn kills() -> u64 {
    let asked = std::env::var("PARAMEDIC_TEST_KILLS").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(KILLS)
}

/// One person, reached by a webhook whose receiver drops repeats of an id.
fn configuration(bed: &Bed, receiver: &WebhookReceiver) -> String {
    let people = format!(
        "people:\n  - {{ id: ana, name: Ana Lima, contacts: {{ webhook: '{}' }}, notify: {{ default: [ {{ at: 0m, by: [webhook] }} ] }} }}\n\
         policies:\n  - {{ id: data, steps: [ {{ at: 0m, page: ['person:ana'] }} ], then: {{ page: ['person:ana'], every: 30m }} }}\n",
        receiver.url
    );
    let oncall = bed.file("paramedic/oncall.yaml", &people);
    let secret = bed.file("paramedic/secret", &format!("whsec_{}", STANDARD.encode(KEY)));
    format!(
        "storm: {{ by: [] }}\ndefault_policy: data\noncall: {{ dir: '{}' }}\nwebhook: {{ secret: {{ file: '{}' }} }}",
        oncall.display(),
        secret.display()
    )
}

/// Ids of pages by incident.
fn pages(receiver: &WebhookReceiver) -> BTreeMap<String, Vec<String>> {
    let mut pages: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (id, event) in receiver.kept() {
        if event["type"] == "incident.page" {
            let incident = event["data"]["incident"].as_str().unwrap().to_owned();
            pages.entry(incident).or_default().push(id);
        }
    }
    pages
}

#[tokio::test]
async fn killed_at_any_moment_under_load_every_alert_has_one_incident_and_one_page() {
    let kills = kills();
    let bed = Bed::new();
    let receiver = WebhookReceiver::start(Clock::System, &KEY).await;
    let config = configuration(&bed, &receiver);
    let port = ports::free();
    let webhook = format!("http://127.0.0.1:{port}/api/v1/alertmanager");
    let am = Alertmanager::start(&bed, &Receiver { url: &webhook, token: None }).await;
    let mut daemon = Daemon::start_at(&bed, port, &config).await;
    let mut dice = Dice(0x5eed_1e55);
    let mut fired: Vec<String> = vec![];
    for kill in 0..kills {
        for number in 0..=dice.below(2) {
            let name = format!("Broken{kill}x{number}");
            fire(&am, &name).await;
            fired.push(name);
        }
        // Looks at it so many times first, so that the moment differs: before the webhook, while it is applied, while it pages.
        for _ in 0..dice.below(40) {
            drop(bed.get(&format!("{}/livez", daemon.url)).await);
            tokio::task::yield_now().await;
        }
        let paged = pages(&receiver).len();
        if dice.below(3) == 0 {
            let more = async || (pages(&receiver).len() > paged).then_some(());
            until("a page arrives", PATIENCE, more).await;
        }
        daemon.process.kill();
        daemon.starts_again(&bed).await;
    }

    let open = async || {
        let path = "/api/v1/incidents?status=all&limit=500";
        let items = daemon.call(Method::GET, path, &Value::Null).await;
        let items = items["items"].as_array().unwrap().clone();
        (items.len() >= fired.len()).then_some(items)
    };
    let incidents = until("every alert has its incident", PATIENCE, open).await;
    let all_paged = async || (pages(&receiver).len() >= fired.len()).then_some(());
    until("every incident is paged", PATIENCE, all_paged).await;
    let mut titles: Vec<&str> =
        incidents.iter().map(|item| item["title"].as_str().unwrap()).collect();
    titles.sort_unstable();
    let mut wanted: Vec<String> = fired.iter().map(|name| format!("{name} · spark-prod")).collect();
    wanted.sort();
    assert_eq!(titles, wanted, "one incident for each alert");
    for (incident, ids) in pages(&receiver) {
        assert_eq!(ids.len(), 1, "{incident} was paged more than once: {ids:?}");
    }
    let attempts = receiver.attempts().len();
    println!(
        "{kills} kills: {} alerts, {} incidents, {} pages received in {attempts} attempts; difference 0",
        fired.len(),
        incidents.len(),
        pages(&receiver).len()
    );
}
