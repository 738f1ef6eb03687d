//! The configuration as people meet it: defaults, layers, mistakes, secrets, generated documents.

use std::{fs, path::PathBuf};

use super::{load::parse, *};
use crate::domain::severity::Severity;

fn env(pairs: &[(&str, &str)]) -> Result<Config, Error> {
    Config::load(None, pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))
}

fn refused(pairs: &[(&str, &str)]) -> String {
    env(pairs).unwrap_err().to_string()
}

fn wrong(yaml: &str) -> String {
    parse("paramedic.yaml", yaml).unwrap_err().to_string()
}

/// Everything there is, with every secret.
const FULL: &str = r##"
server:
  listen: 0.0.0.0:9095
  public_url: https://paramedic.example.org
  tokens: { ana: { secret: { env: S1 }, role: admin } }
store: { url: "postgres://paramedic@db/paramedic", password: { env: S2 } }
sources:
  prod: { token: { env: S3 }, labels: { cluster: prod-eu }, alertmanagers: [http://am-0:9093, http://am-1:9093],
          identity: { ignore: [replica] }, heartbeat: { match: ['alertname="Watchdog"'], every: 5m, miss: 3 } }
  lab: { basic: { user: am, password: { env: S4 } } }
  grafana: { hmac: { env: S5 } }
clusters:
  prod-eu: { kube: in-cluster, prometheus: http://prom:9090, history: http://shs:18080, metastores: { main: "hms:9083", batch: { address: "hms2:9083", database: hms } },
             s3: { main: { endpoint: http://minio:9000, bucket: lake, access_key: { env: S6 }, secret_key: { env: S7 } } },
             loki: { url: http://loki:3100, tenant: data, token: { env: S13 } },
             databases: { hms: { postgresql: { address: "pg:5432", database: hms, user: reader, password: { env: S12 } } } } }
  lab: { kube: { kubeconfig: { path: /home/x/.kube/config, context: lab } } }
channels: { spark-oncall: { slack: "#spark-oncall" }, data-eng: { matrix: "#data:example.org" }, ops: console,
            hook: { webhook: https://hook.example.org/x } }
slack: { token: { env: S8 }, signing_secret: { env: S9 } }
matrix: { homeserver: https://matrix.example.org, token: { env: S10 } }
webhook: { secret: { env: S11 } }
playbooks: { dir: playbooks }
oncall: { dir: oncall }
severity: { map: { critical: P1, page: P0 }, default: P3 }
incidents: { group_by: alertmanager, settle: 2m, reopen_within: 1h 30m }
storm: { above: 20/m, by: [node, metastore] }
recorder: { follow: all, max_streams: 100, keep: 7d, max_bytes: 2GiB }
retention: { incidents: 30d }
dead_man: { url: https://checks.example.org/5b1f, every: 2m }
egress: { allow: [10.0.0.0/8] }
log: { level: "info,paramedic=debug", format: json }
default_policy: data-platform
"##;

fn full() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("paramedic.yaml");
    fs::write(&path, FULL).unwrap();
    (folder, path)
}

fn secrets() -> impl Iterator<Item = (String, String)> {
    (1..=13).map(|n| (format!("S{n}"), format!("value-{n}")))
}

#[test]
fn without_a_file_everything_has_a_default_that_works() {
    let config = env(&[]).unwrap();
    assert_eq!(config.store.url, "sqlite:data/paramedic.db");
    assert_eq!(config.server.link_base(), "http://127.0.0.1:9095");
    assert_eq!(config.transports(), ["console"]);
    assert_eq!(config.default_policy(), "default");
    assert!(config.is_open());
    let kept = env(&[("STATE_DIRECTORY", "/var/lib/paramedic:/var/lib/other")]).unwrap();
    assert_eq!(kept.store.url, "sqlite:/var/lib/paramedic/paramedic.db");
    assert_eq!(parse("x.yaml", "# all commented out\n\n").unwrap(), Config::default());
}

#[test]
fn a_full_file_is_read_and_every_secret_with_it() {
    let (folder, path) = full();
    let mut config = Config::load(Some(&path), secrets()).unwrap();
    assert_eq!(config.oncall.dir, Some(folder.path().join("oncall")));
    assert_eq!(config.severity.of("page"), Severity::P0);
    assert_eq!(config.incidents.group_by, GroupBy::Alertmanager);
    assert!(!config.is_open());
    let read: Vec<String> = config.secrets().iter().map(|(_, s)| s.expose().to_owned()).collect();
    // In the order of the keys; each of the thirteen exactly once.
    let mut numbers: Vec<u32> =
        read.iter().map(|s| s.strip_prefix("value-").unwrap().parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=13).collect::<Vec<_>>());
    assert!(!format!("{config:?}").contains("value-"), "secrets do not print");
}

#[test]
fn every_secret_of_the_schema_is_in_the_full_file() {
    let references = json_schema().to_string().matches("#/$defs/Secret\"").count();
    assert_eq!(
        references,
        FULL.matches("{ env: S").count(),
        "a new secret needs a line in FULL and in Config::secrets"
    );
}

#[test]
fn the_environment_lies_on_top_of_the_file_and_changes_nothing_else() {
    let (_folder, path) = full();
    let plain = Config::load(Some(&path), secrets()).unwrap();
    let over = [
        ("PARAMEDIC__INCIDENTS__SETTLE", "5m"),
        ("PARAMEDIC__EGRESS__ALLOW", "[10.0.0.0/8, 10.1.2.3]"),
    ];
    let over = over.map(|(k, v)| (k.to_owned(), v.to_owned()));
    let mut changed = Config::load(Some(&path), secrets().chain(over)).unwrap();
    assert_eq!(changed.incidents.settle, Duration::from_mins(5));
    assert_eq!(changed.egress.allow.len(), 2);
    (changed.incidents.settle, changed.egress) = (plain.incidents.settle, plain.egress.clone());
    assert_eq!(changed, plain);
}

#[test]
fn words_in_the_environment_stay_words() {
    let config =
        env(&[("PARAMEDIC__SOURCES__PROD", "{labels: {zero: 0123, y: yes, n: 1_0}}")]).unwrap();
    let labels: Vec<_> = config.sources["prod"].labels.values().map(String::as_str).collect();
    assert_eq!(labels, ["1_0", "yes", "0123"]);
    insta::assert_snapshot!(refused(&[("PARAMEDIC__SOURCES__PROD", "{labels: {version: 1.10}}")]), @"the environment variable PARAMEDIC__SOURCES__PROD: is not YAML, or holds a fraction that needs quotes, at column 11");
}

#[test]
fn a_mistake_in_the_file_is_shown_with_its_place() {
    insta::assert_snapshot!(wrong("server:\n  lisen: x\n"), @r"
    error: unknown field `lisen`; did you mean `listen`?
     --> paramedic.yaml:2:3
      |
    2 |   lisen
      |   ^^^^^
    ");
    insta::assert_snapshot!(wrong("incidents: { settle: 10 minuts }"), @r"
    error: `10 minuts` is not a duration; write 30s, 10m, 2h, 7d or 1h 30m
     --> paramedic.yaml:1:22
      |
    1 | incidents: { settle: 10
      |                      ^^
    ");
    insta::assert_snapshot!(wrong("severity: { map: { critical: P7 } }"), @r"
    error: unknown variant `P7`, expected one of P0, P1, P2, P3
     --> paramedic.yaml:1:30
      |
    1 | severity: { map: { critical: P7
      |                              ^^
    ");
    for bad in [
        "- a\n",
        "server: [a\n",
        "server: *x\n",
        "a: b: c",
        "server: {}\n---\nstore: {}\n",
        "\0",
        "server: {}\nserver: {}",
    ] {
        assert!(wrong(bad).starts_with("error: "), "{bad}");
    }
}

#[test]
fn a_mistake_in_the_environment_is_shown_with_the_variable() {
    insta::assert_snapshot!(refused(&[("PARAMEDIC__SERVER__LISEN", "x")]), @"the environment variable PARAMEDIC__SERVER__LISEN: unknown field `lisen`; did you mean `listen`?");
    insta::assert_snapshot!(refused(&[("PARAMEDIC__SERVR__LISTEN", "x")]), @"the environment variable PARAMEDIC__SERVR__LISTEN: unknown field `servr`; did you mean `server`?");
    insta::assert_snapshot!(refused(&[("PARAMEDIC__RECORDER__MAX_STREAMS", "")]), @"the environment variable PARAMEDIC__RECORDER__MAX_STREAMS: must be an integer");
    insta::assert_snapshot!(refused(&[("PARAMEDIC__EGRESS__ALLOW", "a,b")]), @"the environment variable PARAMEDIC__EGRESS__ALLOW: must be a list, written as YAML in brackets or braces");
    insta::assert_snapshot!(refused(&[("PARAMEDIC__STORE", "{}"), ("PARAMEDIC__STORE__URL", "sqlite:x")]), @"the environment variable PARAMEDIC__STORE__URL: contradicts PARAMEDIC__STORE, which sets all of it; keep one");
    insta::assert_snapshot!(refused(&[("PARAMEDIC__RECORDER__FOLLOW", "evry")]), @"the environment variable PARAMEDIC__RECORDER__FOLLOW: `evry` is not one of its values");
    for odd in [
        "PARAMEDIC__",
        "PARAMEDIC__A.B__[",
        "PARAMEDIC__SERVER",
        "PARAMEDIC__SERVER__",
        "PARAMEDIC____LISTEN",
    ] {
        assert!(refused(&[(odd, "x")]).starts_with("the environment variable "), "{odd}");
    }
}

#[test]
fn a_secret_in_the_wrong_place_is_refused_and_never_shown() {
    for yaml in [
        "slack: { token: hunter2, sgning: 1 }",
        "slack: { signing_secret: hunter2, sgning: 1 }",
        "slack: hunter2",
        "slack:\n  token: hunter2\n",
        "slack: { token: { hunter2: x } }",
        "sources: { a: { basic: { user: u, password: hunter2 } } }",
        "store: { password: hunter2 }",
        "matrix: { homeserver: \"https://u:hunter2@h\", token: { env: T } }",
    ] {
        assert!(!wrong(yaml).contains("hunter2"), "{}", wrong(yaml));
    }
    for (name, value) in [
        ("PARAMEDIC__SLACK__TOKEN", "hunter2"),
        ("PARAMEDIC__SLACK", "hunter2"),
        ("PARAMEDIC__SLACK", "{token: hunter2}"),
        ("PARAMEDIC__SLACK", "{token: hunter2"),
        ("PARAMEDIC__STORE__URL", "postgres://u:hunter2@h/db"),
    ] {
        assert!(!refused(&[(name, value)]).contains("hunter2"), "{}", refused(&[(name, value)]));
    }
    insta::assert_snapshot!(refused(&[("PARAMEDIC__SLACK__TOKEN__ENV", "NOPE")]), @"slack.token: the environment variable NOPE is not set");
}

#[test]
fn all_that_cannot_be_used_is_said_at_once() {
    let (_folder, path) = full();
    let text = FULL
        .replace("slack: { token: { env: S8 }, signing_secret: { env: S9 } }", "")
        .replace("default_policy: data-platform", "")
        .replace("cluster: prod-eu", "cluster: prod-ue")
        .replace("token: { env: S3 },", "receiver: x,");
    fs::write(&path, text).unwrap();
    insta::assert_snapshot!(Config::load(Some(&path), secrets()).unwrap_err(), @r"
    the configuration cannot be used:
    channels.spark-oncall: is a slack channel, but there is no `slack:` section
    sources.prod: has no credential, but anybody can reach 0.0.0.0:9095; add `token`, `basic` or `hmac`, or listen on 127.0.0.1 only
    default_policy: is required once there is a channel beside the console: it names the policy of incidents that no team owns
    sources.prod.labels.cluster: `prod-ue` is not one of `clusters`; did you mean `prod-eu`?
    ");
}

#[test]
fn open_mode_needs_a_loopback_address() {
    insta::assert_snapshot!(refused(&[("PARAMEDIC__SERVER__LISTEN", "0.0.0.0:9095")]), @"
    the configuration cannot be used:
    sources.default: has no credential, but anybody can reach 0.0.0.0:9095; add `sources: { default: { token: { file: … } } }`, or listen on 127.0.0.1 only
    ");
    assert!(env(&[("PARAMEDIC__SERVER__LISTEN", "127.0.0.1:0")]).is_ok());
}

#[test]
fn values_out_of_range_are_refused() {
    for (name, value) in [
        ("PARAMEDIC__CHANNELS__A", "{slack: spark}"),
        ("PARAMEDIC__CHANNELS__A", "{matrix: room}"),
        ("PARAMEDIC__SOURCES__A", "{heartbeat: {match: []}}"),
        ("PARAMEDIC__SOURCES__A", "{heartbeat: {match: ['a=b'], every: 1s}}"),
        ("PARAMEDIC__SOURCES__A", "{heartbeat: {match: [a]}}"),
        ("PARAMEDIC__SOURCES__A", "{heartbeat: {match: ['a=b'], miss: 0}}"),
        ("PARAMEDIC__SOURCES__A", "{labels: {a-b: c}}"),
        ("PARAMEDIC__SOURCES", "{'../x': {}}"),
        ("PARAMEDIC__SOURCES__A", "{token: {env: A}, hmac: {env: B}}"),
        ("PARAMEDIC__SERVER__TOKENS", "{'<!channel>': {secret: {env: A}, role: admin}}"),
        ("PARAMEDIC__INCIDENTS__GROUP_BY", "[]"),
        ("PARAMEDIC__INCIDENTS__GROUP_BY", "['<b>']"),
        ("PARAMEDIC__RECORDER__MAX_STREAMS", "5001"),
        ("PARAMEDIC__RECORDER__KEEP", "1s"),
        ("PARAMEDIC__RECORDER__MAX_BYTES", "1B"),
        ("PARAMEDIC__RECORDER__MAX_MEMORY", "1MiB"),
        ("PARAMEDIC__RECORDER__NAMESPACES", "['../kube-system']"),
        ("PARAMEDIC__RECORDER__SELECTORS", "['']"),
        ("PARAMEDIC__RECORDER__SELECTORS", "['a=b&watch=1']"),
        ("PARAMEDIC__RETENTION__INCIDENTS", "23h"),
        ("PARAMEDIC__DEAD_MAN", "{url: 'https://x/y', every: 10s}"),
        ("PARAMEDIC__DEAD_MAN", "{url: 'ftp://x/y'}"),
        ("PARAMEDIC__DEFAULT_POLICY", "data-platform"),
        ("PARAMEDIC__LOG__LEVEL", "[loud"),
        ("PARAMEDIC__STORE__URL", "mysql://h/db"),
        ("PARAMEDIC__STORE__URL", "postgres://h/db?password=x"),
        ("PARAMEDIC__STORE__PASSWORD", "{env: A}"),
        ("PARAMEDIC__STORE__CONNECTIONS", "1"),
        ("PARAMEDIC__STORE__CONNECTIONS", "101"),
        ("PARAMEDIC__STORE__ACQUIRE_TIMEOUT", "2m"),
        ("PARAMEDIC__STORE__STATEMENT_TIMEOUT", "100ms"),
        ("PARAMEDIC__CLUSTERS__A", "{s3: {b: {endpoint: 'http://m', bucket: ''}}}"),
        (
            "PARAMEDIC__CLUSTERS__A",
            "{s3: {b: {endpoint: 'http://m', bucket: b, access_key: {env: A}}}}",
        ),
        ("PARAMEDIC__CLUSTERS__A", "{metastores: {'a b': 'h:1'}}"),
    ] {
        let error = refused(&[(name, value)]);
        assert!(error.len() < 600 && !error.contains('\0'), "{name}={value}: {error}");
    }
}

#[test]
fn a_missing_or_oversized_file_is_named() {
    let missing = Config::load(Some(Path::new("/does/not/exist.yaml")), std::iter::empty());
    insta::assert_snapshot!(missing.unwrap_err(), @"cannot read the configuration /does/not/exist.yaml");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("big.yaml");
    fs::write(&path, "#".repeat((1 << 20) + 1)).unwrap();
    let env = [("PARAMEDIC_CONFIG".to_owned(), path.display().to_string())];
    assert!(
        Config::load(None, env.into_iter()).unwrap_err().to_string().ends_with("larger than 1 MiB")
    );
}

/// Rewrites the file when it differs, and fails: the next run passes.
fn up_to_date(path: &str, content: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if fs::read_to_string(&path).unwrap_or_default() != content {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        panic!("{} was out of date and has been written anew; commit it", path.display());
    }
}

#[test]
fn the_reference_page_is_up_to_date() {
    up_to_date("docs/reference/config.md", &reference());
}

#[test]
fn the_schema_is_up_to_date() {
    let schema = serde_json::to_string_pretty(&json_schema()).unwrap() + "\n";
    up_to_date("docs/reference/config.schema.json", &schema);
}

#[test]
fn every_key_is_documented() {
    fn walk(value: &serde_json::Value, path: &str) {
        if let Some(properties) = value["properties"].as_object() {
            for (key, property) in properties {
                assert!(property.get("description").is_some(), "{path}.{key} has no doc comment");
            }
        }
        for (key, inner) in value.as_object().into_iter().flatten() {
            walk(inner, &format!("{path}/{key}"));
        }
    }
    walk(&json_schema(), "");
}

#[test]
fn a_metastore_is_an_address_or_an_address_with_a_database_that_exists() {
    let config = |metastore: &str, database: &str| {
        format!(
            "clusters: {{ a: {{ metastores: {{ main: {metastore} }}, databases: {{ {database} }} }} }}"
        )
    };
    let database = "hms: { postgresql: { address: 'pg:5432', database: hms, user: reader } }";
    let read = |metastore: &str| parse("x.yaml", &config(metastore, database));
    let short = read("'hms:9083'").unwrap();
    assert_eq!(short.clusters["a"].metastores["main"].database, None);
    let long = read("{ address: 'hms:9083', database: hms }").unwrap();
    assert_eq!(long.clusters["a"].metastores["main"].database.as_deref(), Some("hms"));
    let again = serde_json::to_value(&long.clusters["a"].metastores).unwrap();
    assert_eq!(again["main"]["database"], "hms");
    let missing = read("{ address: 'hms:9083', database: hns }").unwrap().validate().to_string();
    let said = "clusters.a.metastores.main.database: `hns` is not one of `clusters.a.databases`; did you mean `hms`?";
    assert!(missing.ends_with(said), "{missing}");
    for (bad, why) in [
        ("{ address: 'hms:9083', datbase: hms }", "datbase"),
        ("{ database: hms }", "address"),
        ("hms", "host and a port"),
        ("[a]", "host:port, or {"),
    ] {
        let error = read(bad).unwrap_err().to_string();
        assert!(error.contains(why), "{bad}: {error}");
    }
}
