//! Any text from outside, before it is stored, logged or sent.
//!
//! Doing it twice changes nothing, and lines stay lines.
#![no_main]

use libfuzzer_sys::fuzz_target;
use paramedic::domain::redact::{redact, redact_json};

fuzz_target!(|text: &str| {
    let once = redact(text);
    assert_eq!(redact(&once), once, "twice is not once");
    assert_eq!(once.matches('\n').count(), text.matches('\n').count());
    if let Ok(mut value) = serde_json::from_str::<serde_json::Value>(text) {
        redact_json(&mut value);
        let once = value.clone();
        redact_json(&mut value);
        assert_eq!(value, once);
    }
});
