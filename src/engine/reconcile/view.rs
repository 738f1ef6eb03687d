//! What all instances of a source's Alertmanager say together, by the identity of our members.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;

use crate::{
    clients::{
        alertmanager::read::{self, KnownSilence},
        one_line,
    },
    domain::{
        alert::{Alert, Status},
        incident::{
            asked::{Known, Mute},
            correlate, show,
        },
        redact,
    },
    engine::{Source, correlate::prepared, heartbeats},
};

/// An alert, and the raw form it is taken in with.
pub struct Listed {
    /// What is said of it.
    pub known: Known,
    /// As Alertmanager has it.
    pub raw: read::Alert,
}

/// Alerts by identity; heartbeats are left out.
pub fn merged(
    instances: Vec<Vec<read::Alert>>,
    silences: &[KnownSilence],
    source: &Source,
) -> BTreeMap<String, Listed> {
    let mut all: BTreeMap<String, Listed> = BTreeMap::new();
    for raw in instances.into_iter().flatten() {
        let alert = as_alert(&raw);
        if source.is_heartbeat(&alert) || alert.label("alertname") == heartbeats::MISSING {
            continue;
        }
        let identity = if source.ignore.is_empty() {
            alert.fingerprint
        } else {
            correlate::identity(&prepared(alert, source), &source.ignore)
        };
        let known = known(&raw, silences);
        match all.remove(&identity) {
            Some(other) => {
                let known = other.known.and(known);
                all.insert(identity, Listed { known, raw });
            }
            None => drop(all.insert(identity, Listed { known, raw })),
        }
    }
    all
}

fn as_alert(raw: &read::Alert) -> Alert {
    let fingerprint = if raw.fingerprint.is_empty() {
        crate::domain::alert::fingerprint(&raw.labels)
    } else {
        raw.fingerprint.clone()
    };
    Alert {
        status: Status::Firing,
        labels: raw.labels.clone(),
        annotations: raw.annotations.clone(),
        starts_at: raw.starts_at,
        generator_url: raw.generator_url.clone(),
        fingerprint,
    }
}

fn known(raw: &read::Alert, silences: &[KnownSilence]) -> Known {
    let status = &raw.status;
    if status.state == "unprocessed" {
        return Known::Undecided;
    }
    if let Some(id) = status.silenced_by.first() {
        // Several may cover it; it is silent until the last of them ends.
        let covers = silences.iter().filter(|silence| status.silenced_by.contains(&silence.id));
        return Known::Muted(match covers.max_by_key(|silence| silence.ends_at) {
            Some(silence) => Mute { by: words(silence), until: Some(silence.ends_at) },
            None => Mute { by: format!("silence {}", one_line(id, 40)), until: None },
        });
    }
    if let Some(by) = status.inhibited_by.first() {
        let by = format!("another alert (inhibited by {})", one_line(by, 40));
        return Known::Muted(Mute { by, until: None });
    }
    let times = status.muted_by.iter().flatten();
    if let Some(name) = times.map(|name| one_line(name, 80)).next() {
        return Known::Muted(Mute { by: format!("mute time {name}"), until: None });
    }
    if status.state == "suppressed" {
        let by = "Alertmanager, which does not say why".to_owned();
        return Known::Muted(Mute { by, until: None });
    }
    Known::Active
}

/// `silence 1f2e3d4c of Ana Lima until 04:00:00 UTC (planned work)`.
fn words(silence: &KnownSilence) -> String {
    let id: String = silence.id.chars().take(8).collect();
    let said = |text: &str, max| one_line(&redact::redact(text), max);
    let who = match said(&silence.created_by, 60) {
        who if who.is_empty() => "somebody".to_owned(),
        who => who,
    };
    let why = match said(&silence.comment, 120) {
        why if why.is_empty() => String::new(),
        why => format!(" ({why})"),
    };
    format!("silence {id} of {who} until {}{why}", show::clock(silence.ends_at))
}

/// Alerts as a webhook would have brought them, marked with the time we asked.
pub fn as_webhook<'a>(
    alerts: impl Iterator<Item = &'a read::Alert>,
    receiver: &str,
    url: &str,
    asked_at: Timestamp,
) -> Vec<u8> {
    let alerts: Vec<_> = alerts
        .map(|alert| {
            json!({
                "status": "firing", "labels": alert.labels, "annotations": alert.annotations,
                "startsAt": alert.starts_at, "generatorURL": alert.generator_url, "fingerprint": alert.fingerprint,
            })
        })
        .collect();
    json!({
        "receiver": receiver, "externalURL": url, "alerts": alerts, "paramedicAskedAt": asked_at,
    })
    .to_string()
    .into_bytes()
}
