//! Storms: many incidents of one cause, told and paged once.
//!
//! A storm is an incident whose members are incidents. Above a configured rate of new incidents, one joins a storm only through
//! a value that both share and that the card names, and only under the same policy: who would have been paged for the member
//! is paged for the storm. P0 never joins. A member's own round ends ([`super::NoWake::InStorm`]); the storm's severity is its
//! highest member's, and it resolves when every member has. Members count through a job that looks at all of them anew, so a
//! lost or repeated look is harmless.

use std::{collections::BTreeMap, fmt, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{alert::Labels, ids::IncidentId, severity::Severity, verdict::Verdict};

/// The source of storms; it has no Alertmanager.
pub const SOURCE: &str = "storm";
/// Incidents that share a value, at least, before a storm begins.
pub const MIN_SHARED: usize = 3;
/// Members named on a storm's card.
pub const NAMED: usize = 8;

/// What members of a storm can share.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// A Kubernetes node: label `node` or `kubernetes_node`.
    Node,
    /// A Hive Metastore: label `metastore`.
    Metastore,
    /// An S3 bucket: label `bucket`.
    Bucket,
    /// An image registry: label `registry`.
    Registry,
    /// A Spark application: label `application_id`, `spark_app_id`, `app` or `application`.
    App,
    /// A namespace.
    Namespace,
}

impl Cause {
    /// As people and keys name it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Metastore => "metastore",
            Self::Bucket => "bucket",
            Self::Registry => "registry",
            Self::App => "app",
            Self::Namespace => "namespace",
        }
    }

    fn labels(self) -> &'static [&'static str] {
        match self {
            Self::Node => &["node", "kubernetes_node"],
            Self::Metastore => &["metastore"],
            Self::Bucket => &["bucket"],
            Self::Registry => &["registry"],
            Self::App => &["application_id", "spark_app_id", "app", "application"],
            Self::Namespace => &["namespace"],
        }
    }

    /// The value that alerts with these labels have for it.
    pub fn of(self, labels: &Labels) -> Option<&str> {
        let values = self.labels().iter().filter_map(|name| labels.get(*name));
        values.map(String::as_str).find(|value| !value.is_empty())
    }
}

/// When many incidents are a storm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// More new incidents than this …
    pub above: usize,
    /// … within this.
    pub per: Duration,
    /// What members may share; the first that fits counts.
    pub by: Vec<Cause>,
}

impl Default for Settings {
    fn default() -> Self {
        use Cause::{App, Bucket, Metastore, Namespace, Node, Registry};
        let by = vec![Node, Metastore, Bucket, Registry, App, Namespace];
        Self { above: 20, per: Duration::from_mins(1), by }
    }
}

/// A member's place in a storm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The storm's number.
    pub storm: IncidentId,
    /// What it shares: `node ip-10-0-3-7`.
    pub cause: String,
    /// It joined as it opened and another member speaks for the cause: no card and no diagnosis of its own.
    pub quiet: bool,
}

/// A storm's members, looked at anew.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Size {
    /// Incidents in it.
    pub members: u64,
    /// Of those, still open.
    pub open: u64,
    /// The highest severity of the open ones.
    pub severity: Option<Severity>,
    /// The newest few, each in a line.
    pub named: Vec<String>,
    /// What their diagnoses found, best first.
    pub verdicts: Vec<Verdict>,
}

/// A value that incidents share under one policy: what makes them one storm.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shared {
    /// Of which kind.
    pub cause: Cause,
    /// Value of the `cluster` label: equal names in two clusters are two things.
    pub cluster: String,
    /// The value.
    pub value: String,
    /// The policy that pages.
    pub policy: String,
}

impl Shared {
    /// The key of the storm's incident.
    pub fn key(&self) -> String {
        let Self { cause, cluster, value, policy } = self;
        super::correlate::escape([SOURCE, cluster, cause.word(), value, policy].into_iter())
    }
}

impl fmt::Display for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value: String = self.value.chars().take(120).collect();
        write!(f, "{} {value}", self.cause.word())
    }
}

/// An incident that could join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What the caller knows it by.
    pub index: usize,
    /// Labels its alerts have in common.
    pub labels: Labels,
    /// Value of the `cluster` label.
    pub cluster: String,
    /// Now.
    pub severity: Severity,
    /// The policy that pages for it.
    pub policy: String,
}

/// Incidents that share a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gathering {
    /// What they share.
    pub shared: Shared,
    /// Indexes of candidates that just opened.
    pub fresh: Vec<usize>,
    /// Indexes of candidates that were open before.
    pub earlier: Vec<usize>,
}

