//! All playbooks and signatures in force, and which of them an alert leads to.

mod index;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use jiff::civil::Date;

use self::index::Index;
use super::{
    diagnostic::Diagnostic,
    lint,
    model::{Matching, Playbook, SeverityRule},
    source::{self, File, Kind},
    yaml,
};
use crate::domain::{
    expr::Truth,
    severity::Severity,
    signature::{Book, spec},
    template::Scope,
};

/// Whether the playbooks and signatures inside the binary are in force beside the user's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shipped {
    /// They are; a user's playbook or signature of the same name or id replaces one.
    Used,
    /// Only their signatures are.
    SignaturesOnly,
}

/// What is in force.
#[derive(Debug)]
pub struct Catalog {
    /// Sorted by name.
    pub playbooks: Vec<Arc<Playbook>>,
    /// All signatures.
    pub signatures: Arc<Book>,
    /// What a person should look at although it is in force.
    pub warnings: Vec<Diagnostic>,
    /// Equal for equal files.
    pub digest: String,
    index: Index,
}

/// What a playbook says to an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It runs.
    Matched {
        /// What it says of severity, if anything.
        severity: Option<Severity>,
    },
    /// It does not, because of this.
    No(String),
    /// Its condition could not be answered, because of this; it does not run, and the card says so.
    Unknown(String),
}

impl Catalog {
    /// The shipped playbooks and signatures.
    pub fn shipped(today: Date) -> Result<Self, Vec<Diagnostic>> {
        Self::build(&source::shipped(), &[], today)
    }

    /// A directory of playbooks (and, in its folder `signatures`, of signatures), over the shipped ones.
    pub fn load(dir: &Path, shipped: Shipped, today: Date) -> Result<Self, Vec<Diagnostic>> {
        Self::over_shipped(&source::read(dir)?, shipped, today)
    }

    /// Files over the shipped ones.
    pub fn over_shipped(
        files: &[File],
        shipped: Shipped,
        today: Date,
    ) -> Result<Self, Vec<Diagnostic>> {
        let mut below = source::shipped();
        if shipped == Shipped::SignaturesOnly {
            below.retain(|file| file.kind == Kind::Signatures);
        }
        Self::build(&below, files, today)
    }

    /// Files over files: a name or id in `above` replaces the one in `below`. All or nothing.
    pub fn build(below: &[File], above: &[File], today: Date) -> Result<Self, Vec<Diagnostic>> {
        let all: Vec<&File> = below.iter().chain(above).collect();
        let signatures = Arc::new(book(&all)?);
        let mut by_name: BTreeMap<String, Arc<Playbook>> = BTreeMap::new();
        let mut warnings = Vec::new();
        let mut errors = Vec::new();
        for layer in [below, above] {
            let mut own: BTreeMap<String, &str> = BTreeMap::new();
            for file in layer.iter().filter(|file| file.kind == Kind::Playbook) {
                let (playbook, found) = lint::playbook(&file.name, &file.text, &signatures, today);
                let (bad, mild): (Vec<_>, Vec<_>) =
                    found.into_iter().partition(Diagnostic::is_error);
                errors.extend(bad);
                warnings.extend(mild);
                let Some(playbook) = playbook else { continue };
                if let Some(first) = own.insert(playbook.name.clone(), &file.name) {
                    let message = format!(
                        "the playbook `{}` is also in {first}; rename one of them",
                        playbook.name
                    );
                    errors.push(Diagnostic::error(&file.name, "", (0, 0), &message));
                }
                by_name.insert(playbook.name.clone(), Arc::new(playbook));
            }
        }
        if !errors.is_empty() {
            errors.extend(warnings);
            return Err(errors);
        }
        let digest = source::digest(&all.into_iter().cloned().collect::<Vec<_>>());
        Ok(Self::of(by_name.into_values().collect(), signatures, warnings, digest))
    }

    /// Of what is checked already; the playbooks are sorted by name.
    pub fn of(
        playbooks: Vec<Arc<Playbook>>,
        signatures: Arc<Book>,
        warnings: Vec<Diagnostic>,
        digest: String,
    ) -> Self {
        let index = Index::new(&playbooks);
        Self { playbooks, signatures, warnings, digest, index }
    }

