//! `/oncall`: who is on call now and in the next two weeks, with the gaps.

use axum::{Extension, extract::State as Shared, response::Response};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::{Value, json};

use super::{Page, respond, time};
use crate::{
    domain::{
        oncall::OnCall,
        schedule::{Schedule, Shift},
    },
    http::{State, auth::Caller, problem::Problem},
};

/// How far the page looks ahead.
const AHEAD: SignedDuration = SignedDuration::from_hours(14 * 24);
/// Most turns shown per schedule.
const MOST: usize = 60;

/// The page.
pub async fn page(
    Shared(state): Shared<State>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    let (oncall, now) = (state.engine.oncall.get(), state.engine.now());
    let schedules = oncall.parts().schedules.iter();
    let schedules: Vec<Value> = schedules.map(|schedule| shown(&oncall, schedule, now)).collect();
    let content = json!({ "schedules": schedules });
    let title = "On call".to_owned();
    respond(
        &state,
        Page { template: "oncall", title, reload: None, caller: Some(&caller), content },
    )
}

fn shown(oncall: &OnCall, schedule: &Schedule, now: Timestamp) -> Value {
    let until = now.saturating_add(AHEAD).unwrap_or(Timestamp::MAX);
    let shifts = schedule.shifts(now..until);
    let turns: Vec<Value> =
        shifts.iter().take(MOST).map(|shift| turn(oncall, schedule.zone(), shift, now)).collect();
    let gaps = shifts.iter().filter(|shift| shift.people.is_empty()).count();
    json!({
        "id": schedule.id(),
        "zone": schedule.zone().iana_name().unwrap_or("UTC"),
        "turns": turns,
        "gaps": (gaps > 0).then_some(gaps),
    })
}

fn turn(oncall: &OnCall, zone: &TimeZone, shift: &Shift, now: Timestamp) -> Value {
    let local = |at: Timestamp| at.to_zoned(zone.clone()).strftime("%a %b %d %H:%M").to_string();
    let names = shift
        .people
        .iter()
        .map(|id| oncall.person(id).map_or_else(|| id.to_string(), |person| person.name.clone()));
    let names: Vec<String> = names.collect();
    json!({
        "now": shift.when.start <= now,
        "from": local(shift.when.start),
        "until": local(shift.when.end),
        "length": crate::notify::wording::duration(shift.when.end.duration_since(shift.when.start)),
        "names": names.join(", "),
        "gap": names.is_empty(),
        "since": time::shown(shift.when.start, now),
    })
}
