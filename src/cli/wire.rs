//! From the configuration to a running engine: the one place that knows every part.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Context as _;
use jiff::tz::TimeZone;

use super::oncall;
use crate::{
    clients::{self, Cluster, Clusters, hive, http, kube, loki, postgres, prometheus, s3, spark},
    config::{self, Config},
    domain::{
        incident::{self, correlate::GroupBy},
        matcher::Matcher,
    },
    engine::{
        self, Engine, Options, Shared, channels::Channels, heartbeats::Heartbeat,
        recorder::Recorder, teams::NamespaceTeams,
    },
    notify::{
        Channel,
        console::Console,
        matrix::{Matrix, MatrixSettings},
        slack::{Slack, SlackSettings},
        webhook::{Webhook, WebhookSettings},
    },
    ops::{clock::Clock, lifecycle::Tasks},
    playbook::{catalog::Shipped, diagnostic::Diagnostic, reload::Reloader},
    store::{self, Store},
};

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
        clusters.push(cluster(name, settings, &http)?);
    }
    say_which_cannot_be_reached(&clusters).await;
    clusters.extend(extra);
    let store = Store::open(&store(&config.store), clock.clone(), tasks).await?;
    let clusters = Clusters::new(clusters);
    let (owner, time) = (owner()?, clock.clone());
    let recorder = Recorder::new(&config.recorder, &clusters, store.clone(), time, owner.clone());
    let engine = Engine::new(engine::Inner {
        recorder,
        options: options(config, &http)?,
        catalog: Shared::from(reloader.current()),
        oncall: Shared::new(oncall),
        clusters,
        wrong_files: Shared::default(),
        namespace_teams: NamespaceTeams::new(
            config
                .clusters
                .iter()
                .filter(|(_, c)| c.teams_by_namespace)
                .map(|(name, _)| name.clone()),
        ),
        channels: channels(config, &http, &clock, console)?,
        owner,
        outage: engine::outage::Outage::new(clock.monotonic()),
        started_at: clock.monotonic(),
        http,
        clock,
        store,
    });
    Ok(Wired { engine, reloader: Arc::new(reloader) })
}

/// Other clusters' alerts come in all the same, and those of this one are paged: the daemon starts.
async fn say_which_cannot_be_reached(clusters: &[Cluster]) {
    let looks =
        clusters.iter().filter_map(|cluster| cluster.kube.as_ref()).map(kube::Client::connect);
    for error in futures::future::join_all(looks).await.into_iter().filter_map(Result::err) {
        tracing::error!(
            "{error}. It is tried again whenever it is needed; until then its alerts are paged without evidence"
        );
    }
}

/// Why files cannot be used, with every mistake and its place.
pub fn refused(what: &str, found: &[Diagnostic]) -> anyhow::Error {
    anyhow::anyhow!("{what} cannot be used:\n{}", text(found))
}

