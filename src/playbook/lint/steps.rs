//! The steps of a playbook: their ids, what they refer to, and hence their order.

use serde_json::Value;
use serde_saphyr::Spanned;

use super::{Lint, Place, graph, outputs, place};
use crate::{
    domain::{
        expr::Expr,
        suggest::closest,
        template::{self, Reference, marker},
    },
    playbook::{
        model::{ForEach, StepDef},
        step::{RawForEach, RawStep},
    },
    steps::{KINDS, Spec},
};

/// Most steps of a playbook.
const MOST_STEPS: usize = 50;

/// Names every step sees.
const ROOTS: &[&str] = &["labels", "annotations", "alerts", "target", "incident", "steps"];

/// Names no `for_each` may bind.
const TAKEN: &[&str] =
    &["labels", "annotations", "alerts", "target", "incident", "steps", "verdict", "max", "this"];

/// A template or expression somewhere in a step, with what it reads.
pub(in crate::playbook) struct Use {
    pub(in crate::playbook) source: String,
    pub(in crate::playbook) at: Place,
    pub(in crate::playbook) references: Vec<Reference>,
    pub(in crate::playbook) is_template: bool,
}

impl Use {
    fn expr(expr: &Expr) -> Self {
        Self {
            source: expr.source().to_owned(),
            at: expr.position(),
            references: expr.references().to_vec(),
            is_template: false,
        }
    }
}

/// Every template and expression in serialised inputs.
pub(in crate::playbook) fn uses(value: &Value) -> Vec<Use> {
    let mut found = Vec::new();
    collect(value, &mut found);
    found
}

