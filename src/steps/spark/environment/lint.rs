//! Which settings look like mistakes.
//!
//! A rule speaks only where the value is plainly unusual and the consequence is known; a lint that cries over ordinary
//! jobs is read once. The known keys were read out of the classes of Spark 3.5.9 (`rules/spark/keys-3.5.txt`).

use std::{
    collections::{BTreeMap, HashSet},
    sync::OnceLock,
};

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    clients::kube::one_line,
    domain::{
        evidence::{Origin, Passage},
        suggest::near,
    },
};

/// Findings, at most.
const MAX_FINDINGS: usize = 50;
/// Unknown keys compared with all known ones, at most.
const MAX_UNKNOWN: usize = 100;
/// Letters two keys may differ in to be taken for a slip.
const SLIP: usize = 2;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// It breaks the job, or will.
    Danger,
    /// It has no effect, or makes trouble likely.
    Warning,
    /// It costs evidence or comfort.
    Advice,
}

/// One setting that looks wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// The key.
    pub key: String,
    /// Its value; empty when it is not set, or the key itself is the matter.
    pub value: String,
    /// Why, and what to do.
    pub why: String,
}

impl Finding {
    fn new(level: Level, key: &str, value: &str, why: impl Into<String>) -> Self {
        Self { level, key: key.to_owned(), value: super::shown(key, value), why: why.into() }
    }

    pub(super) fn line(&self) -> String {
        let Self { key, value, why, .. } = self;
        let equals =
            if value.is_empty() { String::new() } else { format!("={}", one_line(value, 120)) };
        format!("{key}{equals}: {why}")
    }

    /// `setting spark.x=… danger: …`.
    pub(super) fn passage(&self) -> Passage {
        let level = match self.level {
            Level::Danger => "danger",
            Level::Warning => "warning",
            Level::Advice => "advice",
        };
        let Self { key, value, why, .. } = self;
        let equals =
            if value.is_empty() { String::new() } else { format!("={}", one_line(value, 120)) };
        let text = format!("setting {key}{equals} {level}: {why}");
        Passage::new(Origin::SparkRest, "settings", text)
    }
}

type Given = BTreeMap<String, String>;

/// Everything that looks wrong, worst first; at most 50.
pub(super) fn check(given: &Given) -> Vec<Finding> {
    let mut findings = unknown(given);
    for rule in [broadcast, results, heartbeat, allocation, retries, memory, logs, evidence] {
        findings.extend(rule(given));
    }
    findings.sort_by_key(|finding| finding.level);
    findings.truncate(MAX_FINDINGS);
    findings
}

fn known() -> &'static (HashSet<&'static str>, Vec<&'static str>) {
    static KNOWN: OnceLock<(HashSet<&'static str>, Vec<&'static str>)> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let keys = include_str!("../../../../rules/spark/keys-3.5.txt");
        let keys: Vec<&str> = keys.lines().filter(|line| !line.is_empty()).collect();
        (keys.iter().copied().collect(), keys)
    })
}

/// Below these everything is somebody's own name.
fn is_open(key: &str) -> bool {
    const HEADS: [&str; 8] = [
        "spark.hadoop.",
        "spark.metrics.conf.",
        "spark.executorEnv.",
        "spark.kubernetes.driverEnv.",
        "spark.yarn.",
        "spark.mesos.",
        "spark.ssl.",
        "spark.ui.filters.",
    ];
    const PARTS: [&str; 9] = [
        ".label.",
        ".annotation.",
        ".selector.",
        ".volumes.",
        ".secrets.",
        ".secretKeyRef.",
        ".resource.",
        ".catalog.",
        ".log.url.",
    ];
    HEADS.iter().any(|head| key.starts_with(head)) || PARTS.iter().any(|part| key.contains(part))
}

fn unknown(given: &Given) -> Vec<Finding> {
    let (set, list) = known();
    let strange = given.keys().filter(|key| !set.contains(key.as_str()) && !is_open(key));
    let slip = |key: &String| {
        let meant = near(key, list, SLIP)?;
        // Two settings, not one misspelt: `…reuseWorker` and `…reuseWorkers` would both be given.
        let why = format!("Spark 3.5 knows no such key; did you mean {meant}?");
        Some(Finding::new(Level::Warning, key, "", why))
    };
    strange.take(MAX_UNKNOWN).filter_map(slip).collect()
}

