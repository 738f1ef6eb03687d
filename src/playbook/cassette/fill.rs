//! Whether a step's inputs can be filled, as the step itself fills them: each template must become what its input's type
//! takes, be it a name, a number or a list.
//!
//! Only the kind knows these types, and only while it reads its inputs. So each template is filled as text, and the inputs
//! are read once more with that text in its place.

use serde_json::{Value, json};

use crate::{
    domain::template::{FillError, Input, Scope, marker},
    playbook::{lint::steps::uses, step::RawStep, yaml},
    steps::Spec,
};

/// Why a template has no value that its input takes; the engine would skip the step with the same reason.
pub(super) fn unfilled(spec: &Spec, scope: &Scope) -> Option<String> {
    let inputs = spec.inputs().ok()?;
    let templates = uses(&inputs).into_iter().filter(|used| used.is_template);
    templates.enumerate().find_map(|(nth, used)| {
        let text = match Input::<String>::from(used.source.as_str()).fill(scope) {
            Ok(text) => text,
            Err(error) => return Some(error.to_string()),
        };
        // Read as an input it would be a template, and no value.
        if text.contains("{{") {
            return None;
        }
        let reason = read(spec.kind(), &written(&inputs, &mut Some(nth), &text)).err()?;
        Some(FillError::refused(&used.source, &text, reason).to_string())
    })
}

/// Reads inputs as a playbook's step.
fn read(kind: &str, inputs: &Value) -> Result<RawStep, String> {
    let step = json!({ "id": "filled", kind: inputs }).to_string();
    yaml::read("", &step).map_err(|found| found.message)
}

/// Serialised inputs as somebody would write them, with `text` in place of the template that `left` counts down to; in the
/// order of [`uses`].
fn written(value: &Value, left: &mut Option<usize>, text: &str) -> Value {
    match value {
        Value::Object(map) => {
            if let Some(source) = map.get(marker::INPUT) {
                let here = *left == Some(0);
                *left = left.and_then(|left| left.checked_sub(1));
                return if here { text.into() } else { source.clone() };
            }
            if let Some(source) = map.get(marker::EXPR) {
                return source.clone();
            }
            map.iter().map(|(key, inner)| (key.clone(), written(inner, left, text))).collect()
        }
        Value::Array(items) => items.iter().map(|inner| written(inner, left, text)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use schemars::SchemaGenerator;

    use super::*;

    #[test]
    fn every_kind_s_inputs_can_be_written_and_read_again() {
        for entry in crate::steps::catalogue(&mut SchemaGenerator::default()) {
            let example = entry.example.replace('\n', "\n  ");
            let step = format!("id: a\n{}:\n  {example}\n", entry.kind);
            let spec = yaml::read::<RawStep>("", &step).unwrap().spec.unwrap();
            let inputs = spec.inputs().unwrap();
            let again = read(entry.kind, &written(&inputs, &mut None, "")).unwrap();
            assert_eq!(
                written(&again.spec.unwrap().inputs().unwrap(), &mut None, ""),
                written(&inputs, &mut None, ""),
                "{}",
                entry.kind
            );
        }
    }

    #[test]
    fn a_template_becomes_what_its_own_input_takes_or_the_step_is_skipped() {
        let unfilled = |step: &str, pod: &str| {
            let spec =
                yaml::read::<RawStep>("", &format!("id: a\n{step}\n")).unwrap().spec.unwrap();
            let scope = Scope::default().with("labels", json!({ "pod": pod, "well": "a:1" }));
            unfilled(&spec, &scope).unwrap_or_else(|| "filled".to_owned())
        };
        let log = r#"kube.logs: { pod: "{{labels.pod}}", namespace: "{{labels.pod}}" }"#;
        let port = r#"net.tcp: { address: "{{labels.pod}}" }"#;
        let text = r#"incident.note: { text: "{{labels.pod}}" }"#;
        let inner = format!("flow.wait_until: {{ until: result.open, step: {{ {port} }} }}");
        assert_eq!(unfilled(log, "api-0"), "filled");
        assert_eq!(unfilled(port, "10.0.0.1:9083"), "filled");
        assert_eq!(unfilled(text, ""), "filled");
        assert_eq!(unfilled(text, "{{x}}"), "filled");
        insta::assert_snapshot!(
            [unfilled(log, "Not A Name"), unfilled(log, ""), unfilled(port, "api-0"), unfilled(&inner, "api-0")].join("\n"),
            @r"
            `{{labels.pod}}` became something unusable: `Not A Name` is not a Kubernetes name
            `{{labels.pod}}` has no value here: it is empty, as a missing label is
            `{{labels.pod}}` became something unusable: `api-0` is not host:port
            `{{labels.pod}}` became something unusable: `api-0` is not host:port
            "
        );
    }
}
