//! Slack, with a bot token: one card per channel, edited in place; evidence in its thread; pages as direct messages.
//!
//! Slack has no idempotency key. Every message carries our key in its metadata instead, and after an unclear attempt one
//! read of the channel's (or thread's) recent messages decides whether to send again. That read is deliberately single
//! and small: apps outside the marketplace may read very little.
//!
//! Scopes: `chat:write`; for the look after an unclear attempt also `channels:history`, `groups:history`, `im:history`;
//! for channels configured by name (an id is better) `channels:read`, `groups:read`; for pages `im:write`. Without the
//! reading scopes a repeat cannot be seen, and the message is sent again and marked.

mod answer;
pub mod check;
pub mod interaction;
mod mrkdwn;
pub mod render;
pub mod signature;

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use secrecy::SecretString;
use serde_json::{Value, json};

use super::{
    Caps, Class, Delivery, Failure, Message, Notifier, Outcome, Page, Receipt, Result, wording,
};
use crate::clients::{
    self, Kind,
    http::{Client, Request, Url},
};
use interaction::Interaction;

/// `event_type` of our metadata.
const METADATA: &str = "paramedic";
/// Messages in one look, the newest. No times bound it: they would be those of our clock, which may be wrong.
const LOOK_LIMIT: &str = "100";
/// The same in a thread, which Slack reads oldest first.
const THREAD_LIMIT: &str = "999";
/// Pages of channels searched for a name, 200 each.
const NAME_PAGES: usize = 10;
/// Channel ids remembered by name.
const NAMES: usize = 1_000;

/// Where and as whom.
#[derive(Clone, Debug)]
pub struct SlackSettings {
    /// Bot token, `xoxb-…`.
    pub token: SecretString,
    /// Base of the Web API with a `/` at its end; [`SlackSettings::API`] outside tests.
    pub api_url: Url,
}

impl SlackSettings {
    /// The real Web API.
    pub const API: &str = "https://slack.com/api/";
}

/// A Slack workspace.
pub struct Slack {
    http: Client,
    settings: SlackSettings,
    /// Channel ids by configured address: learned from answers, so that a look needs no search.
    ids: Mutex<BTreeMap<String, String>>,
}

impl Notifier for Slack {
    const KIND: &'static str = "slack";
    const CAPS: Caps = Caps {
        edit: true,
        threads: true,
        actions: true,
        class: Class::Reconcilable,
        per_second: 1.0,
        burst: 3,
    };

    async fn send(&self, delivery: &Delivery<'_>) -> Result {
        match (delivery.message, delivery.card) {
            // An update may be repeated freely: no look.
            (Message::Card(_), Some(receipt)) => self.update(delivery, receipt).await,
            (Message::Evidence(_), card) => self.post(delivery, card).await,
            (Message::Card(_) | Message::Page(_), _) => self.post(delivery, None).await,
        }
    }
}

impl Slack {
    /// A workspace; nothing is sent yet.
    pub fn new(http: Client, mut settings: SlackSettings) -> Self {
        // Methods are joined to it; without the slash they would replace its last part.
        if !settings.api_url.path().ends_with('/') {
            let path = format!("{}/", settings.api_url.path());
            settings.api_url.set_path(&path);
        }
        Self { http, settings, ids: Mutex::default() }
    }

    /// Answers a click so that only the clicker sees it, such as: this card was drawn for an earlier round.
    pub async fn answer(&self, click: &Interaction, text: &str) -> clients::Result<()> {
        let operation = "answer a click in Slack";
        let refused = |why: &str| clients::Error::new(Kind::Refused, operation, why);
        let url: Url = click
            .response_url
            .parse()
            .map_err(|_| refused("Slack gave no address to answer to"))?;
        let ours = self.settings.api_url.host_str();
        if url.host_str() != Some("hooks.slack.com") && url.host_str() != ours {
            return Err(refused("the address to answer to is not Slack's"));
        }
        let body = json!({
            "response_type": "ephemeral", "replace_original": false,
            "text": mrkdwn::plain(text, 2_000),
        });
        let request = Request::post(url, operation, body.to_string(), JSON);
        self.http.send(request).await?.error_for_status(operation).map(drop)
    }

