//! What several fuzz targets need: a scope to ask, the shipped signatures, and where a mistake may be.

use std::sync::LazyLock;

use jiff::{Timestamp, civil::Date};
use paramedic::{
    domain::{signature::Book, template::Scope},
    playbook::{catalog, diagnostic::Diagnostic, source},
};
use serde_json::json;

/// The moment of every run, so that a run can be repeated.
pub const NOW: Timestamp = Timestamp::constant(1_763_870_450, 0);
/// Its day.
pub const TODAY: Date = Date::constant(2025, 11, 23);

/// The shipped signatures.
pub static BOOK: LazyLock<Book> = LazyLock::new(|| {
    let files = source::shipped();
    catalog::book(&files.iter().collect::<Vec<_>>()).expect("shipped signatures are right")
});

/// What a playbook sees in the night: labels, lists of several lengths, a step that brought something, one that did not.
pub static SCOPE: LazyLock<Scope> = LazyLock::new(|| {
    let alerts: Vec<_> = (0..60)
        .map(|n| json!({"status": "firing", "labels": {"pod": format!("exec-{n}")}, "annotations": {}}))
        .collect();
    let mut scope = Scope::default()
        .with("labels", json!({"alertname": "SparkExecutorLost", "severity": "critical", "pod": "etl-exec-1", "n": "12"}))
        .with("annotations", json!({"summary": "executor *lost* `x` <b>", "empty": ""}))
        .with("alerts", alerts)
        .with("target", json!({"kind": "application", "namespace": "spark", "name": "etl", "count": 3}))
        .with("incident", json!({"id": "INC-12", "opened": "2025-11-23T04:40:50Z", "rounds": 2}));
    let pods = json!({"failed": ["a", "b"], "count": 2, "ratio": 0.5, "big": i64::MAX, "none": null,
        "pods": [{"name": "a", "restarts": 3, "deep": {"x": [1, 2, [3]]}}]});
    scope.set_step("pods", Ok(pods));
    scope.set_step("logs", Err("no pod was found".to_owned()));
    scope
});

/// A mistake must be where a person finds it, and be short enough to read.
pub fn check_place(found: &Diagnostic, text: &str) {
    // As YAML counts them.
    let unix = text.replace("\r\n", "\n").replace('\r', "\n");
    let lines: Vec<&str> = unix.split('\n').collect();
    let line = usize::try_from(found.line).unwrap();
    let column = usize::try_from(found.column).unwrap();
    assert!(line <= lines.len(), "line {line} of {}: {found}", lines.len());
    let source = line.checked_sub(1).and_then(|at| lines.get(at)).copied().unwrap_or_default();
    assert_eq!(found.source, source, "the line shown is another one");
    assert!(column <= source.chars().count() + 1, "column {column}: {found}");
    assert!(line > 0 || column == 0, "a column without a line: {found}");
    assert!(!found.message.is_empty());
    let shown = found.to_string();
    assert!(shown.chars().all(|c| !c.is_control() || c == '\n'), "{shown:?}");
}
