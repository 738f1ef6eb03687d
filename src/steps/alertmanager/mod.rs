//! `alertmanager.*`: what the sender of the alert knows: which alerts it has, and what keeps them silent.

pub mod alerts;
pub mod silences;

use super::{Context, Failure};
use crate::{
    clients::{Result as ClientResult, alertmanager::Client, one_line},
    domain::template::Input,
};

/// Most instances asked before giving up: each may take five seconds, and a step has twenty.
const MAX_INSTANCES: usize = 3;

/// The instances of the named source, or of the incident's own; or why the step is skipped.
async fn instances(
    context: &Context<'_>,
    source: Option<&Input<String>>,
) -> Result<Vec<Client>, Failure> {
    let source = source.map(|source| source.fill(context.scope)).transpose()?;
    let found = context.memory.alertmanagers(source.as_deref()).await;
    let mut found = found.map_err(Failure::Skipped)?;
    if found.is_empty() {
        let named = source.map_or("<its source>".to_owned(), |source| one_line(&source, 80));
        let why = format!("no Alertmanager is configured; add `sources.{named}.alertmanagers`");
        return Err(Failure::Skipped(why));
    }
    found.truncate(MAX_INSTANCES);
    Ok(found)
}

/// The first answer, and what the instances before it said. Members of a cluster tell each other all they know, so one is
/// enough; the last error when none answers.
async fn first<'a, T, F>(
    instances: &'a [Client],
    ask: impl Fn(&'a Client) -> F,
) -> Result<(T, Vec<String>), Failure>
where
    F: Future<Output = ClientResult<T>>,
{
    let mut silent = vec![];
    let mut last = None;
    for client in instances {
        match ask(client).await {
            Ok(value) => return Ok((value, silent)),
            Err(error) => {
                silent.push(error.to_string());
                last = Some(error);
            }
        }
    }
    Err(last.map_or_else(|| Failure::Skipped("no Alertmanager".to_owned()), Failure::Client))
}
