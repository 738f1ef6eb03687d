//! Label matchers in Alertmanager's syntax: `namespace=~"spark-.*"`.
//!
//! Same meaning as there: a missing label is "", regexes are RE2-like and match the whole value.

use std::{collections::BTreeMap, fmt};

use regex::Regex;

/// Longest matcher, bytes.
pub const MAX_SOURCE: usize = 4 * 1024;

/// Largest compiled regex, bytes.
const REGEX_SIZE: usize = 1 << 20;

/// One matcher.
#[derive(Clone, Debug)]
pub struct Matcher {
    name: String,
    op: Op,
    value: String,
}

#[derive(Clone, Debug)]
enum Op {
    Equal,
    NotEqual,
    Matches(Regex),
    NotMatches(Regex),
}

impl Op {
    fn sign(&self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Matches(_) => "=~",
            Self::NotMatches(_) => "!~",
        }
    }
}

impl Matcher {
    /// Reads `name="value"`, `!=`, `=~` or `!~`. Names and values may be bare or quoted; a quoted one may hold any text.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_SOURCE {
            return Err(format!("this matcher is {} bytes long; at most {MAX_SOURCE}", text.len()));
        }
        let usage = "write it like namespace=\"prod\" or pod=~\"etl-.*\"";
        let mut rest = text.trim();
        let name = word(&mut rest)?;
        if name.is_empty() {
            return Err(format!("this matcher has no label name; {usage}"));
        }
        rest = rest.trim_start();
        let sign = ["=~", "!~", "!=", "="].into_iter().find(|sign| rest.starts_with(sign));
        let Some(sign) = sign else {
            return Err(format!("after `{}` comes one of = != =~ !~; {usage}", show(&name)));
        };
        rest = rest[sign.len()..].trim_start();
        if rest.starts_with(['=', '~', '!']) {
            return Err(format!("`{sign}` is followed by another sign; {usage}"));
        }
        let value = word(&mut rest)?;
        if !rest.trim().is_empty() {
            return Err(format!(
                "`{}` is left over after the value; one matcher per entry, and quote values with spaces or commas",
                rest.trim().escape_debug()
            ));
        }
        let op = match sign {
            "=" => Op::Equal,
            "!=" => Op::NotEqual,
            "=~" => Op::Matches(anchored(&value)?),
            _ => Op::NotMatches(anchored(&value)?),
        };
        Ok(Self { name, op, value })
    }

    /// The label it looks at.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value it demands exactly, if it is a `=`.
    pub fn exact(&self) -> Option<&str> {
        match self.op {
            Op::Equal => Some(&self.value),
            Op::NotEqual | Op::Matches(_) | Op::NotMatches(_) => None,
        }
    }

    /// True when these labels satisfy it.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.name).map_or("", String::as_str);
        match &self.op {
            Op::Equal => value == self.value,
            Op::NotEqual => value != self.value,
            Op::Matches(regex) => regex.is_match(value),
            Op::NotMatches(regex) => !regex.is_match(value),
        }
    }

    /// Why these labels do not satisfy it, for a person; `None` when they do.
    pub fn why_not(&self, labels: &BTreeMap<String, String>) -> Option<String> {
        if self.matches(labels) {
            return None;
        }
        let has = match labels.get(&self.name) {
            None => "is missing".to_owned(),
            Some(value) => {
                let short: String = value.chars().take(200).collect();
                format!("is \"{}\"", short.escape_debug())
            }
        };
        Some(format!("{self}, but {} {has}", show(&self.name)))
    }
}

/// A quoted text, or a bare one up to a sign, quote, comma, brace or space.
fn word(rest: &mut &str) -> Result<String, String> {
    let Some(quoted) = rest.strip_prefix('"') else {
        let reserved = |c: char| c.is_whitespace() || "{}!=~,\\\"'`".contains(c);
        let end = rest.find(reserved).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        *rest = after;
        return Ok(word.to_owned());
    };
    let mut text = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                *rest = &quoted[at + 1..];
                return Ok(text);
            }
            '\\' => match chars.next() {
                Some((_, 'n')) => text.push('\n'),
                Some((_, escaped @ ('"' | '\\'))) => text.push(escaped),
                // Alertmanager keeps other escapes as they stand, so that regexes need no double backslash.
                Some((_, other)) => text.extend(['\\', other]),
                None => break,
            },
            c => text.push(c),
        }
    }
    Err("a quote is not closed".to_owned())
}

