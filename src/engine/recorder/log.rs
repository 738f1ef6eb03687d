//! One log that is to be read: what is asked for, and what the answer means for it.

use jiff::{SignedDuration, Timestamp};

use super::record::{Entry, State};
use crate::clients::kube::Log;

/// Attempts to read one log.
const MAX_ATTEMPTS: u32 = 5;
/// Between attempts when the permission is missing.
const DENIED_AGAIN: SignedDuration = SignedDuration::from_secs(60);
/// Said of a log that was not read in time.
pub(super) const TOO_LATE: &str = "the pod was deleted before its log could be read";

/// One log: pod uid, container, run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The pod's unique id.
    pub uid: String,
    /// Container.
    pub container: String,
    /// Which run of it.
    pub restarts: i32,
}

/// A log to read or to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogJob {
    /// Which.
    pub key: Key,
    /// Namespace.
    pub namespace: String,
    /// Pod name.
    pub pod: String,
    /// The run before the last restart.
    pub previous: bool,
    /// The container had ended when this was taken.
    pub ended: bool,
}

/// Why a log could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// The pod is gone.
    Gone,
    /// It may work a little later.
    Later,
    /// The permission is missing.
    Denied,
    /// It will not work.
    Never,
}

/// What a read did to a log; `Some(true)` when it is kept, `Some(false)` when it is lost for good.
pub(super) fn settle(
    entry: &mut Entry,
    job: &LogJob,
    outcome: Result<Log, (Unread, String)>,
    gone: bool,
    now: Timestamp,
) -> Option<bool> {
    let State::Reading { attempts } = entry.state else { return None };
    entry.state = State::Done;
    entry.unsaved = true;
    let wait = match outcome {
        Ok(log) => {
            // An empty answer says less than what was followed.
            if !log.text.is_empty() || entry.text.is_empty() {
                entry.text = log.text;
                (entry.cut, entry.read_at) = (log.cut, Some(now));
            }
            entry.ended = job.ended;
            entry.lost.clear();
            return Some(true);
        }
        Err((Unread::Gone, _)) => {
            TOO_LATE.clone_into(&mut entry.lost);
            None
        }
        Err((Unread::Never, why)) => {
            entry.lost = why;
            None
        }
        Err((Unread::Denied, why)) => {
            entry.lost = why;
            Some(DENIED_AGAIN)
        }
        Err((Unread::Later, why)) => {
            entry.lost = why;
            let seconds = 1 << attempts.min(4);
            (attempts + 1 < MAX_ATTEMPTS).then(|| SignedDuration::from_secs(seconds))
        }
    };
    match wait.filter(|_| !gone) {
        Some(wait) => {
            let after = now.saturating_add(wait).unwrap_or(now);
            entry.state = State::Wanted { attempts: attempts + 1, after };
            None
        }
        None => entry.text.is_empty().then_some(false),
    }
}
