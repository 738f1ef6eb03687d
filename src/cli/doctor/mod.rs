//! `paramedic doctor`: would the daemon work with this configuration? Every dependency is asked as the daemon would ask it,
//! all at once, each for a bounded time; nothing is changed anywhere.
//!
//! One line each: what, how it stands, and what to do. Exit code 1 when something would fail.

mod chat;
mod clusters;
mod local;
mod services;

use std::{fmt, future::Future, io::Write, path::PathBuf, process::ExitCode, time::Duration};

use jiff::{SignedDuration, Timestamp, civil::Date};
use serde::Serialize;

use super::{Output, wire};
use crate::{
    clients::{self, kube::one_line},
    config::Config,
    ops::clock::Clock,
    playbook::needs::Needs,
};

/// Longest time any one dependency may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Clocks this far apart are told; an answer's `Date` has whole seconds.
const SKEW_WARN: SignedDuration = SignedDuration::from_secs(5);
/// Clocks this far apart break signatures and the order of events.
const SKEW_FAIL: SignedDuration = SignedDuration::from_secs(60);

/// Checks everything the daemon depends on
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Configuration file; without one, `$PARAMEDIC_CONFIG`, else the defaults
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A namespace that alerts come from, where permissions are checked; repeat it for each. Default: the whole cluster
    #[arg(long, value_name = "NAMESPACE")]
    pub namespace: Vec<String>,
    /// How to answer
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As it should be.
    Ok,
    /// It works, but not all of it, or not for long.
    Warn,
    /// The daemon could not use it.
    Fail,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How it stands.
    pub state: State,
    /// What was looked at: `cluster prod`.
    pub what: String,
    /// How it stands, in words.
    pub says: String,
    /// What to do; empty when nothing is to be done.
    pub remedy: String,
}

impl Finding {
    fn new(state: State, what: &str, says: impl AsRef<str>, remedy: impl AsRef<str>) -> Self {
        Self {
            state,
            what: one_line(what, 120),
            says: one_line(says.as_ref(), 1_500),
            remedy: one_line(remedy.as_ref(), 400),
        }
    }

    fn ok(what: &str, says: impl AsRef<str>) -> Self {
        Self::new(State::Ok, what, says, "")
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { state, what, says, remedy } = self;
        let word = match state {
            State::Ok => "ok  ",
            State::Warn => "warn",
            State::Fail => "FAIL",
        };
        write!(f, "{word}  {what}: {says}")?;
        if remedy.is_empty() { Ok(()) } else { write!(f, " -> {remedy}") }
    }
}

/// What a look at one dependency brought.
#[derive(Debug, Default)]
struct Seen {
    findings: Vec<Finding>,
    /// Clocks of others: whose, and how far ahead of ours.
    clocks: Vec<(String, SignedDuration)>,
}

impl Seen {
    fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    fn clock(&mut self, whose: &str, theirs: Option<Timestamp>, ours: Timestamp) {
        if let Some(theirs) = theirs {
            self.clocks.push((whose.to_owned(), theirs.duration_since(ours)));
        }
    }

    fn merge(&mut self, other: Self) {
        self.findings.extend(other.findings);
        self.clocks.extend(other.clocks);
    }
}

impl From<Finding> for Seen {
    fn from(finding: Finding) -> Self {
        Self { findings: vec![finding], clocks: vec![] }
    }
}

/// What every look needs.
struct Doctor<'a> {
    config: &'a Config,
    http: clients::http::Client,
    clock: Clock,
    needs: Needs,
    namespaces: &'a [String],
}

/// Runs it.
pub async fn run(
    args: &Args,
    clock: Clock,
    today: Date,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let found = match Config::from_process(args.config.as_deref()) {
        Ok(config) => examine(&config, &args.namespace, clock, today).await,
        Err(error) => {
            let remedy = "correct it; `paramedic check --config FILE` checks it alone";
            vec![Finding::new(State::Fail, "configuration", error.to_string(), remedy)]
        }
    };
    print(&found, args.output, out)
}

