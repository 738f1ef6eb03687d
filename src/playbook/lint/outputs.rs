//! What each kind of step brings back, so that `steps.pods.faild` is a mistake found when the playbook is read.

use std::{collections::BTreeMap, sync::OnceLock};

use schemars::SchemaGenerator;
use serde_json::Value;

use crate::{domain::suggest::closest, steps};

/// Schemas of all outputs.
struct Outputs {
    kinds: BTreeMap<&'static str, Value>,
    definitions: Value,
}

fn outputs() -> &'static Outputs {
    static OUTPUTS: OnceLock<Outputs> = OnceLock::new();
    OUTPUTS.get_or_init(|| {
        let mut generator = SchemaGenerator::default();
        let kinds = steps::catalogue(&mut generator)
            .into_iter()
            .map(|entry| (entry.kind, entry.output.to_value()))
            .collect();
        let definitions = Value::Object(generator.take_definitions(true));
        Outputs { kinds, definitions }
    })
}

/// Checks the path behind `steps.<id>` of a step of this kind; the error says what there is. Silent when the schema
/// leaves it open.
pub(super) fn check(kind: &str, path: &[String], is_list: bool) -> Result<(), String> {
    let Some(schema) = outputs().kinds.get(kind) else { return Ok(()) };
    let path = match path.split_first() {
        Some((first, rest)) if is_list => {
            if first.parse::<usize>().is_err() {
                return Err(format!(
                    "a step with `for_each` brings a list, which has no `{first}`; write [0], or use a filter"
                ));
            }
            rest
        }
        _ => path,
    };
    walk(schema, path, kind)
}

fn walk(schema: &Value, path: &[String], owner: &str) -> Result<(), String> {
    let Some((part, rest)) = path.split_first() else { return Ok(()) };
    let Some(schema) = resolve(schema, 0) else { return Ok(()) };
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        if let Some(inner) = properties.get(part) {
            return walk(inner, rest, part);
        }
        if schema.get("additionalProperties").is_some_and(|more| *more != Value::Bool(false)) {
            return Ok(());
        }
        let names: Vec<&str> = properties.keys().map(String::as_str).collect();
        let hint = closest(part, &names).map_or_else(
            || format!("there is {}", names.join(", ")),
            |known| format!("did you mean `{known}`?"),
        );
        return Err(format!("`{owner}` has no `{part}`; {hint}"));
    }
    let is = |kind: &str| match schema.get("type") {
        Some(Value::String(own)) => own == kind,
        Some(Value::Array(own)) => own.iter().all(|one| one == kind || one == "null"),
        _ => false,
    };
    if is("array") {
        if part.parse::<usize>().is_err() {
            return Err(format!(
                "`{owner}` is a list, which has no `{part}`; write [0], or use a filter"
            ));
        }
        return schema.get("items").map_or(Ok(()), |items| walk(items, rest, owner));
    }
    for scalar in ["string", "integer", "number", "boolean"] {
        if is(scalar) {
            return Err(format!("`{owner}` is a {scalar}, which has no `{part}`"));
        }
    }
    Ok(())
}

/// Follows references and the one branch of an `Option`; `None` when several kinds are possible.
fn resolve(schema: &Value, depth: usize) -> Option<&Value> {
    if depth > 16 {
        return None;
    }
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let name = reference.rsplit('/').next()?;
        return resolve(outputs().definitions.get(name)?, depth + 1);
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(branches) = schema.get(key).and_then(Value::as_array) {
            let mut real = branches.iter().filter(|b| b.get("type").is_none_or(|t| t != "null"));
            let one = real.next()?;
            return if real.next().is_none() { resolve(one, depth + 1) } else { None };
        }
    }
    Some(schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(path: &[&str], is_list: bool) -> String {
        let path: Vec<String> = path.iter().map(|p| (*p).to_owned()).collect();
        check("incident.note", &path, is_list).err().unwrap_or_default()
    }

    #[test]
    fn a_field_that_no_result_has_is_named_with_what_there_is() {
        assert_eq!(said(&["text"], false), "");
        assert_eq!(said(&[], false), "");
        assert_eq!(said(&["txet"], false), "`incident.note` has no `txet`; did you mean `text`?");
        assert_eq!(said(&["text", "x"], false), "`text` is a string, which has no `x`");
        assert_eq!(said(&["0", "text"], true), "");
        assert!(said(&["text"], true).contains("brings a list"));
        assert_eq!(check("no.such", &["x".to_owned()], false), Ok(()));
    }
}
