//! A signature that matched: what is wrong, how sure, by which evidence.

use serde::{Deserialize, Serialize};

use super::evidence::Origin;

/// Who has to act on a failure of this kind.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// The author of the job: code, SQL, data or configuration of their own.
    User,
    /// The Spark platform team.
    Platform,
    /// Owners of upstream data.
    Data,
    /// Owners of nodes, network, storage or databases.
    Infra,
}

/// A matched line, with where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// Kind of source.
    pub origin: Origin,
    /// The source's name, as in [`super::evidence::Passage::source`].
    pub source: String,
    /// Line number in that source, from 1; 0 when the source is a single line.
    #[serde(default)]
    pub line: u32,
    /// The line itself, cut at 500 characters.
    pub quote: String,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The signature's id, such as `spark/executor/oom-killed`.
    pub id: String,
    /// One line for a person.
    pub title: String,
    /// From 0 (guess) to 1 (certain).
    pub confidence: f64,
    /// Who has to act.
    pub owner: Owner,
    /// At least one quote.
    pub evidence: Vec<Quote>,
    /// What to do, in Markdown without headings; configuration keys in backticks.
    pub remedy: String,
    /// Ids of the symptoms among the other verdicts that this cause accounts for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub explains: Vec<String>,
    /// A page with more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docs: Option<String>,
}
