//! `paramedic store backup` and `restore`: beside a daemon, and in place of a store.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use paramedic::{
    ops::{clock::Clock, lifecycle::Tasks},
    store::{Claim, Error, Filter, Settings, Store, backup},
};

use crate::app::{START, TestApp, firing};

fn at(file: &Path) -> Settings {
    Settings::at(format!("sqlite:{}", file.display()))
}

fn names(folder: &Path) -> Vec<String> {
    let all = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut all: Vec<String> = all.map(|name| name.into_string().unwrap()).collect();
    all.sort();
    all
}

async fn alert(app: &TestApp, name: &str) {
    app.post_alerts(&firing(&[&[("alertname", name), ("severity", "critical")]])).await;
    app.pump_until_quiet().await;
}

async fn titles(app: &TestApp) -> Vec<String> {
    let all = Filter { open: None, before: None, limit: 500 };
    let found = app.engine.store.incidents(all).await.unwrap();
    found.into_iter().map(|summary| format!("{} {}", summary.id, summary.title)).collect()
}

fn now() -> jiff::Timestamp {
    START.parse().unwrap()
}

#[tokio::test]
async fn a_backup_beside_a_daemon_is_one_private_complete_file_and_replaces_none() {
    let app = TestApp::new().await;
    alert(&app, "First").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("b.db");
    let store = at(&app.database());
    let bytes = backup::backup(&store, &file, false).await.unwrap();
    let metadata = fs::metadata(&file).unwrap();
    assert_eq!((metadata.len(), metadata.permissions().mode() & 0o777), (bytes, 0o600));
    assert_eq!(names(folder.path()), ["b.db"], "nothing else is left");
    alert(&app, "Second").await;

    let again = backup::backup(&store, &file, false).await.unwrap_err().to_string();
    assert!(again.contains("--force"), "{again}");
    let itself = backup::backup(&store, &app.database(), true).await.unwrap_err().to_string();
    assert!(itself.contains("is the store itself"), "{itself}");
    let before = fs::read(&file).unwrap();
    backup::backup(&store, &file, true).await.unwrap();
    assert_ne!(fs::read(&file).unwrap(), before);
    assert_eq!(read(&file, "SELECT count(*) FROM incidents"), 2);
    alert(&app, "Third").await;
}

#[tokio::test]
async fn a_backup_of_an_hour_ago_goes_on_from_there_late_and_with_new_numbers() {
    let app = TestApp::new().await;
    alert(&app, "Old").await;
    // Somebody is at work on a job.
    app.advance(Duration::from_mins(15));
    let claim = Claim { owner: "w", kinds: &["wake"], limit: 9, lease: Duration::from_hours(2) };
    assert_eq!(app.engine.store.claim(claim).await.unwrap().len(), 1);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("b.db");
    backup::backup(&at(&app.database()), &file, false).await.unwrap();
    alert(&app, "Lost").await;
    app.advance(Duration::from_hours(1));

    let held = backup::restore(&at(&app.database()), &file, now()).await;
    assert!(matches!(held, Err(Error::InUse(_))), "{held:?}");
    let mut aside = PathBuf::new();
    let app = app
        .restarts_after(async |store| {
            let restored = backup::restore(&at(store), &file, now()).await.unwrap();
            assert_eq!(restored.incidents, 1);
            aside = restored.aside.unwrap();
        })
        .await;
    assert_eq!(titles(&app).await, ["INC-1 Old"]);
    app.pump_until_quiet().await;
    let console = app.console();
    assert!(console.contains("PAGE for Operator (late by 1h"), "{console}");
    alert(&app, "New").await;
    assert_eq!(titles(&app).await, ["INC-3 New", "INC-1 Old"], "INC-2 was said to people already");
    // The store of before is still there, whole.
    let tasks = Tasks::default();
    let kept = Store::open_as_it_is(&at(&aside), Clock::System, &tasks).await.unwrap();
    assert_eq!(kept.open_count().await.unwrap(), 2);
    tasks.stop().stopped.cancel();
}

#[tokio::test]
async fn what_is_no_sound_backup_is_refused_and_the_store_stays() {
    let app = TestApp::new().await;
    alert(&app, "Mine").await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    backup::backup(&at(&app.database()), &path("good"), false).await.unwrap();
    let mut bytes = fs::read(path("good")).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 4096].fill(0xff);
    fs::write(path("damaged"), &bytes).unwrap();
    fs::write(path("cut"), &bytes[..middle]).unwrap();
    fs::write(path("text"), "no database at all, only a text of some length".repeat(99)).unwrap();
    fs::write(path("empty"), "").unwrap();
    fs::copy(path("good"), path("live")).unwrap();
    fs::write(path("live-wal"), "newer commits").unwrap();
    let app = app
        .restarts_after(async |store| {
            let before = names(store.parent().unwrap());
            for (name, why) in [
                ("damaged", "is damaged"),
                ("cut", "is damaged"),
                ("text", "is damaged"),
                ("empty", "is not a store of Paramedic"),
                ("live", "not a backup of one"),
                ("nowhere", "No such file"),
            ] {
                let refused = backup::restore(&at(store), &path(name), now()).await.unwrap_err();
                let refused = refused.to_string();
                assert!(refused.contains(why) && refused.contains(name), "{name}: {refused}");
            }
            assert_eq!(names(store.parent().unwrap()), before, "nothing is left of the attempts");
        })
        .await;
    assert_eq!(titles(&app).await, ["INC-1 Mine"]);
}

