//! Escalation: steps, personal lines, acks and what ends them, through real jobs and real clicks.

use paramedic::domain::incident::Status;

use super::*;

const P1: &[(&str, &str)] = &[("severity", "critical")];

#[tokio::test]
async fn unanswered_a_page_goes_on_to_the_next_line_and_the_next_step() {
    let rig = Rig::new().await;
    alert(&rig.app, "firing", P1, 0).await;
    rig.live(1).await;
    assert_eq!((rig.pages(ANA), rig.pages(RAJ)), (1, 0));
    let page = &rig.slack.messages(ANA)[0].text;
    assert!(page.starts_with("PAGE for Ana Lima · P1 triggered"), "{page}");
    rig.live(118).await;
    assert_eq!(rig.app.console().matches("PAGE").count(), 0, "the console is due after 2 m");
    rig.live(2).await;
    assert_eq!(rig.app.console().matches("PAGE").count(), 1);
    rig.live(178).await;
    assert_eq!(rig.pages(RAJ), 0, "the second step is due after 5 m");
    rig.live(2).await;
    assert_eq!((rig.pages(ANA), rig.pages(RAJ)), (1, 1));
    rig.live(121).await;
    assert_eq!(rig.app.console().matches("PAGE").count(), 2, "{}", rig.app.console());
    assert_sound(&rig.app).await;
}

#[tokio::test]
async fn a_click_stops_the_later_lines_and_steps() {
    let rig = Rig::new().await;
    alert(&rig.app, "firing", P1, 0).await;
    rig.live(30).await;
    let told = rig.click("D024BE7LH", ANA, "ack").await;
    assert!(told.starts_with("Ana Lima has INC-1 until 04:00:30 UTC"), "{told}");
    rig.live(360).await;
    assert_eq!((rig.pages(ANA), rig.pages(RAJ)), (1, 0));
    assert!(!rig.app.console().contains("PAGE"));
    let card = &rig.slack.messages(&rig.ops)[0];
    assert!(card.blocks.to_string().contains("Ack: Ana Lima 03:00:30"), "{}", card.blocks);
    assert_eq!(rig.app.engine.store.jobs_of(IncidentId(1)).await.unwrap().len(), 1, "its wake-up");
    assert_sound(&rig.app).await;
}

#[tokio::test]
async fn an_ack_that_expires_asks_first_and_then_starts_a_round_with_the_acker() {
    let rig = Rig::new().await;
    alert(&rig.app, "firing", P1, 0).await;
    rig.live(1).await;
    rig.click(&rig.ops, RAJ, "ack").await;
    rig.app.advance(Duration::from_mins(50));
    rig.live(2).await;
    let thread: Vec<_> =
        rig.slack.messages(&rig.ops).into_iter().filter(|m| m.thread_ts.is_some()).collect();
    assert!(thread.iter().any(|m| m.text.contains("still on it?")), "{thread:#?}");
    assert_eq!(rig.pages(RAJ), 0);
    rig.app.advance(Duration::from_mins(10));
    rig.live(1).await;
    let incident = rig.app.incident(1).await;
    assert_eq!((incident.status, incident.rounds), (Status::Triggered, 2));
    assert_eq!((rig.pages(RAJ), rig.pages(ANA)), (1, 2), "the acker too, and first");
    let order: Vec<_> = messages(&rig.app, 1).await.into_iter().filter(|m| m.round == 2).collect();
    assert_eq!(order.iter().find(|m| m.is_page).unwrap().person, "raj");
    assert_sound(&rig.app).await;
}

#[tokio::test]
async fn a_rise_in_severity_starts_a_round_with_the_assignee_first() {
    let rig = Rig::new().await;
    alert(&rig.app, "firing", &[("severity", "warning")], 0).await;
    rig.live(1).await;
    rig.click(&rig.ops, RAJ, "ack").await;
    alert(&rig.app, "firing", &[("severity", "critical"), ("pod", "b")], 60).await;
    rig.live(1).await;
    let incident = rig.app.incident(1).await;
    assert_eq!((incident.status, incident.rounds), (Status::Triggered, 2));
    assert_eq!((rig.pages(RAJ), rig.pages(ANA)), (1, 2));
    assert_sound(&rig.app).await;
}

