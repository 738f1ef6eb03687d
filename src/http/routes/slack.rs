//! `POST /slack/interactions`: somebody pressed a button under a card.
//!
//! The signature is checked on the raw bytes before anything parses them. Slack wants its 200 within three seconds and
//! shows what the button did only where we post it: the press runs in a task of its own, is waited for briefly (so that
//! normally the 200 means done), and its answer goes to the one who pressed, visible to nobody else.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use axum::{
    extract::{Request, State as Shared},
    http::{HeaderMap, StatusCode},
};

use crate::{
    domain::incident::Who,
    engine::change,
    http::{
        State,
        auth::one,
        body::{self, Bounds},
        problem::Problem,
    },
    notify::{
        Channel,
        press::Press,
        slack::{
            interaction::{self, Interaction},
            signature,
        },
    },
};

/// Longest form, bytes.
const MAX_FORM: usize = 512 * 1024;
/// How long the 200 waits for the press to be done.
const PATIENCE: Duration = Duration::from_secs(2);
/// Clicks remembered.
const REMEMBERED: usize = 1_000;

/// Clicks seen lately, so that Slack's repeats press nothing twice.
#[derive(Default)]
pub struct Seen(Mutex<(BTreeSet<String>, VecDeque<String>)>);

impl Seen {
    /// True the first time.
    fn is_new(&self, click: &Interaction, press: &Press) -> bool {
        let key = format!("{}/{}/{press}", click.action_ts, click.user_id);
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, order) = &mut *seen;
        if !known.insert(key.clone()) {
            return false;
        }
        order.push_back(key);
        if order.len() > REMEMBERED
            && let Some(oldest) = order.pop_front()
        {
            known.remove(&oldest);
        }
        true
    }
}

/// One click, of one or several buttons.
pub async fn click(Shared(state): Shared<State>, request: Request) -> Result<StatusCode, Problem> {
    let (parts, body) = request.into_parts();
    let secret = state.config.slack.as_ref().and_then(|slack| slack.signing_secret.as_ref());
    let secret = secret.ok_or_else(|| {
        Problem::not_found("buttons of Slack are off; add `slack.signing_secret`")
    })?;
    let bounds = Bounds { limit: MAX_FORM, budget: Some(&state.budget), believe_length: false };
    let held = body::read(body, &parts.headers, bounds).await?;
    let (time, signed) = proof(&parts.headers);
    signature::verify(&secret.get(), time, signed, &held.bytes, state.engine.now()).map_err(
        |refusal| {
            tracing::warn!(reason = %refusal, "a click that is not Slack's");
            Problem::unauthorised("Bearer", "the signature is missing or wrong")
        },
    )?;
    let click =
        interaction::parse(&held.bytes).map_err(|error| Problem::bad_request(error.to_string()))?;
    let fresh: Vec<Press> =
        click.presses.iter().filter(|press| state.clicks.is_new(&click, press)).copied().collect();
    if fresh.is_empty() {
        return Ok(StatusCode::OK);
    }
    let (done, waiting) = tokio::sync::oneshot::channel();
    let pressing = state.clone();
    state.tasks.spawn("http.slack", async move {
        let texts = press_all(&pressing, &click, fresh).await;
        let in_time = done.send(()).is_ok();
        tracing::debug!(in_time, "a press was carried out");
        answer(&pressing, &click, &texts.join("\n")).await;
        Ok(())
    });
    drop(tokio::time::timeout(PATIENCE, waiting).await);
    Ok(StatusCode::OK)
}

fn proof(headers: &HeaderMap) -> (Option<&str>, Option<&str>) {
    let header = |name: &'static str| one(headers, &axum::http::HeaderName::from_static(name));
    (header("x-slack-request-timestamp"), header("x-slack-signature"))
}

async fn press_all(state: &State, click: &Interaction, presses: Vec<Press>) -> Vec<String> {
    let who = match state.engine.person_behind("slack", &click.user_id) {
        Ok(who) => who,
        Err(text) => return vec![text],
    };
    let mut texts = Vec::new();
    for press in presses {
        texts.push(press_one(state, press, who.clone()).await);
    }
    texts
}

async fn press_one(state: &State, press: Press, who: Who) -> String {
    let Press { incident, round, verb } = press;
    match state.engine.press(incident, verb, Some(round), who).await {
        Ok(text) => text,
        Err(error @ (change::Error::Refused(_) | change::Error::NoSuchIncident(_))) => {
            error.to_string()
        }
        Err(change::Error::Store(error)) => {
            tracing::error!(incident.id = %incident, %error, "a press was not carried out");
            format!(
                "NOT done ({incident}): the store did not answer. Press again, or use the web page."
            )
        }
    }
}

async fn answer(state: &State, click: &Interaction, text: &str) {
    let Some(transport) = state.engine.channels.transport("slack") else { return };
    let Channel::Slack(slack) = transport.channel() else { return };
    if let Err(error) = slack.answer(click, text).await {
        tracing::warn!(%error, "the answer to a click was not taken");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_click_counts_once_and_only_the_latest_are_remembered() {
        let seen = Seen::default();
        let press: Press = "12:3:ack".parse().unwrap();
        let click = |at: usize| Interaction {
            user_id: "U1".to_owned(),
            presses: vec![press],
            channel: String::new(),
            message_ts: String::new(),
            action_ts: at.to_string(),
            response_url: String::new(),
        };
        assert!(seen.is_new(&click(0), &press));
        assert!(!seen.is_new(&click(0), &press));
        assert!((1..=REMEMBERED).all(|at| seen.is_new(&click(at), &press)));
        assert!(seen.is_new(&click(0), &press), "the oldest was forgotten");
        assert_eq!(seen.0.lock().unwrap().0.len(), REMEMBERED);
    }
}
