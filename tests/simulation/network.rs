//! The network: requests travel, arrive, are answered; each of them may be late, lost, refused, or lost after it was taken.
//!
//! What left a process arrives although the process dies meanwhile. Nothing here waits: the driver carries what is due.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::FutureExt as _;
use paramedic::{
    clients::{
        Error, Kind, Result,
        http::{HeaderMap, Request, Response, sim},
    },
    ops::clock::Clock,
};
use serde_json::json;
use tokio::sync::oneshot;

use crate::{
    diagnosis, matrix,
    rng::Rng,
    slack::{self, says},
};

/// A send of a message, as the network saw it leave: the job that sent it, and that job's fence.
pub struct Left {
    pub job: (String, i64),
}

/// Who waits for an answer, once.
type Reply = Arc<Mutex<Option<oneshot::Sender<Result<Response>>>>>;

/// Something on its way.
enum Event {
    Arrives(Box<Request>, Fate, Reply),
    Answer(Box<Result<Response>>, Reply),
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Taken,
    /// Taken, and the answer never comes.
    Silence,
    /// Taken, and something in between answers an error.
    TakenThen(u16),
    /// Not taken; a status, and how long to wait.
    Refused(u16, Option<u64>),
    /// `ok: false` of Slack; true when it was taken all the same.
    Says(&'static str, bool),
}

pub struct State {
    rng: Rng,
    clock: Clock,
    /// Faults in 10 000 requests.
    pub rate: u64,
    /// Nothing arrives until then.
    pub partition: Duration,
    /// What leaves for Slack arrives after what left before: two requests that overtake each other are no client's fault.
    in_order: Duration,
    /// What is polled now.
    pub current: Option<(String, i64)>,
    pub left: Vec<Left>,
    pub faults: Vec<String>,
    events: BTreeMap<(Duration, u64), Event>,
    count: u64,
}

/// All of it.
#[derive(Clone)]
pub struct Network(Arc<Mutex<State>>);

impl Network {
    /// Connects this thread.
    pub fn start(rng: Rng, clock: Clock) -> Self {
        let state = State {
            rng,
            clock,
            rate: 0,
            partition: Duration::ZERO,
            in_order: Duration::ZERO,
            current: None,
            left: vec![],
            faults: vec![],
            events: BTreeMap::new(),
            count: 0,
        };
        let network = Self(Arc::new(Mutex::new(state)));
        let own = network.clone();
        let carry = move |request| {
            let own = own.clone();
            async move { own.send(request).await }.boxed()
        };
        sim::connect(Some(Arc::new(carry)));
        network
    }

    pub fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    async fn send(&self, request: Request) -> Result<Response> {
        let operation = request.operation.clone();
        let answer = self.state().leaves(request);
        let gone = |_| Err(Error::new(Kind::Unreachable, operation, "the simulation ended"));
        answer.await.unwrap_or_else(gone)
    }

    /// When the next thing arrives.
    pub fn next(&self) -> Option<Duration> {
        self.state().events.first_key_value().map(|((at, _), _)| *at)
    }

    /// Carries what is due; `host` is asked for the answer to what arrives.
    pub fn carry(&self, now: Duration, mut host: impl FnMut(&Request) -> Response) {
        loop {
            let mut state = self.state();
            let Some(entry) = state.events.first_entry().filter(|e| e.key().0 <= now) else {
                return;
            };
            match entry.remove() {
                Event::Answer(answer, reply) => {
                    if let Some(reply) = reply.lock().unwrap().take() {
                        drop(reply.send(*answer));
                    }
                }
                Event::Arrives(request, fate, reply) => {
                    drop(state);
                    let answer = match fate {
                        Fate::Refused(status, after) => Some(refused(&request, status, after)),
                        Fate::Taken => Some(host(&request)),
                        Fate::TakenThen(status) => {
                            host(&request);
                            Some(refused(&request, status, None))
                        }
                        Fate::Says(error, taken) => {
                            if taken {
                                host(&request);
                            }
                            Some(says(200, None, &json!({"ok": false, "error": error})))
                        }
                        Fate::Silence => {
                            host(&request);
                            None
                        }
                    };
                    if let Some(answer) = answer {
                        let mut state = self.state();
                        let back = Duration::from_millis(state.rng.between(1, 80));
                        state.put(now + back, Event::Answer(Box::new(Ok(answer)), reply));
                    }
                }
            }
        }
    }
}

impl State {
    fn put(&mut self, at: Duration, event: Event) {
        self.count += 1;
        self.events.insert((at, self.count), event);
    }

