//! Load over HTTP: closed loop for throughput, open loop for latency. In the open loop a request counts from the moment it was due, so
//! a server that stalls pays for everything that it made wait.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use http_body_util::{BodyExt as _, Full};
use hyper::{Request, body::Bytes, client::conn::http1::SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::Mutex as Turn, sync::mpsc, task::JoinSet};

use crate::alerts::Template;

/// Before a refused or broken request is sent again.
const AGAIN: Duration = Duration::from_millis(20);

/// Where webhooks go.
#[derive(Clone)]
pub struct Target {
    /// `127.0.0.1:port`.
    pub address: String,
    /// The path.
    pub path: &'static str,
}

/// What came of a load.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Ids that were answered 2xx, with the moment they were due.
    pub taken: Vec<(u64, Instant)>,
    /// Answers that were not 2xx, and connections that broke.
    pub refused: u64,
    /// From due to answered.
    pub waits: Vec<Duration>,
    /// From the first request to the last answer.
    pub took: Duration,
}

impl Outcome {
    /// Requests that were answered 2xx, per second.
    pub fn per_second(&self) -> f64 {
        self.taken.len() as f64 / self.took.as_secs_f64()
    }

    fn add(&mut self, other: Self) {
        self.taken.extend(other.taken);
        self.refused += other.refused;
        self.waits.extend(other.waits);
    }
}

/// The value below which so many hundredths lie.
pub fn percentile(waits: &mut [Duration], hundredths: usize) -> Duration {
    waits.sort_unstable();
    waits
        .get((waits.len() * hundredths / 100).min(waits.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}

/// Every connection sends the next request as soon as its last one is answered.
pub async fn closed(
    target: &Target,
    connections: usize,
    time: Duration,
    template: &Template,
    ids: &Arc<AtomicU64>,
) -> Outcome {
    let begin = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let (target, template, ids) = (target.clone(), template.clone(), Arc::clone(ids));
        tasks.spawn(async move {
            let (mut outcome, mut connection) = (Outcome::default(), None);
            while begin.elapsed() < time {
                let (id, due) = (ids.fetch_add(1, Relaxed), Instant::now());
                one(&target, &mut connection, &template, (id, due), &mut outcome).await;
            }
            outcome
        });
    }
    collect(tasks, begin).await
}

/// `total` requests at `rate` per second. What is refused is sent again when `insist`, as Alertmanager does.
pub async fn open(
    target: &Target,
    (rate, total): (f64, u64),
    connections: usize,
    template: &Template,
    ids: &Arc<AtomicU64>,
    insist: bool,
) -> Outcome {
    let (sender, due) = mpsc::unbounded_channel();
    let due = Arc::new(Turn::new(due));
    let begin = Instant::now() + Duration::from_millis(20);
    // The runtime's timers are good to a millisecond; a thread's sleep to a twentieth of it.
    let clock = std::thread::spawn(move || {
        for number in 0..total {
            let at = begin + Duration::from_secs_f64(number as f64 / rate);
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            if sender.send(at).is_err() {
                return;
            }
        }
    });
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let (target, template, ids, queue) =
            (target.clone(), template.clone(), Arc::clone(ids), Arc::clone(&due));
        tasks.spawn(async move {
            let (mut outcome, mut connection) = (Outcome::default(), None);
            loop {
                let Some(due) = queue.lock().await.recv().await else { return outcome };
                let id = ids.fetch_add(1, Relaxed);
                while !one(&target, &mut connection, &template, (id, due), &mut outcome).await
                    && insist
                {
                    tokio::time::sleep(AGAIN).await;
                }
            }
        });
    }
    let outcome = collect(tasks, begin).await;
    clock.join().expect("the clock's thread ended");
    outcome
}

async fn collect(mut tasks: JoinSet<Outcome>, begin: Instant) -> Outcome {
    let mut all = Outcome::default();
    while let Some(outcome) = tasks.join_next().await {
        all.add(outcome.expect("a connection's task ended"));
    }
    all.took = begin.elapsed();
    all
}

/// Sends one; whether it was taken.
async fn one(
    target: &Target,
    connection: &mut Option<SendRequest<Full<Bytes>>>,
    template: &Template,
    (id, due): (u64, Instant),
    outcome: &mut Outcome,
) -> bool {
    let status = post(target, connection, template.body(id)).await;
    let taken = status.is_some_and(|status| (200..300).contains(&status));
    if taken {
        outcome.taken.push((id, due));
        outcome.waits.push(due.elapsed());
    } else {
        outcome.refused += 1;
    }
    taken
}

/// Posts on a connection that is kept; the status, or nothing when it broke.
pub async fn post(
    target: &Target,
    connection: &mut Option<SendRequest<Full<Bytes>>>,
    body: Vec<u8>,
) -> Option<u16> {
    let request = Request::post(target.path)
        .header("host", &target.address)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .ok()?;
    call(&target.address, connection, request).await.map(|(status, _)| status)
}

/// Gets a page; its body.
pub async fn get(address: &str, path: &str) -> Option<(u16, Bytes)> {
    let request = Request::get(path).header("host", address).body(Full::default()).ok()?;
    call(address, &mut None, request).await
}

async fn call(
    address: &str,
    connection: &mut Option<SendRequest<Full<Bytes>>>,
    request: Request<Full<Bytes>>,
) -> Option<(u16, Bytes)> {
    if connection.as_ref().is_none_or(SendRequest::is_closed) {
        let stream = TcpStream::connect(address).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let (sender, driver) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(driver);
        *connection = Some(sender);
    }
    let sender = connection.as_mut()?;
    sender.ready().await.ok()?;
    let answer = sender.send_request(request).await.ok();
    let Some(answer) = answer else {
        *connection = None;
        return None;
    };
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.ok()?.to_bytes();
    Some((status, body))
}

/// The first id of a run: of the clock, so that two runs differ.
pub fn fresh_ids() -> Arc<AtomicU64> {
    let seconds = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
    Arc::new(AtomicU64::new((seconds & 0xffff) << 32))
}
