//! Which replica reads the logs of a cluster and stores what was seen: the one that has the cluster's turn in the store.
//!
//! A leader that dies or freezes loses its turn after 4 s, one that stops gives it up. A replica leads until the store tells
//! it that another one does: whoever cannot ask goes on reading, because to read a log twice does no harm, and not to read it
//! loses it. Nor does a write that comes late, out of a process that was frozen: the store keeps the newer of two rows.

use std::time::Duration;

use super::{Recorder, Site};

/// Between looks at whose turn it is.
pub(super) const LOOK: Duration = Duration::from_secs(1);

impl Recorder {
    /// Takes or keeps the cluster's turn; false while another replica has it.
    pub(super) async fn leads(&self, site: &Site) -> crate::store::Result<bool> {
        let leads = self.0.store.has_turn(&site.turn, &self.0.owner).await?;
        if site.with(|index| index.lead(leads)) {
            let who = if leads { "this replica" } else { "another replica" };
            tracing::info!(cluster = site.cluster, "{who} records from now on");
            site.to_read.notify_one();
            site.to_follow.notify_one();
        }
        Ok(leads)
    }

    /// Until this process does not lead.
    pub(super) async fn until_another_leads(&self, site: &Site) {
        while site.with(|index| index.leads()) {
            self.0.clock.sleep(LOOK).await;
        }
    }
}
