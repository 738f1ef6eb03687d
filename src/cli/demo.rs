//! `paramedic demo`: everything embedded, one dying Spark job, one card.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;

use super::{
    serve::{self, Started},
    wire::Parts,
};
use crate::{
    clients::{
        Cluster,
        http::{self, Request},
        kube, spark,
    },
    config::Config,
    demo::world,
    domain::{ids::IncidentId, incident::Incident},
    notify::{Message, console::Console, console::render},
    ops::{clock::Clock, lifecycle::Tasks, telemetry},
    store::Filter,
};

/// How long the card may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the recorder may take to read a log.
const SEEN: Duration = Duration::from_secs(5);
/// Between looks at the incident.
const LOOK: Duration = Duration::from_millis(100);

/// Shows what Paramedic does: an embedded store, the shipped playbooks, a scripted cluster whose Spark job loses an executor
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Demo {
    /// Exit after the card: 0, or 1 when no verdict or no page came within 20 s
    #[arg(long)]
    pub once: bool,
    /// Show the log of the daemon too
    #[arg(long)]
    pub verbose: bool,
}

impl Demo {
    /// Runs the demo.
    pub async fn run(&self) -> anyhow::Result<ExitCode> {
        telemetry::init(if self.verbose { "info" } else { "error" }, Some(false))?;
        let color = std::io::IsTerminal::is_terminal(&std::io::stdout());
        let folder = tempfile::tempdir().context("make a temporary directory")?;
        let (clock, tasks) = (Clock::System, Tasks::default());
        let world = world::start(&tasks, &clock).await?;
        let config = config(&folder)?;
        let http = http::Client::new(http::Guard { allow: vec![] })?;
        let parts = Parts {
            console: Console::stdout(color),
            clusters: vec![cluster(&world, &http)?],
            clock: clock.clone(),
        };
        let started = serve::start(Arc::new(config), parts, &tasks).await?;
        let address = started.address;
        lose_executor(&started, &world, &clock).await;
        say(&format!(
            "Paramedic runs on http://{address} (web page, API and webhook). A Spark job just lost an executor …"
        ));
        post(&http, &started, &world.alert).await?;
        let done = wait(&started, &clock).await?;
        if let Some(incident) = &done {
            let card = started.wired.engine.card(incident, clock.now());
            print(&render(&Message::Card(card), color));
            say(&format!("Open http://{address}/incidents/{} to see the evidence.", incident.id));
        } else {
            say(
                "No verdict and page within 20 s: this is a bug, please report it with `--verbose`.",
            );
        }
        if !self.once {
            say("Press Ctrl-C to stop.");
            tokio::select! {
                stopped = tokio::signal::ctrl_c() => stopped?,
                () = tasks.stop().draining.cancelled() => {}
            }
        }
        tasks.stop().stopped.cancel();
        let code = serve::finish(&tasks).await;
        Ok(if done.is_some() { code } else { ExitCode::FAILURE })
    }
}

fn config(folder: &tempfile::TempDir) -> anyhow::Result<Config> {
    let port = if std::net::TcpListener::bind("127.0.0.1:9095").is_ok() { 9095 } else { 0 };
    let settings = [
        ("PARAMEDIC__STORE__URL", format!("sqlite:{}", folder.path().join("demo.db").display())),
        ("PARAMEDIC__SERVER__LISTEN", format!("127.0.0.1:{port}")),
    ];
    let settings = settings.into_iter().map(|(name, value)| (name.to_owned(), value));
    let mut config = Config::load(None, settings)?;
    // The page comes on the console; the card is printed once it is complete.
    config.channels.clear();
    Ok(config)
}

fn cluster(world: &world::World, http: &http::Client) -> anyhow::Result<Cluster> {
    let kube = kube::Client::from_url(&world.kube_url)?;
    let spark = spark::Client::new(http.clone(), Some(kube.clone()), None);
    Ok(Cluster { kube: Some(kube), ..Cluster::new(world::CLUSTER, spark) })
}

/// Spark deletes the pod of a dead executor at once; by the time of the alert only the recorder knows it. Should it not have
/// read the log in time, the pod stays.
async fn lose_executor(started: &Started, world: &world::World, clock: &Clock) {
    let begun = clock.monotonic();
    while clock.monotonic().saturating_sub(begun) < SEEN {
        if started.wired.engine.recorder.counts(world::CLUSTER).kept > 0 {
            world.delete_dead_executor();
            return;
        }
        clock.sleep(LOOK / 10).await;
    }
}

/// Sends the alert the way Alertmanager does.
async fn post(
    http: &http::Client,
    started: &Started,
    alert: &serde_json::Value,
) -> anyhow::Result<()> {
    let url = format!("http://{}/api/v1/alertmanager", started.address).parse()?;
    let operation = "post the alert";
    let request = Request::post(url, operation, alert.to_string().into_bytes(), "application/json");
    http.send(request).await?.error_for_status(operation)?;
    Ok(())
}

/// Until the incident has a verdict and its page was delivered.
async fn wait(started: &Started, clock: &Clock) -> anyhow::Result<Option<Incident>> {
    let begun = clock.monotonic();
    let store = &started.wired.engine.store;
    while clock.monotonic().saturating_sub(begun) < PATIENCE {
        clock.sleep(LOOK).await;
        let newest = store.incidents(Filter { open: None, before: None, limit: 1 }).await?;
        let Some(newest) = newest.first() else { continue };
        let id: IncidentId = newest.id.parse().map_err(anyhow::Error::msg)?;
        let Some(stored) = store.incident(id).await? else { continue };
        let paged = store.messages(id).await?.iter().any(|m| m.is_page && m.state == "sent");
        let incident = stored.incident;
        if paged && incident.running == 0 && !incident.verdicts.is_empty() {
            return Ok(Some(incident));
        }
    }
    Ok(None)
}

#[allow(clippy::print_stderr, reason = "progress for the person at the terminal")]
fn say(text: &str) {
    eprintln!("{text}");
}

#[allow(clippy::print_stdout, reason = "the result")]
fn print(text: &str) {
    println!("{text}");
}
