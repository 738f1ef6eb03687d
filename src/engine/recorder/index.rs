//! What the recorder knows of one cluster's pods: plain data, fed by watches, asked what is to be done.
//!
//! No clock, no IO, no task: `now` comes in, and what must be read, followed or stored is taken out. Whatever happens,
//! the number of pods and the bytes stay within their limits; what goes first is what the store has already.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};

use super::{
    log::{Key, LogJob, TOO_LATE, Unread, settle},
    order::{followable, place, wanted},
    record::{Entry, Record, State, TAIL, bounded, bounded_event},
    stored::{Body, Row, StoredLog, StoredPod},
};
use crate::{
    clients::kube::{ContainerState, Event, Log, Pod, Seen, newest},
    config::Follow,
    steps::recorded::{MAX_PODS, Recall, RecordedPod},
};

/// Events held for pods that no watch has shown yet.
const MAX_ORPHANS: usize = 1_000;
/// How often a log that is followed is stored while it grows.
const STORE_AGAIN: SignedDuration = SignedDuration::from_secs(60);
/// Said of a log whose pod was deleted unseen.
const UNSEEN: &str = "the pod was deleted while nobody watched";

/// What the index may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Pods.
    pub pods: usize,
    /// Bytes, about.
    pub bytes: usize,
    /// Logs followed at once.
    pub streams: usize,
    /// Whose.
    pub follow: Follow,
}

/// Numbers for metrics and tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pods held.
    pub pods: usize,
    /// Bytes held, about.
    pub bytes: usize,
    /// Pods with something that is not stored.
    pub unsaved: usize,
    /// Since when.
    pub unsaved_since: Option<Timestamp>,
    /// Logs waiting to be read or being read.
    pub unread: usize,
    /// Logs being followed.
    pub streams: usize,
    /// Lists begun.
    pub relists: u64,
    /// Logs kept.
    pub kept: u64,
    /// Logs lost.
    pub lost: u64,
    /// Objects that could not be read.
    pub unreadable: u64,
    /// Pods forgotten before they were stored.
    pub dropped: u64,
    /// Batches stored.
    pub batches: u64,
    /// This process reads the logs and stores what was seen.
    pub leads: bool,
}

/// The pods of one cluster.
#[derive(Debug)]
pub struct Index {
    limits: Limits,
    pods: BTreeMap<String, Record>,
    /// What goes first when there is too much.
    order: BTreeSet<(u8, Timestamp, String)>,
    unsaved: BTreeSet<(Timestamp, String)>,
    /// Logs to read: pods about to go first, then the longest waiting.
    wanted: BTreeSet<(u8, Timestamp, Key)>,
    /// Logs that could be followed.
    followable: BTreeSet<Key>,
    /// Logs that are followed (`None`), or rest until a time.
    streams: BTreeMap<Key, Option<Timestamp>>,
    orphans: VecDeque<Event>,
    /// The number of the list of each watch.
    lists: BTreeMap<usize, u64>,
    /// Watches that have not listed everything yet.
    incomplete: BTreeSet<usize>,
    reading: usize,
    counts: Counts,
    leads: bool,
}

impl Index {
    /// An empty index, fed by watches `0..watches`.
    pub fn new(limits: Limits, watches: usize) -> Self {
        Self {
            limits,
            pods: BTreeMap::new(),
            order: BTreeSet::new(),
            unsaved: BTreeSet::new(),
            wanted: BTreeSet::new(),
            followable: BTreeSet::new(),
            streams: BTreeMap::new(),
            orphans: VecDeque::new(),
            lists: BTreeMap::new(),
            incomplete: (0..watches).collect(),
            reading: 0,
            counts: Counts::default(),
            leads: true,
        }
    }

    /// True while this process reads the logs of this cluster and stores what was seen; at first it does.
    pub fn leads(&self) -> bool {
        self.leads
    }

    /// It leads from now on, or another process does; true when that is new. Whoever does not lead sees and keeps the same,
    /// and everything that is to be done stays to be done; what it does not read or store is not lost, another does it.
    pub fn lead(&mut self, leads: bool) -> bool {
        std::mem::replace(&mut self.leads, leads) != leads
    }

