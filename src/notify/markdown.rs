//! The little Markdown of remedies: `code`, **bold**, [links](https://…) and lists. No channel speaks Markdown itself,
//! so each renders these pieces in its own markup; what is not one of them is plain text.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// One line of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// It is an item of a list.
    pub item: bool,
    /// Its pieces in order.
    pub spans: Vec<Span<'a>>,
}

/// A piece of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span<'a> {
    /// Plain.
    Text(&'a str),
    /// Between backticks.
    Code(&'a str),
    /// Between double asterisks.
    Bold(&'a str),
    /// A link that opens in a browser: `http` and `https` only.
    Link {
        /// What it shows.
        label: &'a str,
        /// Where it leads.
        url: &'a str,
    },
}

/// Reads a remedy; empty lines are dropped.
pub fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| {
        let item = line.strip_prefix("- ").or_else(|| line.strip_prefix("* "));
        Line { item: item.is_some(), spans: spans(item.unwrap_or(line)) }
    })
}

/// The address as a channel may make it clickable: `http` or `https`, at most 2 000 bytes, with everything encoded that
/// could end the link early or disguise it; `None` when it is none.
pub fn web(url: &str) -> Option<String> {
    const UNSAFE: &AsciiSet =
        &CONTROLS.add(b' ').add(b'<').add(b'>').add(b'"').add(b'|').add(b'`').add(b'\\');
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    if rest.is_empty() || url.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return None;
    }
    let safe = utf8_percent_encode(url, UNSAFE).to_string();
    (safe.len() <= 2_000).then_some(safe)
}

fn spans(text: &str) -> Vec<Span<'_>> {
    let (mut out, mut plain, mut at) = (vec![], 0, 0);
    while at < text.len() {
        let rest = &text[at..];
        if let Some((span, length)) = code(rest).or_else(|| bold(rest)).or_else(|| link(rest)) {
            if plain < at {
                out.push(Span::Text(&text[plain..at]));
            }
            out.push(span);
            at += length;
            plain = at;
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    if plain < text.len() {
        out.push(Span::Text(&text[plain..]));
    }
    out
}

fn code(rest: &str) -> Option<(Span<'_>, usize)> {
    let (inner, _) = rest.strip_prefix('`')?.split_once('`')?;
    (!inner.is_empty()).then_some((Span::Code(inner), inner.len() + 2))
}

fn bold(rest: &str) -> Option<(Span<'_>, usize)> {
    let (inner, _) = rest.strip_prefix("**")?.split_once("**")?;
    (!inner.is_empty()).then_some((Span::Bold(inner), inner.len() + 4))
}

fn link(rest: &str) -> Option<(Span<'_>, usize)> {
    let (label, tail) = rest.strip_prefix('[')?.split_once("](")?;
    let (url, _) = tail.split_once(')')?;
    let fits = !label.is_empty() && !label.contains(['[', ']']) && web(url).is_some();
    fits.then_some((Span::Link { label, url }, label.len() + url.len() + 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_is_read_into_its_pieces() {
        let read: Vec<_> =
            lines("Raise `a.b` to **2g**.\n\n- see [docs](https://x.org/a)").collect();
        assert_eq!(
            read,
            [
                Line {
                    item: false,
                    spans: vec![
                        Span::Text("Raise "),
                        Span::Code("a.b"),
                        Span::Text(" to "),
                        Span::Bold("2g"),
                        Span::Text(".")
                    ]
                },
                Line {
                    item: true,
                    spans: vec![
                        Span::Text("see "),
                        Span::Link { label: "docs", url: "https://x.org/a" }
                    ]
                },
            ]
        );
    }

    #[test]
    fn what_is_not_markup_stays_text() {
        for text in
            ["a ` b", "**", "``", "[x](javascript:alert(1))", "[x](https://a b)", "[", "2 * 3 ** 4"]
        {
            let read: Vec<_> = lines(text).collect();
            assert_eq!(read[0].spans, [Span::Text(text)], "{text}");
        }
    }

    #[test]
    fn only_web_addresses_become_links_and_nothing_ends_them_early() {
        assert_eq!(
            web("https://x.org/a?b=1&c=<!here>|é").as_deref(),
            Some("https://x.org/a?b=1&c=%3C!here%3E%7C%C3%A9")
        );
        for bad in [
            "",
            "https://",
            "javascript:alert(1)",
            "ftp://x",
            "https://a b",
            "https://a\nb",
            "//x.org",
        ] {
            assert_eq!(web(bad), None, "{bad:?}");
        }
        assert_eq!(web(&format!("https://x.org/{}", "a".repeat(65_536))), None);
    }

    fn written(line: &Line<'_>) -> String {
        let spans = line.spans.iter().map(|span| match span {
            Span::Text(text) => (*text).to_owned(),
            Span::Code(text) => format!("`{text}`"),
            Span::Bold(text) => format!("**{text}**"),
            Span::Link { label, url } => format!("[{label}]({url})"),
        });
        spans.collect()
    }

    proptest::proptest! {
        #[test]
        fn no_character_is_lost(text in "[ab`*\\[\\]()]{1,40}") {
            let read: Vec<_> = lines(&text).collect();
            proptest::prop_assert_eq!(written(&read[0]), text);
        }
    }
}
