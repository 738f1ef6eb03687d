//! The guards that simulations take away, one at a time, to prove that they would be missed. Only in builds with the feature
//! `simulation`: elsewhere the question is a constant, and nothing is left of it.

/// What keeps a crash, a pause or a race harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// A job's outcome commits only while its fence is ours.
    Fence,
    /// Jobs commit in the transaction of the change that asks for them.
    Outbox,
    /// Every attempt of a message has the same idempotency key.
    Key,
    /// A lease ends, and another worker goes on.
    Lease,
    /// An incident's version is compared and bumped, and its timeline has each number once.
    Version,
    /// A delivery's progress is compared with what it was decided on.
    Cursor,
    /// A worker that was paused renews its lease before it does more. It hides what the fence is for, so that one is away only
    /// together with it.
    Pause,
    /// A page reads its incident again right before it is sent.
    LastLook,
}

#[cfg(feature = "simulation")]
mod switch {
    use std::cell::Cell;

    use super::Guard;

    thread_local! {
        static AWAY: Cell<Option<Guard>> = const { Cell::new(None) };
    }

    /// True while the simulation of this thread goes without it.
    pub fn is_away(guard: Guard) -> bool {
        AWAY.get() == Some(guard)
    }

    /// Takes one guard away on this thread, or puts it back.
    pub fn take_away(guard: Option<Guard>) {
        AWAY.set(guard);
    }
}

#[cfg(feature = "simulation")]
pub use switch::{is_away, take_away};

/// Never: this build has all its guards.
#[cfg(not(feature = "simulation"))]
pub const fn is_away(_: Guard) -> bool {
    false
}
