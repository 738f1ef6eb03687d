//! `s3.*` against a server in every mood a real one was seen in.

use std::time::Duration;

use paramedic::steps::{Failure, s3::health::Health};
use serde_json::{Value, json};

use crate::{
    bench::{self, Bench, passages},
    fakes::s3::{ACCESS, Mood, S3, SECRET},
};

/// A bench with the bucket `lake` in this mood.
async fn lake(mood: Mood) -> (Bench, S3) {
    let bench = Bench::new();
    let fake = S3::start(mood, bench.hand.clone()).await;
    let bench = bench.bucket("lake", &fake.url, "data-lake");
    (bench, fake)
}

/// The verdict, and the lines without their latencies, which are real time.
async fn climb(mood: Mood, inputs: &str) -> (String, String, Value) {
    let (bench, _fake) = lake(mood).await;
    let findings = bench.run(&format!("s3.health: {inputs}")).await.unwrap();
    let verdict = findings.value["verdict"].as_str().unwrap().to_owned();
    (verdict, passages(&findings), findings.value)
}

#[tokio::test]
async fn a_healthy_minio_climbs_to_the_top_and_the_canary_is_gone_afterwards() {
    let (bench, fake) = lake(Mood::Healthy).await;
    let findings = bench.run("s3.health: { canary: ops/canary }").await.unwrap();
    assert_eq!(findings.value["verdict"], "ok");
    assert_eq!(
        (&findings.value["minio"], &findings.value["healthy"]),
        (&json!(true), &json!(true))
    );
    insta::assert_snapshot!(passages(&findings), @r"
    s3 lake dns: ok in 0 ms
    s3 lake tcp: ok in 0 ms
    s3 lake minio_health: ok in 0 ms
    s3 lake head_bucket: ok in 0 ms
    s3 lake list: ok in 0 ms
    s3 lake put: ok in 0 ms
    s3 lake get: ok in 0 ms
    s3 lake delete: ok in 0 ms
    ");
    assert_eq!(fake.keys(), Vec::<String>::new());
    let canary = "/data-lake/ops/canary.";
    assert_eq!(fake.heard().iter().filter(|line| line.contains(canary)).count(), 3);
}

#[tokio::test]
async fn without_a_canary_nothing_is_written() {
    let (bench, fake) = lake(Mood::NotMinio).await;
    let findings = bench.run("s3.health: {}").await.unwrap();
    assert_eq!(
        (&findings.value["verdict"], &findings.value["minio"]),
        (&json!("ok"), &json!(false))
    );
    assert!(passages(&findings).contains("minio_health: ok in 0 ms (not MinIO, no health pages)"));
    assert!(!fake.heard().iter().any(|line| line.starts_with("PUT") || line.starts_with("DELETE")));
}

#[tokio::test]
async fn each_fault_has_the_word_of_its_code() {
    for (status, code, verdict) in [
        (403, "AccessDenied", "access_denied"),
        (403, "InvalidAccessKeyId", "bad_credentials"),
        (403, "SignatureDoesNotMatch", "bad_credentials"),
        (404, "NoSuchBucket", "no_such_bucket"),
        (503, "SlowDown", "throttled"),
        (503, "XMinioServerNotInitialized", "not_ready"),
        (500, "InternalError", "internal_error"),
    ] {
        let (said, lines, value) = climb(Mood::Says(status, code, "no"), "{}").await;
        assert_eq!((said.as_str(), &value["code"]), (verdict, &json!(code)));
        let line = format!("s3 lake list: FAILED after 0 ms: {verdict}: HTTP {status}: {code}: no");
        assert!(lines.ends_with(&line), "{lines}");
    }
}

#[tokio::test]
async fn a_full_store_is_found_by_the_canary() {
    let (verdict, lines, _) =
        climb(Mood::SaysToPut(507, "XMinioStorageFull"), "{ canary: ops/canary }").await;
    assert_eq!(verdict, "storage_full");
    assert!(lines.ends_with("put: FAILED after 0 ms: storage_full: HTTP 507: XMinioStorageFull"));
}

#[tokio::test]
async fn clocks_that_differ_are_said_and_too_far_is_the_verdict() {
    let (verdict, lines, value) = climb(Mood::Skewed(-120), "{}").await;
    assert_eq!((verdict.as_str(), &value["clock_skew_seconds"]), ("ok", &json!(-120)));
    assert!(lines.contains("(the server's clock is 120 s behind ours)"), "{lines}");
    let (verdict, lines, _) = climb(Mood::Skewed(3600), "{}").await;
    assert_eq!(verdict, "clock_skew");
    assert!(lines.contains("the server's clock is 3600 s ahead of ours"), "{lines}");
}

#[tokio::test]
async fn another_region_is_named() {
    let (verdict, lines, _) = climb(Mood::Moved, "{}").await;
    assert_eq!(verdict, "wrong_region");
    assert!(lines.contains("PermanentRedirect: the bucket is in region eu-west-1"), "{lines}");
}

#[tokio::test]
async fn minio_without_its_quorum_is_told_and_the_bucket_is_asked_all_the_same() {
    let (verdict, lines, value) = climb(Mood::NoWriteQuorum, "{}").await;
    assert_eq!((verdict.as_str(), &value["healthy"]), ("not_ready", &json!(false)));
    assert!(
        lines.contains("HTTP 503: the cluster has no write quorum; it can still read"),
        "{lines}"
    );
    assert!(lines.ends_with("s3 lake list: ok in 0 ms"), "{lines}");
    let (verdict, _, _) = climb(Mood::Overloaded, "{}").await;
    assert_eq!(verdict, "throttled");
}

#[tokio::test]
async fn what_does_not_speak_s3_is_named_as_such() {
    let (verdict, lines, _) = climb(Mood::Web, "{}").await;
    assert_eq!(verdict, "not_s3");
    assert!(lines.contains("HTTP 405: a web page came back, not S3"), "{lines}");
}

#[tokio::test]
async fn a_late_answer_is_slow_and_the_playbook_says_what_late_is() {
    let late = || Mood::Late(Duration::from_millis(1500));
    let (verdict, lines, _) = climb(late(), "{ slow: 1s }").await;
    assert_eq!(verdict, "slow");
    assert!(lines.contains("head_bucket: slow, 1500 ms"), "{lines}");
    assert_eq!(climb(late(), "{}").await.0, "ok");
}

#[tokio::test]
async fn bytes_that_change_are_corrupt_and_the_canary_is_deleted_all_the_same() {
    let (bench, fake) = lake(Mood::Corrupt).await;
    let findings = bench.run("s3.health: { canary: ops/canary }").await.unwrap();
    assert_eq!(findings.value["verdict"], "corrupt");
    assert_eq!(fake.keys(), Vec::<String>::new());
}

#[tokio::test]
async fn nothing_listening_and_no_such_name_are_findings() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let bench = Bench::new().bucket("down", &url, "data-lake");
    let bench = bench.bucket("gone", "http://minio.invalid:9000", "data-lake");
    let down = bench.run("s3.health: { bucket: down }").await.unwrap();
    assert_eq!(down.value["verdict"], "refused");
    assert!(down.summary.starts_with("refused: s3 down tcp: FAILED after 0 ms: refused"));
    let gone = bench.run("s3.health: { bucket: gone }").await.unwrap();
    assert_eq!(gone.value["verdict"], "unresolved");
}

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "the server is spawned beside the story")]
async fn a_certificate_this_machine_does_not_trust_ends_the_climb_with_its_days() {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
    let pem =
        (include_str!("../fixtures/tls/ancient.crt"), include_str!("../fixtures/tls/ancient.key"));
    let chain = vec![CertificateDer::from_pem_slice(pem.0.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(pem.1.as_bytes()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        drop(acceptor.accept(stream).await);
    });
    let findings =
        Bench::new().bucket("lake", &url, "data-lake").run("s3.health: {}").await.unwrap();
    assert_eq!(findings.value["verdict"], "tls");
    assert_eq!(findings.value["certificate_days"], 26_336);
    let lines = passages(&findings);
    let last = lines.lines().last().unwrap();
    assert!(
        last.starts_with("s3 lake tls: FAILED after 0 ms: tls: certificate untrusted: "),
        "{lines}"
    );
}

#[tokio::test]
async fn keys_that_a_server_repeats_are_masked() {
    let echo = "The AWS Access Key Id AKIDEXAMPLE with hunter2-secret-key is unknown";
    let (_, lines, value) = climb(Mood::Says(403, "InvalidAccessKeyId", echo), "{}").await;
    for told in [lines, value.to_string()] {
        assert!(!told.contains(SECRET) && !told.contains(ACCESS), "{told}");
        assert!(told.contains("The AWS Access Key Id *** with *** is unknown"), "{told}");
    }
    let (bench, _fake) = lake(Mood::Says(403, "AccessDenied", echo)).await;
    let failure = bench.run("s3.prefix: { prefix: a }").await.unwrap_err().to_string();
    assert_eq!(
        failure,
        "could not read bucket lake: access_denied: HTTP 403: AccessDenied: The AWS Access Key Id *** with *** is unknown"
    );
}

#[tokio::test]
async fn a_prefix_is_counted_page_by_page() {
    let (mut bench, fake) = lake(Mood::Healthy).await;
    for number in 0..1_203 {
        fake.put(&format!("orders/day=1/part-{number:04}.parquet"), 2);
    }
    fake.put("orders/day=1/_SUCCESS", 0);
    fake.put("orders/day=1/_temporary/0/x", 1);
    fake.put("orders/day=2/other", 100);
    bench.scope.set("labels", json!({ "day": "1" }));
    let step = r#"s3.prefix: { prefix: "orders/day={{labels.day}}/" }"#;
    let findings = bench.run(step).await.unwrap();
    let value = &findings.value;
    assert_eq!((&value["objects"], &value["bytes"]), (&json!(1_205), &json!(2_407)));
    assert_eq!(
        (&value["cut"], &value["success"], &value["temporary"]),
        (&json!(false), &json!(true), &json!(1))
    );
    assert_eq!(value["newest"]["modified"], "2026-11-23T03:00:59.000Z");
    let first = bench.run("s3.prefix: { prefix: orders/, pages: 1 }").await.unwrap();
    assert_eq!((&first.value["objects"], &first.value["cut"]), (&json!(1_000), &json!(true)));
    assert!(first.summary.contains("more than 1000 objects"), "{}", first.summary);
    let none = bench.run("s3.prefix: { prefix: nothing/ }").await.unwrap();
    assert_eq!((&none.value["exists"], &none.value["success"]), (&json!(false), &json!(false)));
}

#[tokio::test]
async fn a_list_that_never_ends_is_bounded() {
    let (bench, fake) = lake(Mood::Endless).await;
    fake.put("b", 1);
    let findings = bench.run("s3.prefix: { prefix: b, pages: 20 }").await.unwrap();
    assert_eq!((&findings.value["objects"], &findings.value["cut"]), (&json!(20), &json!(true)));
}

#[tokio::test]
async fn a_hostile_label_stays_within_the_bucket_and_its_query() {
    let (mut bench, fake) = lake(Mood::Healthy).await;
    fake.put("a&list-type=1#?x", 1);
    bench.scope.set("labels", json!({ "p": "a&list-type=1#?x" }));
    let step = r#"s3.prefix: { prefix: "{{labels.p}}" }"#;
    assert_eq!(bench.run(step).await.unwrap().value["objects"], 1);
    for bad in ["../other-bucket/", "/other-bucket/", "a/../../b"] {
        bench.scope.set("labels", json!({ "p": bad }));
        assert!(matches!(bench.run(step).await.unwrap_err(), Failure::Skipped(_)), "{bad}");
    }
    assert!(fake.heard().iter().all(|line| line.contains(" /data-lake")), "{:?}", fake.heard());
}

#[tokio::test]
async fn a_bucket_nobody_configured_skips_the_step_and_names_the_others() {
    let (bench, _fake) = lake(Mood::Healthy).await;
    let failure = bench.run("s3.health: { bucket: sea }").await.unwrap_err();
    insta::assert_snapshot!(failure, @"cluster prod-eu has no bucket named `sea` under `s3:` (configured: lake)");
}

#[test]
fn the_example_is_what_it_says() {
    let step: Health = bench::example();
    assert_eq!(step.bucket.unwrap().source(), "lake");
    assert!(serde_saphyr::from_str::<Health>("canary: ../x").is_err());
}
