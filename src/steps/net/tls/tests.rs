//! Certificates of every sort, over real handshakes on loopback.

use std::sync::Arc;

use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{super::bench::Bench, *};
use crate::clients::Kind;

const MINIO: (&str, &str) = (
    include_str!("../../../../tests/fixtures/tls/minio.crt"),
    include_str!("../../../../tests/fixtures/tls/minio.key"),
);
const ANCIENT: (&str, &str) = (
    include_str!("../../../../tests/fixtures/tls/ancient.crt"),
    include_str!("../../../../tests/fixtures/tls/ancient.key"),
);

/// Serves one handshake; the address.
#[allow(clippy::disallowed_methods, reason = "the server is spawned beside the story")]
async fn server((certificate, key): (&str, &str)) -> String {
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        // The other side closes as soon as it has seen enough.
        drop(acceptor.accept(stream).await);
    });
    address
}

fn step(address: &str, name: Option<&str>) -> Tls {
    let name = name.map(Into::into);
    Tls { address: address.into(), name, min_days: MinDays::default(), timeout: None }
}

async fn probe(address: &str, name: Option<&str>, now: &str) -> Outcome<Probe> {
    let mut bench = Bench::new();
    bench.clock = crate::ops::clock::Clock::manual(now.parse().unwrap()).0;
    step(address, name).probe(&bench.context(), Trust::Configured).await.unwrap()
}

#[tokio::test]
async fn an_unknown_authority_is_told_with_names_and_days() {
    let address = server(MINIO).await;
    let seen = probe(&address, Some("minio.data.svc"), "2026-11-23T03:12:00Z").await;
    assert_eq!(seen.value.problems, [Problem::Untrusted]);
    assert_eq!((seen.value.days_left, seen.value.protocol.as_str()), (Some(38), "TLSv1.3"));
    let lines: Vec<_> = seen.passages.iter().map(|p| p.text.replace(&address, "ADDRESS")).collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    tls ADDRESS: TLSv1.3 untrusted, certificate ends in 38 days: invalid peer certificate: UnknownIssuer
    tls ADDRESS certificate: for minio.data.svc (minio.data.svc *.minio.data.svc 10.1.2.3 fd00::1), by Test Authority, until 2027-01-01T00:00:00Z
    ");
}

#[tokio::test]
async fn expired_and_for_another_name_are_both_said() {
    let address = server(MINIO).await;
    let seen = probe(&address, Some("s3.data.svc"), "2027-01-03T00:00:00Z").await;
    let problems = [Problem::Expired, Problem::WrongName, Problem::Untrusted];
    assert_eq!(seen.value.problems, problems);
    assert!(seen.summary.contains("certificate ended 2 days ago"), "{}", seen.summary);
    let early = server(MINIO).await;
    let seen = probe(&early, Some("minio.data.svc"), "2019-01-01T00:00:00Z").await;
    assert!(seen.value.problems.contains(&Problem::NotYetValid), "{:?}", seen.value.problems);
}

#[tokio::test]
async fn a_certificate_that_signed_itself_is_untrusted_and_its_own_issuer() {
    let address = server(ANCIENT).await;
    let seen = probe(&address, None, "2026-11-23T03:12:00Z").await;
    assert_eq!(seen.value.problems, [Problem::Untrusted]);
    assert!(seen.value.chain[0].self_signed);
    assert!(!seen.value.healthy);
}

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "the server is spawned beside the story")]
async fn a_server_that_speaks_no_tls_and_one_that_is_not_there_are_findings() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        use tokio::io::AsyncWriteExt as _;
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await.unwrap();
    });
    let seen = probe(&address, None, "2026-11-23T03:12:00Z").await;
    assert_eq!((seen.value.state.as_str(), seen.value.healthy), ("broken", false));
    let gone = probe(&address, None, "2026-11-23T03:12:00Z").await;
    assert_eq!(gone.value.state, "refused");
    assert!(gone.summary.starts_with(&format!("tls {address}: refused: ")), "{}", gone.summary);
}

#[tokio::test]
async fn a_server_that_never_answers_the_handshake_is_late() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut bench = Bench::new();
    let (clock, hand) = crate::ops::clock::Clock::manual(Timestamp::UNIX_EPOCH);
    bench.clock = clock;
    let context = bench.context();
    let step = step(&address, None);
    let waiting = step.probe(&context, Trust::Configured);
    let silent = async {
        let accepted = listener.accept().await.unwrap();
        hand.advance(Duration::from_secs(6));
        accepted
    };
    let (seen, _open) = futures::join!(waiting, silent);
    assert_eq!(seen.unwrap().value.state, "timeout");
}

#[tokio::test]
async fn an_address_the_guard_does_not_allow_fails_the_step() {
    for address in ["127.0.0.1:443", "169.254.169.254:443", "[::1]:443", "localhost:443"] {
        let failure = step(address, None).run(&Bench::new().context()).await.unwrap_err();
        let Failure::Client(error) = failure else { panic!("{address} is denied, not skipped") };
        assert_eq!(error.kind, Kind::Denied, "{address}");
    }
}
