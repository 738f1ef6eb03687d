//! What Slack posts when somebody clicks: a form with one field, `payload`, of JSON.
//!
//! Only clicks on our own buttons are read (`block_actions` whose values parse as [`Press`]). The body must have passed
//! [`super::signature::verify`]. People click twice and Slack retries: drop repeats of
//! ([`Interaction::action_ts`], user, press).

use percent_encoding::percent_decode_str;
use serde::Deserialize;

use crate::notify::{press::Press, wording::cut};

/// Longest form that is read, bytes; Slack's own are far smaller.
const MAX_BODY: usize = 512 * 1024;
/// More actions than this in one click are no click.
const MAX_ACTIONS: usize = 20;

/// One click.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interaction {
    /// Who: `U024BE7LH`.
    pub user_id: String,
    /// What; at least one.
    pub presses: Vec<Press>,
    /// Where: the channel's id.
    pub channel: String,
    /// The card's `ts`.
    pub message_ts: String,
    /// Unique per click.
    pub action_ts: String,
    /// Where an answer only this person sees may be posted, five times in 30 minutes; empty when Slack gave none.
    pub response_url: String,
}

/// Why a click cannot be read. Answer 400; nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a click on one of our buttons: {0}")]
pub struct Error(String);

#[derive(Deserialize)]
struct Payload {
    #[serde(rename = "type")]
    kind: String,
    user: Id,
    #[serde(default)]
    actions: Vec<Action>,
    #[serde(default)]
    container: Container,
    channel: Option<Id>,
    #[serde(default)]
    response_url: String,
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

#[derive(Default, Deserialize)]
struct Container {
    #[serde(default)]
    message_ts: String,
    #[serde(default)]
    channel_id: String,
}

#[derive(Deserialize)]
struct Action {
    #[serde(rename = "action_id")]
    id: String,
    #[serde(default, rename = "action_ts")]
    ts: String,
    value: Option<String>,
    selected_option: Option<Selected>,
}

#[derive(Deserialize)]
struct Selected {
    value: String,
}

/// Reads the raw body of an interactivity request.
pub fn parse(body: &[u8]) -> Result<Interaction, Error> {
    let error = |why: &str| Error(why.to_owned());
    if body.len() > MAX_BODY {
        return Err(error("the request is too long"));
    }
    let form = std::str::from_utf8(body).map_err(|_| error("the form is not UTF-8"))?;
    let field = form
        .split('&')
        .find_map(|field| field.strip_prefix("payload="))
        .ok_or_else(|| error("the form has no `payload`"))?
        .replace('+', " ");
    let json =
        percent_decode_str(&field).decode_utf8().map_err(|_| error("the payload is not UTF-8"))?;
    let payload: Payload = serde_json::from_str(&json)
        .map_err(|e| Error(format!("the payload cannot be read: {}", cut(&e.to_string(), 100))))?;
    let Payload { kind, user, actions, container, channel, response_url } = payload;
    if kind != "block_actions" {
        return Err(Error(format!("its type is `{}`", cut(&kind, 40))));
    }
    if actions.is_empty() || actions.len() > MAX_ACTIONS {
        return Err(error("it names no action, or too many"));
    }
    let presses = actions.iter().map(press).collect::<Result<_, _>>()?;
    Ok(Interaction {
        user_id: user.id,
        presses,
        channel: channel.map_or(container.channel_id, |c| c.id),
        message_ts: container.message_ts,
        action_ts: actions.into_iter().next().map_or_else(String::new, |a| a.ts),
        response_url,
    })
}

/// A button's value, or a menu's selected one; the `action_id` must tell the same story.
fn press(action: &Action) -> Result<Press, Error> {
    let value = match (&action.value, &action.selected_option) {
        (Some(value), None) => value,
        (None, Some(selected)) => &selected.value,
        (Some(_), Some(_)) | (None, None) => {
            return Err(Error("an action has no value, or two".to_owned()));
        }
    };
    let press: Press = value.parse().map_err(Error)?;
    let menu = action.id == super::render::SILENCE && press.verb.id().starts_with("silence_");
    if menu || action.id == press.verb.id() {
        Ok(press)
    } else {
        Err(Error("the action's id and value differ".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::{card::Verb, ids::IncidentId};

    fn form(payload: &Value) -> String {
        format!("payload={}", utf8_percent_encode(&payload.to_string(), NON_ALPHANUMERIC))
    }

    fn click(action: &Value) -> Value {
        json!({
            "type": "block_actions", "team": {"id": "T1", "domain": "x"}, "trigger_id": "1.2",
            "user": {"id": "U024BE7LH", "name": "ana"}, "channel": {"id": "C1", "name": "spark"},
            "container": {"type": "message", "message_ts": "1763.5", "channel_id": "C1"},
            "response_url": "https://hooks.slack.com/actions/T1/1/x", "actions": [action],
        })
    }

    #[test]
    fn a_button_and_a_menu_are_read() {
        let button = json!({"type": "button", "action_id": "ack", "value": "12:3:ack", "action_ts": "1763.6"});
        let read = parse(form(&click(&button)).replace("%20", "+").as_bytes()).unwrap();
        let press = |verb| Press { incident: IncidentId(12), round: 3, verb };
        assert_eq!(
            read,
            Interaction {
                user_id: "U024BE7LH".to_owned(),
                presses: vec![press(Verb::Ack)],
                channel: "C1".to_owned(),
                message_ts: "1763.5".to_owned(),
                action_ts: "1763.6".to_owned(),
                response_url: "https://hooks.slack.com/actions/T1/1/x".to_owned(),
            }
        );
        let menu = json!({"type": "static_select", "action_id": "silence", "action_ts": "1",
            "selected_option": {"text": {"type": "plain_text", "text": "Silence 4h"}, "value": "12:3:silence_4h"}});
        assert_eq!(
            parse(form(&click(&menu)).as_bytes()).unwrap().presses,
            [press(Verb::Silence4h)]
        );
    }

    #[test]
    fn anything_else_is_refused_with_a_reason() {
        let with = |action: Value| form(&click(&action));
        let cases = [
            String::new(),
            "payload".to_owned(),
            "payload=%ff".to_owned(),
            "payload={}".to_owned(),
            "payload=%7B".to_owned(),
            form(&json!({"type": "view_submission", "user": {"id": "U1"}})),
            form(&json!({"type": "block_actions", "user": {"id": "U1"}, "actions": []})),
            with(json!({"action_id": "ack", "value": "12:3:resolve"})),
            with(json!({"action_id": "silence", "value": "12:3:ack"})),
            with(json!({"action_id": "ack"})),
            with(json!({"action_id": "ack", "value": "\0"})),
            form(&json!({"type": "block_actions", "user": "x".repeat(1_000)})),
            "x".repeat(MAX_BODY + 1),
        ];
        for body in cases {
            let error = parse(body.as_bytes()).unwrap_err().to_string();
            assert!(error.len() < 300, "{error}");
        }
        assert!(parse(b"payload=\xff").is_err());
    }
}
