//! `incident.similar`: has this happened before, and how did it end?

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{failed, line, namespace};
use crate::{
    domain::{
        evidence::{Origin, Passage},
        target::Target,
        template::Input,
    },
    steps::{Ask, Context, Earlier, Effect, Failure, Need, Outcome, Step, span::Span},
};

/// Finds earlier incidents of the same alerts, about the same target, or with the same verdict: when, how they ended, who
/// had them, and what people wrote.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Similar {
    /// How far back, 1h to 365d; default 90d.
    pub since: Option<Span<3_600_000, 31_536_000_000>>,
    /// Most incidents, 1 to 20; default 5.
    pub limit: Limit,
    /// A verdict's id, such as `spark/executor/oom-killed`; default: the best one this incident has when the step runs.
    pub verdict: Option<Input<String>>,
}

/// Number of incidents.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "usize")]
#[schemars(inline)]
pub struct Limit(#[schemars(range(min = 1, max = 20))] pub(super) usize);

impl Default for Limit {
    fn default() -> Self {
        Self(5)
    }
}

impl TryFrom<usize> for Limit {
    type Error = String;

    fn try_from(limit: usize) -> Result<Self, String> {
        if (1..=20).contains(&limit) {
            Ok(Self(limit))
        } else {
            Err("`limit` is 1 to 20".to_owned())
        }
    }
}

/// What was found.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Found {
    /// The newest first.
    pub incidents: Vec<Earlier>,
    /// How many are here.
    pub count: usize,
}

const SINCE: std::time::Duration = std::time::Duration::from_hours(90 * 24);

impl Step for Similar {
    const KIND: &'static str = "incident.similar";
    const EFFECT: Effect = Effect::Read;
    const NEEDS: &'static [Need] = &[];
    const EXAMPLE: &'static str = "since: 90d\nlimit: 5\nverdict: spark/executor/oom-killed";
    type Output = Found;

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Found>, Failure> {
        let ask = Ask {
            since: self.since.map_or(SINCE, Span::get),
            limit: self.limit.0,
            target: context.target.map(Target::key),
            namespace: namespace(context),
            verdict: self.verdict.as_ref().map(|v| v.fill(context.scope)).transpose()?,
        };
        let incidents = context.memory.similar(&ask).await.map_err(failed)?;
        let lines: Vec<String> = incidents.iter().map(line).collect();
        let summary = match lines.as_slice() {
            [] => "nothing like it before".to_owned(),
            [only] => format!("1 like it: {only}"),
            [first, ..] => format!("{} like it; last: {first}", lines.len()),
        };
        let passage = |line| Passage::new(Origin::Incident, "earlier incidents", line);
        let passages = lines.into_iter().map(passage).collect();
        let value = Found { count: incidents.len(), incidents };
        Ok(Outcome { value, passages, summary })
    }
}
