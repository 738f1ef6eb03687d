//! `hive.database`: the database behind a Hive Metastore.
//!
//! `hive.metastore` says that the database does not answer; this says why: gone, full, locked, refused, or not the one that
//! is meant. A database that is down is a finding, not a failed step.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::metastore_name;
use crate::{
    clients::{
        Kind, one_line,
        postgres::{Connections, Counts, Looked, LookedRung, Waiting},
    },
    domain::{
        evidence::{Origin, Passage},
        template::Input,
    },
    steps::{Context, Effect, Failure, Need, Outcome, Step, span::Span},
};

/// Looks into the database of a Hive Metastore: connect, schema version, connections in use, sessions that wait for a lock,
/// and how many databases, tables and partitions there are. It needs `clusters.<name>.metastores.<name>.database`, and a
/// user that may read the metastore's tables; with `pg_monitor` it also sees how long other sessions wait.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Database {
    /// A name under the cluster's `metastores:`; by default the target's, else `main`.
    pub metastore: Option<Input<String>>,
    /// A look that takes longer is called slow; default 2s.
    pub slow: Option<Span<1, 10_000>>,
    /// A session that waits longer for a lock is called locked; default 10s.
    pub lock_wait: Option<Span<1_000, 3_600_000>>,
}

/// What the database means for the metastore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every look was answered in time, and nothing is wrong.
    Ok,
    /// Every look was answered, at least one late.
    Slow,
    /// Nothing answers, or not in time.
    Down,
    /// It refuses our user or password, or the tables.
    Denied,
    /// There is no such database, or it has no tables of a metastore.
    NotMetastore,
    /// No connection is left, or nearly none.
    Full,
    /// A session waits for a lock.
    Locked,
    /// It answered a look with another error.
    Failing,
}

/// What was found.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Found {
    /// The metastore's configured name.
    pub metastore: String,
    /// The database and its address.
    pub database: String,
    /// What it means together.
    pub verdict: Verdict,
    /// The version of the metastore's schema; empty when it could not be read, or the metastore does not record it.
    pub schema_version: String,
    /// How full the server's connections are; null when that could not be read.
    pub connections: Option<Connections>,
    /// Sessions that wait for a lock, the longest first; at most 20.
    pub waiting: Vec<Waiting>,
    /// Rows, each counted up to 1 000 000; null when they could not be read.
    pub counts: Option<Counts>,
    /// The looks, in order.
    pub rungs: Vec<Rung>,
}

/// One look.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Rung {
    /// `connect`, `schema_version`, `connections`, `locks` or `counts`.
    pub name: String,
    /// True when it was answered.
    pub ok: bool,
    /// How long it took, milliseconds.
    pub latency_ms: u64,
    /// Why it failed; empty when it did not.
    pub reason: String,
}

/// Longer than this for a look is slow, milliseconds.
const SLOW_MS: u64 = 2_000;
/// Longer than this for a lock is locked, seconds.
const LOCK_WAIT: i64 = 10;
/// Of a hundred connections, so many in use are nearly all.
const NEARLY_ALL: i64 = 95;

impl Step for Database {
    const KIND: &'static str = "hive.database";
    const EFFECT: Effect = Effect::Read;
    const NEEDS: &'static [Need] = &[];
    const EXAMPLE: &'static str = "metastore: main\nslow: 2s\nlock_wait: 10s";
    type Output = Found;

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Found>, Failure> {
        let cluster = context.cluster()?;
        let name = metastore_name(self.metastore.as_ref(), context)?;
        let database = cluster.metastore_databases.get(&name);
        let Some(client) = database.and_then(|database| cluster.databases.get(database)) else {
            return Err(Failure::Skipped(format!(
                "no database is configured for metastore `{}`; add `clusters.{}.metastores.<name>.database`",
                one_line(&name, 80),
                cluster.name,
            )));
        };
        let looked = Box::pin(client.metastore(context.clock)).await;
        let slow_ms = self
            .slow
            .map_or(SLOW_MS, |slow| u64::try_from(slow.get().as_millis()).unwrap_or(u64::MAX));
        let lock_wait = self
            .lock_wait
            .map_or(LOCK_WAIT, |wait| i64::try_from(wait.get().as_secs()).unwrap_or(i64::MAX));
        let verdict = judge(&looked, slow_ms, lock_wait);
        Ok(outcome(name, client.to_string(), looked, verdict))
    }
}

