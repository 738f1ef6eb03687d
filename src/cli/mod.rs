//! The command line: one file per subcommand. Results go to standard output, everything else to standard error.
//!
//! Exit codes: 0 done; 1 it did not work, or what was checked is wrong; 2 the command line cannot be read, or is not for this
//! kind of store.

pub mod backup;
pub mod check;
#[cfg(feature = "demo")]
pub mod demo;
pub mod diagnose;
pub mod doctor;
pub mod explain;
pub mod incident;
pub mod oncall;
pub mod rbac;
pub mod reload;
pub mod schema;
pub mod serve;
pub mod store;
pub mod test;
pub mod whatif;
pub mod wire;

use std::{fmt, io::Write as _, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde::Serialize;

use crate::{
    clients::kube,
    config::{self, Config},
    domain::oncall::OnCall,
    ops::clock::Clock,
};

/// First on the scene when Alertmanager calls: diagnoses Spark on Kubernetes, posts its evidence, pages until a person
/// answers
#[derive(Debug, Parser)]
#[command(name = "paramedic", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    #[cfg(feature = "demo")]
    Demo(demo::Demo),
    #[command(subcommand)]
    Diagnose(diagnose::Diagnose),
    /// Checks playbooks and signatures; with --config, the configuration and the on-call files too
    Check(Check),
    /// Says which playbooks an alert leads to, and why not the others
    Explain(explain::Args),
    /// Runs the tests beside your playbooks, without a cluster
    Test(test::Args),
    /// Prints a JSON Schema for editors
    Schema(schema::Args),
    /// Prints the Kubernetes Roles that your playbooks need, and nothing more
    Rbac(rbac::Args),
    Doctor(doctor::Args),
    /// Who is on call
    #[command(subcommand)]
    Oncall(Oncall),
    Whatif(WhatifFrom),
    Incident(incident::Incident),
    #[command(subcommand)]
    Store(store::Store),
}

