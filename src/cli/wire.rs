//! From the configuration to a running engine: the one place that knows every part.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::Context as _;
use jiff::{Timestamp, tz::TimeZone};

use super::oncall;
use crate::{
    clients::{self, Cluster, Clusters, hive, http, kube, prometheus, spark},
    config::{self, Config},
    domain::{
        incident::{self, correlate::GroupBy},
        matcher::Matcher,
    },
    engine::{
        self, Engine, Options, Shared, channels::Channels, heartbeats::Heartbeat,
        recorder::Recorder,
    },
    notify::{
        Channel,
        console::Console,
        matrix::{Matrix, MatrixSettings},
        slack::{Slack, SlackSettings},
        webhook::{Webhook, WebhookSettings},
    },
    ops::{clock::Clock, lifecycle::Tasks, metrics as names},
    playbook::{
        catalog::Shipped,
        diagnostic::Diagnostic,
        reload::{Polled, Reloader},
    },
    store::Store,
};

/// Between looks at the playbook and on-call files.
const RELOAD_EVERY: Duration = Duration::from_secs(5);

/// Parts that differ between `serve`, the demo and tests.
pub struct Parts {
    /// Time.
    pub clock: Clock,
    /// Where the console channel writes.
    pub console: Console,
    /// Clusters besides the configured ones.
    pub clusters: Vec<Cluster>,
}

/// An engine and what keeps it current.
pub struct Wired {
    /// Ready to start.
    pub engine: Engine,
    /// The playbooks in force.
    pub reloader: Arc<Reloader>,
}

/// Builds everything; nothing runs yet but the store's writer.
pub async fn wire(config: &Config, parts: Parts, tasks: &Tasks) -> anyhow::Result<Wired> {
    let Parts { clock, console, clusters: extra } = parts;
    let now = clock.now();
    let guard = guard(config)?;
    let http = http::Client::new(guard)?;
    let today = now.to_zoned(TimeZone::UTC).date();
    let reloader = Reloader::new(config.playbooks.dir.clone(), Shipped::Used, today)
        .map_err(|found| refused("the playbooks", &found))?;
    let oncall =
        oncall::load(config, now).map_err(|found| refused("the on-call files", &found))?.oncall;
    let mut clusters = Vec::new();
    for (name, settings) in &config.clusters {
        clusters.push(cluster(name, settings, &http).await?);
    }
    clusters.extend(extra);
    let store = Store::open(&config.store.url, clock.clone(), tasks).await?;
    let clusters = Clusters::new(clusters);
    let recorder = Recorder::new(&config.recorder, &clusters, store.clone(), clock.clone());
    let engine = Engine::new(engine::Inner {
        recorder,
        options: options(config, &http)?,
        catalog: Shared::from(reloader.current()),
        oncall: Shared::new(oncall),
        clusters,
        channels: channels(config, &http, &clock, console)?,
        owner: owner()?,
        started_at: now,
        http,
        clock,
        store,
    });
    Ok(Wired { engine, reloader: Arc::new(reloader) })
}

/// Keeps playbooks and on-call files current; a bad edit keeps the last good ones and is loud.
pub fn keep_current(wired: &Wired, config: Arc<Config>, tasks: &Tasks) {
    let (engine, reloader) = (wired.engine.clone(), Arc::clone(&wired.reloader));
    let stop = tasks.stop().draining.clone();
    tasks.spawn("files.reload", async move {
        let mut oncall_error = String::new();
        loop {
            tokio::select! {
                () = engine.clock.sleep(RELOAD_EVERY) => {}
                () = stop.cancelled() => return Ok(()),
            }
            let now = engine.now();
            let (looking, today) = (Arc::clone(&reloader), now.to_zoned(TimeZone::UTC).date());
            match crate::ops::lifecycle::blocking(move || looking.poll(today)).await? {
                Polled::Unchanged => {}
                Polled::Swapped => {
                    engine.catalog.set(reloader.current());
                    tracing::info!("new playbooks are in force");
                    metrics::counter!(names::RELOADS, "what" => "playbooks", "outcome" => "ok")
                        .increment(1);
                }
                Polled::Refused => {
                    let errors = text(&reloader.errors());
                    tracing::error!(
                        errors,
                        "the playbooks were changed and are wrong; the last good ones stay in force"
                    );
                    metrics::counter!(names::RELOADS, "what" => "playbooks", "outcome" => "error")
                        .increment(1);
                }
            }
            reload_oncall(&engine, &config, now, &mut oncall_error);
        }
    });
}

fn reload_oncall(engine: &Engine, config: &Config, now: Timestamp, last_error: &mut String) {
    match oncall::load(config, now) {
        Ok(loaded) => {
            last_error.clear();
            if *engine.oncall.get() != loaded.oncall {
                engine.oncall.set(Arc::new(loaded.oncall));
                tracing::info!("new on-call files are in force");
                metrics::counter!(names::RELOADS, "what" => "oncall", "outcome" => "ok")
                    .increment(1);
            }
        }
        Err(found) => {
            let errors = text(&found);
            if errors != *last_error {
                tracing::error!(
                    errors,
                    "the on-call files were changed and are wrong; the last good ones stay in force"
                );
                metrics::counter!(names::RELOADS, "what" => "oncall", "outcome" => "error")
                    .increment(1);
                *last_error = errors;
            }
        }
    }
}

