//! Reads the source and fails on what no compiler sees: an arrow between folders that the architecture does not have, a
//! file or function too long to read at night, a file that does not say what it is for, a test that is switched off.
//!
//! The scanner knows Rust only as rustfmt writes it, which `./tests/run fmt` ensures.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use regex::Regex;

/// Which folder of `src/` may use which others; the table of docs/ARCHITECTURE.md.
const ARROWS: &[(&str, &[&str])] = &[
    ("ops", &[]),
    ("config", &["domain"]),
    ("domain", &[]),
    ("clients", &["domain", "ops"]),
    ("steps", &["domain", "clients", "ops"]),
    ("notify", &["domain", "clients", "ops"]),
    ("playbook", &["domain", "steps", "notify"]),
    ("store", &["domain", "ops"]),
    ("engine", &["domain", "playbook", "steps", "notify", "store", "clients", "ops", "config"]),
    ("http", &["domain", "playbook", "steps", "notify", "store", "engine", "ops", "config"]),
    (
        "cli",
        &[
            "domain", "playbook", "steps", "notify", "store", "engine", "clients", "ops", "config",
            "demo", "http",
        ],
    ),
    (
        "demo",
        &[
            "domain", "playbook", "steps", "notify", "store", "engine", "clients", "ops", "config",
            "http", "cli",
        ],
    ),
];

/// Longest file and longest function, lines; an inline snapshot in a test is not code and does not count.
const MAX_FILE: usize = 600;
const MAX_FUNCTION: usize = 80;
/// Functions that may be longer, each with the reason.
const LONG: &[(&str, &str)] = &[
    // One exhaustive match, one sentence per event of the timeline.
    ("src/domain/incident/show.rs", "line"),
];

