//! What is right in an event's content.

use serde_json::Value;

use super::{BOT, Event};

/// Why a relation is refused.
pub enum Wrong {
    /// It points at an event that is not in the room.
    Unknown,
    /// A correct client does not do that.
    Invalid(String),
}

/// Edits replace originals of the same sender; threads hang under events without a relation.
pub fn relation(events: &[Event], content: &Value) -> Result<(), Wrong> {
    let relation = &content["m.relates_to"];
    let Some(kind) = relation["rel_type"].as_str() else { return Ok(()) };
    let find = |id: &Value| events.iter().find(|event| Some(event.id.as_str()) == id.as_str());
    let target = find(&relation["event_id"]).ok_or(Wrong::Unknown)?;
    let invalid = |why: &str| Err(Wrong::Invalid(why.to_owned()));
    let target_relation = target.content["m.relates_to"]["rel_type"].as_str();
    match kind {
        "m.replace" if target_relation == Some("m.replace") => invalid("an edit of an edit"),
        "m.replace" if target.sender != BOT || target.kind != "m.room.message" => {
            invalid("an edit of somebody else's event")
        }
        "m.replace" if !content["m.new_content"].is_object() => invalid("an edit without content"),
        "m.replace" if content["m.new_content"].get("m.relates_to").is_some() => {
            invalid("an edit that moves")
        }
        "m.thread" if target_relation.is_some() => {
            invalid("Cannot start threads from an event with a relation")
        }
        "m.thread" if relation["is_falling_back"] != true => invalid("a thread without fallback"),
        "m.thread" if find(&relation["m.in_reply_to"]["event_id"]).is_none() => {
            invalid("a fallback that replies to nothing")
        }
        "m.replace" | "m.thread" => Ok(()),
        other => invalid(&format!("relation {other}")),
    }
}

/// A message: its body, its mentions, its HTML.
pub fn message(content: &Value) -> Result<(), String> {
    let newest = content.get("m.new_content").unwrap_or(content);
    for part in [content, newest] {
        if !matches!(part["msgtype"].as_str(), Some("m.text" | "m.notice")) {
            return Err(format!("msgtype {}", part["msgtype"]));
        }
        if part["body"].as_str().is_none_or(str::is_empty) {
            return Err("no plain body".to_owned());
        }
        if !part["m.mentions"].is_object() {
            return Err("no m.mentions: clients would guess".to_owned());
        }
    }
    if newest["format"] != "org.matrix.custom.html" {
        return Err("no HTML".to_owned());
    }
    html(newest["formatted_body"].as_str().ok_or("no formatted_body")?)
}

/// Only tags that clients show, closed in order; attributes only on links.
fn html(text: &str) -> Result<(), String> {
    const TAGS: [&str; 8] = ["p", "strong", "code", "pre", "ul", "li", "a", "br"];
    let mut open: Vec<&str> = vec![];
    let mut rest = text;
    while let Some(at) = rest.find(['<', '>']) {
        let from = &rest[at..];
        let (tag, after) =
            from.strip_prefix('<').and_then(|from| from.split_once('>')).ok_or_else(|| {
                format!("a stray bracket: {}", from.chars().take(40).collect::<String>())
            })?;
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return Err(format!("</{name}> closes nothing"));
            }
            continue;
        }
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        let web = |a: &str| a.starts_with("href=\"https://") || a.starts_with("href=\"http://");
        let link = name == "a" && web(attributes) && attributes.matches('"').count() == 2;
        if !TAGS.contains(&name) || !(attributes.is_empty() || link) {
            return Err(format!("<{tag}> is not shown by clients"));
        }
        open.push(name);
    }
    if open.is_empty() { Ok(()) } else { Err(format!("left open: {open:?}")) }
}
