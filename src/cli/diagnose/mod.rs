//! `paramedic diagnose`: the same signatures as a run of a playbook, from a terminal, without daemon, alert or
//! configuration. `log` reads files and needs no network; `spark` asks a cluster, read-only.
//!
//! Exit codes: 0 it was looked at, with or without a verdict; 1 something could not be read; 2 bad usage.

pub mod log;
mod objects;
mod pieces;
pub mod show;
pub mod spark;

use std::{io::Write, process::ExitCode};

use jiff::civil::Date;

use crate::ops::clock::Clock;

/// Says what is wrong, without daemon or configuration
#[derive(Debug, clap::Subcommand)]
pub enum Diagnose {
    /// By logs and other files, offline.
    Log(log::Log),
    /// By a cluster, read-only.
    Spark(spark::Spark),
}

impl Diagnose {
    /// Runs it.
    pub async fn run(
        &self,
        clock: &Clock,
        today: Date,
        out: &mut impl Write,
    ) -> anyhow::Result<ExitCode> {
        match self {
            Self::Log(log) => log.run(&mut std::io::stdin().lock(), today, out),
            Self::Spark(spark) => spark.run(clock, today, out).await,
        }
    }
}
