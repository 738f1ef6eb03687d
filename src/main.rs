//! Process entry: install the TLS provider, run the command line, return its exit code.

fn main() -> std::process::ExitCode {
    // reqwest and kube are built without a provider of their own; ring serves both.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        return std::process::ExitCode::FAILURE;
    }
    paramedic::cli::main()
}
