//! Watchdog alerts: they open nothing while they fire, and alarm when they stay away.
//!
//! A missing heartbeat becomes an alert of its own, `HeartbeatMissing`, put into intake like any other, so that it is
//! correlated, diagnosed, posted and paged by the same code. After a start, absence counts from the start: one full
//! interval must pass before anything is called missing.

use jiff::Timestamp;
use serde_json::json;

use super::{Engine, Source, deliver::after};
use crate::{
    domain::{
        alert::{Alert, Status},
        matcher::Matcher,
    },
    store::{self, Changes},
};

/// `sources.<name>.heartbeat` of the configuration.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    /// All must hold.
    pub matchers: Vec<Matcher>,
    /// How often it comes.
    pub every: std::time::Duration,
    /// How many may be missed.
    pub miss: u32,
}

impl Heartbeat {
    /// Without one for this long, it is missing.
    fn window(&self) -> std::time::Duration {
        self.every.saturating_mul(self.miss.max(1))
    }
}

/// Less than this is no clock that was ahead.
const AHEAD: std::time::Duration = std::time::Duration::from_secs(5);

/// What is remembered of an alarm: that it was raised, that it was not or is over, and that one of both is being said.
const ON: &str = "on";
const OFF: &str = "off";
const TURNING: &str = "turning";

/// The alert a missing heartbeat becomes.
pub const MISSING: &str = "HeartbeatMissing";
/// What every kube-prometheus installation calls its heartbeat; it never opens an incident, configured or not.
const USUAL: &str = "Watchdog";

impl Source {
    /// True for alerts that only say that alerting works.
    pub fn is_heartbeat(&self, alert: &Alert) -> bool {
        match &self.heartbeat {
            Some(heartbeat) => heartbeat.matchers.iter().all(|m| m.matches(&alert.labels)),
            None => alert.name() == USUAL,
        }
    }
}

impl Engine {
    /// Checks every configured heartbeat, and raises or ends its alarm.
    pub(super) async fn check_heartbeats(&self) -> anyhow::Result<()> {
        for (name, source) in &self.options.sources {
            let Some(heartbeat) = &source.heartbeat else { continue };
            let last = self.last_heartbeat(name).await?;
            let last = match last.filter(|last| *last > after(self.now(), AHEAD)) {
                Some(_) => Some(self.heartbeat_now(name).await?),
                None => last,
            };
            let window = heartbeat.window();
            // A resolved heartbeat is remembered as the epoch: overdue at once.
            let resolved = last == Some(Timestamp::UNIX_EPOCH);
            let up = self.clock.monotonic().saturating_sub(self.started_at);
            let is_over = after(last.unwrap_or(Timestamp::UNIX_EPOCH), window) <= self.now();
            let missing = resolved || (is_over && up >= window);
            let alarmed = self.store.cursor(&alarm_key(name)).await?;
            if alarmed.as_deref().unwrap_or(OFF) == if missing { ON } else { OFF } {
                continue;
            }
            let last = last.filter(|_| !resolved);
            self.alarm(name, alarmed.as_deref(), missing, last).await?;
        }
        Ok(())
    }

    /// One that a clock saw which was ahead counts as seen now; else its absence would not be seen until then.
    async fn heartbeat_now(&self, name: &str) -> Result<Timestamp, store::Error> {
        let now = self.now();
        let cursors = vec![(seen_key(name), now.to_string())];
        self.store.commit(Changes { cursors, ..Changes::default() }, now).await?;
        Ok(now)
    }

    async fn last_heartbeat(&self, name: &str) -> Result<Option<Timestamp>, store::Error> {
        let last = self.store.cursor(&seen_key(name)).await?;
        Ok(last.and_then(|text| text.parse().ok()))
    }

    /// True when the source has a heartbeat and it came lately: then its alerts would have come too.
    pub(super) async fn heartbeat_is_here(
        &self,
        name: &str,
        source: &Source,
    ) -> Result<bool, store::Error> {
        let Some(heartbeat) = &source.heartbeat else { return Ok(false) };
        let last = self.last_heartbeat(name).await?;
        Ok(last.is_some_and(|last| after(last, heartbeat.window()) > self.now()))
    }

    async fn alarm(
        &self,
        name: &str,
        mark: Option<&str>,
        on: bool,
        last: Option<Timestamp>,
    ) -> anyhow::Result<()> {
        let status = if on { "firing" } else { "resolved" };
        let seen = last.map_or("never".to_owned(), |last| format!("{last:.0}"));
        // A resolved alert from before its beginning would be one of an earlier time, as a clock that was set back has it.
        let began = self.store.cursor(&began_key(name)).await?;
        let began = if on && mark != Some(TURNING) { None } else { began };
        let began = began.unwrap_or_else(|| self.now().to_string());
        let body = json!({ "alerts": [{
            "status": status,
            "startsAt": began,
            "labels": { "alertname": MISSING, "source": name, "severity": "critical" },
            "annotations": {
                "summary": format!("No heartbeat from source {name}: alerts may be lost"),
                "description": format!("Last heartbeat: {seen}. Prometheus, Alertmanager or the way between them and Paramedic is broken."),
            },
        }] });
        // A crash in between leaves a mark that is neither: the next look says again what is, and a repeat changes nothing.
        self.mark(name, TURNING, Some(began)).await?;
        self.take_in(name.to_owned(), body.to_string().into_bytes()).await?;
        Ok(self.mark(name, if on { ON } else { OFF }, None).await?)
    }

    async fn mark(
        &self,
        name: &str,
        mark: &str,
        began: Option<String>,
    ) -> Result<(), store::Error> {
        let mut cursors = vec![(alarm_key(name), mark.to_owned())];
        cursors.extend(began.map(|began| (began_key(name), began)));
        self.store.commit(Changes { cursors, ..Changes::default() }, self.now()).await
    }
}

/// Takes heartbeats out of a delivery; what they say goes into `changes` with the delivery.
pub fn take_out(
    alerts: &mut Vec<Alert>,
    source: &Source,
    name: &str,
    now: Timestamp,
) -> Option<(String, String)> {
    let mut beat = None;
    alerts.retain(|alert| {
        let is_one = alert.label("alertname") != MISSING && source.is_heartbeat(alert);
        if is_one {
            beat = Some(alert.status);
        }
        !is_one
    });
    let at = match beat? {
        Status::Firing => now,
        Status::Resolved => Timestamp::UNIX_EPOCH,
    };
    Some((seen_key(name), at.to_string()))
}

fn seen_key(source: &str) -> String {
    format!("heartbeat:{source}")
}

/// When the alarm began: its end names the same time.
fn began_key(source: &str) -> String {
    format!("heartbeat-began:{source}")
}

fn alarm_key(source: &str) -> String {
    format!("heartbeat-alarm:{source}")
}