fn judge(looked: &Looked, slow_ms: u64, lock_wait: i64) -> Verdict {
    let first = looked.rungs.iter().find_map(|rung| rung.failure.as_ref());
    match first.map(|error| error.kind) {
        Some(Kind::Unreachable) => return Verdict::Down,
        // A look that is late because of a lock is told by the lock below.
        Some(Kind::Timeout) if looked.waiting.is_empty() => return Verdict::Down,
        Some(Kind::Denied) => return Verdict::Denied,
        Some(Kind::NotFound) => return Verdict::NotMetastore,
        Some(Kind::Throttled { .. }) => return Verdict::Full,
        Some(Kind::Malformed | Kind::Refused) => return Verdict::Failing,
        Some(Kind::Timeout) | None => {}
    }
    let nearly_full =
        looked.connections.as_ref().is_some_and(|c| c.used * 100 >= c.max * NEARLY_ALL);
    // Who may not see how long a session waits, sees 0: then two looks late are the sign.
    let late = looked.rungs.iter().any(|rung| rung.latency_ms > slow_ms);
    if looked.waiting.iter().any(|w| w.seconds >= lock_wait) {
        Verdict::Locked
    } else if nearly_full {
        Verdict::Full
    } else if !looked.waiting.is_empty() && (first.is_some() || late) {
        Verdict::Locked
    } else if late {
        Verdict::Slow
    } else {
        Verdict::Ok
    }
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Slow => "slow",
            Self::Down => "down",
            Self::Denied => "denied",
            Self::NotMetastore => "not_metastore",
            Self::Full => "full",
            Self::Locked => "locked",
            Self::Failing => "failing",
        }
    }
}

fn outcome(
    metastore: String,
    database: String,
    looked: Looked,
    verdict: Verdict,
) -> Outcome<Found> {
    let head = format!("metastore {metastore} database");
    let mut lines = vec![];
    for rung in &looked.rungs {
        lines.push(line(&head, rung, &looked));
    }
    for waiting in &looked.waiting {
        let Waiting { pid, seconds, relation, mode, blocked_by } = waiting;
        let table = if relation.is_empty() { "something" } else { relation };
        lines.push(format!(
            "{head} lock: process {pid} waits {seconds} s for {mode} on {table}, held by {blocked_by:?}"
        ));
    }
    if let Some(connections) = &looked.connections {
        let Connections { idle_in_transaction, oldest_transaction_seconds: oldest, .. } =
            connections;
        if *idle_in_transaction > 0 || *oldest > 300 {
            lines.push(format!(
                "{head} transactions: {idle_in_transaction} idle in a transaction, the oldest is {oldest} s old"
            ));
        }
    }
    let failed = looked.rungs.iter().position(|rung| rung.failure.is_some());
    let waits = (verdict == Verdict::Locked).then_some(looked.rungs.len());
    let summary = match waits.or(failed).and_then(|at| lines.get(at)) {
        Some(line) => format!("{}: {line}", verdict.word()),
        None if looked.schema_version.is_empty() => format!("{}: {head}", verdict.word()),
        None => format!("{}: {head}, schema {}", verdict.word(), looked.schema_version),
    };
    let source = format!("metastore {metastore}");
    lines.push(format!("{head}: {}", verdict.word()));
    let passages =
        lines.into_iter().map(|text| Passage::new(Origin::Metastore, &source, text)).collect();
    let Looked { rungs, schema_version, connections, waiting, counts } = looked;
    let rungs = rungs.into_iter().map(|LookedRung { name, latency_ms, failure }| Rung {
        name: name.to_owned(),
        ok: failure.is_none(),
        latency_ms,
        reason: failure.map(|error| error.reason).unwrap_or_default(),
    });
    let rungs = rungs.collect();
    let value =
        Found { metastore, database, verdict, schema_version, connections, waiting, counts, rungs };
    Outcome { value, passages, summary }
}

