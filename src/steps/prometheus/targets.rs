//! `prometheus.targets`: what the cluster's Prometheus cannot scrape. An alert about an absent metric is often no more.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    clients::{http::Url, one_line, prometheus::lists::ScrapeTarget},
    domain::evidence::{Origin, Passage},
    steps::{
        Context, Effect, Failure, Need, Outcome, Step,
        labels::{Labels, holds},
    },
};

/// Lists scrape targets of the cluster's Prometheus that are not up, with the last error, and counts the others.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Targets {
    /// Only targets with these labels: `{ job: spark, namespace: "{{labels.namespace}}" }`.
    pub labels: Labels,
    /// List the targets that are up too.
    pub all: bool,
}

/// What was found.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Found {
    /// Targets that are down first; at most 100.
    pub targets: Vec<Shown>,
    /// How many there are.
    pub total: usize,
    /// How many are up.
    pub up: usize,
    /// How many are down.
    pub down: usize,
    /// How many have not been scraped yet.
    pub unknown: usize,
}

/// A target.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Shown {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Where it is scraped, without user, password and query.
    pub url: String,
    /// `up`, `down` or `unknown`.
    pub health: String,
    /// The last scrape's error; empty without one.
    pub last_error: String,
    /// Seconds since it was scraped; null when it never was.
    pub scraped_seconds_ago: Option<i64>,
}

/// Most targets kept, and most of them that become passages.
const MAX: usize = 100;
const MAX_PASSAGES: usize = 50;

impl Step for Targets {
    const KIND: &'static str = "prometheus.targets";
    const EFFECT: Effect = Effect::Read;
    const NEEDS: &'static [Need] = &[];
    const EXAMPLE: &'static str = "labels: { job: spark }\nall: false";
    type Output = Found;

    async fn run(&self, context: &Context<'_>) -> Result<Outcome<Found>, Failure> {
        let client = super::client(context)?;
        let wanted = self.labels.fill(context.scope)?;
        let mut targets = client.targets().await?;
        targets.retain(|target| holds(&wanted, &target.labels));
        Ok(outcome(targets, self.all, context.clock.now()))
    }
}

fn outcome(mut targets: Vec<ScrapeTarget>, all: bool, now: Timestamp) -> Outcome<Found> {
    let count = |health: &str| targets.iter().filter(|target| target.health == health).count();
    let (total, up, down) = (targets.len(), count("up"), count("down"));
    let unknown = total - up - down;
    targets.retain(|target| all || target.health != "up");
    targets.sort_by_cached_key(|target| match target.health.as_str() {
        "down" => 0,
        "up" => 2,
        _ => 1,
    });
    let cut = targets.len() > MAX_PASSAGES;
    let shown: Vec<Shown> = targets.into_iter().take(MAX).map(|t| shown(t, now)).collect();
    let summary = match (total, shown.first()) {
        (0, _) => "no target has these labels".to_owned(),
        (_, Some(first)) if down > 0 => {
            format!("{down} of {total} targets down; first: {}", line(first))
        }
        _ => format!("{up} of {total} targets up"),
    };
    let mut lines: Vec<String> = shown.iter().take(MAX_PASSAGES).map(line).collect();
    lines.push(format!("targets: {up} up, {down} down, {unknown} unknown"));
    let passage = |line| Passage { cut, ..Passage::new(Origin::Metric, "Prometheus", line) };
    let passages = lines.into_iter().map(passage).collect();
    let value = Found { targets: shown, total, up, down, unknown };
    Outcome { value, passages, summary }
}

fn shown(target: ScrapeTarget, now: Timestamp) -> Shown {
    let ScrapeTarget { labels, scrape_url, health, last_error, last_scrape } = target;
    let last = last_scrape.filter(|last| *last > Timestamp::UNIX_EPOCH);
    Shown {
        labels,
        url: plain(&scrape_url),
        health,
        last_error: one_line(&without_query(&last_error), 500),
        scraped_seconds_ago: last.map(|last| now.duration_since(last).as_secs().max(0)),
    }
}

/// The address without what may be a secret.
fn plain(url: &str) -> String {
    let Ok(mut url) = url.parse::<Url>() else { return String::new() };
    url.set_query(None);
    url.set_fragment(None);
    // Only an address without a host refuses this, and it has no user either.
    if url.set_username("").is_err() || url.set_password(None).is_err() {
        return String::new();
    }
    one_line(url.as_str(), 300)
}

/// The error repeats the address, with the parameters of the scrape: `Get "http://h/metrics?token=x": EOF`.
fn without_query(error: &str) -> String {
    let Some((before, rest)) = error.split_once('?') else { return error.to_owned() };
    match rest.split_once('"') {
        Some((_, after)) if before.contains("://") => format!("{before}\"{after}"),
        _ => error.to_owned(),
    }
}

/// The canonical line of a target, which signatures match.
fn line(target: &Shown) -> String {
    let label = |name: &str| one_line(target.labels.get(name).map_or("", String::as_str), 200);
    let Shown { health, last_error, .. } = target;
    let head = format!("target {} {}: {health}", label("job"), label("instance"));
    if last_error.is_empty() { head } else { format!("{head}: {last_error}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(instance: &str, health: &str, error: &str) -> ScrapeTarget {
        ScrapeTarget {
            labels: [("job", "spark"), ("instance", instance)]
                .map(|(n, v)| (n.to_owned(), v.to_owned()))
                .into(),
            scrape_url: format!("http://user:pw@{instance}/metrics?token=x#y"),
            health: health.to_owned(),
            last_error: error.to_owned(),
            last_scrape: Some("2026-11-23T03:11:30Z".parse().unwrap()),
        }
    }

    #[test]
    fn targets_that_are_down_come_first_with_their_error_and_no_secret() {
        let error = r#"Get "http://a:1/metrics?token=x": connection refused"#;
        let targets = vec![
            target("b:1", "up", ""),
            target("c:1", "unknown", ""),
            target("a:1", "down", error),
        ];
        let outcome = outcome(targets, false, "2026-11-23T03:12:00Z".parse().unwrap());
        let lines: Vec<_> = outcome.passages.iter().map(|p| p.text.as_str()).collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        target spark a:1: down: Get "http://a:1/metrics": connection refused
        target spark c:1: unknown
        targets: 1 up, 1 down, 1 unknown
        "#);
        let first = &outcome.value.targets[0];
        assert_eq!(
            (first.url.as_str(), first.scraped_seconds_ago),
            ("http://a:1/metrics", Some(30))
        );
    }
}
