//! `/incidents`: open ones first. Filters live in the address, so that a link to a view is a link.

use axum::{
    Extension,
    extract::State as Shared,
    response::{Redirect, Response},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Page, respond, time};
use crate::{
    domain::{incident::Incident, severity::Severity},
    http::{
        State,
        auth::Caller,
        problem::Problem,
        routes::{Asked, incident_id},
    },
    notify::wording,
    store::{Filter, Summary},
};

/// Rows of a page.
const ROWS: usize = 50;
/// Rows of closed incidents below the open ones.
const LATELY: usize = 8;
/// Rows looked at for one page, at most.
const SCANNED: usize = 5_000;
/// Seconds between reloads.
const RELOAD: u32 = 30;

/// The address's parameters; what is empty does not count.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asks {
    status: String,
    severity: String,
    q: String,
    before: Option<i64>,
}

/// `/`.
pub async fn home() -> Redirect {
    Redirect::to("/incidents")
}

/// The page.
pub async fn page(
    Shared(state): Shared<State>,
    Extension(caller): Extension<Caller>,
    Asked(asks): Asked<Asks>,
) -> Result<Response, Problem> {
    let status = match asks.status.as_str() {
        "" | "open" => Some(true),
        "closed" => Some(false),
        "all" => None,
        _ => return Err(Problem::bad_request("`status` is open, closed or all")),
    };
    let severity: Option<Severity> = match asks.severity.as_str() {
        "" => None,
        text => Some(
            text.parse()
                .map_err(|reason: String| Problem::bad_request(format!("`severity`: {reason}")))?,
        ),
    };
    let alone = status == Some(true) && asks.q.trim().is_empty();
    let wanted = |summary: &Summary| {
        let needle = asks.q.trim().to_lowercase();
        let named = |text: &str| text.to_lowercase().contains(&needle);
        severity.is_none_or(|severity| summary.severity == severity.to_string())
            && (needle.is_empty()
                || named(&summary.title)
                || named(&summary.team)
                || named(&summary.id)
                || summary.storm.as_deref().is_some_and(named))
            // The storm stands for its members, unless somebody asks for more than what is open.
            && (!alone || summary.storm.is_none())
    };
    let (found, next) = scan(&state, status, asks.before, ROWS, &wanted).await?;
    let mut rows = rows(&state, found).await?;
    let open_view = status == Some(true);
    if open_view && asks.before.is_none() && next.is_none() {
        // All of them are here: the worst first, then those nobody has.
        rows.sort_by(|(a, _), (b, _)| {
            b.severity
                .cmp(&a.severity)
                .then(a.ack.is_some().cmp(&b.ack.is_some()))
                .then(b.id.cmp(&a.id))
        });
    }
    let mut lately = Vec::new();
    if open_view && asks.before.is_none() {
        let (found, _) = scan(&state, Some(false), None, LATELY, &wanted).await?;
        lately = self::rows(&state, found).await?;
    }
    let view =
        |rows: Vec<(Incident, Value)>| rows.into_iter().map(|(_, row)| row).collect::<Vec<_>>();
    let filtered = severity.is_some() || !asks.q.trim().is_empty();
    let content = json!({
        "rows": view(rows),
        "lately": view(lately),
        "columns": ["Severity", "Incident", "Status", "Ended", "Team", "Since", "Number"],
        "open_view": open_view,
        "filtered": filtered,
        "older": next.map(|next| address(&asks, &[("before", &next.to_string())])),
        "statuses": chips(&asks, "status", &[("open", "Open"), ("closed", "Closed"), ("all", "All")], if asks.status.is_empty() { "open" } else { &asks.status }),
        "severities": chips(&asks, "severity", &[("", "Any"), ("P0", "P0"), ("P1", "P1"), ("P2", "P2"), ("P3", "P3")], &asks.severity),
        "q": asks.q,
        "status": asks.status,
        "severity": asks.severity,
    });
    let reload = asks.q.is_empty().then(|| format!("{RELOAD}; url={}", address(&asks, &[])));
    let title = "Incidents".to_owned();
    respond(&state, Page { template: "list", title, reload, caller: Some(&caller), content })
}

