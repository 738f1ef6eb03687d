//! `paramedic diagnose log`: what is wrong, from files alone. Several files are one incident.
//!
//! A file is recognised by its content, not by its name: a log of a driver, of an executor or of something else; pods,
//! events and Spark applications as `kubectl -o json` or `-o yaml` prints them; answers of Spark's REST API. Logs are
//! streamed: memory stays bounded whatever their size.

use std::{
    fs::File,
    io::{self, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use flate2::read::MultiGzDecoder;
use jiff::civil::Date;

use super::{
    objects,
    pieces::Pieces,
    show::{Report, Seen},
};
use crate::{
    cli::{Output, wire::refused},
    domain::{
        evidence::Origin,
        signature::{Book, Search},
    },
    playbook::catalog::{Catalog, Shipped},
};

/// Bytes by which a file is recognised.
const HEAD: u64 = 256 * 1024;

/// Largest file of objects, bytes; a larger one is read as a log.
const LARGEST_OBJECTS: u64 = 64 << 20;

/// What is wrong, by logs and other files; needs no network
#[derive(Debug, clap::Args)]
pub struct Log {
    /// Logs, `kubectl get pod -o json`, events, answers of Spark's REST API; `-` is the standard input; may be gzipped
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Your playbooks' folder: its signatures are used over the shipped ones
    #[arg(long, value_name = "DIR")]
    pub playbooks: Option<PathBuf>,
    /// How to answer
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

impl Log {
    /// Reads all files, then prints one answer.
    pub fn run(
        &self,
        stdin: &mut impl Read,
        today: Date,
        out: &mut impl Write,
    ) -> anyhow::Result<ExitCode> {
        let catalog = match &self.playbooks {
            Some(dir) => Catalog::load(dir, Shipped::Used, today),
            None => Catalog::shipped(today),
        };
        let catalog = catalog.map_err(|found| refused("the signatures", &found))?;
        self.look(&catalog.signatures, stdin, out)
    }

    /// As [`Self::run`], with signatures that are there already.
    pub fn look(
        &self,
        signatures: &Book,
        stdin: &mut impl Read,
        out: &mut impl Write,
    ) -> anyhow::Result<ExitCode> {
        let mut search = signatures.search();
        let mut seen = Vec::new();
        for file in &self.files {
            let name = shown(file);
            let read = if file == Path::new("-") {
                read(&name, &mut *stdin, &mut search)
            } else {
                File::open(file).and_then(|open| read(&name, open, &mut search))
            };
            seen.push(read.with_context(|| format!("read {name}"))?);
        }
        let report = Report::new(search.end(), seen);
        report.print(self.output, out)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn shown(file: &Path) -> String {
    if file == Path::new("-") { "stdin".to_owned() } else { file.display().to_string() }
}

/// Reads one file to its end.
fn read(name: &str, input: impl Read, search: &mut Search<'_>) -> io::Result<Seen> {
    let mut input = BufReader::new(input);
    let mut head = Vec::new();
    input.by_ref().take(2).read_to_end(&mut head)?;
    if head == [0x1f, 0x8b] {
        return read_plain(
            name,
            Vec::new(),
            MultiGzDecoder::new(head.as_slice().chain(input)),
            search,
        );
    }
    read_plain(name, head, input, search)
}

fn read_plain(
    name: &str,
    mut head: Vec<u8>,
    mut input: impl Read,
    search: &mut Search<'_>,
) -> io::Result<Seen> {
    input.by_ref().take(HEAD).read_to_end(&mut head)?;
    // Byte order marks of UTF-8 and UTF-16; the NUL bytes of UTF-16 fall off later.
    for mark in [[0xef, 0xbb, 0xbf].as_slice(), &[0xff, 0xfe], &[0xfe, 0xff]] {
        if head.starts_with(mark) {
            head.drain(..mark.len());
        }
    }
    let start = String::from_utf8_lossy(&head).replace('\0', "");
    if objects::may_be(&start) {
        input.by_ref().take(LARGEST_OBJECTS).read_to_end(&mut head)?;
        if let Some(found) = objects::read(&String::from_utf8_lossy(&head)) {
            return Ok(keep(name, found, search));
        }
    }
    let origin = origin(&start);
    let source = search.source(origin, name, false);
    let mut pieces = Pieces::new(head.as_slice().chain(input));
    while let Some((first_line, text)) = pieces.next()? {
        search.read(source, first_line, &text);
    }
    let what = match origin {
        Origin::ExecutorLog => "executor log",
        Origin::PodLog => "log",
        _ => "driver log",
    };
    Ok(Seen { name: name.to_owned(), what: what.to_owned(), lines: Some(pieces.lines()) })
}

fn keep(name: &str, found: objects::Found, search: &mut Search<'_>) -> Seen {
    for passage in &found.passages {
        let single = !passage.text.trim_end().contains('\n');
        let source = search.source(passage.origin, &format!("{name}: {}", passage.source), single);
        search.read(source, 1, &passage.text);
    }
    Seen { name: name.to_owned(), what: found.what, lines: None }
}

/// Whose log it is, by the loggers in its beginning. A driver's log may show how it starts executors, so its own loggers
/// decide first; what nobody claims is taken for a driver's standard output.
fn origin(head: &str) -> Origin {
    let has = |names: &[&str]| {
        names.iter().any(|name| {
            [format!(" {name}:"), format!(".{name}:"), format!(".{name}\""), format!(" {name} ")]
                .iter()
                .any(|mark| head.contains(mark))
        })
    };
    if has(&["SparkContext", "DAGScheduler", "TaskSchedulerImpl", "TaskSetManager", "SparkSubmit"])
    {
        Origin::DriverLog
    } else if has(&["CoarseGrainedExecutorBackend", "KubernetesExecutorBackend", "Executor"]) {
        Origin::ExecutorLog
    } else if has(&["HiveMetaStore", "RetryingHMSHandler", "HMSHandler", "HistoryServer"]) {
        Origin::PodLog
    } else {
        Origin::DriverLog
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_recognised_by_its_loggers() {
        for (head, expected) in [
            ("26/11/23 05:40:52 INFO SparkContext: Running Spark version 3.5.9", Origin::DriverLog),
            (
                "26/11/23 05:40:52 INFO KubernetesExecutorBackend: Started daemon",
                Origin::ExecutorLog,
            ),
            (
                r#"{"ts":"x","level":"INFO","logger":"org.apache.spark.executor.CoarseGrainedExecutorBackend","msg":"x"}"#,
                Origin::ExecutorLog,
            ),
            ("2026-11-23T05:40:52,123 ERROR [main] metastore.HiveMetaStore: x", Origin::PodLog),
            (
                "26/11/23 INFO Worker: \"org.apache.spark.executor.CoarseGrainedExecutorBackend\"\n26/11/23 INFO DAGScheduler: x",
                Origin::DriverLog,
            ),
            ("Traceback (most recent call last):", Origin::DriverLog),
            ("", Origin::DriverLog),
        ] {
            assert_eq!(origin(head), expected, "{head}");
        }
    }
}