    /// Puts in what was stored before this process began; a watch that does not show it marks it as gone.
    pub fn restore(&mut self, records: impl IntoIterator<Item = Record>) {
        for record in records {
            let record = Record { pod: bounded(record.pod), ..record };
            if !self.pods.contains_key(&record.pod.uid) {
                self.put(record);
            }
        }
    }

    /// A watch of pods saw something.
    pub fn pod(&mut self, watch: usize, seen: Seen<Pod>, now: Timestamp) {
        match seen {
            Seen::Relisting => {
                *self.lists.entry(watch).or_default() += 1;
                self.counts.relists += 1;
            }
            Seen::Listed(pod) | Seen::Changed(pod) => self.seen(watch, bounded(pod), now),
            Seen::Deleted(pod) => {
                let pod = bounded(pod);
                let uid = pod.uid.clone();
                self.seen(watch, pod, now);
                self.bury(&uid, TOO_LATE, now);
            }
            Seen::Complete => self.complete(watch, now),
            Seen::Unreadable(_) => self.counts.unreadable += 1,
            Seen::Watching | Seen::Expired | Seen::Ended => {}
        }
    }

    /// A watch of events saw something.
    pub fn event(&mut self, seen: Seen<Event>, now: Timestamp) {
        match seen {
            Seen::Listed(event) | Seen::Changed(event) => {
                let event = bounded_event(event);
                if let Some(event) = self.attach(event, now) {
                    self.orphans.push_back(event);
                    while self.orphans.len() > MAX_ORPHANS {
                        self.orphans.pop_front();
                    }
                }
            }
            Seen::Unreadable(_) => self.counts.unreadable += 1,
            // Events expire after an hour; what they said stays.
            Seen::Deleted(_)
            | Seen::Relisting
            | Seen::Complete
            | Seen::Watching
            | Seen::Expired
            | Seen::Ended => {}
        }
    }

    fn seen(&mut self, watch: usize, pod: Pod, now: Timestamp) {
        let list = self.lists.get(&watch).copied().unwrap_or_default();
        let uid = pod.uid.clone();
        let Some(mut record) = self.take(&uid) else {
            let mut record = Record { pod, seen: now, ..Record::default() };
            (record.watch, record.listed) = (Some(watch), list);
            record.want(now);
            changed(&mut record, now);
            self.put(record);
            self.adopt(&uid, now);
            return;
        };
        (record.watch, record.listed) = (Some(watch), list);
        // A version that says nothing else is no change.
        record.pod.resource_version = pod.resource_version;
        if record.gone.take().is_some() || record.pod != pod {
            record.pod = pod;
            record.seen = now;
            record.want(now);
            changed(&mut record, now);
        }
        self.put(record);
    }

    /// Events that came before their pod.
    fn adopt(&mut self, uid: &str, now: Timestamp) {
        let (own, other): (VecDeque<Event>, _) =
            std::mem::take(&mut self.orphans).into_iter().partition(|event| event.about == uid);
        self.orphans = other;
        for event in own {
            self.attach(event, now);
        }
    }

    /// Adds an event to its pod; gives it back when the pod is not known.
    fn attach(&mut self, event: Event, now: Timestamp) -> Option<Event> {
        let Some(mut record) = self.take(&event.about) else { return Some(event) };
        if record.add_event(event) {
            changed(&mut record, now);
        }
        self.put(record);
        None
    }

    fn bury(&mut self, uid: &str, why: &str, now: Timestamp) {
        let Some(mut record) = self.take(uid) else { return };
        let lost = record.bury(now, why);
        self.counts.lost += if self.leads { lost } else { 0 };
        record.seen = now;
        changed(&mut record, now);
        self.put(record);
    }

    /// A list is complete: what it did not have exists no more.
    fn complete(&mut self, watch: usize, now: Timestamp) {
        let list = self.lists.get(&watch).copied().unwrap_or_default();
        let first = self.incomplete.remove(&watch);
        // What the store knew belongs to no watch yet; it is missed only when every watch has shown all it has.
        let missed = |record: &&Record| match record.watch {
            Some(by) => by == watch && record.listed < list,
            None => first && self.incomplete.is_empty(),
        };
        let live = self.pods.values().filter(|record| record.gone.is_none());
        let missing: Vec<String> = live.filter(missed).map(|r| r.pod.uid.clone()).collect();
        for uid in missing {
            self.bury(&uid, UNSEEN, now);
        }
    }

