//! What every handler may use.

use std::{ops::Deref, sync::Arc, time::Duration};

use metrics_exporter_prometheus::PrometheusHandle;

use super::{
    auth::{Known, Sender},
    cached::Cached,
    routes::slack::Seen,
    ui::Pages,
};
use crate::{
    config::Config,
    engine::{Engine, intake::Budget},
    ops::lifecycle::Tasks,
};

/// How long an answer of the store about its own state is believed.
const BELIEVED: Duration = Duration::from_secs(1);

/// Everything behind the routes; cheap to clone.
#[derive(Clone)]
pub struct State(Arc<Inner>);

/// What [`State`] is made of.
pub struct Inner {
    /// The engine.
    pub engine: Engine,
    /// Settings.
    pub config: Arc<Config>,
    /// The process's metrics.
    pub metrics: PrometheusHandle,
    /// Webhook bytes in flight.
    pub budget: Budget,
    /// The process's tasks and stop signals.
    pub tasks: Tasks,
    /// Who may use the UI and the API.
    pub(super) tokens: Vec<Known>,
    /// Who may send alerts, by source.
    pub(super) senders: std::collections::BTreeMap<String, Sender>,
    /// Why webhooks are refused now, if they are.
    pub(super) backlog: Cached<Option<String>>,
    /// Why the store does not answer, if it does not.
    pub(super) store: Cached<Option<String>>,
    /// Clicks seen lately.
    pub(super) clicks: Seen,
    /// The UI's templates and what it has to say.
    pub(super) pages: Pages,
}

impl State {
    /// Puts it together. Fails only when a built-in template is broken.
    pub fn new(
        engine: Engine,
        config: Arc<Config>,
        metrics: PrometheusHandle,
        tasks: &Tasks,
    ) -> anyhow::Result<Self> {
        Ok(Self(Arc::new(Inner {
            tokens: Known::all(&config.server.tokens),
            senders: Sender::all(&config.sources),
            backlog: Cached::new(BELIEVED),
            store: Cached::new(BELIEVED),
            clicks: Seen::default(),
            pages: Pages::new()?,
            budget: Budget::default(),
            tasks: tasks.clone(),
            engine,
            config,
            metrics,
        })))
    }

    /// True once the process ends: no new alerts are taken.
    pub fn is_draining(&self) -> bool {
        self.tasks.stop().draining.is_cancelled()
    }

    /// True when UI and API need no credential: no tokens, and only this machine can connect.
    pub(super) fn is_open(&self) -> bool {
        self.config.server.tokens.is_empty() && self.config.server.listen.is_loopback()
    }

    /// Why webhooks are refused now; asked of the store at most once a second, not per webhook.
    pub(super) async fn backlog_problem(&self) -> Option<String> {
        let ask = async { self.engine.check_backlog().await.err().map(|error| error.to_string()) };
        self.backlog.get(&self.engine.clock, ask).await
    }
}

impl Deref for State {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}
