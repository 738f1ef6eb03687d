//! Keeps playbooks and on-call files current. A bad edit keeps the last good ones and is loud: log, metric, UI and chat.

use std::{sync::Arc, time::Duration};

use jiff::tz::TimeZone;

use super::{
    oncall,
    wire::{Wired, text},
};
use crate::{
    config::Config,
    engine::Engine,
    ops::{
        lifecycle::{Tasks, blocking},
        metrics as names,
    },
    playbook::reload::{Polled, Reloader},
};

/// Between looks.
const EVERY: Duration = Duration::from_secs(5);
/// The kinds of files, in words.
const PLAYBOOKS: &str = "playbooks";
const ONCALL: &str = "on-call files";

/// Looks again and again, until the process drains.
pub fn keep_current(wired: &Wired, config: Arc<Config>, tasks: &Tasks) {
    let (engine, reloader) = (wired.engine.clone(), Arc::clone(&wired.reloader));
    let stop = tasks.stop().draining.clone();
    tasks.spawn("files.reload", async move {
        loop {
            look(&engine, &reloader, &config).await?;
            tokio::select! {
                () = engine.clock.sleep(EVERY) => {}
                () = stop.cancelled() => return Ok(()),
            }
        }
    });
}

/// One look at the files. Fails only when a task died.
pub async fn look(
    engine: &Engine,
    reloader: &Arc<Reloader>,
    config: &Arc<Config>,
) -> anyhow::Result<()> {
    let now = engine.now();
    let (looking, today) = (Arc::clone(reloader), now.to_zoned(TimeZone::UTC).date());
    match blocking(move || looking.poll(today)).await? {
        Polled::Unchanged => {}
        Polled::Swapped => {
            engine.catalog.set(reloader.current());
            in_force(PLAYBOOKS);
        }
        Polled::Refused => count(PLAYBOOKS, "error"),
    }
    say(engine, PLAYBOOKS, &text(&reloader.errors())).await;
    let reading = Arc::clone(config);
    let errors = match blocking(move || oncall::load(&reading, now)).await? {
        Ok(loaded) => {
            if *engine.oncall.get() != loaded.oncall {
                engine.oncall.set(Arc::new(loaded.oncall));
                in_force(ONCALL);
            }
            String::new()
        }
        Err(found) => text(&found),
    };
    if !errors.is_empty() && engine.wrong_files.get().get(ONCALL) != Some(&errors) {
        count(ONCALL, "error");
    }
    say(engine, ONCALL, &errors).await;
    Ok(())
}

/// What cannot be said now is said with the next look.
async fn say(engine: &Engine, what: &'static str, errors: &str) {
    if let Err(error) = engine.files_are(what, errors).await {
        let error = format!("{error:#}");
        tracing::error!(what, errors, error, "wrong files could not be announced");
    }
}

fn in_force(what: &'static str) {
    tracing::info!(what, "new files are in force");
    count(what, "ok");
}

fn count(what: &'static str, outcome: &'static str) {
    let label = if what == PLAYBOOKS { "playbooks" } else { "oncall" };
    metrics::counter!(names::RELOADS, "what" => label, "outcome" => outcome).increment(1);
}
