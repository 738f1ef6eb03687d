//! `paramedic test`: runs `*.test.yaml` against the playbooks beside them, without a cluster.
//!
//! Exit code 0 when all hold, 1 when one fails or nothing could be run.

use std::{
    fs,
    io::Write,
    path::{Component, Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use jiff::civil::Date;

use super::check;
use crate::playbook::{
    cassette::{self, Outcome},
    catalog::{Catalog, Shipped},
    diagnostic::Diagnostic,
    source::{File, Kind},
    yaml,
};

/// Runs the tests of playbooks.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files or directories with playbooks and their `*.test.yaml`.
    #[arg(default_value = "playbooks")]
    pub paths: Vec<PathBuf>,
    /// Also write the results as `JUnit` XML.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
}

/// Largest file a test may quote, bytes.
const MAX_QUOTED: u64 = 16 << 20;

/// One file's results.
struct Ran {
    file: String,
    outcomes: Vec<Outcome>,
}

/// Runs it.
pub fn run(args: &Args, today: Date, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let ran = match play(&args.paths, today) {
        Ok(ran) => ran,
        Err(errors) => {
            for error in errors {
                writeln!(out, "{error}\n")?;
            }
            return Ok(ExitCode::FAILURE);
        }
    };
    for Ran { file, outcomes } in &ran {
        for outcome in outcomes {
            let mark = if outcome.differences.is_empty() { "ok  " } else { "FAIL" };
            writeln!(out, "{mark} {file}: {}", outcome.name)?;
            for difference in &outcome.differences {
                writeln!(out, "     {}", difference.to_string().replace('\n', "\n     "))?;
            }
        }
    }
    if let Some(path) = &args.junit {
        fs::write(path, junit(&ran)).with_context(|| format!("write {}", path.display()))?;
    }
    let all = ran.iter().flat_map(|ran| &ran.outcomes);
    let failed = all.clone().filter(|outcome| !outcome.differences.is_empty()).count();
    let total = all.count();
    if total == 0 {
        writeln!(out, "there are no tests: put them beside the playbook as <name>.test.yaml")?;
        return Ok(ExitCode::FAILURE);
    }
    writeln!(out, "{} passed, {failed} failed", total - failed)?;
    Ok(if failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn play(paths: &[PathBuf], today: Date) -> Result<Vec<Ran>, Vec<Diagnostic>> {
    let files = check::read(&with_siblings(paths))?;
    let (tests, rest): (Vec<File>, Vec<File>) =
        files.into_iter().partition(|f| f.kind == Kind::Test);
    let catalog = Catalog::over_shipped(&rest, Shipped::Used, today)?;
    let mut ran = Vec::new();
    for file in tests.into_iter().filter(|file| asked(&file.name, paths)) {
        let parsed: cassette::File =
            yaml::read(&file.name, &file.text).map_err(|error| vec![error])?;
        let dir = Path::new(&file.name).parent().map(Path::to_owned).unwrap_or_default();
        let read = |name: &str| quoted(&dir, name);
        let outcomes =
            parsed.tests.iter().map(|test| cassette::run(&catalog, test, &read)).collect();
        ran.push(Ran { file: file.name, outcomes });
    }
    Ok(ran)
}

/// A single test file is run against the playbooks of its directory.
fn with_siblings(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = Vec::new();
    for path in paths {
        let dir = match path.parent() {
            Some(parent) if path.is_file() && parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) if path.is_file() => parent,
            _ => path,
        };
        if !all.iter().any(|known| known == dir) {
            all.push(dir.to_owned());
        }
    }
    all
}

fn asked(name: &str, paths: &[PathBuf]) -> bool {
    paths.iter().any(|path| path.is_dir() || Path::new(name).file_name() == path.file_name())
}

/// The text of a file a test names, relative to the test.
fn quoted(dir: &Path, name: &str) -> Result<String, String> {
    let relative = Path::new(name);
    let fits = |part: Component<'_>| {
        matches!(part, Component::Normal(_) | Component::ParentDir | Component::CurDir)
    };
    if !relative.components().all(fits) {
        return Err(format!("{name}: write a path relative to the test's file"));
    }
    let path = dir.join(relative);
    let size = fs::metadata(&path).map_err(|error| format!("{}: {error}", path.display()))?.len();
    if size > MAX_QUOTED {
        return Err(format!("{}: larger than {MAX_QUOTED} bytes", path.display()));
    }
    fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
}

fn junit(ran: &[Ran]) -> String {
    let mut lines =
        vec!["<?xml version=\"1.0\" encoding=\"UTF-8\"?>".to_owned(), "<testsuites>".to_owned()];
    for Ran { file, outcomes } in ran {
        let failed = outcomes.iter().filter(|outcome| !outcome.differences.is_empty()).count();
        let (name, total) = (escape(file), outcomes.len());
        lines
            .push(format!("  <testsuite name=\"{name}\" tests=\"{total}\" failures=\"{failed}\">"));
        for outcome in outcomes {
            let case = format!("classname=\"{name}\" name=\"{}\"", escape(&outcome.name));
            if outcome.differences.is_empty() {
                lines.push(format!("    <testcase {case}/>"));
                continue;
            }
            let all: Vec<String> = outcome.differences.iter().map(ToString::to_string).collect();
            let all = escape(&all.join("\n"));
            lines.push(format!("    <testcase {case}>"));
            lines.push(format!("      <failure message=\"not as expected\">{all}</failure>"));
            lines.push("    </testcase>".to_owned());
        }
        lines.push("  </testsuite>".to_owned());
    }
    lines.push("</testsuites>\n".to_owned());
    lines.join("\n")
}

/// For XML text and attributes; characters XML cannot hold become U+FFFD.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Date = jiff::civil::date(2026, 11, 23);

    fn write(dir: &Path, files: &[(&str, &str)]) {
        for (name, text) in files {
            fs::write(dir.join(name), text).unwrap();
        }
    }

    const PLAYBOOK: &str = "name: lost\ntitle: t\nowner: team:x\nmatch: [alertname=Gone]\nsteps:\n  - id: n\n    incident.note: { text: x }\nverdicts: [spark/executor/*]\n";

    const TESTS: &str = "tests:\n  - name: it <holds>\n    alerts: [{ labels: { alertname: Gone } }]\n    steps: { n: { passages: [{ origin: driver_log, file: a.log }] } }\n    expect: { matched: [lost], verdicts: [spark/executor/killed] }\n  - name: it fails\n    alerts: [{ labels: { alertname: Gone } }]\n    steps: { n: { passages: [{ origin: driver_log, file: /etc/passwd }] } }\n    expect: { verdicts: [spark/executor/killed] }\n";

    #[test]
    fn results_are_told_line_by_line_and_as_junit() {
        let dir = tempfile::tempdir().unwrap();
        let log = "ERROR TaskSchedulerImpl: Lost executor 1 on h: Command exited with code 137\n";
        write(dir.path(), &[("p.yaml", PLAYBOOK), ("p.test.yaml", TESTS), ("a.log", log)]);
        let junit = dir.path().join("out.xml");
        let args = Args { paths: vec![dir.path().to_owned()], junit: Some(junit.clone()) };
        let mut out = Vec::new();
        assert_eq!(run(&args, DAY, &mut out).unwrap(), ExitCode::FAILURE);
        let here = format!("{}/", dir.path().display());
        let said = String::from_utf8(out).unwrap().replace(&here, "");
        insta::assert_snapshot!(said, @r"
            ok   p.test.yaml: it <holds>
            FAIL p.test.yaml: it fails
                 steps.n
                   expected a file that can be read
                   got      /etc/passwd: write a path relative to the test's file
                 verdicts
                   expected spark/executor/killed
                   got      none
            1 passed, 1 failed
        ");
        let xml = fs::read_to_string(junit).unwrap().replace(&here, "");
        insta::assert_snapshot!(xml, @r#"
            <?xml version="1.0" encoding="UTF-8"?>
            <testsuites>
              <testsuite name="p.test.yaml" tests="2" failures="1">
                <testcase classname="p.test.yaml" name="it &lt;holds&gt;"/>
                <testcase classname="p.test.yaml" name="it fails">
                  <failure message="not as expected">steps.n
              expected a file that can be read
              got      /etc/passwd: write a path relative to the test's file
            verdicts
              expected spark/executor/killed
              got      none</failure>
                </testcase>
              </testsuite>
            </testsuites>
        "#);
    }

    #[test]
    fn one_file_is_run_with_the_playbooks_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let one = "tests:\n  - name: one\n    alerts: [{ labels: { alertname: Gone } }]\n    expect: { matched: [lost] }\n";
        write(
            dir.path(),
            &[("p.yaml", PLAYBOOK), ("p.test.yaml", one), ("q.test.yaml", "tests: x")],
        );
        let args = Args { paths: vec![dir.path().join("p.test.yaml")], junit: None };
        let mut out = Vec::new();
        assert_eq!(run(&args, DAY, &mut out).unwrap(), ExitCode::SUCCESS);
        assert!(String::from_utf8(out).unwrap().ends_with("1 passed, 0 failed\n"));
    }

    #[test]
    fn nothing_to_run_is_no_success() {
        let dir = tempfile::tempdir().unwrap();
        let args = Args { paths: vec![dir.path().to_owned()], junit: None };
        assert_eq!(run(&args, DAY, &mut Vec::new()).unwrap(), ExitCode::FAILURE);
    }

    #[test]
    fn the_shipped_playbooks_hold_their_tests() {
        let paths = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("playbooks")];
        let mut out = Vec::new();
        let code = run(&Args { paths, junit: None }, DAY, &mut out).unwrap();
        assert_eq!(code, ExitCode::SUCCESS, "{}", String::from_utf8(out).unwrap());
    }
}
