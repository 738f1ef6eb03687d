//! `hive.metastore` and its ladder against a metastore in every mood a real one was seen in.

use std::time::Duration;

use paramedic::{
    domain::target::{Metastore as MetastoreTarget, Target},
    steps::{Failure, Step as _, hive::metastore::Metastore as MetastoreStep},
};

use crate::{
    bench::{self, Bench, passages},
    fakes::metastore::{Metastore, Mood},
};

/// Runs the ladder against a metastore in this mood: the verdict, the passages, and the calls it heard.
async fn climb(mood: Mood, inputs: &str) -> (String, String, Vec<String>) {
    let bench = Bench::new();
    let fake = Metastore::start(mood, bench.hand.clone()).await;
    let bench = bench.metastore("main", &fake.address);
    let findings = bench.run(&format!("hive.metastore: {inputs}")).await.unwrap();
    fake.until_closed().await;
    let verdict = findings.value["verdict"].as_str().unwrap().to_owned();
    (verdict, passages(&findings), fake.heard())
}

#[tokio::test]
async fn a_healthy_metastore_climbs_to_the_top_on_one_connection_that_closes() {
    let (verdict, lines, heard) = climb(Mood::Healthy, "{ canary: default.t1 }").await;
    assert_eq!(verdict, "ok");
    insta::assert_snapshot!(lines, @r"
    metastore main dns: ok in 0 ms
    metastore main tcp: ok in 0 ms
    metastore main get_status: ok in 0 ms
    metastore main get_all_databases: ok in 0 ms
    metastore main get_table: ok in 0 ms
    ");
    let calls = ["connect", "getStatus", "get_all_databases", "get_table default.t1", "close"];
    assert_eq!(heard, calls);
}

#[tokio::test]
async fn a_dead_database_behind_a_living_server_is_told_apart() {
    let (verdict, lines, _) = climb(Mood::DatabaseStopped, "{}").await;
    assert_eq!(verdict, "database");
    insta::assert_snapshot!(lines, @r"
    metastore main dns: ok in 0 ms
    metastore main tcp: ok in 0 ms
    metastore main get_status: ok in 0 ms
    metastore main get_all_databases: FAILED after 120000 ms: timeout: no answer within 5000 ms
    ");
}

#[tokio::test]
async fn a_table_that_never_answers_is_the_database_too() {
    let (verdict, lines, _) = climb(Mood::TableLocked, "{ canary: default.t1 }").await;
    assert_eq!(verdict, "database");
    assert!(
        lines.ends_with("get_table: FAILED after 120000 ms: timeout: no answer within 5000 ms")
    );
}

#[tokio::test]
async fn a_server_that_accepts_and_never_answers_has_no_thread_left() {
    let (verdict, lines, heard) = climb(Mood::Frozen, "{}").await;
    assert_eq!(verdict, "thread_starved");
    assert!(
        lines.ends_with("get_status: FAILED after 120000 ms: timeout: no answer within 2000 ms")
    );
    assert_eq!(heard, ["connect", "getStatus", "close"]);
}

#[tokio::test]
async fn a_server_of_another_protocol_is_named_as_such() {
    let (verdict, lines, _) = climb(Mood::OtherProtocol, "{}").await;
    assert_eq!(verdict, "wrong_protocol");
    assert!(lines.contains("get_status: FAILED after 0 ms: closed_without_reply: "), "{lines}");
    let (verdict, lines, _) = climb(Mood::Web, "{}").await;
    assert_eq!(verdict, "wrong_protocol");
    assert!(
        lines.contains("malformed: not strict binary Thrift; it starts with `HTTP/1.1"),
        "{lines}"
    );
}

#[tokio::test]
async fn a_framed_server_is_understood_on_a_second_connection() {
    let (verdict, lines, heard) = climb(Mood::FramedOnly, "{}").await;
    assert_eq!(verdict, "ok");
    assert!(
        lines.contains("get_status: ok in 0 ms (only framed transport is answered)"),
        "{lines}"
    );
    assert!(heard.ends_with(&["get_all_databases".to_owned(), "close".to_owned()]), "{heard:?}");
}

#[tokio::test]
async fn a_late_answer_is_slow_and_the_playbook_says_what_late_is() {
    let (verdict, lines, _) = climb(Mood::Late(1900), "{ slow: 1s }").await;
    assert_eq!(verdict, "slow");
    assert!(lines.ends_with("get_all_databases: slow, 1900 ms"), "{lines}");
    let (verdict, _, _) = climb(Mood::Late(900), "{ slow: 1s }").await;
    assert_eq!(verdict, "ok");
}

#[tokio::test]
async fn a_missing_canary_is_not_a_dead_database() {
    let (verdict, lines, _) = climb(Mood::Healthy, "{ canary: default.nope }").await;
    assert_eq!(verdict, "canary_missing");
    assert!(
        lines.ends_with("get_table: FAILED after 0 ms: exception: default.nope table not found")
    );
}

#[tokio::test]
async fn a_server_that_is_still_starting_is_not_serving() {
    let (verdict, lines, _) = climb(Mood::Starting, "{}").await;
    assert_eq!(verdict, "not_serving");
    assert!(lines.ends_with("exception: its status is STARTING"), "{lines}");
}

#[tokio::test]
async fn hostile_replies_are_bounded() {
    for (mood, why) in [
        (Mood::Liar, "malformed: a list of 2147483647 items; at most 65536 are read"),
        (Mood::Flood, "malformed: the reply is longer than 1048576 bytes"),
        (Mood::CutOff, "malformed: the server closed the connection after 20 bytes of a reply"),
    ] {
        let (verdict, lines, _) = climb(mood, "{}").await;
        assert_eq!(verdict, "database", "{mood:?}");
        assert!(lines.contains(why), "{mood:?}: {lines}");
    }
}

#[tokio::test]
async fn nothing_listening_and_no_such_name_are_findings() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let bench = Bench::new().metastore("main", &address).metastore("gone", "hms.invalid:9083");
    let down = bench.run("hive.metastore: {}").await.unwrap();
    assert_eq!(down.value["verdict"], "down");
    assert!(down.summary.starts_with("down: metastore main tcp: FAILED after 0 ms: refused: "));
    let gone = bench.run("hive.metastore: { name: gone }").await.unwrap();
    assert_eq!(gone.value["verdict"], "unresolved");
    assert!(
        gone.summary.contains("metastore gone dns: FAILED after 0 ms: unresolved: hms.invalid")
    );
}

#[tokio::test]
async fn the_name_comes_from_the_playbook_then_the_target_then_is_main() {
    let mut bench = Bench::new();
    let fake = Metastore::start(Mood::Healthy, bench.hand.clone()).await;
    bench = bench.metastore("main", &fake.address).metastore("batch", &fake.address);
    let name = async |bench: &Bench, yaml| bench.run(yaml).await.unwrap().value["name"].clone();
    assert_eq!(name(&bench, "hive.metastore: {}").await, "main");
    let target = MetastoreTarget { cluster: "prod-eu".to_owned(), name: "batch".to_owned() };
    bench.target = Some(Target::Metastore(target));
    assert_eq!(name(&bench, "hive.metastore: {}").await, "batch");
    assert_eq!(name(&bench, "hive.metastore: { name: main }").await, "main");
}

#[tokio::test]
async fn a_metastore_nobody_configured_skips_the_step_and_names_the_others() {
    let mut bench = Bench::new().metastore("main", "hms:9083");
    bench.scope.set("labels", serde_json::json!({ "m": "x\n<!channel>" }));
    let failure = bench.run(r#"hive.metastore: { name: "{{labels.m}}" }"#).await.unwrap_err();
    insta::assert_snapshot!(failure, @r"cluster prod-eu has no metastore named `x\n<!channel>` (configured: main)");
    assert!(matches!(failure, Failure::Skipped(_)));
}

#[tokio::test]
async fn the_whole_ladder_has_a_deadline_of_its_own() {
    use paramedic::{clients::hive, ops::clock::Clock};
    let (clock, hand) = Clock::manual(jiff::Timestamp::UNIX_EPOCH);
    let fake = Metastore::start(Mood::DatabaseStopped, hand).await;
    let client = hive::Client::new(&fake.address).unwrap();
    let deadlines = hive::Deadlines { whole: Duration::from_secs(1), ..hive::Deadlines::default() };
    let ladder = client.ladder(&deadlines, None, &clock).await;
    assert_eq!(ladder.verdict, hive::Verdict::Database);
    assert_eq!(ladder.rungs.last().unwrap().reason, "no answer within 1000 ms");
}

#[test]
fn the_example_is_what_it_says() {
    let step: MetastoreStep = bench::example();
    assert_eq!(step.name.unwrap().source(), "main");
    assert!(serde_saphyr::from_str::<MetastoreStep>("canary: no-dot").is_err());
    assert!(serde_saphyr::from_str::<MetastoreStep>("adress: hms:9083").is_err());
    assert_eq!(MetastoreStep::NEEDS.len(), 0);
}
