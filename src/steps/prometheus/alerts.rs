//! `prometheus.alerts`: what fires beside this alert, as the cluster's Prometheus sees it.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::query::labels;
use crate::{
    clients::{one_line, prometheus::lists::ActiveAlert},
    domain::evidence::{Origin, Passage},
    steps::{
        Context, Effect, Failure, Need, Outcome, Step,
        labels::{Labels, holds},
    },
};

/// Lists the alerts that are pending or firing in the cluster's Prometheus, firing ones first.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Alerts {
    /// Only alerts with these labels: `{ namespace: "{{labels.namespace}}" }`.
    pub labels: Labels,
    /// `firing`, `pending` or `all`; default `all`.
    pub state: Wanted,
}

/// Which alerts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// Firing.
    Firing,
    /// Waiting for their `for`.
    Pending,
    /// Both.
    #[default]
    All,
}

/// What was found.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Found {
    /// Firing ones first, then by name; at most 100.
    pub alerts: Vec<Shown>,
    /// How many fire, also when fewer are kept.
    pub firing: usize,
    /// How many are pending.
    pub pending: usize,
}

/// An alert.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Shown {
    /// Its name.
    pub name: String,
    /// `firing` or `pending`.
    pub state: String,
    /// Its labels.
    pub labels: std::collections::BTreeMap<String, String>,
    /// Its annotation `summary`, else `description`; empty without one.
    pub summary: String,
    /// Since when its expression holds; null when Prometheus does not say.
    #[schemars(with = "Option<String>")]
    pub active_at: Option<Timestamp>,
    /// The expression's value.
    pub value: String,
}

/// Most alerts kept, and most of them that become passages.
const MAX: usize = 100;
const MAX_PASSAGES: usize = 50;

impl Step for Alerts {
    const KIND: &'static str = "prometheus.alerts";
    const EFFECT: Effect = Effect::Read;
    const NEEDS: &'static [Need] = &[];
    const EXAMPLE: &'static str = r#"labels: { namespace: "{{labels.namespace}}" }
state: firing"#;
    type Output = Found;

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Found>, Failure> {
        let client = super::client(context)?;
        let wanted = self.labels.fill(context.scope)?;
        let mut alerts = client.alerts().await?;
        alerts.retain(|alert| holds(&wanted, &alert.labels) && self.state.fits(&alert.state));
        Ok(outcome(alerts))
    }
}

impl Wanted {
    fn fits(self, state: &str) -> bool {
        match self {
            Self::Firing => state == "firing",
            Self::Pending => state == "pending",
            Self::All => true,
        }
    }
}

fn outcome(mut alerts: Vec<ActiveAlert>) -> Outcome<Found> {
    let name = |alert: &ActiveAlert| alert.labels.get("alertname").cloned().unwrap_or_default();
    alerts.sort_by_cached_key(|alert| (alert.state != "firing", name(alert)));
    let firing = alerts.iter().filter(|alert| alert.state == "firing").count();
    let pending = alerts.len() - firing;
    let cut = alerts.len() > MAX_PASSAGES;
    let lines = alerts.iter().take(MAX_PASSAGES).map(|alert| {
        let shown = one_line(&labels(&alert.labels), 500);
        format!(
            "alert {} {}: {shown} value {}",
            name(alert),
            alert.state,
            one_line(&alert.value, 60)
        )
    });
    let passages =
        lines.map(|line| Passage { cut, ..Passage::new(Origin::Alert, "Prometheus", line) });
    let passages = passages.collect();
    let summary = format!("{firing} firing, {pending} pending");
    let shown = alerts.into_iter().take(MAX).map(|mut alert| Shown {
        name: name(&alert),
        summary: ["summary", "description"]
            .iter()
            .find_map(|key| alert.annotations.remove(*key))
            .map_or_else(String::new, |text| one_line(&text, 500)),
        state: alert.state,
        labels: alert.labels,
        active_at: alert.active_at,
        value: alert.value,
    });
    let value = Found { alerts: shown.collect(), firing, pending };
    Outcome { value, passages, summary }
}
