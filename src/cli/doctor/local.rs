//! What is on this machine: files, the store's place, time zones; and settings that are known to be missed later.

use std::{net::IpAddr, path::Path};

use jiff::{Timestamp, civil::Date};

use super::{Doctor, Finding, Seen, State};
use crate::{
    cli::oncall,
    config::Config,
    domain::schedule,
    playbook::{
        catalog::{Catalog, Shipped},
        diagnostic::Diagnostic,
        needs::Needs,
    },
    steps::Spec,
};

/// Playbooks and on-call files; and what the playbooks need.
pub(super) fn files(config: &Config, now: Timestamp, today: Date) -> (Seen, Needs) {
    let mut seen = Seen::default();
    let mut needs = Needs::default();
    let catalog = match &config.playbooks.dir {
        Some(dir) => Catalog::load(dir, Shipped::Used, today),
        None => Catalog::shipped(today),
    };
    match catalog {
        Ok(catalog) => {
            needs = Needs::of(&catalog.playbooks);
            let count = catalog.playbooks.len();
            seen.add(match catalog.warnings.len() {
                0 => Finding::ok("playbooks", format!("{count} in force")),
                n => Finding::new(
                    State::Warn,
                    "playbooks",
                    format!("{count} in force, {n} warnings"),
                    "`paramedic check` shows them",
                ),
            });
        }
        Err(found) => seen.add(wrong("playbooks", &found)),
    }
    match oncall::load(config, now) {
        Ok(_) if config.oncall.dir.is_none() => {
            let remedy = "set `oncall: { dir: … }`";
            seen.add(Finding::new(
                State::Warn,
                "on-call",
                "no files: only the built-in operator is paged, on the console",
                remedy,
            ));
        }
        Ok(loaded) if !loaded.warnings.is_empty() => {
            let says = format!("{} warnings", loaded.warnings.len());
            seen.add(Finding::new(
                State::Warn,
                "on-call",
                says,
                "`paramedic check --config FILE` shows them",
            ));
        }
        Ok(_) => seen.add(Finding::ok("on-call", "the files fit together")),
        Err(found) => seen.add(wrong("on-call", &found)),
    }
    (seen, needs)
}

fn wrong(what: &str, found: &[Diagnostic]) -> Finding {
    let first = found.iter().find(|diagnostic| diagnostic.is_error()).or(found.first());
    let place = first.map(|d| format!("{}:{}: {}", d.file, d.line, d.message)).unwrap_or_default();
    let more = match found.len() {
        0 | 1 => String::new(),
        n => format!(" (and {} more)", n - 1),
    };
    let says = format!("cannot be used: {place}{more}");
    Finding::new(State::Fail, what, says, "`paramedic check` shows every mistake")
}

/// The machine, and settings.
pub(super) async fn machine(doctor: &Doctor<'_>) -> Seen {
    let mut seen = Seen::default();
    seen.add(store(&doctor.config.store.url).await);
    seen.add(match schedule::zone("Europe/Berlin").and_then(|_| schedule::zone("Asia/Kolkata")) {
        Ok(_) => Finding::ok("time zones", "the database is built in"),
        Err(why) => Finding::new(
            State::Fail,
            "time zones",
            why,
            "this binary was built without its time zone database; take a released one",
        ),
    });
    let beats = doctor.config.sources.values().any(|source| source.heartbeat.is_some());
    seen.add(if beats {
        Finding::ok("heartbeat", "a watchdog alert is expected")
    } else {
        let remedy = "let Prometheus send a Watchdog alert and set `sources.<name>.heartbeat`";
        Finding::new(
            State::Warn,
            "heartbeat",
            "not configured: nobody notices when alerts stop coming",
            remedy,
        )
    });
    seen.add(if doctor.config.dead_man.is_some() {
        Finding::ok("dead man", "a checker outside waits for our ping")
    } else {
        let says = "not configured: nobody notices when this daemon does not run";
        let remedy = "let something outside wait for a ping, and set `dead_man: { url: … }`";
        Finding::new(State::Warn, "dead man", says, remedy)
    });
    if doctor.config.clusters.is_empty() {
        let says = "none: playbooks cannot look at pods, Spark or metastores";
        seen.add(Finding::new(State::Warn, "clusters", says, "add `clusters:`"));
    }
    egress(doctor, &mut seen);
    seen
}

