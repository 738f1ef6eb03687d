//! How an incident reads: one line per event, and the card. All wording about incidents is here.

use jiff::{SignedDuration, Timestamp, Unit, tz::TimeZone};

use super::{Event, Incident, NoWake, Resolution, Wake};
use crate::domain::card::{Action, Card, Link, Verb};

/// Labels shown on a card, in this order, before any others.
const LABEL_ORDER: [&str; 8] =
    ["cluster", "namespace", "application_id", "app", "pod", "node", "team", "severity"];
/// Most labels shown.
const MAX_LABELS: usize = 12;

/// An event as a history line; `None` for what people need not see there.
pub fn line(event: &Event) -> Option<String> {
    Some(match event {
        Event::Opened { title, severity, .. } => format!("opened: {title} ({severity})"),
        Event::Fired { new, again, firing, .. } => match (new, again) {
            (n, 0) => format!("{} fired, {firing} firing now", alerts(*n)),
            (0, n) => format!("{} fired again, {firing} firing now", alerts(*n)),
            (n, m) => format!("{} fired, {m} again, {firing} firing now", alerts(n + m)),
        },
        Event::Ended { ended, firing } => {
            format!("{} resolved, {firing} firing now", alerts(*ended))
        }
        Event::NoPlaybook => "no playbook matched: nothing was diagnosed".to_owned(),
        Event::SeverityChanged { from, to, reason } => format!("severity {from} → {to}: {reason}"),
        Event::RoundStarted { number, reason, .. } => format!("round {number} began: {reason}"),
        Event::Held { until, digest: false, .. } => {
            format!("the policy holds the page until {}", clock(*until))
        }
        Event::Held { until, digest: true, .. } => {
            format!("no page: it waits for the digest at {}", clock(*until))
        }
        Event::NobodyToPage { target, .. } => {
            format!("nobody to page at {target}: going on at once")
        }
        Event::PageDelivered { page, remark } => {
            let remark = if remark.is_empty() { String::new() } else { format!(" ({remark})") };
            format!("paged {} by {}: delivered{remark}", page.name, page.transport)
        }
        Event::PageFailed { page, reason, last_hope } => {
            let then = if *last_hope { "; paging the next step now" } else { "" };
            format!("COULD NOT page {} by {}: {reason}{then}", page.name, page.transport)
        }
        Event::PageDropped { page, reason } => {
            format!("page to {} by {} not sent: {reason}", page.name, page.transport)
        }
        Event::PostFailed { channel, reason } => format!("could not post to {channel}: {reason}"),
        Event::OwnerAsked { channel } => {
            format!("a user error: posted to its owner's channel {channel} instead of a page")
        }
        Event::OwnerTookIt { channel } => format!("{channel} took the user error: nobody is paged"),
        Event::RunStarted { playbook, target } => {
            let of = if target.is_empty() { String::new() } else { format!(" on {target}") };
            format!("playbook {playbook} started{of}")
        }
        Event::RunEnded(end) => match end.verdicts.first() {
            Some(best) => format!(
                "playbook {}: {} ({:.0} %)",
                end.playbook,
                best.title,
                best.confidence * 100.0
            ),
            None => format!("playbook {}: no known cause found", end.playbook),
        },
        Event::Acknowledged { by, expires_at, .. } => match expires_at {
            Some(at) => format!("{} has it (by {}, until {})", by.name, by.via, clock(*at)),
            None => format!("{} has it (by {})", by.name, by.via),
        },
        Event::AckReminded { expires_at } => {
            format!("asked whether it is still worked on; the ack ends {}", clock(*expires_at))
        }
        Event::AckExtended { by, expires_at, .. } => {
            format!("{} is still on it, until {}", by.name, clock(*expires_at))
        }
        Event::AckExpired { by } => format!("the ack of {} expired", by.name),
        Event::Snoozed { by, until } => format!("{} snoozed it until {}", by.name, clock(*until)),
        Event::Suppressed { by, .. } => {
            format!("muted in Alertmanager by {by}: paging pauses")
        }
        Event::SuppressionEnded { reason } => format!("not muted any more: {reason}"),
        Event::Stale { since } => format!(
            "Alertmanager has not known its alerts since {}: paging goes on until a person resolves it",
            clock(*since)
        ),
        Event::SetBack { by_ms } => format!(
            "our clock was ahead by {} and was set back: what was planned comes as much earlier",
            duration(SignedDuration::from_millis(*by_ms))
        ),
        Event::Found => "Alertmanager knows its alerts again".to_owned(),
        Event::Settling { until } => {
            format!("all alerts are over; resolves at {} unless one fires again", clock(*until))
        }
        Event::Unsettled { .. } => "it fires again before it settled: going on".to_owned(),
        Event::Resolved { how, still_firing, .. } => match how {
            Resolution::AllResolved => "resolved: all alerts are over".to_owned(),
            Resolution::ByHand(who) if *still_firing > 0 => {
                format!("resolved by {} while {} still fire", who.name, alerts(*still_firing))
            }
            Resolution::ByHand(who) => format!("resolved by {}", who.name),
            Resolution::Missing => "resolved: Alertmanager does not know its alerts".to_owned(),
        },
        Event::Reopened { reason } => format!("reopened: {reason}"),
        Event::Mitigated { by } => format!("mitigated, says {}", by.name),
        Event::Noted { by, text } => format!("{by}: {}", first_line(text)),
        Event::Silenced { by, until, .. } => {
            format!("{} silenced it in Alertmanager until {}", by.name, clock(*until))
        }
        Event::StormSized { members, open, .. } => {
            format!("{members} incidents of this cause, {open} open")
        }
        Event::JoinedStorm(place) => {
            format!("joined the storm {}: both share {}", place.storm, place.cause)
        }
        Event::LeftStorm { storm, reason } => format!("left the storm {storm}: {reason}"),
        Event::Newer { kind } => {
            format!("{kind}: written by a newer version, which this one cannot show")
        }
        Event::EscalatedNow { by } => format!("{} asked for the next step at once", by.name),
        Event::StepTaken { late_ms, .. } if *late_ms >= 30_000 => {
            format!("this step is late by {}", duration(SignedDuration::from_millis(*late_ms)))
        }
        Event::Routed { .. }
        | Event::Diagnosing { .. }
        | Event::PageBroughtForward { .. }
        | Event::StepTaken { .. }
        | Event::Paged(_)
        | Event::Caveat { .. }
        | Event::SnoozeEnded
        | Event::SuppressionMoved { .. }
        | Event::NothingDue { .. } => return None,
    })
}

