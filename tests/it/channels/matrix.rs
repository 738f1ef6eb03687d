//! Sending to Matrix: edits, threads, repeats, direct rooms, encryption, refusals.

use paramedic::notify::{
    Notifier as _,
    matrix::{Matrix, MatrixSettings},
};
use serde_json::json;

use super::*;
use crate::fakes::matrix::{self as fake, Trouble};

fn client(server: &fake::Matrix, token: &str, clear: bool) -> Matrix {
    let settings = MatrixSettings {
        homeserver: server.url.parse().unwrap(),
        token: token.into(),
        clear_text_in_encrypted_rooms: clear,
        per_second: 0.2,
        burst: 10,
    };
    Matrix::new(http(), settings, clock().0)
}

async fn server() -> (fake::Matrix, Matrix) {
    let server = fake::Matrix::start().await;
    let matrix = client(&server, fake::TOKEN, false);
    (server, matrix)
}

#[tokio::test]
async fn a_card_is_sent_edited_in_place_and_carries_evidence_in_its_thread() {
    let (server, matrix) = server().await;
    let room = server.room("#data:test");
    let (first, second, third, note) = (card_message(1), card_message(2), card_message(3), note());
    let card = matrix.send(&delivery("post:12", "#data:test", &first, None)).await.unwrap();
    assert_eq!(card.address, room);
    for (key, message) in [("post:12:2", &second), ("post:12:3", &third)] {
        let edited = matrix.send(&delivery(key, "#data:test", message, Some(&card))).await.unwrap();
        assert_eq!(edited, card, "later edits must name the original");
    }
    matrix.send(&delivery("evidence:1", "#data:test", &note, Some(&card))).await.unwrap();
    let shown = server.messages(&room);
    assert_eq!(shown.len(), 2);
    assert_eq!((shown[0].edits, &shown[0].thread), (2, &None));
    let body = shown[0].content["body"].as_str().unwrap();
    assert!(body.contains("revision 3 of <!channel>"), "{body}");
    let html = shown[0].content["formatted_body"].as_str().unwrap();
    assert!(html.contains("revision 3 of &lt;!channel&gt; &amp; friends"), "{html}");
    assert_eq!(shown[1].thread.as_ref(), Some(&card.id));
    let lookups = server.requests().iter().filter(|r| r.contains("directory")).count();
    assert_eq!(lookups, 1, "an alias is looked up once");
}

#[tokio::test]
async fn a_repeat_makes_no_second_event_whatever_was_lost() {
    let (server, matrix) = server().await;
    let room = server.room("#data:test");
    let (first, newer) = (card_message(1), card_message(2));
    for trouble in [Trouble::DoneThenHtml504, Trouble::DoneThenBroken, Trouble::Html502] {
        server.next(trouble);
        let failed = matrix.send(&delivery("k", &room, &first, None)).await;
        assert_eq!(outcome(failed), Outcome::Retry { after: None }, "{trouble:?}");
    }
    let once = matrix.send(&delivery("k", &room, &first, None)).await.unwrap();
    // The first send of a card keeps its transaction when a newer revision is what is retried.
    assert_eq!(matrix.send(&delivery("k", &room, &newer, None)).await.unwrap(), once);
    assert_eq!(server.messages(&room).len(), 1);
    let other = client(&server, fake::TOKEN, false);
    assert_eq!(
        other.send(&delivery("k", &room, &first, None)).await.unwrap(),
        once,
        "after a restart"
    );
}

#[tokio::test]
async fn a_page_finds_the_persons_direct_room_or_makes_one() {
    let (server, matrix) = server().await;
    let page = page();
    let send = |key| {
        let (matrix, page) = (&matrix, &page);
        async move { matrix.send(&delivery(key, "@ana:test", page, None)).await.unwrap() }
    };
    let (one, two) = futures::join!(send("1"), send("2"));
    assert_eq!(one.address, two.address, "two pages at once make one room");
    let shown = server.messages(&one.address);
    assert_eq!(shown[0].content["m.mentions"], json!({"user_ids": ["@ana:test"]}));
    assert_eq!(shown[0].content["msgtype"], "m.text");
    let after_restart = client(&server, fake::TOKEN, false);
    let three = after_restart.send(&delivery("3", "@ana:test", &page, None)).await.unwrap();
    assert_eq!(three.address, one.address);
    server.leave(&one.address, "@ana:test");
    let four = send("4").await;
    assert_ne!(four.address, one.address, "nobody reads a room she left");
    assert_eq!(send("5").await.address, four.address);
    assert_eq!(server.rooms().len(), 2);
}

