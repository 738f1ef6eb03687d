//! `paramedic store`: brings the schema up to date, and looks whether everything in the store fits together.

use std::{fmt, path::PathBuf, process::ExitCode};

use serde::Serialize;

use super::{Output, backup, print, wire};
use crate::{
    config::Config,
    ops::{clock::Clock, lifecycle::Tasks},
    store::{self, Migrated, inspect},
};

/// The store: its schema, and whether its rows fit together
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Store {
    /// Brings the schema up to this binary's; a daemon does the same when it starts
    Migrate(Migrate),
    /// Looks whether everything fits; may run beside a daemon. Exit code 1 when something is wrong
    Check(Check),
    /// Copies a SQLite store into one file, beside a running daemon
    Backup(backup::Backup),
    /// Puts a backup in the place of a SQLite store; the daemon must not run
    Restore(backup::Restore),
}

/// `paramedic store migrate`.
#[derive(Clone, Debug, clap::Args)]
pub struct Migrate {
    /// Configuration file; without one, `$PARAMEDIC_CONFIG`, else the defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// How to answer
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// `paramedic store check`.
#[derive(Clone, Debug, clap::Args)]
pub struct Check {
    /// Configuration file; without one, `$PARAMEDIC_CONFIG`, else the defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to answer
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

impl Store {
    /// Does it.
    pub async fn run(&self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Migrate(args) => {
                let config = Config::from_process(args.config.as_deref())?;
                let done = migrate(&wire::store(&config.store), args.dry_run).await?;
                print(&done, args.output)
            }
            Self::Check(args) => {
                let config = Config::from_process(args.config.as_deref())?;
                let report = check(&wire::store(&config.store)).await;
                print(&report, args.output)?;
                Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
            }
            Self::Backup(args) => args.run().await,
            Self::Restore(args) => args.run().await,
        }
    }
}

/// What a migration did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Migration {
    #[serde(flatten)]
    migrated: Migrated,
    dry_run: bool,
}

/// Migrates, or says what it would do.
pub async fn migrate(settings: &store::Settings, dry_run: bool) -> anyhow::Result<Migration> {
    let migrated = inspect::migrate(settings, dry_run).await?;
    Ok(Migration { migrated, dry_run })
}

impl fmt::Display for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Migrated { from, to, steps } = &self.migrated;
        if steps.is_empty() {
            return write!(f, "schema {to}: nothing to do");
        }
        let verb = if self.dry_run { "would go" } else { "went" };
        write!(f, "{verb} from schema {from} to {to}: {}", steps.join(", "))?;
        if self.dry_run {
            write!(f, "\nback up first: there is no way back")?;
        }
        Ok(())
    }
}

/// Everything that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// True when nothing is wrong.
    pub ok: bool,
    checks: Vec<Looked>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Looked {
    name: &'static str,
    ok: bool,
    found: String,
    /// What to do about it; "" when it is fine.
    advice: &'static str,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Looked { name, ok, found, advice } in &self.checks {
            writeln!(f, "{} {name}: {found}", if *ok { "ok   " } else { "WRONG" })?;
            if !ok {
                writeln!(f, "      {advice}")?;
            }
        }
        Ok(())
    }
}

/// Looks at the store. What cannot be looked at is wrong.
pub async fn check(settings: &store::Settings) -> Report {
    let tasks = Tasks::default();
    let checks = match store::Store::open_as_it_is(settings, Clock::System, &tasks).await {
        Ok(store) => looks(&store).await,
        Err(error) => vec![wrong("store", error.to_string(), advice(&error))],
    };
    tasks.stop().stopped.cancel();
    Report { ok: checks.iter().all(|look| look.ok), checks }
}

async fn looks(store: &store::Store) -> Vec<Looked> {
    let schema = store.schema().await.map(|version| (true, format!("version {version}")));
    let damage = store.damage().await;
    let damage = damage.map(|lines| listed(&lines, "; ", "none found", ""));
    let lost = store.without_wake_up().await.map(|ids| {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        listed(&ids, ", ", "every open incident owns its wake-up", "lost for ")
    });
    let orphans = store.orphans().await.map(|tables| {
        let tables: Vec<String> =
            tables.iter().map(|(table, count)| format!("{count} in {table}")).collect();
        listed(&tables, ", ", "no row belongs to nothing", "")
    });
    let aside = store.set_aside().await.map(|count| match count {
        0 => (true, "no webhook was set aside".to_owned()),
        // The daemon has paged for each of them.
        some => (true, format!("{some} webhooks were set aside; their incidents say why")),
    });
    let trip = store.check().await.map(|()| (true, "it takes a write".to_owned()));
    vec![
        look("schema", schema, ""),
        look(
            "damage",
            damage,
            "stop the daemon and restore the newest backup; keep this file to look at it",
        ),
        look(
            "wake-ups",
            lost,
            "a running daemon finds and mends it within a minute; if it stays, report it",
        ),
        look("rows", orphans, "nothing is lost by it; report it, with the version and this output"),
        look("set aside", aside, ""),
        look("round trip", trip, "full, read-only or unreachable: see the reason"),
    ]
}

/// Nothing is fine; anything is wrong and is listed.
fn listed(found: &[String], between: &str, none: &str, before: &str) -> (bool, String) {
    if found.is_empty() {
        return (true, none.to_owned());
    }
    (false, format!("{before}{}", found.join(between)))
}

fn look(name: &'static str, found: store::Result<(bool, String)>, help: &'static str) -> Looked {
    match found {
        Ok((true, found)) => Looked { name, ok: true, found, advice: "" },
        Ok((false, found)) => wrong(name, found, help),
        Err(error) => wrong(name, error.to_string(), advice(&error)),
    }
}

fn wrong(name: &'static str, found: String, advice: &'static str) -> Looked {
    Looked { name, ok: false, found, advice }
}

fn advice(error: &store::Error) -> &'static str {
    match error {
        store::Error::Missing(_) => "correct `store.url`, or start the daemon once",
        store::Error::Newer { .. } => {
            "use the newer binary; there is no way back to an older schema"
        }
        store::Error::NewerIncident(_) => "run the newer binary",
        store::Error::Older { .. } => {
            "back up, then start the daemon or run `paramedic store migrate`"
        }
        store::Error::InUse(_) => "stop the other process",
        store::Error::Damaged { .. } => "stop the daemon; the text says what to do",
        store::Error::Conflict
        | store::Error::LostJob
        | store::Error::LostDelivery
        | store::Error::InTheWay => "try again",
        // SQLite's own words for a file whose pages it cannot follow.
        store::Error::Failed(why)
            if why.contains("malformed") || why.contains("not a database") =>
        {
            "stop the daemon and restore the newest backup; keep this file to look at it"
        }
        store::Error::Failed(_) => {
            "is the server up, the address in `store.url` right, the disk not full, the file readable?"
        }
    }
}