/// The incident's card at `now`; `public_url` is the daemon's own address for people.
pub fn card(incident: &Incident, next: &str, public_url: &str, now: Timestamp) -> Card {
    let (summary, parts) = words(incident);
    Card {
        incident: incident.id,
        revision: incident.seq,
        round: incident.rounds,
        title: incident.title.clone(),
        severity: incident.severity,
        status: incident.status.word().to_owned(),
        since: incident.since,
        at: now,
        summary,
        parts,
        labels: labels(incident),
        members: members(incident),
        verdicts: incident.verdicts.clone(),
        diagnosis: diagnosis(incident),
        caveats: caveats(incident),
        history: incident
            .lines
            .iter()
            .map(|line| format!("{} {}", clock(line.at), line.text))
            .collect(),
        next: next.to_owned(),
        links: links(incident, public_url),
        actions: actions(incident),
    }
}

/// What happens next, in words; `names` says who a step's targets are now.
pub fn next(
    incident: &Incident,
    names: impl Fn(&super::super::oncall::PageTarget) -> String,
) -> String {
    match &incident.wake {
        Wake::Step(at) => {
            let round = incident.round.as_ref();
            let step = round.and_then(|r| r.policy.next_step(r.severity, r.taken));
            let who: Vec<String> = step.iter().flat_map(|s| s.page.iter().map(&names)).collect();
            let who = if who.is_empty() { "the policy again".to_owned() } else { who.join(", ") };
            format!("pages {who} at {} unless acknowledged", clock(*at))
        }
        Wake::AckReminder(at) => format!("asks the acker at {}", clock(*at)),
        Wake::AckExpiry(at) => format!("the ack ends at {}: a new round begins", clock(*at)),
        Wake::Snooze(at) => format!("the snooze ends at {}: a new round begins", clock(*at)),
        Wake::Suppression(_) => {
            let by = incident.suppressed_by.as_deref().unwrap_or("Alertmanager");
            format!("muted by {by}; asks Alertmanager each minute, and pages when that ends")
        }
        Wake::Settle(at) => format!("resolves at {} unless an alert fires again", clock(*at)),
        Wake::Hold(at) => format!("pages at {} (held by the policy)", clock(*at)),
        Wake::Digest(at) => format!("goes into the digest at {}", clock(*at)),
        Wake::StillFiring(at) => format!("reopens at {} if alerts still fire", clock(*at)),
        Wake::Never(reason) => match reason {
            NoWake::Over => "",
            NoWake::PolicyWithoutPages => {
                "nobody is paged: the policy has no page for this severity"
            }
            NoWake::AckDoesNotExpire => "nothing: this ack does not expire",
            NoWake::UserErrorAccepted => "nobody is paged: the owner's channel has it",
            NoWake::OnlyPosted => "nobody is paged: it is only posted",
            NoWake::InStorm => return in_storm(incident),
        }
        .to_string(),
    }
}

