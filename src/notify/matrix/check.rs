//! Whether a homeserver and its rooms would take our messages.

use serde_json::Value;

use super::{
    Blocked, Matrix,
    api::{Fault, path},
};
use crate::notify::Failure;

/// What stands between us and a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Nothing.
    None,
    /// We are not in it; an invitation would be followed when the first card is sent.
    Outside,
    /// It is encrypted, and messages in clear text are not allowed.
    Encrypted,
    /// Our power level there does not allow messages: ours, and the one it takes.
    Power(i64, i64),
}

impl Matrix {
    /// Asks the homeserver who we are: our user id.
    pub async fn check(&self) -> Result<String, Failure> {
        self.whoami().await.map_err(Fault::failure)
    }

    /// Looks whether a room, by its id or alias, would take a card. Nothing is sent and nothing joined.
    pub async fn look(&self, address: &str) -> Result<Obstacle, Failure> {
        let (me, room) = (self.check().await?, self.room(address).await?);
        match self.check_encryption(&room).await {
            Ok(()) => {}
            Err(Blocked::Encrypted) => return Ok(Obstacle::Encrypted),
            Err(Blocked::Fault(fault)) if fault.is(403, "M_FORBIDDEN") => {
                return Ok(Obstacle::Outside);
            }
            Err(Blocked::Fault(fault)) => return Err(fault.failure()),
        }
        let state = path(&["v3", "rooms", &room, "state", "m.room.power_levels", ""]);
        let levels =
            match self.api.get(state, &format!("read the power levels of room {room}")).await {
                Ok(levels) => levels,
                Err(fault) if fault.is(403, "M_FORBIDDEN") => return Ok(Obstacle::Outside),
                // A room without them lets every member write.
                Err(fault) if fault.is(404, "M_NOT_FOUND") => return Ok(Obstacle::None),
                Err(fault) => return Err(fault.failure()),
            };
        let (ours, needed) = (ours(&levels, &me), needed(&levels));
        Ok(if ours < needed { Obstacle::Power(ours, needed) } else { Obstacle::None })
    }
}

fn ours(levels: &Value, me: &str) -> i64 {
    let own = levels["users"].get(me).and_then(Value::as_i64);
    own.or(levels["users_default"].as_i64()).unwrap_or(0)
}

fn needed(levels: &Value) -> i64 {
    let own = levels["events"].get("m.room.message").and_then(Value::as_i64);
    own.or(levels["events_default"].as_i64()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_level_is_the_own_one_or_the_room_s_default_or_zero() {
        let levels = json!({ "users": { "@a:x": 50 }, "users_default": 10, "events": { "m.room.message": 25 }, "events_default": 5 });
        assert_eq!((ours(&levels, "@a:x"), ours(&levels, "@b:x"), needed(&levels)), (50, 10, 25));
        assert_eq!((ours(&json!({}), "@a:x"), needed(&json!({ "events_default": 5 }))), (0, 5));
    }
}
