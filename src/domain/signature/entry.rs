//! What a log entry is: a line that starts with a date, a time or a level, and the lines below it up to the next one.
//!
//! Signatures may ask who wrote an entry (`by:`). A line that only quotes a log, a query's text or a message that a job
//! prints has another writer or none, and is no evidence. Layouts differ, so the head is read by what all have in
//! common: time, level, logger, message.

/// Most lines walked back to the start of an entry.
const MOST_LINES: usize = 400;

/// Most bytes walked back to the start of an entry.
const MOST_BYTES: usize = 256 * 1024;

/// Words before the level, at most: date, time, thread.
const WORDS: usize = 6;

/// The first line of an entry, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head<'a> {
    /// Last part of the logger's name: `TaskSchedulerImpl`.
    pub(super) logger: &'a str,
    /// Where the message starts, bytes from the start of the line.
    pub(super) message: usize,
}

/// True for the first line of a log entry: it starts with a date or time, or with a level.
pub(super) fn starts(line: &str) -> bool {
    let line = line.strip_prefix('[').unwrap_or(line);
    if line.starts_with(|c: char| c.is_ascii_uppercase()) {
        return is_level(line.split([' ', ']']).next().unwrap_or_default());
    }
    let digits = line.bytes().take(5).take_while(u8::is_ascii_digit).count();
    matches!(digits, 2 | 4) && matches!(line.as_bytes().get(digits), Some(b'/' | b'-' | b':'))
}

/// The head of an entry's first line; `None` when this is none, or of a layout nobody uses.
pub(super) fn head(line: &str) -> Option<Head<'_>> {
    if !starts(line) {
        return None;
    }
    let mut at = 0;
    for _ in 0..WORDS {
        let word = line[at..].split(' ').next().unwrap_or_default();
        at += word.len() + 1;
        if is_level(word.trim_matches(['[', ']'])) {
            return after_level(line, at.min(line.len()));
        }
        if at >= line.len() {
            return None;
        }
    }
    None
}

pub(super) fn is_level(word: &str) -> bool {
    matches!(word, "ERROR" | "WARN" | "INFO" | "FATAL" | "DEBUG" | "TRACE" | "WARNING")
}

/// `[thread] logger (place): message`, with `: ` or ` - ` before the message.
fn after_level(line: &str, mut at: usize) -> Option<Head<'_>> {
    at += spaces(&line[at..]);
    while line[at..].starts_with('[') {
        at += line[at..].find(']')? + 1;
        at += spaces(&line[at..]);
    }
    let name = line[at..].split([' ', ':']).next()?;
    at += name.len();
    let logger = name.rsplit('.').next().unwrap_or(name);
    let gap = spaces(&line[at..]);
    if line[at + gap..].starts_with('(') {
        at += gap + line[at + gap..].find(' ').unwrap_or(line.len() - at - gap);
        at = line[..at].trim_end_matches(':').len();
    }
    let rest = line[at..].trim_start().strip_prefix([':', '-'])?;
    Some(Head { logger, message: line.len() - rest.trim_start_matches(' ').len() })
}

fn spaces(text: &str) -> usize {
    text.len() - text.trim_start_matches(' ').len()
}

/// Who wrote an exception that left the program: the trace that Python or the JVM prints when nobody caught it.
const UNCAUGHT: &str = "uncaught";

/// True for the first line of a block that no logger wrote: Python's trace, the JVM's, the Java half of `Py4J`'s
/// (`: java.lang…`), and an error of Spark by itself (`[PATH_NOT_FOUND] …`).
fn starts_uncaught(line: &str) -> bool {
    line.starts_with("Traceback (most recent call last)")
        || line.starts_with("Exception in thread \"")
        || line.starts_with(": ")
        || line.strip_prefix('[').and_then(|line| line.split_once(']')).is_some_and(|(name, _)| {
            name.len() > 3
                && name.bytes().all(|b| b.is_ascii_uppercase() || matches!(b, b'_' | b'.'))
        })
}

