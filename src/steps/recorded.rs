//! Pods as the recorder remembers them, and how a step asks for them.

use jiff::Timestamp;

use crate::clients::kube::{Event, Pod};

/// Which pods to remember. Empty fields ask for nothing special.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recall {
    /// The cluster's name in the configuration.
    pub cluster: String,
    /// Namespace; empty for all.
    pub namespace: String,
    /// Pod name.
    pub name: String,
    /// `spark.app.id`.
    pub app_id: String,
    /// Labels that must have these values.
    pub labels: Vec<(String, String)>,
    /// Only pods that changed since then.
    pub since: Option<Timestamp>,
    /// With their logs.
    pub logs: bool,
}

/// What the recorder knows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recorded {
    /// Newest first; at most [`MAX_PODS`].
    pub pods: Vec<RecordedPod>,
    /// Why it may know less than there was, in words for the card.
    pub trouble: Option<String>,
}

/// Most pods of one answer.
pub const MAX_PODS: usize = 500;

/// One pod as it was last seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordedPod {
    /// Its last status; `gone` is set when it exists no more.
    pub pod: Pod,
    /// When it last changed.
    pub seen: Timestamp,
    /// What was said about it, oldest first.
    pub events: Vec<Event>,
    /// Its logs, when they were asked for.
    pub logs: Vec<RecordedLog>,
}

/// The end of one container's log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordedLog {
    /// Container.
    pub container: String,
    /// Which run of it: restarts before it.
    pub restarts: i32,
    /// When it was read; `None` when it never was.
    pub read_at: Option<Timestamp>,
    /// The last lines, masked.
    pub text: String,
    /// True when older lines were left out.
    pub cut: bool,
    /// Why it was not read.
    pub lost: String,
}

impl RecordedLog {
    /// It has text, and that was read later than the other's.
    pub fn is_newer_than(&self, other: &Self) -> bool {
        !self.text.is_empty() && self.read_at > other.read_at
    }
}

impl Recall {
    /// Adds the conditions of a selector written `k=v,k2=v2`.
    #[must_use]
    pub fn with_labels(mut self, selector: &str) -> Self {
        let pairs = selector.split(',').filter_map(|part| part.split_once('='));
        self.labels.extend(pairs.map(|(k, v)| (k.to_owned(), v.to_owned())));
        self
    }

    /// True when it asks for this pod.
    pub fn holds(&self, pod: &Pod, seen: Timestamp) -> bool {
        let same = |asked: &str, have: &str| asked.is_empty() || asked == have;
        same(&self.namespace, &pod.namespace)
            && same(&self.name, &pod.name)
            && same(&self.app_id, &pod.app_id)
            && self.since.is_none_or(|since| seen >= since)
            && self.labels.iter().all(|(k, v)| pod.labels.get(k) == Some(v))
    }
}

impl RecordedPod {
    /// True when it exists no more.
    pub fn is_gone(&self) -> bool {
        !self.pod.gone.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_condition_must_hold() {
        let mut pod = Pod { name: "a".to_owned(), namespace: "n".to_owned(), ..Pod::default() };
        pod.labels.insert("spark-role".to_owned(), "driver".to_owned());
        let at = Timestamp::UNIX_EPOCH;
        let asked = Recall { namespace: "n".to_owned(), ..Recall::default() };
        assert!(Recall::default().holds(&pod, at) && asked.holds(&pod, at));
        assert!(asked.clone().with_labels("spark-role=driver").holds(&pod, at));
        assert!(!asked.clone().with_labels("spark-role=driver,x=y").holds(&pod, at));
        assert!(!Recall { name: "b".to_owned(), ..asked.clone() }.holds(&pod, at));
        assert!(!Recall { since: Some(Timestamp::MAX), ..asked }.holds(&pod, at));
    }
}
