//! Matrix, with an access token of a fixed device: one card per room, edited in place; evidence in its thread; pages in
//! direct rooms; acknowledgement by reaction ([`sync`]).
//!
//! Transaction ids are derived from the delivery's key, so a repeat within 24 h from the same device makes no second
//! event. That is why the token must belong to one device and stay: each login makes a new device and forgets.
//!
//! Rooms with encryption are refused: a plain client would leak the card in clear text and could not read replies. The
//! setting `clear_text_in_encrypted_rooms` overrides that, knowingly.

mod api;
pub mod check;
mod doc;
pub mod render;
mod rooms;
pub mod sync;

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use secrecy::SecretString;
use sha2::{Digest as _, Sha256};

use super::{Caps, Class, Delivery, Failure, Message, Notifier, Outcome, Receipt, Result};
use crate::{
    clients::http::{Client, Url},
    ops::clock::Clock,
};
use api::{Api, Fault, path};
use render::Relation;

/// Where and as whom.
#[derive(Clone, Debug)]
pub struct MatrixSettings {
    /// The homeserver's address: `https://matrix.example.org`.
    pub homeserver: Url,
    /// Access token of the bot's one device.
    pub token: SecretString,
    /// Send in clear text to rooms whose members expect encryption.
    pub clear_text_in_encrypted_rooms: bool,
    /// Messages to one room in a second, sustained.
    pub per_second: f64,
    /// Messages to one room at once.
    pub burst: u32,
}

/// An account on a homeserver.
pub struct Matrix {
    api: Api,
    settings: Settings,
    clock: Clock,
    me: tokio::sync::OnceCell<String>,
    directs: tokio::sync::Mutex<()>,
    memory: Mutex<Memory>,
}

struct Settings {
    clear_text_in_encrypted_rooms: bool,
    per_second: f64,
    burst: u32,
}

/// What was learned; bounded by [`rooms::REMEMBERED`].
#[derive(Default)]
struct Memory {
    aliases: BTreeMap<String, String>,
    encrypted: BTreeMap<String, (bool, Duration)>,
}

/// Why a room did not take a message.
enum Blocked {
    /// The call failed.
    Fault(Fault),
    /// It is encrypted.
    Encrypted,
}

impl Notifier for Matrix {
    const KIND: &'static str = "matrix";
    // What an unconfigured Synapse allows; it answers 429 beyond.
    const CAPS: Caps = Caps {
        edit: true,
        threads: true,
        actions: true,
        class: Class::Idempotent,
        per_second: 0.2,
        burst: 10,
    };

    fn caps(&self) -> Caps {
        let Settings { per_second, burst, .. } = self.settings;
        Caps { per_second, burst, ..Self::CAPS }
    }

    async fn send(&self, delivery: &Delivery<'_>) -> Result {
        let room = match delivery.card {
            Some(card) => card.address.clone(),
            None => self.room(delivery.address).await?,
        };
        let sent = match self.put(&room, delivery).await {
            // Invited but not in yet, or thrown out: once.
            Err(Blocked::Fault(fault)) if fault.is(403, "M_FORBIDDEN") => {
                self.join(&room).await.map_err(|_| fault.failure())?;
                self.put(&room, delivery).await
            }
            sent => sent,
        };
        match sent {
            Ok(event) => Ok(Receipt { address: room, id: event }),
            Err(Blocked::Fault(fault)) => Err(lost(fault, delivery)),
            Err(Blocked::Encrypted) => Err(Failure {
                outcome: Outcome::Permanent,
                reason: format!(
                    "room {room} is encrypted, and a message in clear text would leak; use another room, or set \
                     `matrix.clear_text_in_encrypted_rooms`"
                ),
            }),
        }
    }
}

impl Matrix {
    /// An account; nothing is sent yet.
    pub fn new(http: Client, settings: MatrixSettings, clock: Clock) -> Self {
        let MatrixSettings { homeserver, token, clear_text_in_encrypted_rooms, per_second, burst } =
            settings;
        Self {
            api: Api { http, homeserver, token },
            settings: Settings { clear_text_in_encrypted_rooms, per_second, burst },
            clock,
            me: tokio::sync::OnceCell::new(),
            directs: tokio::sync::Mutex::default(),
            memory: Mutex::default(),
        }
    }

