//! `paramedic explain`: what every playbook says to an alert, and the matcher or condition that decided.
//!
//! Exit code 0 when the file could be read, also when nothing matches.

use std::{
    io::{Read as _, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use jiff::{Timestamp, civil::Date};
use serde_json::{Value, json};

use crate::{
    domain::alert::{self, Alert, Labels},
    playbook::{
        catalog::{Answer, Catalog, Shipped},
        model::Playbook,
        plan,
    },
};

/// Explains which playbooks an alert leads to, and why the others do not run.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A webhook payload or one alert, as JSON; `-` is the standard input.
    pub file: PathBuf,
    /// Your playbooks, over the shipped ones.
    #[arg(long)]
    pub playbooks: Option<PathBuf>,
    /// JSON instead of text.
    #[arg(long)]
    pub json: bool,
}

/// Most bytes read.
const MAX_BYTES: u64 = 64 << 20;

/// Runs it.
pub fn run(args: &Args, today: Date, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let catalog = match &args.playbooks {
        Some(dir) => Catalog::load(dir, Shipped::Used, today),
        None => Catalog::shipped(today),
    };
    let catalog = match catalog {
        Ok(catalog) => catalog,
        Err(errors) => {
            for error in errors {
                writeln!(out, "{error}\n")?;
            }
            return Ok(ExitCode::FAILURE);
        }
    };
    let alerts = alerts(&read(&args.file)?)?;
    let scopes: Vec<Value> = alerts
        .iter()
        .map(|a| json!({ "labels": a.labels, "annotations": a.annotations, "status": a.status }))
        .collect();
    let mut answers = Vec::new();
    for (index, alert) in alerts.iter().enumerate() {
        let scope = plan::alert_scope(&alert.labels, &alert.annotations, scopes.clone());
        let said = catalog.explain(&alert.labels, &scope);
        if args.json {
            let playbooks: Vec<Value> = said.iter().map(|(p, a)| as_json(p, a)).collect();
            answers.push(json!({ "labels": alert.labels, "playbooks": playbooks }));
            continue;
        }
        writeln!(
            out,
            "alert {} of {}: {}{}",
            index + 1,
            alerts.len(),
            alert.name(),
            shown(&alert.labels)
        )?;
        let mut said = said;
        said.sort_by_key(|(_, answer)| !matches!(answer, Answer::Matched { .. }));
        for (playbook, answer) in &said {
            tell(playbook, answer, out)?;
        }
        if !said.iter().any(|(_, answer)| matches!(answer, Answer::Matched { .. })) {
            writeln!(
                out,
                "  no playbook matches: the incident opens, posts and pages without a diagnosis"
            )?;
        }
    }
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&answers)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        std::io::stdin()
            .take(MAX_BYTES)
            .read_to_end(&mut bytes)
            .context("read the standard input")?;
    } else {
        let open = std::fs::File::open(file);
        let open = open.with_context(|| format!("open {}", file.display()))?;
        open.take(MAX_BYTES)
            .read_to_end(&mut bytes)
            .with_context(|| format!("read {}", file.display()))?;
    }
    Ok(bytes)
}

fn alerts(bytes: &[u8]) -> anyhow::Result<Vec<Alert>> {
    let value: Value = serde_json::from_slice(bytes).context("this is not JSON")?;
    let payload = match &value {
        Value::Object(map) if map.contains_key("alerts") => value,
        Value::Object(map) if map.contains_key("labels") => {
            let mut one = map.clone();
            one.entry("status").or_insert_with(|| "firing".into());
            json!({ "alerts": [one] })
        }
        _ => anyhow::bail!(
            "this is neither a webhook payload (an object with `alerts`) nor one alert (an object with `labels`)"
        ),
    };
    let payload = alert::parse(payload.to_string().as_bytes(), Timestamp::UNIX_EPOCH)?;
    let mut alerts = Vec::new();
    for alert in payload.alerts {
        alerts.push(alert.map_err(|bad| anyhow::anyhow!("{}: {}", bad.path, bad.reason))?);
    }
    anyhow::ensure!(!alerts.is_empty(), "there is no alert in it");
    Ok(alerts)
}

fn shown(labels: &Labels) -> String {
    let pairs: Vec<String> = labels
        .iter()
        .filter(|(name, _)| *name != "alertname")
        .map(|(name, value)| format!("{name}=\"{}\"", value.escape_debug()))
        .collect();
    if pairs.is_empty() { String::new() } else { format!(" {{{}}}", pairs.join(", ")) }
}

