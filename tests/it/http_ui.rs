//! The pages, as a browser gets them.

use std::time::Duration;

use jiff::SignedDuration;
use paramedic::{
    domain::{
        evidence::{Evidence, Findings, Origin, Passage, StepState},
        ids::IncidentId,
        incident::{Command, RunEnd, Status},
        target::{SparkApp, Target},
        verdict::{Owner, Quote, Verdict},
    },
    engine::change::Along,
    store::{Changes, Run, RunState},
};
use serde_json::json;

use crate::app::{Answer, TestApp, firing};

const HOSTILE: &str =
    "<script>alert(1)</script>\"><img src=x onerror=alert(1)> {{title}} \u{202e}gpj.exe";

fn quote(origin: Origin, source: &str, line: u32, quote: &str) -> Quote {
    Quote { origin, source: source.to_owned(), line, quote: quote.to_owned() }
}

fn verdicts() -> Vec<Verdict> {
    vec![
        Verdict {
            id: "spark/executor/oom-killed".to_owned(),
            title: "Executors are killed for memory: exit code 137, OOMKilled".to_owned(),
            confidence: 0.96,
            owner: Owner::Platform,
            evidence: vec![
                quote(Origin::PodStatus, "pod etl-exec-3", 0, "pod etl-exec-3 container spark-kubernetes-executor terminated: reason=OOMKilled exitCode=137"),
                quote(Origin::DriverLog, "driver etl-driver", 812, "26/11/23 03:11:58 ERROR TaskSchedulerImpl: Lost executor 3 on 10.0.3.7: The executor with id 3 exited with exit code 137(SIGKILL, possible container OOM)."),
            ],
            remedy: "Raise `spark.executor.memoryOverhead` (now 384m) before `spark.executor.memory`.\n- one executor had **1.0 GiB** of off-heap memory\n- see [the guide](https://runbooks.example.org/spark-memory)".to_owned(),
            explains: vec!["spark/shuffle/fetch-failed".to_owned()],
            docs: Some("https://runbooks.example.org/oom".to_owned()),
        },
        Verdict {
            id: "spark/shuffle/fetch-failed".to_owned(),
            title: "Shuffle blocks of lost executors cannot be fetched".to_owned(),
            confidence: 0.8,
            owner: Owner::Platform,
            evidence: vec![quote(Origin::DriverLog, "driver etl-driver", 815, "FetchFailed(BlockManagerId(3, 10.0.3.7, 7079, None), shuffleId=4")],
            remedy: String::new(),
            explains: vec![],
            docs: None,
        },
    ]
}

fn evidence(
    step: &str,
    kind: &str,
    state: StepState,
    text: &str,
    passages: Vec<Passage>,
) -> Evidence {
    let done = state == StepState::Done;
    let findings = if done {
        Findings { value: json!({ "count": 3 }), passages, summary: text.to_owned() }
    } else {
        Findings::default()
    };
    let reason = if done { String::new() } else { text.to_owned() };
    Evidence {
        step: step.to_owned(),
        kind: kind.to_owned(),
        state,
        reason,
        findings,
        duration_ms: 1_240,
    }
}

