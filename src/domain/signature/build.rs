//! From specs to a book, with every mistake and its place.

use std::collections::BTreeMap;

use regex::Regex;
use serde_saphyr::Spanned;

use super::{
    Book, Condition, Signature,
    glob::{covers, is_id},
    literal,
    scan::{Keep, Pattern, Scanner},
    spec::{self, Spec},
};
use crate::domain::{suggest::closest, template::Text};

/// Largest compiled regex, bytes.
const REGEX_SIZE: usize = 1 << 20;

/// Lines after the first that `then` may stand in, unless `within` says otherwise.
const WITHIN: usize = 30;

/// A mistake in a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file's name, as it was given.
    pub file: String,
    /// From 1.
    pub line: u64,
    /// From 1.
    pub column: u64,
    /// What is wrong and what to write instead.
    pub message: String,
}

pub(super) fn build(specs: Vec<(String, Spec)>) -> Result<Book, Vec<Problem>> {
    let mut builder = Builder::default();
    let mut by_id: BTreeMap<String, (String, Spec)> = BTreeMap::new();
    for (file, spec) in specs {
        if !is_id(&spec.id.value) {
            builder.problem(&file, &spec.id, "write an id like spark/executor/oom-killed");
        }
        if by_id.get(&spec.id.value).is_some_and(|(other, _)| *other == file) {
            builder.problem(&file, &spec.id, format!("`{}` is defined twice", spec.id.value));
        }
        by_id.insert(spec.id.value.clone(), (file, spec));
    }
    let ids: Vec<String> = by_id.keys().cloned().collect();
    let signatures: Vec<Signature> =
        by_id.into_values().map(|(file, spec)| builder.signature(&file, spec, &ids)).collect();
    builder.circles(&signatures);
    if !builder.problems.is_empty() {
        return Err(builder.problems);
    }
    match Scanner::new(builder.patterns) {
        Ok(scanner) => Ok(Book { signatures, scanner }),
        Err(message) => Err(vec![Problem { file: String::new(), line: 0, column: 0, message }]),
    }
}

#[derive(Default)]
struct Builder {
    patterns: Vec<Pattern>,
    problems: Vec<Problem>,
    places: BTreeMap<String, (String, u64, u64)>,
}

impl Builder {
    fn problem<T>(&mut self, file: &str, at: &Spanned<T>, message: impl Into<String>) {
        self.problems.push(Problem {
            file: file.to_owned(),
            line: at.referenced.line(),
            column: at.referenced.column(),
            message: message.into(),
        });
    }

    fn signature(&mut self, file: &str, spec: Spec, ids: &[String]) -> Signature {
        let Spec {
            id,
            title,
            owner,
            confidence,
            explains,
            all,
            any,
            none,
            overcome_by,
            last_resort,
            condition,
            remedy,
            docs,
        } = spec;
        let place = (file.to_owned(), id.referenced.line(), id.referenced.column());
        self.places.insert(id.value.clone(), place);
        self.check_confidence(file, &confidence);
        if all.is_empty() && any.is_empty() {
            self.problem(
                file,
                &id,
                "a signature needs a line in `all` or `any`: a verdict quotes its evidence",
            );
        }
        if let Some(docs) = &docs
            && !docs.value.starts_with("https://")
        {
            self.problem(file, docs, "write an https:// address");
        }
        if let Some(expr) = &condition {
            let unknown =
                expr.references().iter().find(|r| r.path.first().is_none_or(|p| p != "found"));
            if let Some(reference) = unknown {
                let (line, column) = expr.position();
                let message = format!(
                    "there is no `{}` here; there is only found.<kind>",
                    reference.path.join(".")
                );
                self.problems.push(Problem { file: file.to_owned(), line, column, message });
            }
        }
        let mut captures = vec!["cause".to_owned(), "source".to_owned(), "count".to_owned()];
        let keep = if overcome_by.is_empty() { Keep::First } else { Keep::FirstAndNewest };
        let mut group = |list: Vec<spec::Condition>, keep, captures: &mut Vec<String>| {
            list.into_iter().filter_map(|c| self.condition(file, c, keep, captures)).collect()
        };
        let (all, any) = (group(all, keep, &mut captures), group(any, keep, &mut captures));
        let none = group(none, Keep::First, &mut Vec::new());
        let overcome_by = group(overcome_by, Keep::Newest, &mut Vec::new());
        Signature {
            title: self.text(file, &title, &captures),
            remedy: self.text(file, &remedy, &captures),
            explains: self.explains(file, &id.value, &explains, ids),
            id: id.value,
            owner,
            confidence: confidence.value,
            all,
            any,
            none,
            overcome_by,
            last_resort,
            condition,
            docs: docs.map(|docs| docs.value),
        }
    }

