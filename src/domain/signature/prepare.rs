//! Evidence as plain lines. Logs come in many wrappings: Spark 4 may log one JSON object per line, container runtimes and
//! `kubectl logs` put words before each line, terminals leave colours and carriage returns. All are laid out as the
//! classic log would be, each line with the number of the line it came from, so that one set of regexes fits all.

use std::borrow::Cow;

use serde::Deserialize;

use super::entry;
use crate::domain::evidence::Origin;

/// Bytes that a plain log does not hold.
const ODD: [u8; 3] = [b'\r', 0, 0x1b];

/// A piece of text as lines.
pub(super) struct Prepared<'a> {
    pub(super) text: Cow<'a, str>,
    first_line: u32,
    /// Original line numbers of the lines of `text`, from 0; `None` when they are the same.
    numbers: Option<Vec<u32>>,
}

impl<'a> Prepared<'a> {
    pub(super) fn new(origin: Origin, first_line: u32, text: &'a str) -> Self {
        let is_log = matches!(origin, Origin::DriverLog | Origin::ExecutorLog | Origin::PodLog);
        let stamped = is_log && is_stamped(text);
        if is_log && (stamped || is_odd(text) || text.contains("\"logger\":") || wrapped(text)) {
            return Self::laid_out(first_line, text, stamped);
        }
        Self { text: Cow::Borrowed(text), first_line, numbers: None }
    }

    /// The original number of line `index` (from 0) of `text`; from 1.
    pub(super) fn number(&self, index: usize) -> u32 {
        let below = match &self.numbers {
            Some(numbers) => numbers.get(index).copied().unwrap_or(0),
            None => u32::try_from(index).unwrap_or(u32::MAX),
        };
        self.first_line.saturating_add(below)
    }

    fn laid_out(first_line: u32, text: &str, stamped: bool) -> Self {
        let mut out = String::with_capacity(text.len());
        let mut numbers = Vec::new();
        for (index, line) in text.split_terminator('\n').enumerate() {
            let number = u32::try_from(index).unwrap_or(u32::MAX);
            let line = plain(line);
            let line = line.trim_end_matches('\r');
            for part in line.split('\r') {
                let before = out.len();
                // Blanks between carriage returns wipe a progress bar away.
                if part.len() < line.len() && part.trim().is_empty() {
                    continue;
                }
                let said = unwrap(part, stamped);
                if !(is_structured(&said) && json(&said, &mut out)) {
                    out.truncate(before);
                    out.push_str(&said);
                    out.push('\n');
                }
                numbers.extend(std::iter::repeat_n(number, out[before..].matches('\n').count()));
            }
        }
        Self { text: Cow::Owned(out), first_line, numbers: Some(numbers) }
    }
}

fn is_odd(text: &str) -> bool {
    let chunks = text.as_bytes().chunks(4096);
    // Without an early end within a chunk the compiler looks at many bytes at once.
    chunks.into_iter().any(|c| c.iter().fold(false, |odd, byte| odd | ODD.contains(byte)))
}

/// True when the first line that says anything has something before its own words.
fn wrapped(text: &str) -> bool {
    let mut lines = text.lines().filter(|line| !line.is_empty());
    lines.next().is_some_and(|line| line.len() != unwrap(line, false).len())
}

/// Without terminal colours and NUL bytes.
fn plain(line: &str) -> Cow<'_, str> {
    if !line.bytes().any(|byte| byte == 0 || byte == 0x1b) {
        return Cow::Borrowed(line);
    }
    let mut out = String::with_capacity(line.len());
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' if chars.peek() == Some(&'[') => {
                chars.next();
                // A control sequence ends with its first letter or one of `@` to `~`.
                while chars.next_if(|c| ('\u{20}'..='\u{3f}').contains(c)).is_some() {}
                chars.next_if(|c| ('@'..='~').contains(c));
            }
            '\0' | '\u{1b}' => {}
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[derive(Deserialize)]
struct DockerLine<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
}

