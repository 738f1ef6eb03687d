//! What channels do over HTTP, against strict fakes: deliver, edit, thread, fail as the other side fails, and look before
//! they repeat.

mod matrix;
mod matrix_pull;
mod slack;
mod webhook;

use std::time::Duration;

use jiff::Timestamp;
use paramedic::{
    clients::http::{Client, Guard},
    domain::{
        card::{Action, Card, Link, Verb},
        evidence::Origin,
        ids::IncidentId,
        severity::Severity,
        verdict::{Owner, Quote, Verdict},
    },
    notify::{Delivery, Message, Note, Outcome, Page, Receipt, Result},
    ops::clock::{Clock, Manual},
};

/// A slow test machine is not a failure.
const PATIENCE: Duration = Duration::from_secs(20);

fn clock() -> (Clock, Manual) {
    Clock::manual("2026-11-23T03:16:15Z".parse().unwrap())
}

fn http() -> Client {
    Client::new(Guard::default()).unwrap()
}

fn card(revision: i64) -> Card {
    let at = |text: &str| -> Timestamp { text.parse().unwrap() };
    Card {
        incident: IncidentId(12),
        revision,
        round: 3,
        title: "SparkExecutorLost · spark-prod".to_owned(),
        severity: Severity::P1,
        status: "triggered".to_owned(),
        since: at("2026-11-23T03:12:05Z"),
        at: at("2026-11-23T03:16:15Z"),
        summary: format!("revision {revision} of <!channel> & friends"),
        labels: vec![("namespace".to_owned(), "spark-prod".to_owned())],
        members: "3 firing".to_owned(),
        verdicts: vec![Verdict {
            id: "spark/executor/oom-killed".to_owned(),
            title: "Executor killed: memory".to_owned(),
            confidence: 0.96,
            owner: Owner::Platform,
            evidence: vec![Quote {
                origin: Origin::PodStatus,
                source: "executor 3".to_owned(),
                line: 118,
                quote: "terminated: reason=OOMKilled exitCode=137 ```<script>".to_owned(),
            }],
            remedy: "Raise `spark.executor.memoryOverhead`.".to_owned(),
            explains: vec![],
            docs: None,
        }],
        diagnosis: "diagnosis finished".to_owned(),
        parts: vec![],
        caveats: vec![],
        history: vec!["03:12:10 paged Ana Lima by slack: delivered".to_owned()],
        next: "Raj Patel at 03:17:05 UTC".to_owned(),
        links: vec![Link { label: "Runbook".to_owned(), url: "https://x.org/r".to_owned() }],
        actions: Verb::ALL.map(|verb| Action { verb, done_by: String::new() }).to_vec(),
    }
}

fn card_message(revision: i64) -> Message {
    Message::Card(card(revision))
}

fn note() -> Message {
    Message::Evidence(Note {
        title: "executor 3, log".to_owned(),
        body: "line 1\nline 2 ```".to_owned(),
        mention: String::new(),
    })
}

fn page() -> Message {
    Message::Page(Page {
        card: card(1),
        person: "Ana Lima".to_owned(),
        why: "step 1 of policy data-platform".to_owned(),
        remark: String::new(),
    })
}

fn delivery<'a>(
    key: &'a str,
    address: &'a str,
    message: &'a Message,
    card: Option<&'a Receipt>,
) -> Delivery<'a> {
    Delivery { key, address, message, card, unclear: false }
}

fn again<'a>(first: &Delivery<'a>) -> Delivery<'a> {
    Delivery { unclear: true, ..first.clone() }
}

fn outcome(result: Result) -> Outcome {
    result.expect_err("this send must fail").outcome
}

fn later(seconds: u64) -> Outcome {
    Outcome::Retry { after: Some(Duration::from_secs(seconds)) }
}
