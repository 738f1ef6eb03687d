//! The texts one of which must stand in whatever a regex matches; they feed the one prefilter over all evidence.

use regex_syntax::hir::{Hir, HirKind};

/// Shortest useful text, bytes: shorter ones would stop the scan on every line.
const SHORTEST: usize = 4;

/// Most texts per regex.
const MOST: usize = 24;

/// The texts, or `None` when the regex has no fixed part.
pub(super) fn required(pattern: &str) -> Option<Vec<Vec<u8>>> {
    let hir = regex_syntax::parse(pattern).ok()?;
    of(&hir)
}

fn of(hir: &Hir) -> Option<Vec<Vec<u8>>> {
    match hir.kind() {
        HirKind::Literal(literal) if literal.0.len() >= SHORTEST => Some(vec![literal.0.to_vec()]),
        HirKind::Repetition(repeat) if repeat.min > 0 => of(&repeat.sub),
        HirKind::Literal(_)
        | HirKind::Empty
        | HirKind::Class(_)
        | HirKind::Look(_)
        | HirKind::Repetition(_) => None,
        HirKind::Capture(capture) => of(&capture.sub),
        HirKind::Concat(parts) => parts
            .iter()
            .filter_map(of)
            .max_by_key(|set| (set.iter().map(Vec::len).min(), std::cmp::Reverse(set.len()))),
        HirKind::Alternation(branches) => {
            let sets: Option<Vec<_>> = branches.iter().map(of).collect();
            let all: Vec<Vec<u8>> = sets?.into_iter().flatten().collect();
            (all.len() <= MOST).then_some(all)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(pattern: &str) -> Option<Vec<String>> {
        required(pattern)
            .map(|set| set.into_iter().map(|t| String::from_utf8(t).unwrap()).collect())
    }

    #[test]
    fn the_longest_fixed_part_is_taken() {
        let one = |text: &str| Some(vec![text.to_owned()]);
        assert_eq!(texts(r"Lost executor (\S+) on (\S+): Worker shut"), one("Lost executor "));
        assert_eq!(texts(r"exit code (?P<code>\d+)\(SIGKILL"), one("exit code "));
        assert_eq!(texts("(?:reason=OOMKilled)+"), one("reason=OOMKilled"));
        assert_eq!(texts("x*abcdef?"), one("abcde"));
    }

    #[test]
    fn every_branch_needs_a_fixed_part() {
        assert_eq!(texts("SIGSEGV|hs_err").map(|set| set.len()), Some(2));
        assert_eq!(texts(r"SIGSEGV|\d+"), None);
        assert_eq!(texts("(?i)killed"), None);
        assert_eq!(texts("abc"), None);
    }
}
