//! `GET /api/v1/oncall`: who is on call now, per schedule.

use axum::{Json, extract::State as Shared};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::{domain::oncall::OnCall, http::State};

/// How far ahead the next hand-over is looked for.
const HORIZON: SignedDuration = SignedDuration::from_hours(31 * 24);

/// Everybody on call at one instant.
#[derive(Serialize)]
pub struct Now {
    /// That instant.
    pub at: Timestamp,
    /// In the files' order.
    pub schedules: Vec<Turn>,
}

/// One schedule's turn.
#[derive(Serialize)]
pub struct Turn {
    /// Schedule id.
    pub id: String,
    /// The first is the primary; empty: a gap.
    pub people: Vec<Responder>,
    /// The next change, within 31 days.
    pub until: Option<Timestamp>,
}

/// A person on call.
#[derive(Serialize)]
pub struct Responder {
    /// Person id.
    pub id: String,
    /// Person's name.
    pub name: String,
}

/// Who is on call now.
pub async fn now(Shared(state): Shared<State>) -> Json<Now> {
    Json(turns(&state.engine.oncall.get(), state.engine.now()))
}

/// Who is on call at `at`.
pub fn turns(oncall: &OnCall, at: Timestamp) -> Now {
    let horizon = at.saturating_add(HORIZON).unwrap_or(Timestamp::MAX);
    let schedules = oncall.parts().schedules.iter().map(|schedule| {
        let people = schedule.on_call(at).into_iter().map(|id| {
            let name =
                oncall.person(&id).map_or_else(|| id.to_string(), |person| person.name.clone());
            Responder { id: id.to_string(), name }
        });
        Turn {
            id: schedule.id().to_owned(),
            people: people.collect(),
            until: schedule.next_handoff(at, horizon),
        }
    });
    Now { at, schedules: schedules.collect() }
}
