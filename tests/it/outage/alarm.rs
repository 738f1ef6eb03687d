//! One daemon: when it alarms, whom, and what it says.

use jiff::SignedDuration;
use serde_json::Value;

use super::*;
use crate::fakes::slack::Trouble;

#[tokio::test]
async fn a_store_that_is_lost_is_said_once_then_every_15_min_and_its_return_once() {
    let mut rig = Rig::new("lost").await;
    alert(&rig, "QueueStuck").await;
    rig.looks(60).await;
    assert_eq!((rig.told(ANA).len(), rig.told(RAJ).len()), (1, 0), "Ana was paged, and no more");

    rig.breaks();
    rig.looks(30).await;
    assert_eq!(rig.told(RAJ), [""; 0], "30 s are not more than 30 s");
    rig.looks(5).await;
    let said = rig.slack.messages(RAJ);
    insta::assert_snapshot!(said[0].text, @"PAGE for Raj Patel · P1 triggered · Paramedic: its store cannot be reached");
    let blocks = said[0].blocks.to_string();
    for part in [
        "No write has succeeded for 35s",
        "database or disk is full",
        "INC-1 P1 · QueueStuck",
        "on call, or the last step of the default policy",
    ] {
        assert!(blocks.contains(part), "no {part:?} in {blocks}");
    }
    assert_eq!(rig.told(ANA).len(), 2, "who is on call is told too");
    rig.looks(14 * 60).await;
    assert_eq!((rig.told(ANA).len(), rig.told(RAJ).len()), (2, 1));
    rig.looks(60).await;
    assert_eq!((rig.told(ANA).len(), rig.told(RAJ).len()), (3, 2), "again after 15 min");

    rig.works();
    rig.looks(25).await;
    assert_eq!(rig.told(RAJ).len(), 2, "it might be gone again in a moment");
    rig.looks(60).await;
    let back = rig.told(RAJ);
    insta::assert_snapshot!(back[2], @"PAGE for Raj Patel · P1 resolved · Paramedic: its store is back after 15m 40s");
    rig.looks(3_600).await;
    assert_eq!((rig.told(ANA).len(), rig.told(RAJ).len()), (4, 3), "said once");
    rig.app.pump_until_quiet().await;
}

#[tokio::test]
async fn what_waited_is_paged_late_and_once_when_the_store_is_back() {
    let mut rig = Rig::new("resumes").await;
    let labels = [("alertname", "Down"), ("severity", "critical")];
    rig.app.post_alerts(&firing(&[&labels])).await;
    // It is applied; its page is due, and the store goes away before anybody takes it.
    while rig.app.engine.apply_next().await.unwrap()
        != paramedic::engine::correlate::Applied::Nothing
    {}
    rig.breaks();
    let refused = rig.app.post("/api/v1/alertmanager", &firing(&[&labels]).to_string()).await;
    assert_eq!(refused.status, 503, "{refused:?}");
    rig.looks(120).await;
    assert_eq!(rig.told(ANA).len(), 1, "the alarm only");
    rig.works();
    rig.app.pump_until_quiet().await;
    let told = rig.told(ANA);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[1].contains("late by 2m") && told[1].contains("INC-1"), "{told:?}");
    rig.looks(60).await;
    rig.app.pump_until_quiet().await;
    assert_eq!(rig.told(ANA).len(), 3, "it is back, and nothing twice");
}

#[tokio::test]
async fn a_process_that_stood_still_and_clocks_set_by_hours_alarm_nobody() {
    let mut rig = Rig::new("frozen").await;
    alert(&rig, "Down").await;
    let paged = rig.told(ANA).len();
    rig.app.advance(Duration::from_secs(40));
    rig.watcher.turn().await;
    for hours in [5, -9] {
        let now = rig.app.engine.clock.now();
        rig.app.hand.set_wall(now + SignedDuration::from_hours(hours));
        rig.looks(60).await;
    }
    // Frozen in the middle of a write, and the write fails for it.
    rig.world.plan(|number| (number == 1).then_some(Fault::Before));
    rig.app.advance(Duration::from_mins(40));
    rig.watcher.turn().await;
    rig.looks(600).await;
    assert_eq!((rig.told(ANA).len(), rig.told(RAJ).len()), (paged, 0));
    // And a clock set back hides no outage.
    rig.breaks();
    rig.looks(15).await;
    let now = rig.app.engine.clock.now();
    rig.app.hand.set_wall(now - SignedDuration::from_hours(3));
    rig.looks(25).await;
    assert_eq!(rig.told(RAJ).len(), 1);
    rig.works();
}

