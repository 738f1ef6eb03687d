//! The terminal as a channel: the first one anybody sees, and the one that needs no configuration.
//!
//! A message is written whole, under one lock, so that two incidents never mix their lines. Nothing is edited: a changed
//! card is printed again below.

mod paper;

use std::{
    fmt,
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    Caps, Class, Delivery, Failure, Message, Note, Notifier, Outcome, Page, Receipt, Result,
    markdown::{self, Span},
    wording,
};
use crate::{
    domain::{
        card::Card,
        severity::Severity,
        verdict::{Quote, Verdict},
    },
    ops::lifecycle,
};
use paper::{Paper, Style};

/// Verdicts with their evidence; the others are counted.
const VERDICTS: usize = 4;
/// Quoted lines of the first verdict; the others get one.
const QUOTES: usize = 4;
/// Lines of history, newest last.
const HISTORY: usize = 8;
/// Labels, caveats and links.
const LISTED: usize = 12;
/// Longest single text, characters.
const TEXT: usize = 600;
/// Longest remedy, characters.
const REMEDY: usize = 1_200;
/// Longest line of a list, characters.
const ITEM: usize = 400;
/// Longest evidence, characters.
const EVIDENCE: usize = 16_000;
/// Most lines of evidence; the last ones, where a failure is.
const EVIDENCE_LINES: usize = 300;

/// Prints to a writer.
#[derive(Clone)]
pub struct Console {
    out: Arc<Mutex<Box<dyn Write + Send>>>,
    color: bool,
}

impl Console {
    /// Writes to `out`; with ANSI colours when told so (only a terminal should get them).
    pub fn new(out: impl Write + Send + 'static, color: bool) -> Self {
        Self { out: Arc::new(Mutex::new(Box::new(out))), color }
    }

    /// Writes to standard output.
    pub fn stdout(color: bool) -> Self {
        Self::new(io::stdout(), color)
    }
}

impl Default for Console {
    fn default() -> Self {
        Self::stdout(false)
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").field("color", &self.color).finish_non_exhaustive()
    }
}

impl Notifier for Console {
    const KIND: &'static str = "console";
    const CAPS: Caps = Caps {
        edit: false,
        threads: false,
        actions: false,
        class: Class::Blind,
        per_second: 100.0,
        burst: 100,
    };

