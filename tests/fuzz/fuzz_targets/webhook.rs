//! What anybody with the token may post as an Alertmanager: any bytes.
//!
//! The count, the whole and the split tell the same; every text that is kept or answered is bounded and storable.
#![no_main]

use libfuzzer_sys::fuzz_target;
use paramedic::domain::alert::{
    self, Alert, Labels, MAX_LABELS, MAX_VALUE, NotAPayload, Payload, Rejected,
};
use paramedic_fuzz::NOW;

/// A path or reason, cut, with its mark and the `alerts[n]` before it.
const SHORT: usize = 400;

fuzz_target!(|body: &[u8]| {
    let whole = alert::parse(body, NOW);
    let size = 1 + body.len() % 3;
    let parts = alert::split(body, size);
    let whole = match (whole, alert::count(body), parts.as_ref()) {
        (Ok(whole), Ok(count), Ok(_)) => {
            assert_eq!(count, whole.alerts.len());
            whole
        }
        (Err(refused), Err(counted), Err(split)) => {
            assert_eq!(refused, counted);
            assert_eq!(&refused, split);
            return check_refusal(&refused, body);
        }
        other => panic!("one way reads it, another does not: {other:?}"),
    };
    check(&whole);
    let mut alerts = vec![];
    for part in parts.unwrap() {
        let part = alert::parse(&part, NOW).expect("a part is a payload");
        assert!(part.alerts.len() <= size);
        assert_eq!(part.envelope, whole.envelope);
        let first = alerts.len();
        alerts.extend(
            part.alerts.into_iter().enumerate().map(|(at, one)| renumbered(one, at, first + at)),
        );
    }
    assert_eq!(alerts, whole.alerts);
});

/// A part counts its alerts from 0 again.
fn renumbered(one: Result<Alert, Rejected>, from: usize, to: usize) -> Result<Alert, Rejected> {
    one.map_err(|mut rejected| {
        let rest =
            rejected.path.strip_prefix(&format!("alerts[{from}]")).expect("it names the alert");
        // How much of a long path is kept depends on the number's digits.
        rejected.path = format!("alerts[{to}]{rest}");
        rejected
    })
}

fn check_refusal(refused: &NotAPayload, body: &[u8]) {
    assert!(refused.path.len() <= SHORT, "a path of {} bytes", refused.path.len());
    assert!(refused.reason.len() <= SHORT, "a reason of {} bytes", refused.reason.len());
    assert!(refused.line <= 1 + body.iter().filter(|byte| **byte == b'\n').count());
    assert!(refused.column <= body.len() + 1);
}

fn check(payload: &Payload) {
    let envelope = &payload.envelope;
    check_text(&envelope.receiver, 1024);
    check_text(&envelope.external_url, 2048);
    check_labels(&envelope.group_labels);
    for (at, one) in payload.alerts.iter().enumerate() {
        match one {
            Ok(alert) => {
                check_labels(&alert.labels);
                check_labels(&alert.annotations);
                check_text(&alert.generator_url, 8192);
                assert!(alert.fingerprint.len() <= 64);
                assert!(alert.fingerprint.bytes().all(|byte| byte.is_ascii_alphanumeric()));
                assert!(!alert.name().is_empty());
            }
            Err(rejected) => {
                assert!(rejected.path.starts_with(&format!("alerts[{at}]")));
                assert!(rejected.path.len() <= SHORT && rejected.reason.len() <= SHORT);
                assert!(!rejected.reason.is_empty());
            }
        }
    }
}

fn check_labels(labels: &Labels) {
    assert!(labels.len() <= MAX_LABELS);
    for text in labels.keys().chain(labels.values()) {
        check_text(text, MAX_VALUE);
    }
}

fn check_text(text: &str, max: usize) {
    assert!(text.len() <= max + '…'.len_utf8() && !text.contains('\0'));
}
