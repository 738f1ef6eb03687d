//! Templates filled, and what is refused when they are read.

use std::fmt::Write as _;

use serde_json::json;

use super::*;

fn scope() -> Scope {
    let mut scope = Scope::default()
        .with("labels", json!({ "pod": "etl-driver", "a.b/c": "dotted" }))
        .with("annotations", json!({}))
        .with("text", "жλ🙂abcdef")
        .with("nil", json!(null));
    scope
        .set_step("pods", Ok(json!({ "failed": [{ "name": "x" }, { "name": "y" }], "age": 3723 })));
    scope.set_step("logs", Err("timed out".to_owned()));
    scope
}

fn fill_text(source: &str) -> Result<String, String> {
    Input::<String>::from(source).fill(&scope()).map_err(|error| error.to_string())
}

#[test]
fn a_missing_value_is_an_error_that_names_it() {
    let error = Input::<Name>::from("{{target.name}}").fill(&scope()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`{{target.name}}` has no value here: `target.name` has no value here"
    );
    let error = fill_text("{{steps.logs.lines}}").unwrap_err();
    assert!(error.ends_with("step `logs` brought nothing: timed out"), "{error}");
}

#[test]
fn a_missing_label_is_empty_and_never_becomes_a_name() {
    assert_eq!(fill_text("[{{labels.nope}}{{annotations.x}}]"), Ok("[]".to_owned()));
    let error = Input::<Name>::from("{{labels.nope}}").fill(&scope()).unwrap_err();
    assert!(matches!(error, FillError::NoValue { .. }), "{error}");
}

#[test]
fn a_hostile_label_never_becomes_a_name() {
    let input = Input::<Name>::from("{{labels.pod}}");
    for bad in ["", "a/../b", "A", "a b", "-a", "a-", "a,b=c", "x\ny", "\0", &"a".repeat(254)] {
        let scope = Scope::default().with("labels", json!({ "pod": bad }));
        assert!(input.fill(&scope).is_err(), "{bad:?}");
    }
    let scope = Scope::default().with("labels", json!({ "pod": "etl-driver.1" }));
    assert_eq!(input.fill(&scope).unwrap().0, "etl-driver.1");
}

#[test]
fn helpers_format_and_accept_null() {
    for (source, expected) in [
        (r#"{{default labels.nope "none"}}"#, "none"),
        (r#"{{default steps.logs.lines "no log"}}"#, "no log"),
        (r#"{{default missing.thing nil "x"}}"#, "x"),
        ("{{truncate text 4}}", "жλ🙂…"),
        ("{{truncate nil 4}}", ""),
        ("{{duration steps.pods.age}}", "1h 2m 3s"),
        ("{{duration 0.25}}", "250ms"),
        ("{{bytes 1610612736}}", "1.5 GiB"),
        ("{{bytes 12}}", "12 B"),
        ("{{time 0}}", "1970-01-01 00:00:00 UTC"),
        (r#"{{time "2026-01-31T12:00:00+01:00"}}"#, "2026-01-31 11:00:00 UTC"),
        ("{{code labels.pod}}", "`etl-driver`"),
        (r#"{{code "a`b"}}"#, "``a`b``"),
        ("{{code nil}}{{bytes nil}}{{time nil}}{{duration nil}}", ""),
        ("{{#each steps.pods.failed}}{{name}} {{/each}}", "x y "),
        (
            "{{#each steps.pods.failed as |p|}}{{p.name}}{{../labels.pod}} {{/each}}",
            "xetl-driver yetl-driver ",
        ),
        ("{{#if steps.logs}}yes{{else}}no{{/if}}", "no"),
        ("{{labels.[a.b/c]}}", "dotted"),
        ("<&> \"{{labels.pod}}\"", "<&> \"etl-driver\""),
    ] {
        assert_eq!(fill_text(source).as_deref(), Ok(expected), "{source}");
    }
    assert!(fill_text("{{duration labels.pod}}").is_err());
    assert!(fill_text("{{truncate missing 4}}").is_err());
}

#[test]
fn mistakes_are_refused_when_the_playbook_is_read() {
    let mut said = String::new();
    for bad in [
        "a {{labels.x",
        "a {{trunkate labels.x 3}}",
        "{{code}}",
        "{{> footer}}",
        "{{log labels.x}}",
        "{{lookup labels \"x\"}}",
        "{{#if labels.x}}a",
        &"{{#if labels.x}}".repeat(17),
        &format!("{{{{default {}}}}}", "(not ".repeat(17)),
        &"x".repeat(MAX_SOURCE + 1),
        &["{{#each labels}}".repeat(3), "{{/each}}".repeat(3)].concat(),
    ] {
        let error = references(bad).unwrap_err();
        let shown: String = bad.chars().take(30).collect();
        writeln!(said, "{shown:30} {:5} {}", error.offset, error.message).unwrap();
    }
    insta::assert_snapshot!(said, @r#"
        a {{labels.x                      12 this is not a template: a `{{` or a block is not closed, or a sign stands where none may
        a {{trunkate labels.x 3}}          2 there is no helper `trunkate`; did you mean `truncate`?
        {{code}}                           0 `code` is a helper and needs a value; {{code x}}
        {{> footer}}                       0 partials and decorators are not available
        {{log labels.x}}                   0 there is no helper `log`; there is bytes, code, default, duration, time, truncate, and, each, eq, gt, gte, if, len, lt, lte, ne, not, or, unless, with
        {{lookup labels "x"}}              0 there is no helper `lookup`; there is bytes, code, default, duration, time, truncate, and, each, eq, gt, gte, if, len, lt, lte, ne, not, or, unless, with
        {{#if labels.x}}a                 17 this is not a template: a `{{` or a block is not closed, or a sign stands where none may
        {{#if labels.x}}{{#if labels.x   256 blocks are nested deeper than 16
        {{default (not (not (not (not      0 brackets are nested deeper than 16
        xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx 16384 this template is 16385 bytes long; at most 16384
        {{#each labels}}{{#each labels    32 `each` is nested deeper than 2
    "#);
}

#[test]
fn references_are_listed_through_blocks_and_bindings() {
    let source = "{{labels.a}}\n {{#each steps.p.x}}{{name}}{{../labels.b}}{{@root.labels.c}}{{/each}}\
                  {{#each steps.q as |i|}}{{i.n}}{{../labels.d}}{{/each}}{{default (truncate steps.r.y 3) \"z\"}}";
    let seen: Vec<String> = references(source)
        .unwrap()
        .iter()
        .map(|r| format!("{}{}", r.path.join("."), if r.guarded { "?" } else { "" }))
        .collect();
    assert_eq!(
        seen,
        ["labels.a", "steps.p.x?", "labels.b", "labels.c", "steps.q?", "labels.d", "steps.r.y?"]
    );
}

#[test]
fn the_output_is_bounded() {
    let scope = Scope::default().with("x", "y".repeat(MAX_OUTPUT / 2));
    let error = Input::<String>::from("{{x}}{{x}}{{x}}").fill(&scope).unwrap_err();
    assert!(error.to_string().contains("more than 65536 bytes"), "{error}");
}

#[test]
fn a_lax_text_leaves_holes_empty_and_knows_its_names() {
    let text = Text::parse("executor {{captures.exec}}{{captures.nope}}", &["captures"]).unwrap();
    let names = json!({ "captures": { "exec": "3" } });
    assert_eq!(text.fill(names.as_object().unwrap()), "executor 3");
    assert!(Text::parse("{{captrues.exec}}", &["captures"]).unwrap_err().contains("captures"));
}
