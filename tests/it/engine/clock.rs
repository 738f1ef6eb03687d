//! A wall clock that is wrong: ahead and set back, or years off. A page is never later for it.

use jiff::{SignedDuration, Timestamp};
use paramedic::{
    domain::incident::Command,
    engine::{change::Along, correlate::Applied},
    store::JobEnd,
};

use super::*;
use crate::fakes::slack::Trouble;

/// The clock is ahead by this while the incident opens.
async fn opened_ahead(by: SignedDuration) -> Rig {
    let rig = Rig::new().await;
    rig.app.engine.plant_loops().await.unwrap();
    rig.app.pump_until_quiet().await;
    let right: Timestamp = rig.app.engine.now();
    rig.app.hand.set_wall(right + by);
    alert(&rig.app, "firing", &[("severity", "critical")], 0).await;
    assert_eq!(rig.pages(ANA), 1);
    rig.app.hand.set_wall(right);
    rig
}

#[tokio::test]
async fn what_a_clock_planned_that_was_ahead_comes_when_it_would_have_come() {
    for hours in [1, 24 * 365 * 10] {
        let rig = opened_ahead(SignedDuration::from_hours(hours)).await;
        rig.app.engine.check_clock().await.unwrap();
        rig.app.pump_until_quiet().await;
        // The next step is five minutes after the first.
        rig.live(285).await;
        assert_eq!(rig.pages(RAJ), 0);
        rig.live(30).await;
        assert_eq!(rig.pages(RAJ), 1, "{}", history(&rig.app, 1).await);
        let said = history(&rig.app, 1).await;
        assert!(said.contains("our clock was ahead by"), "{said}");
        rig.app.engine.check_clock().await.unwrap();
        let said = history(&rig.app, 1).await;
        assert_eq!(said.matches("our clock was ahead").count(), 1, "once is enough: {said}");
        assert_sound(&rig.app).await;
    }
}

#[tokio::test]
async fn loops_and_the_lines_of_a_persons_rules_come_in_time_too() {
    let rig = opened_ahead(SignedDuration::from_hours(48)).await;
    rig.app.engine.check_clock().await.unwrap();
    rig.app.pump_until_quiet().await;
    // Ana's second line: by console, two minutes after the first.
    let pages = || rig.app.console().matches(">>> PAGE for Ana Lima").count();
    assert_eq!(pages(), 0);
    rig.live(130).await;
    assert_eq!(pages(), 1);
    assert_sound(&rig.app).await;
}

#[tokio::test]
async fn a_clock_that_was_behind_and_is_set_right_loses_nothing() {
    let rig = Rig::new().await;
    let right: Timestamp = rig.app.engine.now();
    rig.app.hand.set_wall(right - SignedDuration::from_hours(24 * 365 * 10));
    alert(&rig.app, "firing", &[("severity", "critical")], 0).await;
    rig.app.hand.set_wall(right);
    rig.app.engine.check_clock().await.unwrap();
    rig.app.pump_until_quiet().await;
    // The step of now is the last one, which pages both.
    assert_eq!((rig.pages(ANA), rig.pages(RAJ)), (2, 2), "{}", history(&rig.app, 1).await);
    rig.live(3).await;
    assert_sound(&rig.app).await;
}

#[tokio::test]
async fn what_happens_before_the_clock_is_looked_at_hides_nothing() {
    let rig = opened_ahead(SignedDuration::from_hours(2)).await;
    alert(&rig.app, "firing", &[("severity", "critical"), ("instance", "b")], 0).await;
    rig.app.engine.check_clock().await.unwrap();
    rig.live(315).await;
    assert_eq!(rig.pages(RAJ), 1, "{}", history(&rig.app, 1).await);
    let said = history(&rig.app, 1).await;
    assert_eq!(said.matches("our clock was ahead").count(), 1, "once is enough: {said}");
    assert_sound(&rig.app).await;
}

