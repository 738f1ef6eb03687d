//! Which files there are, and their text.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::playbook::{diagnostic::Diagnostic, yaml};

/// Most files in one folder.
const MAX_FILES: usize = 1000;

/// Deepest folder below the one that was given.
const MAX_DEPTH: usize = 4;

/// A file with its text.
#[derive(Debug)]
pub(super) struct Source {
    /// As shown to people.
    pub name: String,
    pub path: PathBuf,
    pub text: String,
}

/// The file itself, or all YAML files of the folder in the order of their paths. Names that begin with a dot are left out:
/// a mounted `ConfigMap` keeps its real files there, and links to them.
pub(super) fn sources(path: &Path) -> Result<Vec<Source>, Vec<Diagnostic>> {
    let failed = |path: &Path, reason: &str| {
        vec![Diagnostic::error(&path.display().to_string(), "", (0, 0), reason)]
    };
    let mut paths = Vec::new();
    collect(path, 0, &mut paths)
        .map_err(|error| failed(path, &format!("cannot be read: {error}")))?;
    paths.sort();
    if paths.is_empty() {
        return Err(failed(
            path,
            "holds no .yaml file; deploy/examples/oncall.yaml is one to start from",
        ));
    }
    if paths.len() > MAX_FILES {
        return Err(failed(path, &format!("holds more than {MAX_FILES} files")));
    }
    let mut sources = Vec::new();
    let mut problems = Vec::new();
    for path in paths {
        let name = path.display().to_string();
        match read(&path) {
            Ok(text) => sources.push(Source { name, path, text }),
            Err(reason) => problems.extend(failed(&path, &format!("cannot be read: {reason}"))),
        }
    }
    if problems.is_empty() { Ok(sources) } else { Err(problems) }
}

fn collect(path: &Path, depth: usize, into: &mut Vec<PathBuf>) -> io::Result<()> {
    if !fs::metadata(path)?.is_dir() {
        into.push(path.to_path_buf());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let yaml = path.extension().is_some_and(|e| e == "yaml" || e == "yml");
        let folder = path.is_dir();
        if !hidden && (yaml && !folder || folder && depth < MAX_DEPTH) && into.len() <= MAX_FILES {
            collect(&path, depth + 1, into)?;
        }
    }
    Ok(())
}

/// The text of a file of at most 1 MiB.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let size = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > yaml::MAX_FILE as u64 {
        return Err("it is larger than 1 MiB".to_owned());
    }
    fs::read_to_string(path).map_err(|error| error.to_string())
}
