//! One pod as the recorder keeps it: bounded, whatever the pod says.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;

use crate::{
    clients::kube::{ContainerState, Event, Pod},
    steps::recorded::{RecordedLog, RecordedPod},
};

/// Most bytes kept of one log: the newest.
pub const TAIL: usize = 64 * 1024;
/// Runs of one container whose logs are kept: the newest.
const MAX_RUNS: usize = 3;
/// Logs of one pod.
const MAX_LOGS: usize = 12;
/// Events of one pod: the newest.
const MAX_EVENTS: usize = 50;
const MAX_CONTAINERS: usize = 20;
const MAX_LABELS: usize = 64;
/// Longest text of a status, bytes.
const MAX_TEXT: usize = 4 * 1024;
/// Longest name, label or reason, bytes.
const MAX_NAME: usize = 253;

/// A pod and what happened to it.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Its last status; `gone` says since when it exists no more.
    pub pod: Pod,
    /// When it last changed.
    pub seen: Timestamp,
    /// When it was seen to be gone.
    pub gone: Option<Timestamp>,
    /// Oldest first.
    pub events: VecDeque<Event>,
    /// By container and run.
    pub logs: BTreeMap<(String, i32), Entry>,
    /// The watch that shows it; `None`: it comes from the store and no watch has shown it yet.
    pub watch: Option<usize>,
    /// The list of that watch that last had it.
    pub listed: u64,
    /// Counts changes, so that a change during a save is not taken for saved.
    pub version: u64,
    /// Since when something of it is not stored.
    pub unsaved: Option<Timestamp>,
}

/// The log of one run of one container.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// What is to be done.
    pub state: State,
    /// It is of the run before the last restart, and read as such.
    pub previous: bool,
    /// It was read after the container had ended, so it is complete.
    pub ended: bool,
    /// The last lines, masked.
    pub text: String,
    /// When they were read.
    pub read_at: Option<Timestamp>,
    /// Older lines were left out.
    pub cut: bool,
    /// Why it could not be read.
    pub lost: String,
    /// It changed since it was stored.
    pub unsaved: bool,
    /// When it was last stored.
    pub saved_at: Option<Timestamp>,
}

/// What is to be done about a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    #[default]
    Done,
    /// To be read, not before `after`.
    Wanted {
        /// Failures so far.
        attempts: u32,
        /// Not before.
        after: Timestamp,
    },
    /// Somebody reads it.
    Reading {
        /// Failures so far.
        attempts: u32,
    },
}

/// A log worth reading now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worth {
    /// Container.
    pub container: String,
    /// Which run of it.
    pub restarts: i32,
    /// It is of the run before the last restart.
    pub previous: bool,
    /// That run has ended.
    pub ended: bool,
}

impl Record {
    /// The logs that are worth reading: of runs that ended badly, and of everything once deletion was asked for.
    pub fn worth(&self) -> Vec<Worth> {
        let mut worth = vec![];
        for c in &self.pod.containers {
            let of = |restarts, previous, ended| Worth {
                container: c.name.clone(),
                restarts,
                previous,
                ended,
            };
            let bad = |code: Option<i32>| code.is_some_and(|code| code != 0);
            let started = matches!(c.state, ContainerState::Running | ContainerState::Terminated);
            let ended = c.state == ContainerState::Terminated;
            if bad(c.exit_code) || (started && !self.pod.deleted.is_empty()) {
                worth.push(of(c.restarts, false, ended));
            }
            if bad(c.last_exit_code) && c.restarts > 0 {
                worth.push(of(c.restarts - 1, true, true));
            }
        }
        worth
    }

    /// Asks for what is worth reading and was not read yet.
    pub fn want(&mut self, now: Timestamp) {
        if self.gone.is_some() {
            return;
        }
        for Worth { container, restarts, previous, ended } in self.worth() {
            let entry = self.logs.entry((container, restarts)).or_insert_with(|| Entry {
                state: State::Wanted { attempts: 0, after: now },
                ..Entry::default()
            });
            if entry.state == State::Done && ended && !entry.ended && entry.lost.is_empty() {
                // Read while it ran: the last lines, the ones that matter, came later.
                entry.state = State::Wanted { attempts: 0, after: now };
            }
            entry.previous = previous;
        }
        self.forget_old_runs();
    }

    /// It exists no more: what was not read is lost. Says how many logs were.
    pub fn bury(&mut self, now: Timestamp, why: &str) -> u64 {
        self.gone = Some(now);
        self.pod.gone = now.to_string();
        let started = |state| matches!(state, ContainerState::Running | ContainerState::Terminated);
        for c in self.pod.containers.iter().filter(|c| started(c.state)) {
            let fresh =
                || Entry { state: State::Wanted { attempts: 0, after: now }, ..Entry::default() };
            self.logs.entry((c.name.clone(), c.restarts)).or_insert_with(fresh);
        }
        self.forget_old_runs();
        let mut lost = 0;
        for entry in self.logs.values_mut() {
            if matches!(entry.state, State::Wanted { .. }) {
                entry.state = State::Done;
                entry.unsaved = true;
                if entry.text.is_empty() {
                    if entry.lost.is_empty() {
                        why.clone_into(&mut entry.lost);
                    }
                    lost += 1;
                }
            }
        }
        lost
    }

