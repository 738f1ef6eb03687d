//! `flow.wait_until` over real steps, on a clock that only the test moves.

use std::time::Duration;

use paramedic::{clients::Kind, domain::evidence::Findings, steps::Failure};
use serde_json::json;

use crate::{
    bench::{Bench, passages},
    fakes::{
        metastore::{Metastore, Mood},
        prometheus::Prometheus,
    },
};

fn lag(value: &str) -> serde_json::Value {
    json!({ "resultType": "scalar", "result": [1, value] })
}

const WAIT: &str = "flow.wait_until: { until: result.number < 10, every: 5s, at_most: 1m, step: { prometheus.query: { query: lag } } }";

/// Runs the wait while time passes a little faster than it does. The fake and the step share this test's one thread, so the
/// machine's load does not decide how many attempts fit in.
async fn wait(fake: &Prometheus, answered: impl Fn(usize)) -> Result<Findings, Failure> {
    let bench = Bench::new().prometheus(&fake.url);
    let hand = bench.hand.clone();
    let run = bench.run(WAIT);
    tokio::pin!(run);
    loop {
        tokio::select! {
            biased;
            outcome = &mut run => return outcome,
            () = tokio::task::yield_now() => {
                answered(fake.answered());
                hand.advance(Duration::from_millis(1));
            }
        }
    }
}

#[tokio::test]
async fn it_asks_again_until_the_condition_holds() {
    let fake = Prometheus::start([("lag", lag("99"))]).await;
    let findings = wait(&fake, |asked| {
        if asked == 2 {
            fake.set("lag", lag("3"));
        }
    });
    let findings = findings.await.unwrap();
    assert_eq!(findings.value["held"], true);
    assert_eq!(findings.value["attempts"], 3);
    assert_eq!(findings.value["result"]["number"], 3.0);
    assert_eq!(passages(&findings), "metric lag: {} = 3");
}

#[tokio::test]
async fn time_that_is_up_is_a_finding_with_the_last_result() {
    let fake = Prometheus::start([("lag", lag("99"))]).await;
    let findings = wait(&fake, |_| ()).await.unwrap();
    assert_eq!(findings.value["held"], false);
    assert_eq!(findings.value["result"]["number"], 99.0);
    assert_eq!(findings.value["reason"], "`result.number < 10` does not hold");
    assert!(findings.value["waited_ms"].as_u64().unwrap() <= 60_000, "{}", findings.value);
}

#[tokio::test]
async fn a_condition_about_nothing_is_not_known_rather_than_false() {
    let bench = Bench::new();
    let fake = Metastore::start(Mood::Healthy, bench.hand.clone()).await;
    let bench = bench.metastore("main", &fake.address);
    let step = "flow.wait_until: { until: result.nonsense == 1, at_most: 1s, step: { hive.metastore: {} } }";
    let findings = bench.run(step).await.unwrap();
    let reason = findings.value["reason"].as_str().unwrap();
    assert!(reason.starts_with("`result.nonsense == 1` is not known: "), "{reason}");
}

#[tokio::test]
async fn what_can_never_succeed_is_not_repeated() {
    let bench = Bench::new();
    let skipped =
        "flow.wait_until: { until: result.open, step: { hive.metastore: { name: nope } } }";
    assert!(matches!(bench.run(skipped).await, Err(Failure::Skipped(_))));
    let denied =
        "flow.wait_until: { until: result.open, step: { net.tcp: { address: 10.0.0.1:1 } } }";
    let Err(Failure::Client(error)) = bench.run(denied).await else { panic!("denied at once") };
    assert_eq!(error.kind, Kind::Denied);
}

#[tokio::test]
async fn an_attempt_that_hangs_ends_with_the_time_and_no_result_is_a_failure() {
    let fake = Prometheus::start([("lag", serde_json::Value::Null)]).await;
    let Err(Failure::Client(error)) = wait(&fake, |_| ()).await else {
        panic!("nothing was found out")
    };
    insta::assert_snapshot!(error, @"could not repeat prometheus.query: no answer before the time to wait was up");
}