fn text<'a>(given: &'a Given, key: &str) -> &'a str {
    given.get(key).map_or("", |value| value.trim())
}

fn is(given: &Given, key: &str, value: &str) -> bool {
    text(given, key).eq_ignore_ascii_case(value)
}

/// Bytes of a size as Spark writes it; a bare number counts in `unit`.
fn size(text: &str, unit: i64) -> Option<i64> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let factor = match suffix.trim_end_matches('b') {
        "" if suffix.is_empty() => unit,
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        "t" => 1 << 40,
        "p" => 1 << 50,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(factor)
}

/// Milliseconds of a time as Spark writes it; a bare number counts in `unit`.
fn millis(text: &str, unit: i64) -> Option<i64> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let factor = match suffix {
        "" => unit,
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(factor)
}

const GIB: i64 = 1 << 30;
const MIB: i64 = 1 << 20;

fn broadcast(given: &Given) -> Vec<Finding> {
    let key = "spark.sql.autoBroadcastJoinThreshold";
    let large = size(text(given, key), 1).is_some_and(|bytes| bytes >= GIB);
    let why = "tables this large are collected in the driver and sent to every executor, which runs both out of memory; keep it below 1g, or -1";
    large.then(|| Finding::new(Level::Danger, key, text(given, key), why)).into_iter().collect()
}

fn results(given: &Given) -> Vec<Finding> {
    let key = "spark.driver.maxResultSize";
    let value = text(given, key);
    let driver = size(text(given, "spark.driver.memory"), MIB).unwrap_or(GIB);
    let why = match size(value, 1) {
        Some(0) if !value.is_empty() => "nothing keeps a large collect from running the driver out of memory".to_owned(),
        Some(bytes) if bytes > driver => {
            "is more than the driver's memory, so a large collect kills the driver instead of the job; set it below spark.driver.memory".to_owned()
        }
        Some(_) | None => return vec![],
    };
    vec![Finding::new(Level::Warning, key, value, why)]
}

fn heartbeat(given: &Given) -> Vec<Finding> {
    let (timeout, interval) = ("spark.network.timeout", "spark.executor.heartbeatInterval");
    let timeout_ms = millis(text(given, timeout), 1_000).unwrap_or(120_000);
    let interval_ms = millis(text(given, interval), 1).unwrap_or(10_000);
    let set = given.contains_key(timeout) || given.contains_key(interval);
    if !set || interval_ms < timeout_ms {
        return vec![];
    }
    let why = format!(
        "is not below {timeout} ({} s), so every executor is taken for dead; lower it, or raise {timeout}",
        timeout_ms / 1_000
    );
    vec![Finding::new(Level::Danger, interval, text(given, interval), why)]
}

fn allocation(given: &Given) -> Vec<Finding> {
    let mut found = vec![];
    if !is(given, "spark.dynamicAllocation.enabled", "true") {
        return found;
    }
    let tracking = "spark.dynamicAllocation.shuffleTracking.enabled";
    let kept = is(given, "spark.shuffle.service.enabled", "true")
        || (is(given, "spark.decommission.enabled", "true")
            && is(given, "spark.storage.decommission.shuffleBlocks.enabled", "true"));
    if is(given, tracking, "false") && !kept {
        let why = "dynamic allocation needs it, an external shuffle service, or decommissioning of shuffle blocks; the application does not start otherwise";
        found.push(Finding::new(Level::Danger, tracking, "false", why));
    }
    let number = |key: &str| text(given, key).parse::<i64>().ok();
    let (least, most) =
        ("spark.dynamicAllocation.minExecutors", "spark.dynamicAllocation.maxExecutors");
    if let (Some(min), Some(max)) = (number(least), number(most))
        && min > max
    {
        let why = format!("is less than {least} ({min}); the application does not start");
        found.push(Finding::new(Level::Danger, most, text(given, most), why));
    }
    if number(most).is_none() && text(given, "spark.master").starts_with("k8s") {
        let why = "is not set: one large stage asks for as many executors as it has tasks";
        found.push(Finding::new(Level::Advice, most, "", why));
    }
    found
}

