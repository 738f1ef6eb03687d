//! Who may send alerts: one credential per source, or none on this machine.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, HeaderName};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;

use super::{Credential, browser, credential, one, secret::Digest};
use crate::{config::Source, http::problem::Problem};

/// How far a signed time may be from ours, seconds.
const TOLERANCE: u64 = 300;
const SIGNATURE: HeaderName = HeaderName::from_static("x-grafana-alerting-signature");
const TIME: HeaderName = HeaderName::from_static("x-grafana-alerting-timestamp");

/// What a source's requests must prove.
pub enum Sender {
    /// Nothing: only this machine reaches us.
    Open,
    /// A bearer token.
    Token(Digest),
    /// A user and a password, as `user:password`.
    Basic(Digest),
    /// A signature over the body, as Grafana makes it.
    Signed(SecretString),
}

/// What the headers proved.
#[derive(Debug, PartialEq, Eq)]
pub enum Proof {
    /// Everything.
    Done,
    /// The body's signature is still to be checked: until then nothing about the request is believed.
    Signature {
        /// The signed time, when there is one.
        time: Option<String>,
        /// 32 bytes.
        signature: Vec<u8>,
    },
}

impl Sender {
    /// Every configured source; without any, `default` is open.
    pub fn all(sources: &BTreeMap<String, Source>) -> BTreeMap<String, Self> {
        if sources.is_empty() {
            return [("default".to_owned(), Self::Open)].into();
        }
        sources.iter().map(|(name, source)| (name.clone(), Self::of(source))).collect()
    }

    fn of(source: &Source) -> Self {
        if let Some(token) = &source.token {
            return Self::Token(Digest::of(token.expose().as_bytes()));
        }
        if let Some(basic) = &source.basic {
            let pair = format!("{}:{}", basic.user, basic.password.expose());
            return Self::Basic(Digest::of(pair.as_bytes()));
        }
        source.hmac.as_ref().map_or(Self::Open, |secret| Self::Signed(secret.get()))
    }

    /// Checks what the headers can prove, before any body is read. `loopback`: only this machine can connect.
    pub fn check(&self, name: &str, headers: &HeaderMap, loopback: bool) -> Result<Proof, Problem> {
        match self {
            Self::Open if loopback => {
                browser::check_open(headers, &format!("sources.{name}.token")).map(|()| Proof::Done)
            }
            Self::Open => Err(Problem::forbidden(format!(
                "the source `{name}` has no credential; add `sources.{name}.token`"
            ))),
            Self::Token(expected) => match credential(headers) {
                Some(Credential::Bearer(token)) if expected.is(&Digest::of(token.as_bytes())) => {
                    Ok(Proof::Done)
                }
                Some(_) | None => Err(refused("Bearer", name, "bearer token")),
            },
            Self::Basic(expected) => match credential(headers) {
                Some(Credential::Basic { user, password })
                    if expected.is(&Digest::of(format!("{user}:{password}").as_bytes())) =>
                {
                    Ok(Proof::Done)
                }
                Some(_) | None => Err(refused("Basic", name, "user and password")),
            },
            Self::Signed(_) => {
                let signature = one(headers, &SIGNATURE).and_then(unhex);
                let signature = signature.ok_or_else(|| {
                    refused("Bearer", name, "signature in X-Grafana-Alerting-Signature")
                })?;
                let time = headers
                    .contains_key(&TIME)
                    .then(|| one(headers, &TIME).unwrap_or("").to_owned());
                Ok(Proof::Signature { time, signature })
            }
        }
    }

    /// Checks what only the whole body can prove.
    pub fn check_body(
        &self,
        name: &str,
        proof: &Proof,
        body: &[u8],
        now: Timestamp,
    ) -> Result<(), Problem> {
        let (Self::Signed(secret), Proof::Signature { time, signature }) = (self, proof) else {
            return Ok(());
        };
        let wrong = || refused("Bearer", name, "signature in X-Grafana-Alerting-Signature");
        if let Some(time) = time {
            let sent: i64 = time.parse().map_err(|_| wrong())?;
            if now.as_second().abs_diff(sent) > TOLERANCE {
                return Err(Problem::unauthorised(
                    "Bearer",
                    "the signed time is more than 5 minutes from ours; is the clock right?",
                ));
            }
        }
        // An empty secret would let anybody sign.
        let secret =
            Some(secret.expose_secret()).filter(|secret| !secret.is_empty()).ok_or_else(wrong)?;
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_err(|_| wrong())?;
        if let Some(time) = time {
            mac.update(time.as_bytes());
            mac.update(b":");
        }
        mac.update(body);
        mac.verify_slice(signature).map_err(|_| wrong())
    }
}

fn refused(scheme: &'static str, name: &str, what: &str) -> Problem {
    Problem::unauthorised(
        scheme,
        format!("the source `{name}` needs its {what}; it is missing or not the configured one"),
    )
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
    let digits = digits.filter(|digits| digits.len() == 64)?;
    Some(digits.chunks(2).map(|pair| (pair[0] << 4) | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(secret: &str, parts: &[&str]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        for part in parts {
            mac.update(part.as_bytes());
        }
        mac.finalize().into_bytes().iter().fold(String::new(), |hex, b| format!("{hex}{b:02x}"))
    }

    fn accepts(time: Option<&str>, signature: &str, body: &str) -> bool {
        let sender = Sender::Signed("k".into());
        let mut headers = HeaderMap::new();
        headers.insert(SIGNATURE, signature.parse().unwrap());
        if let Some(time) = time {
            headers.insert(TIME, time.parse().unwrap());
        }
        let now = Timestamp::from_second(1_000_000).unwrap();
        let proof = sender.check("g", &headers, true);
        proof.and_then(|proof| sender.check_body("g", &proof, body.as_bytes(), now)).is_ok()
    }

    #[test]
    fn a_signature_over_the_body_or_over_time_and_body_is_accepted() {
        assert!(accepts(None, &sign("k", &["{}"]), "{}"));
        assert!(accepts(None, &sign("k", &["{}"]).to_uppercase(), "{}"));
        for time in ["1000000", "999700", "1000300"] {
            assert!(accepts(Some(time), &sign("k", &[time, ":", "{}"]), "{}"), "{time}");
        }
    }

    #[test]
    fn any_other_signature_time_or_body_is_refused() {
        let good = sign("k", &["{}"]);
        for (time, signature, body) in [
            (None, sign("other", &["{}"]), "{}"),
            (None, good.clone(), "{ }"),
            (None, good.clone(), ""),
            (None, good[..62].to_owned(), "{}"),
            (None, "zz".repeat(32), "{}"),
            (None, String::new(), "{}"),
            (Some("1000000"), good.clone(), "{}"),
            (Some("999699"), sign("k", &["999699", ":", "{}"]), "{}"),
            (Some("1000301"), sign("k", &["1000301", ":", "{}"]), "{}"),
            (Some(""), sign("k", &["", ":", "{}"]), "{}"),
            (Some("x"), sign("k", &["x", ":", "{}"]), "{}"),
        ] {
            assert!(!accepts(time, &signature, body), "{time:?} {signature} {body}");
        }
    }
}
