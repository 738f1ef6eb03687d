//! P0 to P3, and how an alert's `severity` label becomes one.

use std::{cmp::Ordering, fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How bad it is. Compares by urgency: `P0 > P1 > P2 > P3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Severity {
    /// Data loss or corruption, or all pipelines down: primary and secondary are paged at once.
    P0,
    /// A pipeline with a deadline fails: the primary is paged.
    P1,
    /// Degraded, a retry works: paged by the policy's hold rules.
    P2,
    /// Hygiene: chat only.
    P3,
}

impl Severity {
    /// All, most urgent first.
    pub const ALL: [Self; 4] = [Self::P0, Self::P1, Self::P2, Self::P3];
}

impl Ord for Severity {
    fn cmp(&self, other: &Self) -> Ordering {
        (*other as u8).cmp(&(*self as u8))
    }
}

impl PartialOrd for Severity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::P0 => "P0",
            Self::P1 => "P1",
            Self::P2 => "P2",
            Self::P3 => "P3",
        })
    }
}

impl FromStr for Severity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|s| s.to_string().eq_ignore_ascii_case(text))
            .ok_or_else(|| format!("`{text}` is not a severity; write P0, P1, P2 or P3"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p0_is_the_highest() {
        assert_eq!(Severity::ALL.into_iter().max(), Some(Severity::P0));
        assert!(Severity::P1 > Severity::P2);
    }

    #[test]
    fn it_is_read_in_either_case_and_nothing_else() {
        assert_eq!("p1".parse(), Ok(Severity::P1));
        assert!("critical".parse::<Severity>().is_err());
    }
}
