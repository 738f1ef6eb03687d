//! Identifiers people can say aloud at night: `INC-12`, not a UUID.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// An incident's number, unique in one store. Shown and read as `INC-<number>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IncidentId(pub i64);

impl fmt::Display for IncidentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "INC-{}", self.0)
    }
}

impl FromStr for IncidentId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits =
            text.strip_prefix("INC-").or_else(|| text.strip_prefix("inc-")).unwrap_or(text);
        match digits.parse() {
            Ok(number) if number > 0 => Ok(Self(number)),
            _ => Err(format!("`{text}` is not an incident; write INC-12 or 12")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incident_is_read_as_it_is_shown() {
        assert_eq!("INC-12".parse(), Ok(IncidentId(12)));
        assert_eq!("12".parse(), Ok(IncidentId(12)));
        assert_eq!(IncidentId(12).to_string(), "INC-12");
        for bad in ["", "INC-", "INC-0", "-3", "INC-x"] {
            assert!(bad.parse::<IncidentId>().is_err(), "{bad}");
        }
    }
}
