//! The process dies at every stage: nothing is lost, and nothing is done twice where that can be known.

use paramedic::store::Claim;

use super::{path::demo, *};
use crate::fakes::slack::Trouble;

const POST: &str = "chat.postMessage";

#[tokio::test]
async fn what_was_taken_in_is_applied_by_the_next_process() {
    let app = TestApp::new().await;
    app.post_alerts(&payload(&[("firing", &[("alertname", "A")], 0)])).await;
    let app = app.dies_and_restarts().await;
    app.pump_until_quiet().await;
    assert_eq!(app.incident(1).await.firing, 1);
    assert!(app.console().contains("PAGE for Operator"), "{}", app.console());
    assert_sound(&app).await;
}

#[tokio::test]
async fn a_crash_between_the_parts_of_a_large_webhook_repeats_none() {
    let app = TestApp::new().await;
    let labels: Vec<[(&str, String); 2]> =
        (0..2_000).map(|n| [("alertname", "A".to_owned()), ("pod", format!("p{n}"))]).collect();
    let labels: Vec<Vec<(&str, &str)>> =
        labels.iter().map(|l| l.iter().map(|(n, v)| (*n, v.as_str())).collect()).collect();
    let alerts: Vec<_> = labels.iter().map(|l| ("firing", &l[..], 0)).collect();
    app.post_alerts(&payload(&alerts)).await;
    assert_eq!(app.engine.apply_next().await.unwrap(), Applied::Something);
    let app = app.dies_and_restarts().await;
    assert_eq!(app.incident(1).await.members, 1_000);
    app.pump_until_quiet().await;
    assert_eq!((app.incident(1).await.firing, app.incident(1).await.members), (2_000, 2_000));
    assert_eq!(app.incident(1).await.flaps, 0);
    assert_sound(&app).await;
}

#[tokio::test]
async fn finished_steps_are_not_run_again_after_a_crash() {
    let demo = demo("", &[]).await;
    demo.app.post_alerts(&demo.alert).await;
    // The run begins, its steps are recorded, and the process dies before it ends.
    let run = loop {
        demo.app.engine.apply_next().await.unwrap();
        if let Some(run) = demo.app.engine.store.runs(IncidentId(1)).await.unwrap().pop() {
            break run;
        }
        demo.app.engine.pump().await.unwrap();
    };
    demo.app.pump_until_quiet().await;
    let done = demo.app.engine.store.steps(&run.id).await.unwrap();
    let asked = demo.cluster.requests().len();
    // As if it had died right before the end was committed, with one step missing.
    let path = demo.app.database();
    let db = rusqlite::Connection::open(path).unwrap();
    for sql in [
        "DELETE FROM steps WHERE step = 'events'",
        "UPDATE runs SET state = 'running', run = json_set(run, '$.state', 'running')",
        "INSERT INTO jobs (job_key, kind, incident_id, due_at, priority, state, attempt, payload) \
         SELECT 'run:' || id, 'run', 1, 0, 1, 'running', 1, json_object('run', id) FROM runs",
    ] {
        db.execute(sql, []).unwrap();
    }
    db.close().unwrap();
    let app = demo.app.dies_and_restarts().await;
    app.advance(Duration::from_hours(1));
    app.pump_until_quiet().await;
    let again = app.engine.store.steps(&run.id).await.unwrap();
    assert_eq!(again.len(), done.len());
    let repeated: Vec<_> = demo.cluster.requests().split_off(asked);
    assert!(!repeated.is_empty(), "the missing step ran, within a fresh deadline");
    // Events of an application are found through its pods; no log and no Spark answer is read again.
    let of_events = |request: &String| request.contains("/events") || request.contains("/pods?");
    assert!(repeated.iter().all(of_events), "{repeated:#?}");
    assert_eq!(app.incident(1).await.verdicts[0].id, "spark/executor/oom-killed");
}

