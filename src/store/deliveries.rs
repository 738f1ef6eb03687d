//! Deliveries: webhooks as received, kept until they are applied.

use futures::future::BoxFuture;
use jiff::Timestamp;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::{Result, Store, instant, millis};

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

/// How far a delivery got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// This many alerts are applied.
    Applied(i64, usize),
    /// All of it: the body is deleted.
    Done(i64),
    /// It cannot be applied: set aside for a person.
    Poisoned(i64),
}

/// Inserts all of them with one execute, in one transaction of its own.
pub(super) fn insert<'a>(
    db: &'a mut SqliteConnection,
    rows: &'a [NewDelivery],
) -> BoxFuture<'a, Result<()>> {
    let mut values = Vec::new();
    for (row, body) in rows.iter().flat_map(|row| row.bodies.iter().map(move |body| (row, body))) {
        values.push((&row.source, millis(row.received_at), &body[..]));
    }
    let places: Vec<String> = (0..values.len())
        .map(|i| format!("(${}, ${}, ${})", 3 * i + 1, 3 * i + 2, 3 * i + 3))
        .collect();
    // Placeholders only; every value is bound.
    let sql = format!(
        "BEGIN IMMEDIATE; INSERT INTO deliveries (source, received_at, body) VALUES {}; COMMIT",
        places.join(", ")
    );
    Box::pin(async move {
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for (source, received_at, body) in values {
            query = query.bind(source).bind(received_at).bind(body);
        }
        if let Err(error) = query.execute(&mut *db).await {
            // The text's own COMMIT was not reached; without a transaction this fails and that is fine.
            drop(sqlx::query("ROLLBACK").execute(db).await);
            return Err(error.into());
        }
        Ok(())
    })
}

/// Records progress inside a transaction.
pub(super) async fn progress(db: &mut SqliteConnection, progress: Progress) -> Result<()> {
    let query = match progress {
        Progress::Applied(id, applied) => {
            sqlx::query("UPDATE deliveries SET applied = $2, attempts = 0 WHERE id = $1")
                .bind(id)
                .bind(i64::try_from(applied).unwrap_or(i64::MAX))
        }
        Progress::Done(id) => sqlx::query("DELETE FROM deliveries WHERE id = $1").bind(id),
        Progress::Poisoned(id) => {
            sqlx::query("UPDATE deliveries SET state = 'poisoned' WHERE id = $1").bind(id)
        }
    };
    query.execute(db).await?;
    Ok(())
}

type Row = (i64, String, i64, Vec<u8>, i64, i64);

impl Store {
    /// Stores a delivery durably; returns only after the commit.
    pub async fn deliver(&self, delivery: NewDelivery) -> Result<()> {
        self.db.deliver(delivery).await?;
        self.has_changed();
        Ok(())
    }

    /// The oldest delivery that is not applied yet.
    pub async fn next_delivery(&self) -> Result<Option<Delivery>> {
        let sql = "SELECT id, source, received_at, body, applied, attempts FROM deliveries \
                   WHERE state = 'new' ORDER BY id LIMIT 1";
        let row: Option<Row> = sqlx::query_as(sql).fetch_optional(self.db.read()).await?;
        Ok(row.map(|(id, source, received_at, body, applied, attempts)| Delivery {
            id,
            source,
            received_at: instant(received_at),
            body,
            applied: usize::try_from(applied).unwrap_or_default(),
            attempts,
        }))
    }

    /// Counts a failed attempt; returns how many there are now.
    pub async fn delivery_failed(&self, id: i64) -> Result<i64> {
        let write = self.db.write(move |db| {
            Box::pin(async move {
                let sql =
                    "UPDATE deliveries SET attempts = attempts + 1 WHERE id = $1 RETURNING attempts";
                Ok(sqlx::query_scalar(sql).bind(id).fetch_one(db).await?)
            })
        });
        write.await
    }

    /// Deliveries not applied yet, and when the oldest of them came.
    pub async fn backlog(&self) -> Result<(i64, Option<Timestamp>)> {
        let sql = "SELECT count(*), min(received_at) FROM deliveries WHERE state = 'new'";
        let (count, oldest): (i64, Option<i64>) =
            sqlx::query_as(sql).fetch_one(self.db.read()).await?;
        Ok((count, oldest.map(instant)))
    }
}
