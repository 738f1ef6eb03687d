//! The ladder: DNS, TCP, `getStatus`, `get_all_databases`, and a canary table; each rung proves one more layer.
//!
//! One connection carries all calls, and is dropped with the ladder. Only when the server closes it without a byte is a
//! second one opened, to ask the same in framed transport: a metastore with
//! `hive.metastore.thrift.framed.transport.enabled` behaves exactly so. Deadlines run on the given clock; the whole
//! ladder has its own, so a caller's timeout never cuts the answer off.

use std::{net::SocketAddr, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{super::words, Client, TableName, connection::Connection, thrift::Value};
use crate::ops::clock::Clock;

/// Longest reason kept, characters.
const MAX_REASON: usize = 300;
/// `fb_status`: 2 is ALIVE, 5 is WARNING.
const STATUS: [&str; 6] = ["DEAD", "STARTING", "ALIVE", "STOPPING", "STOPPED", "WARNING"];

/// How long each rung may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// Name look-up.
    pub dns: Duration,
    /// TCP connect.
    pub tcp: Duration,
    /// `getStatus`, which does no work in the server.
    pub get_status: Duration,
    /// `get_all_databases`, which asks the database.
    pub get_all_databases: Duration,
    /// `get_table` on the canary.
    pub get_table: Duration,
    /// All rungs together.
    pub whole: Duration,
    /// A rung that answers later than this is slow.
    pub slow: Duration,
}

/// What the climb found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ladder {
    /// The rungs that were tried, in order; the last one is the failed one, if any failed.
    pub rungs: Vec<Rung>,
    /// What they mean together.
    pub verdict: Verdict,
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
        /// `getStatus`: a worker thread answers.
        GetStatus => "get_status",
        /// `get_all_databases`: the database behind it answers.
        GetAllDatabases => "get_all_databases",
        /// `get_table`: the canary's metadata can be read.
        GetTable => "get_table",
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

words! {
    /// Why a rung failed.
    FailureKind {
        /// Nothing listens there.
        Refused => "refused",
        /// No answer within the rung's deadline.
        Timeout => "timeout",
        /// Connected, then closed by the server without a byte.
        ClosedWithoutReply => "closed_without_reply",
        /// The server answered with an exception.
        Exception => "exception",
        /// The name has no address.
        Unresolved => "unresolved",
        /// The network gave another error.
        Unreachable => "unreachable",
        /// Bytes came back that are no reply.
        Malformed => "malformed",
    }
}

words! {
    /// What the ladder means.
    Verdict {
        /// Every rung answered in time.
        Ok => "ok",
        /// Every rung answered, at least one late.
        Slow => "slow",
        /// Nothing answers at the address.
        Down => "down",
        /// The host name has no address.
        Unresolved => "unresolved",
        /// Something answers, but not plain Thrift: SASL, TLS, HTTP, or no metastore.
        WrongProtocol => "wrong_protocol",
        /// It accepts connections but no thread answers: pool exhausted, long GC, or the process is stopped.
        ThreadStarved => "thread_starved",
        /// It lives, but says that it is not ready to serve.
        NotServing => "not_serving",
        /// The server is alive, the database behind it is not.
        Database => "database",
        /// All is well, but the canary table does not exist.
        CanaryMissing => "canary_missing",
    }
}

/// A failed rung, before it is timed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    kind: FailureKind,
    reason: String,
    absent: bool,
}

impl Fault {
    pub(super) fn new(kind: FailureKind, reason: String) -> Self {
        Self { kind, reason, absent: false }
    }

    /// The server says that the object does not exist, which is an answer of a healthy server.
    pub(super) fn absent(mut self) -> Self {
        self.absent = true;
        self
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            dns: Duration::from_secs(2),
            tcp: Duration::from_secs(2),
            get_status: Duration::from_secs(2),
            get_all_databases: Duration::from_secs(5),
            get_table: Duration::from_secs(5),
            whole: Duration::from_secs(14),
            slow: Duration::from_secs(2),
        }
    }
}

impl Client {
    /// Climbs as far as it goes. Never longer than `deadlines.whole`; the connection is closed at the end.
    pub async fn ladder(
        &self,
        deadlines: &Deadlines,
        canary: Option<&TableName>,
        clock: &Clock,
    ) -> Ladder {
        let mut climb =
            Climb { clock, deadlines, end: clock.monotonic() + deadlines.whole, rungs: vec![] };
        let verdict = match self.climb(&mut climb, canary).await {
            Err(verdict) => verdict,
            Ok(()) if climb.rungs.iter().any(|r| r.state == RungState::Slow) => Verdict::Slow,
            Ok(()) => Verdict::Ok,
        };
        Ladder { rungs: climb.rungs, verdict }
    }

