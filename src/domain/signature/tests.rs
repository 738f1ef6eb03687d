//! Signatures from file to ranked, quoted verdicts.

use serde_json::json;

use super::*;
use crate::domain::evidence::{Findings, Origin, Passage};

fn book(yaml: &str) -> Result<Book, Vec<Problem>> {
    let file: spec::File = serde_saphyr::from_str(yaml).unwrap();
    Book::new(file.signatures.into_iter().map(|s| ("x.yaml".to_owned(), s)).collect())
}

fn evidence(kind: &str, value: Value, passages: Vec<Passage>) -> Evidence {
    Evidence {
        step: kind.replace('.', "_"),
        kind: kind.to_owned(),
        state: StepState::Done,
        reason: String::new(),
        findings: Findings { value, passages, summary: String::new() },
        duration_ms: 1,
    }
}

const TWO: &str = r#"
signatures:
  - id: test/cause
    title: "Executor {{executor}} died ({{why}}), {{count}} lines"
    owner: platform
    confidence: 0.6
    explains: [test/symptom]
    all:
      - { in: [driver_log], line: 'Lost executor (?P<executor>\d+)', then: 'reason: (?P<why>\w+)' }
    none:
      - { in: [driver_log], line: 'Worker shutting down' }
    remedy: "Raise it. password=hunter2"
  - id: test/symptom
    title: Fetch failed because of {{cause}}
    owner: user
    confidence: 0.9
    any:
      - { in: [driver_log], line: 'FetchFailed here' }
      - { in: [event], line: 'Evicted pod', confidence: 0.95 }
    if: found.spark_executors | length > 0
    remedy: Look above.
    docs: https://example.org/x
"#;

