//! What people did in our rooms: reactions, withdrawn reactions, commands.
//!
//! [`Matrix::pull`] is one long poll. Its caller commits `next_batch` together with the effects of the batch; after a crash
//! the same batch comes again, and event ids tell what was done already.
//!
//! **The first pull**, without a `since`, returns the present position and nothing else: what people did before this
//! store existed is not news, and a reaction of last month must not acknowledge tonight's page.
//!
//! A server cuts a busy timeline (`limited`). The gap back to `since` is then read from `/messages`, at most
//! [`GAP_PAGES`] × 100 events of a room, so that no reaction is lost.
//!
//! Reaction keys that acknowledge are 👍, ✅ and 👀, with any skin tone and with or without U+FE0F. In encrypted rooms
//! the relation stays readable by design, so reactions work there too.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};

use super::{
    Matrix,
    api::{Call, Fault, TIMEOUT, path},
};
use crate::{clients, clients::http::Method, notify::wording};

/// Reactions that acknowledge.
pub const ACK_KEYS: [&str; 3] = ["👍", "✅", "👀"];
/// Pages of 100 events read to close a gap.
pub const GAP_PAGES: usize = 10;
/// Events of a room in one answer before it is `limited`.
const TIMELINE: usize = 50;
/// A command is a message that starts with this.
const COMMAND: char = '!';
/// Longest command, characters.
const MAX_COMMAND: usize = 1_000;

/// What happened since the last pull, in the order of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Pass it to the next pull; commit it with the effects of this batch.
    pub next_batch: String,
    /// Acknowledging reactions.
    pub acks: Vec<Reaction>,
    /// Withdrawn events; when one is an ack's, the ack is withdrawn.
    pub redactions: Vec<Redaction>,
    /// Messages that are commands.
    pub commands: Vec<Command>,
}

/// Somebody reacted with one of [`ACK_KEYS`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaction {
    /// The reaction's own id; deduplicate on it.
    pub event_id: String,
    /// What was reacted to: a card's or page's receipt id.
    pub target_event_id: String,
    /// Who: `@ana:example.org`.
    pub sender: String,
    /// The key without skin tone and variation selector.
    pub key: String,
    /// Where.
    pub room: String,
}

/// Somebody withdrew an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redaction {
    /// The redaction's own id.
    pub event_id: String,
    /// What was withdrawn.
    pub redacts: String,
    /// Who.
    pub sender: String,
    /// Where.
    pub room: String,
}

/// Somebody wrote `!…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Where.
    pub room: String,
    /// The message's id; deduplicate on it.
    pub event_id: String,
    /// Who.
    pub sender: String,
    /// The card it stands under, when it is in a thread.
    pub thread_root: Option<String>,
    /// The text after the `!`, on one line.
    pub text: String,
}

impl Matrix {
    /// Waits at most `timeout` for news since `since`. Failures leave the position where it was.
    pub async fn pull(&self, since: Option<&str>, timeout: Duration) -> clients::Result<Batch> {
        let me = self.whoami().await.map_err(Fault::error)?;
        let filter = filter(&me, since.is_some()).to_string();
        // The first answer has only the position; waiting for news would delay it.
        let wait = if since.is_some() { timeout } else { Duration::ZERO };
        let wait_ms = wait.as_millis().to_string();
        let mut query = vec![("filter", filter.as_str()), ("timeout", wait_ms.as_str())];
        query.extend(since.map(|since| ("since", since)));
        let call = Call {
            method: Method::GET,
            path: path(&["v3", "sync"]),
            query: &query,
            body: None,
            timeout: wait + TIMEOUT,
            operation: "sync with Matrix",
        };
        let answer = self.api.call(call).await.map_err(Fault::error)?;
        let next = answer["next_batch"].as_str().filter(|next| !next.is_empty());
        let next = next.ok_or_else(|| {
            let kind = clients::Kind::Malformed;
            clients::Error::new(kind, "sync with Matrix", "the answer has no next_batch")
        })?;
        let mut batch = Batch { next_batch: next.to_owned(), ..Batch::default() };
        let Some(since) = since else { return Ok(batch) };
        for (room, gap, events) in timelines(&answer) {
            let mut seen = BTreeSet::new();
            if let Some(from) = gap {
                for event in self.gap(room, from, since, &me).await? {
                    batch.add(room, &event, &me, &mut seen);
                }
            }
            for event in events {
                batch.add(room, event, &me, &mut seen);
            }
        }
        Ok(batch)
    }

