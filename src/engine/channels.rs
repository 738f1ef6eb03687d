//! Where messages can go, and how fast.

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc, time::Duration};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock as _};

use crate::notify::{Caps, Channel, Delivery, Failure, Outcome, Receipt};

/// Longest one send may take.
const SEND_TIMEOUT: Duration = Duration::from_secs(15);

/// A transport with its rate.
pub struct Transport {
    channel: Channel,
    limiter: DefaultKeyedRateLimiter<String>,
    rate_clock: governor::clock::DefaultClock,
}

/// All configured channels and transports.
#[derive(Default)]
pub struct Channels {
    transports: BTreeMap<String, Arc<Transport>>,
    named: BTreeMap<String, (String, String)>,
}

impl Channels {
    /// `transports` by kind; `named` channels as name to (kind, address).
    pub fn new(
        transports: impl IntoIterator<Item = Channel>,
        named: BTreeMap<String, (String, String)>,
    ) -> Self {
        let transports = transports.into_iter().map(|channel| {
            let caps = channel.caps();
            let transport = Transport {
                limiter: RateLimiter::keyed(quota(caps)),
                rate_clock: governor::clock::DefaultClock::default(),
                channel,
            };
            (transport.channel.kind().to_owned(), Arc::new(transport))
        });
        Self { transports: transports.collect(), named }
    }

    /// The transport and address behind a channel's name.
    pub fn named(&self, name: &str) -> Option<(&Arc<Transport>, &str)> {
        let (kind, address) = self.named.get(name)?;
        Some((self.transports.get(kind)?, address))
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
        let key = address.to_owned();
        let refused = self.limiter.check_key(&key).err()?;
        Some(refused.wait_time_from(self.rate_clock.now()).max(Duration::from_millis(50)))
    }

    /// Sends once, with a deadline. A timeout leaves it open whether the message arrived.
    pub async fn send(&self, delivery: &Delivery<'_>) -> Result<Receipt, Failure> {
        let sent = tokio::time::timeout(SEND_TIMEOUT, self.channel.send(delivery)).await;
        sent.unwrap_or_else(|_| {
            Err(Failure {
                outcome: Outcome::Unclear,
                reason: format!("{} gave no answer in {SEND_TIMEOUT:?}", self.kind()),
            })
        })
    }
}

fn quota(caps: Caps) -> Quota {
    let period = Duration::try_from_secs_f64(1.0 / caps.per_second.max(0.001));
    let burst = NonZeroU32::new(caps.burst).unwrap_or(NonZeroU32::MIN);
    Quota::with_period(period.unwrap_or(Duration::from_secs(1)))
        .unwrap_or(Quota::per_second(NonZeroU32::MIN))
        .allow_burst(burst)
}
