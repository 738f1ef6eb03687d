//! An incident as its page's template wants it.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::time;
use crate::{
    domain::{
        alert::Status,
        card::{Card, Link, Verb},
        incident::{Event, Incident, correlate::Member, show},
        oncall::OnCall,
        schedule::PersonId,
        verdict::{Quote, Verdict},
    },
    notify::{
        markdown::{self, Span},
        wording,
    },
    store::Sent,
};

/// Labels of a member that are worth a column.
const MAX_LABELS: usize = 6;
/// Quotes of one verdict.
const MAX_QUOTES: usize = 8;

/// Title, state, who has it, what happens next, labels and links.
pub fn head(incident: &Incident, card: &Card, now: Timestamp) -> Value {
    let labels: Vec<Value> =
        card.labels.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
    let links: Vec<Value> =
        card.links.iter().filter(|link| link.label != "Incident").filter_map(web).collect();
    let lasted = incident.resolved_at.unwrap_or(now).duration_since(incident.since);
    json!({
        "id": card.incident.to_string(),
        "round": card.round,
        "title": card.title,
        "severity": card.severity.to_string(),
        "level": card.severity.to_string().to_lowercase(),
        "status": card.status,
        "open": incident.is_open(),
        "since": time::shown(card.since, now),
        "lasted": wording::duration(lasted),
        "ended": incident.resolved_at.filter(|_| !incident.is_open()).map(|at| time::shown(at, now)),
        "summary": card.summary,
        "parts": card.parts,
        "storm": incident.is_storm(),
        "members": card.members,
        "team": incident.team,
        "policy": incident.policy,
        "has": incident.ack.as_ref().map(|ack| json!({ "name": ack.by.name, "at": time::shown(ack.at, now) })),
        "next": card.next,
        "diagnosis": card.diagnosis,
        "caveats": card.caveats,
        "labels": labels,
        "links": links,
    })
}

fn web(link: &Link) -> Option<Value> {
    markdown::web(&link.url).map(|url| json!({ "label": link.label, "url": url }))
}

/// Best first, with quotes and remedy.
pub fn verdicts(card: &Card) -> Vec<Value> {
    let explained = |verdict: &Verdict| {
        let cause =
            card.verdicts.iter().find(|c| c.id != verdict.id && c.explains.contains(&verdict.id));
        cause.map(|cause| cause.title.clone())
    };
    let shown = card.verdicts.iter().enumerate().map(|(at, verdict)| {
        let percent = (verdict.confidence.clamp(0.0, 1.0) * 100.0).round();
        json!({
            "first": at == 0,
            "id": verdict.id,
            "title": verdict.title,
            "confidence": wording::confidence(verdict.confidence),
            "percent": percent,
            "owner": wording::owner(verdict.owner),
            "explained": explained(verdict),
            "quotes": verdict.evidence.iter().take(MAX_QUOTES).map(quote).collect::<Vec<_>>(),
            "remedy": remedy(&verdict.remedy),
            "docs": verdict.docs.as_deref().and_then(markdown::web),
        })
    });
    shown.collect()
}

fn quote(quote: &Quote) -> Value {
    json!({ "place": wording::place(quote), "text": quote.quote })
}

/// The little Markdown of remedies as pieces; the template decides how each looks.
fn remedy(text: &str) -> Vec<Value> {
    let line = |line: markdown::Line<'_>| {
        let spans = line.spans.into_iter().map(|span| match span {
            Span::Text(text) => json!({ "text": text }),
            Span::Code(code) => json!({ "code": code }),
            Span::Bold(bold) => json!({ "bold": bold }),
            Span::Link { label, url } => json!({ "label": label, "url": markdown::web(url) }),
        });
        json!({ "item": line.item, "spans": spans.collect::<Vec<_>>() })
    };
    markdown::lines(text).map(line).collect()
}

/// What can be pressed now.
pub fn actions(incident: &Incident, card: &Card) -> Value {
    let silences = card.actions.iter().any(|action| action.verb == Verb::Silence1h);
    json!({
        "open": incident.is_open(),
        "ack": incident.is_open() && incident.ack.is_none(),
        "again": incident.is_open() && incident.ack.is_some(),
        "silence": incident.is_open() && silences,
        "firing": incident.firing,
    })
}

/// Newest first.
pub fn timeline(events: &[(i64, Timestamp, Event)], now: Timestamp) -> Vec<Value> {
    let lines = events.iter().rev().filter_map(|(_, at, event)| {
        let text = match event {
            Event::Noted { by, text } => format!("{by}: {text}"),
            other => show::line(other)?,
        };
        Some(json!({ "at": time::shown(*at, now), "text": text, "kind": kind(event) }))
    });
    lines.collect()
}

/// What stands out in the timeline.
fn kind(event: &Event) -> &'static str {
    match event {
        Event::PageFailed { .. }
        | Event::PostFailed { .. }
        | Event::NobodyToPage { .. }
        | Event::AckExpired { .. } => "bad",
        Event::Acknowledged { .. } | Event::Resolved { .. } | Event::OwnerTookIt { .. } => "good",
        Event::RunEnded(_) | Event::Caveat { .. } => "found",
        Event::Noted { .. } => "note",
        _ => "",
    }
}

/// The alerts, those that fire first.
pub fn members(members: &[Member], incident: &Incident, now: Timestamp) -> Value {
    let common = |name: &str, value: &str| incident.labels.get(name).is_some_and(|v| v == value);
    let rows: Vec<Value> = members
        .iter()
        .map(|member| {
            let own = member.labels.iter().filter(|(name, value)| !common(name, value));
            let own: Vec<Value> = own
                .take(MAX_LABELS)
                .map(|(name, value)| json!({ "name": name, "value": value }))
                .collect();
            json!({
                "firing": member.status == Status::Firing,
                "since": time::shown(member.starts_at, now),
                "labels": own,
                "expression": markdown::web(&member.generator_url),
            })
        })
        .collect();
    let shown = u64::try_from(rows.len()).unwrap_or(u64::MAX);
    let more = incident.members.saturating_sub(shown);
    json!({ "rows": rows, "more": (more > 0).then_some(more) })
}

/// Posts and pages with their receipts; the rows that only remember a note are left out.
pub fn sent(messages: &[Sent], oncall: &OnCall, now: Timestamp) -> Vec<Value> {
    let name = |id: &str| {
        let person = oncall.person(&PersonId::from(id));
        person.map_or_else(|| id.to_owned(), |person| person.name.clone())
    };
    let shown = messages.iter().filter(|sent| sent.key.starts_with("post:") || sent.is_page);
    let shown = shown.map(|sent| {
        // A card's remark is its digest while it is well.
        let remark = if sent.is_page || sent.state != "sent" { sent.remark.as_str() } else { "" };
        json!({
            "page": sent.is_page,
            "to": if sent.is_page { format!("{} by {}", name(&sent.person), sent.channel) } else { sent.channel.clone() },
            "ok": sent.state == "sent",
            "state": if sent.state == "sent" { "delivered" } else { sent.state.as_str() },
            "remark": remark,
            "receipt": sent.remote_id,
            "at": time::shown(sent.at, now),
        })
    });
    shown.collect()
}
