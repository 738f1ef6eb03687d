//! The order of a run, as a pure function of what has ended: which steps can start, which are skipped and why, and when
//! nothing is left. The engine drives it with real steps, `paramedic test` with recorded answers.
//!
//! An execution is named by its key: `logs`, or `logs[2]` for the third item of a `for_each`. The key is the `step` of its
//! [`Evidence`] and the suffix of its idempotency key. Asking twice with the same evidence gives the same answer, so a run
//! continues after a crash from its recorded evidence alone.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::model::{ForEach, Playbook, StepDef};
use crate::domain::{
    evidence::{Evidence, Findings, StepState},
    expr::Truth,
    target::Target,
    template::Scope,
};

/// An execution that can start now.
#[derive(Clone, Debug, PartialEq)]
pub struct Ready {
    /// Index in [`Playbook::steps`].
    pub step: usize,
    /// Its key, unique in the run.
    pub key: String,
    /// What its templates see.
    pub scope: Scope,
}

/// Where a run stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// Start these; each appears until it is running or has evidence.
    pub ready: Vec<Ready>,
    /// Record these: steps that will not run, with the reason.
    pub skipped: Vec<Evidence>,
    /// What the card must say: items dropped from a list.
    pub remarks: Vec<String>,
    /// Every step has ended.
    pub finished: bool,
}

/// What an alert shows to matchers and conditions.
pub fn alert_scope(
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
    alerts: Vec<Value>,
) -> Scope {
    let map = |map: &BTreeMap<String, String>| {
        Value::Object(
            map.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect(),
        )
    };
    Scope::default()
        .with("labels", map(labels))
        .with("annotations", map(annotations))
        .with("alerts", alerts)
}

/// What every step of a run sees, besides the results of other steps: an alert's scope with the target's fields (and
/// `kind`, `label`) and the incident.
#[must_use]
pub fn run_scope(alert: Scope, target: Option<&Target>, incident: Value) -> Scope {
    let scope =
        alert.with("incident", incident).with("steps", Value::Object(serde_json::Map::new()));
    let Some(target) = target else { return scope };
    let Ok(Value::Object(tagged)) = serde_json::to_value(target) else { return scope };
    let Some((kind, Value::Object(mut fields))) = tagged.into_iter().next() else { return scope };
    fields.insert("kind".to_owned(), kind.into());
    fields.insert("label".to_owned(), target.label().into());
    scope.with("target", fields)
}

/// What can happen next. `base` is the run's scope, `evidence` all that has ended, `running` the keys in flight.
pub fn progress(
    playbook: &Playbook,
    base: &Scope,
    evidence: &[Evidence],
    running: &BTreeSet<String>,
) -> Progress {
    let mut walk = Walk {
        scope: base.clone(),
        ended: evidence.iter().map(|e| (e.step.clone(), e.clone())).collect(),
        running,
        progress: Progress::default(),
    };
    let mut open: Vec<usize> = (0..playbook.steps.len()).collect();
    loop {
        let before = open.len();
        let mut next = Vec::new();
        for index in open {
            let step = &playbook.steps[index];
            // A step listed twice would be started twice, so each is looked at once per pass and only when free.
            let free = step.needs.iter().all(|need| walk.is_over(&playbook.steps[*need].id));
            if !(free && walk.visit(index, step)) {
                next.push(index);
            }
        }
        open = next;
        if open.len() == before {
            break;
        }
        walk.progress.ready.clear();
        walk.progress.remarks.dedup();
    }
    walk.progress.finished = open.is_empty();
    walk.progress
}

/// Evidence for every execution that has none: the run ends now, for this reason.
pub fn abandon(
    playbook: &Playbook,
    base: &Scope,
    evidence: &[Evidence],
    reason: &str,
) -> Vec<Evidence> {
    let mut all = evidence.to_vec();
    loop {
        let Progress { ready, skipped, finished, .. } =
            progress(playbook, base, &all, &BTreeSet::new());
        all.extend(skipped);
        for execution in ready {
            let step = &playbook.steps[execution.step];
            all.push(without(step, execution.key, StepState::Skipped, reason));
        }
        if finished {
            return all.split_off(evidence.len());
        }
    }
}

/// Evidence of an execution that brought nothing.
pub fn without(step: &StepDef, key: String, state: StepState, reason: &str) -> Evidence {
    Evidence {
        step: key,
        kind: step.spec.kind().to_owned(),
        state,
        reason: reason.to_owned(),
        findings: Findings::default(),
        duration_ms: 0,
    }
}

