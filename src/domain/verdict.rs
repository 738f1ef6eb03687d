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

/// Ranks verdicts of one or several runs: causes before the symptoms they explain, then confidence, then the amount of
/// evidence, then id. The same id appears once, with its surest reading.
pub fn rank(verdicts: impl IntoIterator<Item = Verdict>) -> Vec<Verdict> {
    let mut by_id: std::collections::BTreeMap<String, Verdict> = std::collections::BTreeMap::new();
    for verdict in verdicts {
        match by_id.get(&verdict.id) {
            Some(known) if known.confidence >= verdict.confidence => {}
            Some(_) | None => drop(by_id.insert(verdict.id.clone(), verdict)),
        }
    }
    let mut ranked: Vec<Verdict> = by_id.into_values().collect();
    let depth: std::collections::BTreeMap<String, usize> = ranked
        .iter()
        .map(|v| (v.id.clone(), ranked.iter().filter(|c| explains(c, &v.id)).count()))
        .collect();
    ranked.sort_by(|a, b| {
        let explained = |v: &Verdict| depth.get(&v.id).copied().unwrap_or_default() > 0;
        explained(a)
            .cmp(&explained(b))
            .then(b.confidence.total_cmp(&a.confidence))
            .then(b.evidence.len().cmp(&a.evidence.len()))
            .then(a.id.cmp(&b.id))
    });
    ranked
}

fn explains(cause: &Verdict, symptom: &str) -> bool {
    cause.id != symptom && cause.explains.iter().any(|id| id == symptom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(id: &str, confidence: f64, explains: &[&str]) -> Verdict {
        Verdict {
            id: id.to_owned(),
            title: id.to_owned(),
            confidence,
            owner: Owner::Platform,
            evidence: vec![],
            remedy: String::new(),
            explains: explains.iter().map(|&id| id.to_owned()).collect(),
            docs: None,
        }
    }

    #[test]
    fn a_cause_stands_before_the_surer_symptom_it_explains() {
        let ranked = rank([verdict("symptom", 0.99, &[]), verdict("cause", 0.7, &["symptom"])]);
        assert_eq!(ranked.iter().map(|v| v.id.as_str()).collect::<Vec<_>>(), ["cause", "symptom"]);
    }

    #[test]
    fn two_runs_with_the_same_verdict_give_one() {
        let ranked = rank([verdict("a", 0.5, &[]), verdict("a", 0.9, &[])]);
        assert_eq!(ranked.len(), 1);
        assert!((ranked[0].confidence - 0.9).abs() < f64::EPSILON);
    }
}
