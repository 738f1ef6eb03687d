//! Reading YAML strictly: bounded, without anchors, aliases or merge keys, and with the place of every mistake.

use serde::de::DeserializeOwned;
use serde_saphyr::{Error, options::MergeKeyPolicy};

use super::diagnostic::Diagnostic;
use crate::domain::suggest::closest;

/// Largest file, bytes.
pub const MAX_FILE: usize = 1 << 20;

/// Deepest nesting.
const MAX_DEPTH: usize = 32;

/// Reads one document.
pub fn read<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, Diagnostic> {
    if text.len() > MAX_FILE {
        let message = format!("the file is {} bytes long; at most {MAX_FILE}", text.len());
        return Err(Diagnostic::error(file, "", (0, 0), &message));
    }
    if text.trim().is_empty() {
        return Err(Diagnostic::error(file, "", (0, 0), "the file is empty"));
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_anchors: 0,
            max_aliases: 0,
            max_documents: 1,
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_inclusion_depth: 0,
        },
        merge_keys: MergeKeyPolicy::Error,
        strict_booleans: true,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| explain(file, text, &error))
}

fn explain(file: &str, text: &str, error: &Error) -> Diagnostic {
    let at = error.location().map_or((0, 0), |at| (at.line(), at.column()));
    let message = match error.without_snippet() {
        Error::SerdeUnknownField { field, expected, .. } => {
            let hint = closest(field, expected).map_or_else(
                || format!("known here: {}", expected.join(", ")),
                |known| format!("did you mean `{known}`?"),
            );
            format!("there is no key `{field}` here; {hint}")
        }
        Error::SerdeUnknownVariant { variant, expected, .. } => {
            let hint = closest(variant, expected).map_or_else(
                || format!("one of {}", expected.join(", ")),
                |known| format!("did you mean `{known}`?"),
            );
            format!("`{variant}` is not known here; {hint}")
        }
        Error::SerdeMissingField { field, .. } => format!("the key `{field}` is missing"),
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("the key `{key}` stands twice")
        }
        Error::SerdeInvalidType { unexpected, expected, .. } => {
            format!("this is {unexpected}; write {expected}")
        }
        Error::Budget { .. } => {
            "anchors, aliases, several documents and very deep nesting are not allowed here"
                .to_owned()
        }
        Error::MergeKeyNotAllowed { .. } => "merge keys (`<<`) are not allowed here".to_owned(),
        Error::Unexpected { expected, .. } => match *expected {
            "mapping start" => "this should be a map; write `key: value` pairs".to_owned(),
            "sequence start" => {
                "this should be a list; write [a, b] or one `- a` per line".to_owned()
            }
            "string scalar" => "this should be a text".to_owned(),
            other => format!("expected {other}"),
        },
        Error::Message { msg, .. } => msg.clone(),
        other => {
            let text = other.render();
            let text = text.strip_prefix("error: ").unwrap_or(&text);
            let first = text.lines().next().unwrap_or_default();
            first.split(" at line ").next().unwrap_or(first).to_owned()
        }
    };
    Diagnostic::error(file, text, at, &message)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only read")]
    struct Thing {
        name: String,
        #[serde(default)]
        count: u32,
        #[serde(default)]
        on: bool,
        #[serde(default)]
        list: Vec<String>,
    }

    #[test]
    fn mistakes_are_explained_with_their_place() {
        let mut said = Vec::new();
        for bad in [
            "",
            "# nothing\n",
            "name: x\ncuont: 1\n",
            "name: x\nzzz: 1\n",
            "name: x\ncount: many\n",
            "name: x\nname: y\n",
            "count: 1\n",
            "- x\n",
            "name: x\nlist: [a, b\n",
            "name: &a x\nlist: [*a]\n",
            "name: x\n<<: { count: 1 }\n",
            "name: x\n---\nname: y\n",
            "name: x\non: yes\n",
            "name: [x]\n",
            "name: x\n  count: 1\n",
            "name: x\n\tcount: 1\n",
            "name: \"\u{0}\"\n",
            &format!("name: x\nlist: {}", "[".repeat(200)),
            &"#".repeat(MAX_FILE + 1),
        ] {
            let error = read::<Thing>("x.yaml", bad).unwrap_err();
            said.push(format!(
                "{}:{} {} | {}",
                error.line, error.column, error.message, error.hint
            ));
        }
        insta::assert_snapshot!(said.join("\n"), @r"
            0:0 the file is empty | 
            2:1 unexpected end of input | 
            2:1 there is no key `cuont` here | did you mean `count`?
            2:1 there is no key `zzz` here | known here: name, count, on, list
            2:8 invalid u32 | 
            2:1 the key `name` stands twice | 
            1:1 the key `name` is missing | 
            1:1 this should be a map | write `key: value` pairs
            2:7 unclosed bracket '[' | 
            1:10 anchors, aliases, several documents and very deep nesting are not allowed here | 
            2:1 merge keys (`<<`) are not allowed here | 
            2:1 anchors, aliases, several documents and very deep nesting are not allowed here | 
            2:5 invalid boolean (strict mode expects true/false) | 
            1:7 this should be a text | 
            2:8 mapping values are not allowed in this context | 
            1:7 while scanning a plain scalar, found a tab | 
            1:8 unexpected character: `\u{0}' | 
            2:39 recursion limit exceeded | 
            0:0 the file is 1048577 bytes long | at most 1048576
        ");
    }
}
