//! `policies:` and `teams:`.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_saphyr::Spanned;

use super::{Source, raw, report::Report};
use crate::domain::{
    duration,
    matcher::Matcher,
    oncall::{
        Digest, HoldRule, PageTarget, Parts, Policy, PolicyStep, Repeat, Team, Then, UserErrors,
    },
    schedule::{Schedule, zone_name},
    severity::Severity,
};

/// Shortest time between two pages of the fallback, and between two passes.
const SHORTEST: Duration = Duration::from_mins(1);

pub(super) fn read(
    source: &Source,
    raw: &raw::Policy,
    parts: &Parts,
    report: &mut Report<'_>,
) -> Option<Policy> {
    let known = parts.policies.iter().map(|p| p.id.as_str());
    let id = report.id(source, "policies", &raw.id, known)?;
    let before = report.found.len();
    let steps: Vec<PolicyStep> =
        raw.steps.iter().filter_map(|step| read_step(source, step, parts, report)).collect();
    let complete = steps.len() == raw.steps.len();
    for (pair, raw) in steps.windows(2).zip(raw.steps.iter().skip(1)).filter(|_| complete) {
        if pair[1].at < pair[0].at {
            report.error(source.at(&raw.at), "`at` is earlier than the step before; it counts from the start of the round and must not decrease");
        }
    }
    let repeat = raw.repeat.as_ref().and_then(|repeat| {
        let every = period(source, &repeat.every, report)?;
        if repeat.times.value > 100 {
            report.error(
                source.at(&repeat.times),
                "more than 100 repeats; use `then` for what goes on for ever",
            );
        }
        Some(Repeat { every, times: repeat.times.value })
    });
    let then = raw.then.as_ref().and_then(|then| read_then(source, then, parts, report));
    let ack_expires = ack_expires(source, raw, report);
    let hold = hold(source, raw, parts, report);
    let policy = Policy { id, steps, repeat, then, ack_expires, hold };
    if report.found.iter().skip(before).all(|found| !found.is_error()) {
        check_fallback(source, raw, &policy, parts, report);
    }
    Some(policy)
}

fn read_step(
    source: &Source,
    raw: &raw::Step,
    parts: &Parts,
    report: &mut Report<'_>,
) -> Option<PolicyStep> {
    let at = report.check(source.at(&raw.at), duration::parse(&raw.at.value));
    let page = targets(source, &raw.page, parts, report);
    let post =
        raw.post.iter().filter_map(|channel| read_channel(source, channel, report)).collect();
    if raw.page.is_empty() && raw.post.is_empty() {
        report.error(
            source.at(&raw.at),
            "this step does nothing; write page: [schedule:primary] or post: [channel:ops]",
        );
    }
    let only = raw.only.iter().filter_map(|word| report.check(source.at(word), word.value.parse()));
    let only = only.collect();
    Some(PolicyStep { at: at?, page, post, only })
}

fn targets(
    source: &Source,
    raw: &[raw::Text],
    parts: &Parts,
    report: &mut Report<'_>,
) -> Vec<PageTarget> {
    let mut targets = Vec::new();
    for text in raw {
        let place = source.at(text);
        let Some(target) = report.check(place, text.value.parse::<PageTarget>()) else { continue };
        let known = match &target {
            PageTarget::Schedule(id) => {
                report.reference(place, "schedule", id, parts.schedules.iter().map(Schedule::id))
            }
            PageTarget::Person(id) => report.reference(
                place,
                "person",
                &id.0,
                parts.people.iter().map(|p| p.id.0.as_str()),
            ),
        };
        if known {
            targets.push(target);
        }
    }
    targets
}

/// `channel:spark-oncall`, or the bare name.
fn read_channel(source: &Source, raw: &raw::Text, report: &mut Report<'_>) -> Option<String> {
    let name = raw.value.strip_prefix("channel:").unwrap_or(&raw.value);
    let channels = &report.outside.channels.clone();
    let known = channels.iter().map(String::as_str);
    report.reference(source.at(raw), "channel", name, known).then(|| name.to_owned())
}

fn period(source: &Source, raw: &raw::Text, report: &mut Report<'_>) -> Option<Duration> {
    let every = report.check(source.at(raw), duration::parse(&raw.value))?;
    if every < SHORTEST {
        report.error(source.at(raw), "`every` is shorter than a minute; write at least 1m");
        return None;
    }
    Some(every)
}

fn read_then(
    source: &Source,
    raw: &Spanned<raw::Then>,
    parts: &Parts,
    report: &mut Report<'_>,
) -> Option<Then> {
    let every = period(source, &raw.value.every, report);
    let page = targets(source, &raw.value.page, parts, report);
    if raw.value.page.is_empty() {
        report.error(source.at(raw), "the fallback pages nobody; write page: [person:lead]");
    }
    Some(Then { page, every: every? })
}

fn ack_expires(
    source: &Source,
    raw: &raw::Policy,
    report: &mut Report<'_>,
) -> BTreeMap<Severity, Duration> {
    let mut expires = BTreeMap::new();
    for (severity, after) in &raw.ack_expires {
        let place = source.at(after);
        let severity = report.check(place, severity.parse());
        let after = report.check(place, duration::parse(&after.value));
        if let (Some(severity), Some(after)) = (severity, after) {
            if after < Duration::from_mins(15) {
                report.error(place, "an acknowledgement must last at least 15m: its reminder comes 10m before the end");
            }
            expires.insert(severity, after);
        }
    }
    expires
}