/// Every mistake with its place.
pub(super) fn text(found: &[Diagnostic]) -> String {
    found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Where the store is.
pub fn store(config: &config::Store) -> store::Settings {
    store::Settings {
        url: config.url.clone(),
        password: config.password.as_ref().map(config::Secret::get),
        connections: config.connections,
        acquire: config.acquire_timeout.get(),
        statement: config.statement_timeout.get(),
    }
}

/// The egress guard.
pub fn guard(config: &Config) -> anyhow::Result<http::Guard> {
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
        storm: incident::storm::Settings {
            above: usize::try_from(config.storm.above.count()).unwrap_or(usize::MAX),
            per: config.storm.above.per(),
            by: config.storm.by.clone(),
        },
        severity_map: config.severity.map.clone(),
        default_severity: config.severity.default,
        sources,
        dead_man: config.dead_man.as_ref().map(|config::DeadMan { url, every }| {
            engine::dead_man::DeadMan { url: url.get().clone(), every: every.get() }
        }),
        keep: config.retention.incidents.get(),
        max_size: config.store.max_size.map(|size| i64::try_from(size.get()).unwrap_or(i64::MAX)),
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
        receiver: settings.receiver.clone(),
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
    if let Some(settings) = &config.slack {
        transports.push(Channel::Slack(slack(settings, http)?));
    }
    if let Some(settings) = &config.matrix {
        transports.push(Channel::Matrix(matrix(settings, http, clock)));
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

/// The Slack workspace.
pub fn slack(settings: &config::Slack, http: &http::Client) -> anyhow::Result<Slack> {
    let api_url = match &settings.api_url {
        Some(url) => url.get().clone(),
        None => SlackSettings::API.parse().context("the address of Slack's API")?,
    };
    let settings = SlackSettings { token: settings.token.get(), api_url };
    Ok(Slack::new(http.clone(), settings))
}

/// The Matrix account.
pub fn matrix(settings: &config::Matrix, http: &http::Client, clock: &Clock) -> Matrix {
    let settings = MatrixSettings {
        homeserver: settings.homeserver.get().clone(),
        token: settings.token.get(),
        clear_text_in_encrypted_rooms: settings.clear_text_in_encrypted_rooms,
        per_second: f64::from(settings.rate.count()) / settings.rate.per().as_secs_f64(),
        burst: settings.burst,
    };
    Matrix::new(http.clone(), settings, clock.clone())
}

/// The clients of one cluster; nothing is asked yet.
pub fn cluster(
    name: &str,
    settings: &config::Cluster,
    http: &http::Client,
) -> anyhow::Result<Cluster> {
    let kube = settings.kube.as_ref().map(|kube| kube::Client::when_needed(name, access(kube)));
    let spark = spark::Client::new(
        http.clone(),
        kube.clone(),
        settings.history.as_ref().map(|url| url.get().clone()),
    );
    let mut cluster = Cluster { kube, ..Cluster::new(name, spark) };
    cluster.prometheus = settings
        .prometheus
        .as_ref()
        .map(|url| prometheus::Client::new(http.clone(), url.get().clone()));
    for (key, metastore) in &settings.metastores {
        let client = hive::Client::new(metastore.address.as_str())
            .with_context(|| format!("clusters.{name}.metastores.{key}"))?;
        cluster.metastores.insert(key.clone(), client);
        if let Some(database) = &metastore.database {
            cluster.metastore_databases.insert(key.clone(), database.clone());
        }
    }
    for (key, settings) in &settings.databases {
        let client =
            database(settings).with_context(|| format!("clusters.{name}.databases.{key}"))?;
        cluster.databases.insert(key.clone(), client);
    }
    for (key, settings) in &settings.s3 {
        let client = bucket(settings, http).with_context(|| format!("clusters.{name}.s3.{key}"))?;
        cluster.buckets.insert(key.clone(), client);
    }
    if let Some(config::Loki { url, tenant, token }) = &settings.loki {
        let settings = loki::Settings {
            url: url.get().clone(),
            tenant: tenant.clone(),
            token: token.as_ref().map(config::Secret::get),
        };
        let client = loki::Client::new(http.clone(), settings);
        cluster.loki = Some(client.with_context(|| format!("clusters.{name}.loki"))?);
    }
    Ok(cluster)
}

/// Where access to a Kubernetes API comes from.
pub(super) fn access(kube: &config::Kube) -> kube::Source {
    match kube {
        config::Kube::InCluster => kube::Source::Inferred(Some("in-cluster".to_owned())),
        config::Kube::Kubeconfig(config::Kubeconfig { path: Some(path), context }) => {
            kube::Source::Kubeconfig(path.clone(), context.clone())
        }
        config::Kube::Kubeconfig(config::Kubeconfig { path: None, context }) => {
            kube::Source::Inferred(context.clone())
        }
    }
}

fn database(settings: &config::Database) -> clients::Result<postgres::Client> {
    let config::Database::Postgresql(settings) = settings;
    let config::Postgresql { address, database, user, password, tls, ca } = settings;
    postgres::Client::new(postgres::Settings {
        address: address.as_str().to_owned(),
        database: database.clone(),
        user: user.clone(),
        password: password.as_ref().map(config::Secret::get),
        tls: match tls {
            config::DatabaseTls::Disable => postgres::Tls::Disable,
            config::DatabaseTls::Prefer => postgres::Tls::Prefer,
            config::DatabaseTls::Require => postgres::Tls::Require,
            config::DatabaseTls::VerifyFull => postgres::Tls::VerifyFull,
        },
        ca: ca.clone(),
    })
}

fn bucket(settings: &config::Bucket, http: &http::Client) -> clients::Result<s3::Client> {
    let config::Bucket { endpoint, bucket, region, access_key, secret_key, path_style } = settings;
    let keys = access_key.as_ref().zip(secret_key.as_ref());
    let settings = s3::Settings {
        endpoint: endpoint.get().clone(),
        bucket: bucket.clone(),
        region: region.clone(),
        keys: keys.map(|(access, secret)| (access.get(), secret.get())),
        path_style: *path_style,
    };
    s3::Client::new(http.clone(), settings)
}

/// This process in leases: new with every start, so that an old lease is never taken for ours.
fn owner() -> anyhow::Result<String> {
    let mut random = [0_u8; 8];
    getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    Ok(format!("{}-{:016x}", std::process::id(), u64::from_be_bytes(random)))
}
