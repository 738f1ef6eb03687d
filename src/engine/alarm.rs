//! Paramedic's own alarms: incidents like any other, under the default policy, committed together with what they are about.

use jiff::Timestamp;

use super::{
    Engine,
    change::{Along, include},
};
use crate::{
    domain::{
        alert::{self, Labels, Rejected, Status},
        incident::{self, Command, Env, Opening, Who, correlate},
        redact,
        severity::Severity,
    },
    store::{self, Changes, Delivery, Progress},
};

/// Races lost in a row before giving up.
const MAX_RACES: usize = 20;
/// Alerts or mistakes named in an alarm's text.
const NAMED: usize = 5;

/// Characters of a mistake shown; the log and `paramedic check` have all.
const MAX_ERROR: usize = 300;

/// One alarm.
pub(super) struct Alarm {
    kind: &'static str,
    /// What tells it from others of its kind: one incident each.
    about: String,
    title: &'static str,
    text: String,
    severity: Severity,
    /// False: it is posted and shown, and wakes nobody.
    pages: bool,
}

impl Alarm {
    /// Alerts of a source that could not be read.
    pub(super) fn cannot_read(source: &str, rejected: &[Rejected]) -> Self {
        let lines: Vec<String> =
            rejected.iter().take(NAMED).map(|r| format!("{}: {}", r.path, r.reason)).collect();
        let count = rejected.len();
        Self {
            kind: "cannot-read",
            about: source.to_owned(),
            title: "Cannot read alert",
            text: format!(
                "{count} alerts of source {source} could not be read. {}",
                lines.join("; ")
            ),
            severity: Severity::P2,
            pages: true,
        }
    }

    /// A delivery that was set aside: whoever is paged gets its alerts in plain words.
    fn poisoned(delivery: &Delivery, reason: &str) -> Self {
        Self {
            kind: "poisoned",
            about: delivery.id.to_string(),
            title: "A webhook could not be applied",
            text: format!(
                "Delivery {} of source {} could not be applied and was set aside: {reason}. Its alerts are NOT shown as incidents; look at them in Alertmanager: {}",
                delivery.id,
                delivery.source,
                plain(delivery)
            ),
            severity: Severity::P1,
            pages: true,
        }
    }

    /// Files that were changed and are wrong, in the words of their check.
    pub(super) fn wrong_files(what: &'static str, errors: &str) -> Self {
        // A mistake begins at the margin; its source line and hint are for the terminal and the web page.
        let found = || errors.lines().filter(|line| !line.starts_with(' '));
        let more = found().count().saturating_sub(NAMED);
        let more = (more > 0).then(|| format!("and {more} more; paramedic check shows all"));
        let cut = |line: &str| redact::redact(line).chars().take(MAX_ERROR).collect();
        let errors: Vec<String> = found().take(NAMED).map(cut).chain(more).collect();
        let errors = errors.join("\n");
        Self {
            kind: "wrong-files",
            about: what.to_owned(),
            title: "An edit is not in force",
            text: format!(
                "The {what} were changed and are wrong; the last good ones stay in force. Correct the files:\n{errors}"
            ),
            severity: Severity::P3,
            // Whoever edits is awake and reads the channel; a page would punish them for trying at night.
            pages: false,
        }
    }

    /// A page that no worker takes.
    pub(super) fn overdue_page(overdue: &str) -> Self {
        Self {
            kind: "overdue",
            about: "page".to_owned(),
            title: "A page is not delivered",
            text: format!(
                "{overdue}. Look at the incident and call the person yourself; the log says what the daemon does instead."
            ),
            severity: Severity::P1,
            pages: true,
        }
    }

    /// The store holds what it may, and nothing can be deleted.
    pub(super) fn store_is_full(full: &str) -> Self {
        Self {
            kind: "store",
            about: "size".to_owned(),
            title: "The store is full",
            text: format!(
                "{full}, and no evidence of what is over is left to delete. Webhooks are refused until there is room: raise `store.max_size`, or shorten `retention.incidents`."
            ),
            severity: Severity::P1,
            pages: true,
        }
    }

    /// Incidents whose wake-up was lost.
    pub(super) fn lost_wake_ups(ids: &str) -> Self {
        Self {
            kind: "invariant",
            about: "wake-up".to_owned(),
            title: "A wake-up was lost",
            text: format!(
                "{ids} had no wake-up planned; it was planned again. This is a bug in Paramedic: please report it."
            ),
            severity: Severity::P1,
            pages: true,
        }
    }
}

