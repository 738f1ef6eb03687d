//! The ladder of a bucket: DNS, TCP, TLS, MinIO's own health pages, HEAD of the bucket, a list of one key, and on request a
//! small object written, read back and deleted. Each rung proves one more layer, and the first that fails names it.
//!
//! Two rungs do not end the climb: MinIO's health pages (a cluster without write quorum may still read), and HEAD, whose
//! error has no body, so that the list is asked for the code.

use std::{io, net::SocketAddr, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;

use super::{
    super::{one_line, tls, words},
    Client,
    answer::{self, FailureKind, Fault},
};
use crate::ops::clock::Clock;

/// Longest reason kept, characters.
const MAX_REASON: usize = 300;
/// S3 refuses requests whose time differs by more.
const MAX_SKEW: i64 = 15 * 60;
/// A difference worth saying.
const WORTH_SAYING: i64 = 60;
/// A certificate that ends sooner is remarked on, days.
const SOON: i64 = 14;

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// One rung.
    pub rung: Duration,
    /// All rungs together.
    pub whole: Duration,
    /// A rung that answers later than this is slow.
    pub slow: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            rung: Duration::from_secs(5),
            whole: Duration::from_secs(17),
            slow: Duration::from_secs(2),
        }
    }
}

/// What the climb found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ladder {
    /// The rungs that were tried, in order.
    pub rungs: Vec<Rung>,
    /// Days until the server's certificate ends; `None` without TLS.
    pub certificate_days: Option<i64>,
    /// How many seconds the server's clock is ahead of ours; `None` when it did not say.
    pub clock_skew_seconds: Option<i64>,
    /// The server has MinIO's health pages.
    pub minio: bool,
}

/// One rung.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rung {
    /// Which.
    pub name: RungName,
    /// How it went.
    pub state: RungState,
    /// How long it took, milliseconds.
    pub latency_ms: u64,
    /// What kind of failure, when it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<FailureKind>,
    /// HTTP status of a failed answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// S3's code of a failed answer; empty when there was none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// Why it failed, or what is worth knowing; empty when there is nothing to say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

words! {
    /// A rung's name.
    RungName {
        /// Name look-up.
        Dns => "dns",
        /// TCP connect: something listens.
        Tcp => "tcp",
        /// TLS handshake and certificate.
        Tls => "tls",
        /// MinIO's health pages; other servers have none.
        MinioHealth => "minio_health",
        /// HEAD of the bucket.
        HeadBucket => "head_bucket",
        /// A list of at most one key.
        List => "list",
        /// The canary is written.
        Put => "put",
        /// The canary is read back.
        Get => "get",
        /// The canary is deleted.
        Delete => "delete",
    }
}

words! {
    /// How a rung went.
    RungState {
        /// In time.
        Ok => "ok",
        /// It answered, but late.
        Slow => "slow",
        /// It did not answer, or said no.
        Failed => "failed",
    }
}

/// A small object to write, read and delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canary {
    /// Its key; nothing else may live there.
    pub key: String,
    /// Its bytes.
    pub body: Vec<u8>,
}

impl Ladder {
    /// What the rungs mean together: `ok`, `slow`, or the kind of the first that failed.
    pub fn verdict(&self) -> &'static str {
        // HEAD can only say a status; the list after it knows the code.
        let failed = |name| self.rungs.iter().find(|r| r.name == name && r.kind.is_some());
        let first = self.rungs.iter().find(|rung| rung.kind.is_some());
        let told = match first {
            Some(rung) if rung.name == RungName::HeadBucket => {
                failed(RungName::List).or(Some(rung))
            }
            other => other,
        };
        if let Some(kind) = told.and_then(|rung| rung.kind) {
            return kind.word();
        }
        let slow = self.rungs.iter().any(|rung| rung.state == RungState::Slow);
        if slow { "slow" } else { "ok" }
    }
}

impl Client {
    /// Climbs. What it finds is the answer; it never fails, and takes at most `deadlines.whole`.
    pub async fn ladder(
        &self,
        deadlines: &Deadlines,
        canary: Option<&Canary>,
        clock: &Clock,
    ) -> Ladder {
        let end = clock.monotonic() + deadlines.whole;
        let mut climb = Climb { clock, deadlines, end, ladder: Ladder::default() };
        // A rung that ends the climb has been written down; there is nothing to add.
        let _ended_early = self.climb(&mut climb, canary).await;
        climb.ladder
    }

