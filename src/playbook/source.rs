//! Where playbooks and signatures come from: those shipped inside the binary, and a directory of the user's.

use std::{fs, io, path::Path};

use rust_embed::Embed;
use sha2::Digest as _;

use super::{diagnostic::Diagnostic, yaml::MAX_FILE};

/// Most files in a directory.
const MAX_FILES: usize = 1_000;

/// Most folders inside folders.
const MAX_DEPTH: usize = 4;

#[derive(Embed)]
#[folder = "playbooks/"]
struct Playbooks;

#[derive(Embed)]
#[folder = "rules/signatures/"]
struct Signatures;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// One playbook.
    Playbook,
    /// A list of signatures: it lies in a folder named `signatures`.
    Signatures,
    /// Tests of playbooks: `*.test.yaml`.
    Test,
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// How to show it.
    pub name: String,
    /// What it holds.
    pub kind: Kind,
    /// Its contents.
    pub text: String,
}

/// The files shipped with this version.
pub fn shipped() -> Vec<File> {
    let mut files = Vec::new();
    for name in Playbooks::iter() {
        if let Some(file) = Playbooks::get(&name) {
            files.push(embedded("playbooks", &name, &file.data));
        }
    }
    for name in Signatures::iter() {
        if let Some(file) = Signatures::get(&name) {
            files.push(embedded("rules/signatures", &name, &file.data));
        }
    }
    files.retain(|file| Path::new(&file.name).extension().is_some_and(|end| end == "yaml"));
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}

fn embedded(folder: &str, name: &str, data: &[u8]) -> File {
    let path = format!("{folder}/{name}");
    let text = String::from_utf8_lossy(data).into_owned();
    // No file on disk is called so: a user's copy of a shipped file is another file.
    File { kind: kind_of(Path::new(&path)), name: format!("shipped:{path}"), text }
}

/// Every YAML file below a path (or the one file it is), in the order of their names. Hidden names are left out: a
/// mounted `ConfigMap` keeps its versions in `..data` and links to them.
pub fn read(path: &Path) -> Result<Vec<File>, Vec<Diagnostic>> {
    let mut files = Vec::new();
    let mut problems = Vec::new();
    walk(path, 0, &mut files, &mut problems);
    if files.len() > MAX_FILES {
        let message = format!("there are more than {MAX_FILES} YAML files below it");
        problems.push(Diagnostic::error(&path.display().to_string(), "", (0, 0), &message));
    }
    if problems.is_empty() { Ok(files) } else { Err(problems) }
}

fn walk(path: &Path, depth: usize, files: &mut Vec<File>, problems: &mut Vec<Diagnostic>) {
    if files.len() > MAX_FILES || depth > MAX_DEPTH {
        return;
    }
    let name = path.display().to_string();
    let mut refuse = |error: &io::Error| {
        let message = format!("cannot be read: {error}");
        problems.push(Diagnostic::error(&name, "", (0, 0), &message));
    };
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return refuse(&error),
    };
    if metadata.is_file() {
        if metadata.len() > MAX_FILE as u64 {
            return refuse(&io::Error::other(format!("it is larger than {MAX_FILE} bytes")));
        }
        match fs::read_to_string(path) {
            Ok(text) => files.push(File { name, kind: kind_of(path), text }),
            Err(error) => refuse(&error),
        }
        return;
    }
    let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut entries = match entries {
        Ok(entries) => entries,
        Err(error) => return refuse(&error),
    };
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        let yaml = path.extension().is_some_and(|e| e == "yaml" || e == "yml");
        if !hidden && (yaml || path.is_dir()) {
            walk(&path, depth + 1, files, problems);
        }
    }
}

fn kind_of(path: &Path) -> Kind {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let folder = path.parent().and_then(Path::file_name);
    if name.ends_with(".test.yaml") || name.ends_with(".test.yml") {
        Kind::Test
    } else if folder.is_some_and(|folder| folder == "signatures") {
        Kind::Signatures
    } else {
        Kind::Playbook
    }
}

/// Equal for equal names and contents.
pub(super) fn digest(files: &[File]) -> String {
    let mut hash = sha2::Sha256::new();
    for file in files {
        hash.update(file.name.len().to_le_bytes());
        hash.update(&file.name);
        hash.update(file.text.len().to_le_bytes());
        hash.update(&file.text);
    }
    hex(&hash.finalize())
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        for digit in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(u32::from(digit), 16));
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_read_in_order_without_hidden_names() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("b.yaml", "b");
        write("a.yml", "a");
        write("a.test.yaml", "t");
        write("notes.txt", "-");
        write(".hidden.yaml", "-");
        write("..data/c.yaml", "-");
        write("signatures/s.yaml", "s");
        let files = read(dir.path()).unwrap();
        let seen: Vec<(Kind, &str)> = files.iter().map(|f| (f.kind, f.text.as_str())).collect();
        assert_eq!(
            seen,
            [
                (Kind::Test, "t"),
                (Kind::Playbook, "a"),
                (Kind::Playbook, "b"),
                (Kind::Signatures, "s")
            ]
        );
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("bad.yaml"), [0xff, 0xfe]).unwrap();
        fs::write(dir.path().join("big.yaml"), vec![b'#'; MAX_FILE + 1]).unwrap();
        let problems = read(dir.path()).unwrap_err();
        assert_eq!(problems.len(), 2);
        assert!(problems[1].message.contains("larger than"), "{}", problems[1]);
        assert!(read(&dir.path().join("none")).is_err());
    }
}
