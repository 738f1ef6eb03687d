//! Labels that something must have, as an input: names as they are, values as templates.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::template::{FillError, Input, Scope};

/// Most labels.
const MAX: usize = 20;

/// Label names and their exact values, templates. All must hold; an empty value stands for a label that is absent.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "BTreeMap<String, Input<String>>", into = "BTreeMap<String, Input<String>>")]
#[schemars(with = "BTreeMap<String, Input<String>>", inline)]
pub struct Labels(BTreeMap<String, Input<String>>);

impl TryFrom<BTreeMap<String, Input<String>>> for Labels {
    type Error = String;

    fn try_from(labels: BTreeMap<String, Input<String>>) -> Result<Self, String> {
        if labels.len() > MAX {
            return Err(format!("there are {} labels; at most {MAX}", labels.len()));
        }
        match labels.keys().find(|name| !is_name(name)) {
            Some(odd) => {
                let shown: String = odd.chars().take(40).collect();
                Err(format!("`{}` is not a label name", shown.escape_debug()))
            }
            None => Ok(Self(labels)),
        }
    }
}

impl From<Labels> for BTreeMap<String, Input<String>> {
    fn from(labels: Labels) -> Self {
        labels.0
    }
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`, as Prometheus has them.
fn is_name(name: &str) -> bool {
    let head = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.len() <= 200
        && name.starts_with(head)
        && name.chars().all(|c| head(c) || c.is_ascii_digit())
}

impl Labels {
    /// The values filled.
    pub fn fill(&self, scope: &Scope) -> Result<BTreeMap<String, String>, FillError> {
        self.0.iter().map(|(name, value)| Ok((name.clone(), value.fill(scope)?))).collect()
    }
}

/// True when `labels` has every wanted value.
pub fn holds(wanted: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(name, value)| labels.get(name).map_or("", String::as_str) == value)
}

/// The labels of the alert in scope; empty when there are none.
pub fn of_alert(scope: &Scope) -> BTreeMap<String, String> {
    let labels = scope.names().get("labels").and_then(serde_json::Value::as_object);
    let texts = labels.into_iter().flatten().filter_map(|(name, value)| {
        value.as_str().filter(|value| !value.is_empty()).map(|v| (name.clone(), v.to_owned()))
    });
    texts.filter(|(name, _)| is_name(name)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_checked_when_the_playbook_is_loaded_and_values_are_filled_later() {
        let read = |yaml: &str| serde_saphyr::from_str::<Labels>(yaml).map_err(|e| e.to_string());
        let labels = read("{ job: spark, pod: \"{{labels.pod}}\" }").unwrap();
        let scope = Scope::default().with("labels", json!({ "pod": "etl-1" }));
        let wanted = labels.fill(&scope).unwrap();
        assert_eq!(wanted["pod"], "etl-1");
        assert!(holds(
            &wanted,
            &[("job", "spark"), ("pod", "etl-1"), ("x", "y")]
                .map(|(n, v)| (n.to_owned(), v.to_owned()))
                .into()
        ));
        assert!(!holds(&wanted, &BTreeMap::new()));
        for bad in ["{ \"a b\": x }", "{ \"\": x }", "{ 'a\"': x }", "{ 1a: x }"] {
            assert!(read(bad).unwrap_err().contains("not a label name"), "{bad}");
        }
    }

    #[test]
    fn the_alerts_own_labels_are_those_that_have_a_value_and_a_name() {
        let scope = Scope::default().with("labels", json!({ "a": "1", "b": "", "c d": "2" }));
        assert_eq!(of_alert(&scope).keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(of_alert(&Scope::default()), BTreeMap::new());
    }
}
