//! Proof that a request comes from Slack: HMAC-SHA256 over the time and the **raw** body.
//!
//! The bytes are verified before anything parses them. The time bounds a replay to five minutes; repeats inside those
//! are for the caller to drop (a click carries its `action_ts`).

use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

/// How far Slack's clock and ours may differ, seconds.
const TOLERANCE: i64 = 300;

/// Why a request is not taken for Slack's. All are answered 401; the reason is for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// `X-Slack-Request-Timestamp` or `X-Slack-Signature` is missing.
    #[error("the request has no Slack signature")]
    Missing,
    /// The time is no number, or too far from ours.
    #[error("the request's time is {TOLERANCE} s or more from ours; is the clock right?")]
    Stale,
    /// The signature is not the one our signing secret makes.
    #[error("the signature does not fit; is `slack.signing_secret` the app's signing secret?")]
    Wrong,
}

/// Checks `X-Slack-Request-Timestamp` and `X-Slack-Signature` against the raw body.
pub fn verify(
    secret: &SecretString,
    timestamp: Option<&str>,
    signature: Option<&str>,
    body: &[u8],
    now: Timestamp,
) -> Result<(), Refusal> {
    let (Some(timestamp), Some(signature)) = (timestamp, signature) else {
        return Err(Refusal::Missing);
    };
    if timestamp.is_empty() || !timestamp.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Refusal::Stale);
    }
    let sent: i64 = timestamp.parse().map_err(|_| Refusal::Stale)?;
    if now.as_second().abs_diff(sent) > TOLERANCE.unsigned_abs() {
        return Err(Refusal::Stale);
    }
    let given = signature.strip_prefix("v0=").and_then(unhex).ok_or(Refusal::Wrong)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes())
        .map_err(|_| Refusal::Wrong)?;
    for part in [b"v0:", timestamp.as_bytes(), b":", body] {
        mac.update(part);
    }
    // An empty secret would let anybody sign.
    if secret.expose_secret().is_empty() {
        return Err(Refusal::Wrong);
    }
    mac.verify_slice(&given).map_err(|_| Refusal::Wrong)
}

/// Lower-case hex only, as Slack writes it.
fn unhex(text: &str) -> Option<Vec<u8>> {
    let nibble = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    if text.len() != 64 {
        return None;
    }
    text.as_bytes().chunks(2).map(|pair| Some(nibble(pair[0])? << 4 | nibble(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked example of Slack's documentation: secret, time, body and signature are public.
    const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
    const TIME: &str = "1531420618";
    const BODY: &str = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    const SIGNATURE: &str = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";

    fn hex(mac: Hmac<Sha256>) -> String {
        let bytes = mac.finalize().into_bytes();
        bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
    }

    fn check(
        time: Option<&str>,
        signature: Option<&str>,
        body: &str,
        late: i64,
    ) -> Result<(), Refusal> {
        let now = Timestamp::from_second(TIME.parse::<i64>().unwrap() + late).unwrap();
        verify(&SECRET.into(), time, signature, body.as_bytes(), now)
    }

    #[test]
    fn the_documented_example_is_accepted_within_five_minutes_either_way() {
        for late in [-300, 0, 300] {
            assert_eq!(check(Some(TIME), Some(SIGNATURE), BODY, late), Ok(()), "{late}");
        }
    }

    #[test]
    fn a_stale_or_unreadable_time_is_refused() {
        for late in [-301, 301, 86_400] {
            assert_eq!(check(Some(TIME), Some(SIGNATURE), BODY, late), Err(Refusal::Stale));
        }
        for time in ["", "now", "-1", "+1531420618", "1531420618 ", "99999999999999999999"] {
            assert_eq!(check(Some(time), Some(SIGNATURE), BODY, 0), Err(Refusal::Stale), "{time}");
        }
    }

    #[test]
    fn another_time_body_or_signature_is_refused() {
        let re_encoded = BODY.replace("%2F", "/");
        let upper = format!("v0={}", SIGNATURE[3..].to_uppercase());
        let other_version = SIGNATURE.replace("v0=", "v1=");
        let longer = format!("{SIGNATURE}00");
        let cases = [
            ("1531420619", SIGNATURE, BODY),
            (TIME, SIGNATURE, re_encoded.as_str()),
            (TIME, SIGNATURE, ""),
            (TIME, upper.as_str(), BODY),
            (TIME, other_version.as_str(), BODY),
            (TIME, longer.as_str(), BODY),
            (TIME, "", BODY),
            (TIME, "v0=", BODY),
            (TIME, "v0=é", BODY),
        ];
        for (time, signature, body) in cases {
            let refused = check(Some(time), Some(signature), body, 0);
            assert_eq!(refused, Err(Refusal::Wrong), "{time} {signature}");
        }
    }

    #[test]
    fn missing_headers_and_an_empty_secret_are_refused() {
        assert_eq!(check(None, Some(SIGNATURE), BODY, 0), Err(Refusal::Missing));
        assert_eq!(check(Some(TIME), None, BODY, 0), Err(Refusal::Missing));
        let mut mac = Hmac::<Sha256>::new_from_slice(b"").unwrap();
        mac.update(format!("v0:{TIME}:").as_bytes());
        let hex = hex(mac);
        let now = Timestamp::from_second(TIME.parse().unwrap()).unwrap();
        let refused = verify(&"".into(), Some(TIME), Some(&format!("v0={hex}")), b"", now);
        assert_eq!(refused, Err(Refusal::Wrong));
    }

    #[test]
    fn an_empty_body_can_be_signed() {
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(format!("v0:{TIME}:").as_bytes());
        let hex = hex(mac);
        assert_eq!(check(Some(TIME), Some(&format!("v0={hex}")), "", 0), Ok(()));
    }
}