    async fn post(&self, delivery: &Delivery<'_>, thread: Option<&Receipt>) -> Result {
        let mut repeat = false;
        if delivery.unclear {
            match self.look(delivery, thread).await {
                Ok(Some(receipt)) => return Ok(receipt),
                Ok(None) => {}
                // Not allowed to look: a page twice is better than none, and it says so.
                Err(failure) if failure.outcome == Outcome::Permanent => repeat = true,
                Err(Failure { reason, .. }) => {
                    let reason = format!("could not look whether it had arrived: {reason}");
                    return Err(Failure { outcome: Outcome::Unclear, reason });
                }
            }
        }
        let marked = repeat.then(|| mark_repeat(delivery.message));
        let mut body = message(marked.as_ref().unwrap_or(delivery.message), delivery);
        body["channel"] = json!(thread.map_or(delivery.address, |card| &card.address));
        (body["unfurl_links"], body["unfurl_media"]) = (json!(false), json!(false));
        if let Some(card) = thread {
            body["thread_ts"] = json!(card.id);
        }
        let operation = format!("post to Slack {}", wording::cut(delivery.address, 80));
        let receipt = receipt(&self.call("chat.postMessage", &body, operation).await?)?;
        if thread.is_none() {
            self.remember(delivery.address, &receipt.address);
        }
        Ok(receipt)
    }

    async fn update(&self, delivery: &Delivery<'_>, card: &Receipt) -> Result {
        let mut body = message(delivery.message, delivery);
        body["channel"] = json!(card.address);
        body["ts"] = json!(card.id);
        let operation = format!("update the card in Slack {}", wording::cut(delivery.address, 80));
        receipt(&self.call("chat.update", &body, operation).await?)
    }

    /// Whether an earlier attempt of this delivery arrived: one read, newest first, matched by our metadata.
    async fn look(
        &self,
        delivery: &Delivery<'_>,
        thread: Option<&Receipt>,
    ) -> std::result::Result<Option<Receipt>, Failure> {
        let channel = match thread {
            Some(card) => card.address.clone(),
            None => self.channel_id(delivery.address).await?,
        };
        let mut query = vec![
            ("channel", channel.as_str()),
            ("limit", if thread.is_some() { THREAD_LIMIT } else { LOOK_LIMIT }),
            ("include_all_metadata", "true"),
        ];
        let method = match thread {
            Some(card) => {
                query.push(("ts", &card.id));
                "conversations.replies"
            }
            None => "conversations.history",
        };
        let found = self.read(method, &query, "look whether a message arrived in Slack").await?;
        let ours = |message: &&Value| {
            message["metadata"]["event_type"] == METADATA
                && message["metadata"]["event_payload"]["key"] == delivery.key
        };
        let ts = found["messages"].as_array().and_then(|all| all.iter().find(ours));
        Ok(ts
            .and_then(|message| message["ts"].as_str())
            .map(|ts| Receipt { address: channel.clone(), id: ts.to_owned() }))
    }

    /// The id behind a configured address: an id as it is, a user's direct channel, a channel by name.
    async fn channel_id(&self, address: &str) -> std::result::Result<String, Failure> {
        if is_channel_id(address) {
            return Ok(address.to_owned());
        }
        let known = self.ids.lock().unwrap_or_else(PoisonError::into_inner).get(address).cloned();
        if let Some(id) = known {
            return Ok(id);
        }
        let id = if render::user_id(address).is_some() {
            let body = json!({"users": address});
            let opened = self.call("conversations.open", &body, "open a direct channel").await?;
            opened["channel"]["id"].as_str().map(str::to_owned)
        } else {
            self.channel_named(address.trim_start_matches('#')).await?
        };
        let id = id.ok_or_else(|| Failure {
            outcome: Outcome::Permanent,
            reason: format!(
                "the app is in no Slack channel {}: invite it, or write the channel's id",
                wording::cut(&wording::line(address), 80)
            ),
        })?;
        self.remember(address, &id);
        Ok(id)
    }

