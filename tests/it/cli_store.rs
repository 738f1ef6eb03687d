//! `paramedic store`: what a person sees, and the exit code.

use std::process::{Command, Output};

use paramedic::{
    cli::store::{check, migrate},
    store::Settings,
};

#[tokio::test]
async fn migrating_says_from_where_to_where_and_a_dry_run_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::at(format!("sqlite:{}", folder.path().join("p.db").display()));
    insta::assert_snapshot!(migrate(&settings, true).await.unwrap(), @r"
    would go from schema 0 to 9: 0001_init, 0002_replicas, 0003_storms, 0004_similar, 0005_pods, 0006_pods_version, 0007_asked, 0008_wake, 0009_claims
    back up first: there is no way back
    ");
    insta::assert_snapshot!(migrate(&settings, false).await.unwrap(), @"went from schema 0 to 9: 0001_init, 0002_replicas, 0003_storms, 0004_similar, 0005_pods, 0006_pods_version, 0007_asked, 0008_wake, 0009_claims");
    insta::assert_snapshot!(migrate(&settings, false).await.unwrap(), @"schema 9: nothing to do");
}

#[tokio::test]
async fn a_sound_store_is_said_to_be_sound_and_an_unsound_one_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.db");
    let settings = Settings::at(format!("sqlite:{}", file.display()));
    let missing = check(&settings).await;
    assert!(!missing.ok);
    let shown = missing.to_string().replace(&file.display().to_string(), "p.db");
    insta::assert_snapshot!(shown, @r"
    WRONG store: there is no store at p.db; the daemon makes it when it starts, or run `paramedic store migrate`
          correct `store.url`, or start the daemon once
    ");
    migrate(&settings, false).await.unwrap();
    let sound = check(&settings).await;
    assert!(sound.ok);
    insta::assert_snapshot!(sound, @r"
    ok    schema: version 9
    ok    damage: none found
    ok    wake-ups: every open incident owns its wake-up
    ok    rows: no row belongs to nothing
    ok    set aside: no webhook was set aside
    ok    round trip: it takes a write
    ");
    let db = rusqlite::Connection::open(&file).unwrap();
    for sql in [
        "INSERT INTO incidents VALUES (7, 1, 'k', 1, 'triggered', 'P1', 't', '', 0, NULL, 5, '{}', NULL, 0)",
        "INSERT INTO timeline VALUES (8, 1, 0, '{}')",
        "INSERT INTO deliveries (source, received_at, body, state) VALUES ('s', 0, x'00', 'poisoned')",
    ] {
        db.execute(sql, []).unwrap();
    }
    let unsound = check(&settings).await;
    assert!(!unsound.ok);
    insta::assert_snapshot!(unsound, @r"
    ok    schema: version 9
    ok    damage: none found
    WRONG wake-ups: lost for INC-7
          a running daemon finds and mends it within a minute; if it stays, report it
    WRONG rows: 1 in timeline, 1 in incidents
          nothing is lost by it; report it, with the version and this output
    ok    set aside: 1 webhooks were set aside; their incidents say why
    ok    round trip: it takes a write
    ");
}

#[tokio::test]
async fn a_damaged_file_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.db");
    let settings = Settings::at(format!("sqlite:{}", file.display()));
    migrate(&settings, false).await.unwrap();
    // Everything is in the file itself, not in its log.
    let db = rusqlite::Connection::open(&file).unwrap();
    db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    db.close().unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    // Some page in the middle that is not the schema.
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 4096].fill(0xff);
    std::fs::write(&file, bytes).unwrap();
    let damaged = check(&settings).await;
    assert!(!damaged.ok, "{damaged}");
    assert!(damaged.to_string().contains("restore the newest backup"), "{damaged}");
}

#[test]
fn the_exit_code_says_whether_something_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("p.db").display());
    let paramedic = |args: &[&str]| -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_paramedic"));
        command.args(["store"]).args(args).env("PARAMEDIC__STORE__URL", &url);
        command.output().unwrap()
    };
    let missing = paramedic(&["check"]);
    assert_eq!(missing.status.code(), Some(1), "{missing:?}");
    let planned = paramedic(&["migrate", "--dry-run", "--output", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&planned.stdout).unwrap();
    assert_eq!(
        (&json["from"], &json["to"], &json["dry_run"]),
        (&0.into(), &9.into(), &true.into())
    );
    assert_eq!(paramedic(&["check"]).status.code(), Some(1), "still not there");
    assert_eq!(paramedic(&["migrate"]).status.code(), Some(0));
    let sound = paramedic(&["check", "--output", "json"]);
    assert_eq!(sound.status.code(), Some(0), "{sound:?}");
    let json: serde_json::Value = serde_json::from_slice(&sound.stdout).unwrap();
    assert_eq!((&json["ok"], json["checks"].as_array().unwrap().len()), (&true.into(), 6));
}
