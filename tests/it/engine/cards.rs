//! The card in a channel: one message, always the newest content, whatever the channel goes through.

use super::*;
use crate::fakes::slack::Trouble;

const POST: &str = "chat.postMessage";
const UPDATE: &str = "chat.update";

async fn note(rig: &Rig, text: &str) {
    let answer = act(&rig.app, 1, "note", &json!({ "by": "Mei", "text": text })).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    rig.app.pump_until_quiet().await;
}

fn cards(rig: &Rig) -> Vec<crate::fakes::slack::Message> {
    rig.slack.messages(&rig.ops).into_iter().filter(|m| m.thread_ts.is_none()).collect()
}

fn thread(rig: &Rig) -> Vec<String> {
    let all = rig.slack.messages(&rig.ops).into_iter();
    all.filter(|m| m.thread_ts.is_some()).map(|m| m.blocks.to_string()).collect()
}

#[tokio::test]
async fn a_card_is_one_message_with_the_newest_content_and_notes_hang_under_it_once() {
    let rig = Rig::new().await;
    alert(&rig.app, "firing", &[], 0).await;
    for text in ["first look", "second look"] {
        note(&rig, text).await;
        rig.live(5).await;
    }
    alert(&rig.app, "resolved", &[], 0).await;
    rig.live(130).await;
    let cards = cards(&rig);
    assert_eq!(cards.len(), 1);
    assert!(cards[0].edits > 0 && cards[0].text.contains("resolved"), "{}", cards[0].text);
    let thread = thread(&rig);
    for text in ["first look", "second look"] {
        assert_eq!(thread.iter().filter(|m| m.contains(text)).count(), 1, "{text}: {thread:#?}");
    }
    assert_sound(&rig.app).await;
}

#[tokio::test]
async fn a_dead_channel_is_said_once_and_is_used_again_when_it_is_back() {
    let rig = Rig::new().await;
    rig.slack.archive(&rig.ops);
    alert(&rig.app, "firing", &[], 0).await;
    note(&rig, "while it is away").await;
    rig.live(900).await;
    let said = history(&rig.app, 1).await;
    assert_eq!(said.matches("could not post to ops: Slack says is_archived").count(), 1, "{said}");
    rig.slack.restore(&rig.ops);
    rig.live(310).await;
    assert_eq!(cards(&rig).len(), 1);
    assert_eq!(thread(&rig).iter().filter(|m| m.contains("while it is away")).count(), 1);
    assert_sound(&rig.app).await;
}

#[tokio::test]
async fn two_dead_channels_do_not_keep_each_other_busy() {
    let (clock, hand) = Clock::manual(START.parse().unwrap());
    let slack = Slack::start(clock.clone()).await;
    let (a, b) = (slack.channel("a"), slack.channel("b"));
    // Each refusal with another reason.
    for reason in ["x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9"] {
        slack.next(POST, Trouble::Says(reason));
    }
    let yaml = format!(
        "channels: {{ a: {{ slack: {a} }}, b: {{ slack: {b} }} }}\ndefault_policy: default\n\
         slack: {{ token: {{ env: FAKE_SLACK }}, api_url: \"{}\" }}\n",
        slack.api_url
    );
    let app = TestApp::at((clock, hand), &yaml, &[], vec![]).await;
    alert(&app, "firing", &[], 0).await;
    live(&app, 10).await;
    let tried = slack.calls().iter().filter(|call| *call == POST).count();
    // Each with each change of the incident (it opened, it paged, the page arrived), none because of the other.
    assert!(tried <= 6, "{tried} attempts in ten seconds");
    live(&app, 60).await;
    let later = slack.calls().iter().filter(|call| *call == POST).count();
    assert_eq!(later, tried, "tried again although nothing changed");
    live(&app, 900).await;
    for channel in [&a, &b] {
        assert_eq!(slack.messages(channel).len(), 1, "{}", history(&app, 1).await);
    }
    assert_sound(&app).await;
}