/// Finds what incidents of a burst share: the first kind of `by` that fits wins, an incident joins one storm at most.
/// `is_open` says whether a storm of this key is open already; without one it takes [`MIN_SHARED`] to begin.
pub fn gather(
    by: &[Cause],
    fresh: &[Candidate],
    earlier: &[Candidate],
    is_open: impl Fn(&Shared) -> bool,
) -> Vec<Gathering> {
    let mut found: Vec<Gathering> = Vec::new();
    let (mut free, mut before) = (waiting(fresh), waiting(earlier));
    for cause in by {
        let mut groups: BTreeMap<Shared, Gathering> = BTreeMap::new();
        for (candidates, is_fresh) in [(&free, true), (&before, false)] {
            for candidate in candidates {
                let Some(shared) = candidate.shares(*cause) else { continue };
                let group = groups.entry(shared.clone()).or_insert_with(|| Gathering {
                    shared,
                    fresh: vec![],
                    earlier: vec![],
                });
                let side = if is_fresh { &mut group.fresh } else { &mut group.earlier };
                side.push(candidate.index);
            }
        }
        for (shared, group) in groups {
            let enough = group.fresh.len() + group.earlier.len() >= MIN_SHARED;
            if !group.fresh.is_empty() && (enough || is_open(&shared)) {
                free.retain(|candidate| !group.fresh.contains(&candidate.index));
                before.retain(|candidate| !group.earlier.contains(&candidate.index));
                found.push(group);
            }
        }
    }
    found
}

fn waiting(candidates: &[Candidate]) -> Vec<&Candidate> {
    candidates.iter().filter(|candidate| candidate.severity < Severity::P0).collect()
}

impl Candidate {
    /// What it has of this kind.
    pub fn shares(&self, cause: Cause) -> Option<Shared> {
        let value = cause.of(&self.labels)?.to_owned();
        Some(Shared { cause, cluster: self.cluster.clone(), value, policy: self.policy.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(index: usize, labels: &[(&str, &str)]) -> Candidate {
        Candidate {
            index,
            labels: labels.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            cluster: "prod".to_owned(),
            severity: Severity::P1,
            policy: "p".to_owned(),
        }
    }

    fn said(found: &[Gathering]) -> Vec<String> {
        let one = |g: &Gathering| format!("{}: {:?} {:?}", g.shared, g.fresh, g.earlier);
        found.iter().map(one).collect()
    }

    const BY: [Cause; 2] = [Cause::Node, Cause::Namespace];

    #[test]
    fn incidents_join_only_through_a_value_they_share_and_the_narrowest_kind_wins() {
        let fresh = [
            candidate(0, &[("node", "n1"), ("namespace", "a")]),
            candidate(1, &[("node", "n1"), ("namespace", "b")]),
            candidate(2, &[("namespace", "a")]),
            candidate(3, &[("namespace", "a")]),
            candidate(4, &[("namespace", "")]),
            candidate(5, &[("pod", "x")]),
        ];
        let earlier =
            [candidate(0, &[("kubernetes_node", "n1")]), candidate(1, &[("namespace", "a")])];
        let found = gather(&BY, &fresh, &earlier, |_| false);
        assert_eq!(said(&found), ["node n1: [0, 1] [0]", "namespace a: [2, 3] [1]"]);
    }

    #[test]
    fn two_are_no_storm_but_one_joins_a_storm_that_is_there() {
        let fresh = [candidate(0, &[("node", "n1")]), candidate(1, &[("node", "n1")])];
        assert_eq!(gather(&BY, &fresh, &[], |_| false), []);
        let found = gather(&BY, &fresh[..1], &[], |shared| shared.value == "n1");
        assert_eq!(said(&found), ["node n1: [0] []"]);
    }

    #[test]
    fn earlier_incidents_alone_never_begin_one() {
        let earlier: Vec<Candidate> = (0..9).map(|i| candidate(i, &[("node", "n1")])).collect();
        assert_eq!(gather(&BY, &[], &earlier, |_| true), []);
    }

    #[test]
    fn the_same_name_elsewhere_under_another_policy_or_at_p0_is_not_the_same() {
        let mut fresh: Vec<Candidate> = (0..3).map(|i| candidate(i, &[("node", "n1")])).collect();
        assert_eq!(gather(&BY, &fresh, &[], |_| false).len(), 1);
        fresh[0].cluster = "other".to_owned();
        assert_eq!(gather(&BY, &fresh, &[], |_| false), []);
        fresh[0].cluster = "prod".to_owned();
        fresh[1].policy = "q".to_owned();
        assert_eq!(gather(&BY, &fresh, &[], |_| false), []);
        fresh[1].policy = "p".to_owned();
        fresh[2].severity = Severity::P0;
        assert_eq!(gather(&BY, &fresh, &[], |_| false), []);
    }

    #[test]
    fn keys_tell_hostile_values_apart() {
        let shared = |cluster: &str, value: &str| Shared {
            cause: Cause::Node,
            cluster: cluster.to_owned(),
            value: value.to_owned(),
            policy: "p".to_owned(),
        };
        assert_ne!(shared("a", "b/node/c").key(), shared("a/node/b", "c").key());
        assert!(shared("a", &"x".repeat(70_000)).key().len() < 1_000);
        assert!(shared("a", &"x".repeat(70_000)).to_string().len() < 200);
    }
}
