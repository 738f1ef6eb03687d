//! The HTTP face, as senders, people and browsers meet it.

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use paramedic::{domain::incident::Status, ops::metrics};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::app::{TestApp, firing};

const INTAKE: &str = "/api/v1/alertmanager";
const SINGLE: &str = include_str!("../fixtures/alertmanager/prom-firing-single.json");

/// Sources and tokens of every kind.
const CLOSED: &str = "
server: { tokens: { ana: { secret: { env: VIEWER }, role: viewer }, raj: { secret: { env: RESPONDER }, role: responder } } }
sources:
  prod: { token: { env: SOURCE } }
  legacy: { basic: { user: am, password: { env: SOURCE } } }
  grafana: { hmac: { env: HMAC } }
";
const ANA: (&str, &str) = ("authorization", "Bearer viewer-secret");
const RAJ: (&str, &str) = ("authorization", "Bearer responder-secret");

fn lost() -> Value {
    firing(&[&[("alertname", "ExecutorLost"), ("namespace", "spark"), ("severity", "critical")]])
}

#[tokio::test]
async fn a_webhook_is_durable_when_it_is_answered() {
    let app = TestApp::new().await;
    let answer = app.post(INTAKE, SINGLE).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"accepted":1}"#));
    assert_eq!(app.engine.store.backlog().await.unwrap().0, 1);
    let again = app.send("PUT", &format!("{INTAKE}/default"), &[], SINGLE).await;
    assert_eq!(again.status, 200, "{again:?}");
    app.pump_until_quiet().await;
    assert_eq!(app.incident(1).await.status, Status::Triggered);
}

#[tokio::test]
async fn a_store_that_does_not_commit_is_a_503_that_says_nothing_of_the_inside() {
    let app = TestApp::new().await;
    // The writer ends as it does when the process stops.
    app.tasks.stop().stopped.cancel();
    let answer = app.post(INTAKE, SINGLE).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, "5"), "{answer:?}");
    insta::assert_snapshot!(answer.detail(), @"not now; try again in a few seconds");
    assert_eq!(app.engine.store.backlog().await.unwrap().0, 0);
    let ready = app.get("/readyz").await;
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["checks"][0]["ok"], false, "{ready:?}");
    assert_eq!(app.get("/livez").await.status, 200);
}

#[tokio::test]
async fn what_is_no_payload_is_refused_with_its_place() {
    let app = TestApp::new().await;
    let answer = app.post(INTAKE, "{\n  \"alerts\": {} }").await;
    assert_eq!(answer.status, 400);
    let document = answer.json();
    assert_eq!((&document["path"], &document["line"]), (&json!("alerts"), &json!(2)), "{document}");
    insta::assert_snapshot!(answer.detail(), @"not an Alertmanager webhook payload, which is a JSON object with an `alerts` array: invalid type: map, expected a sequence (at alerts, line 2, column 12)");
    for body in ["", "null", "[]", "{}", "\"x\"", "{\"alerts\":[]} x", "\0", "{\"alerts\":"] {
        let answer = app.post(INTAKE, body).await;
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
        assert!(answer.detail().contains("line 1"), "{body}: {answer:?}");
    }
}

