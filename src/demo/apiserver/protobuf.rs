//! The two reviews in protobuf, in which kubectl sends them; everything else it sends as JSON.
//!
//! A body is the text `k8s\0`, then an envelope: type (1) with version (1) and kind (2), and the object's bytes (2).

use serde_json::{Map, Value, json};

/// What a field holds.
enum Shape {
    Text,
    Message(Fields),
    /// Of no importance here.
    Skipped,
}

type Fields = &'static [(u64, &'static str, Shape)];

const ATTRIBUTES: Fields = &[
    (1, "namespace", Shape::Text),
    (2, "verb", Shape::Text),
    (3, "group", Shape::Text),
    (4, "version", Shape::Text),
    (5, "resource", Shape::Text),
    (6, "subresource", Shape::Text),
    (7, "name", Shape::Text),
];
const PATH: Fields = &[(1, "path", Shape::Text), (2, "verb", Shape::Text)];
const ACCESS: Fields = &[
    (1, "resourceAttributes", Shape::Message(ATTRIBUTES)),
    (2, "nonResourceAttributes", Shape::Message(PATH)),
];
const RULES: Fields = &[(1, "namespace", Shape::Text)];
const ACCESS_REVIEW: Fields = &[
    (1, "metadata", Shape::Skipped),
    (2, "spec", Shape::Message(ACCESS)),
    (3, "status", Shape::Skipped),
];
const RULES_REVIEW: Fields = &[
    (1, "metadata", Shape::Skipped),
    (2, "spec", Shape::Message(RULES)),
    (3, "status", Shape::Skipped),
];
const ENVELOPE: Fields = &[
    (1, "type", Shape::Message(&[(1, "apiVersion", Shape::Text), (2, "kind", Shape::Text)])),
    (2, "raw", Shape::Skipped),
    (3, "contentEncoding", Shape::Skipped),
    (4, "contentType", Shape::Skipped),
];

/// The object as JSON; `None` for kinds and bytes that are not known here.
pub(super) fn decode(body: &[u8]) -> Option<Value> {
    let envelope = body.strip_prefix(b"k8s\0")?;
    let head = message(envelope, ENVELOPE)?;
    let fields = match head["type"]["kind"].as_str()? {
        "SelfSubjectAccessReview" => ACCESS_REVIEW,
        "SelfSubjectRulesReview" => RULES_REVIEW,
        _ => return None,
    };
    let raw = parts(envelope)?.into_iter().find(|(number, _)| *number == 2)?.1;
    let mut object = message(raw, fields)?;
    object["apiVersion"] = head["type"]["apiVersion"].clone();
    object["kind"] = head["type"]["kind"].clone();
    Some(object)
}

fn message(bytes: &[u8], fields: Fields) -> Option<Value> {
    let mut object = Map::new();
    for (number, content) in parts(bytes)? {
        let (_, name, shape) = fields.iter().find(|(known, ..)| *known == number)?;
        let value = match shape {
            Shape::Text => json!(std::str::from_utf8(content).ok()?),
            Shape::Message(fields) => message(content, fields)?,
            Shape::Skipped => continue,
        };
        object.insert((*name).to_owned(), value);
    }
    Some(Value::Object(object))
}

/// The fields of a message. All of ours are length-delimited.
fn parts(mut bytes: &[u8]) -> Option<Vec<(u64, &[u8])>> {
    let mut found = vec![];
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        if key & 7 != 2 {
            return None;
        }
        let length = usize::try_from(varint(&mut bytes)?).ok()?;
        let content = bytes.get(..length)?;
        bytes = &bytes[length..];
        found.push((key >> 3, content));
    }
    Some(found)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).unwrap();
        [&[number << 3 | 2, length], content].concat()
    }

    fn review(kind: &str) -> Vec<u8> {
        let attributes = [field(2, b"list"), field(5, b"pods")].concat();
        let raw = [field(1, b""), field(2, &field(1, &attributes))].concat();
        let kind = [field(1, b"authorization.k8s.io/v1"), field(2, kind.as_bytes())].concat();
        [b"k8s\0".to_vec(), field(1, &kind), field(2, &raw)].concat()
    }

    #[test]
    fn a_review_is_read_and_anything_else_is_not() {
        let seen = decode(&review("SelfSubjectAccessReview")).unwrap();
        let wanted = json!({ "verb": "list", "resource": "pods" });
        assert_eq!(seen["spec"]["resourceAttributes"], wanted);
        assert_eq!(seen["apiVersion"], "authorization.k8s.io/v1");
        assert_eq!(decode(&review("Pod")), None);
        let whole = review("SelfSubjectAccessReview");
        for cut in 0..whole.len() - 1 {
            assert_eq!(decode(&whole[..cut]), None, "{cut}");
        }
        assert_eq!(decode(b"k8s\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), None);
    }
}