    /// The most urgent log to read.
    pub fn take_read(&mut self, now: Timestamp) -> Option<LogJob> {
        if !self.leads {
            return None;
        }
        let key = self.wanted.iter().find(|(_, after, _)| *after <= now)?.2.clone();
        let mut record = self.take(&key.uid)?;
        let ended = record.pod.containers.iter().any(|c| {
            c.name == key.container
                && (c.restarts > key.restarts || c.state == ContainerState::Terminated)
        });
        let mut job = None;
        if let Some(entry) = record.logs.get_mut(&(key.container.clone(), key.restarts))
            && let State::Wanted { attempts, .. } = entry.state
        {
            entry.state = State::Reading { attempts };
            self.reading += 1;
            job = Some(LogJob {
                namespace: record.pod.namespace.clone(),
                pod: record.pod.name.clone(),
                previous: entry.previous,
                ended,
                key,
            });
        }
        self.put(record);
        job
    }

    /// How that went; a failure with its reason.
    pub fn read(&mut self, job: &LogJob, outcome: Result<Log, (Unread, String)>, now: Timestamp) {
        self.reading = self.reading.saturating_sub(1);
        let Some(mut record) = self.take(&job.key.uid) else { return };
        let gone = record.gone.is_some();
        let mut over = None;
        if let Some(entry) = record.logs.get_mut(&(job.key.container.clone(), job.key.restarts)) {
            over = settle(entry, job, outcome, gone, now);
        }
        match over {
            Some(true) => self.counts.kept += 1,
            Some(false) => self.counts.lost += 1,
            None => {}
        }
        record.want(now);
        changed(&mut record, now);
        self.put(record);
    }

    /// The next log to follow, while there is room.
    pub fn take_stream(&mut self, now: Timestamp) -> Option<LogJob> {
        if !self.leads || self.counts().streams >= self.limits.streams {
            return None;
        }
        let free = |key: &&Key| match self.streams.get(*key) {
            None => true,
            Some(rests) => rests.is_some_and(|until| until <= now),
        };
        let key = self.followable.iter().find(free)?.clone();
        let pod = &self.pods.get(&key.uid)?.pod;
        let (namespace, pod) = (pod.namespace.clone(), pod.name.clone());
        self.streams.insert(key.clone(), None);
        Some(LogJob { key, namespace, pod, previous: false, ended: false })
    }

    /// New lines of a log that is followed; `first` ones replace what is there.
    pub fn streamed(&mut self, job: &LogJob, text: &str, first: bool, now: Timestamp) {
        let Some(mut record) = self.take(&job.key.uid) else { return };
        let entry = record.logs.entry((job.key.container.clone(), job.key.restarts)).or_default();
        if !entry.ended {
            if first {
                entry.text.clear();
            }
            entry.text.push_str(text);
            if entry.text.len() > 2 * TAIL {
                entry.text = newest(&entry.text, TAIL).to_owned();
                entry.cut = true;
            }
            entry.read_at = Some(now);
            let due = |at: Timestamp| now.duration_since(at) >= STORE_AGAIN;
            if entry.saved_at.is_none_or(due) && !entry.unsaved {
                entry.unsaved = true;
                changed(&mut record, now);
            }
        }
        self.put(record);
    }