    async fn climb(&self, climb: &mut Climb<'_>, canary: Option<&Canary>) -> Option<()> {
        self.connect(climb).await?;
        self.minio_health(climb).await;
        let clock = climb.clock;
        let head = climb
            .rung(RungName::HeadBucket, async {
                let answer = self.head_bucket(clock).await?;
                let skew = answer::skew(&answer, clock.now());
                Ok((self.accepted(&answer).map(drop), skew))
            })
            .await?;
        climb.answered(head);
        let list = climb
            .rung(RungName::List, async {
                let answer = self.list_one(clock).await?;
                let skew = answer::skew(&answer, clock.now());
                let listed = self.accepted(&answer).and_then(|body| {
                    let is_list = body.contains("<ListBucketResult");
                    let why = "the answer is not a list of a bucket";
                    if is_list { Ok(()) } else { Err(Fault::new(FailureKind::NotS3, why)) }
                });
                Ok((listed, skew))
            })
            .await?;
        climb.answered(list)?;
        let Canary { key, body } = canary?;
        climb.rung(RungName::Put, self.put(key, body, clock)).await?;
        let read = climb.rung(RungName::Get, self.get(key, clock)).await;
        if read.is_some_and(|read| read != *body) {
            let why = "other bytes came back than were written";
            climb.fail(Fault::new(FailureKind::Corrupt, why));
        }
        // Also after a failed read: nothing is left behind.
        climb.rung(RungName::Delete, self.delete(key, clock)).await
    }

    async fn connect(&self, climb: &mut Climb<'_>) -> Option<()> {
        let url = self.bucket.base_url();
        let host = url.host_str().unwrap_or_default().to_owned();
        let port = url.port_or_known_default().unwrap_or(443);
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let addresses = climb.rung(RungName::Dns, resolve(bare, port)).await?;
        let stream = climb.rung(RungName::Tcp, connect(&addresses)).await?;
        if url.scheme() != "https" {
            return Some(());
        }
        let now = climb.clock.now();
        let shaken = async {
            let seen = tls::inspect(stream, &host, now).await;
            seen.map_err(|why| Fault::new(FailureKind::Tls, why))
        };
        let seen = climb.rung(RungName::Tls, shaken).await?;
        let days = seen.days_left(now);
        climb.ladder.certificate_days = days;
        if !seen.broken.is_empty() {
            climb.fail(Fault::new(FailureKind::Tls, seen.broken));
            return None;
        }
        if !seen.problems.is_empty() {
            let words: Vec<&str> = seen.problems.iter().map(|problem| problem.word()).collect();
            let why = format!("certificate {}: {}", words.join(", "), seen.reason);
            climb.fail(Fault::new(FailureKind::Tls, why));
            return None;
        }
        if let Some(days) = days {
            let soon = if days < SOON { ", SOON" } else { "" };
            climb.remark(&format!("certificate ends in {days} days{soon}"));
        }
        Some(())
    }

    async fn minio_health(&self, climb: &mut Climb<'_>) -> Option<()> {
        let asked = climb
            .rung(RungName::MinioHealth, async {
                let live = self.page("/minio/health/live").await?;
                let server = live.headers.get("server").and_then(|value| value.to_str().ok());
                let minio = server.is_some_and(|name| name.contains("MinIO"));
                if !minio && live.status != 200 {
                    return Ok((false, Ok(())));
                }
                let minio = minio || live.body.is_empty();
                Ok((minio, if minio { self.cluster(live.status).await } else { Ok(()) }))
            })
            .await;
        let (minio, health) = asked?;
        climb.ladder.minio = minio;
        match health {
            Ok(()) if !minio => climb.remark("not MinIO, no health pages"),
            Ok(()) => {}
            Err(fault) => climb.fail(fault),
        }
        Some(())
    }

