//! What Alertmanager knows: alerts with what suppresses them, and silences.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::{Client, TIMEOUT};
use crate::{
    clients::{
        Error, Kind, Result,
        http::{Request, Trust},
    },
    domain::matcher::Matcher,
};

/// Most bytes read of an answer.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// The same for all alerts: 100 000 of them.
const MAX_ALL_BYTES: usize = 128 * 1024 * 1024;
/// Longest wait for all alerts.
const ALL_TIMEOUT: Duration = Duration::from_secs(15);

/// An alert as Alertmanager sees it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alert {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Text for people.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Where its expression can be seen.
    #[serde(default, rename = "generatorURL")]
    pub generator_url: String,
    /// Its fingerprint.
    #[serde(default)]
    pub fingerprint: String,
    /// Since when it fires.
    pub starts_at: Timestamp,
    /// When it ends unless it is sent again.
    #[serde(default)]
    pub ends_at: Option<Timestamp>,
    /// What happens with it.
    pub status: AlertStatus,
    /// Where it goes.
    #[serde(default)]
    pub receivers: Vec<Receiver>,
}

/// What happens with an alert.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertStatus {
    /// `active`, `suppressed` or `unprocessed`.
    pub state: String,
    /// Ids of silences.
    #[serde(default)]
    pub silenced_by: Vec<String>,
    /// Fingerprints of alerts.
    #[serde(default)]
    pub inhibited_by: Vec<String>,
    /// Names of the time intervals that mute it. `None`: this Alertmanager does not say (before 0.28).
    #[serde(default)]
    pub muted_by: Option<Vec<String>>,
}

/// All that an instance knows now.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When it started.
    pub started_at: Timestamp,
    /// Its routes mute alerts at certain times.
    pub has_mute_times: bool,
    /// Its alerts, suppressed ones too.
    pub alerts: Vec<Alert>,
    /// Alerts that could not be read.
    pub unreadable: usize,
}

#[derive(Deserialize)]
struct Status {
    uptime: Timestamp,
    #[serde(default)]
    config: StatusConfig,
}

#[derive(Default, Deserialize)]
struct StatusConfig {
    #[serde(default)]
    original: String,
}

/// A receiver.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Receiver {
    /// Its name.
    pub name: String,
}

/// A silence as Alertmanager has it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KnownSilence {
    /// Its id.
    pub id: String,
    /// `active`, `pending` or `expired`.
    pub status: SilenceStatus,
    /// What it silences.
    pub matchers: Vec<SilenceMatcher>,
    /// From.
    pub starts_at: Timestamp,
    /// Until.
    pub ends_at: Timestamp,
    /// Who made it.
    #[serde(default)]
    pub created_by: String,
    /// Why.
    #[serde(default)]
    pub comment: String,
}

/// A silence's state.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct SilenceStatus {
    /// `active`, `pending` or `expired`.
    pub state: String,
}

/// One matcher of a silence.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SilenceMatcher {
    /// The label.
    pub name: String,
    /// The value, or an anchored regular expression.
    pub value: String,
    /// The value is a regular expression.
    #[serde(default)]
    pub is_regex: bool,
    /// False turns it around. Alertmanagers before 0.22 do not say it.
    #[serde(default = "yes")]
    pub is_equal: bool,
}

fn yes() -> bool {
    true
}

impl SilenceMatcher {
    /// As Alertmanager writes it: `pod=~"etl-.*"`.
    pub fn shown(&self) -> String {
        let sign = match (self.is_equal, self.is_regex) {
            (true, false) => "=",
            (false, false) => "!=",
            (true, true) => "=~",
            (false, true) => "!~",
        };
        format!("{}{sign}{}", self.name, quoted(&self.value))
    }
}

impl KnownSilence {
    /// True when it silences an alert with these labels. A matcher that cannot be read silences nothing.
    pub fn covers(&self, labels: &BTreeMap<String, String>) -> bool {
        let fits = |matcher: &SilenceMatcher| {
            Matcher::parse(&matcher.shown()).is_ok_and(|matcher| matcher.matches(labels))
        };
        !self.matchers.is_empty() && self.matchers.iter().all(fits)
    }
}

