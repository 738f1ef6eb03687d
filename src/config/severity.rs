//! `severity:` how an alert's `severity` label becomes P0 to P3.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::severity::Severity;

/// How an alert's `severity` label becomes P0 to P3. The values `P0` to `P3` always mean themselves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SeverityMap {
    /// Label value to severity; upper and lower case are the same. Replaces the default whole.
    pub map: BTreeMap<String, Severity>,
    /// For alerts without the label, or with a value that is not in the map.
    pub default: Severity,
}

impl Default for SeverityMap {
    fn default() -> Self {
        let map = [
            ("critical", Severity::P1),
            ("error", Severity::P2),
            ("warning", Severity::P2),
            ("info", Severity::P3),
        ];
        Self {
            map: map.into_iter().map(|(label, severity)| (label.to_owned(), severity)).collect(),
            default: Severity::P2,
        }
    }
}

impl SeverityMap {
    /// The severity of a label's value; "" is a missing label.
    pub fn of(&self, label: &str) -> Severity {
        let mapped = self.map.iter().find(|(value, _)| value.eq_ignore_ascii_case(label));
        mapped.map(|(_, severity)| *severity).or_else(|| label.parse().ok()).unwrap_or(self.default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_label_gets_the_default_and_p0_means_itself() {
        let map = SeverityMap::default();
        for (label, severity) in [
            ("critical", Severity::P1),
            ("Critical", Severity::P1),
            ("p0", Severity::P0),
            ("", Severity::P2),
            ("page", Severity::P2),
        ] {
            assert_eq!(map.of(label), severity, "{label}");
        }
    }
}