    fn condition(
        &mut self,
        file: &str,
        spec: spec::Condition,
        keep: Keep,
        captures: &mut Vec<String>,
    ) -> Option<Condition> {
        let spec::Condition { origins, by, line, unless, then, within, confidence } = spec;
        if origins.is_empty() {
            self.problem(file, &line, "`in` is empty; say where to look");
        }
        if let Some(confidence) = &confidence {
            self.check_confidence(file, confidence);
        }
        if let Some(within) = &within
            && !(1..=200).contains(&within.value)
        {
            self.problem(file, within, "`within` is 1 to 200 lines");
        }
        let regex = self.regex(file, &line)?;
        let unless = match &unless {
            None => None,
            Some(unless) => Some(self.regex(file, unless)?),
        };
        let then = match &then {
            None => None,
            Some(then) => Some((self.regex(file, then)?, within.map_or(WITHIN, |w| w.value))),
        };
        let Some(literals) = literal::required(&line.value) else {
            self.problem(
                file,
                &line,
                "this regex has no fixed part of four characters; without one every line would have to be tried",
            );
            return None;
        };
        let regexes = std::iter::once(&regex).chain(then.as_ref().map(|(regex, _)| regex));
        captures.extend(regexes.flat_map(|r| r.capture_names().flatten().map(ToOwned::to_owned)));
        let line = regex;
        self.patterns.push(Pattern { origins, by, line, unless, then, literals, keep });
        Some(Condition {
            pattern: self.patterns.len() - 1,
            confidence: confidence.map(|c| c.value),
        })
    }

    fn regex(&mut self, file: &str, text: &Spanned<String>) -> Option<Regex> {
        match regex::RegexBuilder::new(&text.value).size_limit(REGEX_SIZE).build() {
            Ok(regex) => Some(regex),
            Err(error) => {
                let text_of = error.to_string();
                let last = text_of.lines().last().unwrap_or_default();
                let message = format!("bad regex: {}", last.trim_start_matches("error: "));
                self.problem(file, text, message);
                None
            }
        }
    }

    fn text(&mut self, file: &str, source: &Spanned<String>, captures: &[String]) -> Text {
        let names: Vec<&str> = captures.iter().map(String::as_str).collect();
        Text::parse(&source.value, &names).unwrap_or_else(|message| {
            self.problem(file, source, message);
            Text::default()
        })
    }

    fn explains(
        &mut self,
        file: &str,
        own: &str,
        globs: &[Spanned<String>],
        ids: &[String],
    ) -> Vec<String> {
        let mut explained: Vec<String> = Vec::new();
        for glob in globs {
            let covered: Vec<&String> =
                ids.iter().filter(|id| *id != own && covers(&glob.value, id)).collect();
            if covered.is_empty() {
                let names: Vec<&str> = ids.iter().map(String::as_str).collect();
                let hint = closest(&glob.value, &names)
                    .map_or(String::new(), |id| format!("; did you mean `{id}`?"));
                self.problem(file, glob, format!("no signature is called `{}`{hint}", glob.value));
            }
            explained.extend(covered.into_iter().cloned());
        }
        explained.sort();
        explained.dedup();
        explained
    }

    fn check_confidence(&mut self, file: &str, confidence: &Spanned<f64>) {
        if !(confidence.value > 0.0 && confidence.value <= 1.0) {
            self.problem(file, confidence, "confidence is above 0 and at most 1");
        }
    }

    /// Two signatures that explain each other would have no order.
    fn circles(&mut self, signatures: &[Signature]) {
        let explains: BTreeMap<&str, &[String]> =
            signatures.iter().map(|s| (s.id.as_str(), s.explains.as_slice())).collect();
        for signature in signatures {
            let mut reached: Vec<&str> = Vec::new();
            let mut next: Vec<&str> = vec![&signature.id];
            while let Some(id) = next.pop() {
                for symptom in explains.get(id).copied().unwrap_or_default() {
                    if !reached.contains(&symptom.as_str()) {
                        reached.push(symptom);
                        next.push(symptom);
                    }
                }
            }
            if reached.contains(&signature.id.as_str()) {
                let (file, line, column) =
                    self.places.get(&signature.id).cloned().unwrap_or_default();
                let message = format!("`{}` explains itself in a circle", signature.id);
                self.problems.push(Problem { file, line, column, message });
            }
        }
    }
}
