//! How durations are written, and which word was meant: shared by the configuration and the YAML files, so that `1h 30m`
//! and "did you mean" are the same everywhere.

use std::time::Duration;

/// Longest duration text that is looked at, bytes.
const MAX_DURATION: usize = 64;

/// Reads `30s`, `10m`, `2h`, `7d` or a sum such as `1h 30m`. A day is 24 hours. Never negative.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let bad = || {
        let shown: String = text.chars().take(MAX_DURATION).collect();
        format!("`{}` is not a duration; write 30s, 10m, 2h, 7d or 1h 30m", shown.escape_debug())
    };
    let mut rest = text.trim();
    if rest.is_empty() || rest.len() > MAX_DURATION {
        return Err(bad());
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().map_err(|_| bad())?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let milliseconds: u64 = match &rest[..letters] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(bad()),
        };
        let part = number.checked_mul(milliseconds).ok_or_else(bad)?;
        total = total.checked_add(Duration::from_millis(part)).ok_or_else(bad)?;
        rest = rest[letters..].trim_start();
    }
    Ok(total)
}

/// Writes what [`parse_duration`] reads: `1h 30m`; zero is `0s`. Fractions of a millisecond are dropped.
pub fn format_duration(duration: Duration) -> String {
    let mut rest = duration.as_millis();
    let mut parts = Vec::new();
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)]
    {
        let (count, left) = (rest / size, rest % size);
        if count > 0 {
            parts.push(format!("{count}{unit}"));
        }
        rest = left;
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

/// The candidate that was probably meant by `word`: the one with the fewest edits, at most a third of its length.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > 64 {
        return None;
    }
    let word = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (edits(&word, &candidate.to_lowercase()), candidate))
        .filter(|(edits, candidate)| *edits <= candidate.chars().count().div_ceil(3))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b`.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let substituted = rows[i][j] + usize::from(x != y);
            let mut best = substituted.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_read_back_as_it_is_written() {
        for (text, seconds) in
            [("0s", 0), ("30s", 30), ("10m", 600), ("1h 30m", 5400), ("7d", 604_800)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)));
            assert_eq!(format_duration(Duration::from_secs(seconds)), text);
        }
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_mins(90)));
        assert_eq!(format_duration(Duration::from_millis(1500)), "1s 500ms");
    }

    #[test]
    fn what_is_not_a_duration_is_refused_with_the_way_to_write_it() {
        let long = "1s ".repeat(30);
        for bad in
            ["", " ", "5", "m", "10 minuts", "-5m", "1.5h", "99999999999999999999d", "5µ", "\0"]
                .into_iter()
                .chain([long.as_str(), "18446744073709551615d"])
        {
            let error = parse_duration(bad).unwrap_err();
            assert!(error.ends_with("write 30s, 10m, 2h, 7d or 1h 30m"), "{bad}: {error}");
        }
    }

    #[test]
    fn the_nearest_word_is_the_one_with_the_fewest_edits() {
        assert_eq!(nearest("lisen", ["listen", "public_url"]), Some("listen"));
        assert_eq!(nearest("pagre", ["page", "post"]), Some("page"));
        assert_eq!(nearest("xyz", ["listen", "public_url"]), None);
        assert_eq!(nearest(&"x".repeat(1 << 16), ["x"]), None);
    }
}
