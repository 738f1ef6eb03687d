//! Which room an address means, and whether we may write there.
//!
//! An address is a room's id (`!…`, with or without a server part), its alias (`#…:server`), or a person (`@…:server`).
//! A person is reached in a direct room: the one `m.direct` in our account data names and that person has not left, else
//! one that was made for them and not recorded, else a new one with an invitation. Two sends at once make one room.
//!
//! A room made for a person says so in its first event ([`MARK`]), so that a crash between making it and recording it, or a
//! lost answer, costs no second room: with one at each start the homeserver would soon take no more invitations of ours. Only
//! a server that is still busy making it while we are back already can make us ask for another.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    Blocked, Matrix,
    api::{Call, Fault, TIMEOUT, path},
};
use crate::{
    clients::http::Method,
    notify::{Failure, Outcome, wording},
};

/// How long "not encrypted" is believed; "encrypted" is for ever.
const CLEAR_FOR: Duration = Duration::from_mins(1);
/// Rooms remembered.
pub(super) const REMEMBERED: usize = 1_000;
/// Direct rooms kept per person in our account data, newest last.
const DIRECT_ROOMS: usize = 5;
/// In the first event of a direct room: for whom we made it.
const MARK: &str = "io.paramedic.direct";
/// Rooms looked at for it: those we are in that are nobody's direct room yet.
const LOOKED_AT: usize = 100;

/// True for a user id that can be written into a request.
pub(super) fn is_user(address: &str) -> bool {
    address.starts_with('@') && address.contains(':') && is_sane(address)
}

fn is_sane(address: &str) -> bool {
    address.len() <= 255 && !address.chars().any(|c| c.is_control() || c.is_whitespace())
}

fn permanent(reason: String) -> Failure {
    Failure { outcome: Outcome::Permanent, reason }
}

impl Matrix {
    /// The room's id.
    pub(super) async fn room(&self, address: &str) -> Result<String, Failure> {
        match address.chars().next() {
            Some('!') if is_sane(address) && address.len() > 1 => Ok(address.to_owned()),
            Some('#') if is_sane(address) && address.contains(':') => self.aliased(address).await,
            Some('@') if is_user(address) => self.direct(address).await,
            Some(_) | None => Err(permanent(format!(
                "`{}` is no Matrix address: write !room, #alias:server or @user:server",
                wording::cut(&wording::line(address), 80)
            ))),
        }
    }

    async fn aliased(&self, alias: &str) -> Result<String, Failure> {
        if let Some(room) = self.memory().aliases.get(alias).cloned() {
            return Ok(room);
        }
        let found = self
            .api
            .get(path(&["v3", "directory", "room", alias]), &format!("find room {alias}"))
            .await
            .map_err(Fault::failure)?;
        let room = found["room_id"].as_str().filter(|r| r.starts_with('!'));
        let room =
            room.ok_or_else(|| permanent(format!("the directory names no room for {alias}")))?;
        let mut memory = self.memory();
        if memory.aliases.len() < REMEMBERED {
            memory.aliases.insert(alias.to_owned(), room.to_owned());
        }
        Ok(room.to_owned())
    }

    /// Follows an invitation, or enters a public room.
    pub(super) async fn join(&self, room: &str) -> Result<(), Failure> {
        let operation = format!("join room {room}");
        let joined = self.api.post(path(&["v3", "join", room]), &json!({}), &operation).await;
        joined.map(drop).map_err(Fault::failure)
    }

    /// Refuses a room whose members expect encryption, unless the operator chose clear text.
    pub(super) async fn check_encryption(&self, room: &str) -> Result<(), Blocked> {
        if self.settings.clear_text_in_encrypted_rooms {
            return Ok(());
        }
        let now = self.clock.monotonic();
        let known = self.memory().encrypted.get(room).copied();
        let encrypted = match known {
            Some((true, _)) => true,
            Some((false, at)) if now.saturating_sub(at) < CLEAR_FOR => false,
            Some((false, _)) | None => {
                let state = path(&["v3", "rooms", room, "state", "m.room.encryption", ""]);
                let found =
                    match self.api.get(state, &format!("read the state of room {room}")).await {
                        Ok(_) => true,
                        Err(fault) if fault.is(404, "M_NOT_FOUND") => false,
                        Err(fault) => return Err(Blocked::Fault(fault)),
                    };
                let mut memory = self.memory();
                if memory.encrypted.len() >= REMEMBERED {
                    memory.encrypted.clear();
                }
                memory.encrypted.insert(room.to_owned(), (found, now));
                found
            }
        };
        if encrypted {
            return Err(Blocked::Encrypted);
        }
        Ok(())
    }

