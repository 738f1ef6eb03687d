//! Runs as pure data: order, skips, lists, resumption.

use serde_json::json;

use super::*;
use crate::playbook::lint;

fn playbook(steps: &str) -> Playbook {
    let text = format!("name: a\ntitle: t\nowner: team:x\nmatch: [alertname=a]\nsteps:\n{steps}");
    let book = crate::domain::signature::Book::new(vec![]).unwrap();
    let (playbook, found) = lint::playbook("p.yaml", &text, &book, jiff::civil::date(2026, 11, 23));
    playbook.unwrap_or_else(|| panic!("{found:?}"))
}

fn base() -> Scope {
    let labels = BTreeMap::from([("severity".to_owned(), "critical".to_owned())]);
    run_scope(alert_scope(&labels, &BTreeMap::new(), vec![]), None, json!({ "id": "INC-1" }))
}

fn done(key: &str, value: Value) -> Evidence {
    Evidence {
        step: key.to_owned(),
        kind: "incident.note".to_owned(),
        state: StepState::Done,
        reason: String::new(),
        findings: Findings { value, ..Findings::default() },
        duration_ms: 1,
    }
}

fn failed(key: &str) -> Evidence {
    Evidence { state: StepState::Failed, reason: "timed out".to_owned(), ..done(key, Value::Null) }
}

/// Drives a run; what `answer` gives for each key. The order of starts, and all evidence.
fn drive(
    playbook: &Playbook,
    answer: impl Fn(&Ready) -> Evidence,
) -> (Vec<Vec<String>>, Vec<Evidence>) {
    let (mut starts, mut evidence) = (Vec::new(), Vec::new());
    loop {
        let next = progress(playbook, &base(), &evidence, &BTreeSet::new());
        evidence.extend(next.skipped);
        if next.finished {
            return (starts, evidence);
        }
        assert!(!next.ready.is_empty(), "a run that is not finished has something to start");
        starts.push(next.ready.iter().map(|r| r.key.clone()).collect());
        evidence.extend(next.ready.iter().map(&answer));
    }
}

const STEPS: &str = r#"
  - id: a
    incident.note: { text: x }
  - id: b
    if: steps.a.text == "yes"
    incident.note: { text: x }
  - id: c
    for_each: { word: steps.a.list, max: 2 }
    incident.note: { text: "{{word}}" }
  - id: d
    if: labels.severity == "critical" or steps.b.text == "x"
    needs: [c]
    incident.note: { text: x }
  - id: e
    incident.note: { text: "{{default steps.b.text \"none\"}}" }
"#;

/// `incident.note` has no `list`; the order is what counts here.
fn steps() -> String {
    STEPS.replace("steps.a.list", "steps.a | items | map(attribute=1) | list")
}

#[test]
fn independent_steps_start_together_and_the_rest_when_what_it_needs_has_ended() {
    let playbook = playbook(&steps());
    let (starts, evidence) = drive(&playbook, |ready| match ready.key.as_str() {
        "a" => done("a", json!({ "text": "yes", "u": "v", "w": "z" })),
        key => done(key, json!({ "text": "x" })),
    });
    assert_eq!(starts, [vec!["a"], vec!["b", "c[0]", "c[1]"], vec!["d", "e"]]);
    assert_eq!(evidence.len(), 6);
}

