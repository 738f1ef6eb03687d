//! Signed webhooks: identity, rotation, outcomes.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use paramedic::notify::{
    Notifier as _,
    webhook::{Webhook, WebhookSettings},
};
use secrecy::SecretString;

use super::*;
use crate::fakes::webhook_receiver::{Answer, WebhookReceiver};

const KEY: [u8; 32] = [7; 32];

fn secret(key: &[u8]) -> SecretString {
    format!("whsec_{}", STANDARD.encode(key)).into()
}

async fn receiver(secrets: Vec<SecretString>) -> (WebhookReceiver, Webhook, Manual) {
    let (clock, hand) = clock();
    let server = WebhookReceiver::start(clock.clone(), &KEY).await;
    let webhook = Webhook::new(http(), &WebhookSettings { secrets }, clock).unwrap();
    (server, webhook, hand)
}

#[tokio::test]
async fn every_message_is_one_signed_event() {
    let (server, webhook, _) = receiver(vec![secret(&KEY)]).await;
    let (first, second, note, page) = (card_message(1), card_message(2), note(), page());
    let card = webhook.send(&delivery("post:12", &server.url, &first, None)).await.unwrap();
    let edited = webhook.send(&delivery("post:12:2", &server.url, &second, Some(&card))).await;
    assert_eq!(edited.unwrap(), card);
    webhook.send(&delivery("evidence:1", &server.url, &note, Some(&card))).await.unwrap();
    webhook.send(&delivery("page:1", &server.url, &page, None)).await.unwrap();
    let kept = server.kept();
    let told: Vec<_> = kept
        .iter()
        .map(|(id, event)| {
            let (kind, data) = (event["type"].as_str().unwrap(), &event["data"]);
            format!("{id}: {kind} about {} revision {}", data["about"], data["card"]["revision"])
        })
        .collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    post:12: incident.card about "" revision 1
    post:12:2: incident.card about "post:12" revision 2
    evidence:1: incident.evidence about "post:12" revision null
    page:1: incident.page about "" revision 1
    "#);
    assert_eq!(kept[0].1["data"]["incident"], "INC-12");
}

#[tokio::test]
async fn a_repeat_has_the_same_id_and_its_own_time() {
    let (server, webhook, hand) = receiver(vec![secret(&KEY)]).await;
    let card = card_message(1);
    let first = delivery("post:12", &server.url, &card, None);
    server.next(Answer::KeepsThen(500));
    assert_eq!(outcome(webhook.send(&first).await), Outcome::Retry { after: None });
    hand.advance(Duration::from_mins(10));
    webhook.send(&again(&first)).await.unwrap();
    let attempts = server.attempts();
    assert_eq!(attempts[0].0, attempts[1].0);
    assert_eq!(attempts[1].1 - attempts[0].1, 600);
    assert_eq!(server.kept().len(), 1);
}

#[tokio::test]
async fn while_a_secret_is_rotated_receivers_of_either_accept() {
    for secrets in [vec![secret(&KEY), secret(&[8; 24])], vec![secret(&[8; 24]), secret(&KEY)]] {
        let (server, webhook, _) = receiver(secrets).await;
        let card = card_message(1);
        webhook.send(&delivery("1", &server.url, &card, None)).await.unwrap();
        assert_eq!(server.kept().len(), 1);
    }
}

#[tokio::test]
async fn each_answer_has_its_outcome() {
    let (server, webhook, _) = receiver(vec![secret(&KEY)]).await;
    let card = card_message(1);
    let first = delivery("1", &server.url, &card, None);
    for status in [301, 307, 400, 401, 404, 410] {
        server.next(Answer::Refuses(status));
        let failure = webhook.send(&first).await.unwrap_err();
        assert_eq!(failure.outcome, Outcome::Permanent, "{status}");
        assert!(!failure.reason.contains("do-not-log"), "{failure}");
    }
    for status in [429, 502, 503, 504] {
        server.next(Answer::Later(status, 30));
        assert_eq!(outcome(webhook.send(&first).await), later(30), "{status}");
    }
    assert!(server.kept().is_empty());
    for nowhere in ["", "x", "file:///etc/passwd", "javascript:alert(1)"] {
        let failed = webhook.send(&delivery("2", nowhere, &card, None)).await;
        assert_eq!(outcome(failed), Outcome::Permanent, "{nowhere}");
    }
    let dead = webhook.send(&delivery("3", "http://127.0.0.1:1/?t=secret", &card, None)).await;
    let failure = dead.unwrap_err();
    assert_eq!(failure.outcome, Outcome::Retry { after: None });
    assert!(!failure.reason.contains("secret"), "{failure}");
}

#[tokio::test]
async fn a_signature_of_another_secret_is_refused() {
    let (server, webhook, _) = receiver(vec![secret(&[9; 32])]).await;
    let card = card_message(1);
    let failed = webhook.send(&delivery("1", &server.url, &card, None)).await;
    assert_eq!(outcome(failed), Outcome::Permanent);
    let surprised =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| server.assert_no_surprises()));
    assert!(surprised.is_err(), "the fake must notice a wrong signature");
}
