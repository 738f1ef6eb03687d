//! Every word that the channels share, in one file: status words, durations, times, cuts.
//!
//! A card must read the same in the terminal, in Slack and in Matrix; what differs between channels is markup, and
//! markup lives with its channel. Text arrives redacted. [`clean`] takes out what no channel may pass on: control
//! characters (terminal escapes, NUL) and the marks that reverse the direction of text.

use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::Page;
use crate::domain::{
    card::{Action, Card},
    severity::Severity,
    verdict::{Owner, Quote, Verdict},
};

/// Ends a text that was longer.
pub const CUT: &str = "… (cut)";
/// Before what to do.
pub const REMEDY: &str = "Do";
/// Before who is paged next.
pub const NEXT: &str = "Next";
/// On a page whose earlier attempt may have arrived.
pub const POSSIBLE_REPEAT: &str = "possible repeat";
/// The menu of the three silences.
pub const SILENCE: &str = "Silence…";
/// How to acknowledge where there are no buttons but reactions.
pub const REACT: &str = "React with 👍, ✅ or 👀 to acknowledge.";

/// Colour of a severity, for channels that show emoji; a check mark once it is over.
pub fn glyph(card: &Card) -> &'static str {
    match (is_over(card), card.severity) {
        (true, _) => "✅",
        (false, Severity::P0) => "🔴",
        (false, Severity::P1) => "🟠",
        (false, Severity::P2) => "🟡",
        (false, Severity::P3) => "🔵",
    }
}

/// True when nobody has to act any more.
pub fn is_over(card: &Card) -> bool {
    matches!(card.status.as_str(), "resolved" | "reviewed")
}

/// The card in one line: `P1 triggered · SparkExecutorLost · spark-prod · INC-12`.
pub fn headline(card: &Card) -> String {
    let number = number(card);
    format!("{} {} · {}{number}", card.severity, line(&card.status), line(&card.title))
}

/// ` · INC-12`; nothing on a card of no incident.
pub fn number(card: &Card) -> String {
    let id = id(card);
    if id.is_empty() { id } else { format!(" · {id}") }
}

/// `INC-12`; "" for a card of no incident.
pub fn id(card: &Card) -> String {
    if card.incident.0 == 0 { String::new() } else { card.incident.to_string() }
}

/// The card in one line with what is probably wrong, for notifications and places without markup.
pub fn headline_with_verdict(card: &Card) -> String {
    match card.verdicts.first() {
        Some(best) => {
            format!("{}: {} ({})", headline(card), line(&best.title), confidence(best.confidence))
        }
        None => headline(card),
    }
}

/// First line of a page.
pub fn page(page: &Page) -> String {
    let late =
        if page.remark.is_empty() { String::new() } else { format!(" ({})", line(&page.remark)) };
    format!("PAGE for {}{late}", line(&page.person))
}

/// `since 03:12:05 UTC (4m 10s)`; with the date when that was on another day.
pub fn since(card: &Card) -> String {
    let lasted = duration(card.at.duration_since(card.since));
    let day = |t: Timestamp| t.to_zoned(TimeZone::UTC).date();
    let from = if day(card.since) == day(card.at) {
        time(card.since)
    } else {
        card.since.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
    };
    format!("since {from} ({lasted})")
}

/// `03:12:05 UTC`.
pub fn time(at: Timestamp) -> String {
    at.strftime("%H:%M:%S UTC").to_string()
}

/// The two largest units: `12s`, `4m 10s`, `2h 5m`, `3d 4h`. A negative duration (clocks differ) is `0s`.
pub fn duration(lasted: SignedDuration) -> String {
    let seconds = lasted.as_secs().max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {minutes}m"),
        (_, _, _) => format!("{days}d {hours}h"),
    }
}

/// `96 %`; 100 % is kept for certainty.
pub fn confidence(value: f64) -> String {
    let percent = (value.clamp(0.0, 1.0) * 100.0).round();
    let shown = if value < 1.0 { percent.min(99.0) } else { percent };
    if shown.is_nan() { "0 %".to_owned() } else { format!("{shown} %") }
}

/// Who has to act.
pub fn owner(owner: Owner) -> &'static str {
    match owner {
        Owner::User => "for the job's author",
        Owner::Platform => "for the platform team",
        Owner::Data => "for the data owners",
        Owner::Infra => "for the infrastructure team",
    }
}

/// `96 % sure, for the platform team`.
pub fn certainty(verdict: &Verdict) -> String {
    format!("{} sure, {}", confidence(verdict.confidence), owner(verdict.owner))
}

/// Before a verdict's title.
pub fn verdict_label(first: bool) -> &'static str {
    if first { "Verdict" } else { "Also" }
}

/// Where a quote stands: `executor 3 (pod etl-exec-3), line 118`.
pub fn place(quote: &Quote) -> String {
    let source = line(&quote.source);
    if quote.line == 0 { source } else { format!("{source}, line {}", quote.line) }
}

