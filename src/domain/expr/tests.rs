//! What expressions say, and what is refused when they are read.

use std::fmt::Write as _;

use serde_json::json;

use super::*;

fn scope() -> Scope {
    let mut scope = Scope::default()
        .with(
            "labels",
            json!({ "severity": "critical", "age": "9", "app.kubernetes.io/name": "x" }),
        )
        .with("annotations", json!({}))
        .with("alerts", json!([{ "labels": { "pod": "a" } }, { "labels": {} }]))
        .with("pod", json!({ "name": "etl-exec-1" }));
    scope.set_step("pods", Ok(json!({ "failed": [{ "name": "a", "exit": 137 }], "count": 3 })));
    scope.set_step("logs", Err("not allowed to read pods/log".to_owned()));
    scope
}

fn ask(source: &str) -> Truth {
    Expr::parse(source).unwrap().test(&scope())
}

#[test]
fn conditions_hold_or_do_not() {
    for yes in [
        r#"labels.severity == "critical""#,
        r#"labels.nope == """#,
        r#"labels["app.kubernetes.io/name"] == "x""#,
        "labels.age | int < 10",
        "alerts | length < 500",
        r#"alerts[1].labels.pod == """#,
        "steps.pods.failed | length == 1",
        r#"steps.pods.failed | selectattr("exit", "eq", 137) | list | length > 0"#,
        r#"labels.severity is matches "^crit""#,
        r#"pod.name is startingwith "etl-""#,
        r#"duration("1h 30m") == 5400"#,
        r#"timestamp("1970-01-01T00:01:00Z") == 60"#,
        r#""137" in "exit 137""#,
    ] {
        assert_eq!(ask(yes), Truth::Yes, "{yes}");
    }
    for no in ["labels.nope", "steps.pods.count > 3", "not labels.severity", "0"] {
        assert_eq!(ask(no), Truth::No, "{no}");
    }
}