struct Walk<'a> {
    scope: Scope,
    ended: BTreeMap<String, Evidence>,
    running: &'a BTreeSet<String>,
    progress: Progress,
}

impl Walk<'_> {
    /// True once the step's result (or the lack of one) stands in the scope.
    fn is_over(&self, id: &str) -> bool {
        self.scope.missing().contains_key(id)
            || self.scope.names().get("steps").is_some_and(|steps| steps.get(id).is_some())
    }

    /// Looks at a step whose needs have ended; true when it has ended too.
    fn visit(&mut self, index: usize, step: &StepDef) -> bool {
        if self.ended.contains_key(&step.id) {
            return self.close(step, std::slice::from_ref(&step.id), false);
        }
        if let Some(reason) = self.refusal(step) {
            return self.skip(step, &reason);
        }
        let Some(each) = &step.for_each else {
            let key = step.id.clone();
            self.offer(index, key, self.scope.clone());
            return false;
        };
        match self.items(each) {
            Ok(items) => self.expand(index, step, each, items),
            Err(reason) => self.skip(step, &reason),
        }
    }

    /// Why its condition keeps it from running.
    fn refusal(&self, step: &StepDef) -> Option<String> {
        let condition = step.condition.as_ref()?;
        match condition.test(&self.scope) {
            Truth::Yes => None,
            Truth::No => Some(format!("`{}` does not hold", condition.source())),
            Truth::Unknown(reason) => {
                Some(format!("`{}` is not known: {reason}", condition.source()))
            }
        }
    }

    fn items(&self, each: &ForEach) -> Result<Vec<Value>, String> {
        let source = each.list.source();
        match each.list.value(&self.scope) {
            Ok(Value::Array(items)) if items.is_empty() => Err(format!("`{source}` is empty")),
            Ok(Value::Array(items)) => Ok(items),
            Ok(_) => Err(format!("`{source}` is not a list")),
            Err(reason) => Err(format!("`{source}` is not known: {reason}")),
        }
    }

    fn expand(&mut self, index: usize, step: &StepDef, each: &ForEach, items: Vec<Value>) -> bool {
        if items.len() > each.max {
            let remark =
                format!("step {} looked at {} of {} items", step.id, each.max, items.len());
            if !self.progress.remarks.contains(&remark) {
                self.progress.remarks.push(remark);
            }
        }
        let mut keys = Vec::new();
        for (nth, item) in items.into_iter().take(each.max).enumerate() {
            let key = format!("{}[{nth}]", step.id);
            keys.push(key.clone());
            if !self.ended.contains_key(&key) {
                self.offer(index, key, self.scope.clone().with(each.binding.clone(), item));
            }
        }
        keys.iter().all(|key| self.ended.contains_key(key)) && self.close(step, &keys, true)
    }

    fn offer(&mut self, step: usize, key: String, scope: Scope) {
        if !self.running.contains(&key) {
            self.progress.ready.push(Ready { step, key, scope });
        }
    }

    fn skip(&mut self, step: &StepDef, reason: &str) -> bool {
        let evidence = without(step, step.id.clone(), StepState::Skipped, reason);
        self.progress.skipped.push(evidence.clone());
        self.ended.insert(step.id.clone(), evidence);
        self.close(step, std::slice::from_ref(&step.id), false)
    }

    /// Puts the step's result into the scope: a value, a list in the order of its items, or why there is none.
    fn close(&mut self, step: &StepDef, keys: &[String], is_list: bool) -> bool {
        let mut values = Vec::new();
        let mut reason = None;
        for key in keys {
            let Some(evidence) = self.ended.get(key) else { return false };
            if evidence.state == StepState::Done {
                values.push(evidence.findings.value.clone());
            } else {
                reason.get_or_insert_with(|| why(evidence));
                values.push(Value::Null);
            }
        }
        let result = match reason {
            Some(reason) if values.iter().all(Value::is_null) => Err(reason),
            _ if is_list => Ok(Value::Array(values)),
            _ => Ok(values.pop().unwrap_or_default()),
        };
        self.scope.set_step(&step.id, result);
        true
    }
}

fn why(evidence: &Evidence) -> String {
    match evidence.state {
        StepState::Done => String::new(),
        StepState::Skipped => format!("it was skipped, {}", evidence.reason),
        StepState::Failed => format!("it failed, {}", evidence.reason),
        StepState::Uncertain => format!("its outcome is uncertain, {}", evidence.reason),
    }
}

#[cfg(test)]
mod tests;