    async fn channel_named(&self, name: &str) -> std::result::Result<Option<String>, Failure> {
        let mut cursor = String::new();
        for _ in 0..NAME_PAGES {
            let query = [
                ("types", "public_channel,private_channel"),
                ("exclude_archived", "true"),
                ("limit", "200"),
                ("cursor", cursor.as_str()),
            ];
            let page = self.read("users.conversations", &query, "find a Slack channel").await?;
            let channels = page["channels"].as_array();
            let found = channels.and_then(|all| all.iter().find(|c| c["name"] == name));
            if let Some(id) = found.and_then(|channel| channel["id"].as_str()) {
                return Ok(Some(id.to_owned()));
            }
            match page["response_metadata"]["next_cursor"].as_str() {
                Some(next) if !next.is_empty() => next.clone_into(&mut cursor),
                Some(_) | None => break,
            }
        }
        Ok(None)
    }

    fn remember(&self, address: &str, id: &str) {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        if ids.len() < NAMES && !is_channel_id(address) {
            ids.insert(address.to_owned(), id.to_owned());
        }
    }

    async fn call(
        &self,
        method: &str,
        body: &Value,
        operation: impl Into<String>,
    ) -> std::result::Result<Value, Failure> {
        let request = Request::post(self.url(method)?, operation, body.to_string(), JSON);
        self.exchange(request).await
    }

    async fn read(
        &self,
        method: &str,
        query: &[(&str, &str)],
        operation: &str,
    ) -> std::result::Result<Value, Failure> {
        let mut url = self.url(method)?;
        url.query_pairs_mut().extend_pairs(query.iter().filter(|(_, value)| !value.is_empty()));
        self.exchange(Request::get(url, operation)).await
    }

    async fn exchange(&self, request: Request) -> std::result::Result<Value, Failure> {
        let request = request.bearer(&self.settings.token).timeout(TIMEOUT);
        answer::read(self.http.send(request).await)
    }

    fn url(&self, method: &str) -> std::result::Result<Url, Failure> {
        self.settings.api_url.join(method).map_err(|_| Failure {
            outcome: Outcome::Permanent,
            reason: "the address of Slack's API in the configuration is not usable".to_owned(),
        })
    }
}

const JSON: &str = "application/json; charset=utf-8";
/// A send's deadline; Slack answers in well under a second or not at all.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The request body of a message, without its address.
fn message(message: &Message, delivery: &Delivery<'_>) -> Value {
    let mut payload = json!({"key": delivery.key});
    let card = match message {
        Message::Card(card) => Some(card),
        Message::Page(page) => Some(&page.card),
        Message::Evidence(_) => None,
    };
    if let Some(card) = card {
        payload["incident"] = json!(card.incident.to_string());
        payload["revision"] = json!(card.revision);
    }
    let render::Payload { text, blocks } = render::render(message, delivery.address);
    json!({
        "text": text, "blocks": blocks,
        "metadata": {"event_type": METADATA, "event_payload": payload},
        // No names that Slack would find in foreign text on its own.
        "link_names": false, "parse": "none",
    })
}

fn mark_repeat(message: &Message) -> Message {
    let mut message = message.clone();
    match &mut message {
        Message::Page(Page { remark, .. }) if remark.is_empty() => {
            wording::POSSIBLE_REPEAT.clone_into(remark);
        }
        Message::Page(Page { remark, .. }) => {
            *remark = format!("{}; {remark}", wording::POSSIBLE_REPEAT);
        }
        Message::Card(card) => card.caveats.insert(0, wording::POSSIBLE_REPEAT.to_owned()),
        Message::Evidence(note) => {
            note.title = format!("{} ({})", note.title, wording::POSSIBLE_REPEAT);
        }
    }
    message
}

fn receipt(answer: &Value) -> Result {
    match (answer["channel"].as_str(), answer["ts"].as_str()) {
        (Some(channel), Some(ts)) => Ok(Receipt { address: channel.to_owned(), id: ts.to_owned() }),
        (_, _) => Err(Failure {
            outcome: Outcome::Unclear,
            reason: "Slack accepted the message but named no channel and ts".to_owned(),
        }),
    }
}

/// `C…`, `G…` (private), `D…` (direct).
fn is_channel_id(address: &str) -> bool {
    address.strip_prefix(['C', 'G', 'D']).is_some_and(|rest| {
        rest.len() >= 4 && rest.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
    })
}
