//! What anybody may post to Slack's door: a form, and two headers (the first two lines of the input).
//!
//! Nothing but the signed bytes at the signed time is taken for Slack's. A form is read into few, known buttons or refused
//! with a short reason.
#![no_main]

use libfuzzer_sys::fuzz_target;
use paramedic::notify::{
    press::Press,
    slack::{interaction, signature},
};
use paramedic_fuzz::NOW;

const SECRET: &str = "fuzz-signing-secret";
const TIME: &str = "1763870450";
const BODY: &[u8] = b"payload=%7B%7D";
/// HMAC-SHA256 of `v0:TIME:BODY` under SECRET.
const SIGNED: &str = "v0=6cdc9073d74e178ca471c56e204cdb09d1f582e250f176742b5ef8ff087a5c9c";

fuzz_target!(|bytes: &[u8]| {
    let secret = SECRET.into();
    let verify = |time, signed, body| signature::verify(&secret, time, signed, body, NOW);
    assert_eq!(verify(Some(TIME), Some(SIGNED), BODY), Ok(()));
    assert_eq!(verify(Some(TIME), Some(SIGNED), bytes).is_ok(), bytes == BODY);
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.splitn(3, '\n');
    let (time, signed) = (lines.next(), lines.next());
    let ours = time == Some(TIME) && signed == Some(SIGNED);
    assert_eq!(verify(time, signed, BODY).is_ok(), ours);
    read(bytes);
    if let Some(form) = lines.next() {
        read(form.as_bytes());
    }
});

fn read(form: &[u8]) {
    let first = interaction::parse(form);
    assert_eq!(first, interaction::parse(form));
    match first {
        Ok(click) => {
            assert!((1..=20).contains(&click.presses.len()));
            for press in click.presses {
                assert_eq!(press.to_string().parse::<Press>(), Ok(press));
            }
        }
        Err(error) => {
            let error = error.to_string();
            assert!(error.chars().count() < 300, "{error}");
        }
    }
}
