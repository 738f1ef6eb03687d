//! What a person sees in the terminal, and what hostile text cannot do there.

use std::io;

use super::{super::samples, *};

/// A writer whose content the test can read.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // One byte at a time, so that an unlocked writer would interleave.
        self.0.lock().unwrap().push(bytes[0]);
        Ok(1)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn delivery<'a>(key: &'a str, message: &'a Message) -> Delivery<'a> {
    Delivery { key, address: "", message, card: None, unclear: false }
}

#[test]
fn a_card_can_be_read_at_three_in_the_morning() {
    insta::assert_snapshot!(render(&Message::Card(samples::card()), false), @r"
    ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━
    P1 TRIGGERED · SparkExecutorLost · spark-prod · INC-12
    since 03:12:05 UTC (4m 10s) · 3 firing, 1 resolved
    etl-nightly keeps losing executors
    namespace=spark-prod  app=etl-nightly

    Verdict    Executor killed by the kernel: container memory limit
               96 % sure, for the platform team
               executor 3 (pod etl-exec-3):
               │ pod etl-exec-3 container spark-kubernetes-executor terminated: reason=OOMKilled
               │ exitCode=137
               driver etl-driver, line 118:
               │ ERROR TaskSchedulerImpl: Lost executor 3 on 10.1.2.3: exit code 137 (SIGKILL, possible
               │ container OOM)
    Do         Raise `spark.executor.memoryOverhead` to 2g.
               - see tuning https://docs.example.org/oom
               - or fewer cores per executor
    More       https://docs.example.org/oom

    Also       Shuffle files lost with their executor
               60 % sure, for the job's author, explained by the first
               driver etl-driver, line 131:
               │ FetchFailed(BlockManagerId(3, 10.1.2.3, 7079, None), shuffleId=0, mapId=1)

    Diagnosis  diagnosis finished
    Next       Raj Patel at 03:17:05 UTC by slack, then sms
    So far     03:12:10 paged Ana Lima by slack: delivered
               03:13:02 playbook spark-executor-lost: 2 verdicts
    Done       Ack: Ana Lima 03:14
    Caution    log of executor 3 was already gone; its last 200 lines come from the recorder

    Runbook    https://runbooks.example.org/spark?a=1&b=2
    Incident   https://paramedic.example.org/incidents/12
    ");
}

#[test]
fn a_page_is_marked_as_one() {
    let page = render(&Message::Page(samples::page()), false);
    insta::assert_snapshot!(page.lines().take(5).collect::<Vec<_>>().join("\n"), @r"
    ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━
    >>> PAGE for Ana Lima (late by 4m: the store was unreachable) <<<
    step 1 of policy data-platform, on call for schedule primary

    P1 TRIGGERED · SparkExecutorLost · spark-prod · INC-12
    ");
}

#[test]
fn evidence_stands_behind_a_bar() {
    insta::assert_snapshot!(render(&Message::Evidence(samples::note()), false), @r"
    ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━
    driver etl-driver, log, last 2 lines
    │ 03:12:01 WARN  TaskSetManager: Lost task 3.0 in stage 1.0 (TID 7)
    │ 03:12:02 ERROR a < b && c ```rm -rf```
    ");
}

#[test]
fn a_card_without_a_verdict_says_why() {
    let card = Card {
        verdicts: vec![],
        diagnosis: "no playbook matched".to_owned(),
        severity: Severity::P3,
        status: "resolved".to_owned(),
        since: samples::at("2026-11-20T23:00:00Z"),
        labels: vec![],
        members: String::new(),
        parts: vec![],
        caveats: vec![],
        history: vec![],
        next: String::new(),
        actions: vec![],
        ..samples::card()
    };
    insta::assert_snapshot!(render(&Message::Card(card), false), @r"
    ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━
    P3 RESOLVED · SparkExecutorLost · spark-prod · INC-12
    since 2026-11-20 23:00:00 UTC (2d 4h)
    etl-nightly keeps losing executors

    Diagnosis  no playbook matched

    Runbook    https://runbooks.example.org/spark?a=1&b=2
    Incident   https://paramedic.example.org/incidents/12
    ");
}

#[test]
fn colour_adds_nothing_but_colour() {
    let message = Message::Page(samples::page());
    let mut plain = render(&message, true);
    for code in [
        "\u{1b}[1m",
        "\u{1b}[2m",
        "\u{1b}[36m",
        "\u{1b}[32m",
        "\u{1b}[33m",
        "\u{1b}[1;31m",
        "\u{1b}[0m",
    ] {
        assert!(plain.contains(code), "{code:?} is not used");
        plain = plain.replace(code, "");
    }
    let trimmed: String = plain.lines().flat_map(|l| [l.trim_end(), "\n"]).collect();
    assert_eq!(trimmed, render(&message, false));
}

#[test]
fn hostile_text_neither_controls_the_terminal_nor_fills_it() {
    for message in samples::all_hostile() {
        let shown = render(&message, false);
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown}");
        assert!(shown.lines().count() < 1_000, "{} lines", shown.lines().count());
        let wide = shown.lines().find(|l| paper::columns(l) > paper::WIDTH);
        assert!(wide.is_none_or(|l| l.contains("https://")), "{wide:?}");
    }
}

#[tokio::test]
async fn messages_are_written_whole_and_never_mixed() {
    let out = Shared::default();
    let console = Console::new(out.clone(), false);
    let (card, note) = (Message::Card(samples::card()), Message::Evidence(samples::note()));
    let (first, second) = (delivery("a", &card), delivery("b", &note));
    let (a, b) = futures::join!(console.send(&first), console.send(&second));
    assert_eq!((a.unwrap().id, b.unwrap().id), ("a".to_owned(), "b".to_owned()));
    let written = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
    let (card, note) = (render(&card, false), render(&note, false));
    assert!(written == format!("{card}{note}") || written == format!("{note}{card}"), "{written}");
}

#[tokio::test]
async fn a_closed_output_is_a_permanent_failure() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let message = Message::Evidence(samples::note());
    let failure = Console::new(Closed, false).send(&delivery("a", &message)).await.unwrap_err();
    insta::assert_snapshot!(failure, @"the console cannot be written to: broken pipe");
    assert_eq!(failure.outcome, Outcome::Permanent);
}
