//! Conditions of playbooks: any text.
//!
//! Reading and asking end in bounded time (fuel) and tell the same each time; a mistake has its place in the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use paramedic::domain::{
    expr::{Expr, Truth},
    template::Scope,
};
use paramedic_fuzz::SCOPE;

fuzz_target!(|text: &str| {
    let expr = match Expr::parse(text) {
        Ok(expr) => expr,
        Err(error) => {
            assert!(!error.message.is_empty() && error.message.len() <= 8 * 1024);
            assert!(error.offset <= text.len(), "{} of {}: {error}", error.offset, text.len());
            return;
        }
    };
    assert_eq!(expr.source(), text);
    assert!(expr.references().iter().all(|reference| reference.offset <= text.len()));
    let again = Expr::parse(expr.source()).expect("what was read once is read again");
    assert_eq!(again.references(), expr.references());
    let value = expr.value(&SCOPE);
    assert_eq!(value, again.value(&SCOPE));
    agree(&value, &expr.test(&SCOPE));
    let nothing = Scope::default();
    agree(&expr.value(&nothing), &expr.test(&nothing));
});

fn agree(value: &Result<serde_json::Value, String>, truth: &Truth) {
    match (value, truth) {
        // A value that JSON cannot hold answers a condition, and fills no list.
        (Ok(_) | Err(_), Truth::Yes | Truth::No) => {}
        (Err(reason), Truth::Unknown(why)) => assert!(!reason.is_empty() && reason == why),
        (Ok(value), Truth::Unknown(why)) => panic!("{value} is not known: {why}"),
    }
}
