//! A PromQL query with holes for values, filled so that no value can change the query.
//!
//! A label's value is whatever some exporter wrote. Pasted into a query it could close the string and ask something else,
//! or, after `=~`, match far more than meant. So the query itself is never a template: it has `$name` holes, and a hole
//! becomes a quoted string; after `=~` and `!~` the value is also escaped as a regular expression, so that it means itself.

use std::{collections::BTreeMap, fmt::Write as _};

/// Longest query, bytes, before values are filled in.
pub const MAX_QUERY: usize = 8 * 1024;
/// Longest value, bytes.
const MAX_VALUE: usize = 4 * 1024;

/// A query split at its holes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Hole { name: String, regex: bool },
}

impl Query {
    /// A query whose holes are these variables.
    pub fn with_vars<T>(source: &str, vars: &BTreeMap<String, T>) -> Result<Self, String> {
        let names: Vec<&str> = vars.keys().map(String::as_str).collect();
        Self::parse(source, &names)
    }

    /// Splits a query. Every hole must be among `names`, and every name must be used; a `$name` inside quotes is refused,
    /// because the value brings its own quotes.
    pub fn parse(source: &str, names: &[&str]) -> Result<Self, String> {
        if source.trim().is_empty() {
            return Err("the query is empty".to_owned());
        }
        if source.len() > MAX_QUERY {
            return Err(format!("this query is {} bytes long; at most {MAX_QUERY}", source.len()));
        }
        if source.contains("{{") {
            return Err(
                "a query takes no templates; put the value under `vars:` and write pod=$pod"
                    .to_owned(),
            );
        }
        let query = split(source, names)?;
        let used = |name: &str| {
            query.parts.iter().any(|part| matches!(part, Part::Hole { name: n, .. } if n == name))
        };
        match names.iter().find(|name| !used(name)) {
            Some(unused) => Err(format!("the query has no ${unused}; remove it from `vars:`")),
            None => Ok(query),
        }
    }

    /// The query with every hole filled.
    pub fn fill(&self, values: &BTreeMap<String, String>) -> Result<String, String> {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Hole { name, regex } => {
                    let value = values.get(name).map_or("", String::as_str);
                    if value.len() > MAX_VALUE {
                        return Err(format!(
                            "${name} is {} bytes long; at most {MAX_VALUE}",
                            value.len()
                        ));
                    }
                    if *regex {
                        quote(&mut out, &regex::escape(value));
                    } else {
                        quote(&mut out, value);
                    }
                }
            }
        }
        Ok(out)
    }
}

