//! What a homeserver may answer to a sync: any JSON.
//!
//! An event counts once and never when it is our own; what it says is one of the known reactions or a bounded line.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use paramedic::notify::matrix::sync::{ACK_KEYS, Batch, timelines};
use serde_json::Value;

const ME: &str = "@bota:localhost";

fuzz_target!(|bytes: &[u8]| {
    let Ok(answer) = serde_json::from_slice::<Value>(bytes) else { return };
    let mut batch = Batch::default();
    let mut all = 0;
    for (room, _, events) in timelines(&answer) {
        let mut seen = BTreeSet::new();
        for event in events {
            batch.add(room, event, ME, &mut seen);
        }
        let before = batch.clone();
        for event in events {
            batch.add(room, event, ME, &mut seen);
        }
        assert_eq!(before, batch, "an event counted twice");
        all += events.len();
    }
    let Batch { next_batch, acks, redactions, commands } = &batch;
    assert!(next_batch.is_empty());
    assert!(acks.len() + redactions.len() + commands.len() <= all);
    let known =
        |event_id: &str, sender: &str| !event_id.is_empty() && !sender.is_empty() && sender != ME;
    for ack in acks {
        assert!(known(&ack.event_id, &ack.sender) && !ack.target_event_id.is_empty());
        assert!(ACK_KEYS.contains(&ack.key.as_str()));
    }
    assert!(redactions.iter().all(|one| known(&one.event_id, &one.sender)));
    for command in commands {
        assert!(known(&command.event_id, &command.sender));
        let text = command.text.as_str();
        assert!(!text.is_empty() && text.chars().count() <= 1_000, "{text:?}");
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
});