#[test]
fn verdicts_quote_their_lines_and_causes_come_first() {
    let log = "ok\n26/01/01 Lost executor 1 on h:\n\treason: OOMKilled token=abcdefgh\n26/01/01 Lost executor 2 on h:\n\
               \treason: OOMKilled\n26/01/01 FetchFailed here\nCaused by: a\nCaused by: b\n26/01/01 end\n";
    let evidence = [
        evidence("kube.logs", json!({}), vec![Passage::new(Origin::DriverLog, "driver d", log)]),
        evidence(
            "spark.executors",
            json!({}),
            vec![Passage::new(Origin::Event, "events", "Evicted pod/x")],
        ),
    ];
    let verdicts = book(TWO).unwrap().diagnose(&evidence, &[]);
    insta::assert_snapshot!(serde_json::to_string_pretty(&verdicts).unwrap(), @r#"
        [
          {
            "id": "test/cause",
            "title": "Executor 1, 2 died (OOMKilled), 2 lines",
            "confidence": 0.6,
            "owner": "platform",
            "evidence": [
              {
                "origin": "driver_log",
                "source": "driver d",
                "line": 2,
                "quote": "26/01/01 Lost executor 1 on h:"
              },
              {
                "origin": "driver_log",
                "source": "driver d",
                "line": 3,
                "quote": "\treason: OOMKilled token=***"
              },
              {
                "origin": "driver_log",
                "source": "driver d",
                "line": 4,
                "quote": "26/01/01 Lost executor 2 on h:"
              },
              {
                "origin": "driver_log",
                "source": "driver d",
                "line": 5,
                "quote": "\treason: OOMKilled"
              }
            ],
            "remedy": "Raise it. password=***",
            "explains": [
              "test/symptom"
            ]
          },
          {
            "id": "test/symptom",
            "title": "Fetch failed because of b",
            "confidence": 0.95,
            "owner": "user",
            "evidence": [
              {
                "origin": "driver_log",
                "source": "driver d",
                "line": 6,
                "quote": "26/01/01 FetchFailed here"
              },
              {
                "origin": "driver_log",
                "source": "driver d",
                "line": 8,
                "quote": "Caused by: b"
              },
              {
                "origin": "event",
                "source": "events",
                "line": 0,
                "quote": "Evicted pod/x"
              }
            ],
            "remedy": "Look above.",
            "docs": "https://example.org/x"
          }
        ]
    "#);
    let only = book(TWO).unwrap().diagnose(&evidence, &["test/symptom".to_owned()]);
    assert_eq!(only.len(), 1);
}

#[test]
fn a_contradiction_a_failed_condition_or_silence_give_no_verdict() {
    let book = book(TWO).unwrap();
    let log = |text: &str| {
        vec![evidence("kube.logs", json!({}), vec![Passage::new(Origin::DriverLog, "d", text)])]
    };
    for silent in [
        "",
        "Lost executor 1",
        "Lost executor 1\nreason: x\nWorker shutting down",
        "FetchFailed here",
    ] {
        assert_eq!(book.diagnose(&log(silent), &[]), [], "{silent}");
    }
    let mut failed = log("Lost executor 1\nreason: x");
    failed[0].state = StepState::Failed;
    assert_eq!(book.diagnose(&failed, &[]), []);
}

#[test]
fn mistakes_in_a_book_are_found_with_their_place() {
    let bad = r#"
signatures:
  - id: Bad
    title: "{{exceutor}}"
    owner: user
    confidence: 3
    explains: [test/nothing]
    remedy: x
  - id: test/a
    title: a
    owner: user
    confidence: 1
    explains: [test/b]
    any: [{ in: [], line: '(?i)x' }, { in: [event], line: '(' }, { in: [event], line: abcd, within: 0 }]
    if: steps.x
    remedy: x
    docs: ftp://x
  - id: test/b
    title: b
    owner: user
    confidence: 1
    explains: [test/*]
    any: [{ in: [event], line: abcd }]
    remedy: x
"#;
    let problems = book(bad).unwrap_err();
    let said: Vec<String> = problems
        .iter()
        .map(|p| format!("{}:{}:{} {}", p.file, p.line, p.column, p.message))
        .collect();
    insta::assert_snapshot!(said.join("\n"), @r"
        x.yaml:3:9 write an id like spark/executor/oom-killed
        x.yaml:6:17 confidence is above 0 and at most 1
        x.yaml:3:9 a signature needs a line in `all` or `any`: a verdict quotes its evidence
        x.yaml:4:12 there is no `exceutor` here; there is cause, source, count
        x.yaml:7:16 no signature is called `test/nothing`
        x.yaml:17:11 write an https:// address
        x.yaml:15:9 there is no `steps.x` here; there is only found.<kind>
        x.yaml:14:27 `in` is empty; say where to look
        x.yaml:14:27 this regex has no fixed part of four characters; without one every line would have to be tried
        x.yaml:14:59 bad regex: unclosed group
        x.yaml:14:101 `within` is 1 to 200 lines
        x.yaml:9:9 `test/a` explains itself in a circle
        x.yaml:18:9 `test/b` explains itself in a circle
    ");
}

#[test]
fn the_scan_finds_exactly_what_trying_every_line_would_find() {
    let patterns =
        ["Lost executor (\\S+)", "exit code (\\d+)\\(", "FetchFailed|Evicted", "reason: O+MKilled"];
    let text = "x Lost executor 1 Lost executor 2\nexit code 137(SIG\nexit code x(\nFetchFailed Evicted\nEvicted\n\
                reason: OOMKilled\nreason: OMKilled Lost executor";
    let scanner = Scanner::new(
        patterns
            .iter()
            .map(|line| scan::Pattern {
                origins: vec![Origin::DriverLog],
                by: vec![],
                unless: None,
                keep: scan::Keep::First,
                line: regex::Regex::new(line).unwrap(),
                then: None,
                literals: literal::required(line).unwrap(),
            })
            .collect(),
    )
    .unwrap();
    let mut hits = scanner.nothing();
    let piece = Piece { source: 0, origin: Origin::DriverLog, first_line: 1, text };
    scanner.scan(piece, &mut hits);
    for (pattern, hits) in patterns.iter().zip(hits) {
        let regex = regex::Regex::new(pattern).unwrap();
        let expected: Vec<&str> = text.lines().filter(|line| regex.is_match(line)).collect();
        let found: Vec<&str> = hits.iter().map(|hit| hit.text.as_str()).collect();
        assert_eq!(found, expected, "{pattern}");
    }
}

const HANDLED: &str = r"
signatures:
  - id: test/form
    title: It ended in {{error}}
    owner: user
    confidence: 0.9
    last_resort: true
    any: [{ in: [driver_log], line: '^Traceback', then: '^(?P<error>\w+Error)' }]
    overcome_by: [{ in: [driver_log], by: [SparkContext], line: '^Starting job' }]
    remedy: x
  - id: test/cause
    title: y
    owner: infra
    confidence: 0.5
    explains: [test/form]
    any: [{ in: [event], line: 'Evicted pod' }]
    remedy: x
";

#[test]
fn what_was_overcome_later_does_not_count_and_a_form_gives_way_to_its_cause() {
    let book = book(HANDLED).unwrap();
    let ids = |log: &str, event: &str| {
        let passages = vec![
            Passage::new(Origin::DriverLog, "d", log),
            Passage::new(Origin::Event, "e", event),
        ];
        let verdicts = book.diagnose(&[evidence("kube.logs", json!({}), passages)], &[]);
        verdicts.iter().map(|v| v.title.clone()).collect::<Vec<_>>().join(", ")
    };
    let caught = "Traceback\nKeyError: a\n";
    let goes_on = "26/01/01 10:00:00 INFO SparkContext: Starting job: count\n";
    assert_eq!(ids(caught, ""), "It ended in KeyError");
    assert_eq!(ids(&format!("{caught}{goes_on}"), ""), "");
    assert_eq!(ids(&format!("{caught}{goes_on}Traceback\nOSError: b"), ""), "It ended in OSError");
    assert_eq!(ids(&format!("{goes_on}{caught}"), ""), "It ended in KeyError");
    assert_eq!(ids(caught, "Evicted pod"), "y");
    let many = format!("{}{goes_on}Traceback\nOSError: b", caught.repeat(500));
    assert_eq!(ids(&many, ""), "It ended in OSError");
}

#[test]
fn a_text_read_in_pieces_gives_the_verdict_of_the_whole() {
    let book = book(TWO).unwrap();
    let entry = "26/01/01 Lost executor 1 on h:\n\treason: OOMKilled\n";
    let log = entry.repeat(3);
    let mut search = book.search();
    let source = search.source(Origin::DriverLog, "d", false);
    for nth in 0..3 {
        search.read(source, 1 + nth * 2, entry);
    }
    let whole = [evidence("kube.logs", json!({}), vec![Passage::new(Origin::DriverLog, "d", log)])];
    assert_eq!(search.end(), book.diagnose(&whole, &[]));
}