#[tokio::test]
async fn unknown_fields_and_an_unusable_alert_do_not_stop_the_others() {
    let app = TestApp::new().await;
    let mut payload = lost();
    payload["routeLabels"] = json!({ "new": ["field"] });
    payload["alerts"][0]["alsoNew"] = json!(1);
    payload["alerts"].as_array_mut().unwrap().push(json!({ "status": "melting" }));
    app.post_alerts(&payload).await;
    app.pump_until_quiet().await;
    assert_eq!(app.incident(1).await.title, "ExecutorLost · spark");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_it_is_read() {
    let app = TestApp::new().await;
    let head =
        "POST /api/v1/alertmanager HTTP/1.1\r\nHost: localhost\r\nContent-Length: 67108865\r\n\r\n";
    let answer = raw(&app, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(
        answer.ends_with(r#""detail":"the body is larger than 64 MiB"}"#)
            || answer.contains("64 MiB"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_body_of_unknown_length_is_read() {
    let app = TestApp::new().await;
    let chunked = format!(
        "POST {INTAKE} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{:x}\r\n{SINGLE}\r\n0\r\n\r\n",
        SINGLE.len()
    );
    let answer = raw(&app, chunked.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    app.pump_until_quiet().await;
}

#[tokio::test]
async fn large_headers_and_compressed_bodies_are_refused() {
    let app = TestApp::new().await;
    let head = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(64 * 1024));
    let answer = raw(&app, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let answer = app.send("POST", INTAKE, &[("content-encoding", "gzip")], "x").await;
    assert_eq!(answer.status, 415);
}

/// Sends bytes and reads the answer until the server closes or the answer is complete.
async fn raw(app: &TestApp, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(app.url.trim_start_matches("http://")).await.unwrap();
    // The server may refuse and close before it has read everything.
    drop(stream.write_all(request).await);
    read(&mut stream).await
}

async fn read(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    loop {
        let count = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut buffer)).await;
        let count = count.expect("an answer in time").unwrap_or(0);
        text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        if count == 0 || text.split_once("\r\n\r\n").is_some_and(|(_, body)| body.ends_with('}')) {
            return text;
        }
    }
}

#[tokio::test]
async fn a_backlog_that_is_not_worked_off_is_a_503() {
    let app = TestApp::new().await;
    app.post_alerts(&lost()).await;
    app.advance(Duration::from_secs(61));
    assert_eq!(app.post(INTAKE, SINGLE).await.status, 503);
    let ready = app.get("/readyz").await.json();
    assert_eq!(ready["ready"], false);
    insta::assert_snapshot!(ready["checks"][1]["reason"].as_str().unwrap(), @"overloaded: 1 deliveries wait to be applied, the oldest for 61 s");
    app.pump_until_quiet().await;
    app.advance(Duration::from_secs(1));
    assert_eq!(app.get("/readyz").await.status, 200);
    app.post_alerts(&lost()).await;
    app.pump_until_quiet().await;
}

#[tokio::test]
async fn while_the_process_drains_running_requests_finish_and_new_alerts_are_refused() {
    let app = TestApp::new().await;
    let mut running = TcpStream::connect(app.url.trim_start_matches("http://")).await.unwrap();
    let head = format!(
        "POST {INTAKE} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        SINGLE.len()
    );
    running.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    running.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    app.tasks.stop().draining.cancel();
    assert_eq!(app.post(INTAKE, SINGLE).await.status, 503);
    running.write_all(SINGLE.as_bytes()).await.unwrap();
    let answer = read(&mut running).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    app.pump_until_quiet().await;
}

#[tokio::test]
async fn each_source_needs_its_own_credential() {
    let app = TestApp::with(CLOSED).await;
    let to = |source: &str| format!("{INTAKE}/{source}");
    // am:source-secret
    let basic = ("authorization", "Basic YW06c291cmNlLXNlY3JldA==");
    let bearer = ("authorization", "Bearer source-secret");
    for (source, header) in [("prod", bearer), ("legacy", basic)] {
        let answer = app.send("POST", &to(source), &[header], SINGLE).await;
        assert_eq!(answer.status, 200, "{source}: {answer:?}");
    }
    for (source, headers) in [
        ("prod", vec![]),
        ("prod", vec![basic]),
        ("prod", vec![("authorization", "Bearer source-secre")]),
        ("prod", vec![("authorization", "Bearer ")]),
        ("prod", vec![("authorization", "source-secret")]),
        ("prod", vec![bearer, bearer]),
        ("prod", vec![RAJ]),
        ("legacy", vec![bearer]),
        ("legacy", vec![("authorization", "Basic !")]),
        ("grafana", vec![bearer]),
    ] {
        let answer = app.send("POST", &to(source), &headers, SINGLE).await;
        assert_eq!(answer.status, 401, "{source} {headers:?}: {answer:?}");
        assert!(!answer.header("www-authenticate").is_empty());
        assert!(!answer.body.contains("source-secret"), "{answer:?}");
    }
    app.pump_until_quiet().await;
}

#[tokio::test]
async fn an_unknown_source_is_named_only_to_those_who_may_look() {
    let app = TestApp::with(CLOSED).await;
    let path = format!("{INTAKE}/staging");
    let stranger = app.send("POST", &path, &[], SINGLE).await;
    assert_eq!(stranger.status, 404);
    insta::assert_snapshot!(stranger.detail(), @"there is no source `staging`");
    let known = app.send("POST", &path, &[ANA], SINGLE).await;
    insta::assert_snapshot!(known.detail(), @"there is no source `staging`; configured: grafana, legacy, prod. Add it below `sources`, or correct the address");
    assert_eq!(app.send("POST", INTAKE, &[ANA], SINGLE).await.status, 404);
    let open = TestApp::new().await;
    insta::assert_snapshot!(open.post(&path, SINGLE).await.detail(), @"there is no source `staging`; configured: default. Add it below `sources`, or correct the address");
}

#[tokio::test]
async fn grafana_signs_its_bodies() {
    let app = TestApp::with(CLOSED).await;
    let path = format!("{INTAKE}/grafana");
    let sign = |parts: &[&str]| {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"hmac-secret").unwrap();
        for part in parts {
            mac.update(part.as_bytes());
        }
        mac.finalize().into_bytes().iter().fold(String::new(), |hex, b| format!("{hex}{b:02x}"))
    };
    let now = app.engine.now().as_second().to_string();
    let plain = sign(&[SINGLE]);
    let timed = sign(&[&now, ":", SINGLE]);
    let signature = "x-grafana-alerting-signature";
    let time = "x-grafana-alerting-timestamp";
    assert_eq!(app.send("POST", &path, &[(signature, &plain)], SINGLE).await.status, 200);
    let headers = [(signature, timed.as_str()), (time, &now)];
    assert_eq!(app.send("PUT", &path, &headers, SINGLE).await.status, 200);
    for headers in [
        vec![(signature, timed.as_str())],
        vec![(signature, plain.as_str()), (time, now.as_str())],
        vec![],
    ] {
        assert_eq!(app.send("POST", &path, &headers, SINGLE).await.status, 401, "{headers:?}");
    }
    app.advance(Duration::from_secs(301));
    app.pump_until_quiet().await;
    let late = app.send("POST", &path, &headers, SINGLE).await;
    assert!(late.detail().contains("5 minutes"), "{late:?}");
}

#[tokio::test]
async fn the_open_daemon_answers_this_machine_only() {
    let app = TestApp::new().await;
    for path in ["/incidents", "/api/v1/incidents", "/metrics"] {
        assert_eq!(app.get(path).await.status, 200, "{path}");
        for header in [
            ("forwarded", "for=1.2.3.4"),
            ("x-forwarded-for", "1.2.3.4"),
            ("via", "1.1 proxy"),
            ("host", "paramedic.evil.example"),
            ("origin", "https://evil.example"),
        ] {
            let answer = app.send("GET", path, &[header], "").await;
            assert_eq!(answer.status, 403, "{path} {header:?}: {answer:?}");
        }
    }
    let proxied = app.send("POST", INTAKE, &[("x-forwarded-for", "1.2.3.4")], SINGLE).await;
    assert_eq!(proxied.status, 403);
    insta::assert_snapshot!(proxied.detail(), @"this came through a proxy (header `x-forwarded-for`), but without a credential only this machine is answered; add `sources.default.token`");
    let rebound = app.send("POST", INTAKE, &[("host", "evil.example")], SINGLE).await;
    insta::assert_snapshot!(rebound.detail(), @"without a credential only http://localhost, http://127.0.0.1 and http://[::1] are answered, not `evil.example`; use one of them, or add `sources.default.token`");
}

#[tokio::test]
async fn roles_decide_who_may_look_and_who_may_act() {
    let app = TestApp::with(CLOSED).await;
    assert_eq!(app.get("/api/v1/incidents").await.status, 401);
    assert_eq!(app.get("/metrics").await.status, 401);
    assert_eq!(app.get("/readyz").await.status, 200);
    let page = app.page("/incidents").await;
    assert_eq!(
        (page.status, page.header("www-authenticate")),
        (401, "Basic realm=\"Paramedic\", charset=\"UTF-8\"")
    );
    let wrong = ("authorization", "Bearer viewer-secret2");
    assert_eq!(app.send("GET", "/api/v1/incidents", &[wrong], "").await.status, 401);
    for path in ["/api/v1/incidents", "/metrics", "/incidents"] {
        assert_eq!(app.send("GET", path, &[ANA], "").await.status, 200, "{path}");
    }
    // A browser: any name, the token as the password.
    let basic = ("authorization", "Basic YW5hOnZpZXdlci1zZWNyZXQ=");
    assert_eq!(app.send("GET", "/incidents", &[basic], "").await.status, 200);
    let declaration = json!({ "title": "disk full", "severity": "P2" }).to_string();
    let refused = app.send("POST", "/api/v1/incidents", &[ANA], declaration.as_str()).await;
    assert_eq!(refused.status, 403);
    insta::assert_snapshot!(refused.detail(), @"the token `ana` may only look; this needs the role responder");
    let declared = app.send("POST", "/api/v1/incidents", &[RAJ], declaration.as_str()).await;
    assert_eq!(declared.status, 201, "{declared:?}");
    assert_eq!(app.send("GET", declared.header("location"), &[ANA], "").await.status, 200);
    app.pump_until_quiet().await;
}

#[tokio::test]
async fn without_tokens_nobody_beyond_this_machine_may_look() {
    let yaml = "server: { listen: 0.0.0.0:9095 }\nsources: { prod: { token: { env: SOURCE } } }\n";
    let app = TestApp::with(yaml).await;
    insta::assert_snapshot!(app.get("/api/v1/incidents").await.detail(), @"nobody may use this: add `server.tokens` to the configuration, or listen on 127.0.0.1");
}

#[tokio::test]
async fn a_page_of_another_site_cannot_press_a_button() {
    let app = TestApp::new().await;
    app.post_alerts(&lost()).await;
    app.pump_until_quiet().await;
    let own = app.url.clone();
    for header in [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("origin", "https://evil.example"),
        ("origin", "null"),
    ] {
        for path in ["/incidents/INC-1/ack", "/api/v1/incidents/1/ack", INTAKE] {
            let answer = app.send("POST", path, &[header], "").await;
            assert_eq!(answer.status, 403, "{path} {header:?}: {answer:?}");
        }
    }
    assert!(app.incident(1).await.ack.is_none());
    let headers = [("origin", own.as_str()), ("sec-fetch-site", "same-origin")];
    assert_eq!(app.send("POST", "/api/v1/incidents/1/ack", &headers, "").await.status, 200);
    app.pump_until_quiet().await;
}

#[tokio::test]
async fn an_ack_through_the_api_ends_the_escalation_and_names_its_person() {
    let app = TestApp::with(CLOSED).await;
    let source = format!("{INTAKE}/prod");
    let bearer = ("authorization", "Bearer source-secret");
    app.send("POST", &source, &[bearer], lost().to_string()).await;
    app.pump_until_quiet().await;
    // What the body claims does not count against a token.
    let body = json!({ "round": 1, "by": "somebody else" }).to_string();
    let acked = app.send("POST", "/api/v1/incidents/INC-1/ack", &[RAJ], body.as_str()).await;
    assert_eq!(acked.status, 200, "{acked:?}");
    insta::assert_snapshot!(acked.json()["message"].as_str().unwrap(), @"raj has INC-1; escalation stopped");
    let incident = app.incident(1).await;
    let ack = incident.ack.unwrap();
    assert_eq!(
        (incident.status, ack.by.name.as_str(), ack.by.via.as_str()),
        (Status::Acknowledged, "raj", "api")
    );
    app.pump_until_quiet().await;

    let early = app.send("POST", "/api/v1/incidents/1/resolve", &[RAJ], "{}").await;
    assert_eq!((early.status, &early.json()["anyway"]), (409, &json!(true)));
    insta::assert_snapshot!(early.detail(), @"1 alerts of INC-1 still fire: silence them in Alertmanager, or resolve anyway");
    let over = app.send("POST", "/api/v1/incidents/1/resolve", &[RAJ], r#"{"anyway":true}"#).await;
    assert_eq!(over.status, 200, "{over:?}");
    let late = app.send("POST", "/api/v1/incidents/1/ack", &[RAJ], "").await;
    assert_eq!(late.status, 409);
    insta::assert_snapshot!(late.detail(), @"INC-1 is resolved already");
    app.pump_until_quiet().await;
}

#[tokio::test]
async fn incidents_are_listed_shown_and_told_in_order() {
    let app = TestApp::new().await;
    for name in ["A", "B", "C"] {
        app.post_alerts(&firing(&[&[("alertname", name), ("namespace", "spark")]])).await;
    }
    app.pump_until_quiet().await;
    let first = app.get("/api/v1/incidents?status=open&limit=2").await.json();
    let ids = |page: &Value| -> Vec<String> {
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|i| i["id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        (ids(&first), &first["next"]),
        (vec!["INC-3".to_owned(), "INC-2".to_owned()], &json!(2))
    );
    let second = app.get("/api/v1/incidents?status=open&limit=2&before=2").await.json();
    assert_eq!((ids(&second), &second["next"]), (vec!["INC-1".to_owned()], &Value::Null));
    assert!(ids(&app.get("/api/v1/incidents?status=closed").await.json()).is_empty());

    let shown = app.get("/api/v1/incidents/inc-1").await.json();
    assert_eq!((&shown["id"], &shown["card"]["title"]), (&json!("INC-1"), &json!("A · spark")));
    assert_eq!(shown["members"][0]["labels"]["alertname"], "A");
    let timeline = app.get("/api/v1/incidents/1/timeline?limit=1").await.json();
    assert_eq!(timeline["items"][0]["text"], "opened: A · spark (P2)", "{timeline}");
    let rest = app.get("/api/v1/incidents/1/timeline?after=1").await.json();
    assert_eq!(rest["items"][0]["seq"], 2);

    for (path, status) in [
        ("/api/v1/incidents/99", 404),
        ("/api/v1/incidents/INC-0", 404),
        ("/api/v1/incidents/..%2f..%2fetc", 404),
        ("/api/v1/incidents/%ff", 404),
        ("/api/v1/incidents/99/timeline", 404),
        ("/api/v1/incidents?status=melting", 400),
        ("/api/v1/incidents?limit=0", 400),
        ("/api/v1/incidents?limit=x", 400),
        ("/api/v1/incidents?unknown=1", 400),
        ("/api/v2", 404),
    ] {
        let answer = app.get(path).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert!(!answer.detail().is_empty(), "{path}");
    }
    assert_eq!(app.send("DELETE", "/api/v1/incidents/1", &[], "").await.status, 405);
}

#[tokio::test]
async fn what_people_write_is_checked_and_answered_in_words() {
    let app = TestApp::new().await;
    app.post_alerts(&lost()).await;
    app.pump_until_quiet().await;
    for (action, body, status, expected) in [
        ("note", r#"{"text":"looking"}"#, 200, ""),
        ("note", r#"{"txt":"looking"}"#, 400, "unknown field `txt`"),
        ("note", r#"{"text":1}"#, 400, "`text`: invalid type"),
        ("note", "{", 400, "line 1"),
        ("note", "{} {}", 400, "trailing characters"),
        ("silence", r#"{"for":"1h"}"#, 409, "not silenced: no Alertmanager is configured"),
        ("ack", r#"{"round":0}"#, 409, "round"),
        ("explode", "{}", 404, "no action `explode`"),
    ] {
        let answer = app.post(&format!("/api/v1/incidents/1/{action}"), body).await;
        assert_eq!(answer.status, status, "{action} {body}: {answer:?}");
        if status != 200 {
            assert!(answer.detail().contains(expected), "{action} {body}: {answer:?}");
        }
    }
    assert_eq!(app.post("/api/v1/incidents/9/ack", "{}").await.status, 404);
    let long = json!({ "text": "x".repeat(64 * 1024) }).to_string();
    assert_eq!(app.post("/api/v1/incidents/1/note", &long).await.status, 413);
    let body = json!({ "title": "Spark\u{0}\nis down", "severity": "critical" }).to_string();
    let refused = app.post("/api/v1/incidents", &body).await;
    insta::assert_snapshot!(refused.detail(), @"`severity`: `critical` is not a severity; write P0, P1, P2 or P3");
    app.pump_until_quiet().await;
}

#[tokio::test]
async fn who_is_on_call_now_is_told() {
    let app = TestApp::new().await;
    let now = app.get("/api/v1/oncall").await.json();
    assert_eq!(now["schedules"][0]["people"][0]["name"], "Operator", "{now}");
}

#[tokio::test]
async fn metrics_hold_documented_names_and_labels_of_configured_sources_only() {
    let app = TestApp::with("sources: { metered: { token: { env: SOURCE } } }").await;
    let bearer = ("authorization", "Bearer source-secret");
    app.send("POST", &format!("{INTAKE}/metered"), &[bearer], SINGLE).await;
    app.send("POST", &format!("{INTAKE}/strange"), &[], SINGLE).await;
    app.pump_until_quiet().await;
    let text = app.get("/metrics").await.body;
    assert!(text.contains(r#"paramedic_webhooks_total{source="metered",code="200"} 1"#), "{text}");
    assert!(text.contains(r#"source="unknown",code="404""#) && !text.contains("strange"), "{text}");
    assert!(text.contains("paramedic_webhook_duration_seconds_bucket"), "{text}");
    let guide = include_str!("../../docs/guide/operations.md");
    for metric in metrics::ALL {
        assert!(
            guide.contains(&format!("`{}`", metric.name)),
            "{} is not in the guide",
            metric.name
        );
    }
    let documented: Vec<&str> = metrics::ALL.iter().map(|metric| metric.name).collect();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let name = line.split(['{', ' ']).next().unwrap();
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let known =
            documented.contains(&name) || base.is_some_and(|base| documented.contains(&base));
        assert!(known, "{name} is not in ops/metrics.rs");
    }
}