fn itself() -> Who {
    Who { id: String::new(), name: "Paramedic".to_owned(), via: "itself".to_owned() }
}

/// A delivery's alerts in a line.
fn plain(delivery: &Delivery) -> String {
    let Ok(payload) = alert::parse(&delivery.body, delivery.received_at) else {
        return "they cannot be read".to_owned();
    };
    let word = |status| match status {
        Status::Firing => "firing",
        Status::Resolved => "resolved",
    };
    let named = payload.alerts.iter().flatten().take(NAMED);
    let mut named: Vec<String> = named
        .map(|alert| {
            let title = correlate::title(alert);
            format!("{} ({})", redact::redact(&title), word(alert.status))
        })
        .collect();
    let more = payload.alerts.len().saturating_sub(named.len());
    if more > 0 {
        named.push(format!("{more} more"));
    }
    named.join(", ")
}

impl Alarm {
    fn key(&self) -> String {
        format!("self/{}/{}", self.kind, self.about)
    }
}

impl Engine {
    /// Resolves the alarm's incident, if it is open.
    pub(super) async fn put_right(&self, alarm: &Alarm) -> anyhow::Result<()> {
        let open = self.store.incident_by_key(&alarm.key()).await?;
        if let Some(stored) = open.filter(|s| s.incident.is_open()) {
            let resolve = Command::Resolve { by: itself(), anyway: true };
            self.change(stored.incident.id, vec![resolve], Along::default()).await?;
        }
        Ok(())
    }

    /// True while the alarm's incident is open.
    pub(super) async fn is_raised(&self, alarm: &Alarm) -> anyhow::Result<bool> {
        let open = self.store.incident_by_key(&alarm.key()).await?;
        Ok(open.is_some_and(|stored| stored.incident.is_open()))
    }

    /// Raises an alarm in a transaction of its own.
    pub(super) async fn self_alarm(&self, alarm: &Alarm) -> anyhow::Result<()> {
        self.commit_with(alarm, &Changes::default()).await
    }

    /// Sets a delivery aside and says so, in one transaction.
    pub(super) async fn set_aside(&self, delivery: &Delivery, reason: &str) -> anyhow::Result<()> {
        let progress = Progress::Poisoned(delivery.id);
        let changes = Changes { deliveries: vec![progress], ..Changes::default() };
        self.commit_with(&Alarm::poisoned(delivery, reason), &changes).await
    }

    async fn commit_with(&self, alarm: &Alarm, changes: &Changes) -> anyhow::Result<()> {
        for _ in 0..MAX_RACES {
            let (mut changes, now) = (changes.clone(), self.now());
            self.raise(&mut changes, alarm, now).await?;
            match self.store.commit(changes, now).await {
                Ok(()) => return Ok(()),
                Err(store::Error::Conflict) => {}
                Err(other) => return Err(other.into()),
            }
        }
        anyhow::bail!("lost the race for an alarm too often")
    }

    /// Adds an alarm to a transaction: a new incident, or a note on the one that is open.
    pub(super) async fn raise(
        &self,
        changes: &mut Changes,
        alarm: &Alarm,
        now: Timestamp,
    ) -> anyhow::Result<()> {
        let Alarm { kind, about, title, text, severity, pages } = alarm;
        tracing::error!(kind, about, text, "self-alarm");
        let (by, key) = (itself(), alarm.key());
        let open = self.store.incident_by_key(&key).await?.filter(|s| s.incident.is_open());
        if let Some(stored) = open {
            let note = Command::Note { by, text: text.clone() };
            let decision = self.decide(&stored.incident, vec![note], now)?;
            include(changes, Some(&stored.incident), &decision, Some(stored.version), now);
            return Ok(());
        }
        let opening = Opening {
            source: correlate::DECLARED.to_owned(),
            key,
            title: format!("Paramedic: {title}"),
            cluster: String::new(),
            labels: Labels::from([("alertname".to_owned(), format!("Paramedic{kind}"))]),
            annotations: Labels::from([("summary".to_owned(), text.clone())]),
            generator_url: String::new(),
            external_url: String::new(),
            since: now,
        };
        let routing = self.routing(&Labels::new());
        let first = match pages {
            true => Command::Declare { by, routing },
            false => Command::Announce { routing },
        };
        let oncall = self.oncall.get();
        let env = Env { now, oncall: &oncall, settings: &self.options.incidents };
        let id = self.store.next_incident().await?;
        let opened = incident::open(id, opening, *severity, first, &env)?;
        include(changes, None, &opened, None, now);
        Ok(())
    }
}
