//! `clusters:` what the steps of a playbook can look at.

use std::{collections::BTreeMap, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    database::{Database, Metastore},
    problem::{Problems, is_name},
    value::{Secret, Url},
};
use crate::domain::suggest;

/// A Kubernetes cluster with what belongs to it. Its name is the value of the alerts' `cluster` label; alerts without the
/// label belong to the only cluster, or to the one called `default`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cluster {
    /// How to reach the Kubernetes API. None: steps that need it are skipped.
    pub kube: Option<Kube>,
    /// Prometheus, or what speaks its API.
    pub prometheus: Option<Url>,
    /// Spark History Server.
    pub history: Option<Url>,
    /// Loki, or what speaks its API.
    pub loki: Option<Loki>,
    /// Hive Metastores by name, each `host:port` of its Thrift service, or `{ address: host:port, database: name }`.
    pub metastores: BTreeMap<String, Metastore>,
    /// Databases by name, for `sql.query` and `hive.database`.
    pub databases: BTreeMap<String, Database>,
    /// Namespaces name the team of their alerts in the annotation `paramedic.io/team`, which counts when no team's `owns`
    /// fits. Needs `list` on namespaces in the whole cluster.
    pub teams_by_namespace: bool,
    /// S3 buckets by name.
    pub s3: BTreeMap<String, Bucket>,
}

/// Access to a Kubernetes API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kube {
    /// The service account of the pod Paramedic runs in.
    InCluster,
    /// A kubeconfig file.
    Kubeconfig(Kubeconfig),
}

/// A context of a kubeconfig file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Kubeconfig {
    /// The file. Default: `$KUBECONFIG`, else `~/.kube/config`.
    pub path: Option<PathBuf>,
    /// The context. Default: the current one.
    pub context: Option<String>,
}

/// A Loki.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Loki {
    /// Its address, with or without a path prefix.
    pub url: Url,
    /// The tenant, sent as `X-Scope-OrgID`. None: a Loki without tenants.
    #[serde(default)]
    pub tenant: Option<String>,
    /// A bearer token, for a gateway before it.
    #[serde(default)]
    pub token: Option<Secret>,
}

/// An S3 bucket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// The server.
    pub endpoint: Url,
    /// The bucket's name.
    pub bucket: String,
    /// Region, for the signature.
    #[serde(default = "region")]
    pub region: String,
    /// Access key. None: anonymous.
    #[serde(default)]
    pub access_key: Option<Secret>,
    /// Secret key.
    #[serde(default)]
    pub secret_key: Option<Secret>,
    /// The bucket is part of the path (MinIO, most others) and not of the host name (AWS).
    #[serde(default = "path_style")]
    pub path_style: bool,
}

fn path_style() -> bool {
    true
}

fn region() -> String {
    "us-east-1".to_owned()
}

impl Cluster {
    pub(super) fn validate(&self, name: &str, problems: &mut Problems) {
        let key = format!("clusters.{name}");
        if !is_name(name) {
            problems.name("clusters", name);
        }
        if self.teams_by_namespace && self.kube.is_none() {
            problems.add(
                format!("{key}.teams_by_namespace"),
                "needs `kube`: without it no namespace can be read",
            );
        }
        for metastore in self.metastores.keys().filter(|name| !is_name(name)) {
            problems.name(format!("{key}.metastores"), metastore);
        }
        for (name, metastore) in &self.metastores {
            let Some(database) = &metastore.database else { continue };
            if !self.databases.contains_key(database) {
                let known: Vec<&str> = self.databases.keys().map(String::as_str).collect();
                let meant = suggest::closest(database, &known);
                let hint = meant.map_or_else(String::new, |m| format!("; did you mean `{m}`?"));
                let shown = database.escape_debug();
                problems.add(
                    format!("{key}.metastores.{name}.database"),
                    format!("`{shown}` is not one of `{key}.databases`{hint}"),
                );
            }
        }
        for (name, database) in &self.databases {
            database.validate(&key, name, problems);
        }
        if let Some(Loki { tenant: Some(tenant), .. }) = &self.loki {
            let fits = |c: char| c.is_ascii_graphic() && c != '/';
            if tenant.is_empty() || tenant.len() > 150 || !tenant.chars().all(fits) {
                problems.add(
                    format!("{key}.loki.tenant"),
                    "must be 1 to 150 letters, digits and signs, without `/`; several: `a|b`",
                );
            }
        }
        for (name, bucket) in &self.s3 {
            if !is_name(name) {
                problems.name(format!("{key}.s3"), name);
            }
            if bucket.bucket.is_empty() {
                problems.add(format!("{key}.s3.{name}.bucket"), "must not be empty");
            }
            if bucket.access_key.is_some() != bucket.secret_key.is_some() {
                problems.add(
                    format!("{key}.s3.{name}"),
                    "needs both `access_key` and `secret_key`, or neither",
                );
            }
        }
    }
}
