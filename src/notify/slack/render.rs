//! A message as Block Kit, pure and always valid.
//!
//! Slack refuses a whole message for one block that is too long, so each part has its own limit and all limits together
//! stay below the 12 000 characters a message may have. What does not fit is cut with a mark; the incident page has it all.

use serde_json::{Value, json};

use super::mrkdwn::{self, Mrkdwn};
use crate::{
    domain::{
        card::{Card, Verb},
        verdict::Verdict,
    },
    notify::{Message, Note, Page, press::Press, wording},
};

/// What a message becomes, without the address.
#[derive(Clone, Debug, PartialEq)]
pub struct Payload {
    /// For notifications and for clients without blocks; already escaped.
    pub text: String,
    /// Block Kit; at most 50.
    pub blocks: Vec<Value>,
}

/// Limits of the parts, in UTF-16 units; their sum is below 12 000 (a property test holds it there).
const FALLBACK: usize = 1_000;
const HEADER: usize = 150;
const VERDICTS: usize = 3;
const QUOTES: usize = 4;
const LISTED: usize = 10;
/// Evidence: a section holds at most 3 000.
const SECTION: usize = 2_900;
const EVIDENCE: usize = 8_000;
/// `action_id` of the menu of silences.
pub(super) const SILENCE: &str = "silence";

/// Renders a message to an address; a page to a person mentions her, which gets through where a plain message is muted.
pub fn render(message: &Message, address: &str) -> Payload {
    match message {
        Message::Card(body) => Payload {
            text: mrkdwn::plain(&wording::headline_with_verdict(body), FALLBACK),
            blocks: card(body),
        },
        Message::Page(body) => page(body, user_id(address)),
        Message::Evidence(body) => note(body),
    }
}

fn page(page: &Page, person: Option<&str>) -> Payload {
    let headline = wording::headline_with_verdict(&page.card);
    let text = format!("{} · {headline}", wording::page(page));
    let mut call = Mrkdwn::new(500);
    call.raw(":rotating_light: ");
    if let Some(person) = person {
        call.raw(&format!("<@{person}> "));
    }
    call.wrapped("*", &wording::page(page)).raw("\n").line(&page.why);
    let mut blocks = vec![section(&call.finish())];
    blocks.extend(card(&page.card));
    Payload { text: mrkdwn::plain(&text, FALLBACK), blocks }
}

fn note(note: &Note) -> Payload {
    let mut title = Mrkdwn::new(600);
    if let Some(user) = user_id(&note.mention) {
        title.raw(&format!("<@{user}> "));
    }
    let heading = wording::line(&note.title);
    let heading = if heading.is_empty() { "Note" } else { &heading };
    title.wrapped("*", heading);
    let mut blocks = vec![section(&title.finish())];
    let body = mrkdwn::fenceless(&note.body);
    let body = wording::middle(body.trim_end(), EVIDENCE, mrkdwn::cost);
    for part in parts(&body) {
        blocks.push(section(&Mrkdwn::new(SECTION + 50).block(part).finish()));
    }
    Payload { text: mrkdwn::plain(heading, FALLBACK), blocks }
}

/// Parts that each fit a section, broken at a line's end where there is one.
fn parts(mut text: &str) -> Vec<&str> {
    let mut parts = vec![];
    while !text.is_empty() {
        let mut used = 0;
        let over = text.char_indices().find(|(_, c)| {
            used += mrkdwn::cost(*c);
            used > SECTION
        });
        let end = match over {
            None => text.len(),
            Some((at, _)) => text[..at].rfind('\n').filter(|n| *n > 0).unwrap_or(at),
        };
        parts.push(&text[..end]);
        text = text[end..].trim_start_matches('\n');
    }
    parts
}

fn card(card: &Card) -> Vec<Value> {
    let mut blocks = vec![header(card)];
    let mut push = |text: String, quiet: bool| {
        if !text.is_empty() {
            blocks.push(if quiet { context(&text) } else { section(&text) });
        }
    };
    push(Mrkdwn::new(700).line(&card.summary).finish(), false);
    push(listed(600, "• ", card.parts.iter().take(LISTED)), false);
    push(facts(card), true);
    push(labels(card), true);
    for (at, verdict) in card.verdicts.iter().take(VERDICTS).enumerate() {
        let explained = at > 0 && card.verdicts[0].explains.contains(&verdict.id);
        push(show_verdict(verdict, at == 0, explained), false);
        if !explained {
            push(remedy(verdict, at == 0), false);
        }
    }
    if card.verdicts.len() > VERDICTS {
        push(wording::more(card.verdicts.len() - VERDICTS, "verdict"), true);
    }
    push(Mrkdwn::new(300).line(&card.diagnosis).finish(), true);
    push(listed(800, ":warning: ", card.caveats.iter().take(LISTED)), true);
    push(next(card), false);
    let skipped = card.history.len().saturating_sub(LISTED);
    push(listed(900, "", card.history.iter().skip(skipped)), true);
    push(links(card), true);
    let done: Vec<_> =
        card.actions.iter().filter(|a| !a.done_by.is_empty()).map(wording::done).collect();
    push(listed(300, ":white_check_mark: ", done.iter().take(LISTED)), true);
    blocks.extend(actions(card));
    blocks
}

