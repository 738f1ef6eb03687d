//! A duration among a step's inputs, with its range in the type: a wait of zero or of a year is refused when the playbook
//! is loaded, with its position, and the range is in the generated documentation.

use std::{borrow::Cow, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::domain::duration;

/// A duration from `MIN_MS` to `MAX_MS` milliseconds, written `500ms`, `5s` or `1m 30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span<const MIN_MS: u64, const MAX_MS: u64>(Duration);

impl<const MIN_MS: u64, const MAX_MS: u64> Span<MIN_MS, MAX_MS> {
    /// The duration.
    pub fn get(self) -> Duration {
        self.0
    }

    /// A duration in the range, or the sentence that names the range.
    pub fn new(span: Duration) -> Result<Self, String> {
        let (min, max) = (Duration::from_millis(MIN_MS), Duration::from_millis(MAX_MS));
        if (min..=max).contains(&span) {
            return Ok(Self(span));
        }
        let given = duration::format(span);
        Err(format!(
            "{given} is out of range: {} to {}",
            duration::format(min),
            duration::format(max)
        ))
    }
}

impl<const MIN_MS: u64, const MAX_MS: u64> Serialize for Span<MIN_MS, MAX_MS> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&duration::format(self.0))
    }
}

impl<'de, const MIN_MS: u64, const MAX_MS: u64> Deserialize<'de> for Span<MIN_MS, MAX_MS> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        duration::parse(&text).and_then(Self::new).map_err(de::Error::custom)
    }
}

impl<const MIN_MS: u64, const MAX_MS: u64> JsonSchema for Span<MIN_MS, MAX_MS> {
    fn schema_name() -> Cow<'static, str> {
        format!("Duration_{MIN_MS}ms_to_{MAX_MS}ms").into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let [min, max] = [MIN_MS, MAX_MS].map(|ms| duration::format(Duration::from_millis(ms)));
        schemars::json_schema!({
            "type": "string",
            "pattern": r"^\s*(\d+(ms|s|m|h|d)\s*)+$",
            "description": format!("A duration from {min} to {max}, such as `30s` or `1m 30s`."),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Timeout = Span<100, 60_000>;

    fn read(text: &str) -> Result<Timeout, String> {
        serde_saphyr::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_duration_in_range_is_read_and_written_alike() {
        let span = read("1m").unwrap();
        assert_eq!(span.get(), Duration::from_mins(1));
        assert_eq!(serde_json::to_value(span).unwrap(), "1m");
    }

    #[test]
    fn a_duration_out_of_range_names_the_range() {
        for bad in ["99ms", "61s", "0s", "500d"] {
            let error = read(bad).unwrap_err();
            assert!(error.contains("is out of range: 100ms to 1m"), "{error}");
        }
        for nonsense in ["\"\"", "soon", "-1s", "\"5s\\0\""] {
            assert!(read(nonsense).unwrap_err().contains("is not a duration"), "{nonsense}");
        }
    }
}