    async fn direct(&self, user: &str) -> Result<String, Failure> {
        // Held over the calls on purpose: a second page to the same person must find the first one's room.
        let _one_at_a_time = self.directs.lock().await;
        let me = self.whoami().await.map_err(Fault::failure)?;
        let place = path(&["v3", "user", &me, "account_data", "m.direct"]);
        let mut direct = match self.api.get(place.clone(), "find a direct room").await {
            Ok(direct) => direct,
            Err(fault) if fault.is(404, "M_NOT_FOUND") => json!({}),
            Err(fault) => return Err(fault.failure()),
        };
        let rooms: Vec<String> = direct[user]
            .as_array()
            .map(|all| all.iter().filter_map(|r| r.as_str().map(str::to_owned)).collect())
            .unwrap_or_default();
        for room in rooms.iter().rev() {
            if self.is_reachable(room, user).await? {
                return Ok(room.clone());
            }
        }
        let room = match self.made_before(user, &me, &direct).await? {
            Some(room) => room,
            None => self.make_direct(user).await?,
        };
        let kept = rooms.len().saturating_sub(DIRECT_ROOMS - 1);
        direct[user] = rooms[kept..].iter().chain([&room]).cloned().map(Value::from).collect();
        // Not recorded means that its mark is looked for again; the page goes out now.
        if let Err(fault) = self.api.put(place, &direct, "record a direct room").await {
            tracing::warn!(
                reason = fault.failure().reason,
                "a direct room was made but not recorded"
            );
        }
        Ok(room)
    }

    /// True when the person is in the room or invited, and so are we.
    async fn is_reachable(&self, room: &str, user: &str) -> Result<bool, Failure> {
        if !room.starts_with('!') || !is_sane(room) {
            return Ok(false);
        }
        let member = path(&["v3", "rooms", room, "state", "m.room.member", user]);
        match self.api.get(member, "look whether a person is in a direct room").await {
            Ok(state) => Ok(matches!(state["membership"].as_str(), Some("join" | "invite"))),
            Err(Fault::Answer(refusal)) if matches!(refusal.status, 403 | 404) => Ok(false),
            Err(fault) => Err(fault.failure()),
        }
    }

    /// A room that we made for this person and did not record.
    async fn made_before(
        &self,
        user: &str,
        me: &str,
        direct: &Value,
    ) -> Result<Option<String>, Failure> {
        // No initial sync, which has all of it in one answer: Synapse repeats the last one for two minutes.
        let joined = self.api.get(path(&["v3", "joined_rooms"]), "list our rooms").await;
        let joined = joined.map_err(Fault::failure)?;
        let recorded: Vec<&Value> = direct
            .as_object()
            .into_iter()
            .flat_map(|direct| direct.values().filter_map(Value::as_array).flatten())
            .collect();
        let joined = joined["joined_rooms"].as_array().into_iter().flatten();
        let unknown = joined.filter(|room| !recorded.contains(room)).filter_map(Value::as_str);
        for room in unknown.take(LOOKED_AT) {
            if self.is_made_for(room, user, me).await? && self.is_reachable(room, user).await? {
                return Ok(Some(room.to_owned()));
            }
        }
        Ok(None)
    }

    /// True when we made this room, for this person.
    async fn is_made_for(&self, room: &str, user: &str, me: &str) -> Result<bool, Failure> {
        let call = Call {
            method: Method::GET,
            path: path(&["v3", "rooms", room, "state", "m.room.create", ""]),
            // With its sender: others may say the same.
            query: &[("format", "event")],
            body: None,
            timeout: TIMEOUT,
            operation: "look for whom a room was made",
        };
        match self.api.call(call).await {
            Ok(event) => Ok(event["sender"] == me && event["content"][MARK] == user),
            Err(Fault::Answer(refusal)) if matches!(refusal.status, 403 | 404) => Ok(false),
            Err(fault) => Err(fault.failure()),
        }
    }

    async fn make_direct(&self, user: &str) -> Result<String, Failure> {
        let body = json!({
            "preset": "trusted_private_chat", "is_direct": true, "invite": [user],
            "creation_content": {MARK: user},
        });
        let operation = format!("make a direct room with {user}");
        let made = self
            .api
            .post(path(&["v3", "createRoom"]), &body, &operation)
            .await
            .map_err(Fault::failure)?;
        let room = made["room_id"].as_str();
        room.map(str::to_owned).ok_or_else(|| Failure {
            outcome: Outcome::Retry { after: None },
            reason: format!("could not {operation}: the answer names no room"),
        })
    }
}
