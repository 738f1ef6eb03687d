//! Any receiver that speaks Standard Webhooks 1.0: each message as one signed POST to the address.
//!
//! `webhook-id` is the delivery's key, the same for every attempt, so a receiver that remembers ids sees each message
//! once. `webhook-timestamp` is this attempt's time. While a secret is rotated both sign. A changed card is a new event
//! with a higher `revision`; it and evidence name the id of the incident's first card in `about`.
//!
//! ```json
//! {"type": "incident.card", "timestamp": "2026-11-23T03:16:15Z", "data": {"incident": "INC-12", "about": "", "card": {…}}}
//! {"type": "incident.evidence", "timestamp": "…", "data": {"about": "<id of the first card>", "title": "…", "body": "…"}}
//! {"type": "incident.page", "timestamp": "…", "data": {"incident": "INC-12", "person": "…", "why": "…", "remark": "…", "card": {…}}}
//! ```

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Caps, Class, Delivery, Failure, Message, Notifier, Outcome, Receipt, Result, wording};
use crate::{
    clients::{
        self, Kind,
        http::{Client, HeaderName, HeaderValue, Request, Response, Url},
    },
    ops::{
        clock::Clock,
        guard::{Guard, is_away},
    },
};

/// What receivers check.
#[derive(Clone, Debug)]
pub struct WebhookSettings {
    /// One secret, two while rotating: `whsec_` and the base64 of 24 to 64 bytes.
    pub secrets: Vec<SecretString>,
}

/// All receivers that know our secret; each delivery's address is the URL of one.
#[derive(Debug)]
pub struct Webhook {
    http: Client,
    keys: Vec<SecretSlice<u8>>,
    clock: Clock,
}

/// Bodies stay below this, bytes, as the standard advises.
const MAX_BODY: usize = 20_000;
/// No text is cut below this, and no list: what is left of the largest card fits.
const MIN_TEXT: usize = 64;
const MIN_LIST: usize = 3;
const TIMEOUT: Duration = Duration::from_secs(10);

impl Notifier for Webhook {
    const KIND: &'static str = "webhook";
    const CAPS: Caps = Caps {
        edit: true,
        threads: true,
        actions: false,
        class: Class::Idempotent,
        per_second: 5.0,
        burst: 10,
    };

    async fn send(&self, delivery: &Delivery<'_>) -> Result {
        let url = url(delivery.address)?;
        let now = self.clock.now();
        let mut id = id(delivery.key);
        if is_away(Guard::Key) {
            id = format!("{id}~{}", now.as_millisecond());
        }
        let body = body(delivery, now);
        let seconds = now.as_second().to_string();
        let signature = self.sign(&id, &seconds, &body);
        let mut request =
            Request::post(url.clone(), "post to the webhook", body, "application/json");
        for (name, value) in [
            ("webhook-id", &id),
            ("webhook-timestamp", &seconds),
            ("webhook-signature", &signature),
        ] {
            // All three are ASCII by construction.
            if let Ok(value) = HeaderValue::from_str(value) {
                request = request.header(HeaderName::from_static(name), value);
            }
        }
        // The rest of the address may be a token, and receipts are shown.
        let address = url.host_str().unwrap_or("").to_owned();
        let answer = self.http.send(request.timeout(TIMEOUT).max_bytes(64 * 1024)).await;
        outcome(answer).map(|()| match (delivery.message, delivery.card) {
            // The first card's id is what everything later is about.
            (Message::Card(_), Some(first)) => first.clone(),
            (_, _) => Receipt { address, id },
        })
    }
}

impl Webhook {
    /// Signs for receivers. Fails when a secret is not one, or when there is none or more than two.
    pub fn new(
        http: Client,
        settings: &WebhookSettings,
        clock: Clock,
    ) -> std::result::Result<Self, String> {
        let WebhookSettings { secrets } = settings;
        if secrets.is_empty() || secrets.len() > 2 {
            return Err(format!(
                "a webhook has one secret, two while rotating; here are {}",
                secrets.len()
            ));
        }
        let keys = secrets.iter().map(key).collect::<std::result::Result<_, _>>()?;
        Ok(Self { http, keys, clock })
    }