/// Why files cannot be used, with every mistake and its place.
pub fn refused(what: &str, found: &[Diagnostic]) -> anyhow::Error {
    anyhow::anyhow!("{what} cannot be used:\n{}", text(found))
}

fn text(found: &[Diagnostic]) -> String {
    found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn guard(config: &Config) -> anyhow::Result<http::Guard> {
    let allow = config.egress.allow.iter().map(|network| network.as_str().parse());
    let allow: Result<_, _> = allow.collect();
    Ok(http::Guard { allow: allow.map_err(anyhow::Error::msg).context("egress.allow")? })
}

fn options(config: &Config, http: &http::Client) -> anyhow::Result<Options> {
    let mut sources = BTreeMap::new();
    for (name, settings) in &config.sources {
        let source = source(settings, http).with_context(|| format!("sources.{name}"))?;
        sources.insert(name.clone(), source);
    }
    Ok(Options {
        public_url: config.server.link_base(),
        group_by: match &config.incidents.group_by {
            config::GroupBy::Labels(names) => GroupBy::Labels(names.clone()),
            config::GroupBy::Alertmanager => GroupBy::Alertmanager,
        },
        incidents: incident::Settings {
            settle: config.incidents.settle.get(),
            reopen_within: config.incidents.reopen_within.get(),
            ..incident::Settings::default()
        },
        severity_map: config.severity.map.clone(),
        default_severity: config.severity.default,
        sources,
        default_policy: config.default_policy().to_owned(),
        default_channels: config.channels.keys().cloned().collect(),
    })
}

fn source(settings: &config::Source, http: &http::Client) -> anyhow::Result<engine::Source> {
    let heartbeat = settings.heartbeat.as_ref().map(|heartbeat| {
        let matchers: Result<_, _> = heartbeat.r#match.iter().map(|m| Matcher::parse(m)).collect();
        let matchers = matchers.map_err(anyhow::Error::msg).context("heartbeat.match")?;
        let (every, miss) = (heartbeat.every.get(), heartbeat.miss);
        anyhow::Ok(Heartbeat { matchers, every, miss })
    });
    let client =
        |url: &config::Url| clients::alertmanager::Client::new(http.clone(), url.get().clone());
    Ok(engine::Source {
        labels: settings.labels.clone(),
        ignore: settings.identity.ignore.clone(),
        alertmanagers: settings.alertmanagers.iter().map(client).collect(),
        heartbeat: heartbeat.transpose()?,
    })
}

fn channels(
    config: &Config,
    http: &http::Client,
    clock: &Clock,
    console: Console,
) -> anyhow::Result<Channels> {
    let mut transports = vec![Channel::Console(console)];
    if let Some(slack) = &config.slack {
        let api_url = match &slack.api_url {
            Some(url) => url.get().clone(),
            None => SlackSettings::API.parse().context("the address of Slack's API")?,
        };
        let settings = SlackSettings { token: slack.token.get(), api_url };
        transports.push(Channel::Slack(Slack::new(http.clone(), settings, clock.clone())));
    }
    if let Some(matrix) = &config.matrix {
        let settings = MatrixSettings {
            homeserver: matrix.homeserver.get().clone(),
            token: matrix.token.get(),
            clear_text_in_encrypted_rooms: matrix.clear_text_in_encrypted_rooms,
        };
        transports.push(Channel::Matrix(Matrix::new(http.clone(), settings, clock.clone())));
    }
    if let Some(webhook) = &config.webhook {
        let settings = WebhookSettings { secrets: vec![webhook.secret.get()] };
        let webhook = Webhook::new(http.clone(), &settings, clock.clone());
        let webhook = webhook.map_err(anyhow::Error::msg).context("webhook.secret")?;
        transports.push(Channel::Webhook(webhook));
    }
    let mut channels = Channels::new(transports, clock);
    for (name, channel) in &config.channels {
        let added = channels.add(name, channel.kind(), channel.address());
        anyhow::ensure!(added, "channels.{name}: there is no `{}:` section", channel.kind());
    }
    Ok(channels)
}

async fn cluster(
    name: &str,
    settings: &config::Cluster,
    http: &http::Client,
) -> anyhow::Result<Cluster> {
    let kube = match &settings.kube {
        None => None,
        Some(config::Kube::InCluster) => Some(kube::Client::infer(Some("in-cluster")).await?),
        Some(config::Kube::Kubeconfig(file)) => {
            Some(kube::Client::kubeconfig(file.path.as_deref(), file.context.as_deref()).await?)
        }
    };
    let metastores = settings.metastores.iter().map(|(metastore, address)| {
        let client = hive::Client::new(address.as_str());
        client.map(|client| (metastore.clone(), client))
    });
    let metastores: clients::Result<BTreeMap<_, _>> = metastores.collect();
    Ok(Cluster {
        name: name.to_owned(),
        spark: spark::Client::new(
            http.clone(),
            kube.clone(),
            settings.history.as_ref().map(|url| url.get().clone()),
        ),
        prometheus: settings
            .prometheus
            .as_ref()
            .map(|url| prometheus::Client::new(http.clone(), url.get().clone())),
        metastores: metastores.with_context(|| format!("clusters.{name}.metastores"))?,
        kube,
    })
}

/// This process in leases: new with every start, so that an old lease is never taken for ours.
fn owner() -> anyhow::Result<String> {
    let mut random = [0_u8; 8];
    getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    Ok(format!("{}-{:016x}", std::process::id(), u64::from_be_bytes(random)))
}
