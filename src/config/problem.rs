//! What is wrong with a configuration that could be read: all of it at once, each with its key.

use std::fmt;

/// Findings of the checks, in the order of the file's documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<(String, String)>);

impl Problems {
    pub(super) fn add(&mut self, key: impl Into<String>, what: impl Into<String>) {
        self.0.push((key.into(), what.into()));
    }

    /// A map key that cannot be used.
    pub(super) fn name(&mut self, key: impl Into<String>, name: &str) {
        let shown: String = name.chars().take(64).flat_map(char::escape_debug).collect();
        self.add(key, format!("`{shown}` is not a name; use a-z, 0-9, - and _, at most 63"));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (key, what)) in self.0.iter().enumerate() {
            write!(f, "{}{key}: {what}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

/// True for a name that can be part of a path, a metric label and a message.
pub(super) fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    (1..=63).contains(&name.len()) && name.bytes().all(plain)
}

/// True for a label name, as Prometheus has them.
pub(super) fn is_label(name: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphabetic() || b == b'_';
    name.bytes().next().is_some_and(letter) && name.bytes().all(|b| letter(b) || b.is_ascii_digit())
}
