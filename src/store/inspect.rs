//! What `paramedic store` asks and does: the schema, and whether the rows fit together. Each question says what it found;
//! whoever asks decides what to do about it.

use super::{
    Changed, Db, Error, Migrated, Place, Postgres, Result, Settings, Sqlite, Store, db, migrate,
    query,
};
use crate::ops::{clock::Clock, lifecycle::Tasks};

/// Rows that belong to nothing: table, what is missing, and the question.
const ORPHANS: [(&str, &str); 7] = [
    (
        "timeline",
        "SELECT count(*) FROM timeline t WHERE NOT EXISTS (SELECT 1 FROM incidents i WHERE i.id = t.incident_id)",
    ),
    (
        "members",
        "SELECT count(*) FROM members m WHERE m.incident_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM incidents i WHERE i.id = m.incident_id)",
    ),
    (
        "runs",
        "SELECT count(*) FROM runs r WHERE NOT EXISTS (SELECT 1 FROM incidents i WHERE i.id = r.incident_id)",
    ),
    (
        "messages",
        "SELECT count(*) FROM messages m WHERE NOT EXISTS (SELECT 1 FROM incidents i WHERE i.id = m.incident_id)",
    ),
    (
        "jobs",
        "SELECT count(*) FROM jobs j WHERE j.incident_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM incidents i WHERE i.id = j.incident_id)",
    ),
    (
        "steps",
        "SELECT count(*) FROM steps s WHERE NOT EXISTS (SELECT 1 FROM runs r WHERE r.id = s.run_id)",
    ),
    (
        "incidents",
        "SELECT count(*) FROM incidents i WHERE NOT EXISTS (SELECT 1 FROM timeline t WHERE t.incident_id = i.id)",
    ),
];

/// Brings the schema at this address up to ours, or says what would be done. A file that a daemon has open is refused.
pub async fn migrate(settings: &Settings, dry_run: bool) -> Result<Migrated> {
    match settings.place()? {
        Place::File(path) if dry_run => {
            if !path.exists() {
                return migrate::plan(&mut db::memory()?).await;
            }
            migrate::plan(&mut db::open_file(path)?).await
        }
        Place::File(path) => db::migrate_file(path).await,
        Place::Server if dry_run => migrate::plan(&mut db::connect(settings).await?).await,
        Place::Server => db::migrate_server(settings).await,
        #[cfg(feature = "simulation")]
        Place::World(_) => {
            let known = migrate::plan(&mut db::memory()?).await?.to;
            Ok(Migrated { from: known, to: known, steps: vec![] })
        }
    }
}

impl Store {
    /// Opens a store that is there, as it is, to look at it: nothing is migrated, no lease is let go, and a daemon may have it
    /// open. [`Error::Older`] when its schema is not ours.
    pub async fn open_as_it_is(settings: &Settings, clock: Clock, tasks: &Tasks) -> Result<Self> {
        let plan = match settings.place()? {
            Place::File(path) if !path.exists() => {
                return Err(Error::Missing(path.display().to_string()));
            }
            _ => migrate(settings, true).await?,
        };
        if plan.from < plan.to {
            return Err(Error::Older { found: plan.from, known: plan.to });
        }
        let changed = Changed::new(clock.clone())?;
        let db = match settings.place()? {
            Place::File(path) => Db::Sqlite(Box::new(Sqlite::open_as_it_is(path, tasks)?)),
            Place::Server => Db::Postgres(Postgres::open_as_it_is(settings, tasks)?),
            #[cfg(feature = "simulation")]
            Place::World(name) => Db::Sim(super::sim::World::named(name)?),
        };
        Ok(Self::with(db, clock, changed))
    }

    /// The version of the schema.
    pub async fn schema(&self) -> Result<i64> {
        let sql = "SELECT coalesce(max(version), 0) FROM _sqlx_migrations";
        self.db.one(query(sql)).await.map(|(version,): (i64,)| version)
    }

    /// Damage that the database finds in its own files, a line each. Reads all of a SQLite file.
    pub async fn damage(&self) -> Result<Vec<String>> {
        self.db.damage().await
    }

    /// Rows that belong to no incident or run, per table; tables without any are left out.
    pub async fn orphans(&self) -> Result<Vec<(&'static str, i64)>> {
        let mut found = vec![];
        for (table, sql) in ORPHANS {
            let (count,): (i64,) = self.db.one(query(sql).at_length()).await?;
            if count > 0 {
                found.push((table, count));
            }
        }
        Ok(found)
    }

    /// Deliveries that were set aside for a person.
    pub async fn set_aside(&self) -> Result<i64> {
        let sql = "SELECT count(*) FROM deliveries WHERE state = 'poisoned'";
        self.db.one(query(sql).at_length()).await.map(|(count,): (i64,)| count)
    }
}
