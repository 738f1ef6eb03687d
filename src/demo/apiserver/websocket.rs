//! A watch through a websocket (RFC 6455), as fabric8, and so Spark, asks for it: every event is one text message.
//!
//! fabric8 6 (Spark 3.5) goes on with plain HTTP when the upgrade is answered with 200; fabric8 7 (Spark 4.1) waits for the
//! end of that answer forever. Written by hand: it only sends text, and answers pings and the close.

use anyhow::Context as _;
use axum::{
    http::{HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::{Stream, StreamExt as _, stream};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};

use super::status::Failure;
use crate::ops::lifecycle::Tasks;

/// What the RFC appends to the client's key.
const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Longest message from a client, bytes. A watcher has nothing to say.
const MAX_MESSAGE: u64 = 4_096;

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A connection that will become a websocket.
pub(super) struct Socket {
    upgrade: OnUpgrade,
    accept: String,
}

/// The request's wish for a websocket, if it has one.
pub(super) fn asked(head: &mut Parts) -> Result<Option<Socket>, Failure> {
    let text = |name| head.headers.get(name).and_then(|v: &HeaderValue| v.to_str().ok());
    if !text(header::UPGRADE).is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket")) {
        return Ok(None);
    }
    let bad = |why: &str| Failure::new(400, "BadRequest", why);
    if text(header::SEC_WEBSOCKET_VERSION) != Some("13") {
        return Err(bad("the websocket's version is not 13"));
    }
    let key = text(header::SEC_WEBSOCKET_KEY).ok_or_else(|| bad("no Sec-WebSocket-Key"))?;
    let accept = STANDARD.encode(Sha1::digest(format!("{key}{MAGIC}")));
    let upgrade = head.extensions.remove::<OnUpgrade>();
    let upgrade = upgrade.ok_or_else(|| bad("this connection cannot be upgraded"))?;
    Ok(Some(Socket { upgrade, accept }))
}

impl Socket {
    /// Answers with the upgrade, and sends every text of the stream until it ends or the client leaves.
    pub(super) fn send<S>(self, tasks: &Tasks, texts: S) -> Response
    where
        S: Stream<Item = String> + Send + 'static,
    {
        let Self { upgrade, accept } = self;
        tasks.spawn("demo.websocket", async move {
            if let Err(error) = pump(upgrade, texts).await {
                // A client that goes away without a word is its own business.
                tracing::debug!(error = format!("{error:#}"), "a websocket ended");
            }
            Ok(())
        });
        let headers = [
            (header::UPGRADE, HeaderValue::from_static("websocket")),
            (header::CONNECTION, HeaderValue::from_static("Upgrade")),
            (
                header::SEC_WEBSOCKET_ACCEPT,
                HeaderValue::from_str(&accept).unwrap_or(HeaderValue::from_static("")),
            ),
        ];
        (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
    }
}

async fn pump(upgrade: OnUpgrade, texts: impl Stream<Item = String>) -> anyhow::Result<()> {
    let io = TokioIo::new(upgrade.await.context("the upgrade failed")?);
    let (reader, mut writer) = tokio::io::split(io);
    let messages = stream::unfold(Some(reader), |reader| async {
        let mut reader = reader?;
        match read(&mut reader).await {
            Ok(message) => Some((Ok(message), Some(reader))),
            Err(error) => Some((Err(error), None)),
        }
    });
    let (mut messages, mut texts) = (std::pin::pin!(messages), std::pin::pin!(texts));
    loop {
        tokio::select! {
            text = texts.next() => match text {
                Some(text) => write(&mut writer, TEXT, text.trim_end().as_bytes()).await?,
                None => return write(&mut writer, CLOSE, &1_000_u16.to_be_bytes()).await,
            },
            message = messages.next() => match message.transpose()? {
                Some((CLOSE, reason)) => return write(&mut writer, CLOSE, &reason).await,
                Some((PING, payload)) => write(&mut writer, PONG, &payload).await?,
                Some(_) => {}
                None => return Ok(()),
            },
        }
    }
}

/// One frame: its kind and its content.
async fn read(reader: &mut ReadHalf<TokioIo<Upgraded>>) -> anyhow::Result<(u8, Vec<u8>)> {
    let (first, second) = (reader.read_u8().await?, reader.read_u8().await?);
    anyhow::ensure!(second & 0x80 != 0, "a client masks what it sends");
    let length = match second & 0x7f {
        126 => u64::from(reader.read_u16().await?),
        127 => reader.read_u64().await?,
        short => u64::from(short),
    };
    anyhow::ensure!(length <= MAX_MESSAGE, "a message of {length} bytes");
    let mut mask = [0; 4];
    reader.read_exact(&mut mask).await?;
    let mut content = vec![0; usize::try_from(length)?];
    reader.read_exact(&mut content).await?;
    for (byte, mask) in content.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    Ok((first & 0x0f, content))
}

async fn write(
    writer: &mut WriteHalf<TokioIo<Upgraded>>,
    kind: u8,
    content: &[u8],
) -> anyhow::Result<()> {
    let mut frame = vec![0x80 | kind];
    match u16::try_from(content.len()) {
        Ok(length @ 0..=125) => frame.push(u8::try_from(length)?),
        Ok(length) => {
            frame.push(126);
            frame.extend(length.to_be_bytes());
        }
        Err(_) => {
            frame.push(127);
            frame.extend(u64::try_from(content.len())?.to_be_bytes());
        }
    }
    frame.extend(content);
    writer.write_all(&frame).await?;
    Ok(writer.flush().await?)
}
