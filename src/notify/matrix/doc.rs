//! A text written twice at once: plain, and in Matrix's HTML subset.

use crate::notify::{
    markdown::{self, Span},
    wording,
};

/// Both forms.
#[derive(Debug)]
pub(super) struct Doc {
    body: String,
    html: String,
    max: usize,
}

/// A piece of a line; its text is foreign unless it says otherwise.
#[derive(Clone, Copy, Debug)]
pub(super) enum Piece<'a> {
    Text(&'a str),
    Strong(&'a str),
    Code(&'a str),
    Link {
        label: &'a str,
        url: &'a str,
    },
    /// A valid user id, shown as a mention.
    User(&'a str),
}

impl Doc {
    /// Each single text has at most `max` characters.
    pub(super) fn new(max: usize) -> Self {
        Self { body: String::new(), html: String::new(), max }
    }

    pub(super) fn max(&self) -> usize {
        self.max
    }

    pub(super) fn body(&self) -> &str {
        self.body.trim_end()
    }

    pub(super) fn html(&self) -> &str {
        &self.html
    }

    /// One line; nothing when all its pieces are empty.
    pub(super) fn paragraph(&mut self, pieces: &[Piece<'_>]) {
        let is_empty = |piece: &Piece<'_>| match piece {
            Piece::Text(t) | Piece::Strong(t) | Piece::Code(t) => t.trim().is_empty(),
            Piece::Link { .. } | Piece::User(_) => false,
        };
        if pieces.iter().all(is_empty) {
            return;
        }
        self.html.push_str("<p>");
        for piece in pieces {
            self.piece(*piece);
        }
        self.html.push_str("</p>");
        self.end_line();
    }

    /// Preformatted text as it is; the caller has cut it.
    pub(super) fn block(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        self.html.push_str("<pre><code>");
        escape(text, &mut self.html);
        self.html.push_str("</code></pre>");
        for line in text.lines() {
            self.body.extend(["    ", line, "\n"]);
        }
    }

    /// Lines as a list.
    pub(super) fn list<'a>(&mut self, lines: impl Iterator<Item = &'a str>) {
        let mut open = false;
        for line in lines.filter(|line| !line.trim().is_empty()) {
            self.html.push_str(if open { "<li>" } else { "<ul><li>" });
            open = true;
            self.body.push_str("- ");
            self.piece(Piece::Text(line));
            self.html.push_str("</li>");
            self.end_line();
        }
        if open {
            self.html.push_str("</ul>");
        }
    }

    /// A remedy after its label.
    pub(super) fn markdown(&mut self, label: &str, text: &str) {
        let text = wording::clean(&wording::cut(text, self.max));
        for (at, line) in markdown::lines(&text).enumerate() {
            self.html.push_str("<p>");
            if at == 0 {
                self.piece(Piece::Strong(label));
                self.piece(Piece::Text(": "));
            }
            if line.item {
                self.piece(Piece::Text("• "));
            }
            for span in line.spans {
                self.piece(match span {
                    Span::Text(text) => Piece::Text(text),
                    Span::Code(text) => Piece::Code(text),
                    Span::Bold(text) => Piece::Strong(text),
                    Span::Link { label, url } => Piece::Link { label, url },
                });
            }
            self.html.push_str("</p>");
            self.end_line();
        }
    }

    fn piece(&mut self, piece: Piece<'_>) {
        match piece {
            Piece::Text(text) => self.tagged("", text),
            Piece::Strong(text) => self.tagged("strong", text),
            Piece::Code(text) => self.tagged("code", text),
            Piece::Link { label, url } => match markdown::web(url) {
                Some(url) => {
                    let label = wording::cut(&wording::line(label), self.max.min(80)).into_owned();
                    self.anchor(&label, &url);
                    self.body.extend([label.as_str(), ": ", &url]);
                }
                None => self.tagged("", label),
            },
            Piece::User(user) => {
                self.anchor(user, &format!("https://matrix.to/#/{}", super::api::path(&[user])));
                self.body.push_str(user);
            }
        }
    }

    fn anchor(&mut self, label: &str, url: &str) {
        self.html.push_str("<a href=\"");
        escape(url, &mut self.html);
        self.html.push_str("\">");
        escape(label, &mut self.html);
        self.html.push_str("</a>");
    }

    fn tagged(&mut self, tag: &str, text: &str) {
        // Spaces at the ends separate pieces.
        let flat = wording::clean(&text[..text.floor_char_boundary(8_000)]).replace('\n', " ");
        let text = wording::cut(&flat, self.max);
        if !tag.is_empty() {
            self.html.extend(["<", tag, ">"]);
        }
        escape(&text, &mut self.html);
        if !tag.is_empty() {
            self.html.extend(["</", tag, ">"]);
        }
        self.body.push_str(&text);
    }

    fn end_line(&mut self) {
        let kept = self.body.trim_end().len();
        self.body.truncate(kept);
        self.body.push('\n');
    }
}

fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
}
