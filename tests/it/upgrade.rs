//! A rolling upgrade: this version beside a newer one, whose rows the stories write by hand.

use jiff::SignedDuration;
use paramedic::{
    engine::correlate::Applied,
    ops::{clock::Clock, lifecycle::Tasks},
    store::{Error, Settings, Store},
};

use crate::{
    app::{START, TestApp, firing},
    store::backend,
};

/// What a newer version keeps in a state, at the top.
const HINTS: &str = r#"{"runbook": {"step": 3}, "format": 99}"#;

/// A replica of this version, and its database.
async fn older() -> (TestApp, String) {
    let url = backend::database();
    let clock = Clock::manual(START.parse().unwrap());
    (TestApp::on(Some(&url), clock, "", &[], vec![]).await, url)
}

/// Merges into the state of incident 1, as a newer version writes it.
fn newer_writes(url: &str, more: &str) {
    let sql = format!(
        "UPDATE incidents SET version = version + 1, state = (state::jsonb || '{more}'::jsonb)::text WHERE id = 1"
    );
    backend::sql(url, &sql);
}

fn said(url: &str, sql: &str) -> String {
    backend::sql(url, sql).trim().to_owned()
}

async fn critical(app: &TestApp, name: &str) {
    app.post_alerts(&firing(&[&[("alertname", name), ("severity", "critical")]])).await;
}

#[tokio::test]
async fn an_older_replica_goes_on_beside_a_newer_one_and_loses_nothing_of_it() {
    let (app, url) = older().await;
    critical(&app, "A").await;
    app.pump_until_quiet().await;
    newer_writes(&url, HINTS);
    newer_writes(&url, &format!(r#"{{"seq": {}}}"#, app.incident(1).await.seq + 1));
    backend::sql(
        &url,
        "INSERT INTO timeline SELECT 1, max(seq) + 1, max(at), '{\"sent_by_pigeon\": {\"to\": \"ana\"}}' FROM timeline WHERE incident_id = 1; \
         INSERT INTO jobs (job_key, kind, incident_id, due_at, priority, payload) VALUES ('pigeon:1', 'pigeon', 1, 0, 0, '{}'), ('periodic:pigeons', 'periodic', NULL, 0, 1, '{}'); \
         INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (99, 'x', true, '', 0)",
    );

    // It shows what it does not know, and goes on: an ack, its timers, another alert, another page.
    let timeline = app.get("/api/v1/incidents/1/timeline").await.json();
    let text = "sent_by_pigeon: written by a newer version, which this one cannot show";
    assert_eq!(timeline["items"].as_array().unwrap().last().unwrap()["text"], text);
    let page = app.get("/incidents/1").await;
    assert!(page.status == 200 && page.body.contains(text), "{page:?}");
    assert_eq!(app.post("/api/v1/incidents/1/ack", "{}").await.status, 200);
    critical(&app, "B").await;
    while app.engine.pump().await.unwrap() > 0 {}
    assert_eq!(app.console().matches(">>> PAGE for ").count(), 2);

    // Nothing of the newer one is lost.
    let kept = "SELECT state::jsonb -> 'runbook' ->> 'step', state::jsonb ->> 'format' FROM incidents WHERE id = 1";
    assert_eq!(said(&url, kept), "3|99");
    let kept = "SELECT event FROM timeline WHERE event LIKE '%pigeon%'";
    assert_eq!(said(&url, kept), r#"{"sent_by_pigeon": {"to": "ana"}}"#);
    let kept = "SELECT string_agg(job_key || ' ' || state, ', ' ORDER BY job_key) FROM jobs WHERE job_key LIKE '%pigeon%'";
    assert_eq!(said(&url, kept), "periodic:pigeons ready, pigeon:1 ready");

    // Nobody waits for what nobody here can do, and this version cannot start again.
    let kinds: Vec<&str> = paramedic::engine::worker::kinds().collect();
    let due = app.engine.store.next_due(&kinds).await.unwrap().unwrap();
    assert!(due > app.engine.now(), "{due}");
    let opened = Store::open(&Settings::at(&url), Clock::System, &Tasks::default()).await;
    assert!(matches!(opened.err(), Some(Error::Newer { found: 99, .. })));
    backend::sql(&url, "DELETE FROM jobs WHERE job_key = 'pigeon:1'");
}

#[tokio::test]
async fn what_an_older_replica_cannot_read_waits_for_a_newer_one_and_is_not_set_aside() {
    let (app, url) = older().await;
    critical(&app, "A").await;
    app.pump_until_quiet().await;
    let before = said(&url, "SELECT state FROM incidents WHERE id = 1");
    newer_writes(&url, r#"{"format": 99, "wake": {"pigeon_returns": "2026-11-23T04:00:00Z"}}"#);
    backend::sql(&url, "UPDATE jobs SET due_at = 0 WHERE kind = 'wake'");
    let mut resolved = firing(&[&[("alertname", "A"), ("severity", "critical")]]);
    resolved["alerts"][0]["status"] = "resolved".into();
    app.post_alerts(&resolved).await;

    // More often than a webhook is tried that is to blame itself.
    for _ in 0..5 {
        assert_eq!(app.engine.apply_next().await.unwrap(), Applied::Failed);
        let turns = said(&url, "SELECT count(*) FROM leases");
        assert_eq!(turns, "0", "a newer replica may take its turn");
        let wake = app.engine.claim_lane(0).await.unwrap();
        assert_eq!(wake.iter().map(|job| job.kind.as_str()).collect::<Vec<_>>(), ["wake"]);
        for job in wake {
            let asked = app.engine.clock.monotonic();
            app.engine.run_leased(job, asked).await;
        }
        app.advance(std::time::Duration::from_secs(1));
    }
    assert_eq!(said(&url, "SELECT state, attempts FROM deliveries"), "new|0");
    assert_eq!(said(&url, "SELECT attempt FROM jobs WHERE kind = 'wake'"), "0");
    // The list is there for everybody; the incident itself is not.
    let list = app.get("/api/v1/incidents").await.json();
    assert_eq!(list["items"][0]["id"], "INC-1");
    let shown = app.get("/api/v1/incidents/1").await;
    assert_eq!(shown.status, 503, "{shown:?}");
    assert!(app.engine.store.unanswered(10).await.unwrap().is_empty());

    // The newer one takes it on, and leaves it as both can read it.
    backend::sql(&url, &format!("UPDATE incidents SET state = '{before}' WHERE id = 1"));
    app.pump_until_quiet().await;
    app.advance(SignedDuration::from_mins(3).unsigned_abs());
    app.pump_until_quiet().await;
    assert!(!app.incident(1).await.is_open());
}