    /// `v1,<base64>` of each key, the newest first, with a space between.
    fn sign(&self, id: &str, seconds: &str, body: &[u8]) -> String {
        let sign = |key: &SecretSlice<u8>| {
            // HMAC takes a key of any length.
            let mut mac = Hmac::<Sha256>::new_from_slice(key.expose_secret()).ok()?;
            for part in [id.as_bytes(), b".", seconds.as_bytes(), b".", body] {
                mac.update(part);
            }
            Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
        };
        self.keys.iter().filter_map(sign).collect::<Vec<_>>().join(" ")
    }
}

/// An address of the configuration may hold a token, so it is not quoted.
fn url(address: &str) -> std::result::Result<Url, Failure> {
    let url = address.parse::<Url>().ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    url.ok_or_else(|| Failure {
        outcome: Outcome::Permanent,
        reason: "the webhook's address is not an http or https URL".to_owned(),
    })
}

fn key(secret: &SecretString) -> std::result::Result<SecretSlice<u8>, String> {
    let wrong = || "a webhook secret is `whsec_` and the base64 of 24 to 64 bytes".to_owned();
    let text = secret.expose_secret().trim().strip_prefix("whsec_").ok_or_else(wrong)?;
    let key = STANDARD.decode(text).map_err(|_| wrong())?;
    if (24..=64).contains(&key.len()) { Ok(key.into()) } else { Err(wrong()) }
}

/// The key itself where it can stand in a header and in the signed text (which is split at dots), else its hash.
fn id(key: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_/:#@".contains(&b);
    if !key.is_empty() && key.len() <= 200 && key.bytes().all(plain) {
        return key.to_owned();
    }
    Sha256::digest(key)
        .iter()
        .take(16)
        .fold("msg_".to_owned(), |id, byte| format!("{id}{byte:02x}"))
}

fn body(delivery: &Delivery<'_>, now: Timestamp) -> Vec<u8> {
    let (kind, at, mut data) = match delivery.message {
        Message::Card(card) => {
            ("incident.card", card.at, json!({"incident": card.incident.to_string(), "card": card}))
        }
        Message::Page(page) => (
            "incident.page",
            page.card.at,
            json!({
                "incident": wording::id(&page.card), "person": page.person, "why": page.why,
                "remark": page.remark, "card": page.card,
            }),
        ),
        Message::Evidence(note) => {
            ("incident.evidence", now, json!({"title": note.title, "body": note.body}))
        }
    };
    let (mut text, mut many) = (12_000, 12);
    shorten(&mut data, text, many);
    loop {
        let mut short = data.clone();
        shorten(&mut short, text, many);
        short["about"] = json!(delivery.card.map_or("", |card| &card.id));
        let whole = json!({"type": kind, "timestamp": at.to_string(), "data": short});
        let bytes = whole.to_string().into_bytes();
        if bytes.len() <= MAX_BODY || (text, many) == (MIN_TEXT, MIN_LIST) {
            return bytes;
        }
        // By how much it is too long, and at least a half.
        text = (text * MAX_BODY / bytes.len()).min(text / 2).max(MIN_TEXT);
        many = (many * 2 / 3).max(MIN_LIST);
    }
}

