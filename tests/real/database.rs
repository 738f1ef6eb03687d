//! `sql.query` and the database of a metastore against a real PostgreSQL.

use std::time::Duration;

use paramedic::{
    clients::{
        Kind,
        hive::{self, Deadlines, TableName, Verdict},
        postgres::{Client, Settings, Tls},
    },
    domain::template::Filled as _,
    ops::clock::Clock,
};
use serde_json::json;

use crate::bed::{
    Bed,
    metastore::{Database, Metastore},
    postgres::Postgres,
    until,
};

const SECOND: Duration = Duration::from_secs(1);

fn client(postgres: &Postgres, database: &str, user: &str) -> Client {
    Client::new(Settings {
        address: format!("127.0.0.1:{}", postgres.port),
        database: database.to_owned(),
        user: user.to_owned(),
        password: Some("hunter2".into()),
        tls: Tls::Prefer,
        ca: None,
    })
    .unwrap()
}

#[tokio::test]
async fn a_query_reads_rows_of_every_type_and_can_change_nothing() {
    let bed = Bed::new();
    let postgres = Postgres::start(&bed).await;
    postgres.sql("postgres", "CREATE TABLE t AS SELECT n, 'x' || n AS name, n % 2 = 0 AS even, now() AS at FROM generate_series(1, 100) n");
    let client = client(&postgres, "postgres", "app");
    let read = async |sql: &str, binds: &[&str], rows| {
        let binds: Vec<String> = binds.iter().map(|bind| (*bind).to_owned()).collect();
        client.query(sql, &binds, rows, SECOND * 2).await
    };
    let sql =
        "SELECT n, name, even FROM t WHERE n >= $1::bigint AND name <> $2 ORDER BY n -- the end";
    let found = read(sql, &["99", "'; DROP TABLE t; --"], 10).await.unwrap();
    assert_eq!(
        found.rows,
        [
            json!({ "n": 99, "name": "x99", "even": false }),
            json!({ "n": 100, "name": "x100", "even": true }),
        ]
    );
    assert!(!found.cut);
    let many = read("SELECT n FROM t ORDER BY n", &[], 7).await.unwrap();
    assert_eq!((many.rows.len(), many.cut), (7, true));
    let long = read("SELECT repeat('ä', 1000000) AS long", &[], 1).await.unwrap();
    assert!(long.cut && long.rows[0].as_str().unwrap().len() < 40_000);
    let bytes = read("SELECT repeat('x', 10000) AS long FROM t", &[], 100).await.unwrap();
    assert!(bytes.cut && bytes.rows.len() < 30, "{}", bytes.rows.len());

    for (sql, kind) in [
        ("DELETE FROM t RETURNING n", Kind::Refused),
        ("WITH d AS (DELETE FROM t RETURNING n) SELECT * FROM d", Kind::Refused),
        ("SELECT 1) x; DROP TABLE t; SELECT (1", Kind::Refused),
        ("SELECT nextval('s')", Kind::NotFound),
        ("SELECT set_config('transaction_read_only', 'off', false)", Kind::Refused),
        ("SELECT pg_sleep(30)", Kind::Timeout),
        ("SELECT * FROM nowhere", Kind::NotFound),
        ("SHOW max_connections", Kind::Refused),
    ] {
        let outcome = read(sql, &[], 10).await;
        let error = outcome.expect_err(sql);
        assert_eq!(error.kind, kind, "{sql}: {error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    assert_eq!(postgres.sql("postgres", "SELECT count(*) FROM t").trim(), "100");
    // Older servers let this one through, read only or not; but nothing is ever committed.
    drop(read("SELECT lo_create(0) AS made", &[], 10).await);
    let left = postgres.sql("postgres", "SELECT count(*) FROM pg_largeobject_metadata");
    assert_eq!(left.trim(), "0");
    let wrong = read("SELECT $1::bigint AS n", &["not a number"], 1).await.unwrap_err();
    assert!(wrong.reason.contains("SQLSTATE 22P02"), "{wrong}");
}

#[tokio::test]
async fn who_is_refused_is_told_from_what_is_missing_and_what_is_down() {
    let bed = Bed::new();
    let mut postgres = Postgres::start(&bed).await;
    let ask = async |database: &str, user: &str| {
        client(&postgres, database, user).query("SELECT 1 AS n", &[], 1, SECOND).await.unwrap_err()
    };
    assert_eq!(ask("postgres", "nobody").await.kind, Kind::Denied);
    assert_eq!(ask("nowhere", "app").await.kind, Kind::NotFound);
    postgres.sql("postgres", "CREATE ROLE reader LOGIN");
    postgres.sql("postgres", "CREATE TABLE secret (x int)");
    let reader = client(&postgres, "postgres", "reader");
    let denied = reader.query("SELECT x FROM secret", &[], 1, SECOND).await.unwrap_err();
    assert_eq!(denied.kind, Kind::Denied, "{denied}");
    postgres.stop().await;
    let client = client(&postgres, "postgres", "app");
    let down = client.query("SELECT 1 AS n", &[], 1, SECOND).await.unwrap_err();
    assert_eq!(down.kind, Kind::Unreachable, "{down}");
    let looked = client.metastore(&Clock::System).await;
    assert_eq!(looked.failure("connect").unwrap().kind, Kind::Unreachable);
}

#[tokio::test]
async fn the_database_of_a_real_metastore_shows_its_version_its_rows_and_a_lock() {
    let bed = Bed::new();
    let postgres = Postgres::start(&bed).await;
    let metastore = Metastore::start(&bed, Database::Postgres(&postgres)).await;
    let client = client(&postgres, "hms", "app");
    // It makes its tables one by one, as they are first used.
    let hive = hive::Client::new(&metastore.address).unwrap();
    let canary = TableName::parse("default.nothing").unwrap();
    let deadlines = Deadlines { slow: Duration::from_mins(1), ..Deadlines::default() };
    until("the metastore's tables", Duration::from_mins(2), async || {
        let ladder = hive.ladder(&deadlines, Some(&canary), &Clock::System).await;
        (ladder.verdict == Verdict::CanaryMissing).then_some(())
    })
    .await;
    let looked = client.metastore(&Clock::System).await;
    assert!(looked.rungs.iter().all(|rung| rung.failure.is_none()), "{looked:?}");
    // This one is told not to record its version.
    assert_eq!(looked.schema_version, "");
    postgres.sql("hms", "INSERT INTO \"VERSION\" VALUES (1, '2.3.0', 'x')");
    assert_eq!(client.metastore(&Clock::System).await.schema_version, "2.3.0");
    assert_eq!(looked.counts.as_ref().unwrap().databases, 1);
    let connections = looked.connections.unwrap();
    assert!(connections.used > 1 && connections.max > 50, "{connections:?}");

    // A session holds the table, another one waits for it.
    let holder =
        client_of(&postgres, "BEGIN; LOCK TABLE \"TBLS\"; SELECT pg_sleep(120)", &bed, "holder");
    // Whoever came before it would not wait.
    let held = "SELECT count(*) FROM pg_locks WHERE granted AND mode = 'AccessExclusiveLock' AND relation = '\"TBLS\"'::regclass";
    until("the table is held", Duration::from_mins(1), async || {
        (postgres.sql("hms", held).trim() == "1").then_some(())
    })
    .await;
    let waits = client_of(&postgres, "SELECT count(*) FROM \"TBLS\"", &bed, "waiter");
    let blocked = until("a session that waits", Duration::from_mins(1), async || {
        let looked = client.metastore(&Clock::System).await;
        (!looked.waiting.is_empty()).then_some(looked)
    })
    .await;
    let waiting = &blocked.waiting[0];
    assert_eq!((waiting.relation.as_str(), waiting.mode.as_str()), ("\"TBLS\"", "AccessShareLock"));
    assert_eq!(waiting.blocked_by.len(), 1);
    assert_eq!(blocked.failure("counts").unwrap().kind, Kind::Timeout);
    drop((holder, waits));

    let other = self::client(&postgres, "postgres", "app");
    assert!(other.metastore(&Clock::System).await.is_no_metastore());
}

/// A session of its own.
fn client_of(
    postgres: &Postgres,
    sql: &str,
    bed: &Bed,
    name: &str,
) -> crate::bed::process::Process {
    let log = bed.folder("sessions").join(name);
    crate::bed::process::Process::start(name, &mut postgres.session("hms", sql), log)
}
