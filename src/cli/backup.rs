//! `paramedic store backup` and `paramedic store restore`.

use std::{
    fmt,
    io::{self, IsTerminal as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use serde::Serialize;

use super::{Output, not_for_this, print, wire};
use crate::{
    config::{self, Config},
    ops::clock::Clock,
    store::{Settings, backup},
};

/// `paramedic store backup`.
#[derive(Clone, Debug, clap::Args)]
pub struct Backup {
    /// The file to make; `-` for standard output
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
    /// Configuration file; without one, `$PARAMEDIC_CONFIG`, else the defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to answer
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// `paramedic store restore`.
#[derive(Clone, Debug, clap::Args)]
pub struct Restore {
    /// A backup
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Configuration file; without one, `$PARAMEDIC_CONFIG`, else the defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to answer
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

impl Backup {
    /// Makes it.
    pub async fn run(&self) -> anyhow::Result<ExitCode> {
        let Self { file, force, config, output } = self;
        let config = Config::from_process(config.as_deref())?;
        if let Some(url) = server(&config.store) {
            let file = if file == Path::new("-") { Path::new("paramedic.dump") } else { file };
            let file = quoted(&file.display().to_string());
            return Ok(not_for_this(&format!(
                "this store is PostgreSQL; back it up with its own tool, also while daemons run:\n  \
                 pg_dump --format=custom --file={file} {url}"
            )));
        }
        let settings = wire::store(&config.store);
        if file == Path::new("-") {
            return to_stdout(&settings).await;
        }
        let bytes = backup::backup(&settings, file, *force).await?;
        print(&Made { file: file.clone(), bytes }, *output)
    }
}

impl Restore {
    /// Puts it back.
    pub async fn run(&self) -> anyhow::Result<ExitCode> {
        let Self { file, config, output } = self;
        let config = Config::from_process(config.as_deref())?;
        if let Some(url) = server(&config.store) {
            let file = quoted(&file.display().to_string());
            return Ok(not_for_this(&format!(
                "this store is PostgreSQL; stop every daemon, make an empty database, and fill it with its own tool:\n  \
                 pg_restore --exit-on-error --no-owner --dbname={url} {file}"
            )));
        }
        let now = Clock::System.now();
        let restored = backup::restore(&wire::store(&config.store), file, now).await?;
        print(&Done(restored), *output)
    }
}

/// Standard output gets it only once it is complete and sound.
async fn to_stdout(settings: &Settings) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout();
    anyhow::ensure!(
        !out.is_terminal(),
        "a backup is not for a terminal; name a file, or use a pipe"
    );
    let path = settings.url.strip_prefix("sqlite:").map(Path::new);
    let folder = path.and_then(Path::parent).filter(|folder| !folder.as_os_str().is_empty());
    let copy = backup::copy(settings, folder.unwrap_or(Path::new("."))).await?;
    let mut file = copy.reopen().context("read the copy")?;
    io::copy(&mut file, &mut out).context("write to standard output")?;
    Ok(ExitCode::SUCCESS)
}

/// The address of a PostgreSQL store, as a word for a shell. It holds no password.
fn server(store: &config::Store) -> Option<String> {
    let is_server = store.url.starts_with("postgres://") || store.url.starts_with("postgresql://");
    is_server.then(|| quoted(&store.url))
}

fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[derive(Serialize)]
struct Made {
    file: PathBuf,
    bytes: u64,
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} bytes, complete and checked", self.file.display(), self.bytes)
    }
}

#[derive(Serialize)]
struct Done(backup::Restored);

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let backup::Restored { schema, incidents, aside } = &self.0;
        writeln!(f, "restored: {incidents} incidents, schema {schema}")?;
        if let Some(aside) = aside {
            writeln!(f, "the store of before is kept as {}", aside.display())?;
        }
        write!(f, "start the daemon; pages that were due since say how late they are")
    }
}