    /// The process ends: what was followed so far is to be stored now.
    pub fn end_streams(&mut self, now: Timestamp) {
        let followed = self.streams.iter().filter(|(_, rests)| rests.is_none());
        for key in followed.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.store_log(&key, now);
        }
    }

    fn store_log(&mut self, key: &Key, now: Timestamp) {
        let Some(mut record) = self.take(&key.uid) else { return };
        if let Some(entry) = record.logs.get_mut(&(key.container.clone(), key.restarts)) {
            entry.unsaved = true;
            changed(&mut record, now);
        }
        self.put(record);
    }

    /// A log is followed no more; not before `again` if it goes on.
    pub fn stream_ended(&mut self, job: &LogJob, now: Timestamp, again: Timestamp) {
        self.streams.remove(&job.key);
        self.store_log(&job.key, now);
        if self.followable.contains(&job.key) {
            self.streams.insert(job.key.clone(), Some(again));
        }
    }

    /// What is to be stored, longest waiting first: whole pods, until there are `rows` or `bytes` of them.
    pub fn unsaved(&self, rows: usize, bytes: usize) -> Vec<Row> {
        let (mut batch, mut size) = (vec![], 0);
        for (_, uid) in &self.unsaved {
            let Some(record) = self.pods.get(uid) else { continue };
            if batch.len() >= rows || size >= bytes {
                break;
            }
            size += record.size();
            let row = |container: &str, restarts, body| Row {
                key: Key { uid: uid.clone(), container: container.to_owned(), restarts },
                version: record.version,
                namespace: record.pod.namespace.clone(),
                name: record.pod.name.clone(),
                app_id: record.pod.app_id.clone(),
                seen: record.seen,
                gone: record.gone,
                failed: record.pod.has_failed(),
                body,
            };
            batch.push(row("", 0, Body::Pod(Box::new(StoredPod::of(record)))));
            for ((container, restarts), entry) in record.logs.iter().filter(|(_, e)| e.unsaved) {
                let tail = Entry { text: newest(&entry.text, TAIL).to_owned(), ..entry.clone() };
                batch.push(row(container, *restarts, Body::Log(StoredLog::of(&tail))));
            }
        }
        batch
    }

    /// These rows are stored; what changed meanwhile is still to be.
    pub fn saved(&mut self, rows: &[Row], now: Timestamp) {
        self.counts.batches += 1;
        for row in rows.iter().filter(|row| row.key.container.is_empty()) {
            let Some(mut record) = self.take(&row.key.uid) else { continue };
            if record.version == row.version {
                record.unsaved = None;
                for entry in record.logs.values_mut().filter(|entry| entry.unsaved) {
                    (entry.unsaved, entry.saved_at) = (false, Some(now));
                }
            }
            self.put(record);
        }
    }

    /// The pods that are asked for, newest first; the first `with_logs` with their logs.
    pub fn recall(&self, asked: &Recall, with_logs: usize) -> Vec<RecordedPod> {
        let found = self.pods.values().filter(|r| asked.holds(&r.pod, r.seen));
        let mut found: Vec<&Record> = found.collect();
        found.sort_by_key(|record| std::cmp::Reverse(record.seen));
        let found = found.into_iter().take(MAX_PODS).enumerate();
        found.map(|(n, record)| record.shown(asked.logs && n < with_logs)).collect()
    }

    /// True when it holds a pod.
    pub fn has(&self, uid: &str) -> bool {
        self.pods.contains_key(uid)
    }

    /// Numbers.
    pub fn counts(&self) -> Counts {
        Counts {
            pods: self.pods.len(),
            unsaved: self.unsaved.len(),
            unsaved_since: self.unsaved.first().map(|(since, _)| *since),
            unread: self.wanted.len() + self.reading,
            streams: self.streams.values().filter(|rests| rests.is_none()).count(),
            leads: self.leads,
            ..self.counts
        }
    }

    /// Takes a pod out with everything that is derived from it; [`Index::put`] derives it anew.
    fn take(&mut self, uid: &str) -> Option<Record> {
        let record = self.pods.remove(uid)?;
        self.counts.bytes -= record.size();
        self.order.remove(&place(&record));
        if let Some(since) = record.unsaved {
            self.unsaved.remove(&(since, uid.to_owned()));
        }
        for wanted in wanted(&record) {
            self.wanted.remove(&wanted);
        }
        for key in followable(&record, self.limits.follow) {
            self.followable.remove(&key);
        }
        Some(record)
    }

    fn put(&mut self, record: Record) {
        let uid = record.pod.uid.clone();
        self.counts.bytes += record.size();
        self.order.insert(place(&record));
        if let Some(since) = record.unsaved {
            self.unsaved.insert((since, uid.clone()));
        }
        self.wanted.extend(wanted(&record));
        self.followable.extend(followable(&record, self.limits.follow));
        self.pods.insert(uid, record);
        while self.pods.len() > self.limits.pods || self.counts.bytes > self.limits.bytes {
            let Some((_, _, uid)) = self.order.first().cloned() else { break };
            if let Some(record) = self.take(&uid) {
                self.counts.dropped += u64::from(self.leads && record.unsaved.is_some());
                self.streams.retain(|key, rests| key.uid != uid || rests.is_none());
            }
        }
    }
}

/// Something of it is to be stored.
fn changed(record: &mut Record, now: Timestamp) {
    record.version += 1;
    record.unsaved.get_or_insert(now);
}

#[cfg(test)]
mod tests;
