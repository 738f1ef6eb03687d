//! An answer that goes on and on: a watch, or a log that is followed. Every wait for more is bounded.

use std::time::Duration;

use axum::{
    body::{Body, Bytes},
    http,
};
use futures::{StreamExt as _, stream::BoxStream};

use super::{Access, Client, TIMEOUT, failure};
use crate::clients::{Error, Kind, Result, http::Response};

/// Most bytes of a refusal that are read.
const MAX_REFUSAL: usize = 64 * 1024;

/// The body of a streaming answer.
pub(super) struct Chunks {
    body: BoxStream<'static, std::result::Result<Bytes, axum::Error>>,
    operation: String,
    /// Longest wait for more.
    patience: Duration,
}

impl Client {
    /// Starts a GET whose answer is read as it comes. A refusal is an error with its HTTP status.
    pub(super) async fn stream(
        &self,
        path: &str,
        operation: &str,
        access: &Access<'_>,
        patience: Duration,
    ) -> std::result::Result<Chunks, (u16, Error)> {
        let bad = |error: http::Error| (0, Error::new(Kind::Refused, operation, error.to_string()));
        let request = http::Request::get(path)
            .header(http::header::ACCEPT, "*/*")
            .body(kube::client::Body::empty())
            .map_err(bad)?;
        let client = self.connect().await.map_err(|error| (0, error))?;
        let sent = tokio::time::timeout(TIMEOUT, client.send(request)).await;
        let late = |_| {
            (
                0,
                Error::new(
                    Kind::Timeout,
                    operation,
                    "the API server did not begin to answer in time",
                ),
            )
        };
        let answer = sent.map_err(late)?;
        let answer = answer.map_err(|error| (0, failure::transport(&error, operation)))?;
        let (parts, body) = answer.into_parts();
        let body = Body::new(body).into_data_stream().boxed();
        let mut chunks = Chunks { body, operation: operation.to_owned(), patience };
        if parts.status.is_success() {
            return Ok(chunks);
        }
        let status = parts.status.as_u16();
        let body = tokio::time::timeout(TIMEOUT, chunks.rest()).await.unwrap_or_default();
        let answer = Response { status, headers: parts.headers, body, cut: false };
        Err((status, failure::refusal(&answer, operation, access)))
    }
}

impl Chunks {
    /// These, and then the end.
    #[cfg(test)]
    pub(super) fn of(parts: &[&'static str]) -> Self {
        let parts: Vec<_> =
            parts.iter().map(|part| Ok(Bytes::from_static(part.as_bytes()))).collect();
        let body = futures::stream::iter(parts).boxed();
        Self { body, operation: "read".to_owned(), patience: Duration::from_secs(1) }
    }

    /// The next bytes; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>> {
        let next = tokio::time::timeout(self.patience, self.body.next()).await;
        let silent = |_| Error::new(Kind::Timeout, &self.operation, "the API server fell silent");
        let broken = |error: axum::Error| {
            Error::new(Kind::Unreachable, &self.operation, failure::innermost(&error))
        };
        next.map_err(silent)?.transpose().map_err(broken)
    }

    async fn rest(&mut self) -> Vec<u8> {
        let mut all = vec![];
        while let Ok(Some(chunk)) = self.next().await {
            let room = MAX_REFUSAL - all.len();
            all.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() >= room {
                break;
            }
        }
        all
    }
}
