//! Block Kit as strictly as Slack documents it: the reason why a message would be `invalid_blocks`.

use serde_json::{Map, Value};

type Object = Map<String, Value>;

/// Checks all blocks of a message.
pub fn check(blocks: &Value) -> Result<(), String> {
    let blocks = blocks.as_array().ok_or("blocks is no list")?;
    if blocks.is_empty() || blocks.len() > 50 {
        return Err(format!("{} blocks", blocks.len()));
    }
    let mut ids = std::collections::BTreeSet::new();
    let mut actions = std::collections::BTreeSet::new();
    for (at, block) in blocks.iter().enumerate() {
        let block = block.as_object().ok_or("a block is no object")?;
        check_block(block).map_err(|why| format!("block {at}: {why}"))?;
        if let Some(id) = block.get("block_id") {
            let id = text(id, 255)?;
            if !ids.insert(id.to_owned()) {
                return Err(format!("block_id {id} twice"));
            }
        }
        for element in block.get("elements").and_then(Value::as_array).into_iter().flatten() {
            if let Some(id) = element["action_id"].as_str()
                && !actions.insert(id.to_owned())
            {
                return Err(format!("action_id {id} twice"));
            }
        }
    }
    let total: usize = blocks.iter().map(texts).sum();
    if total > 13_000 { Err(format!("msg_blocks_too_long: {total}")) } else { Ok(()) }
}

fn check_block(block: &Object) -> Result<(), String> {
    match block.get("type").and_then(Value::as_str) {
        Some("header") => {
            keys(block, &["type", "text", "block_id"])?;
            plain(&block["text"], 150)
        }
        Some("section") => {
            keys(block, &["type", "text", "block_id"])?;
            mrkdwn(&block["text"], 3_000)
        }
        Some("context") => {
            keys(block, &["type", "elements", "block_id"])?;
            let elements = list(block, 10)?;
            elements.iter().try_for_each(|element| mrkdwn(element, 3_000))
        }
        Some("actions") => {
            keys(block, &["type", "elements", "block_id"])?;
            list(block, 25)?.iter().try_for_each(element)
        }
        other => Err(format!("no block {other:?}")),
    }
}

fn element(element: &Value) -> Result<(), String> {
    let object = element.as_object().ok_or("an element is no object")?;
    text(&element["action_id"], 255)?;
    match element["type"].as_str() {
        Some("button") => {
            keys(object, &["type", "action_id", "value", "text", "style", "url"])?;
            text(&element["value"], 2_000)?;
            if !matches!(element["style"].as_str(), None | Some("primary" | "danger")) {
                return Err("style".to_owned());
            }
            plain(&element["text"], 75)
        }
        Some("static_select") => {
            keys(object, &["type", "action_id", "options", "placeholder"])?;
            plain(&element["placeholder"], 150)?;
            let options = element["options"].as_array().ok_or("options is no list")?;
            if options.is_empty() || options.len() > 100 {
                return Err(format!("{} options", options.len()));
            }
            options.iter().try_for_each(|option| {
                plain(&option["text"], 75)?;
                text(&option["value"], 150).map(drop)
            })
        }
        other => Err(format!("no element {other:?}")),
    }
}

fn list(block: &Object, max: usize) -> Result<&Vec<Value>, String> {
    let elements = block.get("elements").and_then(Value::as_array).ok_or("no elements")?;
    if elements.is_empty() || elements.len() > max {
        return Err(format!("{} elements", elements.len()));
    }
    Ok(elements)
}

fn plain(value: &Value, max: usize) -> Result<(), String> {
    let object = value.as_object().ok_or("a text is no object")?;
    keys(object, &["type", "text", "emoji"])?;
    if value["type"] != "plain_text" {
        return Err("a plain_text is needed".to_owned());
    }
    text(&value["text"], max).and_then(escaped)
}

fn mrkdwn(value: &Value, max: usize) -> Result<(), String> {
    let object = value.as_object().ok_or("a text is no object")?;
    keys(object, &["type", "text", "verbatim"])?;
    if value["type"] != "mrkdwn" {
        return Err("a mrkdwn is needed".to_owned());
    }
    let text = text(&value["text"], max)?;
    if text.matches("```").count() % 2 == 1 {
        return Err("a fence is left open".to_owned());
    }
    escaped(text)
}

/// `<` and `>` may stand only around our own links and mentions, `&` only in entities.
pub fn escaped(text: &str) -> Result<(), String> {
    let mut rest = text;
    while let Some(at) = rest.find(['<', '>', '&']) {
        let from = &rest[at..];
        let entity = ["&lt;", "&gt;", "&amp;"].into_iter().find(|e| from.starts_with(*e));
        rest = if let Some(entity) = entity {
            &from[entity.len()..]
        } else if let Some((inner, after)) = from.strip_prefix('<').and_then(|f| f.split_once('>'))
        {
            let link = inner.starts_with("https://") || inner.starts_with("http://");
            let user = inner
                .strip_prefix("@U")
                .is_some_and(|u| u.chars().all(|c| c.is_ascii_alphanumeric()));
            if !link && !user {
                return Err(format!("a control sequence from foreign text: <{inner}>"));
            }
            after
        } else {
            return Err(format!("an unescaped character in {text:?}"));
        };
    }
    Ok(())
}

fn text(value: &Value, max: usize) -> Result<&str, String> {
    let text = value.as_str().ok_or("a text is missing")?;
    let units = text.encode_utf16().count();
    if units == 0 || units > max {
        return Err(format!("a text of {units}, the limit is {max}"));
    }
    Ok(text)
}

fn keys(object: &Object, known: &[&str]) -> Result<(), String> {
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(format!("no field {key}")),
        None => Ok(()),
    }
}

/// Characters of all texts in a block.
fn texts(value: &Value) -> usize {
    match value {
        Value::String(text) => text.encode_utf16().count(),
        Value::Array(all) => all.iter().map(texts).sum(),
        Value::Object(all) => {
            all.iter().filter(|(key, _)| *key != "type").map(|(_, value)| texts(value)).sum()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}