fn log() -> String {
    let lines = (1..=900).map(|n| match n {
        812 => "26/11/23 03:11:58 ERROR TaskSchedulerImpl: Lost executor 3 on 10.0.3.7: The executor with id 3 exited with exit code 137(SIGKILL, possible container OOM).".to_owned(),
        815 => "FetchFailed(BlockManagerId(3, 10.0.3.7, 7079, None), shuffleId=4".to_owned(),
        n => format!("26/11/23 03:11:{:02} INFO TaskSetManager: Finished task {n}.0 in stage 4.0 (TID {n}) in 812 ms on 10.0.3.{} (executor {})", n % 60, n % 9, n % 5),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A run with its evidence and verdicts, as the engine would have left it.
pub async fn diagnosed(app: &TestApp, id: IncidentId) {
    let (engine, now) = (&app.engine, app.engine.now());
    let target = Target::SparkApp(SparkApp {
        cluster: "prod-eu".to_owned(),
        namespace: "spark-prod".to_owned(),
        app_id: "spark-1a2b".to_owned(),
        driver_pod: "etl-driver".to_owned(),
        name: "etl-nightly".to_owned(),
    });
    let run = Run {
        id: format!("{id}/1/spark-executor-lost/x"),
        incident: id,
        playbook: "spark-executor-lost".to_owned(),
        digest: "0".repeat(64),
        opening: 1,
        target: Some(target.clone()),
        cluster: "prod-eu".to_owned(),
        state: RunState::Ended,
        started_at: now,
        deadline: now,
        ended_at: Some(now + SignedDuration::from_secs(4)),
        scope: json!({}),
        verdicts: verdicts(),
        caveats: vec![],
    };
    let status =
        Passage::new(Origin::PodStatus, "pod etl-exec-3", verdicts()[0].evidence[0].quote.clone());
    let steps = vec![
        evidence(
            "driver_log",
            "kube.logs",
            StepState::Done,
            "900 lines of driver etl-driver",
            vec![Passage {
                cut: true,
                ..Passage::new(Origin::DriverLog, "driver etl-driver", log())
            }],
        ),
        evidence(
            "pods",
            "kube.pods",
            StepState::Done,
            "3 pods: 2 running, 1 failed (exit 137)",
            vec![status],
        ),
        evidence(
            "executors",
            "spark.executors",
            StepState::Failed,
            "could not list the executors of spark-1a2b: connection refused",
            vec![],
        ),
        evidence("stages", "spark.stages", StepState::Skipped, "its condition is false", vec![]),
        evidence("uptime", "prometheus.query", StepState::Done, "1 series", vec![]),
    ];
    let steps = steps.into_iter().map(|step| (run.id.clone(), step)).collect();
    let changes = Changes { runs: vec![run], steps, ..Changes::default() };
    engine.store.commit(changes, now).await.unwrap();
    let (playbook, target) = ("spark-executor-lost".to_owned(), target.label());
    let caveats = vec!["step executors failed: connection refused; the driver is gone".to_owned()];
    let commands = vec![
        Command::RunStarted { playbook: playbook.clone(), target: target.clone() },
        Command::RunEnded(RunEnd {
            playbook,
            target,
            verdicts: verdicts(),
            caveats,
            incomplete: false,
        }),
    ];
    engine.change(id, commands, Along::default()).await.unwrap();
}

async fn press(app: &TestApp, path: &str, form: &str) -> Answer {
    let headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("origin", app.url.as_str()),
        ("sec-fetch-site", "same-origin"),
    ];
    app.send("POST", path, &headers, form).await
}

async fn with_incident() -> TestApp {
    let app = TestApp::new().await;
    app.post_alerts(&firing(&[
        &[
            ("alertname", "SparkExecutorLost"),
            ("namespace", "spark-prod"),
            ("severity", "critical"),
            ("pod", "etl-exec-1"),
        ],
        &[
            ("alertname", "SparkExecutorLost"),
            ("namespace", "spark-prod"),
            ("severity", "critical"),
            ("pod", "etl-exec-3"),
        ],
    ]))
    .await;
    app.pump_until_quiet().await;
    app
}

#[tokio::test]
async fn every_page_is_strict_about_what_it_loads_and_where_it_may_be_shown() {
    let app = with_incident().await;
    for path in ["/incidents", "/incidents/INC-1", "/oncall", "/incidents/INC-9", "/nowhere"] {
        let page = app.page(path).await;
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8", "{path}");
        insta::allow_duplicates! {
            insta::assert_snapshot!(page.header("content-security-policy"), @"default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'");
        }
        assert_eq!(page.header("x-content-type-options"), "nosniff");
        assert_eq!(page.header("cache-control"), "no-store");
        assert_eq!(page.header("referrer-policy"), "same-origin");
        for forbidden in ["<script", "style=", " onclick", "src=\"http", "javascript:"] {
            assert!(!page.body.contains(forbidden), "{path} has {forbidden}");
        }
        assert!(
            page.body.contains("<html lang=\"en\">") && page.body.trim_end().ends_with("</html>"),
            "{path}"
        );
    }
    let home = app.page("/").await;
    assert_eq!((home.status, home.header("location")), (303, "/incidents"));
    let style = app.get("/assets/style.css").await;
    assert_eq!((style.status, style.header("content-type")), (200, "text/css; charset=utf-8"));
    assert!(!style.body.contains("url(") && !style.body.contains("@import"));
    assert_eq!(app.get("/assets/..%2fhead.hbs").await.status, 404);
    assert_eq!(app.get("/assets/head.hbs").await.status, 404);
}

#[tokio::test]
async fn the_page_shows_verdict_evidence_and_what_happens_next() {
    let app = with_incident().await;
    diagnosed(&app, IncidentId(1)).await;
    app.pump_until_quiet().await;
    let page = app.page("/incidents/1").await.body;
    for expected in [
        "SparkExecutorLost · spark-prod",
        "nobody yet",
        "Executors are killed for memory",
        "<strong>96 %</strong> sure",
        "A symptom of:",
        "<code>spark.executor.memoryOverhead</code>",
        "<strong>1.0 GiB</strong>",
        "<a href=\"https://runbooks.example.org/spark-memory\" rel=\"noopener noreferrer\">the guide</a>",
        "<span class=\"n\">812</span><mark>26/11/23 03:11:58 ERROR",
        "… 805 lines …",
        "could not list the executors of spark-1a2b: connection refused",
        "step executors failed",
        "paged Operator by console: delivered",
        "action=\"/incidents/INC-1/ack\"",
    ] {
        assert!(page.contains(expected), "{expected}\n{page}");
    }
    let list = app.page("/incidents").await.body;
    assert!(list.contains("nobody yet") && list.contains("Executors are killed"), "{list}");
}

#[tokio::test]
async fn buttons_answer_on_the_page_and_resolving_early_offers_to_insist() {
    let app = with_incident().await;
    let acked = press(&app, "/incidents/INC-1/ack", "round=1").await;
    assert_eq!(acked.status, 303, "{acked:?}");
    let next = acked.header("location").to_owned();
    let page = app.page(&next).await.body;
    assert!(page.contains("Operator has INC-1; escalation stopped"), "{page}");
    assert_eq!(app.incident(1).await.ack.unwrap().by.via, "web");
    assert!(!page.contains("http-equiv=\"refresh\""), "somebody has it: the page stands still");

    let early = press(&app, "/incidents/INC-1/resolve", "").await;
    let page = app.page(early.header("location")).await.body;
    assert!(
        page.contains("2 alerts of INC-1 still fire") && page.contains("Resolve anyway"),
        "{page}"
    );
    let over = press(&app, "/incidents/INC-1/resolve", "anyway=true").await;
    assert!(app.page(over.header("location")).await.body.contains("INC-1 resolved by"));
    assert_eq!(app.incident(1).await.status, Status::Resolved);
    // An old address says nothing any more.
    app.advance(Duration::from_secs(121));
    assert!(!app.page(&next).await.body.contains("role=\"status\""));
    app.pump_until_quiet().await;
}

#[tokio::test]
async fn a_form_that_does_not_fit_is_an_error_page_and_changes_nothing() {
    let app = with_incident().await;
    for (action, form, status) in [
        ("silence", "", 400),
        ("silence", "for=soon", 400),
        ("note", "text=", 400),
        ("ack", "round=x", 422),
        ("ack", "unknown=1", 422),
        ("explode", "", 404),
    ] {
        let headers =
            [("content-type", "application/x-www-form-urlencoded"), ("accept", "text/html")];
        let answer = app.send("POST", &format!("/incidents/1/{action}"), &headers, form).await;
        assert_eq!(answer.status, status, "{action} {form}: {answer:?}");
        assert!(answer.body.contains("<h1>"), "{action} {form}: {answer:?}");
    }
    let long = format!("text={}", "x".repeat(64 * 1024));
    assert_eq!(press(&app, "/incidents/1/note", &long).await.status, 413);
    assert!(app.incident(1).await.ack.is_none());
}

#[tokio::test]
async fn while_nobody_has_it_the_page_reloads_but_never_under_somebody_who_types() {
    let app = with_incident().await;
    let reloads = |page: &Answer| page.body.contains("http-equiv=\"refresh\"");
    assert!(reloads(&app.page("/incidents/1").await));
    assert!(!reloads(&app.page("/incidents/1?live=off").await));
    let writing = app.page("/incidents/1?write=note").await;
    assert!(!reloads(&writing) && writing.body.contains("<textarea"), "{writing:?}");
    let noted = press(&app, "/incidents/INC-1/note", "text=first+line%0Asecond+%3Cb%3E").await;
    app.pump_until_quiet().await;
    let page = app.page(noted.header("location")).await.body;
    assert!(page.contains("first line\nsecond &lt;b&gt;"), "{page}");
}

#[tokio::test]
async fn hostile_labels_stay_text_everywhere() {
    let app = TestApp::new().await;
    let long = "x".repeat(64 * 1024);
    let mut payload = firing(&[&[
        ("alertname", HOSTILE),
        ("namespace", "a"),
        (HOSTILE, HOSTILE),
        ("long", &long),
        ("nul", "a\u{0}b"),
    ]]);
    let alert = &mut payload["alerts"][0];
    alert["annotations"] = json!({ "summary": HOSTILE, "runbook_url": "javascript:alert(1)", "dashboard_url": "https://x/\"onmouseover=alert(1)" });
    alert["generatorURL"] = json!("javascript:alert(1)");
    payload["externalURL"] = json!("data:text/html,<script>");
    app.post_alerts(&payload).await;
    app.pump_until_quiet().await;
    press(&app, "/incidents/1/note", "text=%3C%2Ftextarea%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E")
        .await;
    app.pump_until_quiet().await;
    for path in [
        "/incidents",
        "/incidents/1",
        "/incidents?q=%3Cscript%3E%22onload%3D&status=all",
        "/%3Cscript%3E",
    ] {
        let page = app.page(path).await;
        for forbidden in [
            "<script",
            "<img",
            "\u{202e}",
            "javascript:",
            "data:text",
            "\"onmouseover",
            "\"onload",
            "\u{0}",
        ] {
            assert!(!page.body.contains(forbidden), "{path} has {forbidden:?}:\n{}", page.body);
        }
        assert!(page.body.len() < 100_000, "{path}: {} bytes", page.body.len());
    }
    assert!(
        app.page("/incidents/1")
            .await
            .body
            .contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&gt;&lt;img")
    );
}

#[tokio::test]
async fn a_viewer_sees_no_buttons() {
    let yaml = "server: { tokens: { ana: { secret: { env: VIEWER }, role: viewer }, raj: { secret: { env: RESPONDER }, role: responder } } }";
    let app = TestApp::with(yaml).await;
    app.post_alerts(&firing(&[&[("alertname", "A")]])).await;
    app.pump_until_quiet().await;
    let page = |token| {
        let app = &app;
        async move { app.send("GET", "/incidents/1", &[("authorization", token)], "").await.body }
    };
    assert!(!page("Bearer viewer-secret").await.contains("<form"));
    assert!(page("Bearer responder-secret").await.contains("<form"));
    let headers = [("authorization", "Bearer viewer-secret"), ("accept", "text/html")];
    let pressed = app.send("POST", "/incidents/1/ack", &headers, "").await;
    assert!(pressed.status == 403 && pressed.body.contains("may only look"), "{pressed:?}");
}

#[tokio::test]
async fn the_list_filters_by_address_and_pages() {
    let app = TestApp::new().await;
    for number in 0..53 {
        let name = format!("Alert{number}");
        let severity = if number == 7 { "critical" } else { "warning" };
        app.post_alerts(&firing(&[&[("alertname", &name), ("severity", severity)]])).await;
    }
    app.pump_until_quiet().await;
    let rows = |page: &Answer| page.body.matches("class=\"c-title\"").count();
    let first = app.page("/incidents").await;
    assert_eq!(rows(&first), 50);
    assert!(first.body.contains("/incidents?before&#x3D;4\""), "{}", first.body);
    assert_eq!(rows(&app.page("/incidents?before=4").await), 3);
    let worst = app.page("/incidents?severity=P1").await;
    assert!(rows(&worst) == 1 && worst.body.contains("Alert7"), "{}", worst.body);
    assert_eq!(rows(&app.page("/incidents?q=alert52").await), 1);
    assert_eq!(rows(&app.page("/incidents?status=closed").await), 0);
    assert_eq!(app.page("/incidents?status=melting").await.status, 400);
    assert_eq!(app.page("/incidents?severity=P9").await.status, 400);
}

#[tokio::test]
async fn the_on_call_page_names_who_is_on_call() {
    let app = TestApp::new().await;
    let page = app.page("/oncall").await.body;
    assert!(page.contains("<bdi>Operator</bdi> <span class=\"flag\">now</span>"), "{page}");
}