/// Without what `kubectl logs --prefix --timestamps` and container runtimes put before each line. `stamped`: every line has
/// a runtime's time, so it is none of the log's own words.
fn unwrap(line: &str, stamped: bool) -> Cow<'_, str> {
    if line.starts_with("{\"log\":") {
        return match serde_json::from_str::<DockerLine<'_>>(line) {
            Ok(docker) => Cow::Owned(docker.log.trim_end_matches(['\n', '\r']).to_owned()),
            Err(_) => Cow::Borrowed(line),
        };
    }
    Cow::Borrowed(without_prefix(line, stamped))
}

fn without_prefix(line: &str, stamped: bool) -> &str {
    let rest = match line.strip_prefix("[pod/").and_then(|line| line.split_once("] ")) {
        Some((_, after)) => after,
        None => line,
    };
    let Some((time, after)) = rest.split_once(' ') else { return rest };
    if !is_runtime_time(time) {
        return rest;
    }
    ["stdout F ", "stderr F ", "stdout P ", "stderr P "]
        .iter()
        .find_map(|stream| after.strip_prefix(stream))
        // Without a stream the time may be the log's own.
        .or_else(|| (stamped || entry_like(after)).then_some(after))
        .unwrap_or(rest)
}

/// True when a runtime's time stands before every line, and before what is a log entry by itself.
fn is_stamped(text: &str) -> bool {
    let mut entries = 0;
    for line in text.lines().filter(|line| !line.is_empty()).take(50) {
        let line =
            line.strip_prefix("[pod/").and_then(|l| l.split_once("] ")).map_or(line, |l| l.1);
        match line.split_once(' ') {
            Some((time, after)) if is_runtime_time(time) => {
                entries += usize::from(entry_like(after));
            }
            _ if is_runtime_time(line) => {}
            _ => return false,
        }
    }
    entries > 0
}

/// True for a line that starts a log entry, whatever stands before it.
pub(super) fn starts_entry(line: &str) -> bool {
    let line = without_prefix(line, false);
    // A runtime's time that is still there stands before a line that is no entry by itself.
    let stamped = line.split_once(' ').is_some_and(|(time, _)| is_runtime_time(time));
    is_structured(line) || (entry::starts(line) && !stamped)
}

/// True for what may be a structured log line; shippers may have put its fields in another order.
fn is_structured(line: &str) -> bool {
    line.starts_with("{\"") && (line.contains("\"ts\":") || line.contains("\"level\":"))
}

/// `2026-11-23T05:40:52.123456789Z`: nanoseconds are only written by container runtimes.
fn is_runtime_time(word: &str) -> bool {
    word.len() >= 30
        && word.len() <= 35
        && word.as_bytes().get(10) == Some(&b'T')
        && entry::starts(word)
}

fn entry_like(line: &str) -> bool {
    entry::starts(line) || line.starts_with(['\t', '{']) || line.starts_with("Caused by:")
}

/// A structured log line. Unknown fields are passed over without being built.
#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow, default)]
    ts: Cow<'a, str>,
    #[serde(borrow, default)]
    level: Cow<'a, str>,
    #[serde(borrow, default)]
    logger: Cow<'a, str>,
    #[serde(borrow)]
    msg: Cow<'a, str>,
    #[serde(borrow, default)]
    exception: Option<Exception<'a>>,
}

#[derive(Deserialize)]
struct Exception<'a> {
    #[serde(borrow, default)]
    class: Cow<'a, str>,
    #[serde(borrow, default)]
    msg: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    stacktrace: Option<Trace<'a>>,
}

