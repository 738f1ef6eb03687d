//! What is derived from one record: when it is forgotten, which of its logs are to be read, which could be followed.

use jiff::Timestamp;

use super::{
    log::Key,
    record::{Record, State},
};
use crate::{clients::kube::ContainerState, config::Follow};

/// What goes first: what the store has already and is over; last of all what is stored nowhere.
pub(super) fn place(record: &Record) -> (u8, Timestamp, String) {
    let class = match (record.unsaved, record.gone, record.pod.has_failed()) {
        (Some(_), _, _) => 3,
        (None, Some(_), _) => 0,
        (None, None, false) => 1,
        (None, None, true) => 2,
    };
    (class, record.seen, record.pod.uid.clone())
}

pub(super) fn wanted(record: &Record) -> Vec<(u8, Timestamp, Key)> {
    let calm = u8::from(record.pod.deleted.is_empty());
    let waiting = record.logs.iter().filter_map(|((container, restarts), entry)| {
        let State::Wanted { after, .. } = entry.state else { return None };
        let (uid, container) = (record.pod.uid.clone(), container.clone());
        Some((calm, after, Key { uid, container, restarts: *restarts }))
    });
    waiting.collect()
}

pub(super) fn followable(record: &Record, follow: Follow) -> Vec<Key> {
    let pod = &record.pod;
    let meant = match follow {
        Follow::None => false,
        Follow::Drivers => pod.role == "driver",
        Follow::Failing => pod.has_failed(),
        Follow::All => true,
    };
    if !meant || record.gone.is_some() {
        return vec![];
    }
    let running = pod.containers.iter().filter(|c| c.state == ContainerState::Running);
    let key =
        |name: &String, restarts| Key { uid: pod.uid.clone(), container: name.clone(), restarts };
    running.map(|c| key(&c.name, c.restarts)).collect()
}
