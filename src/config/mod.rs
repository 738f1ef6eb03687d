//! Settings: one file per section. Every key has a default, unknown keys are refused, and what is wrong is said with its
//! place.
//!
//! The file is read straight into these types (so that errors have line, column and a caret), the environment is laid on
//! top as `PARAMEDIC__SECTION__KEY`, secrets are read last. The doc comments are the reference documentation:
//! `docs/reference/config.md` and the JSON Schema are generated from them. This is the only place that reads the
//! environment.

mod channels;
mod clusters;
mod database;
mod dead_man;
mod docs;
mod error;
mod files;
mod incidents;
mod limits;
mod load;
mod problem;
mod retention;
mod server;
mod severity;
mod sources;
mod store;
#[cfg(test)]
mod tests;
mod value;

use std::{collections::BTreeMap, path::Path};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    channels::{Channel, Matrix, Slack, Webhook},
    clusters::{Bucket, Cluster, Kube, Kubeconfig, Loki},
    database::{Database, DatabaseTls, Metastore, Postgresql},
    dead_man::DeadMan,
    docs::{json_schema, reference},
    error::Error,
    files::{OnCall, Playbooks},
    incidents::{GroupBy, Incidents, Storm},
    limits::{Egress, Follow, Format, Log, Recorder},
    problem::Problems,
    retention::Retention,
    server::{Role, Server, Token},
    severity::SeverityMap,
    sources::{Basic, Heartbeat, Identity, Source},
    store::Store,
    value::{ByteSize, Duration, HostPort, Listen, Network, Rate, Secret, SecretError, Url},
};

/// The configuration of `paramedic serve`. Everything works without one: a SQLite store, the console as the only channel,
/// one person on call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where the daemon listens, and who may use its UI and API.
    pub server: Server,
    /// Where incidents are kept.
    pub store: Store,
    /// Who sends alerts, by name. None: one source, `default`, without a credential.
    pub sources: BTreeMap<String, Source>,
    /// What the steps of a playbook can look at, by name.
    pub clusters: BTreeMap<String, Cluster>,
    /// Where cards go, by name.
    pub channels: BTreeMap<String, Channel>,
    /// The Slack app.
    pub slack: Option<Slack>,
    /// The Matrix account.
    pub matrix: Option<Matrix>,
    /// Signing of webhook channels.
    pub webhook: Option<Webhook>,
    /// Your playbooks.
    pub playbooks: Playbooks,
    /// Your people, schedules and policies.
    pub oncall: OnCall,
    /// How an alert's `severity` label becomes P0 to P3.
    pub severity: SeverityMap,
    /// Which alerts are one incident.
    pub incidents: Incidents,
    /// Many incidents at once.
    pub storm: Storm,
    /// Evidence of pods that will be gone.
    pub recorder: Recorder,
    /// For how long what is over is kept.
    pub retention: Retention,
    /// Who notices when this daemon does not run. None: nobody does.
    pub dead_man: Option<DeadMan>,
    /// Which networks steps may reach.
    pub egress: Egress,
    /// Log output.
    pub log: Log,
    /// The policy of incidents that no team owns. Required unless the only channel is the console, where it is `default`.
    pub default_policy: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server: Server::default(),
            store: Store::default(),
            sources: BTreeMap::new(),
            clusters: BTreeMap::new(),
            channels: [("console".to_owned(), Channel::Console)].into(),
            slack: None,
            matrix: None,
            webhook: None,
            playbooks: Playbooks::default(),
            oncall: OnCall::default(),
            severity: SeverityMap::default(),
            incidents: Incidents::default(),
            storm: Storm::default(),
            recorder: Recorder::default(),
            retention: Retention::default(),
            dead_man: None,
            egress: Egress::default(),
            log: Log::default(),
            default_policy: None,
        }
    }
}

