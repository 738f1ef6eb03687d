//! Prometheus and Alertmanager: alerts that come and go, groups with their wait and intervals, a notification log, silences,
//! inhibition, retries on what was not answered 2xx, and a restart that forgets everything.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use paramedic::{
    clients::http::{HeaderMap, Request, Response},
    domain::alert::fingerprint,
};
use serde_json::{Value, json};

use crate::{
    heartbeat::{self, Beat},
    rng::Rng,
};

const GROUP_WAIT: Duration = Duration::from_secs(10);
const GROUP_INTERVAL: Duration = Duration::from_secs(30);
const REPEAT: Duration = Duration::from_mins(4);

/// An alert of the world.
pub struct Alert {
    pub labels: BTreeMap<String, String>,
    pub fingerprint: String,
    pub firing: bool,
    pub starts_at: Timestamp,
    /// It goes the other way then.
    pub flips: Duration,
    /// Alertmanager was told of it since it started.
    known: bool,
    /// The last word on it that was answered 2xx: it fires.
    pub said: bool,
    /// It fires, is known and notifies since then.
    pub clear: Option<Duration>,
    /// Since the last word that it is over, the API said that it fires: it may have been adopted.
    pub shown: bool,
}

/// Alerts that are notified together.
#[derive(Default)]
struct Group {
    flush: Option<Duration>,
    /// What the receiver was told last.
    log: Option<(BTreeSet<usize>, BTreeSet<usize>, Duration)>,
    members: BTreeSet<usize>,
}

/// A notification on its way.
pub struct Notification {
    pub ticket: Ticket,
    pub body: Vec<u8>,
    group: String,
    firing: BTreeSet<usize>,
    resolved: BTreeSet<usize>,
    deadline: Duration,
    attempt: u32,
    /// `None`: it is being sent.
    retry: Option<Duration>,
}

pub struct Silence {
    id: String,
    alertname: String,
    ends: Duration,
}

/// A webhook: which Alertmanager's, and which of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Place of its source in [`SOURCES`].
    pub source: usize,
    id: u64,
}

impl std::fmt::Display for Ticket {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{} of {}", self.id, SOURCES[self.source])
    }
}

/// Each has an Alertmanager of its own, whose alerts have the same labels.
pub const SOURCES: [&str; 2] = ["default", "other"];

pub struct Alertmanager {
    pub source: usize,
    pub alerts: Vec<Alert>,
    groups: BTreeMap<String, Group>,
    flights: Vec<Notification>,
    silences: Vec<Silence>,
    started_at: Timestamp,
    epoch: Timestamp,
    count: u64,
    rng: Rng,
    /// Alerts come and go.
    pub lively: bool,
    /// Says that alerting works.
    pub beat: Option<Beat>,
}

impl Alertmanager {
    /// The first one has four names; others have so many of them.
    pub fn start(source: usize, names: usize, mut rng: Rng, epoch: Timestamp) -> Self {
        let all = [("ClusterDown", "P0"), ("Slow", "P1"), ("Lag", "P2"), ("Retries", "info")];
        let mut alerts = vec![];
        for (name, severity) in all.into_iter().take(names) {
            for instance in 0..rng.between(1, 3) {
                let labels: BTreeMap<_, _> = [
                    ("alertname", name.to_owned()),
                    ("severity", severity.to_owned()),
                    ("instance", format!("i{instance}")),
                ]
                .map(|(name, value)| (name.to_owned(), value))
                .into();
                let flips = Duration::from_secs(rng.between(1, 120));
                let fingerprint = fingerprint(&labels);
                alerts.push(Alert {
                    labels,
                    fingerprint,
                    firing: false,
                    starts_at: epoch,
                    flips,
                    known: true,
                    said: false,
                    clear: None,
                    shown: false,
                });
            }
        }
        Self {
            source,
            alerts,
            groups: BTreeMap::new(),
            flights: vec![],
            silences: vec![],
            started_at: epoch - SignedDuration::from_hours(1),
            epoch,
            count: 0,
            beat: (source == 0).then(|| Beat::draw(&mut rng)),
            rng,
            lively: true,
        }
    }

