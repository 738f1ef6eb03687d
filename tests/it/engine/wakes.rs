//! Whatever comes in whatever order: every open incident wakes, every state is the fold of its timeline, and every webhook
//! that was taken is applied exactly once.

use std::collections::BTreeMap;

use paramedic::domain::{alert::Status, incident::Wake};
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};

use super::*;

const CASES: usize = 10;
const STEPS: usize = 25;

/// Something that happens.
#[derive(Clone, Debug)]
enum Happens {
    /// A webhook: alerts and whether they fire.
    Webhook(Vec<(u8, bool)>),
    Wait(u64),
    Ack,
    Snooze,
    ResolveAnyway,
    Escalate,
    Note,
    Crash,
}

fn happens() -> impl Strategy<Value = Happens> {
    let waits = prop_oneof![Just(1), Just(30), Just(125), Just(301), Just(1_000), Just(3_700)];
    prop_oneof![
        8 => prop::collection::vec((0..6_u8, any::<bool>()), 1..5).prop_map(Happens::Webhook),
        6 => waits.prop_map(Happens::Wait),
        2 => Just(Happens::Ack),
        1 => Just(Happens::Snooze),
        2 => Just(Happens::ResolveAnyway),
        1 => Just(Happens::Escalate),
        1 => Just(Happens::Note),
        1 => Just(Happens::Crash),
    ]
}

/// Alerts 0 to 2 belong together, 3 to 5 too; 2 and 5 are more severe.
fn labels(alert: u8) -> [(&'static str, &'static str); 3] {
    let pods = ["a", "b", "c"];
    let severity = if alert % 3 == 2 { "critical" } else { "warning" };
    let namespace = if alert < 3 { "n" } else { "m" };
    [("namespace", namespace), ("pod", pods[usize::from(alert % 3)]), ("severity", severity)]
}

async fn person(app: &TestApp, action: &str) {
    let fields = match action {
        "resolve" => json!({ "by": "Mei", "anyway": true }),
        "snooze" => json!({ "by": "Mei", "for": "10m" }),
        "note" => json!({ "by": "Mei", "text": "hm" }),
        _ => json!({ "by": "Mei" }),
    };
    let newest = Filter { open: None, before: None, limit: 1 };
    if let Some(newest) = app.engine.store.incidents(newest).await.unwrap().first() {
        let number: i64 = newest.id.trim_start_matches("INC-").parse().unwrap();
        let answer = act(app, number, action, &fields).await;
        assert!(matches!(answer.status, 200 | 409), "{answer:?}");
    }
}

async fn check(app: &TestApp, model: &BTreeMap<u8, bool>) {
    assert_sound(app).await;
    for (alert, fires) in model {
        let mut all = vec![("alertname", "A")];
        all.extend(labels(*alert));
        let all = all.into_iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        let fingerprint = paramedic::domain::alert::fingerprint(&all);
        let member = app.engine.store.member("default", &fingerprint).await.unwrap().unwrap();
        let status = if *fires { Status::Firing } else { Status::Resolved };
        assert_eq!(member.status, status, "alert {alert}");
        if *fires {
            let home = app.incident(member.incident.unwrap().0).await;
            let watched = matches!(home.wake, Wake::StillFiring(_));
            assert!(
                home.is_open() || watched,
                "alert {alert} fires without an incident: {home:#?}"
            );
            assert!(home.wake.due().is_some() || home.ack.is_some(), "{home:#?}");
        }
    }
}

async fn run(story: Vec<Happens>) {
    let mut app = TestApp::new().await;
    let mut model = BTreeMap::new();
    for step in story {
        match step {
            Happens::Webhook(alerts) => {
                let labels: Vec<_> = alerts
                    .iter()
                    .map(|(alert, _)| [vec![("alertname", "A")], labels(*alert).to_vec()].concat())
                    .collect();
                let of = |(n, (_, fires)): (usize, &(u8, bool))| {
                    (if *fires { "firing" } else { "resolved" }, &labels[n][..], 0)
                };
                let body: Vec<_> = alerts.iter().enumerate().map(of).collect();
                app.post_alerts(&payload(&body)).await;
                for (alert, fires) in alerts {
                    // A resolve of an alert that never fired in an earlier webhook is a tombstone: over before it began.
                    let over = !model.contains_key(&alert);
                    if fires || !over {
                        model.insert(alert, fires);
                    }
                }
            }
            Happens::Wait(seconds) => app.advance(Duration::from_secs(seconds)),
            Happens::Ack => person(&app, "ack").await,
            Happens::Snooze => person(&app, "snooze").await,
            Happens::ResolveAnyway => person(&app, "resolve").await,
            Happens::Escalate => person(&app, "escalate").await,
            Happens::Note => person(&app, "note").await,
            Happens::Crash => app = app.dies_and_restarts().await,
        }
        app.pump_until_quiet().await;
        // Tombstones have no incident; only what fired once is compared.
        check(&app, &model).await;
    }
}

#[tokio::test]
async fn whatever_happens_every_open_incident_wakes_and_every_webhook_counts_once() {
    let mut runner = TestRunner::deterministic();
    let stories = prop::collection::vec(happens(), STEPS);
    for case in 0..CASES {
        let story = stories.new_tree(&mut runner).unwrap().current();
        eprintln!("case {case}: {story:?}");
        run(story).await;
    }
}