fn retries(given: &Given) -> Vec<Finding> {
    let mut found = vec![];
    for (key, why) in [
        ("spark.task.maxFailures", "one lost executor fails the whole job; the default is 4"),
        (
            "spark.stage.maxConsecutiveAttempts",
            "one failed fetch of shuffle data fails the whole job; the default is 4",
        ),
    ] {
        if is(given, key, "1") {
            found.push(Finding::new(Level::Warning, key, "1", why));
        }
    }
    let partitions = "spark.sql.shuffle.partitions";
    let count = text(given, partitions).parse::<i64>().ok();
    if count.is_some_and(|count| count > 20_000) {
        let why = "so many tasks keep the driver busy with bookkeeping; a few thousand are enough for most data";
        found.push(Finding::new(Level::Warning, partitions, text(given, partitions), why));
    }
    if is(given, "spark.sql.adaptive.enabled", "false") {
        let why = "skewed and small partitions are no longer evened out; the default is true";
        found.push(Finding::new(Level::Advice, "spark.sql.adaptive.enabled", "false", why));
    }
    found
}

fn memory(given: &Given) -> Vec<Finding> {
    let mut found = vec![];
    let fraction = "spark.memory.fraction";
    if text(given, fraction).parse::<f64>().is_ok_and(|share| share > 0.85) {
        let why = "leaves too little heap for user objects, which ends in OutOfMemoryError; the default is 0.6";
        found.push(Finding::new(Level::Warning, fraction, text(given, fraction), why));
    }
    for role in ["driver", "executor"] {
        let (heap, overhead) =
            (format!("spark.{role}.memory"), format!("spark.{role}.memoryOverhead"));
        let heap = size(text(given, &heap), MIB);
        let Some((heap, extra)) = heap.zip(size(text(given, &overhead), MIB)) else { continue };
        // A large heap with the least overhead there is: threads, direct buffers and Python live in the overhead.
        if heap >= 8 * GIB && extra < heap / 20 {
            let why = "is less than a twentieth of the heap: the container is likely to be OOM-killed; a tenth is usual";
            found.push(Finding::new(Level::Warning, &overhead, text(given, &overhead), why));
        }
    }
    let off_heap = "spark.memory.offHeap.size";
    if is(given, "spark.memory.offHeap.enabled", "true")
        && size(text(given, off_heap), 1).unwrap_or(0) <= 0
    {
        let why =
            "must be set when spark.memory.offHeap.enabled is true; the application does not start";
        found.push(Finding::new(Level::Danger, off_heap, text(given, off_heap), why));
    }
    found
}

fn logs(given: &Given) -> Vec<Finding> {
    let mut found = vec![];
    if !is(given, "spark.eventLog.enabled", "true") {
        let why = "is not true: the History Server will know nothing of this application, and a dead driver leaves no trace";
        found.push(Finding::new(
            Level::Advice,
            "spark.eventLog.enabled",
            text(given, "spark.eventLog.enabled"),
            why,
        ));
    }
    found
}

