//! Lines of at most 100 columns, with a narrow column of labels and optional colour.

/// Widest line, columns.
pub(super) const WIDTH: usize = 100;
/// Where text starts after a label.
const INDENT: usize = 11;

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Bold,
    Dim,
    Quote,
    Good,
    Warn,
    Alarm,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Quote => "36",
            Self::Good => "32",
            Self::Warn => "33",
            Self::Alarm => "1;31",
        }
    }
}

/// Text being laid out.
pub(super) struct Paper {
    out: String,
    color: bool,
}

impl Paper {
    pub(super) fn new(color: bool) -> Self {
        Self { out: String::new(), color }
    }

    /// A line across, between messages.
    pub(super) fn rule(&mut self) {
        self.put(Style::Dim, &"━".repeat(WIDTH));
    }

    /// An empty line, never two.
    pub(super) fn gap(&mut self) {
        if !self.out.ends_with("\n\n") {
            self.out.push('\n');
        }
    }

    /// Text over the full width.
    pub(super) fn text(&mut self, style: Style, text: &str) {
        for line in wrap(text, WIDTH) {
            self.put(style, &line);
        }
    }

    /// A log line behind a bar, over the full width.
    pub(super) fn log(&mut self, line: &str) {
        for part in wrap(line, WIDTH - 2) {
            self.put(Style::Plain, &format!("│ {part}"));
        }
    }

    /// A quoted line behind a bar, under a row's text.
    pub(super) fn quote(&mut self, line: &str) {
        for part in wrap(line, WIDTH - INDENT - 2) {
            self.paint(Style::Plain, &" ".repeat(INDENT));
            self.put(Style::Quote, &format!("│ {part}"));
        }
    }

    /// A label and its text; further lines hang under the text.
    pub(super) fn row(&mut self, label: &str, style: Style, text: &str) {
        for (at, line) in wrap(text, WIDTH - INDENT).iter().enumerate() {
            let label = if at == 0 { label } else { "" };
            self.paint(Style::Dim, &format!("{label:<INDENT$}"));
            self.put(style, line);
        }
    }

    /// A label and a text that must not be broken, such as a link.
    pub(super) fn whole(&mut self, label: &str, text: &str) {
        self.paint(Style::Dim, &format!("{label:<INDENT$}"));
        if columns(label) >= INDENT {
            self.out.push(' ');
        }
        self.put(Style::Plain, text);
    }

    pub(super) fn finish(mut self) -> String {
        while self.out.ends_with("\n\n") {
            self.out.pop();
        }
        self.out
    }

    fn put(&mut self, style: Style, line: &str) {
        self.paint(style, line);
        let kept = self.out.trim_end_matches(' ').len();
        self.out.truncate(kept);
        self.out.push('\n');
    }

    fn paint(&mut self, style: Style, text: &str) {
        if self.color && !style.code().is_empty() && !text.trim().is_empty() {
            self.out.extend(["\u{1b}[", style.code(), "m", text, "\u{1b}[0m"]);
        } else {
            self.out.push_str(text);
        }
    }
}

/// Breaks between words, and inside a word only where it alone is too wide. Spaces inside a line stay.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let (mut lines, mut line, mut used) = (vec![], String::new(), 0);
    for word in text.split_inclusive(' ') {
        let bare = columns(word.trim_end_matches(' '));
        if used > 0 && used + bare > width {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        for c in word.chars() {
            let wide = width_of(c);
            if used + wide > width {
                if c == ' ' {
                    continue;
                }
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            line.push(c);
            used += wide;
        }
    }
    lines.push(line);
    lines
}

/// Columns a text takes on a terminal.
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(width_of).sum()
}

/// Near enough for alignment: East Asian wide forms and emoji take two columns, combining marks none.
fn width_of(c: char) -> usize {
    match u32::from(c) {
        0x300..=0x36f | 0x200b..=0x200f | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f
        | 0x2e80..=0x303e
        | 0x3041..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1faff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_breaks_between_words_and_only_then_inside_them() {
        assert_eq!(wrap("one two three", 8), ["one two ", "three"]);
        assert_eq!(wrap("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(wrap("日本語", 4), ["日本", "語"]);
        assert_eq!(wrap("", 4), [""]);
    }

    #[test]
    fn colour_is_off_unless_asked_for() {
        let paint = |color| {
            let mut paper = Paper::new(color);
            paper.row("Next", Style::Alarm, "x");
            paper.finish()
        };
        assert_eq!(paint(false), "Next       x\n");
        assert_eq!(paint(true), "\u{1b}[2mNext       \u{1b}[0m\u{1b}[1;31mx\u{1b}[0m\n");
    }

    proptest::proptest! {
        #[test]
        fn no_wrapped_line_is_too_wide_and_no_letter_is_lost(text in "[a-z日 ]{0,80}", width in 2_usize..20) {
            let lines = wrap(&text, width);
            proptest::prop_assert!(lines.iter().all(|l| columns(l) <= width));
            let letters = |t: &str| t.chars().filter(|c| *c != ' ').collect::<String>();
            proptest::prop_assert_eq!(letters(&lines.concat()), letters(&text));
        }
    }
}
