//! What a TLS server shows: protocol, certificates, and whether this machine trusts them.
//!
//! A check that only says "handshake failed" is useless at night: an expired certificate, a wrong name and an unknown
//! authority need three different people. So the verifier here lets every certificate pass and writes down what a strict
//! one would have said. Nothing is sent or read on such a connection: it is closed after the handshake.

mod der;

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use rustls_platform_verifier::Verifier;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{one_line, words};
use crate::ops::lifecycle;

pub use der::Certificate;

/// Most certificates of a chain that are read.
const MAX_CHAIN: usize = 10;
/// Longest reason kept, characters.
const MAX_REASON: usize = 300;

words! {
    /// What is wrong with a certificate.
    Problem {
        /// Its time is over.
        Expired => "expired",
        /// Its time has not come.
        NotYetValid => "not_yet_valid",
        /// It is for other names.
        WrongName => "wrong_name",
        /// No authority this machine trusts has signed it.
        Untrusted => "untrusted",
        /// It, or its chain, cannot be used: malformed, revoked, made for another purpose, signed in a way we do not know.
        Unusable => "unusable",
    }
}

/// What a server showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// `TLSv1.3`; empty when the handshake did not end.
    pub protocol: String,
    /// The server's certificate first, then the rest of its chain.
    pub chain: Vec<Certificate>,
    /// What is wrong with them; empty when this machine trusts them for this name.
    pub problems: Vec<Problem>,
    /// A strict verifier's words; empty when nothing is wrong.
    pub reason: String,
    /// Why the handshake did not end; empty when it did.
    pub broken: String,
}

impl Seen {
    /// Days until the first certificate of the chain ends, rounded down; below zero when that has been. `None` without a
    /// readable certificate.
    pub fn days_left(&self, now: Timestamp) -> Option<i64> {
        self.chain.iter().map(|certificate| certificate.days_left(now)).min()
    }
}

/// Shakes hands as a client that asks for `host`, over a connection that stands already, and closes it. The caller bounds
/// the time. Fails only when this machine has no usable trust store, or `host` is no name; what the server does wrong is
/// in the answer.
pub async fn inspect(stream: TcpStream, host: &str, now: Timestamp) -> Result<Seen, String> {
    let name = server_name(host)?;
    let recorder = lifecycle::blocking(move || Recorder::new(now))
        .await
        .map_err(|error| error.to_string())??;
    let recorder = Arc::new(recorder);
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|e| e.to_string())?;
    let verifier = Arc::clone(&recorder) as Arc<dyn ServerCertVerifier>;
    let config =
        builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    let shaken = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    let mut seen = recorder.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match shaken {
        Ok(stream) => {
            let version = stream.get_ref().1.protocol_version();
            let version = version.and_then(|version| version.as_str());
            version.map_or("TLS", protocol).clone_into(&mut seen.protocol);
        }
        Err(error) => seen.broken = one_line(&error.to_string(), MAX_REASON),
    }
    Ok(seen)
}

/// A host as certificates name it. IPv6 may stand in brackets.
fn server_name(host: &str) -> Result<ServerName<'static>, String> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(ServerName::IpAddress(address.into()));
    }
    ServerName::try_from(bare.to_owned())
        .map_err(|_| format!("`{}` is no name a certificate can have", one_line(bare, 80)))
}

/// `TLSv1_3` as everybody else writes it.
fn protocol(version: &str) -> &str {
    match version {
        "TLSv1_3" => "TLSv1.3",
        "TLSv1_2" => "TLSv1.2",
        other => other,
    }
}

/// Lets every certificate pass, and notes what the machine's own verifier says.
#[derive(Debug)]
struct Recorder {
    strict: Verifier,
    now: Timestamp,
    seen: Mutex<Seen>,
}

