//! What only a file has: one writer with a thread of its own, and files of older binaries.

use std::{pin::pin, time::Duration};

use paramedic::store::{Repeat, Settings, inspect};

use super::{
    backend::{Backend, Shop},
    incident, saved,
};

fn file(shop: &Shop) -> &str {
    shop.settings.url.strip_prefix("sqlite:").unwrap()
}

#[tokio::test]
async fn while_a_write_waits_for_the_disk_everything_else_goes_on() {
    let shop = Shop::opens(Backend::Sqlite).await;
    let disk = rusqlite::Connection::open(file(&shop)).unwrap();
    disk.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut write = pin!(shop.store.check());
    for _ in 0..10 {
        assert!(futures::poll!(&mut write).is_pending());
        // A writer on this thread would stand still here until it gave up.
        tokio::task::yield_now().await;
        assert_eq!(shop.store.open_count().await.unwrap(), 0);
    }
    disk.execute_batch("COMMIT").unwrap();
    write.await.unwrap();
}

#[tokio::test]
async fn a_stop_leaves_everything_in_the_file_itself_although_readers_are_open() {
    let shop = Shop::opens(Backend::Sqlite).await;
    shop.store.check().await.unwrap();
    assert_eq!(shop.store.open_count().await.unwrap(), 0);
    shop.tasks.shut_down(Duration::from_secs(5)).await;
    let log = std::fs::metadata(format!("{}-wal", file(&shop))).map_or(0, |log| log.len());
    assert_eq!(log, 0);
}

#[tokio::test]
async fn a_caller_that_gives_up_leaves_no_transaction_open() {
    let shop = Shop::opens(Backend::Sqlite).await;
    {
        let mut given_up = pin!(shop.add("given up", Repeat::Keep));
        assert!(futures::poll!(&mut given_up).is_pending());
    }
    shop.store.check().await.unwrap();
    assert_eq!(shop.claim().await.len(), 1, "what was asked for is done to its end");
    let other = rusqlite::Connection::open(file(&shop)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE; COMMIT").unwrap();
}

#[tokio::test]
async fn numbers_go_on_after_a_restart_where_incidents_were_written() {
    let shop = Shop::opens(Backend::Sqlite).await;
    let first = shop.store.next_incident().await.unwrap();
    let written = incident(first.0, "k", shop.store.now());
    shop.commit(saved(&written)).await.unwrap();
    let unwritten = shop.store.next_incident().await.unwrap();
    let shop = shop.restarts().await;
    let next = shop.store.next_incident().await.unwrap();
    assert_eq!((first.0, unwritten.0, next.0), (1, 2, 2));
}

/// A file of schema 2, as binaries left it that let sqlx migrate.
const OLDER: [&str; 4] = [
    "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, \
     installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL, \
     checksum BLOB NOT NULL, execution_time BIGINT NOT NULL)",
    include_str!("../../../src/store/migrations/sqlite/0001_init.sql"),
    include_str!("../../../src/store/migrations/sqlite/0002_replicas.sql"),
    "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES \
     (1, '0001_init', 1, x'0146E8845DA871136ED13617C4B3CA80BD9253DA06132A317BE17FCC5007E900CDC8D0B3CF292A5EB5CA891C0A123170', 7622279), \
     (2, '0002_replicas', 1, x'00A1373EA3D91E3BC9F6BC33CC024E050D9D186E22F8ABCA70ACB5CBF70D7BFDF405D48DD237B781A4C598014219E64D', 3958835)",
];

#[tokio::test]
async fn a_file_that_an_older_binary_migrated_goes_on_from_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.db");
    let settings = Settings::at(format!("sqlite:{}", file.display()));
    let db = rusqlite::Connection::open(&file).unwrap();
    for sql in OLDER {
        db.execute_batch(sql).unwrap();
    }

    // A step that fails leaves nothing of itself, and the steps before it stand.
    db.execute_batch("CREATE TABLE pods (x)").unwrap();
    let failed = inspect::migrate(&settings, false).await.unwrap_err().to_string();
    assert!(failed.contains("0005_pods") && failed.contains("already exists"), "{failed}");
    assert_eq!(inspect::migrate(&settings, true).await.unwrap().from, 4);
    db.execute_batch("DROP TABLE pods").unwrap();
    let migrated = inspect::migrate(&settings, false).await.unwrap();
    assert_eq!((migrated.from, migrated.steps[0]), (4, "0005_pods"));
    let sql = "SELECT count(*) FROM _sqlx_migrations WHERE success = 1 AND length(checksum) = 48";
    let count: i64 = db.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(count, migrated.to, "an older binary with this schema reads them too");

    db.execute("UPDATE _sqlx_migrations SET checksum = x'00' WHERE version = 2", []).unwrap();
    let changed = inspect::migrate(&settings, false).await.unwrap_err();
    insta::assert_snapshot!(changed, @"the store failed: migration 0002_replicas was applied with another text");
}
