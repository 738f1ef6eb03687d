//! `GET /api/v1/incidents…`: the list, one incident, its timeline.

use axum::{Json, extract::State as Shared};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Asked, At, incident_id};
use crate::{
    domain::incident::show as wording,
    http::{State, problem::Problem},
    store::{self, Filter},
};

/// Items of a page when nothing else is asked for.
const PAGE: i64 = 50;
/// Most items of a page.
const MAX_PAGE: i64 = 500;
/// Members shown of one incident.
const MAX_MEMBERS: i64 = 200;

/// The list's parameters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    status: Option<String>,
    before: Option<i64>,
    limit: Option<i64>,
}

/// `?status=open|closed|all&before=12&limit=50`: newest first; `next` is the `before` of the next page.
pub async fn list(
    Shared(state): Shared<State>,
    Asked(query): Asked<ListQuery>,
) -> Result<Json<Value>, Problem> {
    let ListQuery { status, before, limit } = query;
    let open = match status.as_deref() {
        None | Some("all") => None,
        Some("open") => Some(true),
        Some("closed") => Some(false),
        Some(_) => return Err(Problem::bad_request("`status` is open, closed or all")),
    };
    let limit = limit.unwrap_or(PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(Problem::bad_request("`limit` is 1 to 500"));
    }
    let items = state.engine.store.incidents(Filter { open, before, limit }).await?;
    let full = i64::try_from(items.len()).unwrap_or(i64::MAX) == limit;
    let last = items.last().and_then(|item| incident_id(&item.id).ok()).filter(|_| full);
    Ok(Json(json!({ "items": items, "next": last.map(|id| id.0) })))
}

/// Everything about one incident but its timeline and the text of its evidence.
pub async fn show(
    Shared(state): Shared<State>,
    At(id): At<String>,
) -> Result<Json<Value>, Problem> {
    let id = incident_id(&id)?;
    let store = &state.engine.store;
    let incident = store.incident(id).await?.ok_or_else(|| Problem::no_incident(id))?.incident;
    let card = state.engine.card(&incident, state.engine.now());
    let mut runs = Vec::new();
    for run in store.runs(id).await? {
        let steps = store.steps(&run.id).await?;
        let steps: Vec<Value> =
            steps.into_iter().map(|(name, evidence)| step(&name, &evidence)).collect();
        let mut run = json!(run);
        run["steps"] = Value::Array(steps);
        runs.push(run);
    }
    let jobs = store.jobs_of(id).await?.into_iter();
    let jobs: Vec<Value> = jobs
        .map(|(key, due, error)| json!({ "key": key, "due": due, "last_error": error }))
        .collect();
    Ok(Json(json!({
        "id": id.to_string(),
        "incident": incident,
        "card": card,
        "members": store.members(id, MAX_MEMBERS).await?,
        "runs": runs,
        "messages": store.messages(id).await?,
        "jobs": jobs,
    })))
}

fn step(name: &str, evidence: &crate::domain::evidence::Evidence) -> Value {
    json!({
        "step": name,
        "kind": evidence.kind,
        "state": evidence.state,
        "reason": evidence.reason,
        "summary": evidence.findings.summary,
        "duration_ms": evidence.duration_ms,
    })
}

/// The timeline's parameters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimelineQuery {
    after: Option<i64>,
    limit: Option<i64>,
}

/// `?after=12&limit=200`: oldest first; `next` is the `after` of the next page.
pub async fn timeline(
    Shared(state): Shared<State>,
    At(id): At<String>,
    Asked(query): Asked<TimelineQuery>,
) -> Result<Json<Value>, Problem> {
    let id = incident_id(&id)?;
    let TimelineQuery { after, limit } = query;
    let limit = limit.unwrap_or(MAX_PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(Problem::bad_request("`limit` is 1 to 500"));
    }
    let store: &store::Store = &state.engine.store;
    store.incident(id).await?.ok_or_else(|| Problem::no_incident(id))?;
    let events = store.timeline(id, after.unwrap_or(0), limit).await?;
    let full = i64::try_from(events.len()).unwrap_or(i64::MAX) == limit;
    let next = events.last().map(|(seq, ..)| *seq).filter(|_| full);
    let items: Vec<Value> = events
        .iter()
        .map(|(seq, at, event)| json!({ "seq": seq, "at": at, "text": wording::line(event), "event": event }))
        .collect();
    Ok(Json(json!({ "items": items, "next": next })))
}