/// Runs jobs until a delivery waits to be claimed.
async fn until_deliverable(app: &TestApp) {
    for _ in 0..10 {
        let waiting = app.engine.store.job_counts().await.unwrap();
        if waiting.iter().any(|(kind, _)| kind == "deliver") {
            return;
        }
        app.engine.pump().await.unwrap();
    }
    panic!("no page came");
}

#[tokio::test]
async fn a_blind_page_claimed_before_a_crash_is_sent_and_marked() {
    let app = TestApp::new().await;
    app.post_alerts(&payload(&[("firing", &[("alertname", "A")], 0)])).await;
    until_deliverable(&app).await;
    let lease = Duration::from_secs(30);
    let claim = Claim { owner: "it", kinds: &["deliver"], limit: 1, lease };
    assert_eq!(app.engine.store.claim(claim).await.unwrap().len(), 1);
    let app = app.dies_and_restarts().await;
    live(&app, 1).await;
    let console = app.console();
    assert_eq!(console.matches("PAGE for Operator (possible repeat)").count(), 1, "{console}");
    assert_sound(&app).await;
}

#[tokio::test]
async fn a_slack_page_that_arrived_before_the_crash_is_found_and_not_repeated() {
    let Rig { app, slack, ops } = Rig::with(TWO, "").await;
    slack.archive(&ops);
    app.post_alerts(&payload(&[("firing", &[("alertname", "A")], 0)])).await;
    until_deliverable(&app).await;
    while slack.calls().iter().filter(|call| *call == POST).count() == 0 {
        app.engine.pump().await.unwrap();
        if slack.messages(ANA).len() == 1 {
            break;
        }
    }
    let before = slack.messages(ANA).len();
    if before == 0 {
        slack.next(POST, Trouble::DoneThenSilence);
        let sending = app.engine.pump();
        let arrived = until(|| slack.messages(ANA).len() == 1);
        futures::future::select(std::pin::pin!(sending), std::pin::pin!(arrived)).await;
    }
    let app = app.dies_and_restarts().await;
    live(&app, 5).await;
    assert_eq!(slack.messages(ANA).len(), 1);
    let said = history(&app, 1).await;
    assert!(said.contains("paged Ana Lima by slack: delivered"), "{said}");
    assert_sound(&app).await;
}

#[tokio::test]
async fn a_worker_that_was_paused_after_its_claim_sends_nothing_that_another_one_has() {
    let Rig { app, slack, ops } = Rig::with(TWO, "").await;
    slack.archive(&ops);
    app.post_alerts(&payload(&[("firing", &[("alertname", "A")], 0)])).await;
    until_deliverable(&app).await;
    let (asked, lease) = (app.engine.clock.monotonic(), Duration::from_secs(30));
    let claim = |owner| Claim { owner, kinds: &["deliver"], limit: 9, lease };
    let ours = app.engine.store.claim(claim("it")).await.unwrap();
    app.advance(lease * 2);
    let theirs = app.engine.store.claim(claim("another")).await.unwrap();
    assert_eq!((ours.len(), theirs.len()), (1, 1));
    for job in ours {
        app.engine.run_leased(job, asked).await;
    }
    assert!(slack.messages(ANA).is_empty());
    for job in theirs {
        app.engine.run_leased(job, app.engine.clock.monotonic()).await;
    }
    assert_eq!(slack.messages(ANA).len(), 1);
    app.pump_until_quiet().await;
    assert_sound(&app).await;
}

