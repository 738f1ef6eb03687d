//! `paramedic diagnose`, as it is called: files in, verdicts out.

mod corpus;
mod examples;
mod files;
mod negatives;
mod spark;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::LazyLock,
};

use jiff::civil::{Date, date};
use paramedic::{
    cli::{Output, diagnose::log::Log},
    playbook::catalog::Catalog,
};
use serde_json::Value;

const DAY: Date = date(2026, 11, 23);

/// What is shipped, read once.
static CATALOG: LazyLock<Catalog> = LazyLock::new(|| Catalog::shipped(DAY).unwrap());

fn fixtures(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder)
}

/// Runs `diagnose log` on files, with what is on standard input.
fn printed(files: &[PathBuf], mut stdin: &[u8], output: Output) -> anyhow::Result<String> {
    let mut out = Vec::new();
    let log = Log { files: files.to_vec(), playbooks: None, output };
    let code = log.look(&CATALOG.signatures, &mut stdin, &mut out)?;
    assert_eq!(code, ExitCode::SUCCESS);
    Ok(String::from_utf8(out).unwrap())
}

fn verdicts(files: &[PathBuf], stdin: &[u8]) -> Vec<Value> {
    let said: Value = serde_json::from_str(&printed(files, stdin, Output::Json).unwrap()).unwrap();
    said["verdicts"].as_array().unwrap().clone()
}

/// The ids of a text's verdicts, best first.
fn ids_of(text: impl AsRef<[u8]>) -> String {
    ids(&verdicts(&["-".into()], text.as_ref()))
}

fn ids(verdicts: &[Value]) -> String {
    let ids = verdicts.iter().map(|verdict| verdict["id"].as_str().unwrap());
    ids.collect::<Vec<_>>().join(" > ")
}

/// Every file of a folder, sorted, with its name without the end.
fn all(folder: &str) -> Vec<(String, PathBuf)> {
    let files = std::fs::read_dir(fixtures(folder)).unwrap();
    let mut files: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| {
        path.is_file() && path.extension().is_some_and(|end| end != "yaml" && end != "txt")
    });
    files.sort();
    files
        .into_iter()
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), path))
        .collect()
}
