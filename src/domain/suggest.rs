//! "Did you mean": the closest of some names.

/// The name within a third of its length of `word`, if there is one; ties go to the first.
pub fn closest<'a>(word: &str, names: &[&'a str]) -> Option<&'a str> {
    let word = word.to_lowercase();
    names
        .iter()
        .map(|name| (distance(&word, &name.to_lowercase()), *name))
        .filter(|(distance, name)| *distance <= (name.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Optimal string alignment: insert, delete, replace, swap neighbours. Both are cut at 64 characters.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(64).collect();
    let b: Vec<char> = b.chars().take(64).collect();
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let cost = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + cost);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

/// The YAML reader's message in our words, with the key that was probably meant.
pub fn reword(message: &str) -> String {
    let plain = [
        ("expected mapping start", "expected a map, `key: value`"),
        ("expected sequence start", "expected a list, `[a, b]`"),
        ("expected string scalar", "expected text"),
    ];
    if let Some((_, ours)) = plain.iter().find(|(theirs, _)| *theirs == message) {
        return (*ours).to_owned();
    }
    let mut parts = message.splitn(3, '`');
    let (Some(what), Some(word), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
        return message.to_owned();
    };
    let suggests = what.starts_with("unknown") && word.len() > 3;
    let Some((_, known)) = rest.split_once("expected ").filter(|_| suggests) else {
        return message.to_owned();
    };
    let known = known.trim_start_matches("one of ").replace(" or ", ", ").replace('`', "");
    let known: Vec<&str> = known.split(", ").collect();
    closest(word, &known).map_or_else(
        || message.to_owned(),
        |meant| format!("{what}`{}`; did you mean `{meant}`?", word.escape_debug()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_recognised_and_another_word_is_not() {
        let names = ["title", "steps", "match", "severity"];
        assert_eq!(closest("titel", &names), Some("title"));
        assert_eq!(closest("Step", &names), Some("steps"));
        assert_eq!(closest("serverity", &names), Some("severity"));
        assert_eq!(closest("remedies", &names), None);
        assert_eq!(closest("", &names), None);
    }

    #[test]
    fn an_unknown_key_is_answered_with_the_one_that_was_meant() {
        for expected in [
            "expected one of `listen`, `url`",
            "expected `listen` or `url`",
            "expected one of listen, url",
        ] {
            let message = format!("unknown field `lisen`, {expected}");
            assert_eq!(reword(&message), "unknown field `lisen`; did you mean `listen`?");
        }
        assert_eq!(
            reword("unknown field `P7`, expected `P1`"),
            "unknown field `P7`, expected `P1`"
        );
        assert_eq!(reword("`"), "`");
    }
}
