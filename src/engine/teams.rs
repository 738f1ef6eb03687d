//! Teams by namespace: the annotation `paramedic.io/team` of the namespace an alert comes from.
//!
//! The annotations of all namespaces are listed in the background and kept in memory. Finding the owner of an alert asks
//! nobody: a slow or dead API server neither delays nor loses a page, the matchers of the teams are all there is then, and
//! the incident says so.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{PoisonError, RwLock},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::Engine;
use crate::{
    clients::{
        self,
        kube::{self, ListQuery, Resource, one_line},
    },
    domain::alert::Labels,
    ops::lifecycle::Tasks,
};

/// The annotation.
pub const ANNOTATION: &str = "paramedic.io/team";
/// Between two looks at a cluster's namespaces.
const EVERY: Duration = Duration::from_secs(30);
/// How long the last good look counts.
const GOOD_FOR: SignedDuration = SignedDuration::from_mins(30);
/// Namespaces of one cluster, at most.
const MAX_NAMESPACES: usize = 5_000;

/// What is known of the namespaces of the clusters that are asked.
pub struct NamespaceTeams {
    known: RwLock<BTreeMap<String, Known>>,
}

#[derive(Clone, Default)]
struct Known {
    teams: BTreeMap<String, String>,
    /// The last good look.
    read_at: Option<Timestamp>,
    /// Why there is none.
    error: String,
}

/// What a namespace says of its team.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Nothing, or nobody asks.
    Nothing,
    /// This team.
    Team(String),
    /// It could not be read, with the reason.
    Unknown(String),
}

impl NamespaceTeams {
    /// For the clusters with these names.
    pub fn new(clusters: impl IntoIterator<Item = String>) -> Self {
        let known = clusters.into_iter().map(|name| (name, Known::default())).collect();
        Self { known: RwLock::new(known) }
    }

    fn clusters(&self) -> BTreeSet<String> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    fn of(&self, cluster: &str, namespace: &str, now: Timestamp) -> Said {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = known.get(cluster).filter(|_| !namespace.is_empty()) else {
            return Said::Nothing;
        };
        match known.read_at {
            Some(at) if now.duration_since(at) <= GOOD_FOR => {
                known.teams.get(namespace).map_or(Said::Nothing, |team| Said::Team(team.clone()))
            }
            None if known.error.is_empty() => Said::Unknown("they were not read yet".to_owned()),
            Some(_) | None => Said::Unknown(known.error.clone()),
        }
    }

    fn learn(
        &self,
        cluster: &str,
        read: clients::Result<BTreeMap<String, String>>,
        now: Timestamp,
    ) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = known.get_mut(cluster) else { return };
        match read {
            Ok(teams) => *known = Known { teams, read_at: Some(now), error: String::new() },
            Err(error) => {
                let error = one_line(&error.to_string(), 300);
                // Once, until it is another one.
                if error != known.error {
                    tracing::warn!(cluster, error, "the teams of namespaces could not be read");
                }
                known.error = error;
            }
        }
    }
}

impl Engine {
    /// Keeps the annotations current until the process drains. Every replica keeps its own.
    pub(super) fn keep_teams(&self, tasks: &Tasks) {
        if self.namespace_teams.clusters().is_empty() {
            return;
        }
        let (engine, stop) = (self.clone(), tasks.stop().draining.clone());
        tasks.spawn("engine.teams", async move {
            loop {
                engine.read_teams().await;
                tokio::select! {
                    () = engine.clock.sleep(EVERY) => {}
                    () = stop.cancelled() => return Ok(()),
                }
            }
        });
    }

    /// Reads the annotations of every cluster that is asked, all at once.
    pub async fn read_teams(&self) {
        let asked = self.namespace_teams.clusters();
        let reads = self.clusters.iter().filter(|cluster| asked.contains(&cluster.name)).map(
            async |cluster| {
                let Some(kube) = &cluster.kube else { return };
                let read = annotated(kube).await;
                self.namespace_teams.learn(&cluster.name, read, self.now());
            },
        );
        futures::future::join_all(reads).await;
    }

    /// What the namespace of an alert says.
    pub(super) fn namespace_team(&self, labels: &Labels) -> Said {
        let label = |name: &str| labels.get(name).map_or("", String::as_str);
        let Some(cluster) = self.clusters.for_label(label("cluster")) else { return Said::Nothing };
        self.namespace_teams.of(&cluster.name, label("namespace"), self.now())
    }

    /// What an incident must say of how its team was found; `None` when there is nothing to say.
    pub(super) fn team_caveat(&self, labels: &Labels) -> Option<String> {
        let oncall = self.oncall.get();
        if oncall.team_for(labels, None).is_some() {
            return None;
        }
        let namespace = labels.get("namespace").map_or("", String::as_str);
        match self.namespace_team(labels) {
            Said::Nothing => None,
            Said::Team(team) if oncall.team(&team).is_some() => None,
            Said::Team(team) => Some(format!(
                "namespace {namespace} is annotated with team `{team}`, which is in no on-call file; the default policy pages"
            )),
            Said::Unknown(why) => Some(format!(
                "the team of namespace {namespace} is not known, the default policy pages: {why}"
            )),
        }
    }
}

async fn annotated(kube: &kube::Client) -> clients::Result<BTreeMap<String, String>> {
    let asked = ListQuery { limit: MAX_NAMESPACES, ..ListQuery::default() };
    let listed = kube.list(Resource::NAMESPACES, &asked).await?;
    let team = |namespace: &Value| {
        let name = namespace["metadata"]["name"].as_str()?;
        let team = namespace["metadata"]["annotations"].get(ANNOTATION)?.as_str()?.trim();
        let team: String = team.chars().take(63).filter(|c| !c.is_control()).collect();
        (!team.is_empty()).then(|| (name.to_owned(), team))
    };
    Ok(listed.items.iter().filter_map(team).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::{Error, Kind};

    #[test]
    fn a_good_look_counts_for_half_an_hour_and_a_failed_one_keeps_it() {
        let teams = NamespaceTeams::new(["prod".to_owned()]);
        let at = |minutes: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes);
        let unknown = |why: &str| Said::Unknown(why.to_owned());
        assert_eq!(teams.of("prod", "a", at(0)), unknown("they were not read yet"));
        teams.learn("prod", Ok([("a".to_owned(), "data".to_owned())].into()), at(0));
        teams.learn("prod", Err(Error::new(Kind::Timeout, "list", "too slow")), at(1));
        assert_eq!(teams.of("prod", "a", at(30)), Said::Team("data".to_owned()));
        assert_eq!(teams.of("prod", "b", at(30)), Said::Nothing);
        assert_eq!(teams.of("prod", "a", at(31)), unknown("could not list: too slow"));
        assert_eq!(
            (teams.of("other", "a", at(0)), teams.of("prod", "", at(0))),
            (Said::Nothing, Said::Nothing)
        );
    }
}
