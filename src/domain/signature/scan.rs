//! One pass over all evidence for all signatures.
//!
//! Every pattern has a fixed part ([`super::literal`]). One Aho-Corasick automaton finds them all; only a line that holds
//! a pattern's fixed part is shown to its regex. Work is bounded: lines are cut around the find, and a pattern that
//! matched often enough is not asked again. What is kept of a line is masked and cut, so that a log of any size needs
//! little memory.

use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use regex::Regex;

use super::{entry, prepare::Prepared};
use crate::domain::{evidence::Origin, redact::redact};

/// Bytes of a line kept on either side of the fixed part.
const REACH: usize = 4 * 1024;

/// Matches kept per pattern.
pub(super) const MOST_HITS: usize = 200;

/// Lines of a stack trace searched for its last `Caused by:`.
const TRACE: usize = 400;

/// Longest text kept of a line, characters.
const LONGEST: usize = 600;

/// Longest value kept of a named group, characters.
const LONGEST_CAPTURE: usize = 200;

/// One line to look for.
#[derive(Debug)]
pub(super) struct Pattern {
    pub(super) origins: Vec<Origin>,
    /// The entry's writer must be one of these; empty: anybody, also nobody.
    pub(super) by: Vec<String>,
    pub(super) line: Regex,
    /// Must not match in the same line.
    pub(super) unless: Option<Regex>,
    pub(super) then: Option<(Regex, usize)>,
    pub(super) literals: Vec<Vec<u8>>,
    pub(super) keep: Keep,
}

/// Which matches of a pattern are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// The first [`MOST_HITS`].
    First,
    /// The first ones, and always the newest: only the end tells whether they count.
    FirstAndNewest,
    /// The newest of each source.
    Newest,
}

/// A line that was found.
#[derive(Clone, Debug)]
pub(super) struct Hit {
    /// Index of the source.
    pub(super) source: usize,
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

/// A part of a source's text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'a> {
    /// Index of the source.
    pub(super) source: usize,
    pub(super) origin: Origin,
    /// Number of its first line, from 1.
    pub(super) first_line: u32,
    pub(super) text: &'a str,
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

    /// No hits yet.
    pub(super) fn nothing(&self) -> Vec<Vec<Hit>> {
        vec![Vec::new(); self.patterns.len()]
    }

    /// Adds the hits of a piece, in the order of its lines. A piece starts where a log entry starts.
    pub(super) fn scan(&self, piece: Piece<'_>, hits: &mut [Vec<Hit>]) {
        let prepared = Prepared::new(piece.origin, piece.first_line, piece.text);
        let text = &*prepared.text;
        let mut seen: Vec<Option<usize>> = vec![None; self.patterns.len()];
        let mut lines = LineCounter { text, at: 0, line: 0 };
        for find in self.automaton.find_overlapping_iter(text) {
            for &owner in &self.owners[find.pattern().as_usize()] {
                let pattern = &self.patterns[owner];
                let full = pattern.keep == Keep::First && hits[owner].len() >= MOST_HITS;
                if full || !pattern.origins.contains(&piece.origin) {
                    continue;
                }
                let range = line_around(text, find.start()..find.end());
                if seen[owner] == Some(range.start) {
                    continue;
                }
                seen[owner] = Some(range.start);
                let Some(found) = pattern.find(text, range.clone()) else { continue };
                let line = lines.line_of(range.start);
                pattern.keep(&mut hits[owner], found.into_hit(piece.source, line, &prepared));
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
    fn into_hit(self, source: usize, line: usize, prepared: &Prepared<'_>) -> Hit {
        let Self { text, captures, then, cause } = self;
        let numbered = |(below, text)| (prepared.number(line + below), text);
        Hit {
            source,
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
        let said = if self.by.is_empty() { line } else { self.said(text, &range)? };
        let whole = self.line.find(said)?;
        if self.unless.as_ref().is_some_and(|unless| unless.is_match(said)) {
            return None;
        }
        let mut captures = named(&self.line, said);
        let rest = text[range.end..].strip_prefix('\n').unwrap_or_default();
        let then = match &self.then {
            None => None,
            Some((regex, within)) => {
                let after = &said[whole.end()..];
                let below = rest.split('\n').take(*within).take_while(|line| !entry::starts(line));
                let (below, found) = std::iter::once(after)
                    .chain(below)
                    .map(|line| line_cut(line, REACH))
                    .enumerate()
                    .find(|(_, line)| regex.is_match(line))?;
                captures.extend(named(regex, found));
                (below > 0).then(|| (below, kept(found, LONGEST)))
            }
        };
        Some(Found { text: kept(line, LONGEST), captures, then, cause: last_cause(rest) })
    }

    /// What the line says, when one of `by` says it: the message of an entry's first line, or a line below one.
    fn said<'a>(&self, text: &'a str, range: &Range<usize>) -> Option<&'a str> {
        let line = &text[range.clone()];
        let head = entry::writer(text, range.start, line)?;
        let mine = self.by.iter().any(|by| by == head.logger);
        mine.then(|| &line[head.message..])
    }

    fn keep(&self, hits: &mut Vec<Hit>, hit: Hit) {
        match self.keep {
            Keep::First => hits.push(hit),
            Keep::FirstAndNewest => {
                hits.truncate(MOST_HITS - 1);
                hits.push(hit);
            }
            Keep::Newest => {
                hits.retain(|known| known.source != hit.source);
                hits.push(hit);
            }
        }
    }
}

/// Named groups that matched in a line, masked.
fn named(regex: &Regex, line: &str) -> Vec<(String, String)> {
    if regex.captures_len() == 1 {
        return Vec::new();
    }
    let masked = redact(line);
    let Some(groups) = regex.captures(&masked) else { return Vec::new() };
    let named = regex.capture_names().flatten();
    let value = |name| groups.name(name).map(|group| group.as_str());
    named.filter_map(|name| Some((name.to_owned(), cut(value(name)?, LONGEST_CAPTURE)))).collect()
}

/// A line masked and cut.
fn kept(line: &str, most: usize) -> String {
    cut(&redact(line), most)
}

fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

/// The last `Caused by:` of the stack trace that starts here: its lines up to the next log entry.
fn last_cause(rest: &str) -> Option<(usize, String)> {
    rest.split('\n')
        .take(TRACE)
        .take_while(|line| !entry::starts(line))
        .enumerate()
        .filter_map(|(below, line)| Some((below, line.strip_prefix("Caused by: ")?)))
        .last()
        .map(|(below, cause)| (below + 1, kept(line_cut(cause, REACH), LONGEST)))
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
            by: vec![],
            unless: None,
            keep: Keep::First,
            line: Regex::new(line).unwrap(),
            then: then.map(|regex| (Regex::new(regex).unwrap(), 3)),
            literals: super::super::literal::required(line).unwrap(),
        }
    }