    fn at(&self, now: Duration) -> Timestamp {
        self.epoch + SignedDuration::try_from(now).unwrap()
    }

    fn name(&self, alert: usize) -> &str {
        &self.alerts[alert].labels["alertname"]
    }

    /// When it must be asked again.
    pub fn next(&self) -> Option<Duration> {
        let flips = self.alerts.iter().filter(|_| self.lively).map(|alert| alert.flips);
        let flushes = self.groups.values().filter_map(|group| group.flush);
        let beat = self.beat.iter().map(|beat| beat.next);
        flips
            .chain(flushes)
            .chain(beat)
            .chain(self.flights.iter().filter_map(|flight| flight.retry))
            .min()
    }

    /// Time passed; what is sent now: number, body, what it says.
    pub fn step(&mut self, now: Duration) -> Vec<(Ticket, Vec<u8>, String)> {
        self.flip(now);
        self.silences.retain(|silence| silence.ends > now);
        for index in 0..self.alerts.len() {
            let is_clear = !self.is_muted(index);
            let alert = &mut self.alerts[index];
            let since = alert.clear.unwrap_or(now);
            alert.clear = (alert.firing && alert.known && is_clear).then_some(since);
        }
        let due = |group: &Group| group.flush.is_some_and(|at| at <= now);
        let names: Vec<_> =
            self.groups.iter().filter(|(_, g)| due(g)).map(|(n, _)| n.clone()).collect();
        for name in names {
            self.flush(&name, now);
        }
        self.flights.retain(|flight| flight.deadline > now);
        self.beat(now);
        let mut sent = vec![];
        for flight in &mut self.flights {
            if flight.retry.is_some_and(|at| at <= now) {
                flight.retry = None;
                let names = |of: &BTreeSet<usize>| {
                    of.iter()
                        .map(|i| self.alerts[*i].labels["instance"].as_str())
                        .collect::<Vec<_>>()
                        .join(" ")
                };
                let (firing, resolved) = (names(&flight.firing), names(&flight.resolved));
                let says = format!("{} fires [{firing}] over [{resolved}]", flight.group);
                sent.push((flight.ticket, flight.body.clone(), says));
            }
        }
        sent
    }

    /// The heartbeat, in a group of its own.
    fn beat(&mut self, now: Duration) {
        let at = self.at(now).to_string();
        let Some(beat) = self.beat.as_mut().filter(|beat| beat.next <= now) else { return };
        beat.next = now + heartbeat::EVERY;
        if beat.is_still(now) {
            return;
        }
        self.count += 1;
        self.flights.push(Notification {
            ticket: Ticket { source: self.source, id: self.count },
            body: heartbeat::body(&at),
            group: heartbeat::NAME.to_owned(),
            firing: BTreeSet::new(),
            resolved: BTreeSet::new(),
            deadline: now + GROUP_INTERVAL,
            attempt: 0,
            retry: Some(now),
        });
    }

    fn flip(&mut self, now: Duration) {
        for index in 0..self.alerts.len() {
            let at = self.at(now);
            if !self.lively || self.alerts[index].flips > now {
                continue;
            }
            let stays = if self.rng.chance(3_000) { (5, 60) } else { (60, 400) };
            let stays = Duration::from_secs(self.rng.between(stays.0, stays.1));
            let alert = &mut self.alerts[index];
            alert.firing = !alert.firing;
            alert.flips = now + stays;
            if alert.firing {
                alert.starts_at = at;
            }
            if alert.firing || alert.known {
                self.put(index, now);
            }
        }
    }

    /// Prometheus tells of an alert.
    fn put(&mut self, index: usize, now: Duration) {
        self.alerts[index].known = true;
        let name = self.name(index).to_owned();
        let is_firing = self.alerts[index].firing;
        let group = self.groups.entry(name).or_default();
        if is_firing {
            group.members.insert(index);
        }
        if !group.members.is_empty() {
            group.flush.get_or_insert(now + GROUP_WAIT);
        }
    }

