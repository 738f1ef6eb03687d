//! Evidence as plain lines. Spark 4 may log one JSON object per line; those are laid out as the classic log would be,
//! each with the number of the line it came from, so that one set of regexes fits both.

use std::borrow::Cow;

use serde_json::Value;

use crate::domain::evidence::{Origin, Passage};

/// A passage as lines.
pub(super) struct Prepared<'a> {
    pub(super) text: Cow<'a, str>,
    /// Original line numbers of the lines of `text`; `None` when they are the same.
    numbers: Option<Vec<u32>>,
}

impl<'a> Prepared<'a> {
    pub(super) fn new(passage: &'a Passage) -> Self {
        let is_log =
            matches!(passage.origin, Origin::DriverLog | Origin::ExecutorLog | Origin::PodLog);
        if is_log && passage.text.contains("{\"ts\":") {
            return Self::laid_out(&passage.text);
        }
        Self { text: Cow::Borrowed(&passage.text), numbers: None }
    }

    /// The original number of line `index` (from 0) of `text`; from 1.
    pub(super) fn number(&self, index: usize) -> u32 {
        let number = match &self.numbers {
            Some(numbers) => return numbers.get(index).copied().unwrap_or(0),
            None => index + 1,
        };
        u32::try_from(number).unwrap_or(u32::MAX)
    }

    fn laid_out(text: &str) -> Self {
        let mut out = String::with_capacity(text.len());
        let mut numbers = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let before = out.len();
            if !(line.starts_with("{\"ts\":") && json(line, &mut out)) {
                out.truncate(before);
                out.push_str(line);
                out.push('\n');
            }
            let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
            numbers.extend(std::iter::repeat_n(number, out[before..].matches('\n').count()));
        }
        Self { text: Cow::Owned(out), numbers: Some(numbers) }
    }
}

/// Lays one structured log line out; false when it is not one.
fn json(line: &str, out: &mut String) -> bool {
    let Ok(Value::Object(entry)) = serde_json::from_str(line) else { return false };
    let text = |name: &str| entry.get(name).and_then(Value::as_str);
    let Some(message) = text("msg") else { return false };
    let logger = text("logger").unwrap_or_default();
    let logger = logger.rsplit('.').next().unwrap_or_default();
    push(out, &[text("ts").unwrap_or_default(), text("level").unwrap_or("INFO"), logger], message);
    if let Some(exception) = entry.get("exception").and_then(Value::as_object) {
        let field = |name: &str| exception.get(name).and_then(Value::as_str).unwrap_or_default();
        push(out, &[], &format!("{}: {}", field("class"), field("msg")));
        let frames = exception.get("stacktrace").and_then(Value::as_array);
        for frame in frames.into_iter().flatten() {
            match frame {
                Value::String(frame) => push(out, &[], &format!("\tat {frame}")),
                Value::Object(frame) => {
                    let part = |name: &str| frame.get(name).and_then(Value::as_str).unwrap_or("?");
                    push(out, &[], &format!("\tat {}.{}", part("class"), part("method")));
                }
                _ => {}
            }
        }
    }
    true
}

/// `ts level logger: message`, keeping the message's own lines.
fn push(out: &mut String, head: &[&str], message: &str) {
    if let [ts, level, logger] = head {
        out.push_str(&format_head(ts, level, logger));
    }
    out.push_str(message.trim_end_matches('\n'));
    out.push('\n');
}

fn format_head(ts: &str, level: &str, logger: &str) -> String {
    format!("{ts} {level} {logger}: ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_structured_log_reads_like_the_classic_one_and_keeps_its_line_numbers() {
        let text = concat!(
            "starting\n",
            r#"{"ts":"2026-01-31T12:00:00.000Z","level":"ERROR","logger":"org.apache.spark.TaskSchedulerImpl","msg":"Lost executor 1 on h: \nThe executor with id 1 exited with exit code 137","exception":{"class":"java.io.IOException","msg":"No space left on device","stacktrace":[{"class":"a.B","method":"c"}]}}"#,
            "\n",
            r#"{"ts":"broken"#,
            "\nend\n"
        );
        let passage = Passage::new(Origin::DriverLog, "driver", text);
        let prepared = Prepared::new(&passage);
        let shown: Vec<String> = prepared
            .text
            .lines()
            .enumerate()
            .map(|(index, line)| format!("{} {line}", prepared.number(index)))
            .collect();
        insta::assert_snapshot!(shown.join("\n"), @r#"
            1 starting
            2 2026-01-31T12:00:00.000Z ERROR TaskSchedulerImpl: Lost executor 1 on h: 
            2 The executor with id 1 exited with exit code 137
            2 java.io.IOException: No space left on device
            2 	at a.B.c
            3 {"ts":"broken
            4 end
        "#);
    }

    #[test]
    fn a_classic_log_is_not_copied() {
        let passage = Passage::new(Origin::DriverLog, "driver", "a\nb\n");
        let prepared = Prepared::new(&passage);
        assert!(matches!(prepared.text, Cow::Borrowed(_)));
        assert_eq!(prepared.number(1), 2);
    }
}
