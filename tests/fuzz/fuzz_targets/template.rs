//! Templates of playbooks and signatures: any text.
//!
//! Reading and filling end in bounded time, fill at most so much, and tell the same each time.
#![no_main]

use libfuzzer_sys::fuzz_target;
use paramedic::domain::template::{Input, MAX_OUTPUT, MAX_SOURCE, Scope, Text, check, references};
use paramedic_fuzz::SCOPE;

const ROOTS: &[&str] = &["labels", "annotations", "alerts", "target", "incident", "steps"];

fuzz_target!(|text: &str| {
    match references(text) {
        Ok(found) => assert!(found.iter().all(|reference| reference.offset <= text.len())),
        Err(error) => {
            assert!(
                error.offset <= text.len().max(MAX_SOURCE),
                "{} of {}",
                error.offset,
                text.len()
            );
            assert!(!error.message.is_empty());
            assert!(check(text).is_err());
            return;
        }
    }
    let input = Input::<String>::from(text);
    for scope in [&*SCOPE, &Scope::default()] {
        let filled = input.fill(scope);
        assert_eq!(filled, input.fill(scope));
        assert!(filled.is_err() || filled.is_ok_and(|filled| filled.len() <= MAX_OUTPUT));
    }
    if let Ok(lax) = Text::parse(text, ROOTS) {
        assert!(lax.fill(SCOPE.names()).len() <= MAX_OUTPUT);
    }
});
