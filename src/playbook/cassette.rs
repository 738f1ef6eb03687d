//! Tests of playbooks without a cluster: `*.test.yaml` beside the playbook.
//!
//! A test says which alerts come in, what each step would bring (the cassette), and what must come of it. The run goes
//! through the same plan, signatures and ranking as in production; only the steps' answers are recorded ones. A step that
//! would run but has no answer fails the test, and so does an answer nobody asks for.

mod fill;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use serde_saphyr::Spanned;

use super::{
    catalog::{Answer, Catalog},
    model::Playbook,
    plan,
};
use crate::domain::{
    alert::{Labels, Status},
    evidence::{Evidence, Findings, Origin, Passage, StepState},
    incident::correlate::common,
    severity::Severity,
    target::Target,
};

/// Tests of one or more playbooks.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Paramedic playbook tests")]
pub struct File {
    /// The tests, each a story in one sentence.
    pub tests: Vec<Test>,
}

/// One test.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Test {
    /// What it shows, as a sentence.
    #[schemars(with = "String")]
    pub name: Spanned<String>,
    /// The alerts of one incident.
    pub alerts: Vec<Alert>,
    /// What the alerts lead to; omitted: nothing was found.
    #[serde(default)]
    #[schemars(with = "Option<Value>")]
    pub target: Option<Target>,
    /// The playbook that runs; needed when several match and `steps` is given.
    #[serde(default)]
    pub playbook: Option<String>,
    /// What each step brings, by id; `logs[0]` for the first item of a `for_each`.
    #[serde(default)]
    pub steps: BTreeMap<String, Recorded>,
    /// What must come of it. What is omitted is not compared.
    pub expect: Expect,
}

/// An alert as it comes in.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Alert {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// `firing` or `resolved`; default firing.
    #[serde(default = "firing")]
    #[schemars(with = "String")]
    pub status: Status,
}

fn firing() -> Status {
    Status::Firing
}

/// A recorded answer: `value` and `passages`, or why there is none.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Recorded {
    /// What `steps.<id>` holds.
    pub value: Value,
    /// What signatures search.
    pub passages: Vec<RecordedPassage>,
    /// It failed, with this reason.
    pub failed: Option<String>,
    /// It could not apply, with this reason.
    pub skipped: Option<String>,
}

/// Text with its origin.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordedPassage {
    /// Where it comes from.
    pub origin: Origin,
    /// What a person calls the source.
    #[serde(default)]
    pub source: String,
    /// The text.
    #[serde(default)]
    pub text: String,
    /// A file with the text, relative to the test's file.
    #[serde(default)]
    pub file: Option<String>,
}

/// What must come of it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Expect {
    /// Names of the playbooks that match the first alert, in any order.
    pub matched: Option<Vec<String>>,
    /// The highest severity they ask for.
    pub severity: Option<Severity>,
    /// How steps end: `done`, `skipped`, `failed`; only those named are compared.
    #[schemars(with = "BTreeMap<String, String>")]
    pub steps: BTreeMap<String, StepState>,
    /// Ids of all verdicts, best first.
    pub verdicts: Option<Vec<String>>,
}

/// How a test went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The test's name.
    pub name: String,
    /// What differs; empty when it passed.
    pub differences: Vec<Difference>,
}

/// One thing that is not as expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which part: `verdicts`, `steps.logs`.
    pub what: String,
    /// What the test says.
    pub expected: String,
    /// What came of it.
    pub got: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  expected {}\n  got      {}", self.what, self.expected, self.got)
    }
}

/// Runs one test. `read` gives the text of a file named in a passage.
pub fn run(
    catalog: &Catalog,
    test: &Test,
    read: &dyn Fn(&str) -> Result<String, String>,
) -> Outcome {
    let mut story = Story { test, catalog, differences: Vec::new() };
    story.play(read);
    Outcome { name: test.name.value.clone(), differences: story.differences }
}

struct Story<'a> {
    test: &'a Test,
    catalog: &'a Catalog,
    differences: Vec<Difference>,
}

