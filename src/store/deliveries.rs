//! Deliveries: webhooks as received, kept until they are applied.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};

use super::{Connection, DELIVERIES, Error, Result, Store, instant, millis, query};
use crate::ops::guard::{Guard, is_away};

/// Attempts before a delivery is set aside.
pub const MAX_ATTEMPTS: i64 = 3;

/// A webhook's body, or a part of it, to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDelivery {
    /// Source name.
    pub source: String,
    /// When it came.
    pub received_at: Timestamp,
    /// One body, or the parts of a large one; stored in one transaction, in this order.
    pub bodies: Vec<Vec<u8>>,
}

/// A stored delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Arrival number.
    pub id: i64,
    /// Source name.
    pub source: String,
    /// When it came.
    pub received_at: Timestamp,
    /// As received.
    pub body: Vec<u8>,
    /// Alerts applied so far.
    pub applied: usize,
    /// Attempts that failed.
    pub attempts: i64,
}

/// How far a delivery got. Each says what it was decided on, so that of two replicas one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Of this delivery, so many alerts were applied before, and so many are now.
    Applied(i64, usize, usize),
    /// All of it, so many having been applied before: the body is deleted.
    Done(i64, usize),
    /// It cannot be applied: set aside for a person.
    Poisoned(i64),
}

/// Records progress inside a transaction.
pub(super) async fn progress(db: &mut Connection, progress: Progress) -> Result<()> {
    let number = |alerts| i64::try_from(alerts).unwrap_or(i64::MAX);
    let query = match progress {
        Progress::Applied(id, before, now) => {
            let sql = "UPDATE deliveries SET applied = $3, attempts = 0 WHERE id = $1 AND state = 'new' AND applied = $2";
            query(sql).bind(id).bind(number(before)).bind(number(now))
        }
        Progress::Done(id, before) => {
            let sql = "DELETE FROM deliveries WHERE id = $1 AND state = 'new' AND applied = $2";
            query(sql).bind(id).bind(number(before))
        }
        Progress::Poisoned(id) => {
            let sql = "UPDATE deliveries SET state = 'poisoned' WHERE id = $1 AND state = 'new'";
            query(sql).bind(id)
        }
    };
    if query.execute(db).await? == 1 || is_away(Guard::Cursor) {
        Ok(())
    } else {
        Err(Error::LostDelivery)
    }
}

type Row = (i64, String, i64, Vec<u8>, i64, i64);

/// How long a replica has a turn (a source's deliveries, a cluster's evidence) before it must say so again.
const TURN: SignedDuration = SignedDuration::from_secs(4);
/// A turn that ends later than this from now was taken by a clock that was ahead, milliseconds: it counts as over.
const LATEST: i64 = 60_000;
/// A body of at most this many bytes is small.
const SMALL: usize = 64 * 1024;
/// Sources looked at before a caller comes back for more.
const TRIES: usize = 16;

/// Until when each turn is ours, as we know it; their names are those of the configuration's sources and clusters.
#[derive(Clone, Default)]
pub(super) struct Turns(Arc<Mutex<BTreeMap<String, i64>>>);

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// Ours, for a while yet.
    Held,
    /// Ours since just now.
    Taken,
    /// Another replica's.
    Theirs,
}

impl Turns {
    /// A turn that ends later than a turn may was taken by a clock that was set back since.
    fn is_ours(&self, name: &str, from: i64, latest: i64) -> bool {
        let turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.get(name).is_some_and(|ours| (from..=latest).contains(ours))
    }

    fn set(&self, name: &str, until: i64) {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.insert(name.to_owned(), until);
    }
}

impl Store {
    /// Stores a delivery durably; returns only after the commit.
    pub async fn deliver(&self, delivery: NewDelivery) -> Result<()> {
        self.db.deliver(delivery).await?;
        self.changed.here_of([DELIVERIES]);
        Ok(())
    }

    /// The oldest delivery that is not applied yet and that is ours to apply, and the small ones of its source behind it; at most
    /// `limit`. Deliveries of one source are applied by one replica at a time: a turn lasts 4 s and goes on while it works.
    /// Should two replicas apply one all the same, because a turn ended in the middle, [`Progress`] lets one of them win.
    pub async fn next_deliveries(&self, owner: &str, limit: usize) -> Result<Vec<Delivery>> {
        for _ in 0..TRIES {
            let Some(row) = self.oldest_delivery(owner, millis(self.now())).await? else {
                return Ok(vec![]);
            };
            match self.turn(&row.1, owner).await? {
                Turn::Held => {
                    let oldest = delivery(row);
                    let behind = self.behind(&oldest, limit.saturating_sub(1)).await?;
                    return Ok([vec![oldest], behind].concat());
                }
                // Taken or not, what we read may be old by now.
                Turn::Taken | Turn::Theirs => {}
            }
        }
        Ok(vec![])
    }

