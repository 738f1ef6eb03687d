//! Text with holes: `{{labels.pod}}`. Handlebars, in the strict form that fills step inputs.
//!
//! [`Input`] is a templated step input of a type: its template is checked when the playbook is loaded ([`walk`]), filled
//! when the step runs, and parsed into the type then. A hole without a value skips the step with the reason; it never
//! becomes an empty name or a selector that matches everything. Labels and annotations that are absent are "", as in
//! Alertmanager, and the typed inputs refuse "". [`Text`] is the lax form for titles and remedies of signatures. Escaping
//! belongs to whatever the text goes into.

mod helpers;
mod scope;
mod walk;

use std::{fmt, marker::PhantomData};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap as _};

pub use self::{
    helpers::MAX_OUTPUT,
    scope::Scope,
    walk::{Reference, TemplateError, references},
};

/// Longest template source, bytes.
pub const MAX_SOURCE: usize = 16 * 1024;

/// Deepest nesting of blocks, and of brackets inside one hole.
pub const MAX_DEPTH: usize = 16;

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

impl FillError {
    /// The type refuses what a template became.
    pub fn refused(template: &str, text: &str, reason: String) -> Self {
        let template = template.to_owned();
        if text.is_empty() {
            // The usual case: the alert lacks the label. Say that, not that "" is no name.
            return Self::NoValue { template, reason: EMPTY.to_owned() };
        }
        Self::Unusable { template, reason }
    }
}

/// What is said of a template that became nothing.
const EMPTY: &str = "it is empty, as a missing label is";

impl<T: Filled> Input<T> {
    /// Fills the template and parses the result.
    pub fn fill(&self, scope: &Scope) -> Result<T, FillError> {
        let text = fill(&self.source, scope)
            .map_err(|reason| FillError::NoValue { template: self.source.clone(), reason })?;
        T::parse(&text).map_err(|reason| FillError::refused(&self.source, &text, reason))
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

/// Checks a template's size, syntax, helpers and depth. Which names exist depends on the place: see [`references`].
pub fn check(source: &str) -> Result<(), String> {
    references(source).map(drop).map_err(|error| error.message)
}

fn fill(source: &str, scope: &Scope) -> Result<String, String> {
    if !source.contains("{{") {
        return Ok(source.to_owned());
    }
    let references = references(source).map_err(|error| error.message)?;
    let mut names = scope.names().clone();
    for reference in references {
        match reference.path.as_slice() {
            [root, name, ..] if root == "labels" || root == "annotations" => {
                if let Some(map) = names.get_mut(root).and_then(serde_json::Value::as_object_mut) {
                    map.entry(name.as_str()).or_insert_with(|| "".into());
                }
            }
            [root, id, ..] if root == "steps" && !reference.guarded => {
                if let Some(reason) = scope.missing().get(id) {
                    return Err(format!("step `{id}` brought nothing: {reason}"));
                }
            }
            _ => {}
        }
    }
    helpers::render_strict(source, &names)
}

/// A checked template that leaves holes without a value empty; for titles and remedies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text(String);

impl Text {
    /// As it was written.
    pub fn source(&self) -> &str {
        &self.0
    }

    /// Checks it; its holes may read only these names.
    pub fn parse(source: &str, roots: &[&str]) -> Result<Self, String> {
        for reference in references(source).map_err(|error| error.message)? {
            let root = reference.path.first().map_or("", String::as_str);
            if !roots.contains(&root) {
                let hint = super::suggest::closest(root, roots).map_or_else(
                    || format!("there is {}", roots.join(", ")),
                    |n| format!("did you mean `{n}`?"),
                );
                return Err(format!("there is no `{root}` here; {hint}"));
            }
        }
        Ok(Self(source.to_owned()))
    }

    /// Fills it; the source itself should rendering fail.
    pub fn fill(&self, names: &serde_json::Map<String, serde_json::Value>) -> String {
        helpers::render_lax(&self.0, names).unwrap_or_else(|_| self.0.clone())
    }
}

#[cfg(test)]
mod tests;