#[tokio::test]
async fn a_delivery_that_cannot_be_applied_is_set_aside_loudly_and_the_next_one_goes_on() {
    let app = TestApp::new().await;
    let path = app.database();
    let db = rusqlite::Connection::open(path).unwrap();
    let trap = "CREATE TRIGGER trap BEFORE INSERT ON members WHEN NEW.member LIKE '%poison%' \
                BEGIN SELECT RAISE(ABORT, 'a row this store does not take'); END";
    db.execute_batch(trap).unwrap();
    db.close().unwrap();
    app.post_alerts(&payload(&[("firing", &[("alertname", "poison"), ("namespace", "n")], 0)]))
        .await;
    app.post_alerts(&payload(&[("firing", &[("alertname", "fine")], 0)])).await;
    app.pump_until_quiet().await;
    assert_eq!(app.engine.store.backlog().await.unwrap().0, 0);
    let filter = Filter { open: Some(true), before: None, limit: 10 };
    let all = app.engine.store.incidents(filter).await.unwrap();
    let titles: Vec<_> = all.iter().map(|i| (i.title.as_str(), i.severity.as_str())).collect();
    assert_eq!(titles, [("fine", "P2"), ("Paramedic: A webhook could not be applied", "P1")]);
    let console = app.console();
    // The console breaks its lines between words.
    let words = console.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("poison · n (firing)"), "the plain alert is paged: {console}");
    assert_eq!(console.matches("PAGE for Operator").count(), 2, "{console}");
    assert_sound(&app).await;
}

#[tokio::test]
async fn a_delivery_is_not_blamed_for_a_store_in_trouble() {
    let app = TestApp::new().await;
    let db = rusqlite::Connection::open(app.database()).unwrap();
    for (name, table) in [("a", "INSERT ON members"), ("b", "INSERT ON meta")] {
        let trap = format!(
            "CREATE TRIGGER {name} BEFORE {table} BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        );
        db.execute_batch(&trap).unwrap();
    }
    app.post_alerts(&payload(&[("firing", &[("alertname", "fine")], 0)])).await;
    for _ in 0..10 {
        let error = app.engine.apply_next().await.unwrap_err();
        assert!(format!("{error:#}").contains("disk full"), "{error:#}");
    }
    for name in ["a", "b"] {
        db.execute_batch(&format!("DROP TRIGGER {name}")).unwrap();
    }
    db.close().unwrap();
    app.pump_until_quiet().await;
    let filter = Filter { open: Some(true), before: None, limit: 10 };
    let all = app.engine.store.incidents(filter).await.unwrap();
    assert_eq!(all.iter().map(|i| i.title.as_str()).collect::<Vec<_>>(), ["fine"]);
    assert_sound(&app).await;
}

#[tokio::test]
async fn a_declared_incident_takes_one_number() {
    let app = TestApp::new().await;
    for n in 1..4 {
        let answer = app.post("/api/v1/incidents", r#"{"title":"slow","severity":"P3"}"#).await;
        assert_eq!(answer.json()["id"], format!("INC-{n}"));
    }
    app.pump_until_quiet().await;
}

#[tokio::test]
async fn a_playbook_edited_between_a_crash_and_its_resumption_runs_anew_and_says_so() {
    let playbook = |step: &str| {
        format!(
            "name: edited\ntitle: T\nowner: team:x\nmatch: [alertname=Edited]\nsteps:\n  - id: {step}\n    incident.note: {{ text: from {step} }}\n"
        )
    };
    let files = [("playbooks/a.yaml", &*playbook("first"))];
    let app = TestApp::start("", &files, vec![]).await;
    app.post_alerts(&payload(&[("firing", &[("alertname", "Edited")], 0)])).await;
    app.pump_until_quiet().await;
    let db = rusqlite::Connection::open(app.database()).unwrap();
    for sql in [
        "UPDATE runs SET state = 'running', run = json_set(run, '$.state', 'running')",
        "INSERT INTO jobs (job_key, kind, incident_id, due_at, priority, state, attempt, payload) \
         SELECT 'run:' || id, 'run', 1, 0, 1, 'running', 1, json_object('run', id) FROM runs",
    ] {
        db.execute(sql, []).unwrap();
    }
    db.close().unwrap();
    app.edit("playbooks/a.yaml", &playbook("second")).await;
    app.pump_until_quiet().await;
    let said = history(&app, 1).await;
    assert!(said.contains("from first") && said.contains("from second"), "{said}");
    let caveats = app.incident(1).await.caveats;
    assert_eq!(caveats, ["playbook edited was edited while it ran: all of it ran again"]);
}
