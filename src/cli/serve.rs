//! `paramedic serve`: the daemon.

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;

use super::{
    reload,
    wire::{self, Parts, Wired},
};
use crate::{
    config::Config,
    http,
    notify::console::Console,
    ops::{clock::Clock, lifecycle::Tasks, metrics, telemetry},
};

/// How long running steps may finish after a stop was asked for.
const GRACE: Duration = Duration::from_secs(20);

/// Runs the daemon
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Serve {
    /// Configuration file; without one, `$PARAMEDIC_CONFIG`, else the defaults
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl Serve {
    /// Serves until SIGTERM or SIGINT. Exit code 0 after a clean stop, 1 when a task died.
    pub async fn run(&self) -> anyhow::Result<ExitCode> {
        let config = Arc::new(Config::from_process(self.config.as_deref())?);
        telemetry::init(&config.log.level, config.log.json())?;
        let tasks = Tasks::default();
        let parts = Parts {
            clock: Clock::System,
            console: Console::stdout(std::io::IsTerminal::is_terminal(&std::io::stdout())),
            clusters: vec![],
        };
        let started = start(Arc::clone(&config), parts, &tasks).await?;
        say_what_is_off(&config);
        tracing::info!(address = %started.address, "ready");
        stop_asked_for(&tasks).await?;
        tracing::info!("stopping: no new work, running steps may finish");
        Ok(finish(&tasks).await)
    }
}

/// A running daemon.
pub struct Started {
    /// Its engine.
    pub wired: Wired,
    /// Where it listens.
    pub address: std::net::SocketAddr,
}

/// Starts everything on the configured address.
pub async fn start(config: Arc<Config>, parts: Parts, tasks: &Tasks) -> anyhow::Result<Started> {
    let recorder = metrics::install()?;
    let listen = config.server.listen.get();
    let listener = tokio::net::TcpListener::bind(listen)
        .await
        .with_context(|| format!("listen on {listen}: is another daemon running?"))?;
    let address = listener.local_addr()?;
    let wired = wire::wire(&config, parts, tasks).await?;
    wired.engine.plant_loops().await?;
    let state = http::State::new(wired.engine.clone(), Arc::clone(&config), recorder, tasks)?;
    let serving = tasks.clone();
    tasks.spawn("http.serve", async move { http::serve(state, listener, &serving).await });
    wired.engine.start(tasks);
    reload::keep_current(&wired, config, tasks);
    Ok(Started { wired, address })
}

/// Drains and stops; 1 when a task died.
pub async fn finish(tasks: &Tasks) -> ExitCode {
    match tasks.shut_down(GRACE).await {
        None => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
    }
}

async fn stop_asked_for(tasks: &Tasks) -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = tasks.stop().draining.cancelled() => {}
    }
    Ok(())
}

/// One clear line for everything that is off, and how to turn it on.
fn say_what_is_off(config: &Config) {
    let off = [
        (
            config.clusters.is_empty(),
            "no cluster is configured: playbooks cannot look at pods, Spark or metastores; add `clusters:`",
        ),
        (
            config.slack.is_none() && config.matrix.is_none(),
            "no chat is configured: cards and pages go to standard output only; add `slack:` or `matrix:` and `channels:`",
        ),
        (
            config.oncall.dir.is_none(),
            "no on-call files: the built-in operator is paged on the console; set `oncall: { dir: … }`",
        ),
        (
            config.dead_man.is_none(),
            "no dead man's checker: nobody notices when this daemon does not run; add `dead_man: { url: … }`",
        ),
        (
            config.is_open(),
            "open mode: anybody on this machine may send alerts and press buttons; add `sources:` and `server.tokens` before listening elsewhere",
        ),
        (
            config.sources.values().all(|s| s.alertmanagers.is_empty()),
            "no Alertmanager is known: buttons cannot make silences, and mutes and lost alerts are not seen; add `sources.<name>.alertmanagers`",
        ),
    ];
    for (_, line) in off.into_iter().filter(|(is_off, _)| *is_off) {
        tracing::warn!("{line}");
    }
}
