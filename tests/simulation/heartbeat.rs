//! A heartbeat: it comes each minute, but for a while in which it does not. Whatever else goes wrong, its absence in peace is one
//! incident, its return the end of it, and one that keeps coming is none.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use paramedic::{
    domain::{ids::IncidentId, incident::Event},
    store::Filter,
};
use serde_json::json;

use crate::{
    rng::Rng,
    run::{CHAOS, EPOCH, Run},
};

pub const NAME: &str = "Watchdog";
/// Between two.
pub const EVERY: Duration = Duration::from_mins(1);
/// In peace it stays away from then on, if it does.
const STILL: Duration = Duration::from_secs(30);
/// And comes again then: before, each process that was replaced meanwhile has missed two of them.
const AGAIN: Duration = Duration::from_secs(450);
/// After the beginning of peace, what was of before it is over.
const OVER: Duration = Duration::from_mins(8);

/// When it comes.
pub struct Beat {
    pub next: Duration,
    /// From when to when it does not.
    still: Vec<(Duration, Duration)>,
    /// It does not for a while in peace.
    is_still_in_peace: bool,
}

impl Beat {
    pub fn draw(rng: &mut Rng) -> Self {
        let from = Duration::from_secs(rng.between(0, 2 * CHAOS.as_secs()));
        let to = (from + Duration::from_secs(rng.between(60, 400))).min(CHAOS);
        let is_still_in_peace = rng.chance(5_000);
        let mut still = vec![(from, to)];
        still.extend(is_still_in_peace.then_some((CHAOS + STILL, CHAOS + AGAIN)));
        Self { next: Duration::ZERO, still, is_still_in_peace }
    }

    pub fn is_still(&self, now: Duration) -> bool {
        self.still.iter().any(|(from, to)| (*from..*to).contains(&now))
    }
}

/// Its webhook.
pub fn body(at: &str) -> Vec<u8> {
    let labels = json!({ "alertname": NAME, "severity": "none" });
    let alert = json!({ "status": "firing", "labels": labels, "annotations": {}, "startsAt": at,
                        "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "", "fingerprint": "0000000000000001" });
    json!({ "version": "4", "groupKey": "{}:{alertname=\"Watchdog\"}", "status": "firing", "receiver": "paramedic",
            "groupLabels": { "alertname": NAME }, "commonLabels": {}, "commonAnnotations": {},
            "externalURL": "http://am.sim", "truncatedAlerts": 0, "alerts": [alert] })
    .to_string()
    .into_bytes()
}

pub async fn judge(run: &Run, wrong: &mut Vec<String>) {
    let Some(beat) = run.ams.iter().find_map(|am| am.beat.as_ref()) else { return };
    let epoch: Timestamp = EPOCH.parse().unwrap();
    let at = |after: Duration| epoch + SignedDuration::try_from(CHAOS + after).unwrap();
    let (mut open, mut late) = (0, 0);
    let all = Filter { open: None, before: None, limit: 500 };
    for summary in run.store.incidents(all).await.unwrap() {
        let id: IncidentId = summary.id.parse().unwrap();
        let state = run.store.incident(id).await.unwrap().unwrap().incident;
        if state.labels.get("alertname").map(String::as_str) != Some("HeartbeatMissing") {
            continue;
        }
        let timeline = run.store.timeline(id, 0, 100_000).await.unwrap();
        let mut was_open = false;
        // Times of a clock that was ahead say nothing.
        let is_told = !timeline.iter().any(|(_, _, e)| matches!(e, Event::SetBack { .. }));
        for (_, when, event) in &timeline {
            match event {
                Event::Opened { .. } | Event::Reopened { .. } => {
                    late += usize::from(is_told && *when > at(OVER / 2));
                    was_open |= *when < at(AGAIN);
                }
                Event::Resolved { .. } => was_open &= *when >= at(AGAIN),
                _ => {}
            }
        }
        open += usize::from(was_open);
        if state.is_open() {
            wrong.push(format!("{id} says that the heartbeat is missing, and it came"));
        }
    }
    if beat.is_still_in_peace && open != 1 {
        wrong.push(format!("the heartbeat stayed away, and {open} incidents said so"));
    }
    if !beat.is_still_in_peace && late > 0 {
        wrong
            .push(format!("the heartbeat came, and {late} times an incident said that it did not"));
    }
}