fn evidence(given: &Given) -> Vec<Finding> {
    let key = "spark.kubernetes.executor.deleteOnTermination";
    if !text(given, "spark.master").starts_with("k8s") || is(given, key, "false") {
        return vec![];
    }
    let why = "is not false: pods of failed executors are deleted at once, with their logs and exit codes";
    vec![Finding::new(Level::Advice, key, text(given, key), why)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(settings: &[(&str, &str)]) -> String {
        let mut given: Given =
            settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        given.entry("spark.eventLog.enabled".to_owned()).or_insert_with(|| "true".to_owned());
        check(&given).iter().map(Finding::line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_slip_of_the_finger_in_a_key_is_told_and_a_library_s_own_key_is_not() {
        insta::assert_snapshot!(said(&[
            ("spark.executor.memoryOverHead", "1g"),
            ("spark.sql.shuffle.partition", "400"),
            ("spark.dynamicAllocation.enable", "true"),
            ("spark.hadoop.fs.s3a.own.key", "x"),
            ("spark.kubernetes.driver.label.tem", "a"),
            ("spark.gluten.enabled", "true"),
            ("spark.sql.catalog.lake", "x"),
            ("spark.executor.memory", "4g"),
        ]), @r#"
        spark.dynamicAllocation.enable: Spark 3.5 knows no such key; did you mean spark.dynamicAllocation.enabled?
        spark.executor.memoryOverHead: Spark 3.5 knows no such key; did you mean spark.executor.memoryOverhead?
        spark.sql.shuffle.partition: Spark 3.5 knows no such key; did you mean spark.sql.shuffle.partitions?
        "#);
    }

    #[test]
    fn dangerous_values_are_told_with_their_consequence() {
        insta::assert_snapshot!(said(&[
            ("spark.sql.autoBroadcastJoinThreshold", "4g"),
            ("spark.driver.maxResultSize", "8g"),
            ("spark.driver.memory", "2g"),
            ("spark.executor.heartbeatInterval", "300s"),
            ("spark.dynamicAllocation.enabled", "true"),
            ("spark.dynamicAllocation.shuffleTracking.enabled", "false"),
            ("spark.dynamicAllocation.minExecutors", "10"),
            ("spark.dynamicAllocation.maxExecutors", "4"),
            ("spark.task.maxFailures", "1"),
            ("spark.memory.fraction", "0.95"),
            ("spark.executor.memory", "32g"),
            ("spark.executor.memoryOverhead", "384m"),
            ("spark.memory.offHeap.enabled", "true"),
            ("spark.master", "k8s://https://10.0.0.1:443"),
        ]), @r#"
        spark.sql.autoBroadcastJoinThreshold=4g: tables this large are collected in the driver and sent to every executor, which runs both out of memory; keep it below 1g, or -1
        spark.executor.heartbeatInterval=300s: is not below spark.network.timeout (120 s), so every executor is taken for dead; lower it, or raise spark.network.timeout
        spark.dynamicAllocation.shuffleTracking.enabled=false: dynamic allocation needs it, an external shuffle service, or decommissioning of shuffle blocks; the application does not start otherwise
        spark.dynamicAllocation.maxExecutors=4: is less than spark.dynamicAllocation.minExecutors (10); the application does not start
        spark.memory.offHeap.size: must be set when spark.memory.offHeap.enabled is true; the application does not start
        spark.driver.maxResultSize=8g: is more than the driver's memory, so a large collect kills the driver instead of the job; set it below spark.driver.memory
        spark.task.maxFailures=1: one lost executor fails the whole job; the default is 4
        spark.memory.fraction=0.95: leaves too little heap for user objects, which ends in OutOfMemoryError; the default is 0.6
        spark.executor.memoryOverhead=384m: is less than a twentieth of the heap: the container is likely to be OOM-killed; a tenth is usual
        spark.kubernetes.executor.deleteOnTermination: is not false: pods of failed executors are deleted at once, with their logs and exit codes
        "#);
    }

    #[test]
    fn an_ordinary_job_gets_no_finding() {
        for (key, value) in [
            ("spark.driver.maxResultSize", "1g"),
            ("spark.sql.autoBroadcastJoinThreshold", "-1"),
            ("spark.executor.heartbeatInterval", "10000"),
            ("spark.network.timeout", "600s"),
            ("spark.executor.memoryOverhead", "1024"),
            ("spark.sql.shuffle.partitions", "200"),
        ] {
            assert_eq!(said(&[(key, value), ("spark.executor.memory", "8g")]), "", "{key}");
        }
    }

    #[test]
    fn hostile_settings_are_survived_and_secrets_are_not_quoted() {
        let many: Vec<(String, String)> =
            (0..5_000).map(|n| (format!("spark.executor.memory{n}"), "\0é".repeat(500))).collect();
        let given: Given = many.into_iter().collect();
        assert!(check(&given).len() <= MAX_FINDINGS);
        assert_eq!(
            (size("9999999999g", 1), size("", 1), size("-1", MIB), size("1gb", 1)),
            (None, None, Some(-MIB), Some(GIB))
        );
        assert_eq!(
            (millis("10min", 1), millis("soon", 1), millis("7", 1_000)),
            (Some(600_000), None, Some(7_000))
        );
        assert_eq!(super::super::shown("spark.hadoop.fs.s3a.secret.key", "hunter2"), "***");
    }
}
