//! The few fields of an X.509 certificate that a person asks about: who it is for, who signed it, until when.
//!
//! Trust is not decided here (rustls does that); this only reads. Written by hand because a whole X.509 crate brings a
//! second time crate or thirty others for four fields. Every length is checked against what is left.

use std::net::{Ipv4Addr, Ipv6Addr};

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use schemars::JsonSchema;
use serde::Serialize;

use crate::clients::one_line;

/// A certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Certificate {
    /// Its common name, else its organisation; empty when it has neither.
    pub subject: String,
    /// Who signed it, in the same form.
    pub issuer: String,
    /// DNS names and addresses it is for, at most 50.
    pub names: Vec<String>,
    /// Valid from.
    #[schemars(with = "String")]
    pub not_before: Timestamp,
    /// Valid until.
    #[schemars(with = "String")]
    pub not_after: Timestamp,
    /// It is its own issuer.
    pub self_signed: bool,
}

impl Certificate {
    /// Days until it ends, rounded down; below zero when that has been.
    pub fn days_left(&self, now: Timestamp) -> i64 {
        self.not_after.duration_since(now).as_secs().div_euclid(24 * 3_600)
    }
}

const MAX_NAMES: usize = 50;
/// Longest name kept, characters.
const MAX_NAME: usize = 255;

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const OID: u8 = 0x06;
const OCTET_STRING: u8 = 0x04;
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];
const ORGANISATION: [u8; 3] = [0x55, 0x04, 0x0a];
const ALTERNATIVE_NAMES: [u8; 3] = [0x55, 0x1d, 0x11];

/// Bytes that are no certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Reads a certificate in DER.
pub(super) fn read(bytes: &[u8]) -> Result<Certificate, Malformed> {
    let mut outer = Reader(bytes);
    let mut certificate = Reader(outer.take(SEQUENCE)?);
    let mut body = Reader(certificate.take(SEQUENCE)?);
    body.skip_if(0xa0)?;
    // Serial number and signature algorithm.
    body.any()?;
    body.any()?;
    let issuer = body.take(SEQUENCE)?;
    let mut validity = Reader(body.take(SEQUENCE)?);
    let (not_before, not_after) = (validity.time()?, validity.time()?);
    let subject = body.take(SEQUENCE)?;
    // The public key, then optional fields up to the extensions.
    body.any()?;
    let mut names = vec![];
    while !body.0.is_empty() {
        let (tag, content) = body.any()?;
        if tag == 0xa3 {
            names = alternative_names(content)?;
        }
    }
    Ok(Certificate {
        subject: name(subject),
        issuer: name(issuer),
        names,
        not_before,
        not_after,
        self_signed: subject == issuer,
    })
}

/// The common name of a distinguished name, else its organisation.
fn name(bytes: &[u8]) -> String {
    let mut organisation = String::new();
    let mut sets = Reader(bytes);
    while let Ok((_, set)) = sets.any() {
        let mut attributes = Reader(set);
        while let Ok(attribute) = attributes.take(SEQUENCE) {
            let mut attribute = Reader(attribute);
            let (Ok(kind), Ok((_, value))) = (attribute.take(OID), attribute.any()) else { break };
            let text = one_line(&String::from_utf8_lossy(value), MAX_NAME);
            if kind == COMMON_NAME {
                return text;
            }
            if kind == ORGANISATION {
                organisation = text;
            }
        }
    }
    organisation
}

