//! The command line: one file per subcommand. Results go to standard output, everything else to standard error.
//!
//! Exit codes: 0 done; 1 it did not work, or what was checked is wrong; 2 the command line cannot be read.

pub mod check;
#[cfg(feature = "demo")]
pub mod demo;
pub mod explain;
pub mod oncall;
pub mod schema;
pub mod serve;
pub mod test;
pub mod whatif;
pub mod wire;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    let outcome = runtime.block_on(async {
        match cli.command {
            Command::Serve(serve) => serve.run().await,
            #[cfg(feature = "demo")]
            Command::Demo(demo) => demo.run().await,
        }
    });
    outcome.unwrap_or_else(|error| failed(&error))
}

#[allow(clippy::print_stderr, reason = "the one place that says why a command failed")]
fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("paramedic: {error:#}");
    ExitCode::FAILURE
}
