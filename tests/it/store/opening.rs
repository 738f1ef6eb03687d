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
const KNOWN: i64 = 9;

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
    assert_eq!((planned.from, planned.to, planned.steps.len()), (0, KNOWN, 9));
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
