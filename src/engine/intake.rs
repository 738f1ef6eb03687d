//! A webhook becomes a stored delivery; the caller answers 2xx only after that.
//!
//! Bodies in flight share one budget of 64 MiB, taken before reading. A payload of more than 1 000 alerts is stored in
//! parts, in one transaction, so that each part is applied and forgotten on its own.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Engine;
use crate::{
    domain::alert::{self, NotAPayload},
    ops::lifecycle,
    store::{self, NewDelivery},
};

/// Largest body, bytes, and the budget of all bodies in flight.
pub const MAX_BODY: usize = 64 * 1024 * 1024;
/// Longest wait for a share of that budget.
const BUDGET_WAIT: Duration = Duration::from_secs(1);
/// Bodies above this are checked off the async threads.
const HEAVY: usize = 1024 * 1024;
/// Alerts per stored part.
const PART: usize = 1_000;
/// Deliveries waiting to be applied, at most.
const MAX_BACKLOG: i64 = 50_000;
/// Age of the oldest of them, at most.
const MAX_AGE: SignedDuration = SignedDuration::from_secs(60);

/// Why a webhook was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not a payload: retrying will not help.
    #[error(transparent)]
    NotAPayload(#[from] NotAPayload),
    /// Too much at once: the sender retries.
    #[error("overloaded: {0}")]
    Overloaded(String),
    /// The store failed: the sender retries.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// The shared budget of bodies in flight.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Semaphore>);

impl Default for Budget {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_BODY)))
    }
}

impl Budget {
    /// Reserves room for a body of `bytes`, waiting at most a second.
    pub async fn reserve(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Error> {
        let bytes = u32::try_from(bytes.clamp(1, MAX_BODY)).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.0).acquire_many_owned(bytes);
        match tokio::time::timeout(BUDGET_WAIT, permit).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => {
                Err(Error::Overloaded("too many webhook bytes are in flight".to_owned()))
            }
        }
    }
}

impl Engine {
    /// Stores a webhook durably. Returns the number of alerts it holds.
    pub async fn take_in(&self, source: String, body: Vec<u8>) -> Result<usize, Error> {
        let received_at = self.now();
        let (alerts, bodies) = if body.len() > HEAVY {
            let parts = lifecycle::blocking(move || parts(body)).await;
            parts.map_err(|error| Error::Overloaded(error.to_string()))??
        } else {
            parts(body)?
        };
        self.store.deliver(NewDelivery { source, received_at, bodies }).await?;
        metrics::counter!(crate::ops::metrics::ALERTS_RECEIVED).increment(alerts as u64);
        Ok(alerts)
    }

    /// Refuses new webhooks while the ones we have are not worked off, or the store is full.
    pub async fn check_backlog(&self) -> Result<(), Error> {
        if let Some(full) = self.full().await? {
            return Err(Error::Overloaded(full));
        }
        let (waiting, oldest) = self.store.backlog().await?;
        let age = oldest.map_or(SignedDuration::ZERO, |oldest| self.now().duration_since(oldest));
        if waiting > MAX_BACKLOG || age > MAX_AGE {
            let seconds = age.as_secs();
            return Err(Error::Overloaded(format!(
                "{waiting} deliveries wait to be applied, the oldest for {seconds} s"
            )));
        }
        Ok(())
    }
}

fn parts(body: Vec<u8>) -> Result<(usize, Vec<Vec<u8>>), NotAPayload> {
    let alerts = alert::count(&body)?;
    let bodies = if alerts > PART { alert::split(&body, PART)? } else { vec![body] };
    Ok((alerts, bodies))
}
