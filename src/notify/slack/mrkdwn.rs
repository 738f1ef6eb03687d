//! Slack's markup, written so that it can neither be injected into nor grow past its limit.
//!
//! Slack has no escape for `*`, `_` or a backtick; only `&`, `<` and `>` matter, because `<…>` makes mentions and links.
//! So foreign text goes in escaped and is otherwise left alone, and our own markup goes in whole or not at all: a cut
//! never splits an entity, a link or a fence. Lengths are counted in UTF-16 units, the largest of the ways Slack may count.

use crate::notify::{
    markdown::{self, Span},
    wording,
};

/// Text of a bounded length.
#[derive(Debug)]
pub(super) struct Mrkdwn {
    out: String,
    left: usize,
    cut: bool,
}

const FENCE: &str = "```\n";
const FENCE_END: &str = "\n```";

impl Mrkdwn {
    /// At most `max` units, the mark of a cut included.
    pub(super) fn new(max: usize) -> Self {
        Self { out: String::new(), left: max - units(wording::CUT), cut: false }
    }

    /// Our own markup: whole, or the text ends here.
    pub(super) fn raw(&mut self, markup: &str) -> &mut Self {
        if !self.cut && units(markup) <= self.left {
            self.left -= units(markup);
            self.out.push_str(markup);
        } else {
            self.cut = true;
        }
        self
    }

    /// Foreign text on one line.
    pub(super) fn line(&mut self, text: &str) -> &mut Self {
        self.escaped(&wording::line(text))
    }

    /// Foreign text between two of our marks; a mark that was opened is closed.
    pub(super) fn wrapped(&mut self, mark: &str, text: &str) -> &mut Self {
        // A mark inside would close early; there is no escape for it.
        let text = wording::line(text).replace(mark, if mark == "`" { "'" } else { "" });
        if text.is_empty() || self.cut || self.left < 2 * units(mark) + 8 {
            self.cut |= !text.is_empty();
            return self;
        }
        self.left -= 2 * units(mark);
        self.out.push_str(mark);
        self.escaped(&text);
        self.out.push_str(mark);
        self
    }

    /// Foreign text as it stands, in a fence.
    pub(super) fn block(&mut self, text: &str) -> &mut Self {
        if self.cut || self.left < units(FENCE) + units(FENCE_END) + 8 {
            self.cut = true;
            return self;
        }
        self.left -= units(FENCE) + units(FENCE_END);
        self.out.push_str(FENCE);
        self.escaped(&fenceless(text));
        self.out.push_str(FENCE_END);
        self
    }

    /// A link, whole or not at all; an address that is no web address is shown as its label.
    pub(super) fn link(&mut self, label: &str, url: &str) -> &mut Self {
        let label = escape(&wording::cut(&wording::line(label).replace('|', "/"), 80));
        match markdown::web(url) {
            Some(url) => self.raw(&format!("<{}|{label}>", escape(&url))),
            None => self.raw(&label),
        }
    }

    /// A remedy.
    pub(super) fn markdown(&mut self, text: &str) -> &mut Self {
        let text = wording::clean(&wording::cut(text, 4_000));
        for (at, line) in markdown::lines(&text).enumerate() {
            self.raw(if at == 0 { "" } else { "\n" });
            self.raw(if line.item { "• " } else { "" });
            for span in line.spans {
                match span {
                    Span::Text(text) => self.escaped(text),
                    Span::Code(text) => self.wrapped("`", text),
                    Span::Bold(text) => self.wrapped("*", text),
                    Span::Link { label, url } => self.link(label, url),
                };
            }
        }
        self
    }

    /// The text; empty when nothing was written.
    pub(super) fn finish(&mut self) -> String {
        let mut out = std::mem::take(&mut self.out);
        if self.cut {
            out.push_str(wording::CUT);
        }
        out
    }

    fn escaped(&mut self, text: &str) -> &mut Self {
        for c in text.chars() {
            let cost = cost(c);
            if self.cut || cost > self.left {
                self.cut = true;
                break;
            }
            self.left -= cost;
            push_escaped(&mut self.out, c);
        }
        self
    }
}

/// Escaped text of at most `max` units.
pub(super) fn plain(text: &str, max: usize) -> String {
    Mrkdwn::new(max).line(text).finish()
}

/// A log without anything that would end its fence.
pub(super) fn fenceless(text: &str) -> String {
    wording::clean(text).replace("```", "'''")
}

/// What a character costs once escaped.
pub(super) fn cost(c: char) -> usize {
    match c {
        '&' => 5,
        '<' | '>' => 4,
        c => c.len_utf16(),
    }
}

/// Length as Slack counts it at most.
pub(super) fn units(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| push_escaped(&mut out, c));
    out
}

fn push_escaped(out: &mut String, c: char) {
    match c {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        c => out.push(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mentions_in_foreign_text_mention_nobody() {
        let shown = plain("<!channel> <@U024BE7LH> a && b", 100);
        assert_eq!(shown, "&lt;!channel&gt; &lt;@U024BE7LH&gt; a &amp;&amp; b");
    }

    #[test]
    fn a_cut_never_splits_an_entity_a_fence_or_a_link() {
        let mut line = Mrkdwn::new(14);
        assert_eq!(line.line("a<<<<").finish(), "a&lt;… (cut)");
        let mut block = Mrkdwn::new(25);
        let log = "a<b\n```\nxxxxxxxxxx";
        assert_eq!(block.block(log).finish(), "```\na&lt;b\n'''\n```… (cut)");
        let mut docs = Mrkdwn::new(20);
        assert_eq!(docs.raw("x ").link("docs", "https://x.org/a").finish(), "x … (cut)");
        assert_eq!(Mrkdwn::new(10).wrapped("*", "bold").finish(), "… (cut)");
    }

    #[test]
    fn a_remedy_becomes_slack_markup() {
        let mut text = Mrkdwn::new(200);
        text.markdown("Raise `a<b` to **2g**\n- [docs](https://x.org/?a=1&b=2)\n- `x");
        assert_eq!(
            text.finish(),
            "Raise `a&lt;b` to *2g*\n• <https://x.org/?a=1&amp;b=2|docs>\n• `x"
        );
    }
}
