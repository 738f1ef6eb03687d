//! Sending to Slack, looking before a repeat, and reading clicks.

use paramedic::{
    domain::card::{Action, Verb},
    notify::{
        Notifier as _,
        press::Press,
        slack::{Slack, SlackSettings, interaction, signature},
    },
};

use super::*;
use crate::fakes::slack::{self as fake, Trouble};

const POST: &str = "chat.postMessage";

async fn workspace() -> (fake::Slack, Slack, Manual) {
    let (clock, hand) = clock();
    let server = fake::Slack::start(clock.clone()).await;
    let settings =
        SlackSettings { token: fake::TOKEN.into(), api_url: server.api_url.parse().unwrap() };
    (server, Slack::new(http(), settings), hand)
}

#[tokio::test]
async fn a_card_is_posted_edited_in_place_and_carries_evidence_in_its_thread() {
    let (server, slack, _) = workspace().await;
    let channel = server.channel("spark-oncall");
    let (first, second, note) = (card_message(1), card_message(2), note());
    let card = slack.send(&delivery("post:12", "#spark-oncall", &first, None)).await.unwrap();
    assert_eq!(card.address, channel);
    let edited = slack.send(&delivery("post:12:2", "#spark-oncall", &second, Some(&card))).await;
    assert_eq!(edited.unwrap(), card);
    let reply =
        slack.send(&delivery("evidence:1", "#spark-oncall", &note, Some(&card))).await.unwrap();
    let messages = server.messages(&channel);
    assert_eq!(messages.len(), 2);
    assert_eq!((messages[0].edits, messages[0].thread_ts.as_deref()), (1, None));
    assert!(messages[0].blocks.to_string().contains("revision 2 of &lt;!channel&gt;"));
    assert_eq!(messages[0].metadata["event_payload"]["key"], "post:12:2");
    assert_eq!(messages[1].thread_ts.as_ref(), Some(&card.id));
    assert_eq!(messages[1].ts, reply.id);
}

#[tokio::test]
async fn a_page_goes_to_the_person() {
    let (server, slack, _) = workspace().await;
    server.person("U024BE7LH");
    let page = page();
    let receipt = slack.send(&delivery("page:1", "U024BE7LH", &page, None)).await.unwrap();
    let messages = server.messages("U024BE7LH");
    assert_eq!((messages.len(), receipt.address.as_str()), (1, "D024BE7LH"));
    assert!(
        messages[0].text.starts_with("PAGE for Ana Lima · P1 triggered"),
        "{}",
        messages[0].text
    );
}

#[tokio::test]
async fn after_an_unclear_attempt_it_looks_and_does_not_repeat_itself() {
    for trouble in [Trouble::DoneThenHtml502, Trouble::DoneThenBroken] {
        let (server, slack, _) = workspace().await;
        let channel = server.channel("spark-oncall");
        server.channel("a");
        server.channel("b");
        server.person("U024BE7LH");
        let (card, page, note) = (card_message(1), page(), note());
        // By name, by id, to a person: each must be found again.
        for (key, address, message) in [
            ("1", "#spark-oncall", &card),
            ("2", channel.as_str(), &card),
            ("3", "U024BE7LH", &page),
        ] {
            server.next(POST, trouble);
            let first = delivery(key, address, message, None);
            assert_eq!(
                outcome(slack.send(&first).await),
                Outcome::Unclear,
                "{trouble:?} {address}"
            );
            let found = slack.send(&again(&first)).await.unwrap();
            assert!(found.id.starts_with("17"), "{found:?}");
        }
        let root =
            Receipt { address: channel.clone(), id: server.messages(&channel)[0].ts.clone() };
        server.next(POST, trouble);
        let evidence = delivery("4", &channel, &note, Some(&root));
        assert_eq!(outcome(slack.send(&evidence).await), Outcome::Unclear);
        slack.send(&again(&evidence)).await.unwrap();
        assert_eq!(server.messages(&channel).len(), 3, "two cards and one reply");
        assert_eq!(server.messages("U024BE7LH").len(), 1);
        let looks = server
            .calls()
            .iter()
            .filter(|c| c.ends_with("history") || c.ends_with("replies"))
            .count();
        assert_eq!(looks, 4, "one look per uncertain send");
    }
}