fn header(card: &Card) -> Value {
    let title = wording::line(&card.title);
    let text = format!("{} {} · {title}", wording::glyph(card), card.severity);
    json!({"type": "header", "text": plain_text(&text, HEADER)})
}

fn facts(card: &Card) -> String {
    let mut text = Mrkdwn::new(400);
    text.wrapped("*", &wording::cut(&card.status, 40)).raw(&wording::number(card));
    text.raw(" · ").line(&wording::since(card));
    if !card.members.is_empty() {
        text.raw(" · ").line(&card.members);
    }
    text.finish()
}

fn labels(card: &Card) -> String {
    let mut text = Mrkdwn::new(600);
    for (at, (name, value)) in card.labels.iter().take(LISTED).enumerate() {
        text.raw(if at == 0 { "" } else { "  " });
        text.wrapped("`", &format!("{name}={value}"));
    }
    text.finish()
}

fn show_verdict(verdict: &Verdict, first: bool, explained: bool) -> String {
    let mut text = Mrkdwn::new(if first { 2_000 } else { 450 });
    let title = format!("{}: {}", wording::verdict_label(first), verdict.title);
    text.wrapped("*", &wording::cut(&title, 300)).raw("\n");
    text.line(&wording::certainty(verdict));
    text.raw(if explained { ", explained by the first" } else { "" });
    for quote in verdict.evidence.iter().take(if first { QUOTES } else { 1 }) {
        text.raw("\n_").line(&wording::cut(&wording::place(quote), 200)).raw("_\n");
        text.block(&wording::line(&quote.quote));
    }
    text.finish()
}

fn remedy(verdict: &Verdict, first: bool) -> String {
    if verdict.remedy.trim().is_empty() {
        return String::new();
    }
    let mut text = Mrkdwn::new(if first { 1_200 } else { 350 });
    text.raw(&format!("*{}:* ", wording::REMEDY)).markdown(&verdict.remedy);
    if let Some(docs) = verdict.docs.as_deref().filter(|_| first) {
        text.raw("\n").link("more about this", docs);
    }
    text.finish()
}

fn next(card: &Card) -> String {
    if card.next.is_empty() {
        return String::new();
    }
    Mrkdwn::new(300).raw(&format!("*{}:* ", wording::NEXT)).line(&card.next).finish()
}

fn listed<'a>(max: usize, mark: &str, lines: impl Iterator<Item = &'a String>) -> String {
    let mut text = Mrkdwn::new(max);
    for (at, line) in lines.enumerate() {
        text.raw(if at == 0 { "" } else { "\n" }).raw(mark).line(line);
    }
    text.finish()
}

fn links(card: &Card) -> String {
    let mut text = Mrkdwn::new(1_200);
    for (at, link) in card.links.iter().take(LISTED).enumerate() {
        text.raw(if at == 0 { "" } else { " · " }).link(&link.label, &link.url);
    }
    text.finish()
}

/// The buttons that can still be pressed. The block's id names the revision: Slack asks for a new one on each update.
fn actions(card: &Card) -> Option<Value> {
    let open = |verb: &Verb| card.actions.iter().any(|a| a.verb == *verb && a.done_by.is_empty());
    let value = |verb| Press { incident: card.incident, round: card.round, verb }.to_string();
    let button = |verb: Verb| {
        let mut button = json!({
            "type": "button", "action_id": verb.id(), "value": value(verb),
            "text": plain_text(verb.label(), 75),
        });
        if verb == Verb::Ack {
            button["style"] = json!("primary");
        }
        button
    };
    let silences: Vec<Value> = [Verb::Silence1h, Verb::Silence4h, Verb::SilenceMorning]
        .into_iter()
        .filter(open)
        .map(|verb| json!({"text": plain_text(verb.label(), 75), "value": value(verb)}))
        .collect();
    let menu = (!silences.is_empty()).then(|| {
        json!({
            "type": "static_select", "action_id": SILENCE, "options": silences,
            "placeholder": plain_text(wording::SILENCE, 75),
        })
    });
    let elements: Vec<Value> = [
        Some(Verb::Ack).filter(open).map(button),
        menu,
        Some(Verb::Resolve).filter(open).map(button),
    ]
    .into_iter()
    .flatten()
    .collect();
    let id = format!("{}-{}", card.incident, card.revision);
    (!elements.is_empty()).then(|| json!({"type": "actions", "block_id": id, "elements": elements}))
}

/// `U…` or `W…`, as Slack makes them; anything else is not a user id and mentions nobody.
pub(super) fn user_id(text: &str) -> Option<&str> {
    let rest = text.strip_prefix(['U', 'W'])?;
    let plain = rest.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    ((4..30).contains(&rest.len()) && plain).then_some(text)
}

/// `verbatim` keeps Slack from finding links and mentions of its own in a text.
fn section(text: &str) -> Value {
    json!({"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": true}})
}

fn context(text: &str) -> Value {
    json!({"type": "context", "elements": [{"type": "mrkdwn", "text": text, "verbatim": true}]})
}

fn plain_text(text: &str, max: usize) -> Value {
    json!({"type": "plain_text", "text": mrkdwn::plain(text, max), "emoji": true})
}

#[cfg(test)]
mod tests;
