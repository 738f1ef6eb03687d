//! Tracing output: readable lines on a terminal, JSON elsewhere; always on stderr.
//!
//! Standard output belongs to results, so that `paramedic oncall now | jq` works whatever is logged.

use std::io::{IsTerminal as _, stderr};

use anyhow::Context as _;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// Starts the output of the process. `level` is `info` or `info,paramedic::engine=debug`; `json` is decided by the terminal
/// when `None`. Fails on a level that cannot be read, and when called twice.
pub fn init(level: &str, json: Option<bool>) -> anyhow::Result<()> {
    let filter: EnvFilter =
        level.parse().with_context(|| format!("`{level}` is not a log level"))?;
    let text = !json.unwrap_or_else(|| !stderr().is_terminal());
    // One of the two layers is there; an absent layer is no layer.
    let people = text.then(|| fmt::layer().with_writer(stderr).with_ansi(stderr().is_terminal()));
    let machines = (!text).then(|| fmt::layer().json().flatten_event(true).with_writer(stderr));
    let started =
        tracing_subscriber::registry().with(filter).with(people).with(machines).try_init();
    started.context("start the log output")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_that_cannot_be_read_is_refused_before_anything_starts() {
        let error = init("paramedic=[loud", Some(true)).unwrap_err();
        assert_eq!(error.to_string(), "`paramedic=[loud` is not a log level");
    }
}