#[test]
fn a_question_whose_evidence_is_missing_is_not_answered_with_no() {
    let unknown = |source| match ask(source) {
        Truth::Unknown(reason) => reason,
        known => panic!("{source}: {known:?}"),
    };
    let because = "step `logs` brought nothing: not allowed to read pods/log";
    assert_eq!(unknown("steps.logs.lines > 0"), because);
    assert_eq!(unknown("not steps.logs"), because);
    assert_eq!(unknown("steps.logs is none"), because);
    assert_eq!(unknown("steps.never > 0"), "step `never` has not run");
    assert_eq!(unknown("steps.pods.nope == 1"), "`steps.pods.nope` has no value here");
    assert_eq!(unknown("target.name"), "`target.name` has no value here");
    assert_eq!(
        unknown(r#"duration("soon") > 1"#),
        "`soon` is not a duration; write 30s, 10m or 1h 30m"
    );
    assert!(
        unknown("steps.pods > 1 and ([0] * 100000000) | list | length > 1").contains("too long")
    );
}

#[test]
fn missing_evidence_does_not_matter_when_something_else_decides() {
    assert_eq!(ask(r#"labels.severity == "critical" or steps.logs.lines > 0"#), Truth::Yes);
    assert_eq!(ask(r#"labels.severity == "info" and steps.logs.lines > 0"#), Truth::No);
}

#[test]
fn a_value_is_a_list_for_for_each() {
    let value = |source| Expr::parse(source).unwrap().value(&scope());
    assert_eq!(value(r#"steps.pods.failed | map(attribute="name") | list"#), Ok(json!(["a"])));
    assert_eq!(value("steps.pods.count"), Ok(json!(3)));
    assert!(value("steps.logs").is_err());
}

#[test]
fn mistakes_are_refused_when_the_playbook_is_read() {
    let mut said = String::new();
    for bad in [
        "",
        "labels.x ==",
        "labels.x | upcase",
        r#"labels.x is mathces "a""#,
        r#"labels.x is matches "(""#,
        "labels.x is matches labels.y",
        r#"alerts | map("attr")"#,
        r#"alerts | selectattr("x", labels.y)"#,
        "now() > 1",
        r#"labels.x.startswith("a")"#,
        r#"steps["pods"].count"#,
        "labels.age > 10",
        "10 < annotations.age",
        r#"alerts | selectattr("a", "matches", "[")"#,
    ] {
        let error = Expr::parse(bad).unwrap_err();
        writeln!(said, "{bad}\n{}^ {error}", " ".repeat(error.offset)).unwrap();
    }
    insta::assert_snapshot!(said, @r#"
        ^ the expression is empty
        labels.x ==
                 ^ unexpected end of input, expected expression
        labels.x | upcase
                   ^ there is no filter `upcase`; use one of abs, bool, count, default, dictsort, first, float, int, items, join, last, length, list, lower, map, max, min, reject, rejectattr, replace, round, select, selectattr, sort, split, string, sum, trim, unique, upper
        labels.x is mathces "a"
                    ^ there is no test `mathces`; did you mean `matches`?
        labels.x is matches "("
                            ^ bad regex: unclosed group
        labels.x is matches labels.y
                            ^ write the regex as text in quotes
        alerts | map("attr")
                     ^ there is no filter `attr`; use one of abs, bool, count, default, dictsort, first, float, int, items, join, last, length, list, lower, map, max, min, reject, rejectattr, replace, round, select, selectattr, sort, split, string, sum, trim, unique, upper
        alerts | selectattr("x", labels.y)
                                 ^ write the name of the test as text in quotes
        now() > 1
        ^ there is no function `now`; use one of duration, timestamp
        labels.x.startswith("a")
        ^ there are no methods; use a filter or a test instead of `.startswith()`
        steps["pods"].count
        ^ write `steps.<id>`: the order of the steps is read from these references
        labels.age > 10
        ^ labels are text and compare letter by letter; write `| int` or `| float` after it
        10 < annotations.age
             ^ labels are text and compare letter by letter; write `| int` or `| float` after it
        alerts | selectattr("a", "matches", "[")
                                            ^ bad regex: unclosed character class
    "#);
}

#[test]
fn hostile_sources_are_refused_before_they_are_parsed() {
    for bad in ["(".repeat(40), "[".repeat(1000), "a".repeat(2000), "not ".repeat(500)] {
        assert!(Expr::parse(&bad).is_err());
    }
    let deep = format!("{}1{}", "(".repeat(32), ")".repeat(32));
    assert_eq!(ask(&deep), Truth::Yes);
    assert!(Expr::parse(&format!("{}1", "not ".repeat(255))).is_ok());
    assert!(Expr::parse(r#""((((((((((((((((((((((((((((((((((((" == labels.x"#).is_ok());
}

#[test]
fn a_regex_is_small_and_the_text_it_looks_at_costs_fuel() {
    let error = Expr::parse(r#"labels.x is matches "^(a{0,100}){0,100}$""#).unwrap_err();
    assert_eq!(error.message, "this regex is too large");
    let long = scope().with("long", "a".repeat(60_000));
    let truth = Expr::parse(r#"long is matches "^(a{0,99}){0,9}$""#).unwrap().test(&long);
    assert_eq!(truth, Truth::Unknown("it takes too long to compute".to_owned()));
    assert_eq!(ask(r#"("a" * 9000) is matches "^a+$""#), Truth::Yes);
}

#[test]
fn references_name_every_step_and_root_with_its_place() {
    let expr = Expr::parse(r#"labels.a == "" and steps.pods.failed[0].x > pod.n | int"#).unwrap();
    let seen: Vec<String> =
        expr.references().iter().map(|r| format!("{}@{}", r.path.join("/"), r.offset)).collect();
    assert_eq!(seen, ["labels/a@0", "steps/pods/failed/0/x@19", "pod/n@44"]);
}

#[test]
fn an_expression_in_yaml_keeps_its_place() {
    let map: std::collections::BTreeMap<String, Expr> =
        serde_saphyr::from_str("if: labels.x\n").unwrap();
    assert_eq!(map["if"].position(), (1, 5));
    assert_eq!(
        serde_json::to_value(&map["if"]).unwrap(),
        json!({ "$expr": "labels.x", "$line": 1, "$column": 5 })
    );
}
