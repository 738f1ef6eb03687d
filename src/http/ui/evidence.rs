//! What the playbooks' steps brought, run by run: the lines a verdict quotes are marked, and what lies far from them in
//! a long log is left out and counted.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::time;
use crate::{
    domain::{
        evidence::{Evidence, Passage, StepState},
        incident::Incident,
    },
    http::problem::Problem,
    notify::wording,
    store::{Run, RunState, Store},
};

/// Runs shown, the newest.
const RUNS: usize = 12;
/// Passages shown per step.
const PASSAGES: usize = 12;
/// A log of at most this many lines is shown whole.
const WHOLE: usize = 40;
/// Lines around a quoted one.
const AROUND: usize = 6;
/// Last lines of a log, where a failure is.
const TAIL: usize = 15;
/// Longest line, characters.
const LINE: usize = 600;
/// Longest value shown for a step without text, bytes.
const VALUE: usize = 1_800;

/// Quoted line numbers by source.
type Quoted = BTreeMap<String, BTreeSet<u32>>;

/// The runs of an incident, the newest first.
pub async fn runs(store: &Store, incident: &Incident, now: Timestamp) -> Result<Value, Problem> {
    let all = store.runs(incident.id).await?;
    let left_out = all.len().saturating_sub(RUNS);
    let mut shown = Vec::new();
    for run in all.iter().rev().take(RUNS) {
        let marks = quoted(run, incident);
        let mut steps: Vec<Evidence> = store.steps(&run.id).await?.into_values().collect();
        steps.sort_by_key(|step| order(step, &marks));
        let failed = steps.iter().filter(|step| step.state == StepState::Failed).count();
        let count = steps.len();
        let steps: Vec<Value> = steps.iter().map(|one| step(one, &marks)).collect();
        let lasted = run.ended_at.unwrap_or(now).duration_since(run.started_at);
        shown.push(json!({
            "playbook": run.playbook,
            "target": run.target.as_ref().map(crate::domain::target::Target::label),
            "running": run.state == RunState::Running,
            "at": time::shown(run.started_at, now),
            "lasted": wording::duration(lasted),
            "count": count,
            "failed": (failed > 0).then_some(failed),
            "steps": steps,
        }));
    }
    Ok(json!({ "rows": shown, "more": (left_out > 0).then_some(left_out) }))
}

fn quoted(run: &Run, incident: &Incident) -> Quoted {
    let mut lines = Quoted::new();
    for quote in run.verdicts.iter().chain(&incident.verdicts).flat_map(|verdict| &verdict.evidence)
    {
        lines.entry(quote.source.clone()).or_default().insert(quote.line.max(1));
    }
    lines
}

/// What a reader looks for first: steps with quotes, then what went wrong, then the rest.
fn order(step: &Evidence, marks: &Quoted) -> (u8, String) {
    let quotes = step.findings.passages.iter().any(|passage| marks.contains_key(&passage.source));
    let rank = match step.state {
        StepState::Done if quotes => 0,
        StepState::Uncertain => 1,
        StepState::Failed => 2,
        StepState::Done => 3,
        StepState::Skipped => 4,
    };
    (rank, step.step.clone())
}

fn step(step: &Evidence, marks: &Quoted) -> Value {
    let passages = &step.findings.passages;
    let shown: Vec<Value> = passages.iter().take(PASSAGES).map(|p| passage(p, marks)).collect();
    let quotes = passages.iter().any(|passage| marks.contains_key(&passage.source));
    let more = passages.len().saturating_sub(PASSAGES);
    let (state, word) = match step.state {
        StepState::Done => ("done", "done"),
        StepState::Skipped => ("skipped", "skipped"),
        StepState::Failed => ("failed", "failed"),
        StepState::Uncertain => ("failed", "uncertain"),
    };
    json!({
        "name": step.step,
        "kind": step.kind,
        "state": state,
        "word": word,
        "lasted": milliseconds(step.duration_ms),
        "text": if step.state == StepState::Done { &step.findings.summary } else { &step.reason },
        "quotes": quotes,
        "passages": shown,
        "more": (more > 0).then_some(more),
        "value": value(step),
        "body": !passages.is_empty() || value(step).is_some(),
    })
}

/// The step's output, where there is no text to show.
fn value(step: &Evidence) -> Option<String> {
    let value = &step.findings.value;
    if value.is_null() || !step.findings.passages.is_empty() {
        return None;
    }
    let mut text = serde_json::to_string_pretty(value).ok()?;
    if text.len() > VALUE {
        text.truncate(text.floor_char_boundary(VALUE));
        text.push('…');
    }
    Some(text)
}

fn passage(passage: &Passage, marks: &Quoted) -> Value {
    let marked = marks.get(&passage.source);
    let lines: Vec<&str> = passage.text.lines().collect();
    let hit = |index: usize| {
        let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
        marked.is_some_and(|marked| marked.contains(&number))
    };
    let kept = kept(lines.len(), hit);
    let mut rows = Vec::new();
    let mut next = 0;
    for index in kept {
        if index > next {
            rows.push(json!({ "gap": index - next }));
        }
        rows.push(json!({ "number": index + 1, "text": wording::cut(lines[index], LINE), "hit": hit(index) }));
        next = index + 1;
    }
    json!({ "source": passage.source, "cut": passage.cut, "lines": rows, "single": lines.len() == 1 })
}

/// Which lines are shown, ascending.
fn kept(lines: usize, hit: impl Fn(usize) -> bool) -> BTreeSet<usize> {
    if lines <= WHOLE {
        return (0..lines).collect();
    }
    let near = (0..lines)
        .filter(|index| hit(*index))
        .take(20)
        .flat_map(|index| index.saturating_sub(AROUND)..(index + AROUND + 1).min(lines));
    near.chain(lines - TAIL..lines).collect()
}

fn milliseconds(milliseconds: u64) -> String {
    match milliseconds {
        0..1_000 => format!("{milliseconds} ms"),
        1_000..60_000 => format!("{}.{} s", milliseconds / 1_000, milliseconds % 1_000 / 100),
        _ => wording::duration(jiff::SignedDuration::from_millis(
            i64::try_from(milliseconds).unwrap_or(i64::MAX),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_log_shows_its_end_and_what_is_quoted() {
        let shown: Vec<usize> = kept(1_000, |index| index == 100).into_iter().collect();
        assert_eq!((shown[0], shown[12], shown[13], shown.len()), (94, 106, 985, 28));
        assert_eq!(kept(40, |_| false).len(), 40);
        assert_eq!(kept(0, |_| false).len(), 0);
        assert_eq!(kept(41, |index| index == 0).into_iter().next(), Some(0));
    }

    #[test]
    fn durations_read_well() {
        let shown = [0, 999, 1_000, 12_345, 61_000].map(milliseconds);
        assert_eq!(shown, ["0 ms", "999 ms", "1.0 s", "12.3 s", "1m 1s"]);
    }
}
