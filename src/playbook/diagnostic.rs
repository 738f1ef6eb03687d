//! A mistake in a file, shown the way compilers do: where, the line itself, a caret, and what to write instead.

use std::fmt;

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The file is not used.
    Error,
    /// The file is used; a person should look.
    Warning,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How bad.
    pub level: Level,
    /// The file, as it was given.
    pub file: String,
    /// From 1; 0 when it concerns the file as a whole.
    pub line: u64,
    /// In characters, from 1; 0 when it concerns the whole line.
    pub column: u64,
    /// What is wrong.
    pub message: String,
    /// What to do instead; may be empty.
    pub hint: String,
    /// The line it is in, without its end; may be empty.
    pub source: String,
}

/// Longest source line shown, characters.
const LONGEST: usize = 160;

impl Diagnostic {
    /// An error at a place in `text`. A hint in the message's second half (after `; `) becomes the hint.
    pub fn error(file: &str, text: &str, at: (u64, u64), message: &str) -> Self {
        Self::new(Level::Error, file, text, at, message)
    }

    /// A warning at a place in `text`.
    pub fn warning(file: &str, text: &str, at: (u64, u64), message: &str) -> Self {
        Self::new(Level::Warning, file, text, at, message)
    }

    fn new(
        level: Level,
        file: &str,
        text: &str,
        (line, column): (u64, u64),
        message: &str,
    ) -> Self {
        let (message, hint) = message.split_once("; ").unwrap_or((message, ""));
        let index = usize::try_from(line).unwrap_or(usize::MAX).checked_sub(1);
        let source = index.and_then(|index| lines(text).nth(index)).unwrap_or_default();
        Self {
            level,
            file: file.to_owned(),
            line,
            column,
            message: message.to_owned(),
            hint: hint.to_owned(),
            source: source.to_owned(),
        }
    }

    /// True when the file cannot be used.
    pub fn is_error(&self) -> bool {
        self.level == Level::Error
    }
}

/// Lines as YAML counts them: a carriage return alone ends one too.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'))
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Error => "error",
            Level::Warning => "warning",
        };
        let clean = |text: &str| -> String {
            text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
        };
        match self.line {
            0 => write!(f, "{}: {level}: {}", self.file, clean(&self.message))?,
            line => write!(
                f,
                "{}:{line}:{}: {level}: {}",
                self.file,
                self.column,
                clean(&self.message)
            )?,
        }
        let margin = self.line.to_string().len().max(4);
        if self.line > 0 && !self.source.trim().is_empty() {
            let column = usize::try_from(self.column).unwrap_or(usize::MAX);
            // Long lines are shown around the caret.
            let from = column.saturating_sub(LONGEST / 2).min(column);
            let from = if self.source.chars().count() <= LONGEST { 0 } else { from };
            let shown: String = clean(&self.source).chars().skip(from).take(LONGEST).collect();
            write!(f, "\n{:>margin$} | {shown}", self.line)?;
            if column > from {
                write!(f, "\n{:>margin$} | {}^", "", " ".repeat((column - from - 1).min(LONGEST)))?;
            }
        }
        if !self.hint.is_empty() {
            write!(f, "\n{:>margin$} = {}", "", clean(&self.hint))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_shows_the_place_the_line_and_the_way_out() {
        let text = "name: x\nsteps:\n  - id: a\n    if: steps.podz\n";
        let message = "there is no step `podz`; did you mean `pods`?";
        let shown = Diagnostic::error("p.yaml", text, (4, 9), message).to_string();
        insta::assert_snapshot!(shown, @r"
            p.yaml:4:9: error: there is no step `podz`
               4 |     if: steps.podz
                 |         ^
                 = did you mean `pods`?
        ");
    }

    #[test]
    fn a_carriage_return_alone_ends_a_line_as_in_yaml() {
        let error = |line| Diagnostic::error("p.yaml", "a\r\nb\rc\n\nd", (line, 1), "bad").source;
        assert_eq!([1, 2, 3, 4, 5, 6].map(error), ["a", "b", "c", "", "d", ""]);
        let text = "name: x\rlimits:\r  deadline: never\r";
        let found = crate::playbook::yaml::read::<crate::playbook::raw::RawPlaybook>("p", text);
        let found = found.unwrap_err();
        assert_eq!((found.line, found.source.as_str()), (3, "  deadline: never"));
    }

    #[test]
    fn a_whole_file_an_endless_line_and_control_characters_are_shown_soberly() {
        let whole = Diagnostic::warning("p.yaml", "", (0, 0), "no playbook here\u{1b}[31m");
        assert_eq!(whole.to_string(), "p.yaml: warning: no playbook here [31m");
        let text = format!("{}x", "ä".repeat(5_000));
        let shown = Diagnostic::error("p.yaml", &text, (1, 5_001), "bad").to_string();
        assert!(shown.chars().count() < 500, "{shown}");
        assert!(shown.contains('x'));
    }
}