#[tokio::test]
async fn a_channel_that_asks_for_patience_gets_it_whatever_happens_meanwhile() {
    let rig = Rig::new().await;
    rig.slack.next(POST, Trouble::Limited(30));
    let body = payload(&[("firing", &[("alertname", "A"), ("severity", "info")], 0)]);
    rig.app.post_alerts(&body).await;
    for _ in 0..4 {
        rig.app.engine.pump().await.unwrap();
    }
    rig.app.pump_until_quiet().await;
    let tried = |rig: &Rig| rig.slack.calls().iter().filter(|call| *call == POST).count();
    let (before, ana) = (tried(&rig), rig.pages(ANA));
    for second in 0..4 {
        note(&rig, &format!("note {second}")).await;
        rig.live(5).await;
    }
    assert_eq!(tried(&rig), before + rig.pages(ANA) - ana);
    rig.live(30).await;
    assert_eq!(cards(&rig).len(), 1);
    assert_sound(&rig.app).await;
}

#[tokio::test]
async fn a_card_that_was_deleted_is_sent_anew() {
    let rig = Rig::new().await;
    alert(&rig.app, "firing", &[], 0).await;
    rig.slack.delete(&rig.ops, &cards(&rig)[0].ts);
    note(&rig, "where is the card?").await;
    rig.live(10).await;
    assert_eq!(cards(&rig).len(), 1);
    assert_sound(&rig.app).await;
}

#[tokio::test]
async fn a_card_left_open_in_a_broken_channel_is_corrected_after_it_resolved() {
    let rig = Rig::new().await;
    alert(&rig.app, "firing", &[], 0).await;
    for _ in 0..40 {
        rig.slack.next(UPDATE, Trouble::Html502);
    }
    alert(&rig.app, "resolved", &[], 0).await;
    rig.live(130).await;
    assert!(!rig.app.incident(1).await.is_open());
    assert!(cards(&rig)[0].text.contains("triggered"));
    for _ in 0..40 {
        rig.app.advance(Duration::from_secs(301));
        rig.app.pump_until_quiet().await;
    }
    assert!(cards(&rig)[0].text.contains("resolved"), "{}", cards(&rig)[0].text);
    assert_sound(&rig.app).await;
}

#[tokio::test]
async fn a_card_whose_channel_was_given_up_for_a_while_is_looked_for_before_it_is_sent_again() {
    let rig = Rig::new().await;
    rig.slack.next(POST, Trouble::DoneThenHtml502);
    for _ in 0..5 {
        rig.slack.next("conversations.history", Trouble::Limited(1));
    }
    let body = payload(&[("firing", &[("alertname", "A"), ("severity", "info")], 0)]);
    rig.app.post_alerts(&body).await;
    rig.live(60).await;
    let said = history(&rig.app, 1).await;
    assert!(said.contains("could not post to ops"), "{said}");
    rig.live(310).await;
    assert_eq!(cards(&rig).len(), 1);
    assert_sound(&rig.app).await;
}

#[tokio::test]
async fn a_card_that_waits_for_its_turn_after_a_lost_answer_is_looked_for_all_the_same() {
    let rig = Rig::new().await;
    rig.slack.next(POST, Trouble::DoneThenHtml502);
    let names = ["A", "B", "C", "D", "E", "F"];
    for name in names {
        let body = payload(&[("firing", &[("alertname", name), ("severity", "info")], 0)]);
        rig.app.post_alerts(&body).await;
    }
    rig.live(60).await;
    assert_eq!(cards(&rig).len(), names.len());
    assert_sound(&rig.app).await;
}

#[tokio::test]
async fn a_card_whose_first_answer_was_lost_is_brought_up_to_date_once_it_is_found() {
    let rig = Rig::new().await;
    rig.slack.next(POST, Trouble::DoneThenHtml502);
    let body = payload(&[("firing", &[("alertname", "A"), ("severity", "info")], 0)]);
    rig.app.post_alerts(&body).await;
    while cards(&rig).is_empty() {
        rig.app.engine.pump().await.unwrap();
    }
    let answer = act(&rig.app, 1, "ack", &json!({ "by": "Mei" })).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    rig.live(20).await;
    assert_eq!(cards(&rig).len(), 1);
    assert!(cards(&rig)[0].text.contains("acknowledged"), "{}", cards(&rig)[0].text);
    assert_sound(&rig.app).await;
}