#[tokio::test]
async fn a_job_whose_worker_died_while_the_clock_was_ahead_is_taken_over() {
    let rig = Rig::new().await;
    let right: Timestamp = rig.app.engine.now();
    rig.app.hand.set_wall(right + SignedDuration::from_hours(1));
    let labels = [("alertname", "A"), ("namespace", "n"), ("severity", "critical")];
    rig.app.post_alerts(&payload(&[("firing", &labels, 0)])).await;
    while rig.app.engine.apply_next().await.unwrap() != Applied::Nothing {}
    // Whoever was to take the first step is gone.
    drop(rig.app.engine.claim_lane(0).await.unwrap());
    rig.app.hand.set_wall(right);
    rig.app.engine.check_clock().await.unwrap();
    rig.live(60).await;
    assert_eq!(rig.pages(ANA), 1, "{}", history(&rig.app, 1).await);
}

#[tokio::test]
async fn the_card_of_what_was_resolved_by_a_clock_ahead_is_corrected_in_time() {
    let rig = Rig::new().await;
    alert(&rig.app, "firing", &[], 0).await;
    let right: Timestamp = rig.app.engine.now();
    rig.app.hand.set_wall(right + SignedDuration::from_hours(2));
    alert(&rig.app, "resolved", &[], 0).await;
    rig.live(100).await;
    rig.slack.next("chat.update", Trouble::Limited(60));
    act(&rig.app, 1, "note", &json!({ "by": "Mei", "text": "is it over?" })).await;
    while rig.app.incident(1).await.is_open() {
        rig.live(1).await;
    }
    let card = || rig.slack.messages(&rig.ops)[0].text.clone();
    assert!(!card().contains("resolved"), "{}", card());
    rig.app.hand.set_wall(right + SignedDuration::from_mins(3));
    rig.app.engine.check_clock().await.unwrap();
    rig.live(70).await;
    assert!(card().contains("resolved"), "{}", card());
    assert_sound(&rig.app).await;
}

#[tokio::test]
async fn a_next_attempt_that_a_clock_ahead_planned_comes_in_time() {
    let rig = Rig::new().await;
    rig.slack.archive(&rig.ops);
    alert(&rig.app, "firing", &[], 0).await;
    rig.live(20).await;
    let right: Timestamp = rig.app.engine.now();
    let started = rig.app.incident(1).await.seq;
    // The channel is asked again, and refuses again: no event, and five minutes from then.
    rig.app.hand.set_wall(right + SignedDuration::from_hours(5));
    let claimed = rig.app.engine.claim_lane(1).await.unwrap();
    for job in claimed {
        let asked = rig.app.engine.clock.monotonic();
        rig.app.engine.run_leased(job, asked).await;
    }
    assert_eq!(rig.app.incident(1).await.seq, started);
    rig.app.hand.set_wall(right);
    rig.slack.restore(&rig.ops);
    rig.app.engine.check_clock().await.unwrap();
    rig.live(5).await;
    assert_eq!(rig.slack.messages(&rig.ops).len(), 1);
    assert_sound(&rig.app).await;
}

#[tokio::test]
async fn a_wake_up_that_was_found_due_as_the_clock_was_set_back_is_not_lost() {
    let rig = Rig::new().await;
    alert(&rig.app, "firing", &[("severity", "critical")], 0).await;
    rig.app.advance(Duration::from_secs(301));
    let claimed = rig.app.engine.claim_lane(0).await.unwrap();
    let wake = claimed.into_iter().find(|job| job.kind == "wake").unwrap();
    let end = JobEnd { id: wake.id, fence: wake.fence, again: None };
    rig.app.hand.set_wall(wake.due - SignedDuration::from_secs(20));
    let along = Along { not_before: wake.due, ..Along::job(end) };
    let id = wake.incident.unwrap();
    rig.app.engine.change(id, vec![Command::Wake], along).await.unwrap();
    assert!(rig.app.engine.store.without_wake_up().await.unwrap().is_empty());
    rig.live(30).await;
    assert_eq!(rig.pages(RAJ), 1, "{}", history(&rig.app, 1).await);
    assert_sound(&rig.app).await;
}
