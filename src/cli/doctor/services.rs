//! Alertmanagers, Prometheus, History Servers, metastores.

use serde_json::Value;

use super::{Doctor, Finding, Seen, State, bounded};
use crate::clients::{
    Cluster,
    hive::{Deadlines, Verdict},
    http::{Request, Url},
    kube::one_line,
};

/// Every source's Alertmanagers.
pub(super) async fn sources(doctor: &Doctor<'_>) -> Seen {
    let mut seen = Seen::default();
    let mut looks = vec![];
    for (name, source) in &doctor.config.sources {
        if source.alertmanagers.is_empty() {
            let says = "no Alertmanager is known: buttons cannot make silences";
            let remedy = format!("add `sources.{name}.alertmanagers`");
            seen.add(Finding::new(State::Warn, &format!("source {name}"), says, remedy));
        }
        for url in &source.alertmanagers {
            looks.push(alertmanager(doctor, name, &source.receiver, url.get()));
        }
    }
    if doctor.config.sources.is_empty() {
        let says = "none is configured: alerts are taken from anybody on this machine, and no Alertmanager is known";
        seen.add(Finding::new(State::Warn, "sources", says, "add `sources:`"));
    }
    for part in futures::future::join_all(looks).await {
        seen.merge(part);
    }
    seen
}

async fn alertmanager(doctor: &Doctor<'_>, source: &str, receiver: &str, base: &Url) -> Seen {
    let what = format!("Alertmanager {} of source {source}", place(base));
    bounded(&what, async {
        let mut seen = Seen::default();
        let answer = match get(doctor, base, "/api/v2/status", &mut seen, &what).await {
            Ok(answer) => answer,
            Err(why) => {
                let remedy = format!("correct `sources.{source}.alertmanagers`, or start it");
                seen.add(Finding::new(State::Fail, &what, why, remedy));
                return seen;
            }
        };
        let version = answer["versionInfo"]["version"].as_str().unwrap_or("of unknown version");
        let status = answer["cluster"]["status"].as_str().unwrap_or("ready");
        let says = format!("version {version}, cluster {status}");
        seen.add(match status {
            "ready" | "disabled" => Finding::ok(&what, says),
            _ => {
                Finding::new(State::Warn, &what, says, "wait until its peers have found each other")
            }
        });
        match get(doctor, base, "/api/v2/receivers", &mut Seen::default(), &what).await {
            Ok(known) => seen.findings.extend(not_among(&known, receiver, source, &what)),
            Err(why) => {
                let says = format!("its receivers cannot be read: {why}");
                let remedy = "let it answer /api/v2/receivers; steps and polls ask it the same way";
                seen.add(Finding::new(State::Warn, &what, says, remedy));
            }
        }
        seen
    })
    .await
}

/// Our receiver is not in Alertmanager's configuration: no alert is routed to it, and none that was lost is taken in.
fn not_among(known: &Value, receiver: &str, source: &str, what: &str) -> Option<Finding> {
    let known = known.as_array().into_iter().flatten().filter_map(|known| known["name"].as_str());
    let known: Vec<&str> = known.collect();
    if known.contains(&receiver) {
        return None;
    }
    let says = format!("has no receiver `{receiver}`; it has: {}", known.join(", "));
    let remedy = format!(
        "correct `sources.{source}.receiver`, or add the receiver and a route to Alertmanager: an alert whose webhook is lost is not found"
    );
    Some(Finding::new(State::Warn, what, says, remedy))
}

/// Prometheus, History Server and metastores of one cluster.
pub(super) async fn of_cluster(doctor: &Doctor<'_>, name: &str, cluster: &Cluster) -> Seen {
    let mut seen = Seen::default();
    let (prometheus, history, metastores) = tokio::join!(
        prometheus(name, cluster),
        history(name, cluster),
        metastores(doctor, name, cluster)
    );
    for part in [prometheus, history, metastores] {
        seen.merge(part);
    }
    seen
}

async fn prometheus(name: &str, cluster: &Cluster) -> Seen {
    let Some(client) = &cluster.prometheus else { return Seen::default() };
    let what = format!("Prometheus of cluster {name}");
    bounded(&what, async {
        let finding = match client.query("vector(1)", None).await {
            Ok(answer) if answer.warnings.is_empty() => Finding::ok(&what, "answers queries"),
            Ok(answer) => {
                let says = format!("answers with a warning: {}", answer.warnings.join("; "));
                Finding::new(State::Warn, &what, says, "is a part of it down?")
            }
            Err(error) => {
                Finding::new(State::Fail, &what, &error.reason, remedy(name, "prometheus"))
            }
        };
        finding.into()
    })
    .await
}

async fn history(name: &str, cluster: &Cluster) -> Seen {
    let Some(server) = cluster.spark.history() else { return Seen::default() };
    let what = format!("History Server of cluster {name}");
    bounded(&what, async {
        let finding = match (server.version().await, server.list(1).await) {
            (Ok(version), Ok(listed)) if listed.is_empty() => {
                let says = format!("Spark {version}, but it lists no application");
                Finding::new(
                    State::Warn,
                    &what,
                    says,
                    "is its log directory the one applications write to (spark.eventLog.dir)?",
                )
            }
            (Ok(version), Ok(_)) => Finding::ok(&what, format!("Spark {version}")),
            (Err(error), _) | (_, Err(error)) => {
                Finding::new(State::Fail, &what, &error.reason, remedy(name, "history"))
            }
        };
        finding.into()
    })
    .await
}

async fn metastores(doctor: &Doctor<'_>, name: &str, cluster: &Cluster) -> Seen {
    let looks = cluster.metastores.iter().map(async |(metastore, client)| {
        let what = format!("metastore {metastore} of cluster {name}");
        bounded(&what, async {
            let ladder = client.ladder(&Deadlines::default(), None, &doctor.clock).await;
            let says = format!("{client} is {}", ladder.verdict.word());
            let finding = match ladder.verdict {
                Verdict::Ok => Finding::ok(&what, says),
                Verdict::Slow => Finding::new(State::Warn, &what, says, "look at its database"),
                _ => Finding::new(State::Fail, &what, says, remedy(name, "metastores")),
            };
            finding.into()
        })
        .await
    });
    let mut seen = Seen::default();
    for part in futures::future::join_all(looks).await {
        seen.merge(part);
    }
    seen
}

fn remedy(cluster: &str, key: &str) -> String {
    format!("start it, or correct `clusters.{cluster}.{key}`")
}

/// Host and port; a URL may hold a password.
fn place(url: &Url) -> String {
    let port = url.port_or_known_default().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}{port}", url.host_str().unwrap_or("?"))
}

/// A GET of a configured service, as JSON; its clock is noted.
async fn get(
    doctor: &Doctor<'_>,
    base: &Url,
    path: &str,
    seen: &mut Seen,
    whose: &str,
) -> Result<Value, String> {
    let mut url = base.clone();
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
    url.set_query((!query.is_empty()).then_some(query));
    let operation = "ask it how it is";
    let answer = doctor.http.send(Request::get(url, operation)).await.map_err(|e| e.reason)?;
    seen.clock(whose, answer.date(), doctor.clock.now());
    let answer = answer.error_for_status(operation).map_err(|error| error.reason)?;
    answer.json(operation).map_err(|error| one_line(&error.reason, 300))
}