#[test]
fn every_arrow_between_folders_is_in_the_table() {
    let mut wrong = vec![];
    for (path, text) in sources(&["src"]) {
        let Some(folder) = folder(&path) else { continue };
        let Some((_, allowed)) = ARROWS.iter().find(|row| row.0 == folder) else {
            wrong.push(format!("{}: the folder {folder} has no row in the table", path.display()));
            continue;
        };
        for used in uses(&text, depth(&path)) {
            if used != folder && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{}: {folder} may not use {used}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_file_and_no_function_is_too_long_to_read() {
    let mut wrong = vec![];
    for (path, text) in sources(&["src", "tests"]) {
        let lines = text.lines().count();
        if lines > MAX_FILE {
            wrong.push(format!("{}: {lines} lines; split it by meaning", path.display()));
        }
        for (name, lines) in functions(&text) {
            let excepted = LONG.iter().any(|(file, long)| path.ends_with(file) && name == *long);
            match (lines > MAX_FUNCTION, excepted) {
                (true, false) => {
                    wrong.push(format!("{}: fn {name} has {lines} lines", path.display()));
                }
                (false, true) => {
                    wrong.push(format!("fn {name} is short now; take it off the list"));
                }
                (true, true) | (false, false) => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for_and_no_test_is_switched_off() {
    let switched_off = concat!("#[", "ignore");
    let mut wrong = vec![];
    for (path, text) in sources(&["src", "tests"]) {
        if !text.starts_with("//! ") {
            wrong.push(format!("{}: does not start with //!", path.display()));
        }
        if text.contains(switched_off) {
            wrong.push(format!("{}: has a test that is switched off", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every Rust file below these folders, with its path from the crate's root.
fn sources(folders: &[&str]) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = vec![];
    let mut pending: Vec<PathBuf> = folders.iter().map(|folder| root.join(folder)).collect();
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root).unwrap().to_owned(), text));
            }
        }
    }
    found.sort();
    assert!(found.len() > folders.len(), "the scanner found no sources");
    found
}

/// The folder of `src/` a file is in; `None` for `lib.rs` and `main.rs`.
fn folder(path: &Path) -> Option<String> {
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    (parts.len() > 2).then(|| parts[1].clone())
}

/// How many `super::` lead from a file to the crate's root.
fn depth(path: &Path) -> usize {
    let folders = path.iter().count() - 2;
    if path.ends_with("mod.rs") { folders } else { folders + 1 }
}

/// The folders a file names: in `crate::x`, in `crate::{x::y, z}`, and through `super::` beyond its own folder.
fn uses(text: &str, depth: usize) -> BTreeSet<String> {
    static CRATE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"(?:\$?\bcrate::|\b(?:super::)+)(\w+|\{)").unwrap());
    let code = code(text);
    // Within an inline module a `super` counts from there; only paths before the first one are resolved.
    let inline = code.find("\nmod ").map_or(code.len(), |at| {
        if code[at..].lines().nth(1).is_some_and(|line| line.ends_with('{')) {
            at
        } else {
            code.len()
        }
    });
    let mut found = BTreeSet::new();
    for capture in CRATE.captures_iter(&code) {
        let (whole, first) = (capture.get(0).unwrap(), capture.get(1).unwrap());
        let supers = whole.as_str().matches("super::").count();
        if supers > 0 && (supers < depth || whole.start() > inline) {
            continue;
        }
        if first.as_str() == "{" {
            found.extend(heads(&code[first.end()..]));
        } else {
            found.insert(first.as_str().to_owned());
        }
    }
    found
}

/// The first names of a `{a::b, c::{d, e}}` group whose opening bracket has been read.
fn heads(group: &str) -> Vec<String> {
    let mut heads = vec![String::new()];
    let (mut nested, mut in_head) = (0, true);
    for c in group.chars() {
        match c {
            '{' => nested += 1,
            '}' if nested == 0 => break,
            '}' => nested -= 1,
            ',' if nested == 0 => {
                heads.push(String::new());
                in_head = true;
            }
            ':' if nested == 0 => in_head = false,
            c if nested == 0 && in_head && !c.is_whitespace() => heads.last_mut().unwrap().push(c),
            _ => {}
        }
    }
    heads.into_iter().filter(|head| !head.is_empty()).collect()
}

/// The text without comments.
fn code(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let line = if line.trim_start().starts_with("//") { "" } else { line };
        line.split(" // ").next().unwrap_or_default()
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Name and length of every function with a body.
fn functions(text: &str) -> Vec<(String, usize)> {
    static SIGNATURE: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^( *)(?:pub(?:\([a-z ]+\))? )?(?:const |async )*fn (\w+)").unwrap()
    });
    let lines: Vec<&str> = text.lines().collect();
    let mut found = vec![];
    for (start, line) in lines.iter().enumerate() {
        let Some(capture) = SIGNATURE.captures(line) else { continue };
        let end = format!("{}}}", &capture[1]);
        let Some(length) = lines[start..].iter().position(|line| **line == end) else { continue };
        // A declaration, or a body on one line, has no closing bracket of its own.
        if line.ends_with(';') || line.ends_with('}') {
            continue;
        }
        let opens = lines[start..=start + length].iter().position(|line| line.ends_with('{'));
        let closes = lines[start..].iter().position(|line| line.ends_with(';'));
        if opens.is_some_and(|opens| closes.is_none_or(|closes| opens < closes)) {
            let snapshots = snapshot_lines(&lines[start..=start + length]);
            found.push((capture[2].to_owned(), length + 1 - snapshots));
        }
    }
    found
}

/// How many lines of a function are the text of inline snapshots.
fn snapshot_lines(lines: &[&str]) -> usize {
    let mut inside = false;
    let counted = lines.iter().filter(|line| {
        let end = line.trim_start();
        if end.starts_with("\"#") || end.starts_with("\");") {
            inside = false;
        }
        let counts = inside;
        inside |= line.ends_with("@r#\"") || line.ends_with("@r\"");
        counts
    });
    counted.count()
}

#[test]
fn the_scanner_sees_arrows_however_they_are_written() {
    let seen = |text: &str, path: &str| -> Vec<String> {
        uses(text, depth(Path::new(path))).into_iter().collect()
    };
    let grouped = "use crate::{\n    domain::{a, b},\n    ops::clock::Clock,\n};\n";
    assert_eq!(seen(grouped, "src/store/mod.rs"), ["domain", "ops"]);
    assert_eq!(seen("fn f() -> crate::http::Router {", "src/store/x.rs"), ["http"]);
    assert_eq!(seen("use super::super::engine::Run;", "src/store/jobs.rs"), ["engine"]);
    assert_eq!(seen("use super::super::Row;", "src/store/jobs/row.rs"), Vec::<String>::new());
    assert_eq!(
        seen("// use crate::http;\n/// [`crate::cli`]\n", "src/ops/x.rs"),
        Vec::<String>::new()
    );
    let tests = "use super::Error;\n\nmod tests {\n    use super::super::Row;\n}\n";
    assert_eq!(seen(tests, "src/store/jobs.rs"), Vec::<String>::new());
}

#[test]
fn the_scanner_measures_functions() {
    let text = "trait T {\n    fn declared(&self);\n}\n\nfn one() -> u8 { 1 }\n\npub(crate) async fn three(\n    a: u8,\n) {\n    body();\n}\n";
    assert_eq!(functions(text), [("three".to_owned(), 5)]);
    let snapshot = ["fn seen() {", "    shows(x, @r\"", "    one", "    two", "    \");", "}"];
    assert_eq!(functions(&snapshot.join("\n")), [("seen".to_owned(), 4)]);
}
