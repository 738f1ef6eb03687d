//! Text with holes: `{{labels.pod}}`. Handlebars, in the strict form that fills step inputs.
//!
//! [`Input`] is a templated step input of a type: its template is checked when the playbook is loaded, filled when the
//! step runs, and parsed into the type then. A hole without a value skips the step with the reason; it never becomes an
//! empty name or a selector that matches everything. Chat and page templates are lax and live with their channels.

use std::{fmt, marker::PhantomData, sync::OnceLock};

use handlebars::Handlebars;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap as _};
use serde_json::{Map, Value};

/// Longest template source, bytes.
pub const MAX_SOURCE: usize = 16 * 1024;

/// The names a template or expression sees: `labels`, `annotations`, `alerts`, `target`, `incident`, `steps`, `verdict`
/// and whatever `for_each` binds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scope(Map<String, Value>);

impl Scope {
    /// This scope with one more name.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.0.insert(name.into(), value.into());
        self
    }

    /// Adds or replaces a name.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        self.0.insert(name.into(), value.into());
    }

    /// All names.
    pub fn names(&self) -> &Map<String, Value> {
        &self.0
    }
}

/// A typed value that a filled template must parse into.
pub trait Filled: Sized {
    /// What it is, in the words of an error message: `a Kubernetes name`.
    const WHAT: &'static str;

    /// Parses the filled text.
    fn parse(text: &str) -> Result<Self, String>;
}

impl Filled for String {
    const WHAT: &'static str = "text";

    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

/// A Kubernetes object name (DNS-1123 subdomain, at most 253 bytes), never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(pub String);

impl Filled for Name {
    const WHAT: &'static str = "a Kubernetes name";

    fn parse(text: &str) -> Result<Self, String> {
        let label = |part: &str| {
            let edge = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
            part.bytes().all(|b| edge(b) || b == b'-')
                && part.bytes().next().is_some_and(edge)
                && part.bytes().last().is_some_and(edge)
        };
        if text.len() <= 253 && text.split('.').all(label) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("`{}` is not a Kubernetes name", text.escape_debug()))
        }
    }
}

/// A templated input of type `T`.
pub struct Input<T> {
    source: String,
    line: u64,
    column: u64,
    kind: PhantomData<fn() -> T>,
}

/// Why an input could not be filled; the step is skipped with this reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FillError {
    /// A hole has no value.
    #[error("`{template}` has no value here: {reason}")]
    NoValue {
        /// The template's source.
        template: String,
        /// Which name was missing.
        reason: String,
    },
    /// The filled text is not of the input's type.
    #[error("`{template}` became something unusable: {reason}")]
    Unusable {
        /// The template's source.
        template: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl<T: Filled> Input<T> {
    /// Fills the template and parses the result.
    pub fn fill(&self, scope: &Scope) -> Result<T, FillError> {
        let text = fill(&self.source, scope)
            .map_err(|reason| FillError::NoValue { template: self.source.clone(), reason })?;
        T::parse(&text)
            .map_err(|reason| FillError::Unusable { template: self.source.clone(), reason })
    }
}

impl<T> Input<T> {
    /// The template as written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Line and column in the file, from 1; zero when it did not come from a file.
    pub fn position(&self) -> (u64, u64) {
        (self.line, self.column)
    }
}

impl<T> From<&str> for Input<T> {
    fn from(source: &str) -> Self {
        Self { source: source.to_owned(), line: 0, column: 0, kind: PhantomData }
    }
}

impl<T> Clone for Input<T> {
    fn clone(&self) -> Self {
        Self {
            source: self.source.clone(),
            line: self.line,
            column: self.column,
            kind: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Input<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Input({:?} at {}:{})", self.source, self.line, self.column)
    }
}

impl<T> PartialEq for Input<T> {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

/// Keys under which an [`Input`] or expression serialises, so that the linter finds every one with its position by
/// walking a serialised step. Internal: it never leaves the process.
pub mod marker {
    /// A template's source.
    pub const INPUT: &str = "$input";
    /// An expression's source.
    pub const EXPR: &str = "$expr";
    /// Line, from 1.
    pub const LINE: &str = "$line";
    /// Column, from 1.
    pub const COLUMN: &str = "$column";
}

impl<T> Serialize for Input<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry(marker::INPUT, &self.source)?;
        map.serialize_entry(marker::LINE, &self.line)?;
        map.serialize_entry(marker::COLUMN, &self.column)?;
        map.end()
    }
}

impl<'de, T: Filled> Deserialize<'de> for Input<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = serde_saphyr::Spanned::<String>::deserialize(deserializer)?;
        check(&text.value).map_err(de::Error::custom)?;
        if !text.value.contains("{{") {
            T::parse(&text.value).map_err(de::Error::custom)?;
        }
        let at = text.referenced;
        Ok(Self { source: text.value, line: at.line(), column: at.column(), kind: PhantomData })
    }
}

impl<T: Filled> JsonSchema for Input<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Template<{}>", T::WHAT).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "string", "description": format!("A template that becomes {}.", T::WHAT) })
    }
}

fn strict() -> &'static Handlebars<'static> {
    static REGISTRY: OnceLock<Handlebars<'static>> = OnceLock::new();
    REGISTRY.get_or_init(|| {
        let mut registry = Handlebars::new();
        registry.set_strict_mode(true);
        registry.register_escape_fn(handlebars::no_escape);
        registry
    })
}

/// Checks a template's size and syntax.
pub fn check(source: &str) -> Result<(), String> {
    if source.len() > MAX_SOURCE {
        return Err(format!("this template is {} bytes long; at most {MAX_SOURCE}", source.len()));
    }
    handlebars::Template::compile(source).map(drop).map_err(|error| error.reason().to_string())
}

fn fill(source: &str, scope: &Scope) -> Result<String, String> {
    if !source.contains("{{") {
        return Ok(source.to_owned());
    }
    strict().render_template(source, scope.names()).map_err(|error| error.reason().to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_missing_value_is_an_error_that_names_the_template() {
        let input = Input::<Name>::from("{{labels.pod}}");
        let error = input.fill(&Scope::default().with("labels", json!({}))).unwrap_err();
        assert!(matches!(error, FillError::NoValue { .. }), "{error}");
    }

    #[test]
    fn a_hostile_label_never_becomes_a_name() {
        let input = Input::<Name>::from("{{labels.pod}}");
        for bad in ["", "a/../b", "A", "a b", "-a", "a-", "a,b=c", "x\ny", &"a".repeat(254)] {
            let scope = Scope::default().with("labels", json!({ "pod": bad }));
            assert!(input.fill(&scope).is_err(), "{bad:?}");
        }
        let scope = Scope::default().with("labels", json!({ "pod": "etl-driver.1" }));
        assert_eq!(input.fill(&scope).unwrap().0, "etl-driver.1");
    }
}
