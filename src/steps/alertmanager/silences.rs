//! `alertmanager.silences`: silences that cover the alert, now or soon, or until lately.

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    clients::{alertmanager::read::KnownSilence, one_line},
    domain::{
        evidence::{Origin, Passage},
        template::Input,
    },
    steps::{
        Context, Effect, Failure, Need, Outcome, Step,
        labels::{self, Labels},
        span::Span,
    },
};

/// Lists the silences of the Alertmanager that sent the alert which cover it: active and pending ones, and those that ended
/// lately, because an alert that was silenced until a minute ago is no news.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Silences {
    /// Silences that would cover an alert with these labels; default: all labels of the alert.
    pub labels: Option<Labels>,
    /// How long ago a silence may have ended, 1s to 30d; default 1h.
    pub ended_within: Option<Span<1_000, 2_592_000_000>>,
    /// A name under `sources:`; default: the one the alert came from.
    pub source: Option<Input<String>>,
}

/// What was found.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Found {
    /// Active ones first, then pending, then expired; at most 50.
    pub silences: Vec<Shown>,
    /// How many are active.
    pub active: usize,
    /// How many begin later.
    pub pending: usize,
    /// How many ended lately.
    pub expired: usize,
    /// Instances that did not answer before one did, with the reason.
    pub silent_instances: Vec<String>,
}

/// A silence.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Shown {
    /// Its id.
    pub id: String,
    /// `active`, `pending` or `expired`.
    pub state: String,
    /// Its matchers: `pod=~"etl-.*"`.
    pub matchers: Vec<String>,
    /// From.
    #[schemars(with = "String")]
    pub starts_at: Timestamp,
    /// Until.
    #[schemars(with = "String")]
    pub ends_at: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// Why.
    pub comment: String,
}

/// Most silences kept.
const MAX: usize = 50;
const ENDED_WITHIN: std::time::Duration = std::time::Duration::from_hours(1);

impl Step for Silences {
    const KIND: &'static str = "alertmanager.silences";
    const EFFECT: Effect = Effect::Read;
    const NEEDS: &'static [Need] = &[];
    const EXAMPLE: &'static str = "ended_within: 1h\nsource: prod";
    type Output = Found;

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Found>, Failure> {
        let wanted = match &self.labels {
            Some(labels) => labels.fill(context.scope)?,
            None => labels::of_alert(context.scope),
        };
        if wanted.is_empty() {
            let why = "no labels to look for: there is no alert, and `labels:` is empty";
            return Err(Failure::Skipped(why.to_owned()));
        }
        let instances = super::instances(context, self.source.as_ref()).await?;
        let (mut silences, silent) =
            super::first(&instances, crate::clients::alertmanager::Client::silences).await?;
        let within = self.ended_within.map_or(ENDED_WITHIN, Span::get);
        let within = SignedDuration::try_from(within).unwrap_or(SignedDuration::MAX);
        let since = context.clock.now().saturating_sub(within).unwrap_or(Timestamp::MIN);
        silences.retain(|silence| silence.ends_at >= since && silence.covers(&wanted));
        Ok(outcome(silences, silent))
    }
}

fn outcome(mut silences: Vec<KnownSilence>, silent_instances: Vec<String>) -> Outcome<Found> {
    let rank = |state: &str| match state {
        "active" => 0,
        "pending" => 1,
        _ => 2,
    };
    silences.sort_by_cached_key(|silence| (rank(&silence.status.state), silence.ends_at));
    let count = |wanted: u8| silences.iter().filter(|s| rank(&s.status.state) == wanted).count();
    let (active, pending, expired) = (count(0), count(1), count(2));
    let cut = silences.len() > MAX;
    let shown: Vec<Shown> = silences.into_iter().take(MAX).map(shown).collect();
    let mut lines: Vec<String> = shown.iter().map(line).collect();
    let summary = match lines.first() {
        Some(first) if active > 0 => first.clone(),
        _ => format!("no active silence, {pending} pending, {expired} ended lately"),
    };
    lines.push(format!("silences: {active} active, {pending} pending, {expired} ended lately"));
    lines.extend(silent_instances.iter().map(|why| format!("alertmanager instance: {why}")));
    let passage = |line| Passage { cut, ..Passage::new(Origin::Alert, "Alertmanager", line) };
    let passages = lines.into_iter().map(passage).collect();
    let value = Found { silences: shown, active, pending, expired, silent_instances };
    Outcome { value, passages, summary }
}

fn shown(silence: KnownSilence) -> Shown {
    let matchers = silence.matchers.iter().take(50).map(|m| one_line(&m.shown(), 300)).collect();
    Shown {
        id: one_line(&silence.id, 100),
        state: silence.status.state,
        matchers,
        starts_at: silence.starts_at,
        ends_at: silence.ends_at,
        created_by: one_line(&silence.created_by, 200),
        comment: one_line(&silence.comment, 500),
    }
}

/// The canonical line of a silence, which signatures match.
fn line(silence: &Shown) -> String {
    let Shown { id, state, matchers, ends_at, created_by, comment, .. } = silence;
    let matchers = one_line(&matchers.join(","), 400);
    format!("silence {id} {state} until {ends_at} by {created_by}: {matchers}: {comment}")
}
