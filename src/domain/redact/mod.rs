//! Secrets out of text and JSON, before anything is stored, logged or sent.
//!
//! A secret becomes `***`; the text around it, its lines and its names stay, so that evidence still reads as evidence.
//! Doing it twice changes nothing. A line is only looked at when a cheap scan found a trigger in it; rules are tuned to
//! leave ordinary logs alone, because a verdict quotes what is left.

mod rules;

use std::{borrow::Cow, sync::OnceLock};

use aho_corasick::AhoCorasick;
use serde_json::Value;

use self::rules::{Rules, TRIGGERS};

/// What stands in a secret's place.
pub const MASK: &str = "***";

/// The text without its secrets; line numbers stay.
pub fn redact(text: &str) -> Cow<'_, str> {
    let triggers = triggers();
    if !triggers.is_match(text) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut key = KeyBlock::Outside;
    let mut changed = false;
    for line in text.split_inclusive('\n') {
        let (body, end) = split_end(line);
        let clean = match key.next(body) {
            Some(masked) => Cow::Owned(masked),
            None if triggers.is_match(body) => Rules::get().apply(body),
            None => Cow::Borrowed(body),
        };
        changed |= clean != body;
        out.push_str(&clean);
        out.push_str(end);
    }
    if changed { Cow::Owned(out) } else { Cow::Borrowed(text) }
}

/// The value without its secrets: texts are redacted, and values under secret names masked whole. Lists of
/// `{"name": …, "value": …}` and of pairs, as Kubernetes and Spark write settings, are understood.
pub fn redact_json(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(clean) = redact(text) {
                *text = clean;
            }
        }
        Value::Array(items) => {
            let named = matches!(items.as_slice(), [Value::String(name), Value::String(_)] if is_secret_name(name));
            if named {
                items[1] = MASK.into();
            } else {
                items.iter_mut().for_each(redact_json);
            }
        }
        Value::Object(map) => {
            let named = map.get("name").and_then(Value::as_str).is_some_and(is_secret_name);
            for (name, value) in map.iter_mut() {
                let scalar = matches!(value, Value::String(text) if !text.is_empty())
                    || matches!(value, Value::Number(_));
                if scalar && (is_secret_name(name) || (named && name == "value")) {
                    *value = MASK.into();
                } else {
                    redact_json(value);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// True for names whose values are secrets: `spark.hadoop.fs.s3a.secret.key`, `DB_PASSWORD`, `authorization`.
pub fn is_secret_name(name: &str) -> bool {
    Rules::get().is_name(name)
}

fn triggers() -> &'static AhoCorasick {
    static TRIGGER: OnceLock<AhoCorasick> = OnceLock::new();
    TRIGGER.get_or_init(|| {
        #[allow(clippy::expect_used, reason = "a constant list, built by every test")]
        AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .build(TRIGGERS)
            .expect("the triggers are a valid list")
    })
}

fn split_end(line: &str) -> (&str, &str) {
    let body = line.strip_suffix('\n').unwrap_or(line);
    let body = body.strip_suffix('\r').unwrap_or(body);
    line.split_at(body.len())
}

/// How the first line of a PEM private key ends.
const HEAD_END: &str = "PRIVATE KEY-----";

/// Whether we are inside a PEM private key.
#[derive(Clone, Copy)]
enum KeyBlock {
    Outside,
    Inside,
}

impl KeyBlock {
    /// The masked line, when this one belongs to a private key.
    fn next(&mut self, line: &str) -> Option<String> {
        let begins = line.find("-----BEGIN ").filter(|at| line[*at..].contains(HEAD_END));
        match (*self, begins) {
            (Self::Outside, None) => None,
            (Self::Outside, Some(at)) => {
                // A whole key on one line, as in JSON with `\n` in it, ends there.
                let head = line[at..].find(HEAD_END);
                let head_end = head.map_or(line.len(), |n| at + n + HEAD_END.len());
                let rest = &line[head_end..];
                let end = rest.find("-----END ").map_or("", |end| &rest[end..]);
                if end.is_empty() {
                    *self = Self::Inside;
                }
                let body = if end.is_empty() && rest.trim().is_empty() { "" } else { MASK };
                Some(format!("{}{body}{end}", &line[..head_end]))
            }
            (Self::Inside, _) if line.contains("-----END ") => {
                *self = Self::Outside;
                Some(line.to_owned())
            }
            (Self::Inside, _) => {
                // A key cut short must not swallow the log after it.
                let body = line.trim();
                let base64 = |b: u8| b.is_ascii_alphanumeric() || b"+/".contains(&b);
                let of_key = body.trim_end_matches('=').bytes().all(base64)
                    || body == MASK
                    || body.contains("Proc-Type")
                    || body.contains("DEK-Info");
                if of_key {
                    Some(if body.is_empty() { line.to_owned() } else { MASK.to_owned() })
                } else {
                    *self = Self::Outside;
                    None
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
