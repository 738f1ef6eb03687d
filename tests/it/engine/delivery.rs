//! Pages when the other side fails: retried, failed over at the deadline, never silent, never needlessly twice.

use super::*;
use crate::fakes::slack::Trouble;

const POST: &str = "chat.postMessage";

/// A rig whose only Slack messages are pages.
async fn only_pages(oncall: &str) -> Rig {
    let (clock, hand) = Clock::manual(START.parse().unwrap());
    let slack = Slack::start(clock.clone()).await;
    slack.person(ANA);
    slack.person(RAJ);
    let yaml = format!(
        "default_policy: data\nchannels: {{ screen: console }}\noncall: {{ dir: oncall.yaml }}\n\
         slack: {{ token: {{ env: FAKE_SLACK }}, signing_secret: {{ env: FAKE_SIGNING }}, api_url: \"{}\" }}\n",
        slack.api_url
    );
    let app = TestApp::at((clock, hand), &yaml, &[("oncall.yaml", oncall)], vec![]).await;
    Rig { app, slack, ops: String::new() }
}

fn posts(rig: &Rig) -> usize {
    rig.slack.calls().iter().filter(|call| *call == POST).count()
}

fn console_pages(rig: &Rig) -> usize {
    rig.app.console().matches("PAGE").count()
}

#[tokio::test]
async fn a_page_is_tried_again_after_1_2_and_4_seconds_and_arrives_once() {
    let rig = only_pages(TWO).await;
    // Taken, then a proxy's error page: only a look can tell.
    for trouble in [Trouble::Html502, Trouble::Html502, Trouble::Html502, Trouble::DoneThenBroken] {
        rig.slack.next(POST, trouble);
    }
    alert(&rig.app, "firing", &[], 0).await;
    let mut tried = vec![(0, posts(&rig))];
    for second in 1..=20 {
        rig.live(1).await;
        if posts(&rig) != tried.last().unwrap().1 {
            tried.push((second, posts(&rig)));
        }
    }
    assert_eq!(tried, [(0, 1), (1, 2), (3, 3), (7, 4)]);
    assert_eq!(rig.pages(ANA), 1);
    let said = history(&rig.app, 1).await;
    assert!(said.contains("paged Ana Lima by slack: delivered"), "{said}");
    assert_sound(&rig.app).await;
}

#[tokio::test]
async fn at_the_deadline_the_next_contact_is_used_and_the_card_says_so() {
    let rig = only_pages(TWO).await;
    for _ in 0..20 {
        rig.slack.next(POST, Trouble::Html502);
    }
    alert(&rig.app, "firing", &[], 0).await;
    rig.live(59).await;
    assert_eq!(console_pages(&rig), 0);
    rig.live(1).await;
    assert_eq!(console_pages(&rig), 1, "{}", history(&rig.app, 1).await);
    assert!(rig.app.console().contains("slack did not work"), "{}", rig.app.console());
    let said = history(&rig.app, 1).await;
    assert!(said.contains("COULD NOT page Ana Lima by slack: Slack answered HTTP 502"), "{said}");
    assert_sound(&rig.app).await;
}

#[tokio::test]
async fn a_wait_that_the_other_side_asks_for_never_goes_past_the_deadline() {
    for (waits, tries, failover) in
        [(vec![20, 20], 3, None), (vec![50, 50], 2, Some(50)), (vec![90], 1, Some(0))]
    {
        let rig = only_pages(TWO).await;
        for wait in &waits {
            rig.slack.next(POST, Trouble::Limited(*wait));
        }
        alert(&rig.app, "firing", &[], 0).await;
        let mut at = (console_pages(&rig) > 0).then_some(0);
        for second in 1..=90 {
            rig.live(1).await;
            if at.is_none() && console_pages(&rig) > 0 {
                at = Some(second);
            }
        }
        assert_eq!((posts(&rig), at), (tries, failover), "{waits:?}");
        assert_eq!(rig.pages(ANA), usize::from(failover.is_none()));
        assert_sound(&rig.app).await;
    }
}

const DEAD: &str = "
people:
  - { id: ana, name: Ana Lima, contacts: { slack: U0GONE00 }, notify: { default: [ { at: 0m, by: [slack] } ] } }
  - { id: raj, name: Raj Patel, contacts: { slack: U024BE7RP }, notify: { default: [ { at: 0m, by: [slack] } ] } }