impl Story<'_> {
    fn differ(
        &mut self,
        what: impl Into<String>,
        expected: impl Into<String>,
        got: impl Into<String>,
    ) {
        self.differences.push(Difference {
            what: what.into(),
            expected: expected.into(),
            got: got.into(),
        });
    }

    fn play(&mut self, read: &dyn Fn(&str) -> Result<String, String>) {
        let Some(first) = self.test.alerts.first() else {
            return self.differ("alerts", "at least one", "none");
        };
        let scope = plan::alert_scope(&first.labels, &first.annotations, self.alerts());
        let matched = self.catalog.matching(&first.labels, &scope);
        self.compare_match(&matched);
        let playbook = match (&self.test.playbook, matched.as_slice()) {
            (Some(name), _) => {
                let Some(playbook) = self.catalog.playbooks.iter().find(|p| p.name == *name) else {
                    return self.differ("playbook", name.clone(), "no playbook has this name");
                };
                playbook.clone()
            }
            (None, [(playbook, _)]) => playbook.clone(),
            (None, []) if self.test.steps.is_empty() => return,
            (None, []) => return self.differ("steps", "a playbook to run them", "none matched"),
            (None, _) if self.test.steps.is_empty() => return,
            (None, _) => {
                return self.differ("playbook", "its name, because several match", "no `playbook`");
            }
        };
        if self.test.steps.is_empty() && self.test.expect.verdicts.is_none() {
            return;
        }
        let evidence = self.drive(&playbook, read);
        self.compare_steps(&evidence);
        self.compare_verdicts(&playbook, &evidence);
    }

    fn alerts(&self) -> Vec<Value> {
        let alert = |alert: &Alert| json!({ "labels": alert.labels, "annotations": alert.annotations, "status": alert.status });
        self.test.alerts.iter().map(alert).collect()
    }

    fn compare_match(&mut self, matched: &[(std::sync::Arc<Playbook>, Option<Severity>)]) {
        let got: BTreeSet<&str> = matched.iter().map(|(p, _)| p.name.as_str()).collect();
        if let Some(expected) = &self.test.expect.matched {
            let expected: BTreeSet<&str> = expected.iter().map(String::as_str).collect();
            if expected != got {
                let mut shown = list(got.iter().copied());
                for name in expected.difference(&got) {
                    shown.extend(["\n           ", name, ": ", &self.why_not(name)]);
                }
                self.differ("matched", list(expected.iter().copied()), shown);
            }
        }
        let severity = matched.iter().filter_map(|(_, severity)| *severity).max();
        if self.test.expect.severity.is_some() && self.test.expect.severity != severity {
            let shown = |s: Option<Severity>| s.map_or("none".to_owned(), |s| s.to_string());
            self.differ("severity", shown(self.test.expect.severity), shown(severity));
        }
    }

    fn why_not(&self, name: &str) -> String {
        let Some(playbook) = self.catalog.playbooks.iter().find(|p| p.name == name) else {
            return "there is no such playbook".to_owned();
        };
        let Some(first) = self.test.alerts.first() else { return String::new() };
        let scope = plan::alert_scope(&first.labels, &first.annotations, self.alerts());
        match playbook.answer(&first.labels, &scope) {
            Answer::Matched { .. } => "it matches".to_owned(),
            Answer::No(reason) | Answer::Unknown(reason) => reason,
        }
    }

    /// Carries the run out with recorded answers.
    fn drive(
        &mut self,
        playbook: &Playbook,
        read: &dyn Fn(&str) -> Result<String, String>,
    ) -> Vec<Evidence> {
        let labels = |part: fn(&Alert) -> &Labels| common(self.test.alerts.iter().map(part));
        let alert =
            plan::alert_scope(&labels(|a| &a.labels), &labels(|a| &a.annotations), self.alerts());
        let base = plan::run_scope(alert, self.test.target.as_ref(), json!({ "id": "INC-1" }));
        let mut evidence: Vec<Evidence> = Vec::new();
        let mut used = BTreeSet::new();
        loop {
            let next = plan::progress(playbook, &base, &evidence, &BTreeSet::new());
            evidence.extend(next.skipped);
            for ready in next.ready {
                let step = &playbook.steps[ready.step];
                used.insert(ready.key.clone());
                let result = match fill::unfilled(&step.spec, &ready.scope) {
                    Some(reason) => plan::without(step, ready.key, StepState::Skipped, &reason),
                    None => self.answer(step, ready.key, read),
                };
                evidence.push(result);
            }
            if next.finished {
                break;
            }
        }
        for key in self.test.steps.keys().filter(|key| !used.contains(*key)) {
            let got = evidence.iter().find(|e| e.step == *key).map_or_else(
                || "the playbook never asks for it".to_owned(),
                |e| format!("skipped: {}", e.reason),
            );
            self.differences.push(Difference {
                what: format!("steps.{key}"),
                expected: "that its recorded answer is used".to_owned(),
                got,
            });
        }
        evidence
    }

    fn answer(
        &mut self,
        step: &super::model::StepDef,
        key: String,
        read: &dyn Fn(&str) -> Result<String, String>,
    ) -> Evidence {
        let Some(recorded) = self.test.steps.get(&key) else {
            self.differ(
                format!("steps.{key}"),
                "a recorded answer under `steps:` of the test",
                format!("none, and {} would run", step.spec.kind()),
            );
            return plan::without(step, key, StepState::Skipped, "no recorded answer");
        };
        if let Some(reason) = &recorded.failed {
            return plan::without(step, key, StepState::Failed, reason);
        }
        if let Some(reason) = &recorded.skipped {
            return plan::without(step, key, StepState::Skipped, reason);
        }
        let mut passages = Vec::new();
        for passage in &recorded.passages {
            let text = match &passage.file {
                None => Ok(passage.text.clone()),
                Some(file) => read(file),
            };
            match text {
                Ok(text) => {
                    passages.push(Passage::new(passage.origin, passage.source.clone(), text));
                }
                Err(reason) => {
                    self.differ(format!("steps.{key}"), "a file that can be read", reason);
                }
            }
        }
        let findings = Findings { value: recorded.value.clone(), passages, summary: String::new() };
        Evidence {
            findings,
            state: StepState::Done,
            ..plan::without(step, key, StepState::Done, "")
        }
    }

    fn compare_steps(&mut self, evidence: &[Evidence]) {
        for (key, expected) in &self.test.expect.steps {
            let got = evidence.iter().find(|e| e.step == *key);
            if got.is_none_or(|e| e.state != *expected) {
                let shown = got.map_or("it did not run".to_owned(), |e| {
                    let because =
                        if e.reason.is_empty() { String::new() } else { format!(": {}", e.reason) };
                    format!("{}{because}", word(e.state))
                });
                self.differ(format!("steps.{key}"), word(*expected), shown);
            }
        }
    }

    fn compare_verdicts(&mut self, playbook: &Playbook, evidence: &[Evidence]) {
        let Some(expected) = &self.test.expect.verdicts else { return };
        let verdicts = self.catalog.signatures.diagnose(evidence, &playbook.verdicts);
        let got: Vec<&str> = verdicts.iter().map(|v| v.id.as_str()).collect();
        if *expected != got {
            let mut shown = list(got.iter().copied());
            for verdict in verdicts.iter().filter(|v| !expected.contains(&v.id)) {
                if let Some(quote) = verdict.evidence.first() {
                    let line: String = quote.quote.chars().take(120).collect();
                    shown.extend(["\n           ", &verdict.id, ": ", line.trim()]);
                }
            }
            self.differ("verdicts", list(expected.iter().map(String::as_str)), shown);
        }
    }
}

fn list<'a>(items: impl Iterator<Item = &'a str>) -> String {
    let text = items.collect::<Vec<_>>().join(", ");
    if text.is_empty() { "none".to_owned() } else { text }
}

fn word(state: StepState) -> &'static str {
    match state {
        StepState::Done => "done",
        StepState::Skipped => "skipped",
        StepState::Failed => "failed",
        StepState::Uncertain => "uncertain",
    }
}

#[cfg(test)]
mod tests;
