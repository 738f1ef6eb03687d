//! Channels: one file per kind, one line in the list below.
//!
//! A notifier renders the neutral [`Message`] purely and sends it once. It never loops, sleeps or retries: durable retry,
//! order, rate and failover are the engine's, and they are decided by [`Failure`] and [`Caps`] alone.

pub mod console;
pub mod markdown;
pub mod matrix;
pub mod press;
#[cfg(test)]
mod samples;
pub mod slack;
pub mod webhook;
pub mod wording;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::card::Card;

/// What a channel can do, and what may be repeated after an unclear failure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Caps {
    /// A sent card can be replaced in place.
    pub edit: bool,
    /// Replies hang under a card.
    pub threads: bool,
    /// People can act on the card itself.
    pub actions: bool,
    /// What a resend may do.
    pub class: Class,
    /// Messages a second, sustained, per address.
    pub per_second: f64,
    /// Messages at once, per address.
    pub burst: u32,
}

/// Delivery class, see `docs/` on delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Resend with the same key: the other side drops the repeat.
    Idempotent,
    /// Look first ([`Delivery::unclear`] is set), then resend.
    Reconcilable,
    /// A page is resent and marked "possible repeat"; a post is dropped.
    Blind,
}

/// One thing to say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(clippy::large_enum_variant, reason = "few are alive at once")]
pub enum Message {
    /// The incident's card in a channel; edited in place as the incident moves.
    Card(Card),
    /// Evidence under the card.
    Evidence(Note),
    /// A person must answer.
    Page(Page),
}

/// A piece of evidence, or any note, for the thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// One line: `executor 3 (pod etl-exec-3), log, last 20 lines`.
    pub title: String,
    /// Preformatted text.
    pub body: String,
    /// A person to mention (the channel's own user id); empty for nobody.
    #[serde(default)]
    pub mention: String,
}

/// A page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// The incident as it is now.
    pub card: Card,
    /// The paged person's name.
    pub person: String,
    /// Why this person: `step 2 of policy data-platform, on call for schedule primary`.
    pub why: String,
    /// Empty, or `late by 4m: the store was unreachable`, or `possible repeat`.
    pub remark: String,
}

/// One attempt to deliver one message.
#[derive(Clone, Debug)]
pub struct Delivery<'a> {
    /// The same for every attempt: the idempotency key.
    pub key: &'a str,
    /// Where: a Slack channel or user id, a Matrix room or user id; empty for channels with one fixed address.
    pub address: &'a str,
    /// What.
    pub message: &'a Message,
    /// The receipt of the card to edit (for cards) or to hang under (for evidence), if there is one.
    pub card: Option<&'a Receipt>,
    /// An earlier attempt may have been accepted: reconcilable channels look before they send.
    pub unclear: bool,
}

/// Proof of delivery, and the handle for edits and threads. Opaque to the engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The address the other side resolved ours to: channel id, room id.
    pub address: String,
    /// The message's id there: `ts`, event id, webhook id.
    pub id: String,
}

/// Why a message was not delivered. Never holds a credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Failure {
    /// What to do about it.
    pub outcome: Outcome,
    /// What happened, in words for the card: `Slack says channel_not_found`.
    pub reason: String,
}

/// What a failure means for the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Certainly not delivered: try again, after this long if the other side said so.
    Retry {
        /// From `Retry-After`.
        after: Option<Duration>,
    },
    /// It will not work without a person: configuration, permission, an archived channel.
    Permanent,
    /// It may have been delivered.
    Unclear,
    /// The card to edit or to hang under is gone: send it anew.
    CardGone,
}

/// What every send returns.
pub type Result = std::result::Result<Receipt, Failure>;

/// One channel kind, configured.
pub trait Notifier: Send + Sync + 'static {
    /// Its key in the configuration: `slack`.
    const KIND: &'static str;
    /// What it can do.
    const CAPS: Caps;

    /// The same as this one is configured.
    fn caps(&self) -> Caps {
        Self::CAPS
    }

    /// Sends once. The caller sets the deadline.
    fn send(&self, delivery: &Delivery<'_>) -> impl Future<Output = Result> + Send;
}

/// Generates the closed set of channels from the one list.
macro_rules! notifiers {
    ($($variant:ident => $notifier:ty),* $(,)?) => {
        /// A configured channel of any kind.
        #[allow(missing_docs, reason = "each variant is documented by its type")]
        pub enum Channel { $($variant($notifier)),* }

        /// Every kind.
        pub const KINDS: &[&str] = &[$(<$notifier as Notifier>::KIND),*];

        impl Channel {
            /// Its kind.
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$variant(_) => <$notifier as Notifier>::KIND),* }
            }

            /// What it can do.
            pub fn caps(&self) -> Caps {
                match self { $(Self::$variant(notifier) => notifier.caps()),* }
            }

            /// Sends once.
            pub async fn send(&self, delivery: &Delivery<'_>) -> Result {
                match self { $(Self::$variant(notifier) => notifier.send(delivery).await),* }
            }
        }
    };
}

notifiers! {
    Console => console::Console,
    Slack => slack::Slack,
    Matrix => matrix::Matrix,
    Webhook => webhook::Webhook,
}