    /// What MinIO says of its cluster, once one node lives.
    async fn cluster(&self, live: u16) -> Result<(), Fault> {
        let failed = |kind, status, reason: &str| {
            Err(Fault { status: Some(status), ..Fault::new(kind, reason) })
        };
        match live {
            200 => {}
            429 => return failed(FailureKind::Throttled, live, "the node is overloaded"),
            other => return failed(FailureKind::NotReady, other, "the node is not live"),
        }
        let writes = self.page("/minio/health/cluster").await?.status;
        if writes != 503 {
            return Ok(());
        }
        let reads = self.page("/minio/health/cluster/read").await?.status;
        let why = if reads == 503 {
            "the cluster has no quorum, neither to write nor to read"
        } else {
            "the cluster has no write quorum; it can still read"
        };
        failed(FailureKind::NotReady, writes, why)
    }
}

async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, Fault> {
    match tokio::net::lookup_host((host, port)).await {
        Ok(found) => Ok(found.collect()),
        Err(error) => {
            let why = format!("{} does not resolve: {error}", one_line(host, 80));
            Err(Fault::new(FailureKind::Unresolved, why))
        }
    }
}

async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, Fault> {
    TcpStream::connect(addresses).await.map_err(|error| {
        let kind = match error.kind() {
            io::ErrorKind::ConnectionRefused => FailureKind::Refused,
            io::ErrorKind::TimedOut => FailureKind::Timeout,
            _ => FailureKind::Unreachable,
        };
        Fault::new(kind, error.to_string())
    })
}

struct Climb<'a> {
    clock: &'a Clock,
    deadlines: &'a Deadlines,
    end: Duration,
    ladder: Ladder,
}

impl Climb<'_> {
    /// Runs one rung within its deadline and what is left of the ladder's, and writes it down. `None` when it failed.
    async fn rung<T>(
        &mut self,
        name: RungName,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Option<T> {
        let start = self.clock.monotonic();
        let limit = self.deadlines.rung.min(self.end.saturating_sub(start));
        let outcome = tokio::select! {
            biased;
            outcome = work => outcome,
            () = self.clock.sleep(limit) => {
                let why = format!("no answer within {} ms", limit.as_millis());
                Err(Fault::new(FailureKind::Timeout, why))
            }
        };
        let took = self.clock.monotonic().saturating_sub(start);
        let late = took > self.deadlines.slow;
        self.ladder.rungs.push(Rung {
            name,
            state: if late { RungState::Slow } else { RungState::Ok },
            latency_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            kind: None,
            status: None,
            code: String::new(),
            reason: String::new(),
        });
        match outcome {
            Ok(value) => Some(value),
            Err(fault) => {
                self.fail(fault);
                None
            }
        }
    }

    /// An answer of the bucket with the clock it showed.
    fn answered(&mut self, (outcome, skew): (Result<(), Fault>, Option<i64>)) -> Option<()> {
        self.ladder.clock_skew_seconds = self.ladder.clock_skew_seconds.or(skew);
        match (outcome, skew) {
            (Ok(()), Some(skew)) if skew.abs() > WORTH_SAYING => {
                self.remark(&ahead(skew));
                Some(())
            }
            (Ok(()), _) => Some(()),
            (Err(mut fault), Some(skew))
                if skew.abs() > MAX_SKEW && matches!(fault.status, Some(400 | 403)) =>
            {
                // Servers do not agree on the code for this; the clocks say it plainly.
                fault.kind = FailureKind::ClockSkew;
                fault.reason = format!("{}; {}", ahead(skew), fault.reason);
                self.fail(fault);
                None
            }
            (Err(fault), _) => {
                self.fail(fault);
                None
            }
        }
    }

    /// Turns the last rung into a failed one.
    fn fail(&mut self, fault: Fault) {
        if let Some(rung) = self.ladder.rungs.last_mut() {
            rung.state = RungState::Failed;
            rung.kind = Some(fault.kind);
            rung.status = fault.status;
            rung.code = fault.code;
            rung.reason = one_line(&fault.reason, MAX_REASON);
        }
    }

    fn remark(&mut self, reason: &str) {
        if let Some(rung) = self.ladder.rungs.last_mut() {
            reason.clone_into(&mut rung.reason);
        }
    }
}

fn ahead(skew: i64) -> String {
    let direction = if skew > 0 { "ahead of" } else { "behind" };
    format!("the server's clock is {} s {direction} ours", skew.abs())
}
