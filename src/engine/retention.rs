//! Deletes incidents that have been over for long, a few at a time and behind all other writes, so that no webhook and no page
//! waits for it. What a turn leaves, the next one takes.
//!
//! Where the store may not grow for ever (`store.max_size`), evidence of what is over goes before its time, the oldest first. When
//! there is none left and it still holds too much, it is full: webhooks are refused, which Alertmanager sends again, and people
//! are paged. What is open, its pages and its timeline go on; they are small.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Engine, alarm::Alarm};
use crate::{ops::metrics as names, store, store::Changes};

/// Incidents per transaction.
const BATCH: usize = 25;
/// Transactions per turn.
const BATCHES: usize = 40;

/// The loop that looks at the store's size.
pub(super) const SIZE_LOOP: &str = "periodic:size";
/// Between two looks.
pub(super) const SIZE_EVERY: Duration = Duration::from_mins(1);
/// Runs whose evidence one turn deletes, each in a transaction of its own.
const RUNS: usize = 100;
/// What the last look found: bytes, for every replica.
const SIZE: &str = "store:size";
/// Why the store is full, if it is.
const FULL: &str = "store:full";

impl Engine {
    /// Makes room, and says so when there is none to be made.
    pub(super) async fn make_room(&self) -> anyhow::Result<()> {
        let Some(max) = self.options.max_size else { return Ok(()) };
        let mut size = self.store.size(max).await?;
        let mut deleted = 0;
        let mut may_be_more = true;
        // A little more than it must, so that not every turn deletes.
        let wanted = if size > max { max - max / 20 } else { max };
        for _ in 0..RUNS {
            if size <= wanted || !may_be_more {
                break;
            }
            let (steps, bytes) = self.store.forget_evidence(1).await?;
            metrics::counter!(names::RETENTION_DELETED, "table" => "steps").increment(steps);
            (size, deleted, may_be_more) = (size - bytes, deleted + steps, steps > 0);
        }
        if deleted > 0 {
            tracing::warn!(
                steps = deleted,
                max,
                "evidence of what is over was deleted before its time to make room"
            );
        }
        let full = if size > max && !may_be_more {
            format!("the store is full: it holds {} of {} MiB", size >> 20, max >> 20)
        } else {
            String::new()
        };
        let cursors = vec![(SIZE.to_owned(), size.to_string()), (FULL.to_owned(), full.clone())];
        self.store.commit(Changes { cursors, ..Changes::default() }, self.now()).await?;
        let alarm = Alarm::store_is_full(&full);
        if full.is_empty() {
            self.put_right(&alarm).await
        } else if self.is_raised(&alarm).await? {
            Ok(())
        } else {
            self.self_alarm(&alarm).await
        }
    }

    /// Why the store takes no more webhooks, if it is full.
    pub(super) async fn full(&self) -> Result<Option<String>, store::Error> {
        if self.options.max_size.is_none() {
            return Ok(None);
        }
        Ok(self.store.cursor(FULL).await?.filter(|why| !why.is_empty()))
    }

    /// Sets the gauge of its size.
    pub(super) async fn set_size_gauge(&self) -> Result<(), store::Error> {
        if self.options.max_size.is_some()
            && let Some(size) = self.store.cursor(SIZE).await?.and_then(|size| size.parse().ok())
        {
            metrics::gauge!(names::STORE_BYTES).set::<f64>(size);
        }
        Ok(())
    }

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
