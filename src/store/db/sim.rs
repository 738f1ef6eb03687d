//! The store of simulations: SQLite in memory behind a layer of faults that a test plans. The SQL, the transactions and the
//! group commit are the real ones; only what a disk, a network or a crash adds is played. Several stores of one process may
//! share a world, as replicas share a server; it outlives them, as a disk outlives a process.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use rusqlite::Row;
use sqlx::{FromRow, postgres::PgRow};
use tokio::sync::watch;

use super::{Connection, Query, Work, dialect, memory, writer::Writer};
use crate::{
    ops::{clock::Clock, lifecycle::Tasks},
    store::{Error, NewDelivery, Result, migrate},
};

/// Which database a world stands for.
#[derive(Clone, Debug, Default)]
pub enum Kind {
    /// A server that replicas share; without a time of its own, as tests have it.
    #[default]
    Shared,
    /// A server that replicas share, and whose time they have.
    Server(Clock),
    /// A file of one process.
    File,
}

/// What goes wrong with one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails before anything is written.
    Before,
    /// Everything is written, and the commit fails.
    During,
    /// It is committed, and the caller is told that it failed.
    After,
    /// Nothing happens until [`World::release`]; then it is done.
    StallBefore,
    /// It is committed; the caller hears of it only after [`World::release`].
    StallAfter,
    /// The disk is full, or read-only.
    Full,
}

type Plan = Box<dyn FnMut(u64) -> Option<Fault> + Send>;

/// A store's data, and what will go wrong with it.
pub struct World {
    kind: Kind,
    writer: Writer,
    plan: Mutex<(u64, Plan)>,
    released: watch::Sender<u64>,
}

fn worlds() -> std::sync::MutexGuard<'static, BTreeMap<String, Weak<World>>> {
    static WORLDS: Mutex<BTreeMap<String, Weak<World>>> = Mutex::new(BTreeMap::new());
    WORLDS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// An empty world, where nothing goes wrong; stores open it as `sim:NAME` while it is there. `tasks` are the world's, not
    /// those of a replica.
    pub async fn begin(name: &str, tasks: &Tasks) -> Result<Arc<Self>> {
        Self::of(Kind::default(), name, tasks).await
    }

    /// The same, as a database of this kind.
    pub async fn of(kind: Kind, name: &str, tasks: &Tasks) -> Result<Arc<Self>> {
        let mut db = memory()?;
        migrate::run(&mut db).await?;
        let (writer, work) = Writer::new(db, false, tasks.stop().stopped.clone());
        tasks.serve("store.writer", work);
        let world = Arc::new(Self {
            kind,
            writer,
            plan: Mutex::new((0, Box::new(|_| None))),
            released: watch::Sender::new(0),
        });
        let mut worlds = worlds();
        worlds.retain(|_, world| world.strong_count() > 0);
        worlds.insert(name.to_owned(), Arc::downgrade(&world));
        Ok(world)
    }

    /// The world of this name.
    pub fn named(name: &str) -> Result<Arc<Self>> {
        let world = worlds().get(name).and_then(Weak::upgrade);
        world.ok_or_else(|| Error::Missing(format!("sim:{name}")))
    }

    /// True when replicas share it.
    pub(super) fn is_shared(&self) -> bool {
        !matches!(self.kind, Kind::File)
    }

    /// The server's clock, if it is one.
    pub(super) fn clock(&self) -> Option<Clock> {
        match &self.kind {
            Kind::Server(clock) => Some(clock.clone()),
            Kind::Shared | Kind::File => None,
        }
    }

    /// Asks `plan` before every write from now on, with its number from 1: claims and renewals are writes too.
    pub fn plan(&self, plan: impl FnMut(u64) -> Option<Fault> + Send + 'static) {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = (0, Box::new(plan));
    }

    /// Lets everything go on that stalls now.
    pub fn release(&self) {
        self.released.send_modify(|times| *times += 1);
    }

    /// Returns when everything that was asked before is done and answered.
    pub async fn settled(&self) -> Result<()> {
        self.writer.run_last(|_| Box::pin(async { Ok(()) })).await
    }

    /// Looks at, or changes, what no store would: for triggers that keep a history, and their rows.
    pub async fn ask<T>(&self, sql: &'static str) -> Result<Vec<T>>
    where
        T: for<'r> FromRow<'r, PgRow> + for<'r> TryFrom<&'r Row<'r>, Error = rusqlite::Error>,
        T: Send + Unpin + 'static,
    {
        self.all(super::query(sql)).await
    }

    /// Writes that stall now.
    pub fn stalling(&self) -> usize {
        self.released.receiver_count()
    }

    fn fault(&self) -> Option<Fault> {
        let (number, plan) = &mut *self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        *number += 1;
        plan(*number)
    }

    async fn stalls(&self) {
        let mut released = self.released.subscribe();
        // The world holds the sender, so this ends with a release only.
        drop(released.changed().await);
    }

    /// All rows of a query. Reads do not fail here: a file whose disk is full can be read.
    pub(super) async fn all<T>(&self, query: Query) -> Result<Vec<T>>
    where
        T: for<'r> FromRow<'r, PgRow> + for<'r> TryFrom<&'r Row<'r>, Error = rusqlite::Error>,
        T: Send + Unpin + 'static,
    {
        self.writer.run(|db| Box::pin(async move { Ok(query.all(db).await?) })).await
    }

    /// Runs `work` in one write transaction, or not, as planned.
    pub(super) async fn write<T: Send + 'static>(&self, work: Work<T>) -> Result<T> {
        match self.fault() {
            None => self.writer.write(work).await,
            Some(Fault::Before) => Err(failed("before the commit")),
            Some(Fault::Full) => Err(failed("database or disk is full")),
            Some(Fault::During) => {
                self.writer.run(|db| Box::pin(torn(db, work))).await?;
                Err(failed("during the commit"))
            }
            Some(Fault::After) => {
                self.writer.write(work).await?;
                Err(failed("after the commit"))
            }
            Some(Fault::StallBefore) => {
                self.stalls().await;
                self.writer.write(work).await
            }
            Some(Fault::StallAfter) => {
                let value = self.writer.write(work).await?;
                self.stalls().await;
                Ok(value)
            }
        }
    }

    /// Stores a delivery, or not, as planned.
    pub(super) async fn deliver(&self, delivery: NewDelivery) -> Result<()> {
        match self.fault() {
            None => self.writer.intake.deliver(delivery).await,
            Some(Fault::Before | Fault::During) => Err(failed("before the commit")),
            Some(Fault::Full) => Err(failed("database or disk is full")),
            Some(Fault::After) => {
                self.writer.intake.deliver(delivery).await?;
                Err(failed("after the commit"))
            }
            Some(Fault::StallBefore) => {
                self.stalls().await;
                self.writer.intake.deliver(delivery).await
            }
            Some(Fault::StallAfter) => {
                self.writer.intake.deliver(delivery).await?;
                self.stalls().await;
                Ok(())
            }
        }
    }
}

fn failed(when: &str) -> Error {
    Error::Failed(format!("simulated: {when}"))
}

/// All of it, and no commit.
async fn torn<T>(db: &mut Connection, work: Work<T>) -> Result<()> {
    dialect::begin(db).await?;
    let done = work(&mut *db).await.map(drop);
    super::query("ROLLBACK").execute(db).await?;
    done
}