fn in_storm(incident: &Incident) -> String {
    match &incident.storm {
        Some(place) => format!("{} pages for it: both share {}", place.storm, place.cause),
        None => "nobody is paged for it alone: it is part of a storm".to_owned(),
    }
}

fn labels(incident: &Incident) -> Vec<(String, String)> {
    let shown = |name: &&String| *name != "alertname" && !LABEL_ORDER.contains(&name.as_str());
    let first = LABEL_ORDER.iter().map(|n| (*n).to_owned());
    let rest = incident.labels.keys().filter(shown).cloned();
    let pair = |name: String| incident.labels.get(&name).map(|v| (name.clone(), v.clone()));
    first.chain(rest).filter_map(pair).take(MAX_LABELS).collect()
}

/// The alert's own words, and what it is made of: of our own notices, all lines but the first.
fn words(incident: &Incident) -> (String, Vec<String>) {
    let text = |name: &str| incident.annotations.get(name).map_or("", String::as_str);
    let said = [text("summary"), text("description"), text("message")];
    let summary = said.into_iter().find(|s| !s.is_empty()).unwrap_or_default();
    let (first, rest) = match summary.split_once('\n') {
        Some((first, rest)) if incident.source == super::correlate::DECLARED => (first, rest),
        Some(_) | None => (summary, ""),
    };
    let more = incident.members.saturating_sub(incident.named.len() as u64);
    let more = (incident.is_storm() && more > 0).then(|| format!("and {more} more"));
    let parts = rest.lines().map(str::to_owned).chain(incident.named.iter().cloned()).chain(more);
    (first.to_owned(), parts.collect())
}

fn members(incident: &Incident) -> String {
    if incident.is_storm() {
        return format!("{} incidents, {} open", incident.members, incident.firing);
    }
    if incident.members == 0 {
        return String::new();
    }
    let over = incident.members.saturating_sub(incident.firing);
    let over = if over > 0 { format!(", {over} resolved") } else { String::new() };
    let again = match incident.flaps {
        0 => String::new(),
        1 => ", fired again once".to_owned(),
        flaps => format!(", fired again {flaps} times"),
    };
    format!("{} firing{over}{again}", incident.firing)
}