    /// The playbooks an alert leads to. `scope` holds `labels`, `annotations` and `alerts` ([`super::plan::alert_scope`]).
    pub fn matching(
        &self,
        labels: &BTreeMap<String, String>,
        scope: &Scope,
    ) -> Vec<(Arc<Playbook>, Option<Severity>)> {
        self.about(labels)
            .filter_map(|playbook| match playbook.answer(labels, scope) {
                Answer::Matched { severity } => Some((Arc::clone(playbook), severity)),
                Answer::No(_) | Answer::Unknown(_) => None,
            })
            .collect()
    }

    /// The playbooks that an alert may lead to but whose condition could not be answered, and why not.
    pub fn unanswered(
        &self,
        labels: &BTreeMap<String, String>,
        scope: &Scope,
    ) -> Vec<(Arc<Playbook>, String)> {
        self.about(labels)
            .filter_map(|playbook| match playbook.answer(labels, scope) {
                Answer::Unknown(reason) => Some((Arc::clone(playbook), reason)),
                Answer::Matched { .. } | Answer::No(_) => None,
            })
            .collect()
    }

    /// The playbooks whose matchers match; their conditions are not asked.
    fn about(&self, labels: &BTreeMap<String, String>) -> impl Iterator<Item = &Arc<Playbook>> {
        let candidates = self.index.candidates(labels).into_iter();
        candidates.map(|place| &self.playbooks[place]).filter(|playbook| playbook.is_about(labels))
    }

    /// What each playbook says to an alert, and the matcher or condition that decided.
    pub fn explain(
        &self,
        labels: &BTreeMap<String, String>,
        scope: &Scope,
    ) -> Vec<(Arc<Playbook>, Answer)> {
        self.playbooks.iter().map(|p| (Arc::clone(p), p.answer(labels, scope))).collect()
    }
}

/// All signatures of these files.
pub fn book(files: &[&File]) -> Result<Book, Vec<Diagnostic>> {
    let mut specs = Vec::new();
    let mut errors = Vec::new();
    for file in files.iter().filter(|file| file.kind == Kind::Signatures) {
        match yaml::read::<spec::File>(&file.name, &file.text) {
            Ok(read) => specs.extend(read.signatures.into_iter().map(|s| (file.name.clone(), s))),
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    Book::new(specs).map_err(|problems| {
        let text = |name: &str| {
            files.iter().rev().find(|file| file.name == name).map_or("", |file| file.text.as_str())
        };
        problems
            .into_iter()
            .map(|p| Diagnostic::error(&p.file, text(&p.file), (p.line, p.column), &p.message))
            .collect()
    })
}

impl Playbook {
    /// True when all its matchers match; its condition is not asked.
    fn is_about(&self, labels: &BTreeMap<String, String>) -> bool {
        self.matches.iter().all(|entry| match entry {
            Matching::One(matcher) => matcher.matches(labels),
            Matching::Any(any) => any.iter().any(|matcher| matcher.matches(labels)),
        })
    }

    /// What it says to an alert.
    pub fn answer(&self, labels: &BTreeMap<String, String>, scope: &Scope) -> Answer {
        for entry in &self.matches {
            let why_not = match entry {
                Matching::One(matcher) => matcher.why_not(labels),
                Matching::Any(any) if any.iter().any(|matcher| matcher.matches(labels)) => None,
                Matching::Any(any) => Some(
                    any.iter().filter_map(|m| m.why_not(labels)).collect::<Vec<_>>().join("; and "),
                ),
            };
            if let Some(reason) = why_not {
                return Answer::No(reason);
            }
        }
        if let Some(condition) = &self.condition {
            match condition.test(scope) {
                Truth::Yes => {}
                Truth::No => return Answer::No(format!("`{}` does not hold", condition.source())),
                Truth::Unknown(reason) => {
                    return Answer::Unknown(format!(
                        "`{}` is not known: {reason}",
                        condition.source()
                    ));
                }
            }
        }
        Answer::Matched { severity: self.severity_of(labels) }
    }

    fn severity_of(&self, labels: &BTreeMap<String, String>) -> Option<Severity> {
        match self.severity.as_ref()? {
            SeverityRule::Fixed(severity) => Some(*severity),
            SeverityRule::Map { label, map } => map.get(labels.get(label)?).copied(),
        }
    }
}

#[cfg(test)]
mod tests;