/// Looks at everything a configuration names.
pub async fn examine(
    config: &Config,
    namespaces: &[String],
    clock: Clock,
    today: Date,
) -> Vec<Finding> {
    let (mut seen, needs) = local::files(config, clock.now(), today);
    let http = wire::guard(config).and_then(|guard| Ok(clients::http::Client::new(guard)?));
    let http = match http {
        Ok(http) => http,
        Err(error) => {
            seen.add(Finding::new(
                State::Fail,
                "egress",
                format!("{error:#}"),
                "correct `egress.allow`",
            ));
            return seen.findings;
        }
    };
    let doctor = Doctor { config, http, clock, needs, namespaces };
    seen.merge(local::machine(&doctor).await);
    let (clusters, sources, slack, matrix) = tokio::join!(
        clusters::all(&doctor),
        services::sources(&doctor),
        chat::slack(&doctor),
        chat::matrix(&doctor)
    );
    for part in [clusters, sources, slack, matrix] {
        seen.merge(part);
    }
    seen.merge(clocks(&seen.clocks));
    seen.findings
}

/// Bounds a look; one that takes too long is a failure.
async fn bounded(what: &str, look: impl Future<Output = Seen>) -> Seen {
    let remedy = "is the address right, and does a firewall drop the packets?";
    tokio::time::timeout(TIMEOUT, look).await.unwrap_or_else(|_| {
        let says = format!("no answer within {} s", TIMEOUT.as_secs());
        Finding::new(State::Fail, what, says, remedy).into()
    })
}

fn clocks(clocks: &[(String, SignedDuration)]) -> Seen {
    let remedy = "let NTP run on both machines";
    let mut seen = Seen::default();
    for (whose, ahead) in clocks {
        let state = match ahead.abs() {
            off if off > SKEW_FAIL => State::Fail,
            off if off > SKEW_WARN => State::Warn,
            _ => continue,
        };
        let word = if ahead.is_positive() { "ahead of" } else { "behind" };
        let says = format!("{whose} is {} s {word} this machine", ahead.abs().as_secs());
        seen.add(Finding::new(state, "clock", says, remedy));
    }
    if seen.findings.is_empty() && !clocks.is_empty() {
        let says = format!("within {} s of {} others", SKEW_WARN.as_secs(), clocks.len());
        seen.add(Finding::ok("clock", says));
    }
    seen
}

fn print(found: &[Finding], output: Output, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let count = |state: State| found.iter().filter(|finding| finding.state == state).count();
    match output {
        Output::Json => writeln!(out, "{}", serde_json::to_string_pretty(found)?)?,
        Output::Text => {
            for finding in found {
                writeln!(out, "{finding}")?;
            }
            let (ok, warn, fail) = (count(State::Ok), count(State::Warn), count(State::Fail));
            writeln!(out, "{ok} ok, {warn} to look at, {fail} failed")?;
        }
    }
    Ok(if count(State::Fail) > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_are_far_apart_fail_and_near_ones_are_one_line() {
        let off = |seconds: i64| ("cluster prod".to_owned(), SignedDuration::from_secs(seconds));
        let said = |all: &[(String, SignedDuration)]| {
            let lines: Vec<_> = clocks(all).findings.iter().map(ToString::to_string).collect();
            lines.join("\n")
        };
        assert_eq!(said(&[off(-1), off(4)]), "ok    clock: within 5 s of 2 others");
        assert_eq!(
            said(&[off(0), off(-7)]),
            "warn  clock: cluster prod is 7 s behind this machine -> let NTP run on both machines"
        );
        assert_eq!(
            said(&[off(3_600)]),
            "FAIL  clock: cluster prod is 3600 s ahead of this machine -> let NTP run on both machines"
        );
        assert_eq!(said(&[]), "");
    }

    #[test]
    fn a_hostile_answer_stays_one_short_line() {
        let finding = Finding::new(State::Warn, "x\ny", "a\0\u{1b}[31m\n".repeat(1_000), "r");
        let line = finding.to_string();
        assert!(line.len() < 4_000 && !line.contains(['\n', '\0', '\u{1b}']), "{line}");
    }
}
