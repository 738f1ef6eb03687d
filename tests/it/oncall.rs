//! From the on-call files to the answers of `oncall now` and `whatif`.

use std::{fs, path::Path};

use jiff::Timestamp;
use paramedic::{
    cli::{oncall::Now, whatif::Whatif},
    config::Config,
    domain::{
        oncall::{HoldKind, OnCall, PageTarget},
        schedule::PersonId,
        severity::Severity,
    },
    playbook::{
        diagnostic::Diagnostic,
        oncall::{Loaded, Outside, load},
    },
};
use tempfile::TempDir;

const EXAMPLE: &str = include_str!("../../deploy/examples/oncall.yaml");

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn outside() -> Outside {
    let set = |words: &[&str]| words.iter().map(ToString::to_string).collect();
    Outside {
        channels: set(&["spark-oncall", "data-eng"]),
        transports: set(&["console", "slack", "matrix"]),
        default_policy: Some("data-platform".to_owned()),
        now: at("2026-11-30T12:00:00Z"),
    }
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn read(files: &[(&str, &str)]) -> Result<Loaded, Vec<Diagnostic>> {
    let folder = folder(files);
    load(folder.path(), &outside())
}

/// What is said about the example with one thing changed, without the temporary folder's name.
fn said(change: (&str, &str)) -> String {
    assert!(EXAMPLE.contains(change.0), "{}", change.0);
    let folder = folder(&[("oncall.yaml", &EXAMPLE.replace(change.0, change.1))]);
    let found = match load(folder.path(), &outside()) {
        Ok(loaded) => loaded.warnings,
        Err(found) => found,
    };
    let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
    shown.join("\n").replace(&format!("{}/", folder.path().display()), "")
}

fn example() -> OnCall {
    read(&[("oncall.yaml", EXAMPLE)]).unwrap().oncall
}

#[test]
fn the_shipped_examples_fit_together_without_a_warning() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/examples");
    let loaded = load(&examples.join("oncall.yaml"), &outside()).unwrap();
    assert_eq!(loaded.warnings, []);
    // Its secrets are not here; everything before them is right.
    let config = Config::load(Some(&examples.join("paramedic.yaml")), std::iter::empty());
    let error = config.unwrap_err().to_string();
    assert!(
        error.starts_with("server.tokens.ops.secret: cannot read the file /run/secrets/"),
        "{error}"
    );
}

#[test]
fn oncall_now_says_who_until_when_and_who_is_next() {
    let now = Now::default().run(&example(), at("2026-12-23T12:00:00Z")).unwrap();
    insta::assert_snapshot!(now, @r"
    schedule   on call          until                     next
    primary    Mei Chen (mei)   Fri 2026-12-25 22:00 CET  Raj Patel (raj)
    secondary  Raj Patel (raj)  Mon 2026-12-28 09:00 CET  Mei Chen (mei)
    ");
    let gone = Now {
        at: Some("2026-12-25 03:12 Europe/Berlin".to_owned()),
        schedule: Some("primary".to_owned()),
    };
    let gone = gone.run(&example(), Timestamp::UNIX_EPOCH).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&gone).unwrap(), @r#"
    {
      "at": "2026-12-25T02:12:00Z",
      "schedules": [
        {
          "schedule": "primary",
          "time_zone": "Europe/Berlin",
          "on_call": [
            {
              "id": "mei",
              "name": "Mei Chen"
            }
          ],
          "until": "2026-12-25T21:00:00Z",
          "next": [
            {
              "id": "raj",
              "name": "Raj Patel"
            }
          ]
        }
      ]
    }
    "#);
}

