//! What `paramedic diagnose` says of a story.

use std::sync::LazyLock;

use jiff::civil::date;
use paramedic::{
    cli::{
        Output,
        diagnose::{log::Log, spark::Spark},
    },
    clients::kube,
    playbook::catalog::Catalog,
};
use serde_json::Value;

use super::cluster::{Cluster, NAMESPACE};

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| Catalog::shipped(date(2026, 11, 25)).unwrap());

/// The ids of a log's verdicts, best first.
pub fn of_log(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let log = Log { files: vec!["-".into()], playbooks: None, output: Output::Json };
    log.look(&CATALOG.signatures, &mut text.as_bytes(), &mut out).unwrap();
    ids(&out)
}

/// The ids of the verdicts of `diagnose spark`, best first.
pub async fn of_app(cluster: &Cluster, name: &str) -> Vec<String> {
    let asked = Spark {
        name: name.to_owned(),
        namespace: Some(NAMESPACE.to_owned()),
        context: None,
        history: None,
        allow: vec![],
        output: Output::Json,
    };
    let kube = kube::Client::from_url(&cluster.url.parse().unwrap()).unwrap();
    let mut out = Vec::new();
    asked.look(Some(kube), &CATALOG, &cluster.clock, &mut out).await.unwrap();
    ids(&out)
}

fn ids(out: &[u8]) -> Vec<String> {
    let said: Value = serde_json::from_slice(out).unwrap();
    let all = said["verdicts"].as_array().unwrap();
    all.iter().map(|verdict| verdict["id"].as_str().unwrap().to_owned()).collect()
}
