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

/// The name at most `most` letters away from `word`, letter case ignored; ties go to the first.
pub fn near<'a>(word: &str, names: &[&'a str], most: usize) -> Option<&'a str> {
    let word = word.to_lowercase();
    names
        .iter()
        .filter(|name| name.len().abs_diff(word.len()) <= most)
        .map(|name| (distance(&word, &name.to_lowercase()), *name))
        .filter(|(distance, _)| *distance <= most)
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
        assert_eq!(near("Severty", &names, 2), Some("severity"));
        assert_eq!((near("sevrty!", &names, 2), near("", &names, 2)), (None, None));
    }
}
