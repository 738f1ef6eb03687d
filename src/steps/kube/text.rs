//! Small typed inputs: a span of time back from now, and a pattern for log lines.

use std::{fmt, time::Duration};

use jiff::SignedDuration;
use regex::{Regex, RegexBuilder};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

/// How far back to look: `30s`, `10m`, `1h30m`; at least one second, at most seven days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Since(pub Duration);

impl TryFrom<String> for Since {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let shown: String = text.chars().take(40).collect();
        let bad =
            || format!("`{}` is not a duration from 1s to 7d, such as 10m", shown.escape_debug());
        // Longer than any sensible duration: not worth a parser's time.
        let days = text.strip_suffix('d').and_then(|days| days.parse::<u32>().ok());
        let span = match days {
            Some(days) => Duration::from_hours(24) * days.min(1_000),
            None if text.len() > 32 => return Err(bad()),
            None => {
                let span: SignedDuration = text.parse().map_err(|_| bad())?;
                Duration::try_from(span).map_err(|_| bad())?
            }
        };
        let most = Duration::from_hours(24 * 7);
        if (Duration::from_secs(1)..=most).contains(&span) { Ok(Self(span)) } else { Err(bad()) }
    }
}

impl From<Since> for String {
    fn from(since: Since) -> Self {
        format!("{}s", since.0.as_secs())
    }
}

impl JsonSchema for Since {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Since".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "string", "description": "A duration from 1s to 7d: `30s`, `10m`, `1h30m`." })
    }
}

/// A regular expression over single lines; not a template, so that no label can become one.
#[derive(Clone, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(Regex);

/// Longest pattern, bytes.
const MAX_PATTERN: usize = 1_024;

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.is_empty() || text.len() > MAX_PATTERN {
            return Err(format!("a pattern has 1 to {MAX_PATTERN} bytes"));
        }
        let built = RegexBuilder::new(&text).size_limit(1 << 20).build();
        built.map(Self).map_err(|error| error.to_string())
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0.as_str().to_owned()
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.0.as_str())
    }
}

impl JsonSchema for Pattern {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Pattern".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "string", "maxLength": MAX_PATTERN, "description": "A regular expression." })
    }
}

impl Pattern {
    /// The lines that match, with `context` lines around each; gaps are marked `--`. Also how many matched.
    pub fn grep(&self, text: &str, context: usize) -> (String, usize) {
        let lines: Vec<&str> = text.lines().collect();
        let (mut out, mut count, mut shown_to) = (String::new(), 0, 0);
        for (at, _) in lines.iter().enumerate().filter(|(_, line)| self.0.is_match(line)) {
            count += 1;
            let from = at.saturating_sub(context).max(shown_to);
            if from > shown_to && !out.is_empty() {
                out.push_str("--\n");
            }
            let to = (at + context + 1).min(lines.len());
            for line in lines.iter().take(to).skip(from) {
                out.push_str(line);
                out.push('\n');
            }
            shown_to = shown_to.max(to);
        }
        (out, count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_read_within_its_bounds() {
        let read = |text: &str| Since::try_from(text.to_owned());
        assert_eq!(read("10m").unwrap().0, Duration::from_mins(10));
        assert_eq!(read("1h30m").unwrap().0, Duration::from_mins(90));
        assert_eq!(read("7d").unwrap().0, Duration::from_hours(168));
        for bad in
            ["", "0s", "-1m", "8d", "999999999999d", "soon", "10", "1m\0", &"1".repeat(65_536)]
        {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn matches_keep_their_surroundings_and_gaps_are_marked() {
        let pattern = Pattern::try_from("ERROR".to_owned()).unwrap();
        let text = "a\nb\nERROR 1\nc\nd\ne\nf\nERROR 2\nERROR 3\ng";
        let (out, count) = pattern.grep(text, 1);
        assert_eq!(out, "b\nERROR 1\nc\n--\nf\nERROR 2\nERROR 3\ng\n");
        assert_eq!(count, 3);
        assert_eq!(pattern.grep("nothing", 5), (String::new(), 0));
    }

    #[test]
    fn a_bad_pattern_is_refused_when_it_is_loaded() {
        for bad in ["", "(", "a{1000}{1000}{1000}", &"a".repeat(2_000)] {
            assert!(Pattern::try_from(bad.to_owned()).is_err(), "{}", bad.len());
        }
    }
}