impl Client {
    /// Alerts that have all of these labels, suppressed ones too.
    pub async fn alerts(&self, labels: &BTreeMap<String, String>) -> Result<Vec<Alert>> {
        let filters = labels.iter().map(|(name, value)| format!("{name}={}", quoted(value)));
        self.get("alerts", filters, "list the alerts of Alertmanager").await
    }

    /// Since when it runs, and all its alerts. One alert that cannot be read does not hide the others.
    pub async fn snapshot(&self) -> Result<Snapshot> {
        let status: Status =
            self.get("status", [].into_iter(), "ask Alertmanager for its status").await?;
        let operation = "list all alerts of Alertmanager";
        let request = Request::get(self.at("alerts"), operation)
            .timeout(ALL_TIMEOUT)
            .max_bytes(MAX_ALL_BYTES)
            .trust(Trust::Configured);
        let answer = self.http.send(request).await?.error_for_status(operation)?;
        let listed: Vec<Box<RawValue>> = answer.json(operation)?;
        let all = listed.len();
        let alerts: Vec<Alert> =
            listed.iter().filter_map(|raw| serde_json::from_str(raw.get()).ok()).collect();
        let mutes = ["mute_time_intervals", "active_time_intervals"];
        Ok(Snapshot {
            started_at: status.uptime,
            has_mute_times: mutes.iter().any(|word| status.config.original.contains(word)),
            unreadable: all - alerts.len(),
            alerts,
        })
    }

    /// All silences, expired ones too.
    pub async fn silences(&self) -> Result<Vec<KnownSilence>> {
        self.get("silences", [].into_iter(), "list the silences of Alertmanager").await
    }

    async fn get<T: DeserializeOwned>(
        &self,
        what: &str,
        filters: impl Iterator<Item = String>,
        operation: &str,
    ) -> Result<T> {
        let mut url = self.at(what);
        for filter in filters {
            url.query_pairs_mut().append_pair("filter", &filter);
        }
        let request = Request::get(url, operation)
            .timeout(TIMEOUT)
            .max_bytes(MAX_BYTES)
            .trust(Trust::Configured);
        let answer = self.http.send(request).await?;
        if answer.status == 400 {
            // A JSON string: its words, without the quotes.
            let said: String = answer.json(operation).unwrap_or_default();
            let said = crate::clients::one_line(&said, 300);
            return Err(Error::new(Kind::Refused, operation, format!("HTTP 400: {said}")));
        }
        answer.error_for_status(operation)?.json(operation)
    }
}

/// A value in quotes, as Alertmanager's matchers have them.
fn quoted(value: &str) -> String {
    let mut out = String::from("\"");
    for c in value.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher(name: &str, value: &str, is_regex: bool, is_equal: bool) -> SilenceMatcher {
        SilenceMatcher { name: name.to_owned(), value: value.to_owned(), is_regex, is_equal }
    }

    fn silence(matchers: Vec<SilenceMatcher>) -> KnownSilence {
        KnownSilence {
            id: "s1".to_owned(),
            status: SilenceStatus { state: "active".to_owned() },
            matchers,
            starts_at: Timestamp::UNIX_EPOCH,
            ends_at: Timestamp::MAX,
            created_by: String::new(),
            comment: String::new(),
        }
    }

    #[test]
    fn a_silence_covers_what_alertmanager_would_silence() {
        let labels = [("pod", "etl-1"), ("odd", "a\"b\\c\nd")];
        let labels = labels.map(|(n, v)| (n.to_owned(), v.to_owned())).into();
        for (matchers, covers) in [
            (vec![matcher("pod", "etl-1", false, true)], true),
            (vec![matcher("pod", "etl-.*", true, true)], true),
            (vec![matcher("pod", "etl", true, true)], false),
            (vec![matcher("pod", "etl-1", false, false)], false),
            (vec![matcher("pod", "web.*", true, false), matcher("x", "", false, true)], true),
            (vec![matcher("odd", "a\"b\\c\nd", false, true)], true),
            (vec![matcher("pod", "(", true, true)], false),
            (vec![], false),
        ] {
            assert_eq!(silence(matchers.clone()).covers(&labels), covers, "{matchers:?}");
        }
    }
}