/// A pressed button: `Ack: Ana Lima 03:14`.
pub fn done(action: &Action) -> String {
    format!("{}: {}", action.verb.label(), line(&action.done_by))
}

/// `2 more verdicts on the incident page`.
pub fn more(left: usize, what: &str) -> String {
    let plural = if left == 1 { "" } else { "s" };
    format!("{left} more {what}{plural} on the incident page")
}

/// Text without control characters and direction marks: line ends become `\n`, tabs four spaces, the rest `�`.
pub fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\r' if characters.peek() == Some(&'\n') => {}
            '\n' | '\r' | '\u{2028}' | '\u{2029}' => out.push('\n'),
            '\t' => out.push_str("    "),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// [`clean`], on one line; no channel shows a line of more than 8 000 bytes.
pub fn line(text: &str) -> String {
    let clean = clean(&text[..text.floor_char_boundary(8_000)]);
    clean.split('\n').map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join(" ")
}

/// At most `max` characters, the last ones [`CUT`] when there were more.
pub fn cut(text: &str, max: usize) -> Cow<'_, str> {
    if text.chars().nth(max).is_none() {
        return Cow::Borrowed(text);
    }
    let kept: String = text.chars().take(max.saturating_sub(CUT.chars().count())).collect();
    Cow::Owned(kept + CUT)
}

/// Shortens a log to a cost of at most `max`, keeping its first third and its end (where the failure is), and says how
/// much is missing. `cost` is what one character costs in the channel.
pub fn middle(text: &str, max: usize, cost: impl Fn(char) -> usize) -> Cow<'_, str> {
    const MARK: usize = 48;
    if text.chars().map(&cost).sum::<usize>() <= max {
        return Cow::Borrowed(text);
    }
    let room = max.saturating_sub(MARK);
    let head = end_within(text.char_indices(), room / 3, &cost);
    let from_end = end_within(
        text.char_indices().rev().map(|(at, c)| (text.len() - at - c.len_utf8(), c)),
        room - room / 3,
        &cost,
    );
    let tail = text.len() - from_end;
    let missing = text[head..tail.max(head)].chars().count();
    Cow::Owned(format!(
        "{}\n… {missing} characters cut …\n{}",
        &text[..head],
        &text[tail.max(head)..]
    ))
}

/// The byte offset at which the budget is used up.
fn end_within(
    characters: impl Iterator<Item = (usize, char)>,
    budget: usize,
    cost: &impl Fn(char) -> usize,
) -> usize {
    let (mut used, mut end) = (0, 0);
    for (at, c) in characters {
        used += cost(c);
        if used > budget {
            break;
        }
        end = at + c.len_utf8();
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_shows_its_two_largest_units() {
        let shown = [-5, 0, 12, 250, 7_500, 273_600]
            .map(|s| duration(SignedDuration::from_secs(s)))
            .join(", ");
        insta::assert_snapshot!(shown, @"0s, 0s, 12s, 4m 10s, 2h 5m, 3d 4h");
    }

    #[test]
    fn almost_certain_is_not_certain() {
        let shown = [0.0, 0.29, 0.955, 0.999, 1.0, 7.0, -1.0, f64::NAN].map(confidence).join(", ");
        insta::assert_snapshot!(shown, @"0 %, 29 %, 96 %, 99 %, 100 %, 100 %, 0 %, 0 %");
    }

    #[test]
    fn control_characters_and_direction_marks_do_not_survive() {
        assert_eq!(
            clean("a\u{1b}[31mb\0\tc\r\nd\u{202e}e"),
            "a\u{fffd}[31mb\u{fffd}    c\nd\u{fffd}e"
        );
        assert_eq!(line(" a\n\n  b\u{2028}c "), "a b c");
    }

    #[test]
    fn a_cut_text_is_within_its_limit_and_says_so() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("0123456789", 9), "01… (cut)");
        assert_eq!(cut("", 0), "");
    }

    #[test]
    fn a_long_log_keeps_its_start_and_more_of_its_end() {
        let log = (0..500).map(|n| format!("line {n}")).collect::<Vec<_>>().join("\n");
        let short = middle(&log, 120, char::len_utf8);
        insta::assert_snapshot!(short, @r"
        line 0
        line 1
        line 2
        lin
        … 4317 characters cut …
        494
        line 495
        line 496
        line 497
        line 498
        line 499
        ");
        assert!(short.len() <= 120);
        assert_eq!(middle("short", 120, |_| 1), "short");
    }

    proptest::proptest! {
        #[test]
        fn a_shortened_log_never_costs_more_than_its_limit(text in "\\PC{0,300}", max in 48_usize..200) {
            let short = middle(&text, max, char::len_utf8);
            proptest::prop_assert!(short.len() <= max + 8, "{} > {max}", short.len());
        }
    }
}
