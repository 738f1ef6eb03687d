//! The listener: accepts, bounds and ends connections.
//!
//! A slow or silent client must not keep an alert out: headers have a deadline and a size, connections a number and an
//! age. At shutdown running requests are finished; new alerts are answered 503 meanwhile, which makes Alertmanager try
//! again (it may reach another replica).

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use super::{State, router};
use crate::ops::lifecycle::{Stop, Tasks};

/// Connections at once; more wait to be accepted.
const CONNECTIONS: usize = 1024;
/// Longest wait for a request's headers, also between two requests.
const HEADERS_WITHIN: Duration = Duration::from_secs(30);
/// Largest headers, bytes.
const HEADER_BYTES: usize = 32 * 1024;
/// Age at which a connection is asked to end: bounds clients that do not read their answers.
const OLD: Duration = Duration::from_mins(10);
/// And when it is cut.
const CUT: Duration = Duration::from_secs(100);
/// Pause after a failed accept, such as too many open files.
const AFTER_FAILURE: Duration = Duration::from_millis(100);

/// Answers requests until the process drains and the last connection is closed.
pub async fn serve(state: State, listener: TcpListener, tasks: &Tasks) -> anyhow::Result<()> {
    let address = listener.local_addr().context("the listener has no address")?;
    tracing::info!(%address, "listening");
    let clock = state.engine.clock.clone();
    let router = router(state);
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let stop = tasks.stop().clone();
    loop {
        let slot = Arc::clone(&room).acquire_owned().await.context("the listener is closed")?;
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = drained(&stop, &room) => return Ok(()),
        };
        match accepted {
            Ok((stream, _)) => {
                let (router, stop) = (router.clone(), stop.clone());
                tasks.spawn("http.connection", async move {
                    connection(stream, router, stop).await;
                    drop(slot);
                    Ok(())
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                clock.sleep(AFTER_FAILURE).await;
            }
        }
    }
}

/// The process drains and nobody is connected any more; the listener itself holds one slot.
async fn drained(stop: &Stop, room: &Semaphore) {
    stop.draining.cancelled().await;
    let all = u32::try_from(CONNECTIONS).unwrap_or(u32::MAX).saturating_sub(1);
    tokio::select! {
        all = room.acquire_many(all) => drop(all),
        () = stop.stopped.cancelled() => {}
    }
}

async fn connection(stream: TcpStream, router: Router, stop: Stop) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection without TCP_NODELAY");
    }
    // Whoever comes while we drain gets one answer.
    let draining = stop.draining.is_cancelled();
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADERS_WITHIN);
    builder.max_header_size(HEADER_BYTES).max_headers(100).keep_alive(!draining);
    let service = TowerToHyperService::new(router);
    let serving = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let asked_to_end = tokio::time::timeout(OLD, async {
        if draining { std::future::pending().await } else { stop.draining.cancelled().await }
    });
    let ended = tokio::select! {
        ended = &mut serving => ended,
        _ = asked_to_end => {
            serving.as_mut().graceful_shutdown();
            tokio::select! {
                ended = tokio::time::timeout(CUT, &mut serving) => ended.unwrap_or(Ok(())),
                () = stop.stopped.cancelled() => Ok(()),
            }
        }
    };
    if let Err(error) = ended {
        // Clients that went away, or sent no HTTP.
        tracing::debug!(%error, "a connection ended early");
    }
}
