//! Signatures as they are written in `rules/signatures/*.yaml`.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::domain::{evidence::Origin, expr::Expr, verdict::Owner};

/// One file of signatures.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// The signatures, in any order.
    pub signatures: Vec<Spec>,
}

/// A named failure pattern over evidence.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Lower-case segments: `spark/executor/oom-killed`.
    #[schemars(with = "String")]
    pub id: Spanned<String>,
    /// One line for a person; a template over the named captures, `cause` (the last `Caused by:` of a stack trace),
    /// `source` (where the first matching line stands) and `count` (matching lines).
    #[schemars(with = "String")]
    pub title: Spanned<String>,
    /// Who has to act.
    pub owner: Owner,
    /// From 0 (guess) to 1 (certain); a condition may say otherwise.
    #[schemars(with = "f64", range(min = 0.0, max = 1.0))]
    pub confidence: Spanned<f64>,
    /// Ids or globs of symptoms this cause accounts for; they are ranked below it.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub explains: Vec<Spanned<String>>,
    /// Each of these must match.
    #[serde(default)]
    pub all: Vec<Condition>,
    /// At least one of these must match.
    #[serde(default)]
    pub any: Vec<Condition>,
    /// None of these may match.
    #[serde(default)]
    pub none: Vec<Condition>,
    /// A later line of the same log that shows it was overcome: matches before it do not count. `then` and `confidence`
    /// mean nothing here.
    #[serde(default)]
    pub overcome_by: Vec<Condition>,
    /// Names only the form a failure ended in. It is left out when one of its causes was found.
    #[serde(default)]
    pub last_resort: bool,
    /// Must hold too; over `found.<kind>`, the list of results of every step of that kind (`found.spark_executors`).
    #[serde(default, rename = "if")]
    pub condition: Option<Expr>,
    /// What to do, in Markdown without headings; a template like the title.
    #[schemars(with = "String")]
    pub remedy: Spanned<String>,
    /// A page with more.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub docs: Option<Spanned<String>>,
}

/// A line to be found in evidence.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// Where to look.
    #[serde(rename = "in")]
    pub origins: Vec<Origin>,
    /// The line must belong to a log entry of one of these loggers (the last part of its name: `TaskSetManager`). Then
    /// `line` is matched against the entry's message, or a line below it, and a line that only quotes a log never fits.
    /// `uncaught` is the trace of an exception that nobody caught: `Traceback`, `Exception in thread "main"`.
    #[serde(default)]
    pub by: Vec<String>,
    /// A regex that matches within one line; named groups become captures. It needs a fixed part of four characters.
    #[schemars(with = "String")]
    pub line: Spanned<String>,
    /// A regex that must not match in the same line.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub unless: Option<Spanned<String>>,
    /// A regex that must match later in that line, or in a following line of the same log entry.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub then: Option<Spanned<String>>,
    /// How many lines after it `then` may stand; 1 to 200, default 30.
    #[serde(default)]
    #[schemars(with = "Option<usize>", range(min = 1, max = 200))]
    pub within: Option<Spanned<usize>>,
    /// The verdict's confidence when this one matches, if not the signature's.
    #[serde(default)]
    #[schemars(with = "Option<f64>", range(min = 0.0, max = 1.0))]
    pub confidence: Option<Spanned<f64>>,
}