#[derive(Debug, Args)]
struct Check {
    #[command(flatten)]
    files: check::Args,
    /// Configuration to check, with the on-call files it names
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Oncall {
    Now(OncallNow),
}

/// Who is on call, until when, and who is next
#[derive(Debug, Args)]
struct OncallNow {
    #[command(flatten)]
    now: oncall::Now,
    #[command(flatten)]
    from: From,
}

/// Shows who would be paged, when, and through what
#[derive(Debug, Args)]
struct WhatifFrom {
    #[command(flatten)]
    whatif: whatif::Whatif,
    #[command(flatten)]
    from: From,
}

/// Where on-call files are named, and how to answer.
#[derive(Debug, Args)]
struct From {
    /// Configuration file; without one, `$PARAMEDIC_CONFIG`, else the defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to answer
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no mistakes; clap knows where each goes.
            let code = if error.use_stderr() { 2 } else { 0 };
            drop(error.print());
            return ExitCode::from(code);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    runtime.block_on(run(cli.command)).unwrap_or_else(|error| failed(&error))
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    let now = Clock::System.now();
    let today = now.to_zoned(TimeZone::UTC).date();
    let out = &mut std::io::stdout();
    match command {
        Command::Serve(serve) => serve.run().await,
        #[cfg(feature = "demo")]
        Command::Demo(demo) => demo.run().await,
        Command::Diagnose(what) => what.run(&Clock::System, today, out).await,
        Command::Check(all) => all.run(now, today).await,
        Command::Explain(args) => explain::run(&args, today, out),
        Command::Test(args) => test::run(&args, today, out),
        Command::Schema(args) => schema::run(&args, out),
        Command::Doctor(args) => doctor::run(&args, Clock::System, today, out).await,
        Command::Rbac(args) => rbac::run(&args, today, out),
        Command::Oncall(Oncall::Now(OncallNow { now: asked, from })) => {
            print(&asked.run(&from.oncall(now)?, now)?, from.output)
        }
        Command::Incident(args) => {
            let color = std::io::IsTerminal::is_terminal(out);
            incident::run(&args, out, color).await
        }
        Command::Store(command) => command.run().await,
        Command::Whatif(WhatifFrom { whatif, from }) => {
            print(&whatif.run(&from.oncall(now)?, now)?, from.output)
        }
    }
}

impl Check {
    async fn run(&self, now: Timestamp, today: Date) -> anyhow::Result<ExitCode> {
        let out = &mut std::io::stdout();
        let files = check::run(&self.files, today, out)?;
        let Some(path) = &self.config else { return Ok(files) };
        let config = Config::from_process(Some(path))?;
        let wrong = wrong_kubeconfigs(&config).await;
        for line in &wrong {
            writeln!(out, "{line}")?;
        }
        match oncall::load(&config, now) {
            Ok(_) if !wrong.is_empty() => Ok(ExitCode::FAILURE),
            Ok(loaded) => {
                for warning in &loaded.warnings {
                    writeln!(out, "{warning}")?;
                }
                writeln!(out, "{}: the configuration and its on-call files fit", path.display())?;
                Ok(files)
            }
            Err(found) => {
                for diagnostic in &found {
                    writeln!(out, "{diagnostic}")?;
                }
                Ok(ExitCode::FAILURE)
            }
        }
    }
}

/// What is wrong with kubeconfigs: the daemon starts without these clusters, and people wonder at night.
async fn wrong_kubeconfigs(config: &Config) -> Vec<String> {
    let mut wrong = vec![];
    for (name, cluster) in &config.clusters {
        // Whether there is a service account, only the daemon's own pod can tell.
        let Some(kube @ config::Kube::Kubeconfig(_)) = &cluster.kube else { continue };
        let opened = kube::Client::open(&wire::access(kube)).await;
        wrong.extend(opened.err().map(|error| format!("clusters.{name}.kube: {error}")));
    }
    wrong
}

impl From {
    fn oncall(&self, now: Timestamp) -> anyhow::Result<OnCall> {
        let config = Config::from_process(self.config.as_deref())?;
        let loaded = oncall::load(&config, now)
            .map_err(|found| wire::refused("the on-call files", &found))?;
        Ok(loaded.oncall)
    }
}

fn print(answer: &(impl fmt::Display + Serialize), output: Output) -> anyhow::Result<ExitCode> {
    let text = match output {
        Output::Text => answer.to_string(),
        Output::Json => serde_json::to_string_pretty(answer)?,
    };
    writeln!(std::io::stdout(), "{}", text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

#[allow(clippy::print_stderr, reason = "the one place that says why a command failed")]
fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("paramedic: {error:#}");
    ExitCode::FAILURE
}

/// The command is not for this; says what is.
#[allow(clippy::print_stderr, reason = "as above")]
fn not_for_this(instead: &str) -> ExitCode {
    eprintln!("paramedic: {instead}");
    ExitCode::from(2)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_command_can_be_parsed() {
        Cli::command().debug_assert();
        for line in [
            "paramedic serve --config a.yaml",
            "paramedic check --config a.yaml playbooks",
            "paramedic oncall now --output json",
            "paramedic rbac --namespace a --namespace b",
            "paramedic rbac --cluster-wide --output json",
            "paramedic doctor --config a.yaml --output json",
            "paramedic whatif --policy p --severity P1",
            "paramedic store migrate --dry-run --config a.yaml",
            "paramedic store check --output json",
            "paramedic store backup --force a.db",
            "paramedic store backup -",
            "paramedic store restore a.db --config a.yaml",
        ] {
            let parsed = Cli::try_parse_from(line.split(' '));
            assert!(parsed.is_ok(), "{line}: {parsed:?}");
        }
    }

    #[tokio::test]
    async fn a_kubeconfig_that_cannot_be_used_is_a_mistake_of_its_cluster() {
        let dir = tempfile::tempdir().unwrap();
        let (file, broken) = (dir.path().join("paramedic.yaml"), dir.path().join("kubeconfig"));
        let config = format!(
            "clusters: {{ a: {{ kube: in-cluster }}, b: {{ kube: {{ kubeconfig: {{ path: '{}' }} }} }} }}",
            broken.display()
        );
        std::fs::write(&file, config).unwrap();
        let config = Config::load(Some(&file), std::iter::empty()).unwrap();
        for text in [None, Some("{"), Some("apiVersion: v1\nkind: Config\n")] {
            if let Some(text) = text {
                std::fs::write(&broken, text).unwrap();
            }
            let wrong = wrong_kubeconfigs(&config).await;
            let said = "clusters.b.kube: could not read the kubeconfig ";
            assert!(wrong.len() == 1 && wrong[0].starts_with(said), "{text:?}: {wrong:?}");
        }
    }
}
