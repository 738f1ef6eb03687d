//! `paramedic check`: every mistake in playbooks, signatures and their tests, with file, line and column.
//!
//! Exit code 0 when they can be used (warnings included), 1 when not.

use std::{io::Write, path::PathBuf, process::ExitCode};

use jiff::civil::Date;

use crate::playbook::{
    cassette,
    catalog::{Catalog, Shipped},
    diagnostic::Diagnostic,
    source::{self, File, Kind},
    yaml,
};

/// Checks playbooks, signatures and tests without running anything.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files or directories; signatures lie in a folder named `signatures`.
    #[arg(default_value = "playbooks")]
    pub paths: Vec<PathBuf>,
    /// One JSON object per mistake.
    #[arg(long)]
    pub json: bool,
}

/// Runs it. `today` is for the age of reviews.
pub fn run(args: &Args, today: Date, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let (found, counted) = match read(&args.paths) {
        Ok(files) => check(&files, today),
        Err(errors) => (errors, String::new()),
    };
    for diagnostic in &found {
        if args.json {
            writeln!(out, "{}", serde_json::to_string(diagnostic)?)?;
        } else {
            writeln!(out, "{diagnostic}\n")?;
        }
    }
    let errors = found.iter().filter(|diagnostic| diagnostic.is_error()).count();
    if !args.json {
        let warnings = found.len() - errors;
        match (errors, warnings) {
            (0, 0) => writeln!(out, "{counted}: no mistakes")?,
            (0, _) => writeln!(out, "{counted}: {}", plural(warnings, "warning"))?,
            _ => writeln!(out, "{}, {}", plural(errors, "error"), plural(warnings, "warning"))?,
        }
    }
    Ok(if errors > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The files below all paths.
pub(super) fn read(paths: &[PathBuf]) -> Result<Vec<File>, Vec<Diagnostic>> {
    let (mut files, mut errors) = (Vec::new(), Vec::new());
    for path in paths {
        match source::read(path) {
            Ok(found) => files.extend(found),
            Err(found) => errors.extend(found),
        }
    }
    if errors.is_empty() { Ok(files) } else { Err(errors) }
}

fn check(files: &[File], today: Date) -> (Vec<Diagnostic>, String) {
    let mut found = Vec::new();
    let of = |kind| files.iter().filter(move |file| file.kind == kind);
    for file in of(Kind::Test) {
        found.extend(yaml::read::<cassette::File>(&file.name, &file.text).err());
    }
    let own: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    match Catalog::over_shipped(files, Shipped::SignaturesOnly, today) {
        Ok(catalog) => found.extend(catalog.warnings),
        Err(errors) => found.extend(errors),
    }
    // Mistakes of shipped files are not the user's.
    found.retain(|diagnostic| own.contains(&diagnostic.file.as_str()));
    let counted = [
        plural(of(Kind::Playbook).count(), "playbook"),
        plural(of(Kind::Signatures).count(), "signature file"),
        plural(of(Kind::Test).count(), "test file"),
    ];
    (found, counted.join(", "))
}

fn plural(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const DAY: Date = jiff::civil::date(2026, 11, 23);

    fn said(files: &[(&str, &str)], json: bool) -> (ExitCode, String) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let mut out = Vec::new();
        let args = Args { paths: vec![dir.path().to_owned()], json };
        let code = run(&args, DAY, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        (code, text.replace(&format!("{}/", dir.path().display()), ""))
    }

    const GOOD: &str = "name: a\ntitle: t\nowner: team:x\nreviewed: 2026-01-01\nmatch: [a=b]\nsteps:\n  - id: n\n    incident.note: { text: x }\n";

    #[test]
    fn mistakes_in_all_three_kinds_of_files_are_shown_and_fail() {
        let (code, said) = said(
            &[
                ("p.yaml", &GOOD.replace("incident.note", "incident.nte")),
                ("p.test.yaml", "tests: [{ nam: x }]\n"),
                ("q.yaml", &GOOD.replace("name: a", "name: q")),
            ],
            false,
        );
        assert_eq!(code, ExitCode::FAILURE);
        insta::assert_snapshot!(said, @r"
            p.test.yaml:1:11: error: there is no key `nam` here
               1 | tests: [{ nam: x }]
                 |           ^
                 = did you mean `name`?

            p.yaml:8:5: error: there is no step kind or key `incident.nte`
               8 |     incident.nte: { text: x }
                 |     ^
                 = did you mean `incident.note`?

            p.yaml:4:11: warning: last reviewed 326 days ago
               4 | reviewed: 2026-01-01
                 |           ^
                 = read it again, then set `reviewed` to the day you did

            q.yaml:4:11: warning: last reviewed 326 days ago
               4 | reviewed: 2026-01-01
                 |           ^
                 = read it again, then set `reviewed` to the day you did

            2 errors, 2 warnings
        ");
    }

    #[test]
    fn warnings_alone_pass_and_json_is_one_object_per_line() {
        let (code, text) = said(&[("p.yaml", GOOD)], true);
        assert_eq!(code, ExitCode::SUCCESS);
        insta::assert_snapshot!(text, @r#"{"level":"warning","file":"p.yaml","line":4,"column":11,"message":"last reviewed 326 days ago","hint":"read it again, then set `reviewed` to the day you did","source":"reviewed: 2026-01-01"}"#);
        let fine = GOOD.replace("2026-01-01", "2026-11-01");
        assert_eq!(
            said(&[("p.yaml", &fine)], false),
            (
                ExitCode::SUCCESS,
                "1 playbook, 0 signature files, 0 test files: no mistakes\n".into()
            )
        );
    }

    #[test]
    fn a_path_that_is_not_there_is_an_error() {
        let args = Args { paths: vec!["/nonexistent/x".into()], json: false };
        let mut out = Vec::new();
        assert_eq!(run(&args, DAY, &mut out).unwrap(), ExitCode::FAILURE);
        assert!(String::from_utf8(out).unwrap().contains("cannot be read"));
    }
}