/// Who wrote the line at byte `at`, and where its own words start in it: the writer of the entry it stands in.
pub(super) fn writer<'a>(text: &'a str, at: usize, line: &'a str) -> Option<Head<'a>> {
    if starts(line) {
        return head(line);
    }
    let mut end = at;
    for _ in 0..MOST_LINES {
        let start = text[..end].rfind('\n').map_or(0, |newline| newline + 1);
        let above = text[start..].split('\n').next().unwrap_or_default();
        if starts_uncaught(above) {
            return Some(Head { logger: UNCAUGHT, message: 0 });
        }
        if starts(above) {
            return head(above).map(|head| Head { message: 0, ..head });
        }
        // At the start of the text what stood above is not known.
        if start == 0 || at - start > MOST_BYTES {
            return None;
        }
        end = start - 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_writer_is_found_in_every_usual_layout() {
        for line in [
            "26/11/23 05:40:52 ERROR TaskSchedulerImpl: Lost executor 1",
            "26/11/23 05:40:52 ERROR TaskSchedulerImpl:Lost executor 1",
            "2026-11-23T05:40:52.123Z ERROR org.apache.spark.scheduler.TaskSchedulerImpl: Lost executor 1",
            "2026-11-23 05:40:52,123 ERROR [main] scheduler.TaskSchedulerImpl (Logging.scala:logError(76)): Lost executor 1",
            "2026-11-23 05:40:52,123 ERROR scheduler.TaskSchedulerImpl (Logging.scala:logError(76)) - Lost executor 1",
            "2026-11-23 05:40:52 [dispatcher-1] ERROR o.a.s.scheduler.TaskSchedulerImpl - Lost executor 1",
            "05:40:52.123 [main] ERROR TaskSchedulerImpl - Lost executor 1",
            "[2026-11-23 05:40:52] ERROR TaskSchedulerImpl: Lost executor 1",
            "ERROR TaskSchedulerImpl: Lost executor 1",
            "[ERROR] [main] o.a.s.scheduler.TaskSchedulerImpl - Lost executor 1",
            "2026-11-23 05:40:52 [ERROR] [Executor task launch worker] TaskSchedulerImpl: Lost executor 1",
        ] {
            let head = head(line).unwrap_or_else(|| panic!("{line}"));
            assert_eq!(
                (head.logger, &line[head.message..]),
                ("TaskSchedulerImpl", "Lost executor 1")
            );
        }
    }

    #[test]
    fn a_line_without_a_head_has_no_writer() {
        for line in [
            "",
            "ERROR",
            "INFO done",
            "ERRORS: 7",
            "26/11/23",
            "26/11/23 ",
            "26/11/23 ERROR",
            "26/11/23 05:40 ERROR ",
            "26/11/23 05:40 ERROR [x",
            "26/11/23 a b c d e f g ERROR X: y",
            "\tat a.B",
            "26/11/23 05:40 ERROR ä",
            "2026-11-23 ERROR (((",
            "> 26/11/23 05:40:52 ERROR TaskSchedulerImpl: x",
        ] {
            assert_eq!(head(line), None, "{line}");
        }
        let quoting = "26/11/23 05:40:52 INFO Report: 26/11/22 01:00:00 ERROR TaskSchedulerImpl: Lost executor 1";
        assert_eq!(head(quoting).map(|head| head.logger), Some("Report"));
    }

    #[test]
    fn a_line_belongs_to_the_entry_it_stands_in() {
        let at = |text: &'static str, line: &'static str| {
            let at = text.rfind(line).unwrap();
            writer(text, at, line).map(|head| head.logger.to_owned()).unwrap_or_default()
        };
        let trace = "26/11/23 10:00:00 ERROR A: x\n\tat b\nTraceback (most recent call last):\n  File\nKeyError: 'a'\n26/11/23 10:00:00 INFO B: y";
        assert_eq!(at(trace, "\tat b"), "A");
        assert_eq!(at(trace, "KeyError: 'a'"), "uncaught");
        assert_eq!(at(trace, "26/11/23 10:00:00 INFO B: y"), "B");
        assert_eq!(at("a\nb\nc", "c"), "");
        assert_eq!(at(": java.lang.X\n\tat b", "\tat b"), "uncaught");
        assert_eq!(at("[PATH_NOT_FOUND] x", "[PATH_NOT_FOUND] x"), "uncaught");
        assert_eq!(at("[main] x\n[Stage 0:> ]", "[Stage 0:> ]"), "");
        let far = format!("26/11/23 10:00:00 ERROR A: x\n{}end", "\tat b\n".repeat(1_000));
        assert_eq!(writer(&far, far.len() - 3, "end"), None);
    }
}
