//! What Prometheus knows of itself: alerts, rules, targets, and values over a span of time.
//!
//! These answers grow with the whole installation, so they are read into just the fields that are used, and bounded.

use std::collections::BTreeMap;

use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    super::{
        Error, Kind, Result,
        http::{Request, Response},
    },
    Answer, Client, TIMEOUT, answer,
};

/// Most bytes read of a list: a big installation's targets, with the labels they were found with.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// A span of time, and how finely to look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// From.
    pub start: Timestamp,
    /// Until.
    pub end: Timestamp,
    /// Seconds between two points, at least 1.
    pub step: u64,
}

/// An alert that is pending or firing.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActiveAlert {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations, filled.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// `firing` or `pending`.
    pub state: String,
    /// Since when its expression holds.
    #[serde(default)]
    pub active_at: Option<Timestamp>,
    /// The expression's value.
    #[serde(default)]
    pub value: String,
}

/// An alerting rule with its group.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The group's name.
    pub group: String,
    /// Seconds between two evaluations.
    pub interval: f64,
    /// The rule.
    pub rule: RuleBody,
}

/// An alerting rule.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleBody {
    /// The alert's name.
    pub name: String,
    /// The expression.
    pub query: String,
    /// How long it must hold, seconds: `for`.
    #[serde(default)]
    pub duration: f64,
    /// Labels the rule adds.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// `ok`, `err` or `unknown`.
    #[serde(default)]
    pub health: String,
    /// The last evaluation's error.
    #[serde(default)]
    pub last_error: String,
    /// How long the last evaluation took, seconds.
    #[serde(default)]
    pub evaluation_time: f64,
    /// When it was evaluated last.
    #[serde(default)]
    pub last_evaluation: Option<Timestamp>,
    /// Its alerts.
    #[serde(default)]
    pub alerts: Vec<ActiveAlert>,
}

/// Something that is scraped.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScrapeTarget {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Where it is scraped.
    #[serde(default)]
    pub scrape_url: String,
    /// `up`, `down` or `unknown`.
    pub health: String,
    /// The last scrape's error.
    #[serde(default)]
    pub last_error: String,
    /// When it was scraped last.
    #[serde(default)]
    pub last_scrape: Option<Timestamp>,
}

impl Client {
    /// Evaluates `query` over a span of time.
    pub async fn query_range(&self, query: &str, range: Range) -> Result<Answer> {
        let operation = "query Prometheus over a span of time";
        let seconds = |at: Timestamp| {
            let milliseconds = at.as_millisecond();
            format!("{}.{:03}", milliseconds.div_euclid(1000), milliseconds.rem_euclid(1000))
        };
        let body = format!(
            "query={}&start={}&end={}&step={}&timeout={}s",
            utf8_percent_encode(query, NON_ALPHANUMERIC),
            seconds(range.start),
            seconds(range.end),
            range.step.max(1),
            TIMEOUT.as_secs()
        );
        let form = "application/x-www-form-urlencoded";
        let url = self.url("api/v1/query_range", operation)?;
        let request = Request::post(url, operation, body, form).timeout(TIMEOUT);
        answer(&self.http.send(request).await?, operation)
    }

    /// Alerts that are pending or firing.
    pub async fn alerts(&self) -> Result<Vec<ActiveAlert>> {
        #[derive(Deserialize)]
        struct Alerts {
            alerts: Vec<ActiveAlert>,
        }
        let listed: Alerts = self.listed("api/v1/alerts", "list the alerts of Prometheus").await?;
        Ok(listed.alerts)
    }

    /// Alerting rules of this name, in all groups.
    pub async fn rules_named(&self, name: &str) -> Result<Vec<Rule>> {
        #[derive(Deserialize)]
        struct Groups {
            groups: Vec<Group>,
        }
        #[derive(Deserialize)]
        struct Group {
            name: String,
            #[serde(default)]
            interval: f64,
            rules: Vec<RuleBody>,
        }
        let operation = "list the rules of Prometheus";
        let listed: Groups = self.listed("api/v1/rules?type=alert", operation).await?;
        let mut found = vec![];
        for Group { name: group, interval, rules } in listed.groups {
            for rule in rules.into_iter().filter(|rule| rule.name == name) {
                found.push(Rule { group: group.clone(), interval, rule });
            }
        }
        Ok(found)
    }

    /// Everything that is scraped.
    pub async fn targets(&self) -> Result<Vec<ScrapeTarget>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Targets {
            active_targets: Vec<ScrapeTarget>,
        }
        let operation = "list the targets of Prometheus";
        let listed: Targets = self.listed("api/v1/targets?state=active", operation).await?;
        Ok(listed.active_targets)
    }

    async fn listed<T: DeserializeOwned>(&self, path: &str, operation: &str) -> Result<T> {
        let url = self.url(path, operation)?;
        let request = Request::get(url, operation).timeout(TIMEOUT).max_bytes(MAX_BYTES);
        list(&self.http.send(request).await?, operation)
    }
}

/// The data of a list, or Prometheus' own words.
fn list<T: DeserializeOwned>(response: &Response, operation: &str) -> Result<T> {
    #[derive(Deserialize)]
    struct Envelope<T> {
        status: String,
        #[serde(default = "Option::default")]
        data: Option<T>,
        #[serde(default)]
        error: String,
    }
    let envelope: Envelope<T> = match response.json(operation) {
        Ok(envelope) => envelope,
        Err(unreadable) => {
            response.clone().error_for_status(operation)?;
            return Err(unreadable);
        }
    };
    match envelope {
        Envelope { status, data: Some(data), .. } if status == "success" => Ok(data),
        Envelope { error, .. } => Err(Error::new(Kind::Refused, operation, error)),
    }
}
