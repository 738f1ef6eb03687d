//! What we ship, against what the world sends: our alert rules, a real payload, our own commands.

use std::{collections::BTreeMap, path::Path, process::ExitCode};

use jiff::civil::{Date, date};
use paramedic::{
    cli::{check, explain},
    domain::{alert, signature::Book},
    playbook::{
        catalog::{Catalog, Shipped},
        lint, plan,
    },
};

const DAY: Date = date(2026, 11, 23);

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn matched(catalog: &Catalog, labels: &BTreeMap<String, String>) -> String {
    let scope = plan::alert_scope(labels, &BTreeMap::new(), vec![]);
    let matched = catalog.matching(labels, &scope);
    matched.iter().map(|(playbook, _)| playbook.name.as_str()).collect::<Vec<_>>().join(", ")
}

#[test]
fn the_alerts_of_our_rules_lead_to_the_playbooks_that_are_there() {
    let catalog = Catalog::shipped(DAY).unwrap();
    let rules = include_str!("../fixtures/spark/alerts.yaml");
    let names = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let said: Vec<String> = names
        .chain(["SparkDriverOOM", "SparkExecutorLost", "KubePodCrashLooping", "HeartbeatMissing"])
        .map(|name| {
            let labels = labels(&[("alertname", name), ("namespace", "a"), ("pod", "b")]);
            (name, matched(&catalog, &labels))
        })
        .filter(|(_, playbooks)| !playbooks.is_empty())
        .map(|(name, playbooks)| format!("{name}: {playbooks}"))
        .collect();
    insta::assert_snapshot!(said.join("\n"), @r"
        SparkDriverOOMKilled: spark-driver-failed
        SparkDriverExitNonZero: spark-driver-failed
        SparkExecutorOOMKilled: spark-executor-lost
        SparkExecutorFailuresHigh: spark-executor-lost
        SparkApplicationFailed: spark-driver-failed
        SparkSubmissionFailing: spark-driver-failed
        SparkApplicationStuckSubmitted: spark-driver-failed
        SparkPodPending: spark-driver-failed
        SparkPodUnschedulable: spark-driver-failed
        SparkImagePull: spark-driver-failed
        SparkPodConfigError: spark-driver-failed
        SparkExecutorEvicted: spark-executor-lost
        SparkExecutorGCOverhead: spark-executor-lost
        SparkTaskFailureRatio: spark-executor-lost
        SparkNoExecutors: spark-executor-lost
        SparkDriverHeapHigh: spark-driver-failed
        HiveMetastoreDown: hive-metastore-down
        HiveMetastoreNoReadyEndpoint: hive-metastore-down
        SparkDriverOOM: spark-driver-failed
        SparkExecutorLost: spark-executor-lost
        KubePodCrashLooping: pod-crashloop
        HeartbeatMissing: watchdog
    ");
}

#[test]
fn a_real_payload_of_alertmanager_is_explained() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/alertmanager/prom-firing-driver-oom.json");
    let mut out = Vec::new();
    let args = explain::Args { file, playbooks: None, json: false };
    assert_eq!(explain::run(&args, DAY, &mut out).unwrap(), ExitCode::SUCCESS);
    let said = String::from_utf8(out).unwrap();
    let runs: Vec<&str> = said.lines().filter(|line| line.starts_with("  runs ")).collect();
    assert_eq!(runs, ["  runs spark-driver-failed, P1: Spark application failed"], "{said}");
}

#[test]
fn what_we_ship_has_no_mistakes_and_no_warnings() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let paths = vec![root.join("playbooks"), root.join("rules/signatures")];
    let mut out = Vec::new();
    let code = check::run(&check::Args { paths, json: false }, DAY, &mut out).unwrap();
    let said = String::from_utf8(out).unwrap();
    assert_eq!(code, ExitCode::SUCCESS, "{said}");
    assert!(said.ends_with(": no mistakes\n"), "{said}");
}

#[test]
fn a_users_signature_and_playbook_replace_ours_by_id_and_name() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("signatures")).unwrap();
    let signature = "signatures:\n  - id: hive/down\n    title: Ours\n    owner: data\n    confidence: 1\n    any: [{ in: [metastore], line: FAILED }]\n    remedy: Call us.\n";
    std::fs::write(dir.path().join("signatures/own.yaml"), signature).unwrap();
    let playbook = "name: watchdog\ntitle: Mine\nowner: person:ana\nmatch: [alertname=Canary]\nsteps:\n  - id: n\n    incident.note: { text: x }\n";
    std::fs::write(dir.path().join("mine.yaml"), playbook).unwrap();
    let catalog = Catalog::load(dir.path(), Shipped::Used, DAY).unwrap();
    assert_eq!(matched(&catalog, &labels(&[("alertname", "Canary")])), "watchdog");
    assert_eq!(matched(&catalog, &labels(&[("alertname", "Watchdog")])), "");
    let ids = catalog.signatures.ids().filter(|id| *id == "hive/down").count();
    assert_eq!((ids, catalog.playbooks.len()), (1, 5));
}

/// Every example of every step kind must be usable in a playbook exactly as its documentation shows it.
#[test]
fn every_step_kind_s_example_passes_the_checks_of_a_playbook() {
    let book = Book::new(vec![]).unwrap();
    let mut generator = schemars::SchemaGenerator::default();
    for entry in paramedic::steps::catalogue(&mut generator) {
        let inputs = entry.example.replace('\n', "\n      ");
        let bound =
            if entry.example.contains("{{pod.") { "    for_each: { pod: alerts }\n" } else { "" };
        let text = format!(
            "name: a\ntitle: t\nowner: team:x\nmatch: [a=b]\nsteps:\n  - id: a\n{bound}    {}:\n      {inputs}\n",
            entry.kind
        );
        let (playbook, found) = lint::playbook("example.yaml", &text, &book, DAY);
        let said: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert!(playbook.is_some() && said.is_empty(), "{}: {}", entry.kind, said.join("\n"));
    }
}

#[test]
fn a_hostile_payload_is_matched_without_harm() {
    let catalog = Catalog::shipped(DAY).unwrap();
    for value in
        ["", "\0", "<!channel>", "../../etc", &"x".repeat(64 * 1024), "{{labels.x}}", "\u{202e}"]
    {
        let body = serde_json::json!({ "alerts": [{ "status": "firing", "labels": { "alertname": value, "pod": value, "namespace": value } }] });
        let payload =
            alert::parse(body.to_string().as_bytes(), jiff::Timestamp::UNIX_EPOCH).unwrap();
        for alert in payload.alerts.into_iter().flatten() {
            assert_eq!(matched(&catalog, &alert.labels), "");
        }
    }
}