fn diagnosis(incident: &Incident) -> String {
    if incident.is_storm() {
        return "its members are diagnosed".to_owned();
    }
    if incident.storm.as_ref().is_some_and(|place| place.quiet) && incident.runs_done == 0 {
        return "not diagnosed by itself: another incident of the storm is".to_owned();
    }
    if incident.source == super::correlate::DECLARED {
        return String::new();
    }
    match (incident.playbooks.is_empty(), incident.running, incident.runs_done) {
        (true, _, _) => "no playbook matched".to_owned(),
        (false, 0, 0) => "diagnosis begins".to_owned(),
        (false, 0, done) if incident.verdicts.is_empty() => {
            format!("diagnosis finished ({}): no known cause", runs(done))
        }
        (false, 0, done) => format!("diagnosis finished ({})", runs(done)),
        (false, running, _) => format!("diagnosing ({} under way)", runs(running)),
    }
}

fn caveats(incident: &Incident) -> Vec<String> {
    let truncated = (incident.truncated > 0).then(|| {
        format!(
            "Alertmanager left out {} (max_alerts): what is shown is not all",
            alerts(incident.truncated)
        )
    });
    let stale = incident.stale.map(|since| {
        format!(
            "Alertmanager has not known its alerts since {}. That ends nothing by itself: look, and resolve it by hand if it is over",
            clock(since)
        )
    });
    incident.caveats.iter().cloned().chain(truncated).chain(stale).collect()
}

fn links(incident: &Incident, public_url: &str) -> Vec<Link> {
    let annotated = |label: &str, names: &[&str]| {
        let url = names.iter().find_map(|name| incident.annotations.get(*name))?;
        Some(Link { label: label.to_owned(), url: url.clone() })
    };
    let plain = |label: &str, url: &str| Link { label: label.to_owned(), url: url.to_owned() };
    let incident_page = format!("{}/incidents/{}", public_url.trim_end_matches('/'), incident.id);
    let links = [
        annotated("Runbook", &["runbook_url", "runbook"]),
        annotated("Dashboard", &["dashboard_url", "dashboard", "grafana_url"]),
        Some(plain("Expression", &incident.generator_url)),
        Some(plain("Alertmanager", &incident.external_url)),
        Some(plain("Incident", &incident_page)),
    ];
    let safe = |l: &Link| l.url.starts_with("https://") || l.url.starts_with("http://");
    links.into_iter().flatten().filter(safe).collect()
}

fn actions(incident: &Incident) -> Vec<Action> {
    let acked = incident.ack.as_ref().map(|a| format!("{} {}", a.by.name, clock(a.at)));
    let resolved = match (&incident.resolution, incident.resolved_at) {
        (Some(Resolution::ByHand(who)), Some(at)) => Some(format!("{} {}", who.name, clock(at))),
        (Some(Resolution::AllResolved | Resolution::Missing), _) => Some("itself".to_owned()),
        (Some(Resolution::ByHand(_)), None) | (None, _) => None,
    };
    let silences = incident.source != super::correlate::DECLARED && !incident.is_storm();
    Verb::ALL
        .into_iter()
        .filter(|verb| silences || matches!(verb, Verb::Ack | Verb::Resolve))
        .map(|verb| Action {
            verb,
            done_by: match verb {
                Verb::Ack => acked.clone().unwrap_or_default(),
                Verb::Resolve => resolved.clone().unwrap_or_default(),
                Verb::Silence1h | Verb::Silence4h | Verb::SilenceMorning => String::new(),
            },
        })
        .collect()
}

/// `03:12:05 UTC`.
pub fn clock(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%H:%M:%S UTC").to_string()
}

/// `4m 10s`.
pub fn duration(duration: SignedDuration) -> String {
    let seconds = duration.round(Unit::Second).unwrap_or(duration);
    format!("{seconds:#}")
}

fn alerts(count: u64) -> String {
    if count == 1 { "1 alert".to_owned() } else { format!("{count} alerts") }
}

fn runs(count: i64) -> String {
    if count == 1 { "1 run".to_owned() } else { format!("{count} runs") }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(200).collect()
}