#[tokio::test]
async fn when_nothing_is_found_it_sends() {
    let (server, slack, _) = workspace().await;
    let channel = server.channel("spark-oncall");
    let card = card_message(1);
    server.next(POST, Trouble::Html502);
    let first = delivery("1", &channel, &card, None);
    assert_eq!(outcome(slack.send(&first).await), Outcome::Unclear);
    slack.send(&again(&first)).await.unwrap();
    assert_eq!(server.messages(&channel).len(), 1);
}

#[tokio::test]
async fn a_message_is_found_although_our_clock_is_behind_slacks() {
    let (server, slack, hand) = workspace().await;
    let channel = server.channel("spark-oncall");
    let card = card_message(1);
    server.next(POST, Trouble::DoneThenHtml502);
    let first = delivery("1", &channel, &card, None);
    assert_eq!(outcome(slack.send(&first).await), Outcome::Unclear);
    hand.set_wall(clock().0.now() - jiff::SignedDuration::from_mins(10));
    slack.send(&again(&first)).await.unwrap();
    assert_eq!(server.messages(&channel).len(), 1);
}

#[tokio::test]
async fn a_look_that_fails_leaves_it_unclear_and_one_that_is_forbidden_marks_the_repeat() {
    let (server, slack, _) = workspace().await;
    let channel = server.channel("spark-oncall");
    let page = page();
    server.next("conversations.history", Trouble::Limited(60));
    let unclear = again(&delivery("1", &channel, &page, None));
    assert_eq!(outcome(slack.send(&unclear).await), Outcome::Unclear);
    assert!(server.messages(&channel).is_empty());
    server.next("conversations.history", Trouble::Says("missing_scope"));
    slack.send(&unclear).await.unwrap();
    let text = &server.messages(&channel)[0].text;
    assert!(text.starts_with("PAGE for Ana Lima (possible repeat)"), "{text}");
}

#[tokio::test]
async fn a_hanging_answer_is_cut_off_by_the_callers_deadline_and_found_by_the_next_attempt() {
    let (server, slack, _) = workspace().await;
    let channel = server.channel("spark-oncall");
    let card = card_message(1);
    server.next(POST, Trouble::DoneThenSilence);
    let first = delivery("1", &channel, &card, None);
    {
        let mut send = std::pin::pin!(slack.send(&first));
        // The caller gives up once the message is there.
        let arrived = async {
            while server.messages(&channel).is_empty() {
                tokio::task::yield_now().await;
            }
        };
        let arrived = std::pin::pin!(arrived);
        let gave_up = futures::future::select(&mut send, arrived).await;
        assert!(matches!(gave_up, futures::future::Either::Right(_)));
    }
    slack.send(&again(&first)).await.unwrap();
    assert_eq!(server.messages(&channel).len(), 1);
}

#[tokio::test]
async fn a_deleted_card_is_told_so_that_it_is_sent_anew() {
    let (server, slack, _) = workspace().await;
    let channel = server.channel("spark-oncall");
    let (first, second, note) = (card_message(1), card_message(2), note());
    let card = slack.send(&delivery("1", &channel, &first, None)).await.unwrap();
    server.delete(&channel, &card.id);
    let edit = delivery("2", &channel, &second, Some(&card));
    assert_eq!(outcome(slack.send(&edit).await), Outcome::CardGone);
    let evidence = delivery("3", &channel, &note, Some(&card));
    assert_eq!(outcome(slack.send(&evidence).await), Outcome::CardGone);
}

#[tokio::test]
async fn refusals_and_limits_have_their_outcomes() {
    let (server, slack, hand) = workspace().await;
    let channel = server.channel("spark-oncall");
    let elsewhere = server.channel_without_us("elsewhere");
    let archived = server.channel("old");
    server.archive(&archived);
    let card = card_message(1);
    for nowhere in [elsewhere.as_str(), archived.as_str(), "#nowhere", "U0NOBODY", "", "\0"] {
        let failure = slack.send(&delivery("1", nowhere, &card, None)).await.unwrap_err();
        assert_eq!(failure.outcome, Outcome::Permanent, "{nowhere:?}: {failure}");
    }
    server.next(POST, Trouble::Limited(7));
    assert_eq!(outcome(slack.send(&delivery("2", &channel, &card, None)).await), later(7));
    server.next(POST, Trouble::Says("service_unavailable"));
    assert_eq!(outcome(slack.send(&delivery("2", &channel, &card, None)).await), later(60));
    let keys = ["a", "b", "c", "d", "e", "f"];
    for key in &keys[..5] {
        slack.send(&delivery(key, &channel, &card, None)).await.unwrap();
    }
    assert_eq!(outcome(slack.send(&delivery(keys[5], &channel, &card, None)).await), later(1));
    hand.advance(Duration::from_secs(1));
    slack.send(&delivery(keys[5], &channel, &card, None)).await.unwrap();
}