/// Cuts every text and list.
fn shorten(value: &mut Value, text: usize, many: usize) {
    match value {
        Value::String(s) => {
            if s.chars().nth(text).is_some() {
                *s = wording::middle(s, text, |_| 1).into_owned();
            }
        }
        Value::Array(all) => {
            all.truncate(many);
            for v in all {
                shorten(v, text, many);
            }
        }
        Value::Object(all) => all.values_mut().for_each(|v| shorten(v, text, many)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A repeat has the same id, so whatever may pass is worth a retry; the rest needs a person.
fn outcome(answer: clients::Result<Response>) -> std::result::Result<(), Failure> {
    let response = answer.map_err(|error| {
        let outcome = match error.kind {
            Kind::Unreachable | Kind::Timeout => Outcome::Retry { after: None },
            Kind::Throttled { after } => Outcome::Retry { after },
            Kind::Denied | Kind::NotFound | Kind::Malformed | Kind::Refused => Outcome::Permanent,
        };
        Failure { outcome, reason: error.to_string() }
    })?;
    let (outcome, hint) = match response.status {
        200..=299 => return Ok(()),
        300..=399 => {
            (Outcome::Permanent, "redirects are not followed; configure the final address")
        }
        401 | 403 => (Outcome::Permanent, "does the receiver have the same secret?"),
        410 => (Outcome::Permanent, "the receiver wants no more; remove this channel"),
        408 | 429 | 500.. => (Outcome::Retry { after: response.retry_after() }, "it may pass"),
        _ => (Outcome::Permanent, "the receiver refuses the message"),
    };
    Err(Failure {
        outcome,
        reason: format!("the webhook answered HTTP {}: {hint}", response.status),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clients::http::Guard, notify::samples};

    fn secret(bytes: &[u8]) -> SecretString {
        format!("whsec_{}", STANDARD.encode(bytes)).into()
    }

    fn webhook(secrets: Vec<SecretString>) -> std::result::Result<Webhook, String> {
        let settings = WebhookSettings { secrets };
        Webhook::new(Client::new(Guard::default()).unwrap(), &settings, Clock::System)
    }

    /// The example of the specification's own test suite.
    #[test]
    fn the_published_example_is_signed_alike() {
        let webhook =
            webhook(vec!["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned().into()]).unwrap();
        let signature =
            webhook.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_is_checked_when_it_is_configured() {
        assert!(webhook(vec![secret(&[7; 24]), secret(&[8; 64])]).is_ok());
        let wrong = [
            vec![],
            vec![secret(&[7; 24]); 3],
            vec![secret(&[7; 23])],
            vec![secret(&[7; 65])],
            vec!["plain".to_owned().into()],
            vec!["whsec_%%%".to_owned().into()],
        ];
        for secrets in wrong {
            let error = webhook(secrets).unwrap_err();
            assert!(error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn an_id_is_the_key_where_it_can_stand_in_a_header() {
        assert_eq!(id("post:INC-12:spark-oncall:7"), "post:INC-12:spark-oncall:7");
        for odd in ["", "a.b", "a b", "a\nb", "ä", &"x".repeat(65_536)] {
            let made = id(odd);
            assert!(made.starts_with("msg_") && made.len() == 36, "{made}");
            assert_eq!(made, id(odd));
        }
    }

    #[test]
    fn every_body_is_small_json() {
        for message in samples::all_hostile() {
            let delivery =
                Delivery { key: "k", address: "", message: &message, card: None, unclear: false };
            let body = body(&delivery, Timestamp::UNIX_EPOCH);
            assert!(body.len() <= MAX_BODY, "{}", body.len());
            let read: Value = serde_json::from_slice(&body).unwrap();
            assert!(read["type"].as_str().unwrap().starts_with("incident."));
        }
    }

    #[test]
    fn every_status_has_its_outcome() {
        let of = |status| {
            let headers =
                [("retry-after".parse().unwrap(), "9".parse().unwrap())].into_iter().collect();
            outcome(Ok(Response { status, headers, body: vec![], cut: false }))
                .map_err(|f| f.outcome)
        };
        let later = Err(Outcome::Retry { after: Some(Duration::from_secs(9)) });
        for status in [408, 429, 500, 502, 503, 504] {
            assert_eq!(of(status), later, "{status}");
        }
        for status in [301, 307, 400, 401, 403, 404, 410, 413, 422] {
            assert_eq!(of(status), Err(Outcome::Permanent), "{status}");
        }
        assert_eq!(of(204), Ok(()));
    }
}
