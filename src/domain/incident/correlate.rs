//! Which incident an alert belongs to, and what one alert changes: pure, one alert at a time.
//!
//! An alert's identity is (source, fingerprint); Alertmanager's own grouping and order are not trusted. Deliveries of one
//! source are applied in the order they arrived, so an alert here is always the newest word on its member.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Incident, Wake};
use crate::domain::{
    alert::{Alert, Envelope, Labels, Status, fingerprint},
    ids::IncidentId,
    severity::Severity,
};

/// The source of incidents a person declared; it has no Alertmanager.
pub const DECLARED: &str = "declared";
/// How long a resolve of an unknown alert is remembered.
pub const TOMBSTONE: SignedDuration = SignedDuration::from_hours(24);
/// Labels that name what an alert is about, best first.
const TARGET_LABELS: [&str; 8] = [
    "application_id",
    "spark_app_id",
    "app",
    "application",
    "pod",
    "persistentvolumeclaim",
    "node",
    "instance",
];

/// What we know of one alert.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its source.
    pub source: String,
    /// Its identity in that source, after `identity.ignore`.
    pub fingerprint: String,
    /// Its incident; `None` for a tombstone.
    pub incident: Option<IncidentId>,
    /// Now: firing while any of its originals fires.
    pub status: Status,
    /// As last told, a hint.
    pub starts_at: Timestamp,
    /// Arrival number of the delivery that last changed it.
    pub last_seq: i64,
    /// When it was last heard of.
    pub last_seen: Timestamp,
    /// Firing periods so far.
    pub episode: i64,
    /// Redacted.
    pub labels: Labels,
    /// Redacted.
    pub annotations: Labels,
    /// Where its expression can be seen.
    pub generator_url: String,
    /// Status per original fingerprint, when `identity.ignore` merges several; empty otherwise.
    pub originals: BTreeMap<String, Status>,
}

/// What an alert did to its member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing but having been heard of.
    Seen,
    /// It fires for the first time.
    Fired,
    /// It fires again.
    FiredAgain,
    /// It is over.
    Ended,
    /// Over before we ever saw it fire: a tombstone.
    EndedUnseen,
    /// A resolve older than what we know.
    Stale,
}

/// Applies one alert to what was known of it.
pub fn observe(
    known: Option<Member>,
    source: &str,
    alert: &Alert,
    ignore: &[String],
    seq: i64,
    now: Timestamp,
) -> (Member, Change) {
    let merged = !ignore.is_empty();
    let Some(mut member) = known else { return first(source, alert, ignore, seq, now) };
    let before = member.status;
    member.last_seen = member.last_seen.max(now);
    if alert.status == Status::Resolved && alert.starts_at < member.starts_at && !merged {
        return (member, Change::Stale);
    }
    if member.incident.is_none() && alert.status == Status::Firing {
        // A tombstone: a firing that began no later than the end we were told of is over already.
        let over = seq < member.last_seq && alert.starts_at <= member.starts_at;
        if over {
            return (member, Change::Seen);
        }
        member.episode = 0;
    }
    if merged {
        member.originals.insert(alert.fingerprint.clone(), alert.status);
        let firing = member.originals.values().any(|s| *s == Status::Firing);
        member.status = if firing { Status::Firing } else { Status::Resolved };
    } else {
        member.status = alert.status;
    }
    if member.status == before && member.incident.is_some() {
        return (member, Change::Seen);
    }
    member.last_seq = seq;
    let change = match (member.status, member.incident) {
        (Status::Firing, None) => Change::Fired,
        (Status::Firing, Some(_)) => Change::FiredAgain,
        (Status::Resolved, Some(_)) => Change::Ended,
        (Status::Resolved, None) => Change::EndedUnseen,
    };
    if member.status == Status::Firing {
        member.episode += 1;
        member.starts_at = alert.starts_at;
        member.labels.clone_from(&alert.labels);
        member.annotations.clone_from(&alert.annotations);
        member.generator_url.clone_from(&alert.generator_url);
    }
    (member, change)
}

fn first(
    source: &str,
    alert: &Alert,
    ignore: &[String],
    seq: i64,
    now: Timestamp,
) -> (Member, Change) {
    let originals = if ignore.is_empty() {
        BTreeMap::new()
    } else {
        BTreeMap::from([(alert.fingerprint.clone(), alert.status)])
    };
    let firing = alert.status == Status::Firing;
    let member = Member {
        source: source.to_owned(),
        fingerprint: identity(alert, ignore),
        incident: None,
        status: alert.status,
        starts_at: alert.starts_at,
        last_seq: seq,
        last_seen: now,
        episode: i64::from(firing),
        labels: alert.labels.clone(),
        annotations: alert.annotations.clone(),
        generator_url: alert.generator_url.clone(),
        originals,
    };
    (member, if firing { Change::Fired } else { Change::EndedUnseen })
}

