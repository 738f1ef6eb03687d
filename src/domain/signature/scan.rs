//! One pass over all evidence for all signatures.
//!
//! Every pattern has a fixed part ([`super::literal`]). One Aho-Corasick automaton finds them all; only a line that holds
//! a pattern's fixed part is shown to its regex. Work is bounded: lines are cut around the find, and a pattern that
//! matched often enough is not asked again.

use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use regex::Regex;

use super::prepare::Prepared;
use crate::domain::evidence::{Origin, Passage};

/// Bytes of a line kept on either side of the fixed part.
const REACH: usize = 4 * 1024;

/// Matches kept per pattern.
pub(super) const MOST_HITS: usize = 200;

/// Lines of a stack trace searched for its last `Caused by:`.
const TRACE: usize = 400;

/// One line to look for.
#[derive(Debug)]
pub(super) struct Pattern {
    pub(super) origins: Vec<Origin>,
    pub(super) line: Regex,
    pub(super) then: Option<(Regex, usize)>,
    pub(super) literals: Vec<Vec<u8>>,
}

/// A line that was found.
#[derive(Clone, Debug)]
pub(super) struct Hit {
    /// Index of the passage.
    pub(super) passage: usize,
    /// Line number, from 1.
    pub(super) number: u32,
    /// The line.
    pub(super) text: String,
    /// Named groups that matched.
    pub(super) captures: Vec<(String, String)>,
    /// The matching line of `then`.
    pub(super) then: Option<(u32, String)>,
    /// The last `Caused by:` below it.
    pub(super) cause: Option<(u32, String)>,
}

/// All patterns, ready to search.
#[derive(Debug)]
pub(super) struct Scanner {
    patterns: Vec<Pattern>,
    automaton: AhoCorasick,
    /// For each text of the automaton, the patterns that need it.
    owners: Vec<Vec<usize>>,
}

impl Scanner {
    pub(super) fn new(patterns: Vec<Pattern>) -> Result<Self, String> {
        let mut texts: Vec<Vec<u8>> = Vec::new();
        let mut owners: Vec<Vec<usize>> = Vec::new();
        for (index, pattern) in patterns.iter().enumerate() {
            for literal in &pattern.literals {
                if let Some(known) = texts.iter().position(|text| text == literal) {
                    owners[known].push(index);
                } else {
                    texts.push(literal.clone());
                    owners.push(vec![index]);
                }
            }
        }
        let automaton = AhoCorasick::builder()
            .kind(Some(AhoCorasickKind::DFA))
            .build(&texts)
            .map_err(|error| error.to_string())?;
        Ok(Self { patterns, automaton, owners })
    }

    /// The hits of each pattern, in the order of passages and lines.
    pub(super) fn scan(&self, passages: &[&Passage]) -> Vec<Vec<Hit>> {
        let mut hits = vec![Vec::new(); self.patterns.len()];
        for (index, passage) in passages.iter().enumerate() {
            self.scan_one(index, passage, &mut hits);
        }
        hits
    }

    fn scan_one(&self, index: usize, passage: &Passage, hits: &mut [Vec<Hit>]) {
        let prepared = Prepared::new(passage);
        let text = &*prepared.text;
        let mut seen: Vec<Option<usize>> = vec![None; self.patterns.len()];
        let mut lines = LineCounter { text, at: 0, line: 0 };
        for find in self.automaton.find_overlapping_iter(text) {
            for &owner in &self.owners[find.pattern().as_usize()] {
                let pattern = &self.patterns[owner];
                if !pattern.origins.contains(&passage.origin) || hits[owner].len() >= MOST_HITS {
                    continue;
                }
                let range = line_around(text, find.start()..find.end());
                if seen[owner] == Some(range.start) {
                    continue;
                }
                seen[owner] = Some(range.start);
                let Some(found) = pattern.find(text, range.clone()) else { continue };
                let line = lines.line_of(range.start);
                hits[owner].push(found.into_hit(index, line, &prepared));
            }
        }
    }
}

/// A match before its line numbers are known.
struct Found {
    text: String,
    captures: Vec<(String, String)>,
    then: Option<(usize, String)>,
    cause: Option<(usize, String)>,
}

impl Found {
    fn into_hit(self, passage: usize, line: usize, prepared: &Prepared<'_>) -> Hit {
        let Self { text, captures, then, cause } = self;
        let numbered = |(below, text)| (prepared.number(line + below), text);
        Hit {
            passage,
            number: prepared.number(line),
            text,
            captures,
            then: then.map(numbered),
            cause: cause.map(numbered),
        }
    }
}

impl Pattern {
    fn find(&self, text: &str, range: Range<usize>) -> Option<Found> {
        let line = &text[range.clone()];
        let groups = self.line.captures(line)?;
        let mut captures = named(&self.line, &groups);
        let rest = text[range.end..].strip_prefix('\n').unwrap_or_default();
        let then = match &self.then {
            None => None,
            Some((regex, within)) => {
                let after = &line[groups.get(0).map_or(0, |whole| whole.end())..];
                let entry = rest.split('\n').take(*within).take_while(|line| !starts_entry(line));
                let (below, found) = std::iter::once(after)
                    .chain(entry)
                    .map(|line| line_cut(line, REACH))
                    .enumerate()
                    .find(|(_, line)| regex.is_match(line))?;
                if let Some(groups) = regex.captures(found) {
                    captures.extend(named(regex, &groups));
                }
                (below > 0).then(|| (below, found.to_owned()))
            }
        };
        Some(Found { text: line.to_owned(), captures, then, cause: last_cause(rest) })
    }
}