policies:
  - { id: data, steps: [ { at: 0m, page: [\"person:ana\"] }, { at: 30m, page: [\"person:raj\"] } ], then: { page: [\"person:ana\"], every: 30m } }
";

#[tokio::test]
async fn when_nothing_reaches_a_person_the_next_step_comes_at_once_and_loudly() {
    let rig = only_pages(DEAD).await;
    alert(&rig.app, "firing", &[("severity", "critical")], 0).await;
    rig.live(1).await;
    assert_eq!(rig.pages(RAJ), 1);
    let said = history(&rig.app, 1).await;
    assert!(said.contains("COULD NOT page Ana Lima by slack"), "{said}");
    assert!(said.contains("paging the next step now"), "{said}");
    assert_sound(&rig.app).await;
}

#[tokio::test]
async fn an_empty_schedule_is_skipped_at_once() {
    let gap = TWO.replace("handoff: \"Mon 09:00\", since: 2026-01-05, people: [ana] }", "handoff: \"Mon 09:00\", since: 2026-01-05, people: [ana], only: { days: [Sun], from: \"10:00\", to: \"11:00\" } }");
    assert_ne!(gap, TWO);
    let rig = only_pages(&gap).await;
    alert(&rig.app, "firing", &[], 0).await;
    rig.live(1).await;
    assert_eq!((rig.pages(ANA), rig.pages(RAJ)), (0, 1));
    let said = history(&rig.app, 1).await;
    assert!(said.contains("nobody to page at schedule:primary: going on at once"), "{said}");
    assert_sound(&rig.app).await;
}

/// Runs jobs until a delivery waits to be claimed.
async fn until_deliverable(rig: &Rig) {
    for _ in 0..10 {
        let waiting = rig.app.engine.store.job_counts().await.unwrap();
        if waiting.iter().any(|(kind, _)| kind == "deliver") {
            return;
        }
        rig.app.engine.pump().await.unwrap();
    }
    panic!("no page came");
}

#[tokio::test]
async fn an_ack_before_the_page_left_keeps_it_from_leaving() {
    let rig = only_pages(TWO).await;
    let body = payload(&[("firing", &[("alertname", "A")], 0)]);
    rig.app.post_alerts(&body).await;
    until_deliverable(&rig).await;
    assert_eq!(act(&rig.app, 1, "ack", &json!({ "by": "Mei" })).await.status, 200);
    rig.live(1).await;
    assert_eq!((rig.pages(ANA), posts(&rig)), (0, 0));
    assert_sound(&rig.app).await;
}

#[tokio::test]
async fn a_resolve_before_the_page_left_keeps_it_from_leaving() {
    let rig = only_pages(TWO).await;
    rig.app.post_alerts(&payload(&[("firing", &[("alertname", "A")], 0)])).await;
    until_deliverable(&rig).await;
    rig.app.post_alerts(&payload(&[("resolved", &[("alertname", "A")], 0)])).await;
    rig.live(125).await;
    assert!(!rig.app.incident(1).await.is_open());
    assert_eq!((rig.pages(ANA), posts(&rig)), (0, 0));
    assert_sound(&rig.app).await;
}

#[tokio::test]
async fn a_person_reached_through_two_targets_of_a_step_is_paged_once() {
    let both = TWO.replace(
        "{ at: 0m, page: [\"schedule:primary\"] }",
        "{ at: 0m, page: [\"schedule:primary\", \"person:ana\"] }",
    );
    let rig = only_pages(&both).await;
    alert(&rig.app, "firing", &[], 0).await;
    rig.live(10).await;
    assert_eq!(rig.pages(ANA), 1);
    assert_sound(&rig.app).await;
}

#[tokio::test]
async fn a_page_that_leaves_late_says_so() {
    let rig = only_pages(TWO).await;
    rig.app.post_alerts(&payload(&[("firing", &[("alertname", "A")], 0)])).await;
    rig.app.engine.pump().await.unwrap();
    rig.app.advance(Duration::from_mins(4));
    rig.app.pump_until_quiet().await;
    let page = rig.slack.messages(ANA)[0].text.clone();
    assert!(page.contains("late by 4m"), "{page}");
    assert_sound(&rig.app).await;
}

#[tokio::test]
async fn pages_that_wait_their_turn_at_a_slow_address_go_to_the_next_contact_after_a_minute() {
    let rig = only_pages(TWO).await;
    // Slack takes one message a second per address; the incidents have nothing in common.
    let names: Vec<String> = (0..90).map(|number| format!("Broken{number}")).collect();
    for name in &names {
        let labels = [("alertname", name.as_str()), ("namespace", name.as_str())];
        rig.app.post_alerts(&payload(&[("firing", &labels, 0)])).await;
    }
    rig.app.pump_until_quiet().await;
    rig.live(75).await;
    let (by_slack, by_console) = (rig.pages(ANA), console_pages(&rig));
    assert!(by_slack <= 65, "{by_slack}");
    assert!(by_slack + by_console >= names.len(), "{by_slack} by Slack, {by_console} by console");
    assert_sound(&rig.app).await;
}