impl Recorder {
    fn new(now: Timestamp) -> Result<Self, String> {
        let strict = Verifier::new(Arc::new(ring::default_provider()))
            .map_err(|error| format!("this machine's trust store cannot be used: {error}"))?;
        Ok(Self { strict, now, seen: Mutex::new(Seen::default()) })
    }

    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
    ) -> Seen {
        let all = std::iter::once(leaf).chain(chain).take(MAX_CHAIN);
        let chain_read: Vec<Certificate> = all.filter_map(|c| der::read(c).ok()).collect();
        let strict = self.strict.verify_server_cert(leaf, chain, name, &[], instant(self.now));
        let Err(error) = strict else {
            // An old certificate further up, that the trusted path does not need, is no problem.
            return Seen { chain: chain_read, ..Seen::default() };
        };
        // A strict verifier stops at the first fault. What else is wrong is looked at whatever it said: the dates, the name,
        // and whether it would be trusted at a time that fits.
        let mut problems = vec![];
        if chain_read.iter().any(|c| c.not_after < self.now) {
            problems.push(Problem::Expired);
        }
        if chain_read.iter().any(|c| c.not_before > self.now) {
            problems.push(Problem::NotYetValid);
        }
        let parsed = ParsedCertificate::try_from(leaf);
        if parsed.is_ok_and(|parsed| verify_server_name(&parsed, name).is_err()) {
            problems.push(Problem::WrongName);
        }
        let mut reason = one_line(&error.to_string(), MAX_REASON);
        let mut found = vec![problem(&error)];
        if let Some(first) = chain_read.first().filter(|_| !problems.is_empty()) {
            let then = self.now.clamp(first.not_before, first.not_after.max(first.not_before));
            let then = self.strict.verify_server_cert(leaf, chain, name, &[], instant(then));
            if let Err(other) = then
                && problem(&other) != found[0]
                && !problems.contains(&problem(&other))
            {
                found.push(problem(&other));
                reason = format!("{reason}; {}", one_line(&other.to_string(), MAX_REASON));
            }
        }
        found.retain(|problem| !problems.contains(problem));
        problems.extend(found);
        Seen { chain: chain_read, problems, reason, ..Seen::default() }
    }
}

fn instant(at: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::try_from(at.as_duration()).unwrap_or_default())
}

fn problem(error: &TlsError) -> Problem {
    let TlsError::InvalidCertificate(error) = error else { return Problem::Unusable };
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Problem::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Problem::NotYetValid
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Problem::WrongName
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => Problem::Untrusted,
        // A certificate that signed itself and calls itself an authority: the usual home-made one.
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            Problem::Untrusted
        }
        _ => Problem::Unusable,
    }
}

impl ServerCertVerifier for Recorder {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = self.judge(leaf, chain, name);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.strict.verify_tls12_signature(message, leaf, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.strict.verify_tls13_signature(message, leaf, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.strict.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::pem::PemObject as _;

    use super::*;

    const AUTHORITY: &str = include_str!("../../../tests/fixtures/tls/authority.crt");
    const MINIO: &str = include_str!("../../../tests/fixtures/tls/minio.crt");

    /// What a machine that trusts the test authority says.
    fn judged(name: &str, now: &str) -> Seen {
        let certificate = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let strict = Verifier::new_with_extra_roots([certificate(AUTHORITY)], provider).unwrap();
        let now = now.parse().unwrap();
        let recorder = Recorder { strict, now, seen: Mutex::new(Seen::default()) };
        recorder.judge(&certificate(MINIO), &[], &server_name(name).unwrap())
    }

    #[test]
    fn a_certificate_of_a_trusted_authority_has_no_problem_until_it_ends() {
        for name in ["minio.data.svc", "a.minio.data.svc", "10.1.2.3", "[fd00::1]"] {
            let seen = judged(name, "2026-11-23T03:12:00Z");
            assert_eq!((seen.problems, seen.reason.as_str()), (vec![], ""), "{name}");
        }
        let expired = judged("minio.data.svc", "2027-02-01T00:00:00Z");
        assert_eq!(expired.problems, [Problem::Expired]);
        assert_eq!(expired.days_left("2027-02-01T00:00:00Z".parse().unwrap()), Some(-31));
        let early = judged("minio.data.svc", "2019-02-01T00:00:00Z");
        assert_eq!(early.problems, [Problem::NotYetValid]);
        let other = judged("b.a.minio.data.svc", "2026-11-23T03:12:00Z");
        assert_eq!(other.problems, [Problem::WrongName]);
    }

    #[test]
    fn what_no_certificate_can_name_is_refused() {
        for bad in ["", "a b", "a\0", "-", &"x".repeat(300)] {
            assert!(server_name(bad).is_err(), "{bad:?}");
        }
    }
}