fn anchored(pattern: &str) -> Result<Regex, String> {
    let build = |text: &str| regex::RegexBuilder::new(text).size_limit(REGEX_SIZE).build();
    // Alone first: a pattern like `)|(` would become valid, and mean something else, between the anchors.
    build(pattern).and_then(|_| build(&format!("^(?:{pattern})$"))).map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "this regex is too large".to_owned(),
        other => {
            let text = other.to_string();
            let last = text.lines().last().unwrap_or_default();
            format!("bad regex: {}", last.trim_start_matches("error: "))
        }
    })
}

fn show(name: &str) -> String {
    let bare = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':');
    if bare { name.to_owned() } else { quote(name) }
}

fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", show(&self.name), self.op.sign(), quote(&self.value))
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (self.name.as_str(), self.op.sign(), self.value.as_str())
            == (other.name.as_str(), other.op.sign(), other.value.as_str())
    }
}

impl Eq for Matcher {}

impl std::str::FromStr for Matcher {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn the_four_signs_mean_what_they_mean_in_alertmanager() {
        let prod = labels(&[("namespace", "spark-prod"), ("größe", "7")]);
        for (matcher, expected) in [
            (r#"namespace="spark-prod""#, true),
            ("namespace=spark-prod", true),
            (r#" namespace = "spark-prod" "#, true),
            (r#"namespace!="spark-prod""#, false),
            (r#"namespace=~"spark-.*""#, true),
            (r#"namespace=~"spark""#, false),
            (r#"namespace=~"a|spark-prod""#, true),
            (r#"namespace!~"spark-.*""#, false),
            (r#"team="""#, true),
            (r#"team=~".+""#, false),
            (r#"team!="x""#, true),
            (r#""größe"="7""#, true),
            ("größe=7", true),
            (r#"namespace=~"spark\-\w+""#, true),
        ] {
            assert_eq!(Matcher::parse(matcher).unwrap().matches(&prod), expected, "{matcher}");
        }
    }

    #[test]
    fn a_bad_matcher_says_what_to_write() {
        let mut said = String::new();
        for bad in ["", "=x", "a", "a==b", "a=~\"(\"", "a=\"b", "a=b, c=d", "a=b c", "a=~\")|(\""] {
            writeln!(said, "{bad:12} {}", Matcher::parse(bad).unwrap_err()).unwrap();
        }
        insta::assert_snapshot!(said, @r#"
                         this matcher has no label name; write it like namespace="prod" or pod=~"etl-.*"
            =x           this matcher has no label name; write it like namespace="prod" or pod=~"etl-.*"
            a            after `a` comes one of = != =~ !~; write it like namespace="prod" or pod=~"etl-.*"
            a==b         `=` is followed by another sign; write it like namespace="prod" or pod=~"etl-.*"
            a=~"("       bad regex: unclosed group
            a="b         a quote is not closed
            a=b, c=d     `, c=d` is left over after the value; one matcher per entry, and quote values with spaces or commas
            a=b c        `c` is left over after the value; one matcher per entry, and quote values with spaces or commas
            a=~")|("     bad regex: unopened group
        "#);
    }

    #[test]
    fn it_explains_which_value_it_wanted() {
        let matcher = Matcher::parse(r#"namespace=~"spark-.*""#).unwrap();
        let why = |pairs| matcher.why_not(&labels(pairs));
        assert_eq!(why(&[("namespace", "spark-prod")]), None);
        insta::assert_snapshot!(why(&[("namespace", "web\n")]).unwrap(), @r#"namespace=~"spark-.*", but namespace is "web\n""#);
        insta::assert_snapshot!(why(&[]).unwrap(), @r#"namespace=~"spark-.*", but namespace is missing"#);
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back_the_same(name in "\\PC{1,12}", value in "(?s).{0,20}", not in any::<bool>()) {
            let text = format!("{}{}{}", quote(&name), if not { "!=" } else { "=" }, quote(&value));
            let matcher = Matcher::parse(&text).unwrap();
            prop_assert_eq!(&matcher.name, &name);
            prop_assert_eq!(&matcher.value, &value);
            prop_assert_eq!(Matcher::parse(&matcher.to_string()).unwrap(), matcher);
        }

        #[test]
        fn no_text_makes_it_panic(text in "(?s).{0,60}") {
            if let Ok(matcher) = Matcher::parse(&text) {
                prop_assert_eq!(Matcher::parse(&matcher.to_string()).unwrap(), matcher);
            }
        }
    }
}