    /// Sends the event and names the one later edits and threads refer to.
    async fn put(
        &self,
        room: &str,
        delivery: &Delivery<'_>,
    ) -> std::result::Result<String, Blocked> {
        self.check_encryption(room).await?;
        let relation = match (delivery.message, delivery.card) {
            (Message::Card(_), Some(card)) => Relation::Replaces(&card.id),
            (Message::Evidence(_), Some(card)) => Relation::Under(&card.id),
            (Message::Card(_) | Message::Evidence(_) | Message::Page(_), _) => Relation::None,
        };
        let content = render::content(delivery.message, relation, mention(delivery));
        let transaction = transaction(delivery, relation);
        let place = path(&["v3", "rooms", room, "send", "m.room.message", &transaction]);
        let operation = format!("send to room {room}");
        let sent = self.api.put(place, &content, &operation).await.map_err(Blocked::Fault)?;
        match (relation, sent["event_id"].as_str()) {
            (Relation::Replaces(original), Some(_)) => Ok(original.to_owned()),
            (Relation::None | Relation::Under(_), Some(event)) => Ok(event.to_owned()),
            (_, None) => Err(Blocked::Fault(Fault::Transport(crate::clients::Error::new(
                crate::clients::Kind::Malformed,
                operation,
                "the answer names no event",
            )))),
        }
    }

    /// Our own user id.
    async fn whoami(&self) -> std::result::Result<String, Fault> {
        let ask = || async {
            let answer = self.api.get(path(&["v3", "account", "whoami"]), "ask who we are").await?;
            answer["user_id"].as_str().map(str::to_owned).ok_or_else(|| {
                Fault::Transport(crate::clients::Error::new(
                    crate::clients::Kind::Malformed,
                    "ask who we are",
                    "the answer names no user",
                ))
            })
        };
        self.me.get_or_try_init(ask).await.cloned()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The card to edit or to hang under does not exist any more.
fn lost(fault: Fault, delivery: &Delivery<'_>) -> Failure {
    let unknown = matches!(&fault, Fault::Answer(refusal)
        if refusal.status == 404 || (refusal.status == 400 && refusal.text.contains("unknown event")));
    let gone = unknown && delivery.card.is_some();
    let failure = fault.failure();
    if gone { Failure { outcome: Outcome::CardGone, ..failure } } else { failure }
}

fn mention<'a>(delivery: &Delivery<'a>) -> Option<&'a str> {
    let user = match delivery.message {
        Message::Page(_) => delivery.address,
        Message::Evidence(note) => &note.mention,
        Message::Card(_) => "",
    };
    rooms::is_user(user).then_some(user)
}

/// The same for every attempt. A card's first send has one id whatever its revision, so that a repeat with newer content
/// still finds the first event; each edit of it has its own.
fn transaction(delivery: &Delivery<'_>, relation: Relation<'_>) -> String {
    let mut hash = Sha256::new();
    let mut part = |text: &str| {
        hash.update(text.len().to_be_bytes());
        hash.update(text.as_bytes());
    };
    part(delivery.key);
    if let (Message::Card(card), Relation::Replaces(original)) = (delivery.message, relation) {
        part(original);
        part(&card.revision.to_string());
    }
    hash.finalize().iter().take(16).fold("pm".to_owned(), |id, byte| format!("{id}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::samples;

    #[test]
    fn a_transaction_is_the_same_for_every_attempt_and_differs_per_edit() {
        let id = |key, revision, relation| {
            let card = crate::domain::card::Card { revision, ..samples::card() };
            let message = Message::Card(card);
            let delivery =
                Delivery { key, address: "!a", message: &message, card: None, unclear: false };
            transaction(&delivery, relation)
        };
        assert_eq!(id("k", 1, Relation::None), id("k", 2, Relation::None));
        assert_eq!(id("k", 2, Relation::Replaces("$a")), id("k", 2, Relation::Replaces("$a")));
        let all = [
            id("k", 1, Relation::None),
            id("l", 1, Relation::None),
            id("k", 1, Relation::Replaces("$a")),
            id("k", 2, Relation::Replaces("$a")),
            id("k", 1, Relation::Replaces("$b")),
        ];
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
        insta::assert_snapshot!(all[0], @"pm42d9f8b63022a2b1a4f0869d68680ebb");
    }
}