#[tokio::test]
async fn a_wrong_token_and_a_dead_server_are_told_apart() {
    let (server, _, _) = workspace().await;
    let card = card_message(1);
    let with = |token: &str, url: &str| {
        let settings = SlackSettings { token: token.into(), api_url: url.parse().unwrap() };
        Slack::new(http(), settings)
    };
    let wrong = with("xoxb-wrong", &server.api_url);
    let failure = wrong.send(&delivery("1", "C0000001", &card, None)).await.unwrap_err();
    insta::assert_snapshot!(failure, @"Slack says invalid_auth: put a valid bot token (xoxb-…) into `slack.token`");
    assert_eq!(failure.outcome, Outcome::Permanent);
    let dead = with("xoxb-secret", "http://127.0.0.1:1/api/");
    let failure = dead.send(&delivery("1", "C0000001", &card, None)).await.unwrap_err();
    assert_eq!(failure.outcome, Outcome::Unclear);
    assert!(!failure.reason.contains("xoxb"), "{failure}");
}

#[tokio::test]
async fn a_click_on_a_card_comes_back_as_a_press_and_can_be_answered() {
    let (server, slack, hand) = workspace().await;
    let channel = server.channel("spark-oncall");
    let card = card_message(1);
    let receipt = slack.send(&delivery("1", &channel, &card, None)).await.unwrap();
    for verb in Verb::ALL {
        let click = server.click(&channel, &receipt.id, "U024BE7LH", verb.id());
        let (now, secret) = (clock().0.now(), fake::SIGNING_SECRET.into());
        let headers = (Some(click.timestamp.as_str()), Some(click.signature.as_str()));
        let verify =
            |now| signature::verify(&secret, headers.0, headers.1, click.body.as_bytes(), now);
        assert_eq!(verify(now), Ok(()));
        assert!(verify(now + Duration::from_secs(301)).is_err());
        let read = interaction::parse(click.body.as_bytes()).unwrap();
        assert_eq!(read.presses, [Press { incident: IncidentId(12), round: 3, verb }]);
        assert_eq!((read.user_id.as_str(), &read.message_ts), ("U024BE7LH", &receipt.id));
        slack.answer(&read, "this card is of an earlier <round>").await.unwrap();
    }
    let answers = server.answers();
    assert_eq!(answers.len(), 5);
    assert_eq!(answers[0]["text"], "this card is of an earlier &lt;round&gt;");
    assert_eq!(
        (&answers[0]["response_type"], &answers[0]["user"]),
        (&"ephemeral".into(), &"U024BE7LH".into())
    );
    hand.advance(Duration::from_secs(1));
}

#[tokio::test]
async fn a_pressed_button_shows_who_pressed_it_and_is_gone() {
    let (server, slack, _) = workspace().await;
    let channel = server.channel("spark-oncall");
    let (first, mut acked) = (card_message(1), card(2));
    acked.actions[0] = Action { verb: Verb::Ack, done_by: "Ana Lima 03:14".to_owned() };
    let acked = Message::Card(acked);
    let receipt = slack.send(&delivery("1", &channel, &first, None)).await.unwrap();
    slack.send(&delivery("2", &channel, &acked, Some(&receipt))).await.unwrap();
    let blocks = server.messages(&channel)[0].blocks.to_string();
    assert!(blocks.contains("Ack: Ana Lima 03:14") && !blocks.contains(":3:ack"), "{blocks}");
}

#[tokio::test]
async fn clicks_are_answered_only_at_slack() {
    let (server, slack, _) = workspace().await;
    let channel = server.channel("spark-oncall");
    let card = card_message(1);
    let receipt = slack.send(&delivery("1", &channel, &card, None)).await.unwrap();
    let click = server.click(&channel, &receipt.id, "U1", "ack");
    let mut read = interaction::parse(click.body.as_bytes()).unwrap();
    for elsewhere in
        ["", "https://evil.example.org/x", "http://169.254.169.254/", "file:///etc/passwd"]
    {
        elsewhere.clone_into(&mut read.response_url);
        assert!(slack.answer(&read, "x").await.is_err(), "{elsewhere}");
    }
}
