//! Being built.

pub mod oncall;
pub mod whatif;

/// Runs the command line; the exit code is documented per subcommand.
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
