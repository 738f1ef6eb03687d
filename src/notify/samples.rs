//! Messages for the tests of every channel: a usual one, and a hostile one.

use jiff::Timestamp;

use super::{Message, Note, Page};
use crate::domain::{
    card::{Action, Card, Link, Verb},
    evidence::Origin,
    ids::IncidentId,
    severity::Severity,
    verdict::{Owner, Quote, Verdict},
};

pub(super) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A dying Spark job at 03:12.
pub(super) fn card() -> Card {
    Card {
        incident: IncidentId(12),
        revision: 7,
        round: 3,
        title: "SparkExecutorLost · spark-prod".to_owned(),
        severity: Severity::P1,
        status: "triggered".to_owned(),
        since: at("2026-11-23T03:12:05Z"),
        at: at("2026-11-23T03:16:15Z"),
        summary: "etl-nightly keeps losing executors".to_owned(),
        labels: vec![
            ("namespace".to_owned(), "spark-prod".to_owned()),
            ("app".to_owned(), "etl-nightly".to_owned()),
        ],
        members: "3 firing, 1 resolved".to_owned(),
        verdicts: vec![oom(), fetch_failed()],
        diagnosis: "diagnosis finished".to_owned(),
        parts: vec![],
        caveats: vec![
            "log of executor 3 was already gone; its last 200 lines come from the recorder"
                .to_owned(),
        ],
        history: vec![
            "03:12:10 paged Ana Lima by slack: delivered".to_owned(),
            "03:13:02 playbook spark-executor-lost: 2 verdicts".to_owned(),
        ],
        next: "Raj Patel at 03:17:05 UTC by slack, then sms".to_owned(),
        links: vec![
            Link {
                label: "Runbook".to_owned(),
                url: "https://runbooks.example.org/spark?a=1&b=2".to_owned(),
            },
            Link {
                label: "Incident".to_owned(),
                url: "https://paramedic.example.org/incidents/12".to_owned(),
            },
        ],
        actions: Verb::ALL
            .map(|verb| Action {
                verb,
                done_by: if verb == Verb::Ack {
                    "Ana Lima 03:14".to_owned()
                } else {
                    String::new()
                },
            })
            .to_vec(),
    }
}

fn oom() -> Verdict {
    Verdict {
        id: "spark/executor/oom-killed".to_owned(),
        title: "Executor killed by the kernel: container memory limit".to_owned(),
        confidence: 0.96,
        owner: Owner::Platform,
        evidence: vec![
            Quote {
                origin: Origin::PodStatus,
                source: "executor 3 (pod etl-exec-3)".to_owned(),
                line: 0,
                quote: "pod etl-exec-3 container spark-kubernetes-executor terminated: reason=OOMKilled exitCode=137".to_owned(),
            },
            Quote {
                origin: Origin::DriverLog,
                source: "driver etl-driver".to_owned(),
                line: 118,
                quote: "ERROR TaskSchedulerImpl: Lost executor 3 on 10.1.2.3: exit code 137 (SIGKILL, possible container OOM)".to_owned(),
            },
        ],
        remedy: "Raise `spark.executor.memoryOverhead` to **2g**.\n- see [tuning](https://docs.example.org/oom)\n- or fewer cores per executor".to_owned(),
        explains: vec!["spark/shuffle/fetch-failed".to_owned()],
        docs: Some("https://docs.example.org/oom".to_owned()),
    }
}

fn fetch_failed() -> Verdict {
    Verdict {
        id: "spark/shuffle/fetch-failed".to_owned(),
        title: "Shuffle files lost with their executor".to_owned(),
        confidence: 0.6,
        owner: Owner::User,
        evidence: vec![Quote {
            origin: Origin::DriverLog,
            source: "driver etl-driver".to_owned(),
            line: 131,
            quote: "FetchFailed(BlockManagerId(3, 10.1.2.3, 7079, None), shuffleId=0, mapId=1)"
                .to_owned(),
        }],
        remedy: "Nothing: the retry follows from the lost executor.".to_owned(),
        explains: vec![],
        docs: None,
    }
}

pub(super) fn page() -> Page {
    Page {
        card: Card {
            actions: Verb::ALL.map(|verb| Action { verb, done_by: String::new() }).to_vec(),
            ..card()
        },
        person: "Ana Lima".to_owned(),
        why: "step 1 of policy data-platform, on call for schedule primary".to_owned(),
        remark: "late by 4m: the store was unreachable".to_owned(),
    }
}

pub(super) fn note() -> Note {
    Note {
        title: "driver etl-driver, log, last 2 lines".to_owned(),
        body: "03:12:01 WARN  TaskSetManager: Lost task 3.0 in stage 1.0 (TID 7)\n03:12:02 ERROR a < b && c ```rm -rf```\n".to_owned(),
        mention: String::new(),
    }
}

/// A message whose every text is `text`, with far too many of everything.
pub(super) fn hostile(text: &str, many: usize) -> [Message; 3] {
    let texts = vec![text.to_owned(); many];
    let quote =
        Quote { origin: Origin::Event, source: text.to_owned(), line: 7, quote: text.to_owned() };
    let verdict = Verdict {
        title: text.to_owned(),
        confidence: f64::NAN,
        evidence: vec![quote; many.min(8)],
        remedy: text.to_owned(),
        docs: Some(text.to_owned()),
        ..oom()
    };
    let card = Card {
        title: text.to_owned(),
        status: text.to_owned(),
        summary: text.to_owned(),
        labels: vec![(text.to_owned(), text.to_owned()); many],
        members: text.to_owned(),
        verdicts: vec![verdict; many],
        diagnosis: text.to_owned(),
        parts: texts.clone(),
        caveats: texts.clone(),
        history: texts,
        next: text.to_owned(),
        links: vec![Link { label: text.to_owned(), url: format!("https://x.org/{text}") }; many],
        actions: [true, false]
            .into_iter()
            .cycle()
            .take(many * 2)
            .zip(Verb::ALL.into_iter().cycle())
            .map(|(done, verb)| Action {
                verb,
                done_by: if done { text.to_owned() } else { String::new() },
            })
            .collect(),
        ..card()
    };
    let page = Page {
        card: card.clone(),
        person: text.to_owned(),
        why: text.to_owned(),
        remark: text.to_owned(),
    };
    let note = Note { title: text.to_owned(), body: text.to_owned(), mention: text.to_owned() };
    [Message::Card(card), Message::Page(page), Message::Evidence(note)]
}

/// Each nasty text as it is, repeated in many places, and as long as an attacker gets it.
pub(super) fn all_hostile() -> impl Iterator<Item = Message> {
    NASTY.into_iter().flat_map(|nasty| {
        let sizes = [(nasty.to_owned(), 1), (nasty.repeat(8), 40), (nasty.repeat(900), 2)];
        sizes.into_iter().flat_map(|(text, many)| hostile(&text, many))
    })
}

/// Texts that have broken chats before.
pub(super) const NASTY: [&str; 8] = [
    "",
    "\0\u{1b}[2J\u{202e}",
    "<!channel> <@U024BE7LH> <script>alert(1)</script> &amp; @room @channel",
    "``` ` ```` ```\n```",
    "*_~|[]()!#",
    "</code></pre><img src=x onerror=alert(1)>",
    "\"\\\r\n\u{2028}",
    "🧯日本語",
];