    fn leaves(&mut self, request: Request) -> oneshot::Receiver<Result<Response>> {
        let (sender, receiver) = oneshot::channel();
        let reply = Arc::new(Mutex::new(Some(sender)));
        let now = self.clock.monotonic();
        let operation = request.operation.clone();
        if is_message(&request) {
            let job = self.current.clone().unwrap_or_default();
            self.left.push(Left { job });
        }
        let is_slack = request.url.host_str() == Some(slack::HOST);
        let failed = |kind, why: &str| {
            Event::Answer(Box::new(Err(Error::new(kind, &operation, why))), Arc::clone(&reply))
        };
        let timeout = failed(Kind::Timeout, "no complete answer in time");
        self.put(now + request.timeout, timeout);
        let mut way = self.rng.between(1, 80);
        let mut fate = Fate::Taken;
        if now < self.partition {
            self.faults.push(format!("partition: {operation}"));
            return receiver;
        }
        if self.rng.chance(self.rate) {
            let what = self.rng.index(if is_slack { 14 } else { 10 });
            self.faults.push(format!("network fault {what}: {operation}"));
            match what {
                0 | 1 => fate = Fate::Silence,
                2 => fate = Fate::TakenThen(502),
                3 => fate = Fate::Refused(503, None),
                4 => fate = Fate::Refused(429, Some(self.rng.between(1, 20))),
                5 => fate = Fate::Refused(429, None),
                6 => way = self.rng.between(1_000, 20_000),
                7 => {
                    let reset = failed(Kind::Unreachable, "connection reset");
                    self.put(now + Duration::from_millis(way), reset);
                    return receiver;
                }
                8 => return receiver,
                10 => fate = Fate::Says("ratelimited", false),
                11 => fate = Fate::Says("internal_error", true),
                12 => fate = Fate::Says("fatal_error", false),
                13 => fate = Fate::Says("service_unavailable", false),
                _ => fate = Fate::TakenThen(500),
            }
        }
        let mut at = now + Duration::from_millis(way);
        if is_slack {
            at = at.max(self.in_order);
            self.in_order = at;
        }
        self.put(at, Event::Arrives(Box::new(request), fate, reply));
        receiver
    }
}

/// True for what a person or a channel gets to see, or what must happen once.
fn is_message(request: &Request) -> bool {
    let path = request.url.path();
    request.headers.iter().any(|(name, _)| name.as_str() == "webhook-id")
        || path.ends_with("/chat.postMessage")
        || path.contains("/send/m.room.message/")
        || path == diagnosis::REPAIR
}

/// An answer with a body as proxies write it, or as Matrix limits.
fn refused(request: &Request, status: u16, after: Option<u64>) -> Response {
    if status == 429 && request.url.host_str() == Some(matrix::HOST) {
        let wait = after.map(|after| after * 1_000);
        let body = json!({"errcode": "M_LIMIT_EXCEEDED", "error": "Too Many Requests", "retry_after_ms": wait});
        return says(429, None, &body);
    }
    let mut headers = HeaderMap::new();
    if let Some(after) = after {
        headers.insert("retry-after", after.into());
    }
    let body = b"<html><body>Bad Gateway</body></html>".to_vec();
    Response { status, headers, body, cut: false }
}
