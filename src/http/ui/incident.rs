//! `/incidents/{id}`: everything somebody needs who was just woken up, the most urgent first.

use axum::{Extension, extract::State as Shared, response::Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Page, evidence, respond, view};
use crate::{
    config::Role,
    domain::incident::{Incident, Status},
    http::{
        State,
        auth::Caller,
        problem::Problem,
        routes::{Asked, At, incident_id},
    },
};

/// Seconds between reloads while something happens by itself.
const RELOAD: u32 = 10;
/// Events of the timeline shown, the newest.
const EVENTS: i64 = 300;
/// Members shown.
const MEMBERS: i64 = 50;

/// The address's parameters.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Asks {
    /// The answer to show.
    said: Option<u64>,
    /// `off`: no reloads.
    live: String,
    /// Anything: show the form for a note.
    write: String,
}

/// The page.
pub async fn page(
    Shared(state): Shared<State>,
    Extension(caller): Extension<Caller>,
    At(id): At<String>,
    Asked(asks): Asked<Asks>,
) -> Result<Response, Problem> {
    let id = incident_id(&id)?;
    let (store, now) = (&state.engine.store, state.engine.now());
    let incident = store.incident(id).await?.ok_or_else(|| Problem::no_incident(id))?.incident;
    let card = state.engine.card(&incident, now);
    let said = asks
        .said
        .and_then(|number| state.pages.said.find(number, id, state.engine.clock.monotonic()));
    let after = (incident.seq - EVENTS).max(0);
    let events = store.timeline(id, after, EVENTS).await?;
    let members = store.members(id, MEMBERS).await?;
    let messages = store.messages(id).await?;
    let runs = evidence::runs(store, &incident, now).await?;
    let moves = moves_by_itself(&incident);
    let live = moves && asks.live != "off" && asks.write.is_empty();
    let may_act = caller.role >= Role::Responder;
    let mut content = json!({
        "head": view::head(&incident, &card, now),
        "verdicts": view::verdicts(&card),
        "actions": if may_act { view::actions(&incident, &card) } else { Value::Null },
        "timeline": view::timeline(&events, now),
        "earlier": after > 0,
        "members": view::members(&members, &incident, now),
        "sent": view::sent(&messages, &state.engine.oncall.get(), now),
        "runs": runs,
        "moves": moves,
        "live": live,
        "writing": may_act && !asks.write.is_empty(),
    });
    if let Some(said) = said {
        content["said"] =
            json!({ "message": said.message, "done": said.done, "anyway": said.anyway_helps });
    }
    let reload = live.then(|| format!("{RELOAD}; url=/incidents/{id}"));
    let title = format!("{} {} · {}", incident.severity, incident.title, id);
    respond(&state, Page { template: "incident", title, reload, caller: Some(&caller), content })
}

/// Nobody has it yet, or the diagnosis is under way. Otherwise somebody reads, and a reload would be in their way.
fn moves_by_itself(incident: &Incident) -> bool {
    incident.running > 0 || incident.status == Status::Triggered
}
