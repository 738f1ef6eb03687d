//! `prometheus.rule`: the rule behind the alert, and whether it is evaluated as it should be.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    clients::{one_line, prometheus::lists},
    domain::{
        evidence::{Origin, Passage},
        template::Input,
    },
    steps::{Context, Effect, Failure, Need, Outcome, Step},
};

/// Shows the alerting rules of a name in the cluster's Prometheus: expression, `for`, labels, health and last evaluation.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// The rule's name, a template; default: the alert's label `alertname`.
    pub name: Option<Input<String>>,
}

/// What was found.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Found {
    /// The name.
    pub name: String,
    /// True when there is such a rule.
    pub exists: bool,
    /// The rules of this name, at most 20: one name may stand in several groups.
    pub rules: Vec<Shown>,
    /// True when every one of them is evaluated without an error, and lately.
    pub healthy: bool,
}

/// A rule.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Shown {
    /// Its group.
    pub group: String,
    /// The expression, at most 4 000 characters.
    pub expression: String,
    /// How long it must hold, seconds.
    pub for_seconds: f64,
    /// Labels it adds.
    pub labels: BTreeMap<String, String>,
    /// `ok`, `err` or `unknown`.
    pub health: String,
    /// The last evaluation's error; empty without one.
    pub last_error: String,
    /// Seconds since it was evaluated; null when it never was.
    pub evaluated_seconds_ago: Option<i64>,
    /// Seconds between two evaluations.
    pub interval_seconds: f64,
    /// How long the last evaluation took, seconds.
    pub evaluation_seconds: f64,
    /// True when it was not evaluated for three intervals.
    pub stale: bool,
    /// Alerts of it that fire.
    pub firing: usize,
    /// Alerts of it that are pending.
    pub pending: usize,
}

/// Most rules kept.
const MAX: usize = 20;
/// Longest expression kept, characters.
const MAX_EXPRESSION: usize = 4_000;

impl Step for Rule {
    const KIND: &'static str = "prometheus.rule";
    const EFFECT: Effect = Effect::Read;
    const NEEDS: &'static [Need] = &[];
    const EXAMPLE: &'static str = r#"name: "{{labels.alertname}}""#;
    type Output = Found;

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Found>, Failure> {
        let client = super::client(context)?;
        let name = match &self.name {
            Some(name) => name.fill(context.scope)?,
            None => Input::from("{{labels.alertname}}").fill(context.scope)?,
        };
        if name.is_empty() {
            return Err(Failure::Skipped("the alert has no label `alertname`".to_owned()));
        }
        let rules = client.rules_named(&name).await?;
        Ok(outcome(&one_line(&name, 200), rules, context.clock.now()))
    }
}

fn outcome(name: &str, rules: Vec<lists::Rule>, now: Timestamp) -> Outcome<Found> {
    let cut = rules.len() > MAX;
    let rules: Vec<Shown> = rules.into_iter().take(MAX).map(|rule| shown(rule, now)).collect();
    let healthy = rules.iter().all(|rule| rule.health != "err" && !rule.stale);
    let mut lines: Vec<String> = rules.iter().map(|rule| line(name, rule)).collect();
    let summary = match lines.as_slice() {
        [] => format!("rule {name}: Prometheus has no such rule"),
        [only] => only.clone(),
        [first, ..] => format!("{} rules; first: {first}", lines.len()),
    };
    if lines.is_empty() {
        lines.push(summary.clone());
    }
    let passage = |line| Passage { cut, ..Passage::new(Origin::Alert, "Prometheus", line) };
    let passages = lines.into_iter().map(passage).collect();
    let value = Found { name: name.to_owned(), exists: !rules.is_empty(), rules, healthy };
    Outcome { value, passages, summary }
}

fn shown(rule: lists::Rule, now: Timestamp) -> Shown {
    let lists::Rule { group, interval, rule } = rule;
    let count = |state: &str| rule.alerts.iter().filter(|alert| alert.state == state).count();
    // Go's zero time stands for never.
    let last = rule.last_evaluation.filter(|last| *last > Timestamp::UNIX_EPOCH);
    let ago = last.map(|last| now.duration_since(last).as_secs().max(0));
    #[allow(clippy::cast_precision_loss, reason = "seconds")]
    let stale = ago.is_some_and(|ago| interval > 0.0 && ago as f64 > interval * 3.0);
    Shown {
        firing: count("firing"),
        pending: count("pending"),
        group: one_line(&group, 200),
        expression: one_line(&rule.query, MAX_EXPRESSION),
        for_seconds: rule.duration,
        health: rule.health,
        last_error: one_line(&rule.last_error, 500),
        evaluated_seconds_ago: ago,
        interval_seconds: interval,
        evaluation_seconds: rule.evaluation_time,
        stale,
        labels: rule.labels,
    }
}

/// The canonical line of a rule, which signatures match.
fn line(name: &str, rule: &Shown) -> String {
    let Shown { group, expression, for_seconds, health, firing, pending, .. } = rule;
    let mut text = vec![format!(
        "rule {name} in group {group}: {health}, {firing} firing, {pending} pending: {} for {for_seconds} s",
        one_line(expression, 500)
    )];
    match rule.evaluated_seconds_ago {
        Some(ago) if rule.stale => text.push(format!(", STALE, evaluated {ago} s ago")),
        Some(ago) => text.push(format!(", evaluated {ago} s ago")),
        None => text.push(", never evaluated".to_owned()),
    }
    if !rule.last_error.is_empty() {
        text.push(format!(", error: {}", rule.last_error));
    }
    text.concat()
}