    async fn climb(
        &self,
        climb: &mut Climb<'_>,
        canary: Option<&TableName>,
    ) -> Result<(), Verdict> {
        let deadlines = climb.deadlines;
        let addresses = climb
            .rung(RungName::Dns, deadlines.dns, self.resolve())
            .await
            .map_err(|_| Verdict::Unresolved)?;
        let mut connection = climb
            .rung(RungName::Tcp, deadlines.tcp, Connection::open(&addresses))
            .await
            .map_err(|_| Verdict::Down)?;

        let status = status(&mut connection, &addresses);
        match climb.rung(RungName::GetStatus, deadlines.get_status, status).await {
            Ok(None) => {}
            Ok(Some(framed)) => {
                connection = framed;
                climb.remark("only framed transport is answered");
            }
            Err(FailureKind::Timeout) => return Err(Verdict::ThreadStarved),
            Err(FailureKind::Exception) => return Err(Verdict::NotServing),
            Err(
                FailureKind::ClosedWithoutReply
                | FailureKind::Malformed
                | FailureKind::Refused
                | FailureKind::Unresolved
                | FailureKind::Unreachable,
            ) => return Err(Verdict::WrongProtocol),
        }

        let databases = databases(&mut connection);
        climb
            .rung(RungName::GetAllDatabases, deadlines.get_all_databases, databases)
            .await
            .map_err(|_| Verdict::Database)?;
        let Some(TableName { database, table }) = canary else { return Ok(()) };
        let found = async {
            match connection.call("get_table", &[database, table]).await {
                Err(fault) if fault.absent => Ok(Err(fault.reason)),
                Err(fault) => Err(fault),
                Ok(_) => Ok(Ok(())),
            }
        };
        match climb.rung(RungName::GetTable, deadlines.get_table, found).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(reason)) => {
                climb.fail(FailureKind::Exception, &reason);
                Err(Verdict::CanaryMissing)
            }
            Err(_) => Err(Verdict::Database),
        }
    }

    async fn resolve(&self) -> Result<Vec<SocketAddr>, Fault> {
        match tokio::net::lookup_host((self.host.as_str(), self.port)).await {
            Ok(found) => Ok(found.collect()),
            Err(error) => Err(Fault::new(
                FailureKind::Unresolved,
                format!("{} does not resolve: {error}", self.host),
            )),
        }
    }
}

/// Asks for the status; the new connection when only framed transport was answered.
async fn status(
    connection: &mut Connection,
    addresses: &[SocketAddr],
) -> Result<Option<Connection>, Fault> {
    let closed = match connection.call("getStatus", &[]).await {
        Ok(value) => return alive(&value).map(|()| None),
        Err(fault) if fault.kind == FailureKind::ClosedWithoutReply => fault,
        Err(fault) => return Err(fault),
    };
    let mut framed = Connection::open(addresses).await.map_err(|_| closed.clone())?.framed();
    match framed.call("getStatus", &[]).await {
        Ok(value) => alive(&value).map(|()| Some(framed)),
        Err(_) => Err(closed),
    }
}

fn alive(value: &Value) -> Result<(), Fault> {
    let Value::Int(number) = *value else {
        return Err(Fault::new(FailureKind::Malformed, "the status is not a number".to_owned()));
    };
    let status = usize::try_from(number).ok().and_then(|n| STATUS.get(n).copied());
    match status {
        Some("ALIVE" | "WARNING") => Ok(()),
        Some(other) => Err(Fault::new(FailureKind::Exception, format!("its status is {other}"))),
        None => Err(Fault::new(FailureKind::Exception, format!("its status is {number}"))),
    }
}

async fn databases(connection: &mut Connection) -> Result<(), Fault> {
    let Value::List(_) = connection.call("get_all_databases", &[]).await? else {
        return Err(Fault::new(FailureKind::Malformed, "the databases are not a list".to_owned()));
    };
    Ok(())
}

struct Climb<'a> {
    clock: &'a Clock,
    deadlines: &'a Deadlines,
    end: Duration,
    rungs: Vec<Rung>,
}

impl Climb<'_> {
    /// Runs one rung within its deadline and what is left of the ladder's, and records it.
    async fn rung<T>(
        &mut self,
        name: RungName,
        deadline: Duration,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, FailureKind> {
        let start = self.clock.monotonic();
        let limit = deadline.min(self.end.saturating_sub(start));
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
        self.rungs.push(Rung {
            name,
            state: if late { RungState::Slow } else { RungState::Ok },
            latency_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            kind: None,
            reason: String::new(),
        });
        outcome.map_err(|fault| {
            self.fail(fault.kind, &fault.reason);
            fault.kind
        })
    }

    /// Turns the last rung into a failed one.
    fn fail(&mut self, kind: FailureKind, reason: &str) {
        if let Some(rung) = self.rungs.last_mut() {
            rung.state = RungState::Failed;
            rung.kind = Some(kind);
            rung.reason = one_line(reason);
        }
    }

    fn remark(&mut self, reason: &str) {
        if let Some(rung) = self.rungs.last_mut() {
            reason.clone_into(&mut rung.reason);
        }
    }
}

/// A server's words on one line, without control characters, cut.
fn one_line(text: &str) -> String {
    super::super::one_line(text, MAX_REASON)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_as_the_server_means_it() {
        let said = |n| alive(&Value::Int(n)).err().map(|fault| fault.reason);
        assert_eq!((said(2), said(5)), (None, None));
        assert_eq!(said(1).as_deref(), Some("its status is STARTING"));
        assert_eq!(said(-7).as_deref(), Some("its status is -7"));
        assert_eq!(alive(&Value::Bool(true)).unwrap_err().kind, FailureKind::Malformed);
    }

    #[test]
    fn a_servers_words_stay_on_one_line_and_short() {
        assert_eq!(
            one_line("MetaException:\n\tno\u{0}connection  \u{1b}[31m"),
            "MetaException: no connection [31m"
        );
        assert_eq!(one_line(&"ä".repeat(65_536)).chars().count(), MAX_REASON + 1);
    }
}