fn hold(
    source: &Source,
    raw: &raw::Policy,
    parts: &Parts,
    report: &mut Report<'_>,
) -> BTreeMap<Severity, HoldRule> {
    let mut rules = BTreeMap::new();
    for (severity, hold) in &raw.hold {
        let place = source.at(hold);
        let Some(severity) = report.check(place, severity.parse::<Severity>()) else { continue };
        if severity >= Severity::P1 {
            report.error(place, &format!("{severity} is never held; only P2 and P3 may wait"));
            continue;
        }
        let hold = &hold.value;
        let rule = match (&hold.until, &hold.digest, &hold.to) {
            (Some(calendar), None, None) => {
                let known = parts.calendars.keys().map(String::as_str);
                let found =
                    report.reference(source.at(calendar), "calendar", &calendar.value, known);
                found.then(|| HoldRule::Until(calendar.value.clone()))
            }
            (None, Some(when), Some(to)) => read_channel(source, to, report).and_then(|channel| {
                let digest = Digest::new(&when.value, &zone_of(raw, parts), &channel);
                report.check(source.at(when), digest).map(HoldRule::Digest)
            }),
            _ => {
                report.error(place, "a hold is one of two; write { until: business } or { digest: \"Mon-Fri 09:30\", to: channel:ops }");
                None
            }
        };
        rules.extend(rule.map(|rule| (severity, rule)));
    }
    rules
}

/// The zone of the first schedule the policy pages, for digests without a zone of their own.
fn zone_of(raw: &raw::Policy, parts: &Parts) -> String {
    let paged = raw.steps.iter().flat_map(|step| &step.page);
    let ids = paged.filter_map(|text| text.value.strip_prefix("schedule:"));
    let mut schedules = ids.filter_map(|id| parts.schedules.iter().find(|s| s.id() == id));
    schedules.next().map_or_else(|| "UTC".to_owned(), |s| zone_name(s.zone()).to_owned())
}

/// A policy that pages for P0 or P1 must never fall silent.
fn check_fallback(
    source: &Source,
    raw: &raw::Policy,
    policy: &Policy,
    parts: &Parts,
    report: &mut Report<'_>,
) {
    let urgent =
        |step: &PolicyStep| step.only.is_empty() || step.only.iter().any(|s| *s >= Severity::P1);
    let pages = policy.steps.iter().any(|step| urgent(step) && !step.page.is_empty());
    let Some(then) = &policy.then else {
        if pages {
            report.error(source.at(&raw.id), "`then` is missing: a P0 or P1 that nobody answers would fall silent; add then: { page: [person:lead], every: 30m }");
        } else {
            report.warning(source.at(&raw.id), "this policy pages nobody for P0 and P1");
        }
        return;
    };
    let Some(place) = raw.then.as_ref().map(|then| source.at(then)) else { return };
    let used = transports_of(then, parts, &report.outside.transports);
    let real = report.outside.transports.iter().filter(|kind| *kind != "console").count();
    if real > 0 && used.len() < 2 {
        let by = used.into_iter().next().unwrap_or_else(|| "nothing".to_owned());
        let message = format!(
            "the fallback reaches people by {by} only; it must survive the loss of one kind of channel: add a second one to their `notify` lines for P0 and P1, or page somebody who has one"
        );
        if real > 1 {
            report.error(place, &message);
        } else {
            report.warning(place, &message);
        }
    }
}

/// The kinds by which a fallback reaches at least one person, for P0 and for P1.
fn transports_of(then: &Then, parts: &Parts, configured: &BTreeSet<String>) -> BTreeSet<String> {
    let mut people = Vec::new();
    for target in &then.page {
        match target {
            PageTarget::Person(id) => people.push(id.clone()),
            PageTarget::Schedule(id) => {
                let schedule = parts.schedules.iter().find(|schedule| schedule.id() == id);
                people.extend(schedule.into_iter().flat_map(Schedule::people));
            }
        }
    }
    let people = parts.people.iter().filter(|person| people.contains(&person.id));
    let rules: Vec<_> =
        people.flat_map(|p| [p.rules(Severity::P0), p.rules(Severity::P1)]).collect();
    let kinds = rules.into_iter().flatten().flat_map(|rule| &rule.by);
    kinds.filter(|kind| *kind != "console" && configured.contains(*kind)).cloned().collect()
}

pub(super) fn read_team(
    source: &Source,
    raw: &raw::Team,
    parts: &Parts,
    report: &mut Report<'_>,
) -> Option<Team> {
    let id = report.id(source, "teams", &raw.id, parts.teams.iter().map(|t| t.id.as_str()))?;
    let owns = raw.owns.iter();
    let owns = owns.filter_map(|text| report.check(source.at(text), Matcher::parse(&text.value)));
    let owns = owns.collect();
    let known = parts.policies.iter().map(|p| p.id.as_str());
    report.reference(source.at(&raw.policy), "policy", &raw.policy.value, known);
    let channels =
        raw.channels.iter().filter_map(|name| read_channel(source, name, report)).collect();
    let user_errors = raw.user_errors.as_ref().and_then(|errors| {
        let channel = read_channel(source, &errors.channel, report)?;
        let max = match &errors.max {
            None => Severity::P2,
            Some(text) => {
                let max = report.check(source.at(text), text.value.parse::<Severity>())?;
                if max == Severity::P0 {
                    report.error(source.at(text), "a P0 is always paged; `max` is at most P1");
                }
                max
            }
        };
        Some(UserErrors { channel, max })
    });
    Some(Team { id, owns, policy: raw.policy.value.clone(), channels, user_errors })
}
