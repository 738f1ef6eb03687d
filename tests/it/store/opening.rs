//! Opening, migrating and looking at a store.

use std::time::Duration;

use jiff::Timestamp;
use paramedic::{
    domain::ids::IncidentId,
    ops::{clock::Clock, lifecycle::Tasks},
    store::{Changes, Error, Repeat, Settings, Store, inspect},
};

use super::{
    backend::{self, Shop, on_every_backend},
    incident, saved,
};

on_every_backend!(
    a_sound_store_is_found_sound_and_an_unsound_one_is_not,
    a_round_trip_is_a_write,
    generations_only_grow_also_when_the_clock_is_set_back,
);

/// The schema this binary knows.
const KNOWN: i64 = 7;

async fn a_sound_store_is_found_sound_and_an_unsound_one_is_not(shop: Shop) {
    shop.commit(saved(&incident(1, "k", shop.store.now()))).await.unwrap();
    // Beside the daemon, and without letting go of its leases.
    shop.add("a", Repeat::Keep).await;
    shop.claim().await;
    let tasks = Tasks::default();
    let looked = Store::open_as_it_is(&shop.settings, shop.clock.clone(), &tasks).await.unwrap();
    assert_eq!(looked.schema().await.unwrap(), KNOWN);
    assert_eq!(looked.damage().await.unwrap(), Vec::<String>::new());
    assert_eq!(looked.orphans().await.unwrap(), []);
    assert_eq!(looked.set_aside().await.unwrap(), 0);
    assert!(shop.claim().await.is_empty(), "the job is still leased");
    let lost =
        paramedic::store::NewJob { incident: Some(IncidentId(9)), ..shop.job("b", Repeat::Keep) };
    shop.commit(Changes { jobs: vec![lost], ..Changes::default() }).await.unwrap();
    assert_eq!(looked.orphans().await.unwrap(), [("jobs", 1)]);
}

async fn a_round_trip_is_a_write(shop: Shop) {
    shop.store.check().await.unwrap();
    shop.store.check().await.unwrap();
    assert!(shop.store.lease() >= Duration::from_secs(4));
}

async fn generations_only_grow_also_when_the_clock_is_set_back(shop: Shop) {
    assert_eq!(shop.store.generation().await.unwrap(), 0);
    let mut last = 0;
    for second in [100, 200, 50, 50] {
        shop.hand.set_wall(Timestamp::from_second(second).unwrap());
        shop.store.begin_generation().await.unwrap();
        let generation = shop.store.generation().await.unwrap();
        assert!(generation > last, "{generation} after {last}");
        last = generation;
    }
    assert_eq!(last, 200_002);
}

#[tokio::test]
async fn a_second_process_on_the_same_file_is_refused() {
    let shop = Shop::opens(backend::Backend::Sqlite).await;
    let second = Store::open(&shop.settings, shop.clock.clone(), &Tasks::default()).await;
    assert!(matches!(second.err(), Some(Error::InUse(_))));
    let migrated = inspect::migrate(&shop.settings, false).await;
    assert!(matches!(migrated, Err(Error::InUse(_))), "{migrated:?}");
}

#[tokio::test]
async fn a_store_that_is_no_store_is_named_without_its_password() {
    let tasks = Tasks::default();
    let settings = Settings::at("mysql://u:hunter2@x");
    let error = Store::open(&settings, Clock::System, &tasks).await.err().unwrap();
    insta::assert_snapshot!(error, @"the store failed: `mysql://u:***@x` is not a store; write sqlite:PATH or postgres://user@host/database");
}

#[tokio::test]
async fn a_store_that_is_not_there_is_made_only_by_who_writes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.db");
    let settings = Settings::at(format!("sqlite:{}", path.display()));
    let missing = Store::open_as_it_is(&settings, Clock::System, &Tasks::default()).await;
    assert_eq!(missing.err(), Some(Error::Missing(path.display().to_string())));
    let planned = inspect::migrate(&settings, true).await.unwrap();
    assert_eq!((planned.from, planned.to, planned.steps.len()), (0, KNOWN, 7));
    assert!(!path.exists(), "a plan writes nothing");
    assert_eq!(inspect::migrate(&settings, false).await.unwrap(), planned);
    let again = inspect::migrate(&settings, false).await.unwrap();
    assert_eq!((again.from, again.to, again.steps.len()), (KNOWN, KNOWN, 0));
}

#[tokio::test]
async fn several_replicas_that_start_at_once_migrate_once() {
    let settings = Settings::at(backend::database());
    let looked = Store::open_as_it_is(&settings, Clock::System, &Tasks::default()).await;
    assert_eq!(looked.err(), Some(Error::Older { found: 0, known: KNOWN }));
    let tasks = Tasks::default();
    let open = async || Store::open(&settings, Clock::System, &tasks).await.map(drop);
    let opened = futures::future::join_all((0..8).map(|_| open())).await;
    assert!(opened.iter().all(Result::is_ok), "{opened:?}");
    let count = backend::sql(&settings.url, "SELECT count(*) FROM _sqlx_migrations");
    assert_eq!(count.trim(), KNOWN.to_string());
    tasks.stop().stopped.cancel();
}

#[tokio::test]
async fn an_older_binary_refuses_a_newer_store() {
    let newer = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (99, 'x', true, '', 0)";
    let error = Error::Newer { found: 99, known: KNOWN };

    let url = backend::database();
    let settings = Settings::at(&url);
    inspect::migrate(&settings, false).await.unwrap();
    backend::sql(&url, newer);
    for dry_run in [true, false] {
        assert_eq!(inspect::migrate(&settings, dry_run).await, Err(error.clone()));
    }
    let opened = Store::open(&settings, Clock::System, &Tasks::default()).await;
    assert_eq!(opened.err(), Some(error.clone()));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.db");
    let settings = Settings::at(format!("sqlite:{}", file.display()));
    inspect::migrate(&settings, false).await.unwrap();
    rusqlite::Connection::open(&file).unwrap().execute(newer, []).unwrap();
    assert_eq!(inspect::migrate(&settings, false).await, Err(error));
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
    OLDER.iter().for_each(|sql| db.execute_batch(sql).unwrap());

    // A step that fails leaves nothing of itself, and the steps before it stand.
    db.execute_batch("CREATE TABLE pods (x)").unwrap();
    let failed = inspect::migrate(&settings, false).await.unwrap_err().to_string();
    assert!(failed.contains("0005_pods") && failed.contains("already exists"), "{failed}");
    assert_eq!(inspect::migrate(&settings, true).await.unwrap().from, 4);
    db.execute_batch("DROP TABLE pods").unwrap();
    let migrated = inspect::migrate(&settings, false).await.unwrap();
    assert_eq!((migrated.from, migrated.to), (4, KNOWN));
    let sql = "SELECT count(*) FROM _sqlx_migrations WHERE success = 1 AND length(checksum) = 48";
    let count: i64 = db.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(count, KNOWN, "an older binary with this schema reads them too");

    db.execute("UPDATE _sqlx_migrations SET checksum = x'00' WHERE version = 2", []).unwrap();
    let changed = inspect::migrate(&settings, false).await.unwrap_err();
    insta::assert_snapshot!(changed, @"the store failed: migration 0002_replicas was applied with another text");
}
