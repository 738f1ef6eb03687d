//! `paramedic whatif`: who would be paged, when and through what, if nobody answered.
//!
//! The same pure plan the engine follows, with the schedules as they are at each step.

use std::{fmt, time::Duration};

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde::Serialize;

use super::oncall::{Who, local, missing, moment, names, table, who};
use crate::domain::{
    duration,
    oncall::{HoldKind, OnCall, PageTarget, PlannedStep, Policy},
    schedule::{zone, zone_name},
    severity::Severity,
};

/// How much of the round is shown line by line.
const SHOWN: Duration = Duration::from_hours(1);

/// Shows who would be paged, when and through what, if nobody answered.
#[derive(Clone, Debug, clap::Args)]
pub struct Whatif {
    /// The policy
    #[arg(long, value_name = "ID")]
    pub policy: String,
    /// P0, P1, P2 or P3
    #[arg(long, value_name = "SEVERITY")]
    pub severity: Severity,
    /// When it happens, instead of now: "2026-12-25 03:12 Europe/Berlin" or 2026-12-25T02:12:00Z
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
}

/// The answer: text by `Display`, JSON and YAML by `Serialize`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Story {
    /// The policy's id.
    pub policy: String,
    /// The severity.
    pub severity: Severity,
    /// When it happens.
    pub at: Timestamp,
    /// The zone of the text output.
    pub time_zone: String,
    /// Why the round does not start at once.
    pub held: Option<Held>,
    /// What happens in the first 60 minutes of the round, in order.
    pub events: Vec<Event>,
    /// What goes on for ever after the list.
    pub fallback: Option<Fallback>,
}

/// A round that waits, or never starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Held {
    /// Until then.
    pub until: Timestamp,
    /// `business hours (business)` or `digest to spark-oncall`.
    pub why: String,
    /// False for a digest: nobody is paged.
    pub pages: bool,
}

/// One line: somebody is reached, or a channel gets the card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// Seconds after the round's start.
    pub after_seconds: u64,
    /// The person, a channel, or `nobody`.
    pub who: String,
    /// Kinds of contact; `post` for a channel; empty when nobody is there.
    pub by: Vec<String>,
    /// `step 2, schedule:secondary`.
    pub why: String,
}

/// `then`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fallback {
    /// Its first page.
    pub from: Timestamp,
    /// Seconds from the round's start to its first page.
    pub after_seconds: u64,
    /// Seconds between its pages.
    pub every_seconds: u64,
    /// Who is paged then.
    pub people: Vec<Who>,
    /// By which kinds, all of their lines.
    pub by: Vec<String>,
}

impl Whatif {
    /// Answers from the on-call files; `now` is used when no time was asked for.
    pub fn run(&self, oncall: &OnCall, now: Timestamp) -> anyhow::Result<Story> {
        let known: Vec<&str> = oncall.parts().policies.iter().map(|p| p.id.as_str()).collect();
        let policy =
            oncall.policy(&self.policy).with_context(|| missing("policy", &self.policy, &known))?;
        let default = zone_of(oncall, policy);
        let (at, zone) = match &self.at {
            None => (now, default),
            Some(text) => {
                let asked = moment(text, &default)?;
                (asked.timestamp(), asked.time_zone().clone())
            }
        };
        let held = held(oncall, policy, self.severity, at);
        let pages = held.as_ref().is_none_or(|held| held.pages);
        let round =
            Round { oncall, severity: self.severity, start: held.as_ref().map_or(at, |h| h.until) };
        let mut events: Vec<Event> = Vec::new();
        let steps = policy.plan(self.severity).take_while(|step| pages && step.at <= SHOWN);
        for step in steps.filter(|step| !step.step.is_fallback()) {
            events.extend(round.events(&step));
        }
        events.retain(|event| event.after_seconds <= SHOWN.as_secs());
        events.sort_by_key(|event| event.at);
        let fallback = if pages { round.fallback(policy) } else { None };
        Ok(Story {
            policy: policy.id.clone(),
            severity: self.severity,
            at,
            time_zone: zone_name(&zone).to_owned(),
            held,
            events,
            fallback,
        })
    }
}

/// The zone of the first schedule the policy pages.
fn zone_of(oncall: &OnCall, policy: &Policy) -> TimeZone {
    let mut targets = policy.steps.iter().flat_map(|step| &step.page);
    let schedule = targets.find_map(|target| match target {
        PageTarget::Schedule(id) => oncall.schedule(id),
        PageTarget::Person(_) => None,
    });
    schedule.map_or(TimeZone::UTC, |schedule| schedule.zone().clone())
}