fn collect(value: &Value, found: &mut Vec<Use>) {
    match value {
        Value::Object(map) => {
            let text = |key: &str| map.get(key).and_then(Value::as_str);
            let number = |key: &str| map.get(key).and_then(Value::as_u64).unwrap_or(0);
            let at = (number(marker::LINE), number(marker::COLUMN));
            if let Some(source) = text(marker::INPUT) {
                // Syntax was checked when it was read.
                let references = template::references(source).unwrap_or_default();
                found.push(Use { source: source.to_owned(), at, references, is_template: true });
            } else if let Some(source) = text(marker::EXPR) {
                let references = Expr::parse(source).map(|e| e.references().to_vec());
                let references = references.unwrap_or_default();
                found.push(Use { source: source.to_owned(), at, references, is_template: false });
            } else {
                map.values().for_each(|inner| collect(inner, found));
            }
        }
        Value::Array(items) => items.iter().for_each(|inner| collect(inner, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What the checks need to know of every step.
struct Known {
    id: String,
    kind: &'static str,
    is_list: bool,
}

impl Lint<'_> {
    pub(super) fn steps(&mut self, raw: Vec<RawStep>, name: Place) -> Vec<StepDef> {
        if raw.is_empty() || raw.len() > MOST_STEPS {
            self.error(
                name,
                &format!("a playbook has 1 to {MOST_STEPS} steps; this one has {}", raw.len()),
            );
        }
        let known: Vec<Known> = raw
            .iter()
            .map(|step| Known {
                id: step.id.value.clone(),
                kind: step.spec.as_ref().map_or("", Spec::kind),
                is_list: step.for_each.is_some(),
            })
            .collect();
        let mut places = Vec::new();
        let mut needs = Vec::new();
        let mut steps = Vec::new();
        for (index, step) in raw.into_iter().enumerate() {
            places.push(place(&step.id.referenced));
            let (wanted, step) = self.step(index, step, &known);
            needs.push(wanted);
            steps.extend(step);
        }
        if let Some(circle) = graph::circle(&needs) {
            let ids: Vec<&str> = circle.iter().map(|index| known[*index].id.as_str()).collect();
            let message = format!(
                "these steps wait for each other: {}; remove one of the references",
                ids.join(" → ")
            );
            self.error(places[circle[0]], &message);
        }
        steps
    }

    /// What it waits for, and the step unless it has no kind.
    fn step(
        &mut self,
        index: usize,
        raw: RawStep,
        known: &[Known],
    ) -> (Vec<usize>, Option<StepDef>) {
        let RawStep { id, condition, for_each, needs, timeout, retries, spec, strange } = raw;
        for (key, message) in &strange {
            self.error(place(&key.referenced), message);
        }
        if spec.is_none() && strange.is_empty() {
            let message = format!("this step has no kind; one of {}", KINDS.join(", "));
            self.error(place(&id.referenced), &message);
        }
        self.id(index, &id, known);
        let mut wanted = Vec::new();
        for need in &needs {
            let at = place(&need.referenced);
            wanted.extend(self.find(index, &need.value, at, known));
        }
        let mut outer: Vec<Use> = condition.iter().map(Use::expr).collect();
        outer.extend(for_each.iter().map(|each| Use::expr(&each.list)));
        for use_of in outer {
            wanted.extend(self.used(index, &use_of, ROOTS, known));
        }
        let mut roots = ROOTS.to_vec();
        if spec.as_ref().is_some_and(|spec| spec.kind() == "flow.wait_until") {
            roots.push("result");
        }
        roots.extend(for_each.iter().map(|each| each.binding.value.as_str()));
        match spec.as_ref().map(Spec::inputs) {
            Some(Ok(inputs)) => {
                for use_of in uses(&inputs) {
                    wanted.extend(self.used(index, &use_of, &roots, known));
                }
            }
            Some(Err(error)) => self.error(place(&id.referenced), &error.to_string()),
            None => {}
        }
        wanted.sort_unstable();
        wanted.dedup();
        let second = std::time::Duration::from_secs(1);
        let for_each = for_each.map(|each| self.for_each(each));
        let timeout = self.span(timeout, second, second * 300, second * 20);
        let retries = self.number(retries, 0, 5, 1);
        let step = spec.map(|spec| StepDef {
            id: id.value,
            condition,
            for_each,
            needs: wanted.clone(),
            timeout,
            retries,
            effect: spec.effect(),
            spec,
        });
        (wanted, step)
    }

    fn id(&mut self, index: usize, id: &Spanned<String>, known: &[Known]) {
        let at = place(&id.referenced);
        if !is_name(&id.value) {
            let message = "this is not a step's id; write lower-case letters, digits and underscores: driver_logs";
            self.error(at, message);
        }
        if known[..index].iter().any(|other| other.id == id.value) {
            self.error(at, &format!("there are two steps `{}`; rename one of them", id.value));
        }
    }

    fn for_each(&mut self, raw: RawForEach) -> ForEach {
        let at = place(&raw.binding.referenced);
        if !is_name(&raw.binding.value) || TAKEN.contains(&raw.binding.value.as_str()) {
            let message = format!(
                "`{}` cannot be bound; choose another name, such as `item`",
                raw.binding.value
            );
            self.error(at, &message);
        }
        ForEach { binding: raw.binding.value, list: raw.list, max: self.number(raw.max, 1, 50, 5) }
    }

    /// Checks what one text reads; the steps it waits for.
    fn used(&mut self, index: usize, used: &Use, roots: &[&str], known: &[Known]) -> Vec<usize> {
        self.roots(&used.references, &used.source, used.at, roots);
        let mut wanted = Vec::new();
        for reference in &used.references {
            let [root, rest @ ..] = reference.path.as_slice() else { continue };
            if root != "steps" {
                continue;
            }
            let at = self.inside(used.at, &used.source, reference.offset);
            let Some((id, path)) = rest.split_first() else {
                self.error(at, "this reads all steps at once; write steps.<id>");
                continue;
            };
            let Some(found) = self.find(index, id, at, known) else { continue };
            if let Err(message) = outputs::check(known[found].kind, path, known[found].is_list) {
                self.error(at, &format!("step `{id}`: {message}"));
            }
            wanted.push(found);
        }
        wanted
    }

    fn find(&mut self, index: usize, id: &str, at: Place, known: &[Known]) -> Option<usize> {
        let found = known.iter().position(|other| other.id == id);
        if found == Some(index) {
            self.error(at, &format!("step `{id}` waits for itself; refer to another step"));
            return None;
        }
        if found.is_none() {
            let mut ids: Vec<&str> = known.iter().map(|other| other.id.as_str()).collect();
            ids.dedup();
            let hint = closest(id, &ids).map_or_else(
                || format!("there is {}", ids.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            self.error(at, &format!("there is no step `{id}`; {hint}"));
        }
        found
    }
}

fn is_name(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}