    fn scan(pattern: Pattern, text: &str) -> Vec<Hit> {
        searched(pattern, Origin::DriverLog, text)
    }

    fn searched(pattern: Pattern, origin: Origin, text: &str) -> Vec<Hit> {
        let scanner = Scanner::new(vec![pattern]).unwrap();
        let mut hits = scanner.nothing();
        scanner.scan(Piece { source: 0, origin, first_line: 1, text }, &mut hits);
        hits.remove(0)
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
        assert!(hits[0].text.chars().count() <= LONGEST);
    }

    #[test]
    fn only_the_named_origins_are_searched() {
        let hits = searched(pattern("flooding here", None), Origin::Event, "flooding here");
        assert!(hits.is_empty());
    }

    #[test]
    fn only_the_named_writers_are_heard_in_their_own_words() {
        let by = |line: &str| {
            let pattern =
                Pattern { by: vec!["TaskSchedulerImpl".to_owned()], ..pattern(line, None) };
            move |text: &str| searched(pattern, Origin::DriverLog, text).len()
        };
        let lost =
            "26/11/23 05:40:52 ERROR TaskSchedulerImpl: Lost executor 1 on h: \nexit code 137\n";
        assert_eq!(by("^Lost executor")(lost), 1);
        assert_eq!(by("^exit code 137")(lost), 1);
        let other = lost.replace("TaskSchedulerImpl", "Report");
        assert_eq!(by("^exit code 137")(&other), 0);
        let quoting = format!("26/11/23 05:40:52 INFO Report: {lost}");
        assert_eq!(by("^Lost executor")(&quoting), 0);
        assert_eq!(by("^Lost executor")("Lost executor 1 on h"), 0);
    }

    #[test]
    fn what_does_not_count_and_what_is_newest() {
        let unless = Regex::new("scale down").ok();
        let text = "flooding here\nflooding here: scale down\nflooding here\n";
        let hits = scan(Pattern { unless, ..pattern("flooding here", None) }, text);
        assert_eq!(hits.iter().map(|hit| hit.number).collect::<Vec<_>>(), [1, 3]);
        let newest = Pattern { keep: Keep::Newest, ..pattern("flooding here", None) };
        assert_eq!(scan(newest, text).iter().map(|hit| hit.number).collect::<Vec<_>>(), [3]);
        let flood = "flooding here\n".repeat(5_000);
        let both = Pattern { keep: Keep::FirstAndNewest, ..pattern("flooding here", None) };
        let hits = scan(both, &flood);
        assert_eq!((hits.len(), hits[0].number, hits[199].number), (MOST_HITS, 1, 5_000));
    }

    #[test]
    fn what_is_kept_of_a_line_is_masked_before_it_is_cut() {
        let line = "flooding here password=hunter2hunter2 and more";
        let hits = scan(pattern("flooding here (?P<rest>.*)", None), line);
        assert!(!hits[0].text.contains("hunter2") && !hits[0].captures[0].1.contains("hunter2"));
    }
}
