//! `prometheus.query` against a strict fake, and the refusals of `net.*` as a playbook meets them.

use paramedic::{clients::Kind, steps::Failure};
use serde_json::json;

use crate::{
    bench::{Bench, passages},
    fakes::prometheus::Prometheus,
};

#[tokio::test]
async fn a_hostile_label_reaches_prometheus_as_one_string() {
    let query = r#"max(mem{pod="etl\"} or vector(1) #"})"#;
    let data = json!({ "resultType": "vector", "result": [
        { "metric": { "pod": "etl-1" }, "value": [1_795_403_520, "12.5"] },
    ] });
    let fake = Prometheus::start([(query, data)]).await;
    let mut bench = Bench::new().prometheus(&fake.url);
    bench.scope.set("labels", json!({ "pod": "etl\"} or vector(1) #" }));
    let step = r#"prometheus.query: { query: "max(mem{pod=$pod})", vars: { pod: "{{labels.pod}}" }, at: 2026-11-23T03:12:00.5Z }"#;
    let findings = bench.run(step).await.unwrap();
    assert_eq!(findings.value["number"], 12.5);
    assert_eq!(findings.value["query"], query);
    let asked = &fake.asked()[0];
    assert_eq!((asked["time"].as_str(), asked["timeout"].as_str()), ("1795403520.500", "10s"));
    insta::assert_snapshot!(passages(&findings), @r#"metric max(mem{pod="etl\"} or vector(1) #"}): {pod="etl-1"} = 12.5"#);
}

#[tokio::test]
async fn every_type_of_answer_has_its_place() {
    let point = json!([1, "2"]);
    let fake = Prometheus::start([
        ("a", json!({ "resultType": "scalar", "result": [1, "NaN"] })),
        (
            "b[5m]",
            json!({ "resultType": "matrix", "result": [{ "metric": {}, "values": [point] }] }),
        ),
        ("\"c\"", json!({ "resultType": "string", "result": [1, "<!channel>\n"] })),
        ("d", json!({ "resultType": "vector", "result": [] })),
    ])
    .await;
    let bench = Bench::new().prometheus(&fake.url);
    let said = async |query: &str| {
        let yaml = format!("prometheus.query: {{ query: {} }}", json!(query));
        bench.run(&yaml).await.unwrap().summary
    };
    insta::assert_snapshot!(said("a").await, @"{} = NaN");
    insta::assert_snapshot!(said("b[5m]").await, @"{} = 2");
    insta::assert_snapshot!(said("\"c\"").await, @r"{} = <!channel>\n");
    insta::assert_snapshot!(said("d").await, @"no data");
}

#[tokio::test]
async fn prometheus_refusal_is_the_steps_failure_in_its_own_words() {
    let fake = Prometheus::start([("up", json!("too many samples"))]).await;
    let bench = Bench::new().prometheus(&fake.url);
    let failure = bench.run("prometheus.query: { query: up }").await.unwrap_err();
    insta::assert_snapshot!(failure, @"could not query Prometheus: execution: too many samples");
}

#[tokio::test]
async fn without_a_prometheus_or_a_value_the_step_is_skipped() {
    let failure = Bench::new().run("prometheus.query: { query: up }").await.unwrap_err();
    insta::assert_snapshot!(failure, @"cluster prod-eu has no `prometheus:` configured");
    let fake = Prometheus::start([]).await;
    let bench = Bench::new().prometheus(&fake.url);
    let step = r#"prometheus.query: { query: "up{pod=$pod}", vars: { pod: "{{labels.pod}}" } }"#;
    assert!(matches!(bench.run(step).await.unwrap_err(), Failure::Skipped(_)));
    assert_eq!(fake.asked().len(), 0);
}

#[tokio::test]
async fn an_address_outside_the_allowed_networks_fails_and_names_the_setting() {
    for step in [
        "net.http: { url: http://10.1.2.3/ }",
        "net.tcp: { address: 10.1.2.3:22 }",
        "net.tls: { address: 10.1.2.3:443 }",
        "net.dns: { name: secret.attacker.example }",
    ] {
        let Failure::Client(error) = Bench::new().run(step).await.unwrap_err() else {
            panic!("{step} is denied, not skipped")
        };
        assert_eq!(error.kind, Kind::Denied);
        assert!(error.reason.contains("add its network to `egress.allow`"), "{error}");
    }
}
