//! Deletes incidents that have been over for long, a few at a time and behind all other writes, so that no webhook and no page
//! waits for it. What a turn leaves, the next one takes.

use jiff::{SignedDuration, Timestamp};

use super::Engine;
use crate::ops::metrics as names;

/// Incidents per transaction.
const BATCH: usize = 25;
/// Transactions per turn.
const BATCHES: usize = 40;

impl Engine {
    /// One turn.
    pub(super) async fn forget_old_incidents(&self) -> anyhow::Result<()> {
        let keep = SignedDuration::try_from(self.options.keep).unwrap_or(SignedDuration::MAX);
        let before = self.now().saturating_sub(keep).unwrap_or(Timestamp::MIN);
        let mut forgotten = 0;
        for _ in 0..BATCHES {
            let limit = i64::try_from(BATCH).unwrap_or(1);
            let (count, deleted) = self.store.forget_incidents(before, limit).await?;
            for (table, rows) in deleted {
                metrics::counter!(names::RETENTION_DELETED, "table" => table).increment(rows);
            }
            forgotten += count;
            if count < BATCH {
                break;
            }
        }
        if forgotten > 0 {
            tracing::info!(forgotten, %before, "incidents resolved before then were deleted");
        }
        Ok(())
    }
}
