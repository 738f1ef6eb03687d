//! Numbers of incidents: each is given once, in their order.
//!
//! The last one is kept in a row. Where other processes count on, the row counts. A process that has its file alone counts by
//! itself, and the row follows with each incident that is written: a commit less for each of them.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Connection, Result, Store, query};
use crate::domain::ids::IncidentId;

/// The last number that this process gave, where it counts by itself.
#[derive(Clone, Default)]
pub(super) struct Numbers(Arc<Mutex<Option<i64>>>);

impl Numbers {
    fn next(&self, at_least: Option<i64>) -> Option<i64> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *last = (*last).max(at_least).map(|last| last + 1);
        *last
    }
}

impl Store {
    /// The next incident's number. A crash may leave a gap.
    pub async fn next_incident(&self) -> Result<IncidentId> {
        if self.is_shared() {
            let sql = "UPDATE meta SET value = value + 1 WHERE name = 'incident' RETURNING value";
            let write =
                self.db.write(move |db| Box::pin(async move { Ok(query(sql).one(db).await?) }));
            return write.await.map(|(number,)| IncidentId(number));
        }
        if let Some(number) = self.numbers.next(None) {
            return Ok(IncidentId(number));
        }
        let sql = "SELECT value FROM meta WHERE name = 'incident'";
        let (last,): (i64,) = self.db.one(query(sql)).await?;
        let number = self.numbers.next(Some(last)).unwrap_or(last + 1);
        Ok(IncidentId(number))
    }
}

/// The row follows an incident that is written.
pub(super) async fn follow(db: &mut Connection, id: IncidentId) -> Result<()> {
    let sql = "UPDATE meta SET value = $1 WHERE name = 'incident' AND value < $1";
    Ok(query(sql).bind(id.0).execute(db).await.map(drop)?)
}