/// One variable of this process's environment, for commands that need no configuration; empty counts as unset.
#[allow(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Config {
    /// Reads a file, if there is one, and this environment on top of it; reads all secrets; checks everything.
    pub fn load(
        file: Option<&Path>,
        env: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, Error> {
        load::load(file, &env.collect())
    }

    /// [`Config::load`] with the environment of this process. Without a file, `$PARAMEDIC_CONFIG` names one.
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn from_process(file: Option<&Path>) -> Result<Self, Error> {
        let pairs = std::env::vars_os();
        let env = pairs.filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        Self::load(file, env)
    }

    /// The policy of incidents that no team owns.
    pub fn default_policy(&self) -> &str {
        self.default_policy.as_deref().unwrap_or("default")
    }

    /// True when alerts are taken from anybody: no source has a credential, and only this machine can connect.
    pub fn is_open(&self) -> bool {
        self.server.listen.is_loopback() && self.sources.values().all(Source::is_open)
    }

    /// The kinds that can deliver with this configuration: the console always can.
    pub fn transports(&self) -> Vec<&'static str> {
        let configured = [
            ("console", true),
            ("slack", self.slack.is_some()),
            ("matrix", self.matrix.is_some()),
            ("webhook", self.webhook.is_some()),
        ];
        configured.into_iter().filter(|(_, on)| *on).map(|(kind, _)| kind).collect()
    }

    fn validate(&self) -> Problems {
        let mut problems = Problems::default();
        self.server.validate(&mut problems);
        self.store.validate(&mut problems);
        for (name, source) in &self.sources {
            source.validate(name, &mut problems);
        }
        for (name, cluster) in &self.clusters {
            cluster.validate(name, &mut problems);
        }
        let kinds = self.transports();
        for (name, channel) in &self.channels {
            channel.validate(name, &kinds, &mut problems);
        }
        if let Some(matrix) = &self.matrix {
            matrix.validate(&mut problems);
        }
        self.incidents.validate(&mut problems);
        self.recorder.validate(&mut problems);
        self.retention.validate(&mut problems);
        if let Some(dead_man) = &self.dead_man {
            dead_man.validate(&mut problems);
        }
        self.log.validate(&mut problems);
        self.validate_across(&mut problems);
        problems
    }

    fn validate_across(&self, problems: &mut Problems) {
        let open: Vec<&str> = self
            .sources
            .iter()
            .filter(|(_, s)| s.is_open())
            .map(|(name, _)| name.as_str())
            .collect();
        if !self.server.listen.is_loopback() {
            let listen = self.server.listen;
            let hint = "or listen on 127.0.0.1 only";
            if self.sources.is_empty() {
                let key = "sources.default";
                problems.add(key, format!("has no credential, but anybody can reach {listen}; add `sources: {{ default: {{ token: {{ file: … }} }} }}`, {hint}"));
            }
            for name in open {
                problems.add(format!("sources.{name}"), format!("has no credential, but anybody can reach {listen}; add `token`, `basic` or `hmac`, {hint}"));
            }
        }
        let real = self.channels.values().any(|channel| *channel != Channel::Console);
        if real && self.default_policy.is_none() {
            problems.add("default_policy", "is required once there is a channel beside the console: it names the policy of incidents that no team owns");
        }
        if self.oncall.dir.is_none() && self.default_policy() != "default" {
            problems.add("default_policy", "names a policy of your own, but there is no `oncall.dir`; without one the only policy is `default`");
        }
        for (name, source) in &self.sources {
            let cluster = source.labels.get("cluster");
            if let Some(cluster) = cluster.filter(|cluster| !self.clusters.contains_key(*cluster)) {
                let known: Vec<&str> = self.clusters.keys().map(String::as_str).collect();
                let meant = crate::domain::suggest::closest(cluster, &known);
                let hint =
                    meant.map_or_else(String::new, |meant| format!("; did you mean `{meant}`?"));
                let cluster = cluster.escape_debug();
                problems.add(
                    format!("sources.{name}.labels.cluster"),
                    format!("`{cluster}` is not one of `clusters`{hint}"),
                );
            }
        }
    }

    /// Every secret with its key. Complete by a test that configures all of them.
    fn secrets(&mut self) -> Vec<(String, &mut Secret)> {
        let mut all = Vec::new();
        for (name, token) in &mut self.server.tokens {
            all.push((format!("server.tokens.{name}.secret"), &mut token.secret));
        }
        all.extend(self.store.password.as_mut().map(|s| ("store.password".to_owned(), s)));
        for (name, source) in &mut self.sources {
            let key = |field: &str| format!("sources.{name}.{field}");
            all.extend(source.token.as_mut().map(|s| (key("token"), s)));
            all.extend(source.basic.as_mut().map(|b| (key("basic.password"), &mut b.password)));
            all.extend(source.hmac.as_mut().map(|s| (key("hmac"), s)));
        }
        for (cluster, settings) in &mut self.clusters {
            for (name, bucket) in &mut settings.s3 {
                let key = |field: &str| format!("clusters.{cluster}.s3.{name}.{field}");
                all.extend(bucket.access_key.as_mut().map(|s| (key("access_key"), s)));
                all.extend(bucket.secret_key.as_mut().map(|s| (key("secret_key"), s)));
            }
            for (name, database) in &mut settings.databases {
                let key = format!("clusters.{cluster}.databases.{name}.postgresql.password");
                all.extend(database.password().map(|s| (key, s)));
            }
            let token = settings.loki.as_mut().and_then(|loki| loki.token.as_mut());
            all.extend(token.map(|s| (format!("clusters.{cluster}.loki.token"), s)));
        }
        if let Some(slack) = &mut self.slack {
            all.push(("slack.token".to_owned(), &mut slack.token));
            let signing = slack.signing_secret.as_mut();
            all.extend(signing.map(|s| ("slack.signing_secret".to_owned(), s)));
        }
        all.extend(self.matrix.as_mut().map(|m| ("matrix.token".to_owned(), &mut m.token)));
        all.extend(self.webhook.as_mut().map(|w| ("webhook.secret".to_owned(), &mut w.secret)));
        all
    }
}