/// An alert's identity in its source: its fingerprint, or that of its labels without the ignored ones.
pub fn identity(alert: &Alert, ignore: &[String]) -> String {
    if ignore.is_empty() {
        return alert.fingerprint.clone();
    }
    let mut labels = alert.labels.clone();
    labels.retain(|name, _| !ignore.contains(name));
    fingerprint(&labels)
}

/// How alerts become incidents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupBy {
    /// Alerts of one source and cluster with equal values of these labels.
    Labels(Vec<String>),
    /// Alertmanager's own group.
    Alertmanager,
}

/// The key of the incident an alert belongs to, and a note when the configured grouping could not be used.
pub fn key(
    source: &str,
    alert: &Alert,
    envelope: &Envelope,
    cluster: &str,
    group_by: &GroupBy,
) -> (String, Option<&'static str>) {
    let by_labels = |names: &[String]| {
        let values = names.iter().map(|name| match alert.label(name) {
            "" => "-",
            value => value,
        });
        escape([source, cluster].into_iter().chain(values))
    };
    match group_by {
        GroupBy::Labels(names) => (by_labels(names), None),
        GroupBy::Alertmanager if envelope.group_labels.is_empty() => (
            by_labels(&["alertname".to_owned(), "namespace".to_owned()]),
            Some("Alertmanager sent no group labels: grouped by alertname and namespace instead"),
        ),
        GroupBy::Alertmanager => {
            let pairs = envelope.group_labels.iter().flat_map(|(n, v)| [n.as_str(), v.as_str()]);
            (escape([source, "alertmanager"].into_iter().chain(pairs)), None)
        }
    }
}

/// Joins parts so that no two different lists give the same key; long parts are kept by their hash.
pub(super) fn escape<'a>(parts: impl Iterator<Item = &'a str>) -> String {
    let part = |text: &str| {
        let text = text.replace('%', "%25").replace('/', "%2F");
        if text.len() <= 256 {
            return text;
        }
        let hash = fingerprint(&Labels::from([(String::new(), text.clone())]));
        format!("{}%{hash}", &text[..text.floor_char_boundary(200)])
    };
    parts.map(part).collect::<Vec<_>>().join("/")
}

/// What an alert is about, as a hint to tell new targets from known ones.
pub fn target_hint(alert: &Alert) -> String {
    let named = TARGET_LABELS.iter().find_map(|name| match alert.label(name) {
        "" => None,
        value => Some(format!("{name} {value}")),
    });
    let hint = named.unwrap_or_else(|| alert.name().to_owned());
    hint.chars().take(200).collect()
}

/// `SparkExecutorLost · spark-prod`.
pub fn title(alert: &Alert) -> String {
    let place =
        ["namespace", "job", "instance"].iter().map(|n| alert.label(n)).find(|v| !v.is_empty());
    let title = match place {
        Some(place) => format!("{} · {place}", alert.name()),
        None => alert.name().to_owned(),
    };
    title.chars().take(200).collect()
}

/// The severity of an alert: `severity.map[labels.severity]`, P0 to P3 themselves, else the default.
pub fn severity(alert: &Alert, map: &BTreeMap<String, Severity>, default: Severity) -> Severity {
    let label = alert.label("severity");
    map.get(label).copied().or_else(|| label.parse().ok()).unwrap_or(default)
}

/// Labels that all have in common.
pub fn common<'a>(mut all: impl Iterator<Item = &'a Labels>) -> Labels {
    let Some(first) = all.next() else { return Labels::new() };
    all.fold(first.clone(), |mut common, labels| {
        common.retain(|name, value| labels.get(name) == Some(value));
        common
    })
}

/// True when a resolved incident takes a re-fire in as a reopening: for a while after it resolved, and as long as it is
/// watched because a person resolved it while alerts fired (it may reopen by itself, and only one of a key is open).
pub fn reopens(incident: &Incident, now: Timestamp, within: std::time::Duration) -> bool {
    let within = SignedDuration::try_from(within).unwrap_or(SignedDuration::MAX);
    let watched = matches!(incident.wake, Wake::StillFiring(_));
    watched || incident.resolved_at.is_some_and(|at| now.duration_since(at) <= within)
}

/// Targets of several alerts, bounded.
pub fn target_hints<'a>(alerts: impl Iterator<Item = &'a Alert>) -> BTreeSet<String> {
    alerts.map(target_hint).take(super::MAX_ITEMS).collect()
}
