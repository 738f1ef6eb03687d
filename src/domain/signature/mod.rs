//! What failures look like. A signature is a named pattern over evidence; one that matches is a verdict.
//!
//! The book is data (`rules/signatures/*.yaml`, [`spec`]) and checked when it is read ([`build`]): every regex has a fixed
//! part for the one pass over all evidence ([`scan`]), every hole of a title names a capture, every `explains` leads to a
//! signature and never in a circle. Precision comes first: a healthy application has no verdict.

mod build;
mod entry;
mod glob;
mod literal;
mod prepare;
mod rank;
mod scan;
pub mod spec;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use self::scan::{Hit, Piece, Scanner};
pub use self::{
    build::Problem,
    glob::{covers, is_id},
};
use super::{
    evidence::{Evidence, Origin, StepState},
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
    overcome_by: Vec<Condition>,
    last_resort: bool,
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
        let mut search = self.search();
        for passage in done().flat_map(|e| &e.findings.passages) {
            let single = !passage.text.trim_end().contains('\n');
            let source = search.source(passage.origin, &passage.source, single);
            search.read(source, 1, &passage.text);
        }
        search.verdicts(&found(done()), wanted)
    }

    /// Starts a search through texts that need not be in memory at once.
    pub fn search(&self) -> Search<'_> {
        Search { book: self, sources: Vec::new(), hits: self.scanner.nothing() }
    }

    /// Every signature, sorted by id.
    pub fn cards(&self) -> impl Iterator<Item = Card<'_>> {
        self.signatures.iter().map(|s| Card {
            id: &s.id,
            title: s.title.source(),
            owner: s.owner,
            confidence: s.confidence,
            explains: &s.explains,
            last_resort: s.last_resort,
            remedy: s.remedy.source(),
            docs: s.docs.as_deref(),
        })
    }
}

/// A signature as documentation shows it.
#[derive(Clone, Copy, Debug)]
pub struct Card<'a> {
    /// Its id.
    pub id: &'a str,
    /// The title's template.
    pub title: &'a str,
    /// Who has to act.
    pub owner: Owner,
    /// From 0 to 1; single conditions may say otherwise.
    pub confidence: f64,
    /// Ids of the symptoms it accounts for.
    pub explains: &'a [String],
    /// Left out when one of its causes was found.
    pub last_resort: bool,
    /// The remedy's template.
    pub remedy: &'a str,
    /// A page with more.
    pub docs: Option<&'a str>,
}

/// A search under way: sources are read piece by piece, then judged together. It keeps a bounded number of bounded lines
/// per signature, whatever it reads.
#[derive(Debug)]
pub struct Search<'a> {
    book: &'a Book,
    sources: Vec<Source>,
    hits: Vec<Vec<Hit>>,
}

#[derive(Debug)]
struct Source {
    origin: Origin,
    name: String,
    /// A single line has no number worth telling.
    single: bool,
}

impl Search<'_> {
    /// Names a source of text; `single` when it is one line.
    pub fn source(&mut self, origin: Origin, name: &str, single: bool) -> usize {
        self.sources.push(Source { origin, name: name.to_owned(), single });
        self.sources.len() - 1
    }

    /// Reads a piece of a source, in order. A piece of a log starts where a log entry starts ([`starts_entry`]), so that
    /// no entry is read in halves. `first_line` is its first line's number, from 1.
    pub fn read(&mut self, source: usize, first_line: u32, text: &str) {
        let Some(Source { origin, .. }) = self.sources.get(source) else { return };
        let piece = Piece { source, origin: *origin, first_line, text };
        self.book.scanner.scan(piece, &mut self.hits);
    }

    fn verdicts(self, scope: &Scope, wanted: &[String]) -> Vec<Verdict> {
        let Self { book, sources, hits } = self;
        let wanted = |id: &str| wanted.is_empty() || wanted.iter().any(|glob| covers(glob, id));
        let mut matched: Vec<(Verdict, usize)> = book
            .signatures
            .iter()
            .filter_map(|signature| signature.judge(&hits, &sources, scope))
            .collect();
        let explained: Vec<String> =
            matched.iter().flat_map(|(verdict, _)| verdict.explains.clone()).collect();
        let last: Vec<&str> =
            book.signatures.iter().filter(|s| s.last_resort).map(|s| s.id.as_str()).collect();
        // A cause that was not asked for is one all the same: the form it ended in is still no verdict.
        matched.retain(|(v, _)| !(last.contains(&v.id.as_str()) && explained.contains(&v.id)));
        matched.retain(|(v, _)| wanted(&v.id));
        rank::rank(matched)
    }

    /// What is wrong, by all that was read, as in [`Book::diagnose`].
    pub fn end(self) -> Vec<Verdict> {
        self.verdicts(&found(std::iter::empty()), &[])
    }
}

