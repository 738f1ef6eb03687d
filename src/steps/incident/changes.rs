//! `incident.changes`: what else happened just before.
//!
//! It knows what Paramedic saw: other incidents. It sees no deployment and no configuration change that raised no alert; do
//! not read an empty answer as "nothing changed".

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{failed, line, namespace, similar::Limit};
use crate::{
    domain::{
        evidence::{Origin, Passage},
        target::Target,
    },
    steps::{Ask, Context, Earlier, Effect, Failure, Need, Outcome, Step, span::Span},
};

/// Finds other incidents that opened shortly before this one, or are still open: about the same target, in the same
/// namespace, or within ten minutes in the same cluster; with what people wrote. Changes that raised no alert are not known.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Changes {
    /// How long before this incident opened, 1m to 7d; default 2h.
    pub since: Option<Span<60_000, 604_800_000>>,
    /// Most incidents, 1 to 20; default 5.
    pub limit: Limit,
}

/// What was found.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Found {
    /// The newest first.
    pub incidents: Vec<Earlier>,
    /// How many are here.
    pub count: usize,
}

const SINCE: std::time::Duration = std::time::Duration::from_hours(2);

impl Step for Changes {
    const KIND: &'static str = "incident.changes";
    const EFFECT: Effect = Effect::Read;
    const NEEDS: &'static [Need] = &[];
    const EXAMPLE: &'static str = "since: 2h\nlimit: 5";
    type Output = Found;

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Found>, Failure> {
        let ask = Ask {
            since: self.since.map_or(SINCE, Span::get),
            limit: self.limit.0,
            target: context.target.map(Target::key),
            namespace: namespace(context),
            verdict: None,
        };
        let incidents = context.memory.around(&ask).await.map_err(failed)?;
        let lines: Vec<String> = incidents.iter().map(line).collect();
        let summary = match lines.as_slice() {
            [] => "no other incident near this one".to_owned(),
            [only] => format!("1 near this one: {only}"),
            [first, ..] => format!("{} near this one; last: {first}", lines.len()),
        };
        let passage = |line| Passage::new(Origin::Incident, "other incidents", line);
        let passages = lines.into_iter().map(passage).collect();
        let value = Found { count: incidents.len(), incidents };
        Ok(Outcome { value, passages, summary })
    }
}
