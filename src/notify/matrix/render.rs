//! A message as Matrix content: a plain body and the same in the HTML subset that clients show.
//!
//! All foreign text is escaped. An event may have 64 KiB with its signatures; content is kept below 48 KiB by rendering
//! again with shorter texts until it fits. An edit carries the whole card only once, in `m.new_content`: what clients
//! without edits show is the headline.

use serde_json::{Value, json};

use super::doc::{Doc, Piece};
use crate::{
    domain::{
        card::{Card, Verb},
        verdict::Verdict,
    },
    notify::{Message, Note, Page, wording},
};

/// Largest content, bytes of JSON.
pub(super) const MAX_CONTENT: usize = 48 * 1024;
const VERDICTS: usize = 4;
const QUOTES: usize = 4;
const LISTED: usize = 10;
/// Longest evidence, characters.
const EVIDENCE: usize = 16_000;
/// Longest other text, characters.
const TEXT: usize = 1_500;

/// How a message hangs on another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation<'a> {
    /// On none.
    None,
    /// It replaces this original event.
    Replaces(&'a str),
    /// It stands in the thread under this event.
    Under(&'a str),
}

/// The content of the `m.room.message`; `mention` is the Matrix user to mention, if any.
pub fn content(message: &Message, relation: Relation<'_>, mention: Option<&str>) -> Value {
    let (mut evidence, mut text) = (EVIDENCE, TEXT);
    loop {
        let doc = match message {
            Message::Card(body) => card(body, Doc::new(text)),
            Message::Page(body) => page(body, mention, Doc::new(text)),
            Message::Evidence(body) => note(body, mention, evidence, Doc::new(text)),
        };
        let content = related(message, &doc, relation, mention);
        let size = content.to_string().len();
        if size <= MAX_CONTENT || text < 8 {
            return content;
        }
        // By how much it is too long, and at least a third.
        let shorter = |limit: usize| (limit * MAX_CONTENT / size).min(limit * 2 / 3);
        (evidence, text) = (shorter(evidence), shorter(text));
    }
}

fn related(message: &Message, doc: &Doc, relation: Relation<'_>, mention: Option<&str>) -> Value {
    let mentions = mention.map_or_else(|| json!({}), |user| json!({"user_ids": [user]}));
    // Bots write notices; only what must wake a person is text.
    let msgtype = if matches!(message, Message::Page(_)) { "m.text" } else { "m.notice" };
    let full = json!({
        "msgtype": msgtype, "body": doc.body(),
        "format": "org.matrix.custom.html", "formatted_body": doc.html(), "m.mentions": mentions,
    });
    let mut content = match relation {
        Relation::None | Relation::Under(_) => full,
        Relation::Replaces(original) => {
            let headline = doc.body().lines().next().unwrap_or("").to_owned();
            return json!({
                "msgtype": msgtype, "body": format!("* {headline}"), "m.mentions": {},
                "m.new_content": full,
                "m.relates_to": {"rel_type": "m.replace", "event_id": original},
            });
        }
    };
    if let Relation::Under(root) = relation {
        content["m.relates_to"] = json!({
            "rel_type": "m.thread", "event_id": root, "is_falling_back": true,
            "m.in_reply_to": {"event_id": root},
        });
    }
    content
}

fn page(page: &Page, mention: Option<&str>, mut doc: Doc) -> Doc {
    let call = wording::page(page);
    match mention {
        Some(user) => doc.paragraph(&[Piece::Strong(&call), Piece::Text(" "), Piece::User(user)]),
        None => doc.paragraph(&[Piece::Strong(&call)]),
    }
    doc.paragraph(&[Piece::Text(&page.why)]);
    card(&page.card, doc)
}

fn note(note: &Note, mention: Option<&str>, max: usize, mut doc: Doc) -> Doc {
    match mention {
        Some(user) => {
            doc.paragraph(&[Piece::User(user), Piece::Text(" "), Piece::Strong(&note.title)]);
        }
        None => doc.paragraph(&[Piece::Strong(&note.title)]),
    }
    let body = wording::clean(&note.body);
    doc.block(&wording::middle(body.trim_end(), max, |_| 1));
    doc
}

fn card(card: &Card, mut doc: Doc) -> Doc {
    let headline = format!("{} {}", wording::glyph(card), wording::headline(card));
    doc.paragraph(&[Piece::Strong(&headline)]);
    let between = if card.members.is_empty() { "" } else { " · " };
    let facts = format!("{}{between}{}", wording::since(card), card.members);
    doc.paragraph(&[Piece::Text(&facts)]);
    doc.paragraph(&[Piece::Text(&card.summary)]);
    doc.list(card.parts.iter().take(LISTED).map(String::as_str));
    let labels: Vec<_> = card.labels.iter().take(LISTED).map(|(k, v)| format!("{k}={v}")).collect();
    let labels: Vec<_> =
        labels.iter().flat_map(|label| [Piece::Code(label), Piece::Text(" ")]).collect();
    doc.paragraph(&labels);
    for (at, verdict) in card.verdicts.iter().take(VERDICTS).enumerate() {
        let explained = at > 0 && card.verdicts[0].explains.contains(&verdict.id);
        show_verdict(verdict, at == 0, explained, &mut doc);
    }
    if card.verdicts.len() > VERDICTS {
        doc.paragraph(&[Piece::Text(&wording::more(card.verdicts.len() - VERDICTS, "verdict"))]);
    }
    doc.paragraph(&[Piece::Text(&card.diagnosis)]);
    let caveats: Vec<_> = card.caveats.iter().take(LISTED).map(|c| format!("⚠️ {c}")).collect();
    doc.list(caveats.iter().map(String::as_str));
    if !card.next.is_empty() {
        doc.paragraph(&[Piece::Strong(wording::NEXT), Piece::Text(": "), Piece::Text(&card.next)]);
    }
    let skipped = card.history.len().saturating_sub(LISTED);
    doc.list(card.history.iter().skip(skipped).map(String::as_str));
    links(card, &mut doc);
    let done: Vec<_> =
        card.actions.iter().filter(|a| !a.done_by.is_empty()).map(wording::done).collect();
    doc.list(done.iter().take(LISTED).map(String::as_str));
    if card.actions.iter().any(|a| a.verb == Verb::Ack && a.done_by.is_empty()) {
        doc.paragraph(&[Piece::Text(wording::REACT)]);
    }
    doc
}

fn show_verdict(verdict: &Verdict, first: bool, explained: bool, doc: &mut Doc) {
    let label = format!("{}: ", wording::verdict_label(first));
    let certainty = wording::certainty(verdict);
    let explained_by = if explained { ", explained by the first" } else { "" };
    doc.paragraph(&[
        Piece::Text(&label),
        Piece::Strong(&verdict.title),
        Piece::Text(" · "),
        Piece::Text(&certainty),
        Piece::Text(explained_by),
    ]);
    for quote in verdict.evidence.iter().take(if first { QUOTES } else { 1 }) {
        doc.paragraph(&[Piece::Text(&wording::place(quote))]);
        doc.block(&wording::cut(&wording::line(&quote.quote), doc.max()));
    }
    if !explained && !verdict.remedy.trim().is_empty() {
        doc.markdown(wording::REMEDY, &verdict.remedy);
    }
    if let Some(url) = verdict.docs.as_deref().filter(|_| first) {
        doc.paragraph(&[Piece::Link { label: "more about this", url }]);
    }
}

fn links(card: &Card, doc: &mut Doc) {
    let mut pieces = vec![];
    for link in card.links.iter().take(LISTED) {
        if !pieces.is_empty() {
            pieces.push(Piece::Text(" · "));
        }
        pieces.push(Piece::Link { label: &link.label, url: &link.url });
    }
    doc.paragraph(&pieces);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::samples;

    fn body(content: &Value) -> &str {
        content["body"].as_str().unwrap()
    }

    #[test]
    fn a_card_in_plain_text() {
        let content = content(&Message::Card(samples::card()), Relation::None, None);
        insta::assert_snapshot!(body(&content), @r"
        🟠 P1 triggered · SparkExecutorLost · spark-prod · INC-12
        since 03:12:05 UTC (4m 10s) · 3 firing, 1 resolved
        etl-nightly keeps losing executors
        namespace=spark-prod app=etl-nightly
        Verdict: Executor killed by the kernel: container memory limit · 96 % sure, for the platform team
        executor 3 (pod etl-exec-3)
            pod etl-exec-3 container spark-kubernetes-executor terminated: reason=OOMKilled exitCode=137
        driver etl-driver, line 118
            ERROR TaskSchedulerImpl: Lost executor 3 on 10.1.2.3: exit code 137 (SIGKILL, possible container OOM)
        Do: Raise spark.executor.memoryOverhead to 2g.
        • see tuning: https://docs.example.org/oom
        • or fewer cores per executor
        more about this: https://docs.example.org/oom
        Also: Shuffle files lost with their executor · 60 % sure, for the job's author, explained by the first
        driver etl-driver, line 131
            FetchFailed(BlockManagerId(3, 10.1.2.3, 7079, None), shuffleId=0, mapId=1)
        diagnosis finished
        - ⚠️ log of executor 3 was already gone; its last 200 lines come from the recorder
        Next: Raj Patel at 03:17:05 UTC by slack, then sms
        - 03:12:10 paged Ana Lima by slack: delivered
        - 03:13:02 playbook spark-executor-lost: 2 verdicts
        Runbook: https://runbooks.example.org/spark?a=1&b=2 · Incident: https://paramedic.example.org/incidents/12
        - Ack: Ana Lima 03:14
        ");
        assert_eq!((&content["msgtype"], &content["m.mentions"]), (&json!("m.notice"), &json!({})));
    }

    #[test]
    fn a_card_in_html() {
        let content = content(&Message::Card(samples::card()), Relation::None, None);
        let html = content["formatted_body"].as_str().unwrap();
        insta::assert_snapshot!(html.replace("</p>", "</p>\n").replace("</ul>", "</ul>\n"), @r#"
        <p><strong>🟠 P1 triggered · SparkExecutorLost · spark-prod · INC-12</strong></p>
        <p>since 03:12:05 UTC (4m 10s) · 3 firing, 1 resolved</p>
        <p>etl-nightly keeps losing executors</p>
        <p><code>namespace=spark-prod</code> <code>app=etl-nightly</code> </p>
        <p>Verdict: <strong>Executor killed by the kernel: container memory limit</strong> · 96 % sure, for the platform team</p>
        <p>executor 3 (pod etl-exec-3)</p>
        <pre><code>pod etl-exec-3 container spark-kubernetes-executor terminated: reason=OOMKilled exitCode=137</code></pre><p>driver etl-driver, line 118</p>
        <pre><code>ERROR TaskSchedulerImpl: Lost executor 3 on 10.1.2.3: exit code 137 (SIGKILL, possible container OOM)</code></pre><p><strong>Do</strong>: Raise <code>spark.executor.memoryOverhead</code> to <strong>2g</strong>.</p>
        <p>• see <a href="https://docs.example.org/oom">tuning</a></p>
        <p>• or fewer cores per executor</p>
        <p><a href="https://docs.example.org/oom">more about this</a></p>
        <p>Also: <strong>Shuffle files lost with their executor</strong> · 60 % sure, for the job&#39;s author, explained by the first</p>
        <p>driver etl-driver, line 131</p>
        <pre><code>FetchFailed(BlockManagerId(3, 10.1.2.3, 7079, None), shuffleId=0, mapId=1)</code></pre><p>diagnosis finished</p>
        <ul><li>⚠️ log of executor 3 was already gone; its last 200 lines come from the recorder</li></ul>
        <p><strong>Next</strong>: Raj Patel at 03:17:05 UTC by slack, then sms</p>
        <ul><li>03:12:10 paged Ana Lima by slack: delivered</li><li>03:13:02 playbook spark-executor-lost: 2 verdicts</li></ul>
        <p><a href="https://runbooks.example.org/spark?a=1&amp;b=2">Runbook</a> · <a href="https://paramedic.example.org/incidents/12">Incident</a></p>
        <ul><li>Ack: Ana Lima 03:14</li></ul>
        "#);
    }

    #[test]
    fn a_page_wakes_the_person_it_mentions() {
        let page = Message::Page(samples::page());
        let content = content(&page, Relation::None, Some("@ana:example.org"));
        assert_eq!(content["msgtype"], "m.text");
        assert_eq!(content["m.mentions"], json!({"user_ids": ["@ana:example.org"]}));
        insta::assert_snapshot!(body(&content).lines().take(3).collect::<Vec<_>>().join("\n"), @r"
        PAGE for Ana Lima (late by 4m: the store was unreachable) @ana:example.org
        step 1 of policy data-platform, on call for schedule primary
        🟠 P1 triggered · SparkExecutorLost · spark-prod · INC-12
        ");
        assert!(body(&content).ends_with(wording::REACT));
    }

    #[test]
    fn an_edit_carries_the_card_once_and_names_the_original() {
        let content = content(&Message::Card(samples::card()), Relation::Replaces("$a"), None);
        assert_eq!(content["m.relates_to"], json!({"rel_type": "m.replace", "event_id": "$a"}));
        insta::assert_snapshot!(body(&content), @"* 🟠 P1 triggered · SparkExecutorLost · spark-prod · INC-12");
        assert!(body(&content["m.new_content"]).lines().count() > 10);
    }

    #[test]
    fn evidence_hangs_in_the_thread() {
        let note = Message::Evidence(samples::note());
        let content = content(&note, Relation::Under("$a"), None);
        insta::assert_snapshot!(content["m.relates_to"], @r#"{"event_id":"$a","is_falling_back":true,"m.in_reply_to":{"event_id":"$a"},"rel_type":"m.thread"}"#);
        insta::assert_snapshot!(content["formatted_body"].as_str().unwrap(), @r"
        <p><strong>driver etl-driver, log, last 2 lines</strong></p><pre><code>03:12:01 WARN  TaskSetManager: Lost task 3.0 in stage 1.0 (TID 7)
        03:12:02 ERROR a &lt; b &amp;&amp; c ```rm -rf```</code></pre>
        ");
    }

    #[test]
    fn hostile_texts_stay_text_within_the_size() {
        for message in samples::all_hostile() {
            for relation in [Relation::Under("$a"), Relation::Replaces("$a")] {
                let content = content(&message, relation, None);
                let size = content.to_string().len();
                assert!(size <= MAX_CONTENT, "{size}");
                let shown = match relation {
                    Relation::Replaces(_) => &content["m.new_content"],
                    Relation::None | Relation::Under(_) => &content,
                };
                let html = shown["formatted_body"].as_str().unwrap();
                assert!(!html.contains("<script") && !html.contains("<img"), "{html}");
            }
        }
    }
}