    pub fn is_muted(&self, index: usize) -> bool {
        let name = self.name(index);
        let inhibits = |alert: &Alert| {
            alert.firing && alert.known && alert.labels["alertname"] == "ClusterDown"
        };
        self.silences.iter().any(|silence| silence.alertname == name)
            || (name == "Slow" && self.alerts.iter().any(inhibits))
    }

    fn flush(&mut self, name: &str, now: Duration) {
        let members = self.groups[name].members.clone();
        let told: BTreeSet<_> = members.iter().copied().filter(|i| !self.is_muted(*i)).collect();
        let (firing, resolved): (BTreeSet<_>, BTreeSet<_>) =
            told.into_iter().partition(|index| self.alerts[*index].firing);
        let group = self.groups.get_mut(name).unwrap();
        group.flush = (!members.is_empty()).then_some(now + GROUP_INTERVAL);
        let needed = match &group.log {
            None => !firing.is_empty(),
            Some((before, _, _)) if !firing.is_subset(before) => true,
            Some((before, _, _)) if firing.is_empty() => !before.is_empty() && !resolved.is_empty(),
            Some((_, before, at)) => !resolved.is_subset(before) || now >= *at + REPEAT,
        };
        let in_flight =
            self.flights.iter().any(|flight| flight.group == name && flight.deadline > now);
        if !needed {
            if !in_flight {
                self.forget(name, &resolved);
            }
            return;
        }
        self.count += 1;
        let body = self.body(name, &firing, &resolved, now);
        let ticket = Ticket { source: self.source, id: self.count };
        let group = name.to_owned();
        let (deadline, retry) = (now + GROUP_INTERVAL, Some(now));
        self.flights.retain(|flight| flight.group != group);
        self.flights.push(Notification {
            ticket,
            body,
            group,
            firing,
            resolved,
            deadline,
            attempt: 0,
            retry,
        });
    }

    /// It has not given up this notification.
    pub fn waits_for(&self, ticket: Ticket) -> bool {
        self.flights.iter().any(|flight| flight.ticket == ticket)
    }

    fn forget(&mut self, name: &str, resolved: &BTreeSet<usize>) {
        let alerts = &self.alerts;
        let Some(group) = self.groups.get_mut(name) else { return };
        group.members.retain(|index| !resolved.contains(index) || alerts[*index].firing);
        if group.members.is_empty() {
            group.flush = None;
        }
    }

    fn body(
        &self,
        name: &str,
        firing: &BTreeSet<usize>,
        resolved: &BTreeSet<usize>,
        now: Duration,
    ) -> Vec<u8> {
        let alerts: Vec<Value> = firing
            .iter()
            .map(|index| (index, "firing"))
            .chain(resolved.iter().map(|index| (index, "resolved")))
            .map(|(index, status)| {
                let alert = &self.alerts[*index];
                let ends = if status == "firing" { "0001-01-01T00:00:00Z".to_owned() } else { self.at(now).to_string() };
                json!({ "status": status, "labels": alert.labels, "annotations": {}, "startsAt": alert.starts_at.to_string(),
                        "endsAt": ends, "generatorURL": "", "fingerprint": alert.fingerprint })
            })
            .collect();
        let status = if firing.is_empty() { "resolved" } else { "firing" };
        json!({ "version": "4", "groupKey": format!("{{}}:{{alertname={name:?}}}"), "status": status, "receiver": "paramedic",
                "groupLabels": { "alertname": name }, "commonLabels": {}, "commonAnnotations": {},
                "externalURL": "http://am.sim", "truncatedAlerts": 0, "alerts": alerts })
            .to_string()
            .into_bytes()
    }

