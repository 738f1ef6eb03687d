//! `POST /incidents/{id}/{action}`: a button of the incident page. The answer is shown on the page that follows.

use axum::{
    Extension, Form,
    extract::{State as Shared, rejection::FormRejection},
    response::Redirect,
};

use super::said::Said;
use crate::http::{
    State,
    act::{Action, Fields, Outcome},
    auth::Caller,
    problem::Problem,
    routes::{At, incident_id},
};

/// Carries the button out and goes back to the incident.
pub async fn act(
    Shared(state): Shared<State>,
    Extension(caller): Extension<Caller>,
    At((id, action)): At<(String, String)>,
    form: Result<Form<Fields>, FormRejection>,
) -> Result<Redirect, Problem> {
    let incident = incident_id(&id)?;
    let Form(fields) = form.map_err(|error| Problem::new(error.status(), error.body_text()))?;
    let who = caller.who(&state, fields.by.as_deref(), "web");
    let action = Action::read(&action, fields, state.engine.now())?;
    let said = match action.carry_out(&state, incident, who).await? {
        Outcome::Done(message) => Said { incident, message, done: true, anyway_helps: false },
        Outcome::Refused { message, anyway_helps } => {
            Said { incident, message, done: false, anyway_helps }
        }
    };
    let number = state.pages.said.keep(said, state.engine.clock.monotonic());
    Ok(Redirect::to(&format!("/incidents/{incident}?said={number}")))
}