/// True for a line that starts a log entry: a classic one, or a structured one.
pub fn starts_entry(line: &str) -> bool {
    prepare::starts_entry(line)
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
        sources: &[Source],
        scope: &Scope,
    ) -> Option<(Verdict, usize)> {
        let live = |condition: &Condition| -> Vec<&Hit> {
            hits[condition.pattern].iter().filter(|hit| !self.is_overcome(hit, hits)).collect()
        };
        let all: Vec<(&Condition, Vec<&Hit>)> = self.all.iter().map(|c| (c, live(c))).collect();
        let mut any: Vec<(&Condition, Vec<&Hit>)> = self.any.iter().map(|c| (c, live(c))).collect();
        any.retain(|(_, lines)| !lines.is_empty());
        let holds = all.iter().all(|(_, lines)| !lines.is_empty())
            && (self.any.is_empty() || !any.is_empty())
            && !self.none.iter().any(|c| !hits[c.pattern].is_empty())
            && self.condition.as_ref().is_none_or(|expr| expr.test(scope) == Truth::Yes);
        if !holds {
            return None;
        }
        let matched: Vec<(&Condition, Vec<&Hit>)> = all.into_iter().chain(any).collect();
        let confidence = matched
            .iter()
            .map(|(condition, _)| condition.confidence.unwrap_or(self.confidence))
            .fold(0.0, f64::max);
        let lists: Vec<Vec<&Hit>> = matched.into_iter().map(|(_, lines)| lines).collect();
        let count = lists.iter().map(Vec::len).sum();
        let names = names(&lists, sources, count);
        let verdict = Verdict {
            id: self.id.clone(),
            title: redact(&one_line(&self.title.fill(&names))).into_owned(),
            confidence,
            owner: self.owner,
            evidence: quotes(&lists, sources),
            remedy: redact(&self.remedy.fill(&names)).into_owned(),
            explains: self.explains.clone(),
            docs: self.docs.clone(),
        };
        Some((verdict, count))
    }

    fn is_overcome(&self, hit: &Hit, hits: &[Vec<Hit>]) -> bool {
        let later = |other: &Hit| other.source == hit.source && other.number > hit.number;
        self.overcome_by.iter().any(|condition| hits[condition.pattern].iter().any(later))
    }
}

/// What titles and remedies can name: each capture's distinct values, `cause`, `source` and `count`.
fn names(lists: &[Vec<&Hit>], sources: &[Source], count: usize) -> Map<String, Value> {
    let mut values: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut add = |name, value: &str| {
        let value: String = value.trim().chars().take(200).collect();
        let list: &mut Vec<String> = values.entry(name).or_default();
        if !value.is_empty() && !list.contains(&value) {
            list.push(value);
        }
    };
    for hit in lists.iter().flatten() {
        for (name, value) in &hit.captures {
            add(name, value);
        }
    }
    if let Some((_, cause)) = lists.iter().flatten().find_map(|hit| hit.cause.as_ref()) {
        add("cause", cause);
    }
    if let Some(hit) = lists.iter().flatten().next() {
        add("source", &sources[hit.source].name);
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
fn quotes(lists: &[Vec<&Hit>], sources: &[Source]) -> Vec<Quote> {
    let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
    let in_turn = (0..longest).flat_map(|nth| lists.iter().filter_map(move |list| list.get(nth)));
    let mut quotes: Vec<Quote> = Vec::new();
    for hit in in_turn.take(MOST_QUOTES * 4) {
        let source = &sources[hit.source];
        let cause =
            hit.cause.as_ref().map(|(number, text)| (*number, format!("Caused by: {text}")));
        let lines = [Some((hit.number, hit.text.clone())), hit.then.clone(), cause];
        for (number, text) in lines.into_iter().flatten() {
            let quote = Quote {
                origin: source.origin,
                source: source.name.clone(),
                line: if source.single { 0 } else { number },
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