#[test]
fn a_question_that_cannot_be_answered_says_what_can() {
    let ask = |at: Option<&str>, schedule: Option<&str>| {
        let now = Now { at: at.map(ToOwned::to_owned), schedule: schedule.map(ToOwned::to_owned) };
        now.run(&example(), Timestamp::UNIX_EPOCH).unwrap_err().to_string()
    };
    insta::assert_snapshot!(ask(None, Some("primry")), @"there is no schedule `primry`; did you mean primary?");
    insta::assert_snapshot!(ask(Some("tomorrow"), None), @r#"`tomorrow` is not a time; write "2026-12-25 03:12 Europe/Berlin" or 2026-12-25T02:12:00Z"#);
    insta::assert_snapshot!(ask(Some("2026-12-25 03:12 CET"), None), @"`CET` is an abbreviation without daylight-saving rules; write the place: Europe/Berlin");
    for odd in ["", "\0", "2026-13-01 00:00", &"9".repeat(1 << 16)] {
        assert!(ask(Some(odd), Some("primary")).len() < 300);
    }
}

fn whatif(severity: Severity, time: &str) -> paramedic::cli::whatif::Story {
    let ask = Whatif { policy: "data-platform".to_owned(), severity, at: Some(time.to_owned()) };
    ask.run(&example(), Timestamp::UNIX_EPOCH).unwrap()
}

#[test]
fn whatif_tells_the_night_as_it_would_go() {
    insta::assert_snapshot!(whatif(Severity::P1, "2026-12-25 03:12 Europe/Berlin"), @r"
    P1 under policy data-platform at Fri 2026-12-25 03:12 CET, if nobody answers:
    time   after  who              by             why
    03:12  0s     Mei Chen (mei)   slack, matrix  step 1, schedule:primary
    03:17  5m     spark-oncall     post           step 2
    03:17  5m     Raj Patel (raj)  slack          step 2, schedule:secondary
    03:22  10m    Raj Patel (raj)  matrix         step 2, schedule:secondary
    03:27  15m    Mei Chen (mei)   slack, matrix  step 3, person:mei
    03:42  30m    Mei Chen (mei)   slack, matrix  step 1, repeat 1, schedule:primary
    03:47  35m    spark-oncall     post           step 2, repeat 1
    03:47  35m    Raj Patel (raj)  slack          step 2, repeat 1, schedule:secondary
    03:52  40m    Raj Patel (raj)  matrix         step 2, repeat 1, schedule:secondary
    03:57  45m    Mei Chen (mei)   slack, matrix  step 3, repeat 1, person:mei
    Then every 30m from Fri 2026-12-25 04:27 CET (after 1h 15m), until somebody answers: Mei Chen (mei), Raj Patel (raj) by slack, matrix.
    ");
    insta::assert_snapshot!(whatif(Severity::P2, "2026-12-26 03:12 Europe/Berlin"), @r"
    P2 under policy data-platform at Sat 2026-12-26 03:12 CET, if nobody answers:
    Held until Mon 2026-12-28 09:00 CET, business hours (business).
    time   after  who             by             why
    09:00  0s     Ana Lima (ana)  slack          step 1, schedule:primary
    09:05  5m     spark-oncall    post           step 2
    09:05  5m     Mei Chen (mei)  slack, matrix  step 2, schedule:secondary
    09:15  15m    Mei Chen (mei)  slack, matrix  step 3, person:mei
    09:30  30m    Ana Lima (ana)  slack          step 1, repeat 1, schedule:primary
    09:35  35m    spark-oncall    post           step 2, repeat 1
    09:35  35m    Mei Chen (mei)  slack, matrix  step 2, repeat 1, schedule:secondary
    09:45  45m    Mei Chen (mei)  slack, matrix  step 3, repeat 1, person:mei
    Then every 30m from Mon 2026-12-28 10:15 CET (after 1h 15m), until somebody answers: Mei Chen (mei), Raj Patel (raj) by slack, matrix.
    ");
    insta::assert_snapshot!(whatif(Severity::P3, "2026-12-26 03:12 Europe/Berlin"), @r"
    P3 under policy data-platform at Sat 2026-12-26 03:12 CET, if nobody answers:
    Not paged: collected until Mon 2026-12-28 09:30 CET, digest to spark-oncall.
    Nobody is paged.
    ");
}

#[test]
fn without_files_the_operator_is_paged_on_the_console_until_somebody_answers() {
    let ask = Whatif { policy: "default".to_owned(), severity: Severity::P1, at: None };
    insta::assert_snapshot!(ask.run(&OnCall::builtin(), at("2026-12-25T03:12:00Z")).unwrap(), @r"
    P1 under policy default at Fri 2026-12-25 03:12 UTC, if nobody answers:
    time   after  who                  by       why
    03:12  0s     Operator (operator)  console  step 1, schedule:default
    03:27  15m    Operator (operator)  console  step 1, repeat 1, schedule:default
    03:42  30m    Operator (operator)  console  step 1, repeat 2, schedule:default
    03:57  45m    Operator (operator)  console  step 1, repeat 3, schedule:default
    Then every 30m from Fri 2026-12-25 04:27 UTC (after 1h 15m), until somebody answers: Operator (operator) by console.
    ");
    let config = Config::load(None, std::iter::empty()).unwrap();
    let builtin = paramedic::cli::oncall::load(&config, Timestamp::UNIX_EPOCH).unwrap().oncall;
    assert!(builtin.policy(config.default_policy()).is_some());
    insta::assert_snapshot!(Now::default().run(&builtin, at("2026-12-25T03:12:00Z")).unwrap(), @r"
    schedule  on call              until                    next
    default   Operator (operator)  no change within a year
    ");
}

#[test]
fn people_are_found_by_what_chat_calls_them_and_teams_by_what_they_own() {
    let oncall = example();
    let person = |kind, address| oncall.person_by_contact(kind, address).map(|p| p.name.as_str());
    assert_eq!(person("slack", "U024BE7RP"), Some("Raj Patel"));
    assert_eq!(person("matrix", "@mei:example.org"), Some("Mei Chen"));
    assert_eq!(person("slack", "@mei:example.org"), None);
    assert_eq!(person("slack", ""), None);
    let labels = |name: &str, value: &str| [(name.to_owned(), value.to_owned())].into();
    let team = |labels, annotation| oncall.team_for(&labels, annotation).map(|t| t.id.as_str());
    assert_eq!(team(labels("namespace", "spark-prod"), None), Some("data-platform"));
    assert_eq!(team(labels("team", "data"), None), Some("data-platform"));
    assert_eq!(team(labels("namespace", "web"), None), None);
    assert_eq!(team(labels("namespace", "web"), Some("data-platform")), Some("data-platform"));
    assert_eq!(team(labels("namespace", "web"), Some("<!channel>")), None);
}

#[test]
fn a_page_goes_to_whoever_is_on_call_when_it_is_sent() {
    let oncall = example();
    let primary = PageTarget::Schedule("primary".to_owned());
    let who = |time| oncall.resolve(&primary, at(time));
    assert_eq!(who("2026-12-07T07:59:59Z"), [PersonId::from("mei")]);
    assert_eq!(who("2026-12-07T08:00:00Z"), [PersonId::from("ana")]);
    assert_eq!(oncall.resolve(&PageTarget::Person("gone".into()), at("2026-12-08T12:00:00Z")), []);
    assert_eq!(
        oncall.resolve(&PageTarget::Schedule("gone".to_owned()), at("2026-12-08T12:00:00Z")),
        []
    );
    assert_eq!(
        oncall.rules(&"mei".into(), Severity::P0),
        oncall.rules(&"mei".into(), Severity::P3)
    );
    assert_eq!(oncall.contact(&"mei".into(), "slack"), Some("U024BE7MC"));
}

#[test]
fn business_hours_know_weekends_and_holidays() {
    let calendar = "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART;VALUE=DATE:20261228\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
    let text = EXAMPLE.replace("to: \"18:00\" }", "to: \"18:00\", holidays: de.ics }");
    let oncall = read(&[("oncall.yaml", &text), ("de.ics", calendar)]).unwrap().oncall;
    let policy = oncall.policy("data-platform").unwrap();
    let until =
        |severity, time| oncall.hold(policy, severity, at(time)).map(|hold| hold.until.to_string());
    // Saturday; Monday is a holiday.
    assert_eq!(
        until(Severity::P2, "2026-12-26T02:12:00Z").as_deref(),
        Some("2026-12-29T08:00:00Z")
    );
    assert_eq!(until(Severity::P2, "2026-12-29T08:00:00Z"), None, "open: page now");
    assert_eq!(
        until(Severity::P2, "2026-12-29T17:00:00Z").as_deref(),
        Some("2026-12-30T08:00:00Z")
    );
    assert_eq!(until(Severity::P1, "2026-12-26T02:12:00Z"), None);
    let digest = oncall.hold(policy, Severity::P3, at("2026-12-25T08:30:00Z")).unwrap();
    assert_eq!(digest.kind, HoldKind::Digest { channel: "spark-oncall".to_owned() });
    assert_eq!(digest.until, at("2026-12-28T08:30:00Z"), "Friday 09:30 has just passed");
}

#[test]
fn a_folder_is_one_whole_and_hidden_files_are_not_part_of_it() {
    let (people, rest) = EXAMPLE.split_once("schedules:").unwrap();
    let rest = format!("schedules:{rest}");
    let files = [
        ("people.yaml", people),
        ("rest.yml", rest.as_str()),
        (
            "overrides/2026-12.yaml",
            "overrides:\n  - { schedule: secondary, from: 2026-12-31T20:00, to: 2027-01-01T08:00, add: ana }\n",
        ),
        ("..data/people.yaml", people),
        ("README.md", "not YAML: ["),
    ];
    let oncall = read(&files).unwrap().oncall;
    let secondary = PageTarget::Schedule("secondary".to_owned());
    assert!(oncall.resolve(&secondary, at("2026-12-31T19:00:00Z")).contains(&"ana".into()));
}

#[test]
fn private_contacts_come_from_a_file_and_never_into_a_message() {
    let text = EXAMPLE.replace(
        "{ slack: U024BE7LH, matrix: \"@ana:example.org\" }",
        "{ from: file:private/ana.yaml }",
    );
    let good = read(&[
        ("oncall.yaml", &text),
        ("private/ana.yaml", "slack: U0PRIVATE1\nmatrix: \"@p:x.org\"\n"),
    ]);
    // The folder is read as a whole, so secrets belong elsewhere: this file is no on-call file.
    assert!(good.is_err());
    let elsewhere = folder(&[
        ("ana.yaml", "slack: U0PRIVATE1\nmatrix: \"@p:x.org\"\n"),
        ("bad.yaml", "slack: not-an-id-secret\n"),
    ]);
    let reference = |name: &str| {
        text.replace(
            "file:private/ana.yaml",
            &format!("file:{}", elsewhere.path().join(name).display()),
        )
    };
    let oncall = read(&[("oncall.yaml", &reference("ana.yaml"))]).unwrap().oncall;
    assert_eq!(oncall.contact(&"ana".into(), "slack"), Some("U0PRIVATE1"));
    for name in ["bad.yaml", "missing.yaml"] {
        let found = read(&[("oncall.yaml", &reference(name))]).unwrap_err();
        assert!(!found.iter().any(|d| d.to_string().contains("not-an-id-secret")), "{found:?}");
    }
}

#[test]
fn a_mistake_is_shown_with_its_line_and_what_to_write() {
    insta::assert_snapshot!(said(("people: [ana, raj, mei] }", "people: [ana, rja, mei] }")), @r#"
    oncall.yaml:36:82: error: there is no person `rja`
      36 |       - { rotate: weekly, handoff: "Mon 09:00", since: 2026-01-05, people: [ana, rja, mei] }
         |                                                                                  ^
         = did you mean `raj`?
    "#);
    insta::assert_snapshot!(said(("time_zone: Asia/Singapore", "time_zone: EST")), @r"
    oncall.yaml:24:16: error: `EST` is an abbreviation without daylight-saving rules
      24 |     time_zone: EST
         |                ^
         = write the place: America/New_York
    ");
    insta::assert_snapshot!(said(("page: [person:mei] }\n    repeat", "page: [channel:spark-oncall] }\n    repeat")), @r"
    oncall.yaml:53:27: error: a channel cannot be paged: pages go to persons and schedules
      53 |       - { at: 15m, page: [channel:spark-oncall] }
         |                           ^
         = use `post:`
    ");
    insta::assert_snapshot!(said(("{ at: 15m, page", "{ at: 3m, page")), @r"
    oncall.yaml:53:15: error: `at` is earlier than the step before
      53 |       - { at: 3m, page: [person:mei] }
         |               ^
         = it counts from the start of the round and must not decrease
    ");
    insta::assert_snapshot!(said(("    then: { page: [person:mei, person:raj], every: 30m }     # until somebody answers\n", "")), @r"
    oncall.yaml:48:9: error: `then` is missing: a P0 or P1 that nobody answers would fall silent
      48 |   - id: data-platform
         |         ^
         = add then: { page: [person:lead], every: 30m }
    ");
    insta::assert_snapshot!(said(("policy: data-platform\n", "polcy: data-platform\n")), @r"
    oncall.yaml:68:5: error: there is no key `polcy` here
      68 |     polcy: data-platform
         |     ^
         = did you mean `policy`?
    ");
    insta::assert_snapshot!(said(("default: [ { at: 0m, by: [slack, matrix] } ]", "P0: [ { at: 0m, by: [slack] } ]")), @r"
    oncall.yaml:27:7: error: `default` is missing
      27 |       P0: [ { at: 0m, by: [slack] } ]
         |       ^
         = add default: [ { at: 0m, by: [slack] } ] for severities without lines of their own
    ");
}

#[test]
fn what_is_allowed_but_odd_is_a_warning() {
    insta::assert_snapshot!(said(("people: [ { from: 2026-01-05,", "only: { days: [Mon], from: \"00:00\", to: \"24:00\" }, people: [ { from: 2026-01-05,")), @r"
    oncall.yaml:40:9: warning: nobody is on call from 2026-12-01 00:00 to 2026-12-07 00:00 (Europe/Berlin) and 12 more gaps in the next 90 days
      40 |   - id: secondary
         |         ^
         = add a layer or an override
    ");
    insta::assert_snapshot!(said(("matrix: \"@mei:example.org\" }\n    notify:\n      default: [ { at: 0m, by: [slack, matrix] } ]", "matrix: \"@mei:example.org\", sms: \"+15550100\" }\n    notify:\n      default: [ { at: 0m, by: [slack, matrix, sms] } ]")), @r"
    oncall.yaml:27:48: warning: nothing is configured that delivers by sms
      27 |       default: [ { at: 0m, by: [slack, matrix, sms] } ]
         |                                                ^
         = add `sms:` to the configuration, or take it out here
    ");
}

/// What is changed in the example, and into what.
const MISTAKES: &[(&str, &str)] = &[
    ("id: raj", "id: ana"),
    ("id: secondary", "id: primary"),
    ("id: raj", "id: \"<!channel>\""),
    ("id: raj", "id: \"\""),
    ("U024BE7RP", "ana"),
    ("\"@mei:example.org\"", "mei"),
    ("slack: U024BE7RP", "slakc: U024BE7RP"),
    ("at: 5m, by: [matrix]", "at: soon, by: [matrix]"),
    ("at: 5m, by: [matrix]", "at: 5m, by: []"),
    ("at: 5m, by: [matrix]", "at: 5m, by: [sms]"),
    (
        "P0: [ { at: 0m, by: [slack, matrix] } ]\n      P1",
        "P9: [ { at: 0m, by: [slack, matrix] } ]\n      P1",
    ),
    (
        "rotate: weekly, handoff: \"Mon 09:00\", since: 2026-01-05, people: [ana",
        "handoff: \"Mon 09:00\", since: 2026-01-05, people: [ana",
    ),
    (
        "rotate: weekly, handoff: \"Mon 09:00\", since: 2026-01-05, people: [ana",
        "rotate: weekly, since: 2026-01-05, people: [ana",
    ),
    (
        "rotate: weekly, handoff: \"Mon 09:00\", since: 2026-01-05, people: [ana",
        "rotate: hourly, handoff: \"09:00\", since: 2026-01-05, people: [ana",
    ),
    (
        "rotate: weekly, handoff: \"Mon 09:00\", since: 2026-01-05, people: [ana",
        "rotate: weekly, handoff: \"Mo 9\", since: 2026-01-05, people: [ana",
    ),
    (
        "rotate: weekly, handoff: \"Mon 09:00\", since: 2026-01-05, people: [ana",
        "rotate: monthly, handoff: \"32 09:00\", since: 2026-01-05, people: [ana",
    ),
    (
        "rotate: weekly, handoff: \"Mon 09:00\", since: 2026-01-05, people: [ana",
        "every: 8h, at: [\"09:00\"], since: 2026-01-05, people: [ana",
    ),
    (
        "rotate: weekly, handoff: \"Mon 09:00\", since: 2026-01-05, people: [ana",
        "at: [\"22:00\", \"06:00\"], since: 2026-01-05, people: [ana",
    ),
    (
        "since: 2026-01-05, people: [ana, raj, mei]",
        "since: 2026-01-05T09:00, people: [ana, raj, mei]",
    ),
    ("since: 2026-01-05, people: [ana, raj, mei]", "since: 2026-01-05, people: []"),
    (
        "since: 2026-01-05, people: [ana, raj, mei]",
        "since: 2026-01-05, people: [ana, { from: 2026-06-01, list: [raj] }]",
    ),
    ("first: mei", "first: lee"),
    ("from: 2026-06-01, list", "from: 2025-06-01, list"),
    ("days: [Fri, Sat]", "days: [Fri, Sta]"),
    ("from: \"22:00\", to", "from: \"25:00\", to"),
    ("days: [Mon, Tue, Wed, Thu, Fri]", "days: []"),
    ("to: \"18:00\" }", "to: \"18:00\", holidays: missing.ics }"),
    ("page: [schedule:primary]", "page: [schedule:primry]"),
    ("page: [schedule:primary]", "page: [team:data]"),
    ("page: [schedule:primary] }", "only: [P1] }"),
    ("only: [P0]", "only: [P9]"),
    ("post: [channel:spark-oncall]", "post: [channel:spark-onclal]"),
    ("repeat: { every: 15m, times: 1 }", "repeat: { every: 1s, times: 1 }"),
    ("repeat: { every: 15m, times: 1 }", "repeat: { every: 15m, times: 101 }"),
    ("page: [person:mei, person:raj], every: 30m", "page: [], every: 30m"),
    ("page: [person:mei, person:raj], every: 30m", "page: [person:mei], every: 0s"),
    ("{ P0: 30m, P1: 60m }", "{ P0: 5m }"),
    ("P2: { until: business }", "P2: { until: buisness }"),
    ("P2: { until: business }", "P1: { until: business }"),
    ("P2: { until: business }", "P2: {}"),
    ("digest: \"Mon-Fri 09:30\"", "digest: \"every day\""),
    ("replace: ana, with: raj", "replace: ana"),
    ("replace: ana, with: raj", "replace: ana, with: lee"),
    ("schedule: primary, from", "schedule: primry, from"),
    ("to: 2026-12-27T09:00", "to: 2026-12-23T09:00"),
    ("to: 2026-12-27T09:00", "to: soon"),
    ("'team=\"data\"'", "'team=~\"(\"'"),
    ("policy: data-platform\n", "policy: data-platfrom\n"),
    ("channels: [spark-oncall]\n", "channels: [spark]\n"),
    ("user_errors: { channel: data-eng }", "user_errors: { channel: data-eng, max: P0 }"),
    ("- id: data-platform\n    steps", "- id: other\n    steps"),
    (
        "default: [ { at: 0m, by: [slack, matrix] } ]",
        "default: [ { at: 0m, by: [slack] } ]\n      P0: [ { at: 0m, by: [slack] } ]\n      x: y",
    ),
];

#[test]
fn every_kind_of_mistake_is_refused() {
    for &(from, to) in MISTAKES {
        let shown = said((from, to));
        assert!(shown.contains(": error: "), "{to} is accepted: {shown}");
        assert!(shown.lines().count() < 40, "{to} says too much:\n{shown}");
    }
}

#[test]
fn a_fallback_that_hangs_on_one_kind_of_channel_is_refused() {
    let text = EXAMPLE
        .replace("[slack, matrix]", "[slack]")
        .replace("{ at: 5m, by: [matrix] }", "{ at: 5m, by: [slack] }");
    let found = read(&[("oncall.yaml", &text)]).unwrap_err();
    assert!(found.iter().any(|d| d.is_error() && d.message.contains("by slack only")), "{found:?}");
    // With one kind configured there is no second one to ask for.
    let one = folder(&[("oncall.yaml", &text)]);
    let mut outside = outside();
    outside.transports.remove("matrix");
    let warnings = load(one.path(), &outside).unwrap().warnings;
    assert!(warnings.iter().any(|d| d.message.contains("by slack only")), "{warnings:?}");
}

#[test]
fn a_missing_empty_broken_or_oversized_file_is_one_clear_error() {
    let folder = folder(&[("big.yaml", &"#".repeat((1 << 20) + 1))]);
    assert!(
        load(folder.path(), &outside()).unwrap_err()[0].to_string().contains("larger than 1 MiB")
    );
    assert!(load(Path::new("/does/not/exist"), &outside()).is_err());
    for bad in ["", "\0", "[", "people: 3", "people:\n  - id: &a x\n", "peple: []"] {
        let found = read(&[("oncall.yaml", bad)]).unwrap_err();
        assert_eq!(found.len(), 1, "{bad}: {found:?}");
    }
    let found = read(&[]).unwrap_err();
    assert!(found[0].to_string().contains("no .yaml file"));
}
