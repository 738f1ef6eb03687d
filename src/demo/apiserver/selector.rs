//! Label and field selectors.

use serde_json::Value;

use super::status::Failure;

/// A parsed pair of selectors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Selector {
    labels: Vec<Label>,
    fields: Vec<(String, bool, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Label {
    Is(String, Vec<String>),
    IsNot(String, Vec<String>),
    Exists(String),
    Absent(String),
}

/// Fields that can be selected by, with where they stand. The real server refuses all others, so does this one.
const FIELDS: [(&str, &str, &str); 11] = [
    ("", "metadata.name", "/metadata/name"),
    ("", "metadata.namespace", "/metadata/namespace"),
    ("pods", "status.phase", "/status/phase"),
    ("pods", "spec.nodeName", "/spec/nodeName"),
    ("pods", "status.podIP", "/status/podIP"),
    ("events", "involvedObject.name", "/involvedObject/name"),
    ("events", "involvedObject.namespace", "/involvedObject/namespace"),
    ("events", "involvedObject.kind", "/involvedObject/kind"),
    ("events", "involvedObject.uid", "/involvedObject/uid"),
    ("events", "type", "/type"),
    ("events", "reason", "/reason"),
];

impl Selector {
    pub(super) fn parse(plural: &str, labels: &str, fields: &str) -> Result<Self, Failure> {
        let bad = |text: &str| {
            Failure::new(400, "BadRequest", format!("unable to parse requirement: {text:?}"))
        };
        let mut selector = Self::default();
        for part in split(labels) {
            selector.labels.push(label(part).ok_or_else(|| bad(part))?);
        }
        for part in split(fields) {
            let (name, value) = part.split_once('=').ok_or_else(|| bad(part))?;
            let (name, equal) = match name.strip_suffix('!') {
                Some(name) => (name, false),
                None => (name, true),
            };
            let known = FIELDS
                .iter()
                .find(|(of, field, _)| *field == name && (of.is_empty() || *of == plural));
            let (_, _, pointer) = known.ok_or_else(|| {
                Failure::new(400, "BadRequest", format!("field label not supported: {name}"))
            })?;
            let value = value.trim_start_matches('=').to_owned();
            selector.fields.push(((*pointer).to_owned(), equal, value));
        }
        Ok(selector)
    }

    pub(super) fn matches(&self, object: &Value) -> bool {
        let get =
            |name: &String| object["metadata"]["labels"].get(name.as_str()).and_then(Value::as_str);
        let holds = |values: &[String], have: Option<&str>| {
            have.is_some_and(|have| values.iter().any(|value| value == have))
        };
        let labels = self.labels.iter().all(|label| match label {
            Label::Is(name, values) => holds(values, get(name)),
            Label::IsNot(name, values) => !holds(values, get(name)),
            Label::Exists(name) => get(name).is_some(),
            Label::Absent(name) => get(name).is_none(),
        });
        labels
            && self.fields.iter().all(|(pointer, equal, value)| {
                let have = object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
                (have == value) == *equal
            })
    }
}

/// Splits at commas outside parentheses.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    text.split(move |c| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    })
    .map(str::trim)
    .filter(|part| !part.is_empty())
}

fn label(part: &str) -> Option<Label> {
    let set = |name: &str, rest: &str| {
        let values = rest.trim().strip_prefix('(')?.strip_suffix(')')?;
        Some((name.trim().to_owned(), values.split(',').map(|v| v.trim().to_owned()).collect()))
    };
    let word = |text: &str| {
        let text = text.trim();
        let fine = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        (text.chars().all(fine)).then(|| text.to_owned())
    };
    if let Some((name, rest)) = part.split_once(" notin ") {
        return set(name, rest).map(|(name, values)| Label::IsNot(name, values));
    }
    if let Some((name, rest)) = part.split_once(" in ") {
        return set(name, rest).map(|(name, values)| Label::Is(name, values));
    }
    if let Some((name, value)) = part.split_once("!=") {
        return Some(Label::IsNot(word(name)?, vec![word(value)?]));
    }
    if let Some((name, value)) = part.split_once('=') {
        return Some(Label::Is(word(name)?, vec![word(value.trim_start_matches('='))?]));
    }
    match part.strip_prefix('!') {
        Some(name) => Some(Label::Absent(word(name)?)),
        None => Some(Label::Exists(word(part)?)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holds(labels: &str, fields: &str) -> bool {
        let pod = json!({
            "metadata": { "name": "etl-exec-1", "labels": { "spark-role": "executor", "a/b": "c" } },
            "status": { "phase": "Failed" },
        });
        Selector::parse("pods", labels, fields).unwrap().matches(&pod)
    }

    #[test]
    fn every_operator_selects_as_the_real_server_does() {
        for yes in [
            "",
            "spark-role=executor",
            "spark-role==executor,a/b=c",
            "spark-role!=driver",
            "spark-role in (driver, executor)",
            "spark-role notin (driver),a/b",
            "spark-role",
            "!absent",
            "absent!=x",
        ] {
            assert!(holds(yes, ""), "{yes}");
        }
        for no in
            ["spark-role=driver", "absent", "!spark-role", "spark-role in (driver)", "absent=x"]
        {
            assert!(!holds(no, ""), "{no}");
        }
        assert!(holds("", "metadata.name=etl-exec-1,status.phase=Failed"));
        assert!(!holds("", "status.phase!=Failed"));
    }

    #[test]
    fn nonsense_and_unknown_fields_are_refused() {
        for bad in ["a=b=c d", "a in b", "a b", "=,$"] {
            assert!(Selector::parse("pods", bad, "").is_err(), "{bad}");
        }
        for bad in ["status.reason=x", "involvedObject.name=x", "metadata.name"] {
            assert!(Selector::parse("pods", "", bad).is_err(), "{bad}");
        }
    }
}