#[tokio::test]
async fn a_new_target_pages_the_acker_again_and_a_known_one_only_mentions_them() {
    let rig = Rig::new().await;
    alert(&rig.app, "firing", &[("pod", "a")], 0).await;
    rig.live(1).await;
    rig.click(&rig.ops, RAJ, "ack").await;
    alert(&rig.app, "firing", &[("pod", "a"), ("container", "x")], 0).await;
    rig.live(3).await;
    assert_eq!(rig.app.incident(1).await.status, Status::Acknowledged);
    let said = rig.slack.messages(&rig.ops);
    assert!(said.iter().any(|m| m.blocks.to_string().contains("<@U024BE7RP>")), "{said:#?}");
    alert(&rig.app, "firing", &[("pod", "b")], 0).await;
    rig.live(3).await;
    assert_eq!(rig.app.incident(1).await.rounds, 2);
    assert_eq!(rig.pages(RAJ), 1);
    assert_sound(&rig.app).await;
}

#[tokio::test]
async fn a_click_from_an_earlier_round_and_one_of_a_stranger_are_told_so() {
    let rig = Rig::new().await;
    alert(&rig.app, "firing", &[("severity", "warning")], 0).await;
    rig.live(1).await;
    let old = rig.slack.messages(ANA)[0].ts.clone();
    alert(&rig.app, "firing", &[("severity", "critical"), ("pod", "b")], 60).await;
    rig.live(1).await;
    let told = rig.click_on("D024BE7LH", &old, ANA, "ack").await;
    insta::assert_snapshot!(told, @"that button is from round 1; INC-1 is in round 2 now because severity rose to P1. Press the button on the newest card");
    assert!(rig.app.incident(1).await.ack.is_none());
    let told = rig.click(&rig.ops, "U0STRANGER", "ack").await;
    insta::assert_snapshot!(told, @r#"nothing done: nobody in the on-call files has this contact. Add to your entry under `people`:  contacts: { slack: "U0STRANGER" }"#);
    assert!(rig.app.incident(1).await.ack.is_none());
    assert_sound(&rig.app).await;
}

#[tokio::test]
async fn a_schedule_is_asked_when_the_page_is_sent() {
    let swap = "overrides:\n  - { schedule: secondary, from: \"2026-11-23T03:04\", to: \"2026-11-23T09:00\", replace: raj, with: ana, reason: swap }\n";
    let rig = Rig::with(&format!("{TWO}{swap}"), "").await;
    alert(&rig.app, "firing", P1, 0).await;
    rig.live(301).await;
    assert_eq!((rig.pages(ANA), rig.pages(RAJ)), (2, 0));
    assert_sound(&rig.app).await;
}

const NIGHTS: &str = "
people:
  - { id: ana, name: Ana Lima, contacts: { slack: U024BE7LH }, notify: { default: [ { at: 0m, by: [slack] } ] } }
calendars:
  business: { time_zone: UTC, days: [Mon, Tue, Wed, Thu, Fri], from: \"09:00\", to: \"18:00\" }
policies:
  - id: data
    steps: [ { at: 0m, page: [\"person:ana\"] } ]
    then: { page: [\"person:ana\"], every: 30m }
    hold: { P2: { until: business } }
";

#[tokio::test]
async fn a_held_incident_pages_when_work_begins_or_when_somebody_asks() {
    let rig = Rig::with(NIGHTS, "").await;
    alert(&rig.app, "firing", &[("severity", "warning")], 0).await;
    rig.live(60).await;
    assert_eq!(rig.pages(ANA), 0);
    rig.app.advance(Duration::from_hours(6));
    rig.live(1).await;
    assert_eq!(rig.pages(ANA), 1);
    let rig = Rig::with(NIGHTS, "").await;
    alert(&rig.app, "firing", &[("severity", "warning")], 0).await;
    let acked = act(&rig.app, 1, "ack", &json!({ "by": "Mei" })).await;
    assert_eq!(acked.status, 200);
    let escalated = act(&rig.app, 1, "escalate", &json!({ "by": "Mei" })).await;
    assert_eq!(escalated.status, 200);
    rig.live(2).await;
    assert_eq!(rig.pages(ANA), 1, "whoever escalates now means now");
    assert_sound(&rig.app).await;
}
