//! Stories of tests: what passes, and how a difference reads.

use super::*;
use crate::playbook::{
    source::{self, Kind},
    yaml,
};

const PLAYBOOK: &str = r#"
name: lost
title: T
owner: team:x
match: [alertname=Lost]
severity: { from: labels.severity, map: { critical: P1 } }
steps:
  - id: first
    incident.note: { text: "{{labels.pod}}" }
  - id: second
    if: steps.first.text == "go"
    incident.note: { text: "{{steps.first.text}}" }
verdicts: [test/*]
"#;

const SIGNATURES: &str = "signatures:\n  - id: test/a\n    title: A\n    owner: user\n    confidence: 1\n    \
                          any: [{ in: [driver_log], line: 'it is A' }]\n    remedy: r\n  - id: test/b\n    title: B\n    \
                          owner: user\n    confidence: 0.5\n    any: [{ in: [driver_log], line: 'it is B' }]\n    remedy: r\n";

fn outcome(test: &str) -> String {
    outcome_of(PLAYBOOK, test)
}

fn outcome_of(playbook: &str, test: &str) -> String {
    let file = |name: &str, kind, text: &str| source::File {
        name: name.to_owned(),
        kind,
        text: text.to_owned(),
    };
    let files =
        [file("p.yaml", Kind::Playbook, playbook), file("s.yaml", Kind::Signatures, SIGNATURES)];
    let catalog = Catalog::build(&[], &files, jiff::civil::date(2026, 11, 23)).unwrap();
    let tests: File = yaml::read("t.yaml", &format!("tests:\n{test}")).unwrap();
    let read = |name: &str| match name {
        "log" => Ok("x\nit is A\nit is B\n".to_owned()),
        other => Err(format!("{other}: not found")),
    };
    let outcome = run(&catalog, &tests.tests[0], &read);
    outcome.differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_story_that_holds_has_no_differences() {
    let test = r"
  - name: go
    alerts: [{ labels: { alertname: Lost, severity: critical, pod: p } }]
    steps:
      first: { value: { text: go } }
      second: { value: { text: x }, passages: [{ origin: driver_log, file: log }] }
    expect: { matched: [lost], severity: P1, steps: { second: done }, verdicts: [test/a, test/b] }
";
    assert_eq!(outcome(test), "");
    let skipped =
        test.replace("text: go }", "text: stop }").replace("second: done", "second: skipped");
    assert!(
        outcome(&skipped).starts_with("steps.second\n  expected that its recorded answer is used")
    );
    let failed = r"
  - name: failed
    alerts: [{ labels: { alertname: Lost } }]
    steps: { first: { failed: denied } }
    expect: { steps: { first: failed, second: skipped }, verdicts: [] }
";
    assert_eq!(outcome(failed), "");
}

#[test]
fn every_difference_is_readable() {
    let test = r"
  - name: wrong in every way
    alerts: [{ labels: { alertname: Lost, severity: info } }]
    playbook: lost
    steps:
      first: { value: { text: go }, passages: [{ origin: driver_log, text: it is B }, { origin: driver_log, file: nope }] }
      third: {}
    expect: { matched: [lost, other], severity: P1, steps: { first: skipped, second: done, fourth: done }, verdicts: [test/a] }
";
    insta::assert_snapshot!(outcome(test), @r"
        matched
          expected lost, other
          got      lost
                   other: there is no such playbook
        severity
          expected P1
          got      none
        steps.first
          expected a file that can be read
          got      nope: not found
        steps.second
          expected a recorded answer under `steps:` of the test
          got      none, and incident.note would run
        steps.third
          expected that its recorded answer is used
          got      the playbook never asks for it
        steps.first
          expected skipped
          got      done
        steps.fourth
          expected done
          got      it did not run
        steps.second
          expected done
          got      skipped: no recorded answer
        verdicts
          expected test/a
          got      test/b
                   test/b: it is B
    ");
}

#[test]
fn a_template_that_becomes_what_its_input_refuses_skips_the_step_as_in_a_run() {
    let playbook = "name: lost\ntitle: T\nowner: team:x\nmatch: [alertname=Lost]\nsteps:\n  - id: logs\n    kube.logs: { pod: \"{{labels.pod}}\" }\n";
    let played = |pod: &str, steps: &str, state: &str| {
        let story = format!(
            "  - name: t\n    alerts: [{{ labels: {{ alertname: Lost, pod: \"{pod}\" }} }}]\n    steps: {{ {steps} }}\n    \
             expect: {{ steps: {{ logs: {state} }}, verdicts: [] }}\n"
        );
        outcome_of(playbook, &story)
    };
    assert_eq!(played("api-0", "logs: {}", "done"), "");
    assert_eq!(played("", "", "skipped"), "");
    assert_eq!(played("Not a name", "", "skipped"), "");
}

#[test]
fn an_alert_that_no_playbook_answers_is_a_story_too() {
    let test = "  - name: quiet\n    alerts: [{ labels: { alertname: Found } }]\n    expect: { matched: [] }\n";
    assert_eq!(outcome(test), "");
    let test = "  - name: quiet\n    alerts: []\n    expect: {}\n";
    assert_eq!(outcome(test), "alerts\n  expected at least one\n  got      none");
    let test = "  - name: loud\n    alerts: [{ labels: { alertname: Found } }]\n    expect: { matched: [lost] }\n";
    insta::assert_snapshot!(outcome(test), @r#"
        matched
          expected lost
          got      none
                   lost: alertname="Lost", but alertname is "Found"
    "#);
}