    /// The events of a room between `to` (our last position) and `from` (where the answer's timeline begins), oldest first.
    async fn gap(&self, room: &str, from: &str, to: &str, me: &str) -> clients::Result<Vec<Value>> {
        let filter = timeline_filter(me).to_string();
        let (mut events, mut from) = (vec![], from.to_owned());
        for page in 0..GAP_PAGES {
            let query = [
                ("dir", "b"),
                ("from", from.as_str()),
                ("to", to),
                ("limit", "100"),
                ("filter", &filter),
            ];
            let call = Call {
                method: Method::GET,
                path: path(&["v3", "rooms", room, "messages"]),
                query: &query,
                body: None,
                timeout: TIMEOUT,
                operation: "read what a sync left out",
            };
            let answer = match self.api.call(call).await {
                Ok(answer) => answer,
                // Thrown out of the room meanwhile: nothing of it can be read, and the others must go on.
                Err(Fault::Answer(refusal)) if matches!(refusal.status, 403 | 404) => break,
                Err(fault) => return Err(fault.error()),
            };
            events.extend(answer["chunk"].as_array().cloned().unwrap_or_default());
            match answer["end"].as_str() {
                Some(end) if end != from && end != to => end.clone_into(&mut from),
                Some(_) | None => break,
            }
            if page + 1 == GAP_PAGES {
                tracing::warn!(
                    matrix.room = room,
                    "a room was busier than can be read back; reactions may be lost"
                );
            }
        }
        events.reverse();
        Ok(events)
    }
}

/// What the answer to a sync holds of each room: its id, where the gap before the timeline ends if there is one, the
/// timeline's events.
pub fn timelines(answer: &Value) -> impl Iterator<Item = (&str, Option<&str>, &[Value])> {
    let rooms = answer["rooms"]["join"].as_object().into_iter().flatten();
    rooms.map(|(room, joined)| {
        let timeline = &joined["timeline"];
        let cut = timeline["limited"] == true;
        let gap = timeline["prev_batch"].as_str().filter(|_| cut);
        (room.as_str(), gap, timeline["events"].as_array().map_or(&[][..], Vec::as_slice))
    })
}

impl Batch {
    /// Adds an event of a room, unless it is our own (`me`), was `seen` in that room, or asks nothing of us.
    pub fn add(&mut self, room: &str, event: &Value, me: &str, seen: &mut BTreeSet<String>) {
        let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
        let (event_id, sender) = (text(&event["event_id"]), text(&event["sender"]));
        if event_id.is_empty()
            || sender.is_empty()
            || sender == me
            || !seen.insert(event_id.clone())
        {
            return;
        }
        let (room, content) = (room.to_owned(), &event["content"]);
        let relation = &content["m.relates_to"];
        match event["type"].as_str() {
            Some("m.reaction" | "m.room.encrypted") if relation["rel_type"] == "m.annotation" => {
                let target_event_id = text(&relation["event_id"]);
                if let Some(key) = ack_key(relation["key"].as_str().unwrap_or(""))
                    && !target_event_id.is_empty()
                {
                    let key = key.to_owned();
                    self.acks.push(Reaction { event_id, target_event_id, sender, key, room });
                }
            }
            Some("m.room.redaction") => {
                // In the content since room version 11, before that beside it.
                let redacts = content["redacts"].as_str().or(event["redacts"].as_str());
                if let Some(redacts) = redacts.map(str::to_owned) {
                    self.redactions.push(Redaction { event_id, redacts, sender, room });
                }
            }
            Some("m.room.message") if relation["rel_type"] != "m.replace" => {
                if let Some(text) = command(content) {
                    let in_thread = relation["rel_type"] == "m.thread";
                    let thread_root =
                        in_thread.then(|| relation["event_id"].as_str().map(str::to_owned));
                    let thread_root = thread_root.flatten();
                    self.commands.push(Command { room, event_id, sender, thread_root, text });
                }
            }
            Some(_) | None => {}
        }
    }
}

/// The key as listed in [`ACK_KEYS`], when it is one of them.
pub fn ack_key(key: &str) -> Option<&'static str> {
    let is_variation = |c: char| matches!(c, '\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}');
    let bare: String = key.chars().take(8).filter(|c| !is_variation(*c)).collect();
    ACK_KEYS.into_iter().find(|known| *known == bare)
}

/// Only text messages command; a reply's quotation of somebody else's command does not.
fn command(content: &Value) -> Option<String> {
    if content["msgtype"] != "m.text" {
        return None;
    }
    let body = content["body"].as_str()?;
    let own = body.trim_start_matches('\n');
    let own: Vec<_> = own.lines().skip_while(|line| line.starts_with('>')).collect();
    let text = wording::line(&own.join("\n"));
    let text = text.strip_prefix(COMMAND)?.trim();
    (!text.is_empty()).then(|| wording::cut(text, MAX_COMMAND).into_owned())
}

fn filter(me: &str, wants_events: bool) -> Value {
    let nothing = json!({"types": []});
    let mut timeline = timeline_filter(me);
    timeline["limit"] = json!(if wants_events { TIMELINE } else { 1 });
    json!({
        "presence": nothing, "account_data": nothing,
        "room": {
            "state": {"types": [], "lazy_load_members": true}, "ephemeral": nothing,
            "account_data": nothing, "timeline": timeline,
        },
    })
}

