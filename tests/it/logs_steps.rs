//! `logs.loki` against a Loki that answers as documented.

use paramedic::{clients::Kind, domain::evidence::Origin, steps::Failure};
use serde_json::json;

use crate::{
    bench::{Bench, passages},
    fakes::loki::{Loki, Mood},
};

/// 2026-11-23T03:11:00Z and so many seconds, in nanoseconds.
fn at(seconds: i64) -> String {
    (1_795_403_460_000_000_000 + seconds * 1_000_000_000).to_string()
}

#[tokio::test]
async fn lines_come_in_the_order_of_time_whatever_the_direction() {
    let streams = json!([
        { "stream": { "pod": "etl-driver", "namespace": "a" }, "values": [
            [at(9), "third"], [at(8), "second, the later of one instant"], [at(8), "second"], [at(1), "\u{1b}[31mfirst\u{1b}[0m\u{0}"],
        ] },
        { "stream": { "pod": "etl-exec-1" }, "values": [[at(20), "newest", { "level": "info" }]] },
        { "stream": { "pod": "silent" }, "values": [] },
    ]);
    let query = r#"{namespace="a", pod=~"etl\\-\\..*"} |~ "a\\.b""#;
    let fake = Loki::start(query, Some("data"), Mood::Streams(streams)).await;
    let mut bench = Bench::new().loki(&fake.url, Some("data"));
    bench.scope.set("labels", json!({ "ns": "a", "pod": "a.b" }));
    let step = r#"logs.loki: { query: '{namespace=$ns, pod=~"etl\\-\\..*"} |~ $pod', vars: { ns: "{{labels.ns}}", pod: "{{labels.pod}}" }, since: 10m, role: driver }"#;
    let findings = bench.run(step).await.unwrap();
    insta::assert_snapshot!(passages(&findings), @r"
    newest
    first
    second
    second, the later of one instant
    third
    ");
    assert_eq!(findings.passages[1].source, "Loki etl-driver");
    assert!(findings.passages.iter().all(|p| p.origin == Origin::DriverLog && !p.cut));
    assert_eq!(findings.value["streams"][0]["newest"], "2026-11-23T03:11:20Z");
    assert_eq!(findings.summary, "5 lines in 2 streams");
    let asked = &fake.asked()[0];
    let part = |name: &str| asked[name].as_str();
    assert_eq!((part("start"), part("end")), ("1795402920000000000", "1795403520000000000"));
    assert_eq!((part("limit"), part("direction")), ("500", "backward"));
}

#[tokio::test]
async fn matches_keep_their_surroundings_and_a_full_answer_is_marked() {
    let lines: Vec<_> = (0..9).map(|n| json!([at(n), format!("line {n}")])).collect();
    let streams = json!([{ "stream": { "app": "web" }, "values": lines }]);
    let fake = Loki::start("{app=\"web\"}", None, Mood::Streams(streams)).await;
    let bench = Bench::new().loki(&fake.url, None);
    let step =
        r#"logs.loki: { query: '{app="web"}', limit: 9, keep: oldest, grep: "line 4", around: 1 }"#;
    let findings = bench.run(step).await.unwrap();
    assert_eq!(passages(&findings), "line 3\nline 4\nline 5\n");
    assert!(findings.passages[0].cut);
    assert_eq!(findings.passages[0].origin, Origin::PodLog);
    assert_eq!(findings.summary, "1 of 9 lines match");
    assert_eq!(fake.asked()[0]["direction"], "forward");
}

#[tokio::test]
async fn a_hostile_label_reaches_loki_as_one_string() {
    let query = r#"{pod="x\"} |= \"\n"} |= "$pod""#;
    let fake = Loki::start(query, None, Mood::Streams(json!([]))).await;
    let mut bench = Bench::new().loki(&fake.url, None);
    bench.scope.set("labels", json!({ "pod": "x\"} |= \"\n" }));
    let step = r#"logs.loki: { query: '{pod=$p} |= "$pod"', vars: { p: "{{labels.pod}}" } }"#;
    let findings = bench.run(step).await.unwrap();
    assert_eq!((findings.summary.as_str(), findings.passages.len()), ("no lines", 0));
}

#[tokio::test]
async fn loki_own_words_survive_a_refusal() {
    for (status, said, kind) in [
        (400, "parse error at line 1, col 5: syntax error", Kind::Refused),
        (
            400,
            "max entries limit per query exceeded, limit > max_entries_limit (5000 > 1000)",
            Kind::Refused,
        ),
        (429, "too many outstanding requests", Kind::Throttled { after: None }),
        (500, "context deadline exceeded", Kind::Refused),
        (504, "gateway timeout", Kind::Timeout),
    ] {
        let fake = Loki::start("{a=\"b\"}", None, Mood::Says(status, said)).await;
        let bench = Bench::new().loki(&fake.url, None);
        let failure = bench.run(r#"logs.loki: { query: '{a="b"}' }"#).await.unwrap_err();
        let Failure::Client(error) = failure else { panic!("{status} is a failure") };
        assert_eq!((error.kind, error.reason), (kind, format!("HTTP {status}: {said}")));
    }
}

#[tokio::test]
async fn a_missing_tenant_and_a_query_that_counts_are_told_apart() {
    let fake = Loki::start("{a=\"b\"}", Some("data"), Mood::Matrix).await;
    let step = r#"logs.loki: { query: '{a="b"}' }"#;
    let without = Bench::new().loki(&fake.url, None).run(step).await.unwrap_err();
    insta::assert_snapshot!(without, @"could not query Loki: HTTP 401: no org id");
    let counts = Bench::new().loki(&fake.url, Some("data")).run(step).await.unwrap_err();
    insta::assert_snapshot!(counts, @r#"could not query Loki: the query makes numbers of the lines; ask for the lines themselves: {app="x"} |= "y""#);
    let nowhere = Bench::new().run(step).await.unwrap_err();
    insta::assert_snapshot!(nowhere, @"cluster prod-eu has no `loki:` configured");
}

#[tokio::test]
async fn nonsense_from_loki_is_malformed_and_says_where() {
    for entry in [json!(["soon", "line"]), json!([at(1)]), json!([1, "line"]), json!("x")] {
        let streams = json!([{ "stream": {}, "values": [entry] }]);
        let fake = Loki::start("{a=\"b\"}", None, Mood::Streams(streams)).await;
        let bench = Bench::new().loki(&fake.url, None);
        let failure = bench.run(r#"logs.loki: { query: '{a="b"}' }"#).await.unwrap_err();
        let Failure::Client(error) = failure else { panic!("a failure") };
        assert_eq!(error.kind, Kind::Malformed, "{error}");
    }
}
