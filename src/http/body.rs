//! Reading a request's body: bounded in size, in time, and in what all bodies together may hold.

use std::time::Duration;

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header},
};
use futures::StreamExt as _;
use tokio::sync::OwnedSemaphorePermit;

use super::problem::Problem;
use crate::engine::intake::Budget;

/// Longest time for a whole body.
const WHOLE: Duration = Duration::from_secs(30);
/// Longest pause inside one.
const IDLE: Duration = Duration::from_secs(10);
/// Room is taken in steps of this many bytes where the announced length is not believed.
const STEP: usize = 256 * 1024;

/// How much of a body is read.
pub struct Bounds<'a> {
    /// Longest body, bytes.
    pub limit: usize,
    /// What all bodies in flight share; `None` for small ones.
    pub budget: Option<&'a Budget>,
    /// Take the announced length out of the budget at once. Only for callers who proved who they are: an announcement
    /// alone would let anybody lock everybody else out.
    pub believe_length: bool,
}

/// A body, with the room it occupies until it is dropped.
pub struct Held {
    /// As received.
    pub bytes: Vec<u8>,
    _room: Option<OwnedSemaphorePermit>,
}

/// The announced length, if there is a sensible one.
pub fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads all of it.
pub async fn read(body: Body, headers: &HeaderMap, bounds: Bounds<'_>) -> Result<Held, Problem> {
    let encoding = headers.get(header::CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| encoding != "identity") {
        let detail = "compressed bodies are not read; send it without Content-Encoding";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let announced = announced(headers);
    if announced.is_some_and(|length| length > bounds.limit) {
        return Err(too_large(bounds.limit));
    }
    let reading = tokio::time::timeout(WHOLE, read_all(body, announced, &bounds)).await;
    reading.unwrap_or_else(|_| Err(slow()))
}

async fn read_all(
    body: Body,
    announced: Option<usize>,
    bounds: &Bounds<'_>,
) -> Result<Held, Problem> {
    let first = announced.filter(|_| bounds.believe_length);
    let mut room = Room { budget: bounds.budget, held: None, bytes: 0 };
    room.grow_to(first.unwrap_or(0)).await?;
    let mut bytes = Vec::with_capacity(first.unwrap_or(0));
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = tokio::time::timeout(IDLE, chunks.next()).await.map_err(|_| slow())? {
        let chunk =
            chunk.map_err(|_| Problem::bad_request("the body ended before it was complete"))?;
        let length = bytes.len() + chunk.len();
        if length > bounds.limit {
            return Err(too_large(bounds.limit));
        }
        if length > room.bytes {
            room.grow_to(length.next_multiple_of(STEP).min(bounds.limit)).await?;
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Held { bytes, _room: room.held })
}

struct Room<'a> {
    budget: Option<&'a Budget>,
    held: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

impl Room<'_> {
    async fn grow_to(&mut self, bytes: usize) -> Result<(), Problem> {
        let Some(budget) = self.budget.filter(|_| bytes > self.bytes) else { return Ok(()) };
        let more = budget.reserve(bytes - self.bytes).await.map_err(Problem::unavailable)?;
        self.bytes = bytes;
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        Ok(())
    }
}

fn too_large(limit: usize) -> Problem {
    let size = if limit >= 1 << 20 {
        format!("{} MiB", limit >> 20)
    } else {
        format!("{} KiB", limit >> 10)
    };
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {size}"))
}

/// The sender should try again, and Alertmanager does so after a 5xx only.
fn slow() -> Problem {
    Problem::unavailable("a body came too slowly")
}
