//! `net.http` against a small server on loopback.
#![allow(clippy::disallowed_methods, reason = "fake servers are spawned as they are")]

use axum::{Router, http::StatusCode, routing::get};
use serde_json::json;

use super::{super::bench::Bench, *};
use crate::domain::template::Scope;

async fn serve() -> String {
    let app = Router::new()
        .route("/ok", get(|| async { r#"{"status": "ok"}"# }))
        .route("/down", get(|| async { (StatusCode::SERVICE_UNAVAILABLE, "no") }))
        .route("/moved", get(|| async { (StatusCode::FOUND, [("location", "/ok")]) }))
        .route("/hang", get(std::future::pending::<()>));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    format!("http://{address}")
}

/// The summary of a probe, with the port and the latency masked.
async fn probe(yaml: &str) -> String {
    let base = serve().await;
    let mut bench = Bench::new();
    bench.scope = Scope::default().with("labels", json!({ "base": base }));
    let step: Http = serde_saphyr::from_str(yaml).unwrap();
    let outcome = step.probe(&bench.context(), Trust::Configured).await.unwrap();
    assert_eq!(outcome.value.healthy, outcome.value.reason.is_empty());
    assert_eq!(outcome.passages[0].text, outcome.summary);
    let masked = outcome.summary.replace(&base, "http://host");
    Regex::new(r"\d+ ms").unwrap().replace_all(&masked, "N ms").into_owned()
}

#[tokio::test]
async fn an_answer_is_held_against_what_was_expected() {
    insta::assert_snapshot!(probe(r#"url: "{{labels.base}}/ok?token=secret""#).await, @"GET http://host/ok: 200 in N ms");
    insta::assert_snapshot!(probe(r#"{ url: "{{labels.base}}/moved", method: HEAD }"#).await, @"HEAD http://host/moved: 302 in N ms");
    insta::assert_snapshot!(probe(r#"url: "{{labels.base}}/down""#).await, @"GET http://host/down: 503 in N ms (expected 200 to 399)");
    insta::assert_snapshot!(probe(r#"{ url: "{{labels.base}}/down", expect_status: 503 }"#).await, @"GET http://host/down: 503 in N ms");
    insta::assert_snapshot!(probe(r#"{ url: "{{labels.base}}/ok", expect_status: 204 }"#).await, @"GET http://host/ok: 200 in N ms (expected 204)");
    insta::assert_snapshot!(probe(r#"{ url: "{{labels.base}}/ok", expect_body: "\"ok\"" }"#).await, @"GET http://host/ok: 200 in N ms");
    insta::assert_snapshot!(probe(r#"{ url: "{{labels.base}}/ok", expect_body: "^fine$" }"#).await, @"GET http://host/ok: 200 in N ms (the body does not match `^fine$`)");
}

#[tokio::test]
async fn no_answer_is_a_finding_too() {
    insta::assert_snapshot!(probe(r#"{ url: "{{labels.base}}/hang", timeout: 100ms }"#).await, @"GET http://host/hang: failed after N ms: timeout: no complete answer in time");
    let refused = probe("url: http://127.0.0.1:1/").await;
    assert!(
        refused.starts_with("GET http://127.0.0.1:1/: failed after N ms: unreachable: "),
        "{refused}"
    );
}

#[tokio::test]
async fn an_address_the_guard_does_not_allow_fails_the_step() {
    let bench = Bench::new();
    for address in
        ["http://127.0.0.1:1/", "http://169.254.169.254/latest/meta-data/", "http://localhost/"]
    {
        let step: Http = serde_saphyr::from_str(&format!("url: {address}")).unwrap();
        let Failure::Client(error) = step.run(&bench.context()).await.unwrap_err() else {
            panic!("{address} is denied, not skipped")
        };
        assert_eq!(error.kind, Kind::Denied, "{address}");
    }
}

#[tokio::test]
async fn a_hostile_label_skips_the_step() {
    let mut bench = Bench::new();
    let step: Http = serde_saphyr::from_str(r#"url: "http://{{labels.instance}}/health""#).unwrap();
    let long = "x".repeat(65_536);
    for bad in ["", "a b", "a\r\nX: 1", "user:pass@host", "\0", "[", &long] {
        bench.scope = Scope::default().with("labels", json!({ "instance": bad }));
        let failure = step.run(&bench.context()).await.unwrap_err();
        assert!(matches!(failure, Failure::Skipped(_)), "{bad:?}: {failure}");
        assert!(
            failure.to_string().len() < 400 && !failure.to_string().contains("pass@"),
            "{failure}"
        );
    }
}

#[test]
fn mistakes_are_refused_when_the_playbook_is_loaded() {
    for (yaml, why) in [
        ("url: ftp://host/", "does not start with http"),
        ("url: host:80", "does not start with http"),
        ("{ url: http://h/, expect_body: '(' }", "unclosed group"),
        ("{ url: http://h/, method: POST }", "unknown variant"),
        ("{ url: http://h/, timeout: 1h }", "out of range"),
        ("{ url: http://h/, follow: true }", "unknown field"),
    ] {
        let error = serde_saphyr::from_str::<Http>(yaml).unwrap_err().to_string();
        assert!(error.contains(why), "{yaml}: {error}");
    }
}
