//! `incident.note`: a line on the incident's timeline.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    clients,
    domain::template::Input,
    steps::{Context, Effect, Failure, Need, Outcome, Step},
};

/// Adds a note to the incident's timeline and to its card's thread.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// The text, a template; at most 4 000 characters are kept.
    pub text: Input<String>,
}

/// What was written.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Written {
    /// The filled text.
    pub text: String,
}

/// Longest note, characters.
const MAX_TEXT: usize = 4_000;

impl Step for Note {
    const KIND: &'static str = "incident.note";
    const EFFECT: Effect = Effect::Idempotent;
    const NEEDS: &'static [Need] = &[];
    const EXAMPLE: &'static str = r#"text: "driver pod is {{labels.pod}}""#;
    type Output = Written;

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Written>, Failure> {
        let text: String = self.text.fill(context.scope)?.chars().take(MAX_TEXT).collect();
        if text.trim().is_empty() {
            return Err(Failure::Skipped("the note is empty".to_owned()));
        }
        context.memory.note(context.idempotency_key, &text).await.map_err(|reason| {
            clients::Error::new(clients::Kind::Unreachable, "write the note", reason)
        })?;
        Ok(Outcome { summary: text.clone(), passages: vec![], value: Written { text } })
    }
}