/// The store's place, without opening it: a daemon may be running, and a new file would be ours.
async fn store(url: &str) -> Finding {
    let what = "store";
    if let Some(path) = url.strip_prefix("sqlite:") {
        let path = Path::new(path);
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let remedy =
            format!("make the folder {} and let the daemon's user write there", folder.display());
        let probe = folder.join(format!(".paramedic-doctor-{}", std::process::id()));
        return match std::fs::write(&probe, b"").and_then(|()| std::fs::remove_file(&probe)) {
            Ok(()) if path.exists() && read_only(path) => {
                let says = format!("{} cannot be written", path.display());
                Finding::new(State::Fail, what, says, "let the daemon's user write it")
            }
            Ok(()) => Finding::ok(what, format!("SQLite at {}", path.display())),
            Err(error) => {
                let says = format!("cannot write into {}: {error}", folder.display());
                Finding::new(State::Fail, what, says, remedy)
            }
        };
    }
    let address = url.split_once("://").map_or("", |(_, rest)| rest);
    let host = address.split(['/', '?']).next().unwrap_or_default();
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let host = if host.contains(':') { host.to_owned() } else { format!("{host}:5432") };
    let connect = tokio::net::TcpStream::connect(&host);
    match tokio::time::timeout(super::TIMEOUT, connect).await {
        Ok(Ok(_)) => Finding::ok(
            what,
            format!("PostgreSQL at {host} takes connections; user and database are seen at start"),
        ),
        Ok(Err(error)) => Finding::new(
            State::Fail,
            what,
            format!("PostgreSQL at {host}: {error}"),
            "start it, or correct `store.url`",
        ),
        Err(_) => Finding::new(
            State::Fail,
            what,
            format!("PostgreSQL at {host} does not answer"),
            "start it, or correct `store.url`",
        ),
    }
}

fn read_only(path: &Path) -> bool {
    std::fs::OpenOptions::new().append(true).open(path).is_err()
}

/// Addresses of playbooks that the guard will refuse, and Spark UIs that nothing can reach.
fn egress(doctor: &Doctor<'_>, seen: &mut Seen) {
    let config = doctor.config;
    let what = "egress";
    let mut refused = vec![];
    for (playbook, address) in literal_addresses(config) {
        if let Err(error) = doctor.http.check_address(address, "") {
            refused.push(format!("playbook {playbook}: {}", error.reason));
        }
    }
    for line in refused.iter().take(10) {
        let can_be = line.contains("egress.allow");
        let remedy = if can_be { "" } else { "no setting permits it; take it out of the playbook" };
        seen.add(Finding::new(State::Fail, what, line, remedy));
    }
    let looks_at_spark = !doctor.needs.proxy.is_empty();
    let has_kube = config.clusters.values().any(|cluster| cluster.kube.is_some());
    let has_history = config.clusters.values().all(|cluster| cluster.history.is_some());
    if looks_at_spark && has_kube && config.egress.allow.is_empty() {
        let only = if has_history { "the History Server or " } else { "" };
        let says = format!(
            "`egress.allow` is empty, so running Spark drivers are reached only through {only}the API server's proxy"
        );
        seen.add(Finding::new(State::Warn, what, says, "add the pod network to `egress.allow`, or grant `get` on pods/proxy (`paramedic rbac --with-proxy`)"));
    } else if refused.is_empty() {
        seen.add(Finding::ok(what, format!("{} networks allowed", config.egress.allow.len())));
    }
}

/// Addresses that stand in playbooks as they are.
fn literal_addresses(config: &Config) -> Vec<(String, IpAddr)> {
    let catalog = match &config.playbooks.dir {
        Some(dir) => Catalog::load(dir, Shipped::Used, Date::default()),
        None => return vec![],
    };
    let mut found = vec![];
    for playbook in catalog.map(|catalog| catalog.playbooks).unwrap_or_default() {
        for step in &playbook.steps {
            let text = match step.spec.leaf() {
                Spec::NetHttp(_) | Spec::NetTcp(_) => step.spec.leaf().inputs().unwrap_or_default(),
                _ => continue,
            };
            let written = [&text["url"]["$input"], &text["address"]["$input"]];
            for address in written.into_iter().filter_map(|value| value.as_str()) {
                let host = address.split_once("://").map_or(address, |(_, rest)| rest);
                let host = host.split('/').next().unwrap_or_default();
                let bare = host.rsplit_once(':').map_or(host, |(host, _)| host);
                let parsed =
                    [host, bare].into_iter().find_map(|h| h.trim_matches(['[', ']']).parse().ok());
                found.extend(parsed.map(|ip| (playbook.name.clone(), ip)));
            }
        }
    }
    found
}