fn alternative_names(explicit: &[u8]) -> Result<Vec<String>, Malformed> {
    let mut extensions = Reader(Reader(explicit).take(SEQUENCE)?);
    while !extensions.0.is_empty() {
        let mut extension = Reader(extensions.take(SEQUENCE)?);
        if extension.take(OID)? != ALTERNATIVE_NAMES {
            continue;
        }
        // `critical`, when it is said.
        extension.skip_if(0x01)?;
        let mut list = Reader(Reader(extension.take(OCTET_STRING)?).take(SEQUENCE)?);
        let mut names = vec![];
        while !list.0.is_empty() && names.len() < MAX_NAMES {
            let (tag, value) = list.any()?;
            match (tag, value.len()) {
                (0x82, _) => names.push(one_line(&String::from_utf8_lossy(value), MAX_NAME)),
                (0x87, 4) => {
                    let parts: [u8; 4] = value.try_into().map_err(|_| Malformed)?;
                    names.push(Ipv4Addr::from(parts).to_string());
                }
                (0x87, 16) => {
                    let parts: [u8; 16] = value.try_into().map_err(|_| Malformed)?;
                    names.push(Ipv6Addr::from(parts).to_string());
                }
                _ => {}
            }
        }
        return Ok(names);
    }
    Ok(vec![])
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The next element: its tag and its content.
    fn any(&mut self) -> Result<(u8, &'a [u8]), Malformed> {
        let (&tag, rest) = self.0.split_first().ok_or(Malformed)?;
        let (&first, rest) = rest.split_first().ok_or(Malformed)?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            // At most three bytes of length: no certificate is longer than 16 MiB.
            0x81..=0x83 => {
                let (bytes, rest) =
                    rest.split_at_checked(usize::from(first & 0x7f)).ok_or(Malformed)?;
                (bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
            }
            _ => return Err(Malformed),
        };
        let (content, rest) = rest.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok((tag, content))
    }

    fn take(&mut self, wanted: u8) -> Result<&'a [u8], Malformed> {
        match self.any()? {
            (tag, content) if tag == wanted => Ok(content),
            _ => Err(Malformed),
        }
    }

    fn skip_if(&mut self, tag: u8) -> Result<(), Malformed> {
        if self.0.first() == Some(&tag) {
            self.any()?;
        }
        Ok(())
    }

    fn time(&mut self) -> Result<Timestamp, Malformed> {
        let (tag, content) = self.any()?;
        let text = std::str::from_utf8(content).map_err(|_| Malformed)?;
        let digits = text.strip_suffix('Z').ok_or(Malformed)?;
        let century = match (tag, digits.len()) {
            // Two digits of a year: 50 to 99 are of the last century.
            (UTC_TIME, 12) if digits < "50" => "20",
            (UTC_TIME, 12) => "19",
            (GENERALIZED_TIME, 14) => "",
            _ => return Err(Malformed),
        };
        let whole = format!("{century}{digits}");
        let civil = DateTime::strptime("%Y%m%d%H%M%S", &whole).map_err(|_| Malformed)?;
        civil.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp()).map_err(|_| Malformed)
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    use super::*;

    fn pem(text: &str) -> Vec<u8> {
        let lines = text.lines().filter(|line| !line.starts_with("-----"));
        STANDARD.decode(lines.collect::<String>()).unwrap()
    }

    #[test]
    fn a_certificate_says_whom_it_is_for_who_signed_it_and_until_when() {
        let bytes = pem(include_str!("../../../tests/fixtures/tls/minio.crt"));
        let read = read(&bytes).unwrap();
        assert_eq!(
            (read.subject.as_str(), read.issuer.as_str()),
            ("minio.data.svc", "Test Authority")
        );
        assert_eq!(read.names, ["minio.data.svc", "*.minio.data.svc", "10.1.2.3", "fd00::1"]);
        assert!(!read.self_signed);
        let ends: Timestamp = "2027-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(read.not_after, ends);
        let day = jiff::SignedDuration::from_hours(24);
        assert_eq!(read.days_left(ends - day), 1);
        assert_eq!(read.days_left(ends + jiff::SignedDuration::from_secs(1)), -1);
    }

    #[test]
    fn a_date_beyond_2050_is_read_too() {
        let read = read(&pem(include_str!("../../../tests/fixtures/tls/ancient.crt"))).unwrap();
        assert!(read.self_signed);
        assert_eq!(read.not_before, "1999-01-01T00:00:00Z".parse().unwrap());
        assert_eq!(read.not_after, "2099-01-01T00:00:00Z".parse().unwrap());
    }

    #[test]
    fn bytes_that_are_no_certificate_are_refused_and_never_read_past_their_end() {
        let bytes = pem(include_str!("../../../tests/fixtures/tls/minio.crt"));
        for end in 0..bytes.len() {
            assert_eq!(read(&bytes[..end]), Err(Malformed), "{end}");
        }
        for at in 0..bytes.len() {
            for value in [0, 0x80, 0x84, 0xff] {
                let mut broken = bytes.clone();
                broken[at] = value;
                drop(read(&broken));
            }
        }
    }
}
