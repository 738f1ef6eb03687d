//! Ids of signatures and globs over them: `*` is one segment, `**` any number.

/// True for `[a-z0-9-]` segments joined by `/`, at least two.
pub fn is_id(text: &str) -> bool {
    let segment = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    text.len() <= 100 && text.contains('/') && text.split('/').all(segment)
}

/// True when the glob covers the id.
pub fn covers(glob: &str, id: &str) -> bool {
    let glob: Vec<&str> = glob.split('/').collect();
    let id: Vec<&str> = id.split('/').collect();
    segments(&glob, &id)
}

fn segments(glob: &[&str], id: &[&str]) -> bool {
    match (glob.split_first(), id.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), _) => (0..=id.len()).any(|skip| segments(rest, &id[skip..])),
        (None, Some(_)) | (Some(_), None) => false,
        (Some((first, glob)), Some((part, id))) => {
            (*first == "*" || first == part) && segments(glob, id)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_one_segment_and_two_are_any() {
        for (glob, id, expected) in [
            ("spark/executor/*", "spark/executor/killed", true),
            ("spark/*", "spark/executor/killed", false),
            ("spark/**", "spark/executor/killed", true),
            ("**", "hive/down", true),
            ("**/killed", "spark/executor/killed", true),
            ("*/down", "hive/down", true),
            ("hive/down", "hive/down", true),
            ("hive/down", "hive/slow", false),
            ("hive/down/*", "hive/down", false),
        ] {
            assert_eq!(covers(glob, id), expected, "{glob} {id}");
        }
    }

    #[test]
    fn ids_are_lower_case_paths() {
        assert!(is_id("spark/executor/oom-killed"));
        for bad in ["", "spark", "Spark/x", "spark//x", "spark/x y", "/x", "a/*"] {
            assert!(!is_id(bad), "{bad}");
        }
    }
}
