//! `hive.metastore`: how a Hive Metastore is, layer by layer.
//!
//! A metastore that is down is a finding, not a failed step: the diagnosis is exactly what was asked for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::metastore_name;
use crate::{
    clients::hive::{Deadlines, Ladder, Rung, RungState, TableName, Verdict},
    domain::{
        evidence::{Origin, Passage},
        template::Input,
    },
    steps::{Context, Effect, Failure, Need, Outcome, Step, span::Span},
};

/// Climbs from DNS over TCP, `getStatus` and `get_all_databases` to a canary table, and says which layer does not answer.
/// It takes at most 14 seconds and never longer, whatever state the metastore is in.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Metastore {
    /// A name under the cluster's `metastores:`; by default the target's, else `main`.
    pub name: Option<Input<String>>,
    /// A table that must exist, as `database.table`; without it the last rung is not tried.
    pub canary: Option<Input<TableName>>,
    /// A rung that takes longer is called slow; default 2s.
    pub slow: Option<Span<1, 10_000>>,
}

/// What the climb found.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Health {
    /// The metastore's configured name.
    pub name: String,
    /// Its configured address.
    pub address: String,
    /// What the rungs mean together.
    pub verdict: Verdict,
    /// The rungs that were tried; the last one is the failed one, if any failed.
    pub rungs: Vec<Rung>,
    /// All rungs together, milliseconds.
    pub total_ms: u64,
}

impl Step for Metastore {
    const KIND: &'static str = "hive.metastore";
    const EFFECT: Effect = Effect::Read;
    const NEEDS: &'static [Need] = &[];
    const EXAMPLE: &'static str = "name: main\ncanary: ops.canary\nslow: 2s";
    type Output = Health;

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Health>, Failure> {
        let cluster = context.cluster()?;
        let name = metastore_name(self.name.as_ref(), context)?;
        let Some(client) = cluster.metastores.get(&name) else {
            let known: Vec<&str> = cluster.metastores.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(Failure::Skipped(format!(
                "cluster {} has no metastore named `{}` (configured: {known})",
                cluster.name,
                name.chars().take(80).collect::<String>().escape_debug(),
            )));
        };
        let canary = self.canary.as_ref().map(|c| c.fill(context.scope)).transpose()?;
        let mut deadlines = Deadlines::default();
        if let Some(slow) = self.slow {
            deadlines.slow = slow.get();
        }
        let ladder = client.ladder(&deadlines, canary.as_ref(), context.clock).await;
        Ok(outcome(name, client.to_string(), ladder))
    }
}

fn outcome(name: String, address: String, ladder: Ladder) -> Outcome<Health> {
    let Ladder { rungs, verdict } = ladder;
    let lines: Vec<String> = rungs.iter().map(|rung| line(&name, rung)).collect();
    let told = rungs.iter().position(|r| r.state == RungState::Failed);
    let told = told.or_else(|| rungs.iter().position(|r| r.state == RungState::Slow));
    let summary = match told.and_then(|at| lines.get(at)) {
        Some(line) => format!("{}: {line}", verdict.word()),
        None => format!("metastore {name}: {}", verdict.word()),
    };
    let source = format!("metastore {name}");
    let passage = |text| Passage::new(Origin::Metastore, &source, text);
    let passages = lines.into_iter().map(passage).collect();
    let total_ms = rungs.iter().map(|rung| rung.latency_ms).sum();
    Outcome { value: Health { name, address, verdict, rungs, total_ms }, passages, summary }
}

/// The canonical line of a rung, which signatures match.
fn line(name: &str, rung: &Rung) -> String {
    let Rung { name: rung_name, state, latency_ms, kind, reason } = rung;
    let head = format!("metastore {name} {}", rung_name.word());
    match state {
        RungState::Ok if reason.is_empty() => format!("{head}: ok in {latency_ms} ms"),
        RungState::Ok => format!("{head}: ok in {latency_ms} ms ({reason})"),
        RungState::Slow => format!("{head}: slow, {latency_ms} ms"),
        RungState::Failed => {
            let kind = kind.map_or("unknown", |kind| kind.word());
            format!("{head}: FAILED after {latency_ms} ms: {kind}: {reason}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::hive::{FailureKind, RungName};

    fn rung(name: RungName, state: RungState, latency_ms: u64) -> Rung {
        Rung { name, state, latency_ms, kind: None, reason: String::new() }
    }

    #[test]
    fn every_rung_is_one_canonical_line_and_the_summary_quotes_the_one_that_matters() {
        let failed = Rung {
            kind: Some(FailureKind::Timeout),
            reason: "no answer within 5000 ms".to_owned(),
            ..rung(RungName::GetAllDatabases, RungState::Failed, 5000)
        };
        let rungs = vec![
            rung(RungName::Dns, RungState::Ok, 0),
            rung(RungName::GetStatus, RungState::Slow, 2400),
            failed,
        ];
        let outcome = outcome(
            "main".to_owned(),
            "hms:9083".to_owned(),
            Ladder { rungs, verdict: Verdict::Database },
        );
        let lines: Vec<_> = outcome.passages.iter().map(|p| p.text.as_str()).collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        metastore main dns: ok in 0 ms
        metastore main get_status: slow, 2400 ms
        metastore main get_all_databases: FAILED after 5000 ms: timeout: no answer within 5000 ms
        ");
        insta::assert_snapshot!(outcome.summary, @"database: metastore main get_all_databases: FAILED after 5000 ms: timeout: no answer within 5000 ms");
        assert_eq!(outcome.value.total_ms, 7400);
    }

    #[test]
    fn the_words_of_lines_and_of_the_output_are_the_same() {
        for kind in [
            FailureKind::Refused,
            FailureKind::Timeout,
            FailureKind::ClosedWithoutReply,
            FailureKind::Exception,
            FailureKind::Unresolved,
            FailureKind::Unreachable,
            FailureKind::Malformed,
        ] {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.word());
        }
        assert_eq!(
            serde_json::to_value(Verdict::ThreadStarved).unwrap(),
            Verdict::ThreadStarved.word()
        );
    }
}
