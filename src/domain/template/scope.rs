//! What templates and expressions can see.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The names a template or expression sees: `labels`, `annotations`, `alerts`, `target`, `incident`, `steps`, `verdict`
/// and whatever `for_each` binds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scope {
    names: Map<String, Value>,
    missing: BTreeMap<String, String>,
}

impl Scope {
    /// This scope with one more name.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.set(name, value);
        self
    }

    /// Adds or replaces a name.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        self.names.insert(name.into(), value.into());
    }

    /// Adds what a step brought as `steps.<id>`, or why it brought nothing: `null` then, and whatever asks for it says
    /// the reason.
    pub fn set_step(&mut self, id: &str, result: Result<Value, String>) {
        let value = match result {
            Ok(value) => {
                self.missing.remove(id);
                value
            }
            Err(reason) => {
                self.missing.insert(id.to_owned(), reason);
                Value::Null
            }
        };
        let steps = self.names.entry("steps").or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(steps) = steps {
            steps.insert(id.to_owned(), value);
        }
    }

    /// All names.
    pub fn names(&self) -> &Map<String, Value> {
        &self.names
    }

    /// Ids of steps that brought nothing, and why.
    pub fn missing(&self) -> &BTreeMap<String, String> {
        &self.missing
    }
}