    fn forget_old_runs(&mut self) {
        let mut runs: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for (container, restarts) in self.logs.keys() {
            runs.entry(container).or_default().push(*restarts);
        }
        let oldest: BTreeMap<String, i32> = runs
            .into_iter()
            .map(|(name, runs)| (name.to_owned(), runs[runs.len().saturating_sub(MAX_RUNS)]))
            .collect();
        self.logs.retain(|(name, restarts), _| *restarts >= oldest[name.as_str()]);
        while self.logs.len() > MAX_LOGS {
            self.logs.pop_last();
        }
    }

    /// Adds an event, or the newer form of one that is there. False when nothing is new.
    pub fn add_event(&mut self, event: Event) -> bool {
        match self.events.iter_mut().find(|known| known.uid == event.uid) {
            Some(known) if *known == event => return false,
            Some(known) => *known = event,
            None => {
                self.events.push_back(event);
                self.events.make_contiguous().sort_by_key(|event| event.at);
                while self.events.len() > MAX_EVENTS {
                    self.events.pop_front();
                }
            }
        }
        true
    }

    /// About how many bytes it takes.
    pub fn size(&self) -> usize {
        let pod = &self.pod;
        let texts = |texts: &[&String]| texts.iter().map(|text| text.len()).sum::<usize>();
        let containers: usize = pod
            .containers
            .iter()
            .map(|c| 150 + texts(&[&c.name, &c.reason, &c.message, &c.last_reason, &c.signal]))
            .sum();
        let conditions: usize = pod
            .conditions
            .iter()
            .map(|c| 100 + texts(&[&c.name, &c.status, &c.reason, &c.message]))
            .sum();
        let labels: usize = pod.labels.iter().map(|(k, v)| 80 + k.len() + v.len()).sum();
        let events: usize = self
            .events
            .iter()
            .map(|e| {
                300 + texts(&[&e.reason, &e.name, &e.message, &e.source, &e.uid, &e.about, &e.last])
            })
            .sum();
        let logs: usize =
            self.logs.iter().map(|((c, _), e)| 250 + c.len() + e.text.len() + e.lost.len()).sum();
        let own = [
            &pod.name,
            &pod.namespace,
            &pod.uid,
            &pod.app_id,
            &pod.reason,
            &pod.message,
            &pod.node,
            &pod.exit_exception,
        ];
        800 + texts(&own) + containers + conditions + labels + events + logs
    }

    /// As steps see it.
    pub fn shown(&self, logs: bool) -> RecordedPod {
        let logs =
            if logs { self.logs.iter().map(|(key, e)| e.shown(key)).collect() } else { vec![] };
        RecordedPod {
            pod: self.pod.clone(),
            seen: self.seen,
            events: self.events.iter().cloned().collect(),
            logs,
        }
    }
}

impl Entry {
    fn shown(&self, (container, restarts): &(String, i32)) -> RecordedLog {
        let unread = match self.state {
            State::Done => "",
            State::Wanted { .. } | State::Reading { .. } => "it is being read just now",
        };
        RecordedLog {
            container: container.clone(),
            restarts: *restarts,
            read_at: self.read_at,
            text: self.text.clone(),
            cut: self.cut,
            lost: if self.lost.is_empty() { unread.to_owned() } else { self.lost.clone() },
        }
    }
}

/// Cuts whatever a pod says to what is kept of it.
pub fn bounded(mut pod: Pod) -> Pod {
    for name in [
        &mut pod.name,
        &mut pod.namespace,
        &mut pod.uid,
        &mut pod.role,
        &mut pod.exec_id,
        &mut pod.app_id,
        &mut pod.phase,
        &mut pod.reason,
        &mut pod.node,
        &mut pod.ip,
    ] {
        cut(name, MAX_NAME);
    }
    cut(&mut pod.message, MAX_TEXT);
    cut(&mut pod.exit_exception, MAX_TEXT);
    pod.containers.truncate(MAX_CONTAINERS);
    for c in &mut pod.containers {
        for name in [&mut c.name, &mut c.reason, &mut c.last_reason] {
            cut(name, MAX_NAME);
        }
        cut(&mut c.message, MAX_TEXT);
    }
    pod.conditions.truncate(MAX_CONTAINERS);
    for c in &mut pod.conditions {
        for name in [&mut c.name, &mut c.status, &mut c.reason] {
            cut(name, MAX_NAME);
        }
        cut(&mut c.message, MAX_TEXT);
    }
    // What finds a pod of an application comes first, however many labels there are.
    let labels = std::mem::take(&mut pod.labels);
    let (known, other): (Vec<_>, Vec<_>) =
        labels.into_iter().partition(|(name, _)| name.contains("spark"));
    for (mut name, mut value) in known.into_iter().chain(other).take(MAX_LABELS) {
        cut(&mut name, MAX_NAME + 64);
        cut(&mut value, MAX_NAME);
        pod.labels.insert(name, value);
    }
    if pod.uid.is_empty() {
        pod.uid = format!("{}/{}", pod.namespace, pod.name);
    }
    pod
}

/// Cuts whatever an event says to what is kept of it.
pub fn bounded_event(mut event: Event) -> Event {
    for name in [
        &mut event.severity,
        &mut event.reason,
        &mut event.kind,
        &mut event.name,
        &mut event.namespace,
        &mut event.source,
        &mut event.about,
        &mut event.uid,
    ] {
        cut(name, MAX_NAME);
    }
    cut(&mut event.message, 1_000);
    event
}

fn cut(text: &mut String, bytes: usize) {
    if text.len() > bytes {
        text.truncate(text.floor_char_boundary(bytes));
        text.shrink_to_fit();
    }
}
