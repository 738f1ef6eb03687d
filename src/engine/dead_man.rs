//! The ping that tells the outside that somebody is on duty. Its silence is the alarm, so it leaves only when everything that
//! a page needs was just seen to work: the store takes a write, webhooks are applied, and no page waits overdue.
//!
//! A loop with a row, in the lane of the pages: when jobs are not claimed any more, it is not either. A ping that fails is
//! counted, and the next one comes at its time.

use std::time::Duration;

use super::Engine;
use crate::{
    clients::http::{Request, Url},
    ops::metrics as names,
};

/// The loop's row.
pub(super) const LOOP: &str = "periodic:dead-man";
/// Longest wait for the answer; well below the lease of the job.
const WITHIN: Duration = Duration::from_secs(2);

/// `dead_man` of the configuration.
#[derive(Clone, Debug)]
pub struct DeadMan {
    /// Who listens.
    pub url: Url,
    /// Between two pings.
    pub every: Duration,
}

impl Engine {
    /// Pings if all is well; says why not otherwise.
    pub async fn ping_dead_man(&self) {
        let Some(DeadMan { url, every: _ }) = &self.options.dead_man else { return };
        let outcome = if let Err(reason) = self.all_is_well().await {
            tracing::error!(reason = format!("{reason:#}"), "no ping: somebody should look");
            "withheld"
        } else if let Err(reason) = self.ping(url).await {
            tracing::warn!(reason, "the dead man's checker did not take the ping");
            "failed"
        } else {
            "ok"
        };
        metrics::counter!(names::DEAD_MAN_PINGS, "outcome" => outcome).increment(1);
    }

    async fn ping(&self, url: &Url) -> Result<(), String> {
        let ping = Request::get(url.clone(), "ping the dead man's checker");
        let answer = self.http.send(ping.timeout(WITHIN).max_bytes(1024)).await;
        let status = answer.map_err(|error| error.to_string())?.status;
        if (200..300).contains(&status) {
            Ok(())
        } else {
            Err(format!("it answered HTTP {status}"))
        }
    }

    async fn all_is_well(&self) -> anyhow::Result<()> {
        self.store.check().await?;
        self.check_backlog().await?;
        if let Some(overdue) = self.overdue_page().await? {
            anyhow::bail!("{overdue}");
        }
        Ok(())
    }
}