/// Frames, or the trace as one text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Trace<'a> {
    Frames(#[serde(borrow)] Vec<Frame<'a>>),
    Text(#[serde(borrow)] Cow<'a, str>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Frame<'a> {
    Place {
        #[serde(borrow, default)]
        class: Cow<'a, str>,
        #[serde(borrow, default)]
        method: Cow<'a, str>,
    },
    Text(#[serde(borrow)] Cow<'a, str>),
}

/// Lays one structured log line out; false when it is not one.
fn json(line: &str, out: &mut String) -> bool {
    let Ok(entry) = serde_json::from_str::<Entry<'_>>(line) else { return false };
    let logger = entry.logger.rsplit('.').next().unwrap_or_default();
    for part in [&*entry.ts, " ", &*entry.level, " ", logger, ": "] {
        out.push_str(part);
    }
    push(out, &entry.msg);
    let Some(exception) = entry.exception else { return true };
    out.push_str(&exception.class);
    out.push_str(": ");
    push(out, exception.msg.as_deref().unwrap_or_default());
    match exception.stacktrace {
        None => {}
        Some(Trace::Text(text)) => push(out, &text),
        Some(Trace::Frames(frames)) => {
            for frame in frames {
                out.push_str("\tat ");
                match frame {
                    Frame::Place { class, method } => {
                        out.push_str(&class);
                        out.push('.');
                        push(out, &method);
                    }
                    Frame::Text(text) => push(out, &text),
                }
            }
        }
    }
    true
}

/// A message with its own lines.
fn push(out: &mut String, message: &str) {
    out.push_str(message.trim_end_matches('\n'));
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let prepared = Prepared::new(Origin::DriverLog, 1, text);
        let lines = prepared.text.lines().enumerate();
        let shown: Vec<String> = lines
            .map(|(index, line)| format!("{} {}", prepared.number(index), line.escape_debug()))
            .collect();
        shown.join("\n")
    }

    #[test]
    fn a_structured_log_reads_like_the_classic_one_and_keeps_its_line_numbers() {
        let text = concat!(
            "starting\n",
            r#"{"ts":"2026-01-31T12:00:00.000Z","level":"ERROR","logger":"org.apache.spark.TaskSchedulerImpl","msg":"Lost executor 1 on h: \nThe executor with id 1 exited with exit code 137","exception":{"class":"java.io.IOException","msg":"No space left on device","stacktrace":[{"class":"a.B","method":"c","file":"B.java","line":"7"}]}}"#,
            "\n",
            r#"{"ts":"broken","logger":"#,
            "\nend\n"
        );
        insta::assert_snapshot!(shown(text), @r#"
            1 starting
            2 2026-01-31T12:00:00.000Z ERROR TaskSchedulerImpl: Lost executor 1 on h: 
            2 The executor with id 1 exited with exit code 137
            2 java.io.IOException: No space left on device
            2 \tat a.B.c
            3 {\"ts\":\"broken\",\"logger\":
            4 end
        "#);
    }

    #[test]
    fn wrappings_fall_off_and_line_numbers_stay() {
        let lines = concat!(
            "\u{1b}[31m26/11/23 ERROR A: red\u{1b}[0m\r\n",
            "\r\n",
            "\r[Stage 0:>   (0 + 2) / 2]\r          \r26/11/23 WARN B: behind a bar\n",
            "a\0b\n",
            "2026-11-23T05:40:52.123456789Z stderr F 26/11/23 ERROR C: x\n",
            "[pod/etl-driver/spark-kubernetes-driver] 26/11/23 ERROR D: x\n",
            "2026-11-23T05:40:52.123456789Z 26/11/23 ERROR E: x\n",
            "2026-11-23T05:40:52.123456789Z ERROR F: its own time\n",
            "{\"log\":\"26/11/23 ERROR G: x\\n\",\"stream\":\"stderr\",\"time\":\"2026\"}\n",
            "{\"log\":7}",
        );
        insta::assert_snapshot!(shown(lines), @r#"
        1 26/11/23 ERROR A: red
        2 
        3 [Stage 0:>   (0 + 2) / 2]
        3 26/11/23 WARN B: behind a bar
        4 ab
        5 26/11/23 ERROR C: x
        6 26/11/23 ERROR D: x
        7 26/11/23 ERROR E: x
        8 ERROR F: its own time
        9 26/11/23 ERROR G: x
        10 {\"log\":7}
        "#);
        assert_eq!(shown("2026-11-23T05:40:52.123456789Z stdout F a\n"), "1 a");
        assert_eq!(shown(""), "");
        assert_eq!(shown("\u{1b}"), "1 ");
    }

    #[test]
    fn a_classic_log_is_not_copied() {
        let prepared = Prepared::new(Origin::DriverLog, 7, "a\nb\n");
        assert!(matches!(prepared.text, Cow::Borrowed(_)));
        assert_eq!(prepared.number(1), 8);
    }
}