#[tokio::test]
async fn a_direct_room_that_was_made_and_not_recorded_is_found_by_its_mark() {
    let (server, matrix) = server().await;
    let page = page();
    // Somebody else says that his room is ours for Ana.
    let forged = server.room_of("@mallory:test", json!({ "io.paramedic.direct": "@ana:test" }));
    server.records_nothing(2);
    let first = matrix.send(&delivery("1", "@ana:test", &page, None)).await.unwrap();
    assert_ne!(first.address, forged);
    // As after a kill before it was recorded, twice; then it is recorded.
    for key in ["2", "3", "4"] {
        let after_restart = client(&server, fake::TOKEN, false);
        let again = after_restart.send(&delivery(key, "@ana:test", &page, None)).await.unwrap();
        assert_eq!(again.address, first.address);
    }
    let looks = server.requests().iter().filter(|r| r.contains("joined_rooms")).count();
    assert_eq!(looks, 3, "a recorded room is not looked for");
    let raj = matrix.send(&delivery("5", "@raj:test", &page, None)).await.unwrap();
    assert_ne!(raj.address, first.address);
    server.leave(&first.address, "@ana:test");
    let anew = matrix.send(&delivery("6", "@ana:test", &page, None)).await.unwrap();
    assert!(![&first.address, &forged].contains(&&anew.address), "a room that Ana left");
}

#[tokio::test]
async fn encrypted_rooms_are_refused_unless_clear_text_was_chosen() {
    let (server, matrix) = server().await;
    let room = server.room("#secret:test");
    server.encrypt(&room);
    let card = card_message(1);
    let failure = matrix.send(&delivery("k", &room, &card, None)).await.unwrap_err();
    insta::assert_snapshot!(failure, @"room !room1_Jd-Hj6 is encrypted, and a message in clear text would leak; use another room, or set `matrix.clear_text_in_encrypted_rooms`");
    assert_eq!(failure.outcome, Outcome::Permanent);
    assert!(server.events(&room).is_empty());
    let clear = client(&server, fake::TOKEN, true);
    clear.send(&delivery("k", &room, &card, None)).await.unwrap();
    assert_eq!(server.messages(&room).len(), 1);
}

#[tokio::test]
async fn an_invitation_is_followed_and_a_closed_door_is_told() {
    let (server, matrix) = server().await;
    let invited = server.invitation("#new:test");
    let closed = server.closed_room("#closed:test");
    let card = card_message(1);
    matrix.send(&delivery("1", "#new:test", &card, None)).await.unwrap();
    assert_eq!(server.messages(&invited).len(), 1);
    let failure = matrix.send(&delivery("2", &closed, &card, None)).await.unwrap_err();
    assert_eq!(failure.outcome, Outcome::Permanent);
    insta::assert_snapshot!(failure, @"could not read the state of room !room2_Jd-Hj6: Matrix says M_FORBIDDEN (User @paramedic:test not in room !room2_Jd-Hj6): invite the bot's user to the room and let it send messages");
    for nowhere in ["", "#nowhere:test", "!", "ana", "@ana", "!a\0b", "!a b", "../v3/x"] {
        let failed = matrix.send(&delivery("3", nowhere, &card, None)).await;
        assert_eq!(outcome(failed), Outcome::Permanent, "{nowhere:?}");
    }
}

#[tokio::test]
async fn limits_and_refusals_have_their_outcomes() {
    let (server, matrix) = server().await;
    let room = server.room("#data:test");
    let card = card_message(1);
    let gone = Receipt { address: room.clone(), id: "$nothing".to_owned() };
    let edit = delivery("1", &room, &card, Some(&gone));
    assert_eq!(outcome(matrix.send(&edit).await), Outcome::CardGone);
    let millis = |ms| Outcome::Retry { after: Some(Duration::from_millis(ms)) };
    for (trouble, wanted) in [
        (Trouble::Limited(Some(2), Some(1_746)), later(2)),
        (Trouble::Limited(None, Some(1_746)), millis(1_746)),
        (Trouble::Limited(None, None), Outcome::Retry { after: None }),
        (Trouble::Refused(401, "M_UNKNOWN_TOKEN"), Outcome::Permanent),
        (Trouble::Refused(413, "M_TOO_LARGE"), Outcome::Permanent),
        (Trouble::Refused(403, "M_RESOURCE_LIMIT_EXCEEDED"), later(600)),
    ] {
        server.next(trouble);
        let failed = matrix.send(&delivery("2", &room, &card, None)).await;
        assert_eq!(outcome(failed), wanted, "{trouble:?}");
    }
    assert!(server.messages(&room).is_empty());
    let dead = MatrixSettings {
        homeserver: "http://127.0.0.1:1/".parse().unwrap(),
        token: "syt_secret".into(),
        clear_text_in_encrypted_rooms: false,
        per_second: 0.2,
        burst: 10,
    };
    let dead = Matrix::new(http(), dead, clock().0);
    let failure = dead.send(&delivery("3", &room, &card, None)).await.unwrap_err();
    assert_eq!(failure.outcome, Outcome::Retry { after: None });
    assert!(!failure.reason.contains("syt_"), "{failure}");
}

#[tokio::test]
async fn evidence_of_any_length_fits_an_event() {
    let (server, matrix) = server().await;
    let room = server.room("#data:test");
    let body = "<&\"'>\t".repeat(60_000);
    let note =
        Message::Evidence(Note { title: "log".to_owned(), body, mention: "@ana:test".to_owned() });
    matrix.send(&delivery("1", &room, &note, None)).await.unwrap();
    let shown = server.messages(&room);
    assert_eq!(shown[0].content["m.mentions"]["user_ids"][0], "@ana:test");
    assert!(shown[0].content["body"].as_str().unwrap().contains("characters cut"));
}
