//! Why there is no configuration, with the place to mend. Never holds a secret: a line of the file is shown only up to the
//! mistake, and values of keys that name secrets are left out.

use std::{path::PathBuf, sync::OnceLock};

use regex::Regex;

use super::{problem::Problems, value::SecretError};
use crate::domain::suggest::closest;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    Read {
        /// As given.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is larger than 1 MiB.
    #[error("the configuration {} is larger than 1 MiB", path.display())]
    TooLarge {
        /// As given.
        path: PathBuf,
    },
    /// The file does not say what it should.
    #[error("{0}")]
    File(String),
    /// An environment variable does not fit.
    #[error("the environment variable {name}: {reason}")]
    Variable {
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A secret cannot be read.
    #[error("{key}: {source}")]
    Secret {
        /// The key that refers to it.
        key: String,
        /// Why.
        #[source]
        source: SecretError,
    },
    /// It can be read, but not used.
    #[error("the configuration cannot be used:\n{0}")]
    Invalid(Problems),
}

/// The message with file, line, column, the line and a caret.
pub(super) fn at_place(file: &str, text: &str, error: &serde_saphyr::Error) -> Error {
    let plain = error.without_snippet();
    let message = plain.render_with_formatter(&serde_saphyr::UserMessageFormatter);
    let Some(place) = plain.location() else {
        return Error::File(format!("error: {}\n --> {file}", reword(&message)));
    };
    let suffix = format!(" at line {}, column {}", place.line(), place.column());
    let message = reword(message.trim_end_matches(&suffix));
    let mut shown = format!("error: {message}\n --> {file}:{}:{}", place.line(), place.column());
    let index = usize::try_from(place.line()).unwrap_or(1).saturating_sub(1);
    if let Some(line) = text.lines().nth(index) {
        let before = usize::try_from(place.column()).unwrap_or(1).saturating_sub(1);
        shown += &snippet(line, &place.line().to_string(), before, shows_value(&message));
    }
    Error::File(shown)
}

/// True when the word at fault is a key, or a value of a kind that is no secret.
fn shows_value(message: &str) -> bool {
    ["unknown", "duplicate", "invalid", "`"].iter().any(|start| message.starts_with(start))
}

/// The line up to the word at fault, and carets below that word.
fn snippet(line: &str, number: &str, before: usize, shows_value: bool) -> String {
    let start: String = line.chars().take(before).collect();
    let ends = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ':' | ',' | '}' | ']');
    let word: String = line.chars().skip(before).take_while(|c| !ends(*c)).take(64).collect();
    let word = if shows_value && !word.is_empty() { word } else { "…".to_owned() };
    let start = masked(&start);
    let margin = " ".repeat(number.len());
    let indent = " ".repeat(start.chars().count());
    let carets = "^".repeat(word.chars().count());
    format!("\n{margin} |\n{number} | {start}{word}\n{margin} | {indent}{carets}")
}

/// Replaces what stands after a key that names a secret, and control characters.
fn masked(line: &str) -> String {
    static KEY: OnceLock<Option<Regex>> = OnceLock::new();
    let pattern = r#"(?i)((?:token|secret|password|hmac|key)\w*["']?\s*:\s*)[^\s{][^,}]*"#;
    let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match KEY.get_or_init(|| Regex::new(pattern).ok()) {
        Some(key) => key.replace_all(&line, "$1…").into_owned(),
        None => String::new(),
    }
}

/// A reader's message in our words, with the key that was probably meant.
pub(super) fn reword(message: &str) -> String {
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