fn held(oncall: &OnCall, policy: &Policy, severity: Severity, at: Timestamp) -> Option<Held> {
    let hold = oncall.hold(policy, severity, at)?;
    let (why, pages) = match hold.kind {
        HoldKind::BusinessHours { calendar } => (format!("business hours ({calendar})"), true),
        HoldKind::Digest { channel } => (format!("digest to {channel}"), false),
    };
    Some(Held { until: hold.until, why, pages })
}

struct Round<'a> {
    oncall: &'a OnCall,
    severity: Severity,
    start: Timestamp,
}

impl Round<'_> {
    fn after(&self, offset: Duration) -> Timestamp {
        let offset = SignedDuration::try_from(offset).unwrap_or(SignedDuration::MAX);
        self.start.checked_add(offset).unwrap_or(Timestamp::MAX)
    }

    fn events(&self, step: &PlannedStep) -> Vec<Event> {
        let event = |offset: Duration, who: String, by: Vec<String>, why: String| Event {
            at: self.after(offset),
            after_seconds: offset.as_secs(),
            who,
            by,
            why,
        };
        let mut events = Vec::new();
        for channel in &step.post {
            let by = vec!["post".to_owned()];
            events.push(event(step.at, channel.clone(), by, step.step.to_string()));
        }
        for target in &step.page {
            let why = format!("{}, {target}", step.step);
            let people = self.oncall.resolve(target, self.after(step.at));
            if people.is_empty() {
                events.push(event(
                    step.at,
                    "nobody".to_owned(),
                    Vec::new(),
                    format!("{why}: a gap"),
                ));
            }
            for id in people {
                for rule in self.oncall.rules(&id, self.severity) {
                    let who = who(self.oncall, id.clone()).to_string();
                    let offset = step.at.saturating_add(rule.at);
                    events.push(event(offset, who, rule.by.clone(), why.clone()));
                }
            }
        }
        events
    }

    fn fallback(&self, policy: &Policy) -> Option<Fallback> {
        let then = policy.then.as_ref()?;
        // Endless, so the list's end is found by its own arithmetic: the fallback is the first step after it.
        let first = policy.plan(self.severity).find(|step| step.step.is_fallback())?;
        let mut people: Vec<Who> = Vec::new();
        let mut by: Vec<String> = Vec::new();
        for id in
            first.page.iter().flat_map(|target| self.oncall.resolve(target, self.after(first.at)))
        {
            let kinds = self.oncall.rules(&id, self.severity).iter().flat_map(|rule| &rule.by);
            for kind in kinds {
                if !by.contains(kind) {
                    by.push(kind.clone());
                }
            }
            if !people.iter().any(|person| person.id == id) {
                people.push(who(self.oncall, id));
            }
        }
        Some(Fallback {
            from: self.after(first.at),
            after_seconds: first.at.as_secs(),
            every_seconds: then.every.as_secs(),
            people,
            by,
        })
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let zone = zone(&self.time_zone).unwrap_or(TimeZone::UTC);
        let Self { policy, severity, .. } = self;
        writeln!(
            f,
            "{severity} under policy {policy} at {}, if nobody answers:",
            local(self.at, &zone)
        )?;
        if let Some(held) = &self.held {
            let what = if held.pages { "Held" } else { "Not paged: collected" };
            writeln!(f, "{what} until {}, {}.", local(held.until, &zone), held.why)?;
        }
        let head = ["time", "after", "who", "by", "why"].map(ToOwned::to_owned).to_vec();
        let mut rows = vec![head];
        for event in &self.events {
            let clock = event.at.to_zoned(zone.clone()).strftime("%H:%M:%S").to_string();
            let clock = clock.strip_suffix(":00").unwrap_or(&clock).to_owned();
            let after = duration::format(Duration::from_secs(event.after_seconds));
            let by = event.by.join(", ");
            rows.push(vec![clock, after, event.who.clone(), by, event.why.clone()]);
        }
        if !self.events.is_empty() {
            writeln!(f, "{}", table(&rows))?;
        }
        match &self.fallback {
            Some(then) => {
                let seconds = |seconds| duration::format(Duration::from_secs(seconds));
                write!(
                    f,
                    "Then every {} from {} (after {}), until somebody answers: {} by {}.",
                    seconds(then.every_seconds),
                    local(then.from, &zone),
                    seconds(then.after_seconds),
                    names(&then.people),
                    then.by.join(", "),
                )
            }
            None if self.held.as_ref().is_some_and(|held| !held.pages) => {
                write!(f, "Nobody is paged.")
            }
            None => write!(f, "Then nothing: this policy has no `then`."),
        }
    }
}