fn tell(playbook: &Playbook, answer: &Answer, out: &mut dyn Write) -> anyhow::Result<()> {
    match answer {
        Answer::Matched { severity } => {
            let severity = severity.map_or(String::new(), |severity| format!(", {severity}"));
            writeln!(out, "  runs {}{severity}: {}", playbook.name, playbook.title)?;
            for step in &playbook.steps {
                let when = step.condition.as_ref().map(|c| format!(" if {}", c.source()));
                let each = step.for_each.as_ref().map(|each| {
                    format!(
                        " for each {} of {} (at most {})",
                        each.binding,
                        each.list.source(),
                        each.max
                    )
                });
                let after: Vec<&str> =
                    step.needs.iter().map(|need| playbook.steps[*need].id.as_str()).collect();
                let after = if after.is_empty() {
                    String::new()
                } else {
                    format!(" after {}", after.join(", "))
                };
                let (when, each) = (when.unwrap_or_default(), each.unwrap_or_default());
                writeln!(out, "       {}: {}{each}{when}{after}", step.id, step.spec.kind())?;
            }
        }
        Answer::No(reason) => writeln!(out, "  not  {}: {reason}", playbook.name)?,
        Answer::Unknown(reason) => writeln!(out, "  not  {}: not known, {reason}", playbook.name)?,
    }
    Ok(())
}

fn as_json(playbook: &Playbook, answer: &Answer) -> Value {
    let (state, reason, severity) = match answer {
        Answer::Matched { severity } => ("matched", "", *severity),
        Answer::No(reason) => ("not_matched", reason.as_str(), None),
        Answer::Unknown(reason) => ("unknown", reason.as_str(), None),
    };
    let steps: Vec<&str> = playbook.steps.iter().map(|step| step.id.as_str()).collect();
    json!({ "name": playbook.name, "answer": state, "reason": reason, "severity": severity, "steps": steps })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Date = jiff::civil::date(2026, 11, 23);

    fn said(text: &str, json: bool) -> anyhow::Result<String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("alert.json");
        std::fs::write(&file, text).unwrap();
        let mut out = Vec::new();
        run(&Args { file, playbooks: None, json }, DAY, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn an_alert_is_answered_by_every_playbook() {
        let alert = r#"{"labels":{"alertname":"KubePodCrashLooping","pod":"api-0","namespace":"web","severity":"critical"}}"#;
        insta::assert_snapshot!(said(alert, false).unwrap(), @r#"
            alert 1 of 1: KubePodCrashLooping {namespace="web", pod="api-0", severity="critical"}
              runs pod-crashloop, P1: A pod does not stay up
                   pod: kube.pods
                   last_words: kube.logs
                   events: kube.events
                   owners: kube.owners
                   rollout: kube.rollout
                   quota: kube.quota
              not  hive-metastore-down: alertname=~"HiveMetastore(Down|Slow|NoReadyEndpoint)", but alertname is "KubePodCrashLooping"
              not  spark-driver-failed: alertname=~"SparkDriver(OOM|OOMKilled|ExitNonZero|HeapHigh)|SparkApplication(Failed|StuckSubmitted)|SparkSubmissionFailing|SparkPod(Pending|Unschedulable|ConfigError)|SparkImagePull", but alertname is "KubePodCrashLooping"
              not  spark-executor-lost: alertname=~"SparkExecutor(OOMKilled|FailuresHigh|Lost|Evicted|GCOverhead)|SparkNoExecutors|SparkTaskFailureRatio", but alertname is "KubePodCrashLooping"
              not  watchdog: alertname="HeartbeatMissing", but alertname is "KubePodCrashLooping"
        "#);
        let json: Value = serde_json::from_str(&said(alert, true).unwrap()).unwrap();
        assert_eq!(json[0]["playbooks"].as_array().unwrap().len(), 5);
    }

    #[test]
    fn a_payload_without_a_playbook_says_what_happens_then() {
        let payload = r#"{"alerts":[{"status":"firing","labels":{"alertname":"Unheard"},"startsAt":"2026-11-23T03:00:00Z"}]}"#;
        let said = said(payload, false).unwrap();
        assert!(said.starts_with("alert 1 of 1: Unheard\n"), "{said}");
        assert!(said.contains("no playbook matches"), "{said}");
    }

    #[test]
    fn what_is_no_alert_is_refused_with_the_reason() {
        for bad in ["", "[]", "{}", "{\"alerts\":[]}", "{\"alerts\":[{\"labels\":7}]}", "\0"] {
            let error = said(bad, false).unwrap_err().to_string();
            assert!(!error.is_empty());
        }
    }
}