/// Summaries that are wanted, newest first, and where the next page begins.
async fn scan(
    state: &State,
    open: Option<bool>,
    mut before: Option<i64>,
    rows: usize,
    wanted: &impl Fn(&Summary) -> bool,
) -> Result<(Vec<Summary>, Option<i64>), Problem> {
    const STEP: usize = 200;
    let mut found = Vec::new();
    for _ in 0..SCANNED / STEP {
        let limit = i64::try_from(STEP).unwrap_or(i64::MAX);
        let page = state.engine.store.incidents(Filter { open, before, limit }).await?;
        let more = page.len() == STEP;
        for summary in page {
            let id = incident_id(&summary.id)?.0;
            if found.len() == rows && wanted(&summary) {
                return Ok((found, before));
            }
            before = Some(id);
            if wanted(&summary) {
                found.push(summary);
            }
        }
        if !more {
            return Ok((found, None));
        }
    }
    Ok((found, before))
}

async fn rows(state: &State, found: Vec<Summary>) -> Result<Vec<(Incident, Value)>, Problem> {
    let now = state.engine.now();
    let mut rows = Vec::new();
    for summary in found {
        let Some(stored) = state.engine.store.incident(incident_id(&summary.id)?).await? else {
            continue;
        };
        let incident = stored.incident;
        let card = state.engine.card(&incident, now);
        let verdict = card.verdicts.first().map(|best| {
            json!({ "title": best.title, "confidence": wording::confidence(best.confidence) })
        });
        let row = json!({
            "id": summary.id,
            "severity": summary.severity,
            "level": summary.severity.to_lowercase(),
            "status": summary.status,
            "title": summary.title,
            "team": summary.team,
            "since": time::shown(incident.since, now),
            "ended": incident.resolved_at.map(|at| time::shown(at, now)),
            "open": incident.is_open(),
            "has": incident.ack.as_ref().map(|ack| ack.by.name.clone()),
            "next": card.next,
            "members": card.members,
            "verdict": verdict,
        });
        rows.push((incident, row));
    }
    Ok(rows)
}

fn chips(asks: &Asks, name: &str, choices: &[(&str, &str)], chosen: &str) -> Vec<Value> {
    let chips = choices.iter().map(|(value, label)| {
        json!({ "label": label, "chosen": *value == chosen, "address": address(asks, &[(name, value)]) })
    });
    chips.collect()
}

/// The list's address with some parameters changed; paging starts over unless it is among them.
fn address(asks: &Asks, changed: &[(&str, &str)]) -> String {
    let now = [
        ("status", asks.status.as_str()),
        ("severity", asks.severity.as_str()),
        ("q", asks.q.as_str()),
        ("before", ""),
    ];
    let pairs = now.into_iter().filter_map(|(name, value)| {
        let value = changed.iter().find(|(n, _)| *n == name).map_or(value, |(_, value)| *value);
        let value = utf8_percent_encode(value, NON_ALPHANUMERIC);
        let value = value.to_string();
        (!value.is_empty()).then(|| format!("{name}={value}"))
    });
    let query = pairs.collect::<Vec<_>>().join("&");
    if query.is_empty() { "/incidents".to_owned() } else { format!("/incidents?{query}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_keeps_the_others_and_starts_paging_over() {
        let asks = Asks {
            status: "all".to_owned(),
            q: "a&b=ü".to_owned(),
            before: Some(7),
            ..Asks::default()
        };
        assert_eq!(
            address(&asks, &[("severity", "P1")]),
            "/incidents?status=all&severity=P1&q=a%26b%3D%C3%BC"
        );
        assert_eq!(
            address(&asks, &[("status", ""), ("q", ""), ("before", "3")]),
            "/incidents?before=3"
        );
        assert_eq!(address(&Asks::default(), &[]), "/incidents");
    }
}