#[tokio::test]
async fn a_store_that_cannot_be_read_any_more_is_replaced_and_its_numbers_are_not_used_again() {
    let app = TestApp::new().await;
    alert(&app, "Mine").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("b.db");
    backup::backup(&at(&app.database()), &file, false).await.unwrap();
    let app = app
        .restarts_after(async |store| {
            fs::write(store, "gone".repeat(5_000)).unwrap();
            let settings = at(store);
            let refused = Store::open(&settings, Clock::System, &Tasks::default()).await.err();
            let refused = refused.unwrap().to_string();
            assert!(refused.contains("paramedic store restore"), "{refused}");
            let restored = backup::restore(&settings, &file, now()).await.unwrap();
            assert_eq!(fs::read(restored.aside.unwrap()).unwrap(), "gone".repeat(5_000).as_bytes());
        })
        .await;
    alert(&app, "New").await;
    assert_eq!(titles(&app).await, ["INC-10002 New", "INC-1 Mine"]);
}

#[tokio::test]
async fn after_a_crash_the_file_is_checked_before_anything_is_built_on_it() {
    let app = TestApp::new().await;
    alert(&app, "Mine").await;
    let settings = at(&app.database());
    let app = app
        .restarts_after(async |store| {
            let sound = fs::read(store).unwrap();
            let mut bytes = sound.clone();
            let middle = bytes.len() / 2 / 4096 * 4096;
            bytes[middle..middle + 4096].fill(0xff);
            fs::write(store, &bytes).unwrap();
            sql(store, "UPDATE meta SET value = 0 WHERE name = 'clean_stop'");
            let damaged = fs::read(store).unwrap();
            let refused = Store::open(&settings, Clock::System, &Tasks::default()).await.err();
            assert!(matches!(refused, Some(Error::Damaged { .. })), "{refused:?}");
            assert_eq!(fs::read(store).unwrap(), damaged, "it is kept as it was");
            fs::write(store, &sound).unwrap();
        })
        .await;
    assert_eq!(titles(&app).await, ["INC-1 Mine"], "it stopped cleanly, and the mark was kept");
    let clean = "SELECT value FROM meta WHERE name = 'clean_stop'";
    assert_eq!(read(&app.database(), clean), 0, "while it runs nothing is clean");
    let app = app.restarts_after(async |store| assert_eq!(read(store, clean), 1)).await;
    drop(app);
}

fn sql(file: &Path, sql: &str) {
    let db = rusqlite::Connection::open(file).unwrap();
    db.execute_batch(sql).unwrap();
    db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    db.close().unwrap();
}

fn read(file: &Path, sql: &str) -> i64 {
    let db = rusqlite::Connection::open(file).unwrap();
    db.query_row(sql, [], |row| row.get(0)).unwrap()
}

fn paramedic(url: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paramedic"));
    command.args(["store"]).args(args).env("PARAMEDIC__STORE__URL", url);
    command.output().unwrap()
}

#[test]
fn the_command_writes_files_and_pipes_and_says_what_it_did() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let url = format!("sqlite:{}", path("p.db"));
    let missing = paramedic(&url, &["backup", &path("b.db")]);
    assert_eq!(missing.status.code(), Some(1), "{missing:?}");
    assert_eq!(paramedic(&url, &["migrate"]).status.code(), Some(0));
    let made = paramedic(&url, &["backup", &path("b.db")]);
    assert_eq!(made.status.code(), Some(0), "{made:?}");
    let piped = paramedic(&url, &["backup", "-"]);
    assert_eq!(piped.stdout, fs::read(path("b.db")).unwrap());
    let restored = paramedic(&url, &["restore", &path("b.db")]);
    assert_eq!(restored.status.code(), Some(0), "{restored:?}");
    let said = String::from_utf8(restored.stdout).unwrap();
    assert!(
        said.starts_with("restored: 0 incidents, schema ") && said.contains(".before-"),
        "{said}"
    );
    assert_eq!(paramedic(&url, &["check"]).status.code(), Some(0));
}

#[test]
fn postgresql_is_sent_to_its_own_tools() {
    let url = "postgres://paramedic@db:5432/paramedic?sslmode=verify-full";
    let backup = paramedic(url, &["backup", "/backup/it's.dump"]);
    assert_eq!(backup.status.code(), Some(2), "{backup:?}");
    insta::assert_snapshot!(String::from_utf8(backup.stderr).unwrap(), @r"
    paramedic: this store is PostgreSQL; back it up with its own tool, also while daemons run:
      pg_dump --format=custom --file='/backup/it'\''s.dump' 'postgres://paramedic@db:5432/paramedic?sslmode=verify-full'
    ");
    let restore = paramedic(url, &["restore", "a.dump"]);
    assert_eq!(restore.status.code(), Some(2), "{restore:?}");
    insta::assert_snapshot!(String::from_utf8(restore.stderr).unwrap(), @r"
    paramedic: this store is PostgreSQL; stop every daemon, make an empty database, and fill it with its own tool:
      pg_restore --exit-on-error --no-owner --dbname='postgres://paramedic@db:5432/paramedic?sslmode=verify-full' 'a.dump'
    ");
}
