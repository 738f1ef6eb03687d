//! Reading reactions and commands from Matrix, once each.

use paramedic::{
    clients::Kind,
    notify::{
        Notifier as _,
        matrix::{
            Matrix, MatrixSettings,
            sync::{Batch, Reaction},
        },
    },
};
use serde_json::json;

use super::*;
use crate::fakes::matrix as fake;

struct Scene {
    server: fake::Matrix,
    matrix: Matrix,
    room: String,
    card: String,
}

async fn scene() -> Scene {
    let server = fake::Matrix::start().await;
    let settings = MatrixSettings {
        homeserver: server.url.parse().unwrap(),
        token: fake::TOKEN.into(),
        clear_text_in_encrypted_rooms: false,
        per_second: 0.2,
        burst: 10,
    };
    let matrix = Matrix::new(http(), settings, clock().0);
    let room = server.room("#data:test");
    let card = matrix.send(&delivery("k", &room, &card_message(1), None)).await.unwrap().id;
    Scene { server, matrix, room, card }
}

impl Scene {
    async fn pull(&self, since: &str) -> Batch {
        self.matrix.pull(Some(since), Duration::ZERO).await.unwrap()
    }

    async fn start(&self) -> String {
        let first = self.matrix.pull(None, PATIENCE).await.unwrap();
        assert_eq!(first, Batch { next_batch: first.next_batch.clone(), ..Batch::default() });
        first.next_batch
    }

    fn react(&self, key: &str) -> String {
        self.server.react(&self.room, "@ana:test", &self.card, key)
    }
}

#[tokio::test]
async fn the_first_pull_takes_the_position_and_replays_nothing() {
    let scene = scene().await;
    scene.react("👍");
    let since = scene.start().await;
    assert_eq!(scene.pull(&since).await.acks, []);
    scene.react("👀");
    assert_eq!(scene.pull(&since).await.acks.len(), 1);
}

#[tokio::test]
async fn a_reaction_is_pulled_once_and_again_only_from_the_same_position() {
    let scene = scene().await;
    let since = scene.start().await;
    let reaction = scene.react("👍\u{fe0f}");
    scene.react("🎉");
    let batch = scene.pull(&since).await;
    let ack = Reaction {
        event_id: reaction.clone(),
        target_event_id: scene.card.clone(),
        sender: "@ana:test".to_owned(),
        key: "👍".to_owned(),
        room: scene.room.clone(),
    };
    assert_eq!(batch.acks, std::slice::from_ref(&ack));
    assert_eq!(scene.pull(&since).await.acks, [ack], "a crash before the commit loses nothing");
    assert_eq!(scene.pull(&batch.next_batch).await.acks, []);
    let undo = json!({"redacts": reaction});
    scene.server.event(&scene.room, "@ana:test", "m.room.redaction", undo);
    let later = scene.pull(&batch.next_batch).await;
    assert_eq!(later.redactions[0].redacts, reaction);
}

#[tokio::test]
async fn what_a_limited_timeline_leaves_out_is_read_back_in_order() {
    let scene = scene().await;
    let since = scene.start().await;
    let sent: Vec<String> = (0..20).map(|_| scene.react("✅")).collect();
    scene.server.limit_timelines(4);
    let batch = scene.pull(&since).await;
    let got: Vec<String> = batch.acks.into_iter().map(|ack| ack.event_id).collect();
    assert_eq!(got, sent);
    let pages = scene.server.requests().iter().filter(|r| r.ends_with("/messages")).count();
    assert_eq!(pages, 6, "16 events, three a page");
}

#[tokio::test]
async fn a_long_poll_returns_when_something_happens() {
    let scene = scene().await;
    let since = scene.start().await;
    let waiting = scene.matrix.pull(Some(&since), PATIENCE);
    let acting = async {
        while scene.server.requests().iter().filter(|r| r.ends_with("/sync")).count() < 2 {
            tokio::task::yield_now().await;
        }
        scene.react("👍");
    };
    let (batch, ()) = futures::join!(waiting, acting);
    assert_eq!(batch.unwrap().acks.len(), 1);
}

#[tokio::test]
async fn our_own_messages_are_never_commands_and_those_of_others_are() {
    let scene = scene().await;
    let since = scene.start().await;
    let text = |body: &str| json!({"msgtype": "m.text", "body": body});
    scene.server.event(&scene.room, fake::BOT, "m.room.message", text("!resolve"));
    scene.server.event(&scene.room, "@ana:test", "m.room.message", text("hello"));
    let mut command = text("!ack INC-12");
    command["m.relates_to"] = json!({"rel_type": "m.thread", "event_id": scene.card});
    scene.server.event(&scene.room, "@ana:test", "m.room.message", command);
    let batch = scene.pull(&since).await;
    assert_eq!(batch.commands.len(), 1);
    assert_eq!(batch.commands[0].text, "ack INC-12");
    assert_eq!(batch.commands[0].thread_root.as_ref(), Some(&scene.card));
}

#[tokio::test]
async fn a_wrong_position_is_an_error_and_keeps_the_caller_where_it_was() {
    let scene = scene().await;
    let error = scene.matrix.pull(Some("nonsense"), Duration::ZERO).await.unwrap_err();
    assert_eq!(error.kind, Kind::Refused);
    insta::assert_snapshot!(error, @"could not sync with Matrix: Matrix says M_UNKNOWN (Invalid stream token)");
}
