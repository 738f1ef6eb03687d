//! Conditions and lists in playbooks: `labels.severity == "critical"`, `steps.pods.failed`.
//!
//! The language is minijinja's expressions, fenced in. An expression is checked when it is read ([`lint`]): only known
//! filters, tests and functions, no methods, literal regexes, and no `<` on a label that is still text. It then runs with
//! bounded fuel and strict undefined values. What it cannot know it says ([`Truth::Unknown`]); it never answers "no" to a
//! question whose evidence is missing. Labels and annotations are the one exception, as in Alertmanager: absent is "".
//!
//! Which names exist depends on the place (a `for_each` binds one more), so the caller checks [`Expr::references`].

mod eval;
mod lint;

use std::{fmt, sync::Arc};

use minijinja::machinery::parse_expr;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap as _};

use super::template::{Reference, Scope, marker};

/// Longest source, bytes. Bounds the parser's recursion together with [`MAX_DEPTH`].
pub const MAX_SOURCE: usize = 1024;

/// Deepest nesting of brackets.
pub const MAX_DEPTH: usize = 32;

/// A checked expression.
#[derive(Clone)]
pub struct Expr {
    source: Arc<str>,
    line: u64,
    column: u64,
    references: Arc<[Reference]>,
    compiled: Arc<eval::Compiled>,
}

/// What a condition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    Yes,
    /// It does not hold.
    No,
    /// Not known, and why: a step it asks failed, a value is missing. Counts as "does not hold", and is shown.
    Unknown(String),
}

/// Why an expression was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExprError {
    /// What is wrong and what to write instead.
    pub message: String,
    /// Byte offset in the source.
    pub offset: usize,
}

impl ExprError {
    fn new(message: impl Into<String>, offset: usize) -> Self {
        Self { message: message.into(), offset }
    }
}

impl Expr {
    /// Reads and checks an expression. Names are not checked here: see [`Expr::references`].
    pub fn parse(source: &str) -> Result<Self, ExprError> {
        check_size(source)?;
        let tree = parse_expr(source).map_err(|error| {
            let offset = error.range().map_or(0, |range| range.start);
            ExprError::new(error.detail().unwrap_or("this is not an expression"), offset)
        })?;
        let references = lint::check(source, &tree)?.into();
        let compiled = eval::compile(source)?;
        Ok(Self {
            source: source.into(),
            line: 0,
            column: 0,
            references,
            compiled: Arc::new(compiled),
        })
    }

    /// The expression as written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Line and column in the file, from 1; zero when it did not come from a file.
    pub fn position(&self) -> (u64, u64) {
        (self.line, self.column)
    }

    /// Every name it reads, in the order they stand.
    pub fn references(&self) -> &[Reference] {
        &self.references
    }

    /// Asks it as a condition. Empty texts, lists and zero are "no", as in Jinja.
    pub fn test(&self, scope: &Scope) -> Truth {
        match self.compiled.eval(&self.references, scope) {
            Ok(value) if value.is_undefined() => Truth::Unknown("it has no value here".to_owned()),
            Ok(value) if value.is_true() => Truth::Yes,
            Ok(_) => Truth::No,
            Err(reason) => Truth::Unknown(reason),
        }
    }

    /// Its value, or why there is none.
    pub fn value(&self, scope: &Scope) -> Result<serde_json::Value, String> {
        let value = self.compiled.eval(&self.references, scope)?;
        if value.is_undefined() {
            return Err("it has no value here".to_owned());
        }
        serde_json::to_value(&value).map_err(|error| error.to_string())
    }
}

fn check_size(source: &str) -> Result<(), ExprError> {
    if source.trim().is_empty() {
        return Err(ExprError::new("the expression is empty", 0));
    }
    if source.len() > MAX_SOURCE {
        let message =
            format!("the expression is {} bytes long; at most {MAX_SOURCE}", source.len());
        return Err(ExprError::new(message, MAX_SOURCE));
    }
    let (mut depth, mut quote, mut escaped) = (0_usize, None, false);
    for (offset, byte) in source.bytes().enumerate() {
        match (quote, byte) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), b'\\') => escaped = true,
            (Some(open), _) if open == byte => quote = None,
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'(' | b'[' | b'{') => depth += 1,
            (None, b')' | b']' | b'}') => depth = depth.saturating_sub(1),
            (Some(_) | None, _) => {}
        }
        if depth > MAX_DEPTH {
            return Err(ExprError::new(
                format!("brackets are nested deeper than {MAX_DEPTH}"),
                offset,
            ));
        }
    }
    Ok(())
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expr({:?} at {}:{})", self.source, self.line, self.column)
    }
}

impl PartialEq for Expr {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Serialize for Expr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry(marker::EXPR, &*self.source)?;
        map.serialize_entry(marker::LINE, &self.line)?;
        map.serialize_entry(marker::COLUMN, &self.column)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Expr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = serde_saphyr::Spanned::<String>::deserialize(deserializer)?;
        let expr = Self::parse(&text.value).map_err(de::Error::custom)?;
        Ok(Self { line: text.referenced.line(), column: text.referenced.column(), ..expr })
    }
}

impl JsonSchema for Expr {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Expression".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "type": "string",
            "maxLength": MAX_SOURCE,
            "description": "A condition or value over labels, annotations, alerts, target, incident and steps.",
        })
    }
}

#[cfg(test)]
mod tests;