#[test]
fn a_failed_step_never_hides_the_others() {
    let playbook = playbook(&steps());
    let (starts, evidence) = drive(&playbook, |ready| match ready.key.as_str() {
        "a" => failed("a"),
        key => done(key, json!({ "text": "x" })),
    });
    assert_eq!(starts, [vec!["a"], vec!["d", "e"]]);
    let said: Vec<String> =
        evidence.iter().map(|e| format!("{} {:?} {}", e.step, e.state, e.reason)).collect();
    insta::assert_snapshot!(said.join("\n"), @r#"
        a Failed timed out
        b Skipped `steps.a.text == "yes"` is not known: step `a` brought nothing: it failed, timed out
        c Skipped `steps.a | items | map(attribute=1) | list` is not known: step `a` brought nothing: it failed, timed out
        d Done 
        e Done
    "#);
}

#[test]
fn a_list_is_cut_and_says_so_and_its_results_keep_their_order() {
    let playbook = playbook(&steps());
    let evidence = [
        done("a", json!({ "text": "no", "u": "1", "v": "2" })),
        done("c[1]", json!({ "text": "second" })),
    ];
    let next = progress(&playbook, &base(), &evidence, &BTreeSet::from(["c[0]".to_owned()]));
    assert_eq!(next.ready.iter().map(|r| r.key.as_str()).collect::<Vec<_>>(), ["e"]);
    assert_eq!(next.remarks, ["step c looked at 2 of 3 items"]);
    assert!(!next.finished);
    let mut all = evidence.to_vec();
    all.push(failed("c[0]"));
    let next = progress(&playbook, &base(), &all, &BTreeSet::new());
    let scope = &next.ready.iter().find(|r| r.key == "d").unwrap().scope;
    assert_eq!(scope.names()["steps"]["c"], json!([null, { "text": "second" }]));
}

#[test]
fn the_same_evidence_gives_the_same_answer() {
    let playbook = playbook(&steps());
    let first = progress(&playbook, &base(), &[], &BTreeSet::new());
    assert_eq!(first, progress(&playbook, &base(), &[], &BTreeSet::new()));
    assert_eq!(first.ready.len(), 1);
    assert_eq!(first.ready[0].scope.names()["incident"]["id"], json!("INC-1"));
}

#[test]
fn an_empty_list_and_a_false_condition_skip_with_the_reason() {
    let steps = "  - id: a\n    if: labels.severity == \"info\"\n    incident.note: { text: x }\n  - id: b\n    \
                 for_each: { x: \"[]\" }\n    incident.note: { text: \"{{x}}\" }\n  - id: c\n    if: labels.nope | length\n    \
                 for_each: { x: labels.severity }\n    incident.note: { text: \"{{x}}\" }\n  - id: d\n    \
                 for_each: { x: labels.severity }\n    incident.note: { text: \"{{x}}\" }\n";
    let next = progress(&playbook(steps), &base(), &[], &BTreeSet::new());
    assert!(next.finished && next.ready.is_empty());
    let said: Vec<&str> = next.skipped.iter().map(|e| e.reason.as_str()).collect();
    insta::assert_snapshot!(said.join("\n"), @r#"
        `labels.severity == "info"` does not hold
        `[]` is empty
        `labels.nope | length` does not hold
        `labels.severity` is not a list
    "#);
}

#[test]
fn a_run_that_must_end_leaves_evidence_for_every_step() {
    let playbook = playbook(&steps());
    let left = abandon(
        &playbook,
        &base(),
        &[done("a", json!({ "text": "yes" }))],
        "the deadline has passed",
    );
    let said: Vec<String> = left.iter().map(|e| format!("{} {}", e.step, e.reason)).collect();
    insta::assert_snapshot!(said.join("\n"), @r"
        b the deadline has passed
        c[0] the deadline has passed
        d the deadline has passed
        e the deadline has passed
    ");
    let mut all = vec![done("a", json!({ "text": "yes" }))];
    all.extend(left);
    assert!(progress(&playbook, &base(), &all, &BTreeSet::new()).finished);
}

#[test]
fn the_target_is_seen_with_its_kind_and_label() {
    let target = Target::Pod(crate::domain::target::Pod {
        cluster: "prod".into(),
        namespace: "spark".into(),
        name: "etl".into(),
    });
    let scope = run_scope(Scope::default(), Some(&target), Value::Null);
    assert_eq!(
        scope.names()["target"],
        json!({ "kind": "pod", "label": "pod spark/etl", "cluster": "prod", "namespace": "spark", "name": "etl" })
    );
}