    /// What a notification was answered; nothing for one that was given up.
    pub fn answered(&mut self, ticket: Ticket, taken: bool, now: Duration) {
        let place = self.flights.iter().position(|flight| flight.ticket == ticket);
        let Some(place) = place else { return };
        if !taken {
            let flight = &mut self.flights[place];
            flight.attempt += 1;
            flight.retry = Some(now + Duration::from_secs(1 << flight.attempt.min(4)));
            return;
        }
        let flight = self.flights.remove(place);
        for (words, fires) in [(&flight.firing, true), (&flight.resolved, false)] {
            for index in words {
                self.alerts[*index].said = fires;
                self.alerts[*index].shown &= fires;
            }
        }
        // A peer that did not hear of it says the same again.
        let is_heard = flight.firing.is_empty() || !self.lively || !self.rng.chance(1_000);
        if let Some(group) = self.groups.get_mut(&flight.group).filter(|_| is_heard) {
            group.log = Some((flight.firing, flight.resolved.clone(), now));
        }
        self.forget(&flight.group, &flight.resolved);
    }

    /// Somebody silences one alert's name.
    pub fn silence(&mut self, now: Duration) -> String {
        if self.alerts.is_empty() {
            return "nothing to silence".to_owned();
        }
        let index = self.rng.index(self.alerts.len());
        let alertname = self.name(index).to_owned();
        let ends = now + Duration::from_secs(self.rng.between(30, 240));
        self.count += 1;
        let silence = Silence { id: format!("s{}", self.count), alertname, ends };
        let said = format!("silence of {} for {:?}", silence.alertname, ends.saturating_sub(now));
        self.silences.push(silence);
        said
    }

    /// It loses everything, and Prometheus tells it again of what fires.
    pub fn restart(&mut self, now: Duration) {
        self.started_at = self.at(now);
        self.groups.clear();
        self.flights.clear();
        self.silences.clear();
        for index in 0..self.alerts.len() {
            self.alerts[index].known = false;
            if self.alerts[index].firing {
                self.put(index, now);
            }
        }
    }

    /// The API.
    pub fn answer(&mut self, request: &Request) -> Response {
        let body = match request.url.path() {
            "/api/v2/status" => {
                json!({ "uptime": self.started_at.to_string(), "config": { "original": "route: {}" } })
            }
            "/api/v2/silences" => {
                let silences = self.silences.iter().map(|silence| json!({
                    "id": silence.id, "status": { "state": "active" }, "createdBy": "sim", "comment": "",
                    "startsAt": self.epoch.to_string(), "endsAt": self.at(silence.ends).to_string(),
                    "matchers": [{ "name": "alertname", "value": silence.alertname, "isRegex": false, "isEqual": true }],
                }));
                silences.collect()
            }
            "/api/v2/alerts" => {
                let listed = |alert: &Alert| alert.firing && alert.known;
                let places = (0..self.alerts.len()).filter(|i| listed(&self.alerts[*i]));
                let places: Vec<usize> = places.collect();
                for place in &places {
                    self.alerts[*place].shown = true;
                }
                places.into_iter().map(|i| self.listed(i)).collect()
            }
            other => panic!("nobody prepared {other}"),
        };
        Response {
            status: 200,
            headers: HeaderMap::new(),
            body: body.to_string().into_bytes(),
            cut: false,
        }
    }

    fn listed(&self, index: usize) -> Value {
        let alert = &self.alerts[index];
        let silenced = self.silences.iter().filter(|s| s.alertname == alert.labels["alertname"]);
        let silenced: Vec<&str> = silenced.map(|silence| silence.id.as_str()).collect();
        let muted = self.is_muted(index);
        let inhibited: &[&str] = if muted && silenced.is_empty() { &["f"] } else { &[] };
        let state = if muted { "suppressed" } else { "active" };
        json!({ "labels": alert.labels, "annotations": {}, "fingerprint": alert.fingerprint, "startsAt": alert.starts_at.to_string(),
                "endsAt": "2030-01-01T00:00:00Z", "receivers": [{ "name": "paramedic" }],
                "status": { "state": state, "silencedBy": silenced, "inhibitedBy": inhibited, "mutedBy": [] } })
    }
}
