//! Mistakes as people make them, and what they are told.

use super::*;
use crate::domain::signature::spec;

const DAY: Date = jiff::civil::date(2026, 11, 23);

fn book() -> Book {
    let yaml = "signatures:\n  - id: spark/executor/killed\n    title: t\n    owner: infra\n    confidence: 1\n    \
                any: [{ in: [event], line: killed }]\n    remedy: r\n";
    let file: spec::File = serde_saphyr::from_str(yaml).unwrap();
    Book::new(file.signatures.into_iter().map(|s| (String::new(), s)).collect()).unwrap()
}

fn read(text: &str) -> (Option<Playbook>, String) {
    let (playbook, found) = playbook("p.yaml", text, &book(), DAY);
    (playbook, found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

const GOOD: &str = r#"
name: spark-executor-lost
title: Spark executor lost
summary: Finds out why.
owner: team:data-platform
reviewed: 2026-11-01
match:
  - alertname=~"SparkExecutor(OOMKilled|Lost)"
  - any: [ 'namespace=~"spark-.*"', 'team="data"' ]
if: alerts | length < 500
target:
  spark_app:
    - { id: "{{labels.application_id}}" }
severity: { from: labels.severity, map: { critical: P1, warning: P2 } }
limits: { deadline: 2m, cooldown: 1h, hold_page: 20s, max_targets: 3 }
steps:
  - id: second
    if: steps.first.text != ""
    timeout: 5s
    retries: 0
    incident.note: { text: "{{steps.first.text}}" }
  - id: first
    incident.note: { text: "{{labels.pod}} {{target.namespace}}" }
  - id: third
    needs: [second]
    for_each: { word: "[steps.first.text]", max: 2 }
    incident.note: { text: "{{word}}" }
verdicts: [spark/executor/*]
post_to: [spark-oncall]
"#;

#[test]
fn a_good_playbook_becomes_a_model_with_its_order_inferred() {
    let (playbook, said) = read(GOOD);
    assert_eq!(said, "");
    let playbook = playbook.unwrap();
    let needs: Vec<&[usize]> = playbook.steps.iter().map(|s| s.needs.as_slice()).collect();
    assert_eq!(needs, [&[1][..], &[], &[0, 1]]);
    assert_eq!(playbook.limits.cooldown, Duration::from_hours(1));
    assert_eq!(playbook.steps[0].timeout, Duration::from_secs(5));
    assert_eq!(playbook.steps[1].retries, 1);
    assert_eq!(playbook.digest.len(), 64);
    assert_eq!(playbook.reviewed, Some(jiff::civil::date(2026, 11, 1)));
}

#[test]
fn every_mistake_is_shown_with_its_place_and_a_way_out() {
    let text = r#"
name: Bad_Name
title: x
owner: nobody
reviewed: soon
match:
  - alertname=="x"
  - 'severity=~"("'
if: labels.x != "" and stepz.a
target:
  spark_app:
    - { id: "{{lables.application_id}}" }
severity: critical
limits: { deadline: 2h, max_targets: 99 }
steps:
  - id: one
    if: steps.tow.text
    incident.note: { text: "a {{steps.one.text}} {{steps.two.txet}}" }
  - id: two
    retries: 9
    for_each: { labels: steps.one.text.x }
    incident.note: { text: "{{item}}" }
  - id: two
    needs: [nine]
    incident.note: { text: x }
verdicts: [spark/executor/kiled, hive/*]
remedies:
  - id: restart
    title: Restart it
    spark.kill: {}
post_to: [""]
"#;
    let (playbook, said) = read(text);
    assert!(playbook.is_none());
    insta::assert_snapshot!(said, @r#"
        p.yaml:2:7: error: this is not a playbook's name
           2 | name: Bad_Name
             |       ^
             = write lower-case letters, digits and dashes: spark-executor-lost
        p.yaml:4:8: error: this is not an owner
           4 | owner: nobody
             |        ^
             = write team:data-platform or person:ana
        p.yaml:5:11: error: this is not a date
           5 | reviewed: soon
             |           ^
             = write 2026-01-31
        p.yaml:7:5: error: `=` is followed by another sign
           7 |   - alertname=="x"
             |     ^
             = write it like namespace="prod" or pod=~"etl-.*"
        p.yaml:8:5: error: bad regex: unclosed group
           8 |   - 'severity=~"("'
             |     ^
        p.yaml:9:24: error: there is no `stepz` here
           9 | if: labels.x != "" and stepz.a
             |                        ^
             = there is labels, annotations, alerts
        p.yaml:12:14: error: there is no `lables` here
          12 |     - { id: "{{lables.application_id}}" }
             |              ^
             = did you mean `labels`?
        p.yaml:13:11: error: `critical` is not a severity
          13 | severity: critical
             |           ^
             = write P0, P1, P2 or P3
        p.yaml:14:21: error: this is out of bounds
          14 | limits: { deadline: 2h, max_targets: 99 }
             |                     ^
             = write 1s to 30m
        p.yaml:14:38: error: this is out of bounds
          14 | limits: { deadline: 2h, max_targets: 99 }
             |                                      ^
             = write 1 to 20
        p.yaml:16:9: error: these steps wait for each other: one → two → one
          16 |   - id: one
             |         ^
             = remove one of the references
        p.yaml:17:9: error: there is no step `tow`
          17 |     if: steps.tow.text
             |         ^
             = did you mean `two`?
        p.yaml:18:31: error: step `one` waits for itself
          18 |     incident.note: { text: "a {{steps.one.text}} {{steps.two.txet}}" }
             |                               ^
             = refer to another step
        p.yaml:18:50: error: step `two`: a step with `for_each` brings a list, which has no `txet`
          18 |     incident.note: { text: "a {{steps.one.text}} {{steps.two.txet}}" }
             |                                                  ^
             = write [0], or use a filter
        p.yaml:20:14: error: this is out of bounds
          20 |     retries: 9
             |              ^
             = write 0 to 5
        p.yaml:21:17: error: `labels` cannot be bound
          21 |     for_each: { labels: steps.one.text.x }
             |                 ^
             = choose another name, such as `item`
        p.yaml:21:25: error: step `one`: `text` is a string, which has no `x`
          21 |     for_each: { labels: steps.one.text.x }
             |                         ^
        p.yaml:22:29: error: there is no `item` here
          22 |     incident.note: { text: "{{item}}" }
             |                             ^
             = there is labels, annotations, alerts, target, incident, steps, labels
        p.yaml:23:9: error: there are two steps `two`
          23 |   - id: two
             |         ^
             = rename one of them
        p.yaml:24:13: error: there is no step `nine`
          24 |     needs: [nine]
             |             ^
             = there is one, two
        p.yaml:26:12: error: no signature is called `spark/executor/kiled`
          26 | verdicts: [spark/executor/kiled, hive/*]
             |            ^
             = did you mean `spark/executor/killed`?
        p.yaml:26:34: error: no signature is called `hive/*`
          26 | verdicts: [spark/executor/kiled, hive/*]
             |                                  ^
             = `*` is one path segment, `**` any
        p.yaml:30:5: error: the remedy `spark.kill` is not supported yet
          30 |     spark.kill: {}
             |     ^
             = remove `remedies`, or describe it in a signature's remedy text
        p.yaml:31:11: error: a channel has no name
          31 | post_to: [""]
             |           ^
             = write its key under `channels:`
    "#);
}

#[test]
fn mistakes_in_the_form_stop_at_the_first() {
    let mut said = Vec::new();
    let head = "name: a\ntitle: t\nowner: team:x\nmatch: [a=b]\n";
    for rest in [
        "stepz: []\n",
        "steps:\n  - id: a\n",
        "steps:\n  - id: a\n    incident.nope: { text: x }\n",
        "steps:\n  - id: a\n    incident.note: { text: x }\n    incident.note: { text: y }\n",
        "steps:\n  - id: a\n    incident.note: { txet: x }\n",
        "steps:\n  - id: a\n    incident.note: {}\n",
        "steps:\n  - incident.note: { text: x }\n",
        "steps:\n  - id: a\n    if: labels.x | upcase\n    incident.note: { text: x }\n",
        "steps:\n  - id: a\n    incident.note: { text: \"{{nope labels.x}}\" }\n",
        "steps:\n  - id: a\n    timeout: soon\n    incident.note: { text: x }\n",
        "steps:\n  - id: a\n    for_each: { max: 3 }\n    incident.note: { text: x }\n",
        "steps: []\nremedies: [{ id: a, title: t }]\n",
        "steps: []\nremedies: [{ id: a, title: t, x.y: {}, approval: { form: [x] } }]\n",
        "steps: []\ntarget: { spark_ap: [] }\n",
    ] {
        let (playbook, text) = read(&format!("{head}{rest}"));
        assert!(playbook.is_none(), "{rest}");
        said.push(text);
    }
    insta::assert_snapshot!(said.join("\n"), @r#"
        p.yaml:5:1: error: there is no key `stepz` here
           5 | stepz: []
             | ^
             = did you mean `steps`?
        p.yaml:6:9: error: this step has no kind
           6 |   - id: a
             |         ^
             = one of hive.metastore, hive.database, s3.health, s3.prefix, sql.query, prometheus.query, prometheus.range, prometheus.alerts, prometheus.rule, prometheus.targets, alertmanager.alerts, alertmanager.silences, logs.loki, net.http, net.tcp, net.dns, net.tls, flow.wait_until, kube.pods, kube.logs, kube.events, kube.object, kube.node, kube.owners, kube.rollout, kube.quota, kube.pvc, kube.service, kube.access, kube.top, spark.application, spark.executors, spark.stages, spark.jobs, spark.sql, spark.environment, spark.streaming, spark.history, spark.threads, incident.similar, incident.changes, incident.note
        p.yaml:7:5: error: there is no step kind or key `incident.nope`
           7 |     incident.nope: { text: x }
             |     ^
             = did you mean `incident.note`?
        p.yaml:8:5: error: the key `incident.note` stands twice
           8 |     incident.note: { text: y }
             |     ^
        p.yaml:7:22: error: there is no key `txet` here
           7 |     incident.note: { txet: x }
             |                      ^
             = did you mean `text`?
        p.yaml:7:20: error: the key `text` is missing
           7 |     incident.note: {}
             |                    ^
        p.yaml:6:5: error: the key `id` is missing
           6 |   - incident.note: { text: x }
             |     ^
        p.yaml:7:9: error: there is no filter `upcase`
           7 |     if: labels.x | upcase
             |         ^
             = use one of abs, bool, count, default, dictsort, first, float, int, items, join, last, length, list, lower, map, max, min, reject, rejectattr, replace, round, select, selectattr, sort, split, string, sum, trim, unique, upper
        p.yaml:7:28: error: there is no helper `nope`
           7 |     incident.note: { text: "{{nope labels.x}}" }
             |                            ^
             = there is bytes, code, default, duration, time, truncate, and, each, eq, gt, gte, if, len, lt, lte, ne, not, or, unless, with
        p.yaml:7:14: error: `soon` is not a duration
           7 |     timeout: soon
             |              ^
             = write 30s, 10m, 2h, 7d or 1h 30m
        p.yaml:7:15: error: `for_each` needs a name and a list: `pod: steps.pods.failed`
           7 |     for_each: { max: 3 }
             |               ^
        p.yaml:6:12: error: this remedy has no action
           6 | remedies: [{ id: a, title: t }]
             |            ^
        p.yaml:6:52: error: there is no key `form` here
           6 | remedies: [{ id: a, title: t, x.y: {}, approval: { form: [x] } }]
             |                                                    ^
             = did you mean `from`?
        p.yaml:6:11: error: `spark_ap` is not known here
           6 | target: { spark_ap: [] }
             |           ^
             = did you mean `spark_app`?
    "#);
}

#[test]
fn circles_and_contradictions_are_refused() {
    let circle = "name: a\ntitle: t\nowner: team:x\nmatch: [alertname=a]\nsteps:\n  - id: a\n    needs: [b]\n    \
                  incident.note: { text: x }\n  - id: b\n    incident.note: { text: \"{{steps.a.text}}\" }\n";
    insta::assert_snapshot!(read(circle).1, @r"
        p.yaml:6:9: error: these steps wait for each other: a → b → a
           6 |   - id: a
             |         ^
             = remove one of the references
    ");
    let never = "name: a\ntitle: t\nowner: team:x\nmatch: [alertname=a, 'alertname=~\"b.*\"']\nsteps:\n  - id: a\n    \
                 incident.note: { text: x }\n";
    insta::assert_snapshot!(read(never).1, @r#"
        p.yaml:4:22: error: no alert can reach this playbook: this contradicts alertname="a"
           4 | match: [alertname=a, 'alertname=~"b.*"']
             |                      ^
             = remove one of them
    "#);
    let empty = "name: a\ntitle: t\nowner: team:x\nmatch: []\nsteps:\n  - id: a\n    incident.note: { text: x }\n";
    insta::assert_snapshot!(read(empty).1, @r"
        p.yaml:1:7: error: no alert can reach this playbook: `match` is empty
           1 | name: a
             |       ^
             = write at least one matcher
    ");
}

#[test]
fn an_old_review_is_a_warning_and_the_playbook_is_used() {
    let (playbook, said) = read(&GOOD.replace("2026-11-01", "2026-01-01"));
    assert!(playbook.is_some());
    insta::assert_snapshot!(said, @r"
        p.yaml:6:11: warning: last reviewed 326 days ago
           6 | reviewed: 2026-01-01
             |           ^
             = read it again, then set `reviewed` to the day you did
    ");
}

#[test]
fn hostile_files_get_an_answer_and_no_panic() {
    for text in [
        "\0",
        "name: \"\u{1b}[31m\"\n",
        &"a: ".repeat(10_000),
        &"- ".repeat(10_000),
        "a: &x [*x]",
        "!!binary x",
        &format!("name: {}\n", "x".repeat(64 * 1024)),
        "? {a: b}\n: c\n",
    ] {
        let (playbook, said) = read(text);
        assert!(playbook.is_none() && !said.is_empty());
        assert!(!said.contains('\u{1b}'));
    }
}
