//! Where messages can go, and how fast.

use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use governor::{
    Quota, RateLimiter, clock::Clock as _, middleware::NoOpMiddleware,
    state::keyed::DefaultKeyedStateStore,
};

use crate::{
    notify::{Caps, Channel, Delivery, Failure, Message, Outcome, Receipt},
    ops::{clock::Clock, metrics as names},
};

/// Longest one send may take.
const SEND_TIMEOUT: Duration = Duration::from_secs(15);

/// Addresses whose `Retry-After` is remembered.
const MAX_BLOCKED: usize = 1_000;

/// A transport with its rate.
pub struct Transport {
    channel: Channel,
    limiter:
        RateLimiter<String, DefaultKeyedStateStore<String>, RateClock, NoOpMiddleware<Duration>>,
    clock: RateClock,
    /// Until when the other side wants to hear nothing, by address, in monotonic time.
    blocked: Mutex<BTreeMap<String, Duration>>,
}

/// Our time as the limiter reads it.
#[derive(Clone, Debug)]
struct RateClock(Clock);

impl governor::clock::Clock for RateClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.monotonic()
    }
}

/// All configured channels and transports.
#[derive(Default)]
pub struct Channels {
    transports: BTreeMap<String, Arc<Transport>>,
    named: BTreeMap<String, (Arc<Transport>, String)>,
}

impl Channels {
    /// The transports that reach persons, by their kinds; channels are added by name.
    pub fn new(transports: impl IntoIterator<Item = Channel>, clock: &Clock) -> Self {
        let transports = transports.into_iter().map(|channel| {
            let transport = Transport::new(channel, clock);
            (transport.kind().to_owned(), Arc::new(transport))
        });
        Self { transports: transports.collect(), named: BTreeMap::new() }
    }

    /// Adds a channel on the transport of its kind; false when there is none.
    #[must_use]
    pub fn add(&mut self, name: &str, kind: &str, address: &str) -> bool {
        let Some(transport) = self.transports.get(kind).cloned() else { return false };
        self.named.insert(name.to_owned(), (transport, address.to_owned()));
        true
    }

    /// The transport and address behind a channel's name.
    pub fn named(&self, name: &str) -> Option<(&Arc<Transport>, &str)> {
        let (transport, address) = self.named.get(name)?;
        Some((transport, address))
    }

    /// The transport of a kind, such as `slack`.
    pub fn transport(&self, kind: &str) -> Option<&Arc<Transport>> {
        self.transports.get(kind)
    }

    /// All channel names.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.named.keys()
    }
}

impl Transport {
    fn new(channel: Channel, clock: &Clock) -> Self {
        let clock = RateClock(clock.clone());
        let (quota, states) = (quota(channel.caps()), DefaultKeyedStateStore::default());
        let limiter = RateLimiter::new(quota, states, clock.clone());
        Self { channel, limiter, clock, blocked: Mutex::default() }
    }

    /// Its kind.
    pub fn kind(&self) -> &'static str {
        self.channel.kind()
    }

    /// What it can do.
    pub fn caps(&self) -> Caps {
        self.channel.caps()
    }

    /// The channel itself.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// How long to wait before the next message to this address; `None`: go on.
    pub fn wait(&self, address: &str) -> Option<Duration> {
        let now = self.clock.now();
        let blocked = self.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = blocked.get(address).filter(|until| **until > now) {
            return Some(*until - now);
        }
        drop(blocked);
        let key = address.to_owned();
        let refused = self.limiter.check_key(&key).err()?;
        Some(refused.wait_time_from(now).max(Duration::from_millis(50)))
    }

    /// Remembers that the other side asked for silence.
    fn block(&self, address: &str, wait: Duration) {
        let now = self.clock.now();
        let mut blocked = self.blocked.lock().unwrap_or_else(PoisonError::into_inner);
        blocked.retain(|_, until| *until > now);
        if blocked.len() < MAX_BLOCKED {
            blocked.insert(address.to_owned(), now.saturating_add(wait));
        }
    }

    /// Sends once, with a deadline. A timeout leaves it open whether the message arrived.
    pub async fn send(&self, delivery: &Delivery<'_>) -> Result<Receipt, Failure> {
        let sent = tokio::time::timeout(SEND_TIMEOUT, self.channel.send(delivery)).await;
        let sent = sent.unwrap_or_else(|_| {
            Err(Failure {
                outcome: Outcome::Unclear,
                reason: format!("{} gave no answer in {SEND_TIMEOUT:?}", self.kind()),
            })
        });
        if let Err(Failure { outcome: Outcome::Retry { after: Some(wait) }, .. }) = &sent {
            self.block(delivery.address, *wait);
        }
        let outcome = match sent.as_ref().map_err(|failure| failure.outcome) {
            Ok(_) => "ok",
            Err(Outcome::Retry { .. }) => "retry",
            Err(Outcome::Unclear) => "unclear",
            Err(Outcome::Permanent) => "permanent",
            Err(Outcome::CardGone) => "gone",
        };
        let kind = match delivery.message {
            Message::Card(_) => "card",
            Message::Evidence(_) => "evidence",
            Message::Page(_) => "page",
        };
        metrics::counter!(names::MESSAGES, "channel" => self.kind(), "kind" => kind, "outcome" => outcome)
            .increment(1);
        sent
    }
}

fn quota(caps: Caps) -> Quota {
    let period = Duration::try_from_secs_f64(1.0 / caps.per_second.max(0.001));
    let burst = NonZeroU32::new(caps.burst).unwrap_or(NonZeroU32::MIN);
    Quota::with_period(period.unwrap_or(Duration::from_secs(1)))
        .unwrap_or(Quota::per_second(NonZeroU32::MIN))
        .allow_burst(burst)
}
