//! `paramedic incident` against a running daemon.

use clap::{Args as _, FromArgMatches as _};
use paramedic::{cli::incident, domain::incident::Status};
use serde_json::Value;

use crate::app::{TestApp, firing};

/// What the command prints, or why it failed.
async fn incident(app: &TestApp, args: &[&str]) -> Result<String, String> {
    let url = format!("--url={}", app.url);
    run(&[&[url.as_str(), "--by=ana"], args].concat()).await
}

async fn run(args: &[&str]) -> Result<String, String> {
    let command = incident::Incident::augment_args(clap::Command::new("incident"));
    let line = ["incident"].iter().chain(args);
    let matches = command.try_get_matches_from(line).map_err(|error| error.to_string())?;
    let args = incident::Incident::from_arg_matches(&matches).map_err(|error| error.to_string())?;
    let mut out = Vec::new();
    match incident::run(&args, &mut out, false).await {
        Ok(_) => Ok(String::from_utf8(out).unwrap()),
        Err(error) => Err(format!("{error:#}")),
    }
}

async fn with_incident() -> TestApp {
    let app = TestApp::new().await;
    app.post_alerts(&firing(&[&[
        ("alertname", "Lost\u{1b}[2J"),
        ("namespace", "spark"),
        ("severity", "critical"),
    ]]))
    .await;
    app.pump_until_quiet().await;
    app
}

#[tokio::test]
async fn incidents_are_listed_and_shown_as_in_the_console() {
    let app = with_incident().await;
    insta::assert_snapshot!(incident(&app, &["list"]).await.unwrap(), @"INC-1  P1  triggered  Lost�[2J · spark    2026-11-23T03:00:00Z");
    insta::assert_snapshot!(incident(&app, &["list", "--status", "closed"]).await.unwrap(), @"No incidents.");
    let shown = incident(&app, &["show", "1"]).await.unwrap();
    assert!(shown.contains("P1 TRIGGERED") && !shown.contains('\u{1b}'), "{shown}");
    let json: Value = serde_json::from_str(
        &incident(&app, &["show", "INC-1", "--output", "json"]).await.unwrap(),
    )
    .unwrap();
    assert_eq!(json["id"], "INC-1");
}

#[tokio::test]
async fn acting_tells_what_was_done_or_why_not() {
    let app = with_incident().await;
    insta::assert_snapshot!(incident(&app, &["ack", "1"]).await.unwrap(), @"ana has INC-1; escalation stopped");
    assert_eq!(app.incident(1).await.ack.unwrap().by.via, "cli");
    insta::assert_snapshot!(incident(&app, &["note", "1", "looking at the driver"]).await.unwrap(), @"noted on INC-1");
    insta::assert_snapshot!(incident(&app, &["resolve", "1"]).await.unwrap_err(), @"1 alerts of INC-1 still fire: silence them in Alertmanager, or resolve anyway (--anyway)");
    insta::assert_snapshot!(incident(&app, &["snooze", "1", "--for", "soon"]).await.unwrap_err(), @"`for`: `soon` is not a duration; write 30s, 10m, 2h, 7d or 1h 30m");
    insta::assert_snapshot!(incident(&app, &["ack", "99"]).await.unwrap_err(), @"there is no incident INC-99");
    insta::assert_snapshot!(incident(&app, &["ack", "../../metrics?"]).await.unwrap_err(), @"`../../metrics?` is not an incident; write INC-12 or 12");
    incident(&app, &["resolve", "1", "--anyway"]).await.unwrap();
    assert_eq!(app.incident(1).await.status, Status::Resolved);
    let declared = incident(
        &app,
        &[
            "declare",
            "disk full",
            "--severity",
            "p2",
            "--label",
            "namespace=spark",
            "--output",
            "json",
        ],
    )
    .await
    .unwrap();
    let declared: Value = serde_json::from_str(&declared).unwrap();
    let shown = incident(&app, &["show", declared["id"].as_str().unwrap()]).await.unwrap();
    assert!(shown.contains("P2 TRIGGERED · disk full"), "{shown}");
    app.pump_until_quiet().await;
    assert!(incident(&app, &["silence", "1"]).await.unwrap_err().contains("--for"));
}

#[tokio::test]
async fn a_daemon_that_is_not_there_or_wants_a_token_says_what_to_do() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("--url=http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = run(&[&nobody, "list"]).await.unwrap_err();
    assert!(
        error.starts_with("no daemon answers at http://127.0.0.1:")
            && error.ends_with("--url or $PARAMEDIC_URL"),
        "{error}"
    );
    insta::assert_snapshot!(run(&["--url=daemon", "list"]).await.unwrap_err(), @"the daemon's address: this is not an http or https address; write https://host:port/path");
    insta::assert_snapshot!(run(&["--url=http://x", "--token-file=/does/not/exist", "list"]).await.unwrap_err(), @"read the token file /does/not/exist: No such file or directory (os error 2)");

    let app = TestApp::with(
        "server: { tokens: { raj: { secret: { env: RESPONDER }, role: responder } } }",
    )
    .await;
    insta::assert_snapshot!(incident(&app, &["list"]).await.unwrap_err(), @"send a token of `server.tokens`: as a bearer token, or as the password of HTTP basic authentication; name its file with --token-file, or set $PARAMEDIC_TOKEN");
    let token = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(token.path(), "responder-secret\n").unwrap();
    let file = format!("--token-file={}", token.path().display());
    assert_eq!(incident(&app, &[&file, "list"]).await.unwrap(), "No incidents.\n");
    std::fs::write(token.path(), "wrong").unwrap();
    insta::assert_snapshot!(incident(&app, &[&file, "list"]).await.unwrap_err(), @"this is not one of `server.tokens`");
}