fn named(regex: &Regex, groups: &regex::Captures<'_>) -> Vec<(String, String)> {
    regex
        .capture_names()
        .flatten()
        .filter_map(|name| Some((name.to_owned(), groups.name(name)?.as_str().to_owned())))
        .collect()
}

/// The last `Caused by:` of the stack trace that starts here: its lines up to the next log entry.
fn last_cause(rest: &str) -> Option<(usize, String)> {
    rest.split('\n')
        .take(TRACE)
        .take_while(|line| !starts_entry(line))
        .enumerate()
        .filter_map(|(below, line)| Some((below, line.strip_prefix("Caused by: ")?)))
        .last()
        .map(|(below, cause)| (below + 1, line_cut(cause, REACH).to_owned()))
}

/// True for the first line of a log entry: it starts with a date or time.
fn starts_entry(line: &str) -> bool {
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    matches!(digits, 2 | 4) && matches!(line.as_bytes().get(digits), Some(b'/' | b'-' | b':'))
}

/// The line around a find, at most [`REACH`] bytes to either side.
fn line_around(text: &str, find: Range<usize>) -> Range<usize> {
    let mut low = find.start.saturating_sub(REACH);
    while !text.is_char_boundary(low) {
        low += 1;
    }
    let start = text[low..find.start].rfind('\n').map_or(low, |at| low + at + 1);
    let rest = line_cut(&text[find.end..], REACH);
    let end = find.end + rest.find('\n').unwrap_or(rest.len());
    start..end
}

fn line_cut(line: &str, most: usize) -> &str {
    let mut end = line.len().min(most);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    &line[..end]
}

/// Counts lines as the scan moves on; finds on earlier lines are counted again from the start.
struct LineCounter<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl LineCounter<'_> {
    fn line_of(&mut self, offset: usize) -> usize {
        if offset < self.at {
            (self.at, self.line) = (0, 0);
        }
        self.line += self.text[self.at..offset].matches('\n').count();
        self.at = offset;
        self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(line: &str, then: Option<&str>) -> Pattern {
        Pattern {
            origins: vec![Origin::DriverLog],
            line: Regex::new(line).unwrap(),
            then: then.map(|regex| (Regex::new(regex).unwrap(), 3)),
            literals: super::super::literal::required(line).unwrap(),
        }
    }

    fn scan(pattern: Pattern, text: &str) -> Vec<Hit> {
        let passage = Passage::new(Origin::DriverLog, "driver", text);
        Scanner::new(vec![pattern]).unwrap().scan(&[&passage]).remove(0)
    }

    #[test]
    fn a_reason_that_spans_lines_is_found_with_its_numbers() {
        let text = "a\n26/11/23 ERROR x: Lost executor 1 on h:\nThe executor with id 1\n\treason: OOMKilled\n";
        let hits = scan(pattern("Lost executor (?P<id>\\S+)", Some("reason: (?P<why>\\w+)")), text);
        assert_eq!(hits.len(), 1);
        assert_eq!((hits[0].number, hits[0].then.as_ref().unwrap().0), (2, 4));
        assert_eq!(hits[0].captures[1], ("why".to_owned(), "OOMKilled".to_owned()));
        let far = text.replace("with id 1\n", "with id 1\n\n\n\n");
        assert!(scan(pattern("Lost executor", Some("OOMKilled")), &far).is_empty());
        let other = text.replace("with id 1\n", "with id 1\n26/11/23 INFO next\n");
        assert!(scan(pattern("Lost executor", Some("OOMKilled")), &other).is_empty());
        let same = "Lost executor 1: reason: OOMKilled";
        assert_eq!(scan(pattern("Lost executor", Some("OOMKilled")), same)[0].then, None);
    }

    #[test]
    fn the_last_cause_of_its_own_trace_is_kept() {
        let text = "26/11/23 ERROR failed: boom\njava.lang.X: boom\n\tat a.B\nCaused by: first\n\tat c\n\
                    Caused by: java.net.ConnectException: refused\n\t... 3 more\n26/11/23 INFO next\nCaused by: other\n";
        let hits = scan(pattern("failed: boom", None), text);
        assert_eq!(hits[0].cause, Some((6, "java.net.ConnectException: refused".to_owned())));
    }

    #[test]
    fn a_flood_and_an_endless_line_stay_bounded() {
        let hits = scan(pattern("flooding here", None), &"flooding here\n".repeat(5_000));
        assert_eq!(hits.len(), MOST_HITS);
        assert_eq!(hits[199].number, 200);
        let endless = format!("{}ä flooding here{}", "é".repeat(50_000), "x".repeat(100_000));
        let hits = scan(pattern("flooding here", None), &endless);
        assert!(hits[0].text.len() <= 2 * REACH + 20);
    }

    #[test]
    fn only_the_named_origins_are_searched() {
        let passage = Passage::new(Origin::Event, "event", "flooding here");
        let scanner = Scanner::new(vec![pattern("flooding here", None)]).unwrap();
        assert!(scanner.scan(&[&passage])[0].is_empty());
    }
}
