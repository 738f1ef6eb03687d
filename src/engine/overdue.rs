//! Pages that nobody takes: due for minutes, and no worker has them. Whatever the reason, it is a bug or a stuck process.
//!
//! A page that waits for a rate limit or its next attempt is not overdue: it has a due time in the future, and its reason. After
//! a start or a lost store everything is overdue for a moment, so nothing is said until both have been in order for as long.

use std::time::Duration;

use super::{Engine, alarm::Alarm};
use crate::{domain::incident::show, ops::metrics as names, store};

/// Longer than this.
const OVERDUE: Duration = Duration::from_mins(2);

impl Engine {
    /// The page that waits longest, if it waits too long.
    pub(super) async fn overdue_page(&self) -> Result<Option<String>, store::Error> {
        if self.outage.in_order(self.clock.monotonic()) <= OVERDUE {
            return Ok(None);
        }
        let now = self.now();
        let Some((key, since)) = self.store.oldest_page(now).await? else { return Ok(None) };
        let waits = now.duration_since(since);
        let is_overdue = Duration::try_from(waits).is_ok_and(|waits| waits > OVERDUE);
        Ok(is_overdue
            .then(|| format!("{key} is due for {}, and nobody has it", show::duration(waits))))
    }

    /// Raises or ends the alarm.
    pub(super) async fn check_overdue(&self) -> anyhow::Result<()> {
        let overdue = self.overdue_page().await?;
        let alarm = Alarm::overdue_page(overdue.as_deref().unwrap_or_default());
        if overdue.is_none() {
            return self.put_right(&alarm).await;
        }
        if !self.is_raised(&alarm).await? {
            metrics::counter!(names::INVARIANT_VIOLATIONS, "invariant" => "page").increment(1);
            self.self_alarm(&alarm).await?;
        }
        Ok(())
    }
}