    /// Deliveries of the same source behind this one, up to the first large one.
    async fn behind(&self, oldest: &Delivery, limit: usize) -> Result<Vec<Delivery>> {
        type Behind = (i64, i64, Option<Vec<u8>>, i64, i64);
        if oldest.body.len() > SMALL {
            return Ok(vec![]);
        }
        let sql = format!(
            "SELECT id, received_at, CASE WHEN length(body) <= {SMALL} THEN body END, applied, attempts FROM \
             (SELECT * FROM deliveries WHERE state = 'new' AND id > $1 ORDER BY id LIMIT $2) AS next WHERE source = $3 ORDER BY id"
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let asked = query(sql).bind(oldest.id).bind(limit).bind(&oldest.source);
        let rows: Vec<Behind> = self.db.all(asked).await?;
        let small = rows.into_iter().map_while(|(id, at, body, applied, attempts)| {
            Some(delivery((id, oldest.source.clone(), at, body?, applied, attempts)))
        });
        Ok(small.collect())
    }

    /// True while this process has the turn of this name, which is not a source's: it takes one that is free, and its own
    /// goes on. It ends by itself after 4 s without this question. In a store of one process it is always ours.
    pub async fn has_turn(&self, name: &str, owner: &str) -> Result<bool> {
        Ok(self.turn(name, owner).await? != Turn::Theirs)
    }

    /// Whose turn of this name it is, after taking it if it is free and renewing ours if half of it is over.
    async fn turn(&self, name: &str, owner: &str) -> Result<Turn> {
        let now = self.now();
        let end = now.saturating_add(TURN).unwrap_or(now);
        let half = now.saturating_add(TURN / 2).unwrap_or(now);
        if !self.db.is_shared() || self.turns.is_ours(name, millis(half), millis(end)) {
            return Ok(Turn::Held);
        }
        if !self.take_turn(name, owner, millis(now), millis(end)).await? {
            return Ok(Turn::Theirs);
        }
        self.turns.set(name, millis(end));
        Ok(Turn::Taken)
    }

    async fn oldest_delivery(&self, owner: &str, now: i64) -> Result<Option<Row>> {
        let sql = "SELECT d.id, d.source, d.received_at, d.body, d.applied, d.attempts FROM deliveries d \
                   WHERE d.state = 'new' AND NOT EXISTS (SELECT 1 FROM leases l WHERE l.name = d.source AND l.owner <> $1 AND l.until_at > $2 AND l.until_at <= $2 + $3) \
                   ORDER BY d.id LIMIT 1";
        self.db.optional(query(sql).bind(owner).bind(now).bind(LATEST)).await
    }

    async fn take_turn(&self, name: &str, owner: &str, now: i64, until: i64) -> Result<bool> {
        let (name, owner) = (name.to_owned(), owner.to_owned());
        let write = self.db.write(move |db| {
            Box::pin(async move {
                let sql = "INSERT INTO leases (name, owner, until_at) VALUES ($1, $2, $4) ON CONFLICT (name) DO UPDATE \
                           SET owner = excluded.owner, until_at = excluded.until_at WHERE leases.owner = excluded.owner OR leases.until_at <= $3 OR leases.until_at > $3 + $5";
                let take = query(sql).bind(name).bind(owner).bind(now).bind(until).bind(LATEST);
                Ok(take.execute(db).await? == 1)
            })
        });
        write.await
    }

    /// Gives up every turn of this process, so that another replica goes on at once.
    pub async fn end_turns(&self, owner: &str) -> Result<()> {
        self.turns.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let owner = owner.to_owned();
        let write = self.db.write(move |db| {
            Box::pin(async move {
                query("DELETE FROM leases WHERE owner = $1").bind(owner).execute(db).await?;
                Ok(())
            })
        });
        write.await?;
        self.changed.here();
        Ok(())
    }

    /// Counts a failed attempt; returns how many there are now, 0 when another replica applied it meanwhile.
    pub async fn delivery_failed(&self, id: i64) -> Result<i64> {
        let write = self.db.write(move |db| {
            Box::pin(async move {
                let sql = "UPDATE deliveries SET attempts = attempts + 1 WHERE id = $1 AND state = 'new' RETURNING attempts";
                let row: Option<(i64,)> = query(sql).bind(id).optional(db).await?;
                Ok(row.map_or(0, |(attempts,)| attempts))
            })
        });
        write.await
    }

    /// Deliveries not applied yet, and when the oldest of them came.
    pub async fn backlog(&self) -> Result<(i64, Option<Timestamp>)> {
        let sql = "SELECT count(*), min(received_at) FROM deliveries WHERE state = 'new'";
        let (count, oldest): (i64, Option<i64>) = self.db.one(query(sql).at_length()).await?;
        Ok((count, oldest.map(instant)))
    }
}

fn delivery((id, source, received_at, body, applied, attempts): Row) -> Delivery {
    Delivery {
        id,
        source,
        received_at: instant(received_at),
        body,
        applied: usize::try_from(applied).unwrap_or_default(),
        attempts,
    }
}