#[tokio::test]
async fn a_store_that_hangs_is_lost_too() {
    let mut rig = Rig::new("hangs").await;
    rig.world.plan(|_| Some(Fault::StallBefore));
    for _ in 0..7 {
        let hand = rig.app.hand.clone();
        let turn = rig.watcher.turn();
        tokio::pin!(turn);
        assert!(
            futures::poll!(&mut turn).is_pending(),
            "the write hangs, and the look waits a while"
        );
        hand.advance(TICK);
        turn.await;
    }
    assert_eq!(rig.told(RAJ).len(), 1);
    assert_eq!(rig.world.stalling(), 1, "one write waits, however often is looked");
    rig.works();
    rig.world.release();
    rig.looks(60).await;
    assert!(rig.told(RAJ)[1].contains("back after"), "{:?}", rig.told(RAJ));
}

#[tokio::test]
async fn a_dead_transport_is_passed_over_and_whoever_could_not_be_reached_is_tried_again() {
    let mut rig = Rig::new("dead").await;
    rig.breaks();
    for _ in 0..4 {
        rig.slack.next("chat.postMessage", Trouble::Html502);
    }
    rig.looks(35).await;
    let console = rig.app.console();
    assert_eq!(console.matches("PAGE for Raj Patel").count(), 1, "{console}");
    assert_eq!((rig.told(ANA).len(), rig.told(RAJ).len()), (0, 0));
    rig.looks(300).await;
    assert_eq!(rig.app.console().matches("PAGE for").count(), 2, "each was told, and once");
    rig.works();
}

#[tokio::test]
async fn readyz_and_metrics_say_since_when() {
    let mut rig = Rig::new("readyz").await;
    assert_eq!(rig.app.get("/readyz").await.status, 200);
    rig.breaks();
    rig.looks(65).await;
    let answer = rig.app.get("/readyz").await;
    assert_eq!(answer.status, 503, "{answer:?}");
    let store = |answer: &Value| answer["checks"][0].clone();
    insta::assert_snapshot!(store(&answer.json()), @r#"{"name":"store","ok":false,"reason":"takes no write since 03:00:00 UTC (1m 5s); the log says why"}"#);
    rig.works();
    rig.looks(5).await;
    let answer = rig.app.get("/readyz").await;
    assert_eq!((answer.status, &store(&answer.json())["ok"]), (200, &true.into()));
}

#[tokio::test]
async fn a_secret_in_a_title_is_not_said() {
    let mut rig = Rig::new("secrets").await;
    alert(&rig, "password=hunter2hunter2").await;
    rig.looks(5).await;
    rig.breaks();
    rig.looks(40).await;
    let said = rig.slack.messages(RAJ);
    let blocks = said[0].blocks.to_string();
    assert!(blocks.contains("INC-1 P1"), "{blocks}");
    assert!(!blocks.contains("hunter2"), "{blocks}");
    rig.works();
}

#[tokio::test]
async fn a_running_daemon_looks_by_itself_and_tells_the_last_hope_though_it_never_saw_the_store() {
    let rig = Rig::new("daemon").await;
    rig.breaks();
    rig.app.engine.start(&rig.app.tasks);
    let told = async {
        while rig.told(RAJ).is_empty() {
            rig.app.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), told).await.expect("it tells");
    assert!(rig.told(RAJ)[0].contains("its store cannot be reached"));
    rig.works();
    assert_eq!(rig.app.tasks.shut_down(Duration::from_secs(20)).await, None);
}