/// The canonical line of a look, which signatures match.
fn line(head: &str, rung: &LookedRung, looked: &Looked) -> String {
    let LookedRung { name, latency_ms, failure } = rung;
    if let Some(error) = failure {
        let kind = error.kind.label();
        return format!("{head} {name}: FAILED after {latency_ms} ms: {kind}: {}", error.reason);
    }
    let told = match (*name, &looked.connections, &looked.counts) {
        ("schema_version", _, _) if looked.schema_version.is_empty() => {
            " (no version recorded)".to_owned()
        }
        ("schema_version", _, _) => format!(" ({})", looked.schema_version),
        ("connections", Some(c), _) => {
            format!(" ({} of {} in use, {} of this database)", c.used, c.max, c.of_database)
        }
        ("locks", _, _) => format!(" ({} waiting)", looked.waiting.len()),
        ("counts", _, Some(c)) => format!(
            " ({} databases, {} tables, {} partitions)",
            c.databases, c.tables, c.partitions
        ),
        _ => String::new(),
    };
    format!("{head} {name}: ok in {latency_ms} ms{told}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::Error;

    fn rung(name: &'static str, failure: Option<Kind>) -> LookedRung {
        let failure = failure.map(|kind| Error::new(kind, "look", "the server's words"));
        LookedRung { name, latency_ms: 3, failure }
    }

    fn well() -> Looked {
        Looked {
            rungs: ["connect", "schema_version", "connections", "locks", "counts"]
                .map(|name| rung(name, None))
                .into(),
            schema_version: "2.3.0".to_owned(),
            connections: Some(Connections {
                used: 12,
                of_database: 10,
                max: 97,
                idle_in_transaction: 0,
                oldest_transaction_seconds: 1,
            }),
            waiting: vec![],
            counts: Some(Counts {
                databases: 3,
                tables: 40,
                partitions: 900,
                storage_descriptors: 940,
            }),
        }
    }

    fn verdict(looked: &Looked) -> Verdict {
        judge(looked, SLOW_MS, LOCK_WAIT)
    }

    #[test]
    fn a_healthy_database_is_told_line_by_line() {
        let looked = well();
        let verdict = verdict(&looked);
        let outcome = outcome("main".to_owned(), "hms at pg:5432".to_owned(), looked, verdict);
        let lines: Vec<_> = outcome.passages.iter().map(|p| p.text.as_str()).collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        metastore main database connect: ok in 3 ms
        metastore main database schema_version: ok in 3 ms (2.3.0)
        metastore main database connections: ok in 3 ms (12 of 97 in use, 10 of this database)
        metastore main database locks: ok in 3 ms (0 waiting)
        metastore main database counts: ok in 3 ms (3 databases, 40 tables, 900 partitions)
        metastore main database: ok
        ");
        insta::assert_snapshot!(outcome.summary, @"ok: metastore main database, schema 2.3.0");
    }

    #[test]
    fn each_trouble_has_its_verdict() {
        let failed =
            |name, kind| Looked { rungs: vec![rung(name, Some(kind))], ..Looked::default() };
        assert_eq!(verdict(&failed("connect", Kind::Unreachable)), Verdict::Down);
        assert_eq!(verdict(&failed("connect", Kind::Timeout)), Verdict::Down);
        assert_eq!(verdict(&failed("connect", Kind::Denied)), Verdict::Denied);
        assert_eq!(verdict(&failed("connect", Kind::Throttled { after: None })), Verdict::Full);
        assert_eq!(verdict(&failed("schema_version", Kind::NotFound)), Verdict::NotMetastore);
        let mut full = well();
        full.connections.as_mut().unwrap().used = 93;
        assert_eq!(verdict(&full), Verdict::Full);
        let mut slow = well();
        slow.rungs[4].latency_ms = 2_001;
        assert_eq!(verdict(&slow), Verdict::Slow);
    }

    #[test]
    fn a_wait_for_a_lock_is_told_with_who_holds_it() {
        let mut looked = well();
        looked.waiting.push(Waiting {
            pid: 41,
            seconds: 75,
            relation: "\"TBLS\"".to_owned(),
            mode: "AccessShareLock".to_owned(),
            blocked_by: vec![40],
        });
        assert_eq!(verdict(&looked), Verdict::Locked);
        let outcome = outcome("main".to_owned(), "x".to_owned(), looked.clone(), Verdict::Locked);
        insta::assert_snapshot!(outcome.summary, @r#"locked: metastore main database lock: process 41 waits 75 s for AccessShareLock on "TBLS", held by [40]"#);
        // A short wait is life; one whose length we may not see counts when a look was late.
        looked.waiting[0].seconds = 0;
        assert_eq!(verdict(&looked), Verdict::Ok);
        looked.rungs[4] = rung("counts", Some(Kind::Timeout));
        assert_eq!(verdict(&looked), Verdict::Locked);
    }
}