fn timeline_filter(me: &str) -> Value {
    json!({
        "types": ["m.reaction", "m.room.message", "m.room.redaction", "m.room.encrypted"],
        "not_senders": [me],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(events: &[Value]) -> Batch {
        let (mut batch, mut seen) = (Batch::default(), BTreeSet::new());
        for event in events {
            batch.add("!r", event, "@bot:x", &mut seen);
        }
        batch
    }

    fn event(id: &str, kind: &str, content: &Value) -> Value {
        json!({"event_id": id, "type": kind, "sender": "@ana:x", "content": content})
    }

    fn reaction(key: &str) -> Value {
        json!({"m.relates_to": {"rel_type": "m.annotation", "event_id": "$card", "key": key}})
    }

    #[test]
    fn a_reaction_counts_in_any_spelling_and_only_when_it_is_ours_to_read() {
        for key in ["👍", "👍\u{fe0f}", "👍🏽", "✅", "👀\u{fe0f}"] {
            assert!(ack_key(key).is_some(), "{key}");
        }
        for key in ["", "👎", "👍👍", "ack", "\u{fe0f}", &"👍".repeat(20_000)] {
            assert_eq!(ack_key(key), None);
        }
    }

    #[test]
    fn reactions_redactions_and_commands_are_told_apart() {
        let read = batch(&[
            event("$1", "m.reaction", &reaction("👍🏿")),
            event("$2", "m.room.encrypted", &reaction("✅")),
            event("$3", "m.reaction", &reaction("🎉")),
            event("$4", "m.room.redaction", &json!({"redacts": "$1"})),
            json!({"event_id": "$5", "type": "m.room.redaction", "sender": "@ana:x", "redacts": "$2", "content": {}}),
            event(
                "$6",
                "m.room.message",
                &json!({"msgtype": "m.text", "body": "!ack INC-12",
                "m.relates_to": {"rel_type": "m.thread", "event_id": "$card"}}),
            ),
        ]);
        let acks: Vec<_> =
            read.acks.iter().map(|a| (a.event_id.as_str(), a.key.as_str())).collect();
        assert_eq!(acks, [("$1", "👍"), ("$2", "✅")]);
        let gone: Vec<_> = read.redactions.iter().map(|r| r.redacts.as_str()).collect();
        assert_eq!(gone, ["$1", "$2"]);
        assert_eq!(
            read.commands,
            [Command {
                room: "!r".to_owned(),
                event_id: "$6".to_owned(),
                sender: "@ana:x".to_owned(),
                thread_root: Some("$card".to_owned()),
                text: "ack INC-12".to_owned(),
            }]
        );
    }

    #[test]
    fn edits_quotations_notices_repeats_and_our_own_words_command_nothing() {
        let text = |body: &str| json!({"msgtype": "m.text", "body": body});
        let read = batch(&[
            event(
                "$1",
                "m.room.message",
                &json!({"msgtype": "m.text", "body": "!ack",
                "m.relates_to": {"rel_type": "m.replace", "event_id": "$0"}}),
            ),
            event("$2", "m.room.message", &text("> <@raj:x> !ack\n\nno")),
            event("$3", "m.room.message", &json!({"msgtype": "m.notice", "body": "!ack"})),
            event("$4", "m.room.message", &text("!")),
            event("$5", "m.room.message", &json!({"msgtype": "m.text"})),
            json!({"event_id": "$6", "type": "m.reaction", "sender": "@bot:x", "content": reaction("👍")}),
            json!({"type": "m.reaction", "sender": "@ana:x", "content": reaction("👍")}),
            json!(null),
            event(
                "$7",
                "m.reaction",
                &json!({"m.relates_to": {"rel_type": "m.annotation", "key": "👍"}}),
            ),
        ]);
        assert_eq!(read, Batch::default());
        let twice = event("$8", "m.reaction", &reaction("👍"));
        assert_eq!(batch(&[twice.clone(), twice]).acks.len(), 1);
    }

    #[test]
    fn a_recorded_sync_of_synapse_holds_the_one_reaction() {
        let recorded = include_str!("../../../tests/fixtures/matrix/sync.json");
        let recorded: Value = serde_json::from_str(recorded).unwrap();
        let (mut read, mut seen) = (Batch::default(), BTreeSet::new());
        for (room, _, events) in timelines(&recorded) {
            for event in events {
                read.add(room, event, "@bota:localhost", &mut seen);
            }
        }
        assert_eq!((read.acks.len(), read.redactions.len(), read.commands.len()), (1, 0, 0));
        let ack = &read.acks[0];
        assert_eq!((ack.sender.as_str(), ack.key.as_str()), ("@oncalla:localhost", "👀"));
        assert!(ack.target_event_id.starts_with("$E5zqSvzNRLeJsMtUF1bLNlH1"), "{ack:?}");
    }

    #[test]
    fn a_reply_may_command_below_its_quotation() {
        let body =
            json!({"msgtype": "m.text", "body": "> <@bot:x> P1 triggered\n> more\n\n!ack\0 now"});
        let read = batch(&[event("$1", "m.room.message", &body)]);
        assert_eq!(read.commands[0].text, "ack\u{fffd} now");
    }
}
