//! What failures look like. A signature is a named pattern over evidence; one that matches is a verdict.
//!
//! The book is data (`rules/signatures/*.yaml`, [`spec`]) and checked when it is read ([`build`]): every regex has a fixed
//! part for the one pass over all evidence ([`scan`]), every hole of a title names a capture, every `explains` leads to a
//! signature and never in a circle. Precision comes first: a healthy application has no verdict.

mod build;
mod glob;
mod literal;
mod prepare;
mod rank;
mod scan;
pub mod spec;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use self::scan::{Hit, Scanner};
pub use self::{
    build::Problem,
    glob::{covers, is_id},
};
use super::{
    evidence::{Evidence, Passage, StepState},
    expr::{Expr, Truth},
    redact::redact,
    template::{Scope, Text},
    verdict::{Owner, Quote, Verdict},
};

/// Quotes per verdict.
const MOST_QUOTES: usize = 5;

/// Longest quote, characters.
const LONGEST_QUOTE: usize = 500;

/// All signatures, ready to search.
#[derive(Debug)]
pub struct Book {
    signatures: Vec<Signature>,
    scanner: Scanner,
}

/// One checked signature.
#[derive(Debug)]
struct Signature {
    id: String,
    title: Text,
    owner: Owner,
    confidence: f64,
    /// Ids, globs resolved.
    explains: Vec<String>,
    all: Vec<Condition>,
    any: Vec<Condition>,
    none: Vec<Condition>,
    condition: Option<Expr>,
    remedy: Text,
    docs: Option<String>,
}

/// A pattern of the scanner, as one signature uses it.
#[derive(Debug)]
struct Condition {
    pattern: usize,
    confidence: Option<f64>,
}

impl Book {
    /// Checks and compiles signatures; each comes with the name of its file. A later one replaces an earlier one of the
    /// same id from another file.
    pub fn new(specs: Vec<(String, spec::Spec)>) -> Result<Self, Vec<Problem>> {
        build::build(specs)
    }

    /// Every id, sorted.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.signatures.iter().map(|signature| signature.id.as_str())
    }

    /// What is wrong, by this evidence: causes before the symptoms they explain, then the surest, then the best
    /// documented. `wanted` holds ids or globs; empty means all.
    pub fn diagnose(&self, evidence: &[Evidence], wanted: &[String]) -> Vec<Verdict> {
        let done = || evidence.iter().filter(|e| e.state == StepState::Done);
        let passages: Vec<&Passage> = done().flat_map(|e| &e.findings.passages).collect();
        let hits = self.scanner.scan(&passages);
        let scope = found(done());
        let matched: Vec<(Verdict, usize)> = self
            .signatures
            .iter()
            .filter(|s| wanted.is_empty() || wanted.iter().any(|glob| covers(glob, &s.id)))
            .filter_map(|signature| signature.judge(&hits, &passages, &scope))
            .collect();
        rank::rank(matched)
    }
}

/// `found.<kind>`: results of every step of that kind, dots as underscores.
fn found<'a>(evidence: impl Iterator<Item = &'a Evidence>) -> Scope {
    let mut kinds: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for step in evidence {
        kinds.entry(step.kind.replace('.', "_")).or_default().push(step.findings.value.clone());
    }
    let found: Map<String, Value> = kinds.into_iter().map(|(kind, v)| (kind, v.into())).collect();
    Scope::default().with("found", found)
}

impl Signature {
    /// The verdict, with the number of matching lines.
    fn judge(
        &self,
        hits: &[Vec<Hit>],
        passages: &[&Passage],
        scope: &Scope,
    ) -> Option<(Verdict, usize)> {
        let seen = |condition: &&Condition| !hits[condition.pattern].is_empty();
        let any: Vec<&Condition> = self.any.iter().filter(seen).collect();
        let holds = self.all.iter().all(|c| seen(&c))
            && (self.any.is_empty() || !any.is_empty())
            && !self.none.iter().any(|c| seen(&c))
            && self.condition.as_ref().is_none_or(|expr| expr.test(scope) == Truth::Yes);
        if !holds {
            return None;
        }
        let matched: Vec<&Condition> = self.all.iter().chain(any).collect();
        let confidence = matched
            .iter()
            .map(|condition| condition.confidence.unwrap_or(self.confidence))
            .fold(0.0, f64::max);
        let lists: Vec<&[Hit]> = matched.iter().map(|c| hits[c.pattern].as_slice()).collect();
        let count = lists.iter().map(|list| list.len()).sum();
        let names = names(&lists, passages, count);
        let verdict = Verdict {
            id: self.id.clone(),
            title: redact(&one_line(&self.title.fill(&names))).into_owned(),
            confidence,
            owner: self.owner,
            evidence: quotes(&lists, passages),
            remedy: redact(&self.remedy.fill(&names)).into_owned(),
            explains: self.explains.clone(),
            docs: self.docs.clone(),
        };
        Some((verdict, count))
    }
}

/// What titles and remedies can name: each capture's distinct values, `cause`, `source` and `count`.
fn names(lists: &[&[Hit]], passages: &[&Passage], count: usize) -> Map<String, Value> {
    let mut values: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut add = |name, value: &str| {
        let value: String = value.trim().chars().take(200).collect();
        let list: &mut Vec<String> = values.entry(name).or_default();
        if !value.is_empty() && !list.contains(&value) {
            list.push(value);
        }
    };
    for hit in lists.iter().copied().flatten() {
        for (name, value) in &hit.captures {
            add(name, value);
        }
    }
    if let Some((_, cause)) = lists.iter().copied().flatten().find_map(|hit| hit.cause.as_ref()) {
        add("cause", cause);
    }
    if let Some(hit) = lists.iter().copied().flatten().next() {
        add("source", &passages[hit.passage].source);
    }
    add("count", &count.to_string());
    values.into_iter().map(|(name, list)| (name.to_owned(), joined(&list).into())).collect()
}

/// `1, 2, 3 and 4 more`.
fn joined(list: &[String]) -> String {
    let shown = list.len().min(5);
    let text = list[..shown].join(", ");
    if list.len() > shown { format!("{text} and {} more", list.len() - shown) } else { text }
}

/// At most [`MOST_QUOTES`]: the first hit of every condition with what belongs to it, then further hits.
fn quotes(lists: &[&[Hit]], passages: &[&Passage]) -> Vec<Quote> {
    let longest = lists.iter().map(|list| list.len()).max().unwrap_or(0);
    let in_turn = (0..longest).flat_map(|nth| lists.iter().filter_map(move |list| list.get(nth)));
    let mut quotes: Vec<Quote> = Vec::new();
    for hit in in_turn.take(MOST_QUOTES * 4) {
        let passage = passages[hit.passage];
        let cause =
            hit.cause.as_ref().map(|(number, text)| (*number, format!("Caused by: {text}")));
        let lines = [Some((hit.number, hit.text.clone())), hit.then.clone(), cause];
        for (number, text) in lines.into_iter().flatten() {
            let single = !passage.text.trim_end().contains('\n');
            let quote = Quote {
                origin: passage.origin,
                source: passage.source.clone(),
                line: if single { 0 } else { number },
                quote: cut(&redact(text.trim_end())),
            };
            if quotes.len() < MOST_QUOTES && !quotes.contains(&quote) {
                quotes.push(quote);
            }
        }
    }
    quotes
}

fn cut(text: &str) -> String {
    if text.chars().count() <= LONGEST_QUOTE {
        return text.to_owned();
    }
    text.chars().take(LONGEST_QUOTE - 1).chain(['…']).collect()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
