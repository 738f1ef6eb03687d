//! `alertmanager.alerts`: alerts as Alertmanager sees them, suppressed ones too.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    clients::{alertmanager::read, one_line},
    domain::{
        evidence::{Origin, Passage},
        template::Input,
    },
    steps::{
        Context, Effect, Failure, Need, Outcome, Step,
        labels::{self, Labels},
    },
};

/// Lists the alerts of the Alertmanager that sent this one: which fire, and which are kept silent by a silence or by
/// another alert. Its address is `sources.<name>.alertmanagers`; the first instance that answers is enough.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Alerts {
    /// Only alerts with these labels; default: the alert's own `alertname`.
    pub labels: Option<Labels>,
    /// A name under `sources:`; default: the one the alert came from.
    pub source: Option<Input<String>>,
}

/// What was found.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Found {
    /// Suppressed ones first; at most 100.
    pub alerts: Vec<Shown>,
    /// How many there are.
    pub total: usize,
    /// How many notify.
    pub active: usize,
    /// How many are kept silent.
    pub suppressed: usize,
    /// Instances that did not answer before one did, with the reason.
    pub silent_instances: Vec<String>,
}

/// An alert.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Shown {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// `active`, `suppressed` or `unprocessed`.
    pub state: String,
    /// Ids of silences that cover it.
    pub silenced_by: Vec<String>,
    /// Fingerprints of alerts that inhibit it.
    pub inhibited_by: Vec<String>,
    /// Names of the receivers it goes to.
    pub receivers: Vec<String>,
    /// Its fingerprint.
    pub fingerprint: String,
    /// Since when it fires.
    #[schemars(with = "String")]
    pub starts_at: Timestamp,
}

/// Most alerts kept, and most of them that become passages.
const MAX: usize = 100;
const MAX_PASSAGES: usize = 50;

impl Step for Alerts {
    const KIND: &'static str = "alertmanager.alerts";
    const EFFECT: Effect = Effect::Read;
    const NEEDS: &'static [Need] = &[];
    const EXAMPLE: &'static str = r#"labels: { namespace: "{{labels.namespace}}" }
source: prod"#;
    type Output = Found;

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Found>, Failure> {
        let wanted = if let Some(labels) = &self.labels {
            labels.fill(context.scope)?
        } else {
            let mut own = labels::of_alert(context.scope);
            own.retain(|name, _| name == "alertname");
            own
        };
        if wanted.is_empty() {
            let why = "no labels to look for: the alert has no `alertname`, and `labels:` is empty";
            return Err(Failure::Skipped(why.to_owned()));
        }
        let instances = super::instances(context, self.source.as_ref()).await?;
        let (alerts, silent) = super::first(&instances, |client| client.alerts(&wanted)).await?;
        Ok(outcome(alerts, silent))
    }
}

fn outcome(mut alerts: Vec<read::Alert>, silent_instances: Vec<String>) -> Outcome<Found> {
    alerts.sort_by_cached_key(|alert| (alert.status.state != "suppressed", alert.labels.clone()));
    let count = |state: &str| alerts.iter().filter(|alert| alert.status.state == state).count();
    let (total, active, suppressed) = (alerts.len(), count("active"), count("suppressed"));
    let cut = total > MAX_PASSAGES;
    let mut lines: Vec<String> = alerts.iter().take(MAX_PASSAGES).map(line).collect();
    let summary = format!("{total} alerts: {active} active, {suppressed} suppressed");
    lines.push(format!("alertmanager: {summary}"));
    lines.extend(silent_instances.iter().map(|why| format!("alertmanager instance: {why}")));
    let passage = |line| Passage { cut, ..Passage::new(Origin::Alert, "Alertmanager", line) };
    let passages = lines.into_iter().map(passage).collect();
    let shown = alerts.into_iter().take(MAX).map(|alert| Shown {
        labels: alert.labels,
        state: alert.status.state,
        silenced_by: alert.status.silenced_by,
        inhibited_by: alert.status.inhibited_by,
        receivers: alert.receivers.into_iter().map(|receiver| receiver.name).collect(),
        fingerprint: alert.fingerprint,
        starts_at: alert.starts_at,
    });
    let value = Found { alerts: shown.collect(), total, active, suppressed, silent_instances };
    Outcome { value, passages, summary }
}

/// The canonical line of an alert, which signatures match.
fn line(alert: &read::Alert) -> String {
    let read::Alert { labels, status, starts_at, .. } = alert;
    let read::AlertStatus { state, silenced_by, inhibited_by, muted_by: _ } = status;
    let named = |name: &str| labels.get(name).map_or("", String::as_str);
    let others: Vec<String> = labels
        .iter()
        .filter(|(name, _)| *name != "alertname")
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let others = one_line(&others.join(","), 400);
    let name = one_line(named("alertname"), 200);
    let mut text = vec![format!("alert {name} {state} since {starts_at}: {others}")];
    if !silenced_by.is_empty() {
        text.push(format!(", silenced by {}", one_line(&silenced_by.join(" "), 200)));
    }
    if !inhibited_by.is_empty() {
        text.push(format!(", inhibited by {}", one_line(&inhibited_by.join(" "), 200)));
    }
    text.concat()
}