    async fn send(&self, delivery: &Delivery<'_>) -> Result {
        let text = render(delivery.message, self.color);
        let out = Arc::clone(&self.out);
        // A pipe that nobody reads blocks; it must not block an async thread.
        let written = lifecycle::blocking(move || {
            let mut out = out.lock().unwrap_or_else(PoisonError::into_inner);
            out.write_all(text.as_bytes()).and_then(|()| out.flush())
        });
        let failed = |why: String| Failure {
            outcome: Outcome::Permanent,
            reason: format!("the console cannot be written to: {why}"),
        };
        match written.await {
            Ok(Ok(())) => {
                Ok(Receipt { address: delivery.address.to_owned(), id: delivery.key.to_owned() })
            }
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

/// The message as text for a terminal, at most 100 columns wide; only a link may be longer, so that it stays whole.
pub fn render(message: &Message, color: bool) -> String {
    let mut paper = Paper::new(color);
    paper.rule();
    match message {
        Message::Card(body) => card(&mut paper, body),
        Message::Evidence(body) => note(&mut paper, body),
        Message::Page(body) => page(&mut paper, body),
    }
    paper.finish()
}

fn page(paper: &mut Paper, page: &Page) {
    paper.text(Style::Alarm, &format!(">>> {} <<<", wording::page(page)));
    paper.text(Style::Plain, &wording::cut(&wording::line(&page.why), TEXT));
    paper.gap();
    card(paper, &page.card);
}

fn note(paper: &mut Paper, note: &Note) {
    let to = if note.mention.is_empty() { String::new() } else { format!("{}: ", note.mention) };
    let title = wording::line(&format!("{to}{}", note.title));
    paper.text(Style::Bold, &wording::cut(&title, TEXT));
    let body = wording::clean(&note.body);
    let body = wording::middle(body.trim_end(), EVIDENCE, |_| 1);
    let lines: Vec<_> = body.lines().collect();
    let dropped = lines.len().saturating_sub(EVIDENCE_LINES);
    if dropped > 0 {
        paper.text(Style::Dim, &format!("… {dropped} lines before these …"));
    }
    for line in &lines[dropped..] {
        paper.log(line);
    }
}

fn card(paper: &mut Paper, card: &Card) {
    head(paper, card);
    paper.gap();
    for (at, verdict) in card.verdicts.iter().take(VERDICTS).enumerate() {
        let explained = card.verdicts[0].explains.contains(&verdict.id);
        show_verdict(paper, verdict, at == 0, explained);
    }
    if card.verdicts.len() > VERDICTS {
        paper.row("", Style::Dim, &wording::more(card.verdicts.len() - VERDICTS, "verdict"));
    }
    row(paper, "Diagnosis", Style::Plain, &card.diagnosis);
    row(paper, wording::NEXT, Style::Bold, &card.next);
    let skipped = card.history.len().saturating_sub(HISTORY);
    rows(paper, "So far", Style::Plain, card.history.iter().skip(skipped).map(String::as_str));
    rows(paper, "Done", Style::Plain, done(card).iter().take(LISTED).map(String::as_str));
    rows(paper, "Caution", Style::Warn, card.caveats.iter().take(LISTED).map(String::as_str));
    paper.gap();
    for link in card.links.iter().take(LISTED) {
        if let Some(url) = markdown::web(&link.url) {
            paper.whole(&wording::cut(&wording::line(&link.label), 40), &url);
        }
    }
}

fn head(paper: &mut Paper, card: &Card) {
    let style = match (wording::is_over(card), card.severity) {
        (true, _) => Style::Good,
        (false, Severity::P0 | Severity::P1) => Style::Alarm,
        (false, Severity::P2) => Style::Warn,
        (false, Severity::P3) => Style::Bold,
    };
    let status = wording::line(&card.status).to_uppercase();
    let title = wording::line(&card.title);
    let title = format!("{} {status} · {title}{}", card.severity, wording::number(card));
    paper.text(style, &wording::cut(&title, TEXT));
    let members = wording::line(&card.members);
    let between = if members.is_empty() { "" } else { " · " };
    paper.text(Style::Plain, &format!("{}{between}{members}", wording::since(card)));
    if !card.summary.is_empty() {
        paper.text(Style::Plain, &wording::cut(&wording::line(&card.summary), TEXT));
    }
    for part in card.parts.iter().take(LISTED) {
        paper.text(Style::Plain, &wording::cut(&wording::line(&format!("- {part}")), ITEM));
    }
    let labels: Vec<_> = card.labels.iter().take(LISTED).map(|(k, v)| format!("{k}={v}")).collect();
    if !labels.is_empty() {
        paper.text(Style::Dim, &wording::cut(&wording::line(&labels.join("  ")), TEXT));
    }
}

fn show_verdict(paper: &mut Paper, verdict: &Verdict, first: bool, explained: bool) {
    let title = wording::cut(&verdict.title, TEXT).into_owned();
    row(paper, wording::verdict_label(first), Style::Bold, &title);
    let explained = if explained { ", explained by the first" } else { "" };
    row(paper, "", Style::Plain, &format!("{}{explained}", wording::certainty(verdict)));
    for quote in verdict.evidence.iter().take(if first { QUOTES } else { 1 }) {
        show_quote(paper, quote);
    }
    if explained.is_empty() && !verdict.remedy.trim().is_empty() {
        remedy(paper, &verdict.remedy);
    }
    if let Some(docs) = verdict.docs.as_deref().filter(|_| first).and_then(markdown::web) {
        paper.whole("More", &docs);
    }
    paper.gap();
}

fn show_quote(paper: &mut Paper, quote: &Quote) {
    paper.row("", Style::Dim, &format!("{}:", wording::cut(&wording::place(quote), TEXT)));
    paper.quote(&wording::cut(&wording::line(&quote.quote), TEXT));
}

fn remedy(paper: &mut Paper, remedy: &str) {
    let remedy = wording::clean(remedy);
    let remedy = wording::cut(&remedy, REMEDY);
    for (at, line) in markdown::lines(&remedy).enumerate() {
        let mut text = String::from(if line.item { "- " } else { "" });
        for span in line.spans {
            match span {
                Span::Text(t) | Span::Bold(t) => text.push_str(t),
                Span::Code(t) => text.extend(["`", t, "`"]),
                Span::Link { label, url } => text.extend([label, " ", url]),
            }
        }
        paper.row(if at == 0 { wording::REMEDY } else { "" }, Style::Good, &text);
    }
}

fn done(card: &Card) -> Vec<String> {
    card.actions.iter().filter(|a| !a.done_by.is_empty()).map(wording::done).collect()
}

fn row(paper: &mut Paper, label: &str, style: Style, text: &str) {
    if !text.is_empty() {
        paper.row(label, style, &wording::cut(&wording::line(text), TEXT));
    }
}

fn rows<'a>(paper: &mut Paper, label: &str, style: Style, texts: impl Iterator<Item = &'a str>) {
    for (at, text) in texts.enumerate() {
        row(paper, if at == 0 { label } else { "" }, style, &wording::cut(text, ITEM));
    }
}

#[cfg(test)]
mod tests;