/// A PromQL string literal.
pub fn quote(out: &mut String, value: &str) {
    out.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            // Writing to a String cannot fail.
            c if c.is_control() => drop(write!(out, "\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Walks the query as PromQL's lexer does: strings in three kinds of quotes, comments to the end of the line.
fn split(source: &str, names: &[&str]) -> Result<Query, String> {
    let mut parts = vec![];
    let mut text = String::new();
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let taken = match c {
            '"' | '\'' | '`' => {
                let literal = literal(rest, c)?;
                if let Some(name) = names.iter().find(|name| holds(literal, name)) {
                    return Err(format!(
                        "${name} is inside quotes; the value brings its own: pod=${name}"
                    ));
                }
                literal.len()
            }
            '#' => rest.find('\n').unwrap_or(rest.len()),
            '$' => {
                let name = identifier(&rest[1..]);
                if !names.contains(&name) {
                    return Err(format!("the query uses `${name}`, which is not under `vars:`"));
                }
                let before = text.trim_end();
                // `|~` is LogQL's; PromQL has no such thing.
                let regex = ["=~", "!~", "|~"].iter().any(|sign| before.ends_with(sign));
                parts.push(Part::Text(std::mem::take(&mut text)));
                parts.push(Part::Hole { name: name.to_owned(), regex });
                rest = &rest[1 + name.len()..];
                continue;
            }
            other => other.len_utf8(),
        };
        let (head, tail) = rest.split_at(taken);
        text.push_str(head);
        rest = tail;
    }
    parts.push(Part::Text(text));
    Ok(Query { parts })
}

/// The string literal at the start of `rest`, with its quotes.
fn literal(rest: &str, quote: char) -> Result<&str, String> {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' && quote != '`' {
            escaped = true;
        } else if c == quote {
            return Ok(&rest[..=at]);
        }
    }
    Err(format!("a string that starts with {quote} does not end"))
}

fn identifier(rest: &str) -> &str {
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    &rest[..end]
}

/// True when `$name` stands in the text as a whole word.
fn holds(text: &str, name: &str) -> bool {
    text.match_indices('$').any(|(at, _)| identifier(&text[at + 1..]) == name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fill(source: &str, vars: &[(&str, &str)]) -> Result<String, String> {
        let names: Vec<&str> = vars.iter().map(|v| v.0).collect();
        let values = vars.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Query::parse(source, &names)?.fill(&values)
    }

    #[test]
    fn a_value_becomes_a_quoted_string() {
        let filled = fill("up{pod=$pod, ns!=$ns} > 1", &[("pod", "etl-1"), ("ns", "")]);
        assert_eq!(filled.unwrap(), r#"up{pod="etl-1", ns!=""} > 1"#);
    }

    #[test]
    fn after_a_regex_matcher_the_value_still_means_itself() {
        let filled = fill("up{pod=~ $pod}", &[("pod", r".*\d|a")]);
        assert_eq!(filled.unwrap(), r#"up{pod=~ "\\.\\*\\\\d\\|a"}"#);
    }

    #[test]
    fn a_hostile_value_stays_inside_its_quotes() {
        for value in ["\"} or up{a=\"", "\\", "\\\"", "a\nb", "a\0b", "`", "'", "# x", "$pod"] {
            let filled = fill("up{pod=$pod}", &[("pod", value)]).unwrap();
            let inner = filled.strip_prefix("up{pod=").unwrap().strip_suffix('}').unwrap();
            assert_eq!(literal(inner, '"').unwrap(), inner, "{value:?}");
            assert!(!filled.chars().any(char::is_control), "{filled:?}");
        }
        assert!(fill("up{pod=$pod}", &[("pod", &"x".repeat(65_536))]).is_err());
    }

    #[test]
    fn dollars_in_strings_and_comments_are_text() {
        let source = "up{a=~\"b$\", c='$', d=`\\`} # it's $free\n + 1";
        assert_eq!(fill(source, &[]).unwrap(), source);
    }

    #[test]
    fn mistakes_are_refused_when_the_playbook_is_loaded() {
        let said = |source: &str, names: &[&str]| Query::parse(source, names).unwrap_err();
        insta::assert_snapshot!(said("up{pod=\"{{labels.pod}}\"}", &[]), @"a query takes no templates; put the value under `vars:` and write pod=$pod");
        insta::assert_snapshot!(said("up{pod=$pdo}", &["pod"]), @"the query uses `$pdo`, which is not under `vars:`");
        insta::assert_snapshot!(said("up{pod=~\"$pod.*\"}", &["pod"]), @"$pod is inside quotes; the value brings its own: pod=$pod");
        insta::assert_snapshot!(said("up", &["pod"]), @"the query has no $pod; remove it from `vars:`");
        insta::assert_snapshot!(said("up{pod=\"x}", &[]), @r#"a string that starts with " does not end"#);
        insta::assert_snapshot!(said(" \n", &[]), @"the query is empty");
    }

    proptest! {
        #[test]
        fn no_value_escapes_and_no_query_panics(source in ".{0,60}", value in ".{0,60}") {
            drop(Query::parse(&source, &["pod"]));
            let filled = fill("f($pod)", &[("pod", &value)]).unwrap();
            let inner = filled.strip_prefix("f(").unwrap().strip_suffix(')').unwrap();
            prop_assert_eq!(literal(inner, '"').unwrap(), inner);
        }
    }
}
