//! The cases, one file each. Each starts what it needs and ends it.

mod burst;
mod flow;
mod growth;
mod intake;
mod many;
mod postgres;
mod rules;
mod start;

use std::{path::PathBuf, time::Duration};

use tempfile::TempDir;

use crate::{report::Report, servers::Setup};

/// What is measured, and how long.
pub struct Bench {
    /// The product's binary.
    pub program: PathBuf,
    /// Once, and short: to see that it works.
    pub quick: bool,
}

impl Bench {
    /// How often a case is repeated; medians are reported.
    pub fn times(&self) -> usize {
        if self.quick { 1 } else { 3 }
    }

    /// How long a load goes on.
    pub fn time(&self) -> Duration {
        Duration::from_secs(if self.quick { 2 } else { 5 })
    }

    /// The product with an empty store, and the folder that it is in.
    pub fn setup(&self, sink: &str) -> (Setup, TempDir) {
        let folder = folder();
        let setup = Setup {
            program: self.program.clone(),
            folder: folder.path().to_owned(),
            store: None,
            sink: sink.to_owned(),
        };
        (setup, folder)
    }
}

/// A folder on a disk: in memory nothing is durable.
fn folder() -> TempDir {
    tempfile::Builder::new()
        .prefix("paramedic-load-")
        .tempdir_in("target")
        .expect("a folder under target/")
}

/// The cases by name, in the order in which they run.
pub fn names() -> Vec<&'static str> {
    vec!["start", "rules", "intake", "flow", "burst", "many", "postgres", "growth"]
}

/// Runs those that are named, or all.
pub async fn run(bench: &Bench, wanted: &[String], report: &mut Report) {
    for name in names() {
        if !wanted.is_empty() && !wanted.iter().any(|wanted| wanted == name) {
            continue;
        }
        report.begin(name);
        match name {
            "start" => start::measure(bench, report).await,
            "rules" => rules::measure(bench, report),
            "intake" => intake::measure(bench, report).await,
            "flow" => flow::measure(bench, report).await,
            "burst" => burst::measure(bench, report).await,
            "many" => many::measure(bench, report).await,
            "postgres" => postgres::measure(bench, report).await,
            "growth" => growth::measure(bench, report).await,
            other => unreachable!("{other} is in the list"),
        }
    }
}
