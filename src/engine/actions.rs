//! What people do: buttons, reactions, commands. One function for every way in; the answer is what the person is told.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::{
    Engine,
    change::{Along, Error},
};
use crate::{
    clients::alertmanager::Silence,
    domain::{
        alert::Labels,
        card::Verb,
        ids::IncidentId,
        incident::{Command, Incident, Opening, Refusal, Who, correlate, show},
        oncall::Person,
        schedule::PersonId,
        severity::Severity,
    },
};

/// When morning is, for "until morning".
const MORNING_HOUR: i8 = 9;

/// What a person is told.
pub type Reply = Result<String, Error>;

impl Engine {
    /// Carries out a button press. `round` is the round the button was drawn for.
    pub async fn press(&self, id: IncidentId, verb: Verb, round: Option<i64>, by: Who) -> Reply {
        match verb {
            Verb::Ack => self.ack(id, round, by).await,
            Verb::Resolve => self.resolve(id, by, false).await,
            Verb::Silence1h => self.silence_for(id, SignedDuration::from_hours(1), by).await,
            Verb::Silence4h => self.silence_for(id, SignedDuration::from_hours(4), by).await,
            Verb::SilenceMorning => {
                let until = morning(self.now(), &self.zone_of(&by));
                self.silence(id, until, by).await
            }
        }
    }

    /// "I have it."
    pub async fn ack(&self, id: IncidentId, round: Option<i64>, by: Who) -> Reply {
        let name = by.name.clone();
        let command = Command::Ack { by, round };
        let state = self.change(id, vec![command], Along::default()).await?;
        tracing::info!(incident.id = %id, by = name, "acknowledged");
        Ok(match state.ack.and_then(|ack| ack.expires_at) {
            Some(at) => format!("{name} has {id} until {}; escalation stopped", show::clock(at)),
            None => format!("{name} has {id}; escalation stopped"),
        })
    }

    /// Over, says a person.
    pub async fn resolve(&self, id: IncidentId, by: Who, anyway: bool) -> Reply {
        let name = by.name.clone();
        let command = Command::Resolve { by, anyway };
        let state = self.change(id, vec![command], Along::default()).await?;
        let still = match state.wake.due() {
            Some(at) => {
                format!("; {} alerts still fire: looks again at {}", state.firing, show::clock(at))
            }
            None => String::new(),
        };
        Ok(format!("{id} resolved by {name}{still}"))
    }

    /// A note on the timeline.
    pub async fn note(&self, id: IncidentId, by: Who, text: &str) -> Reply {
        let text: String = crate::domain::redact::redact(text).chars().take(4_000).collect();
        self.change(id, vec![Command::Note { by, text }], Along::default()).await?;
        Ok(format!("noted on {id}"))
    }

    /// Not before `until`.
    pub async fn snooze(&self, id: IncidentId, until: Timestamp, by: Who) -> Reply {
        self.change(id, vec![Command::Snooze { by, until }], Along::default()).await?;
        Ok(format!("{id} snoozed until {}", show::clock(until)))
    }

    /// Go on paging at once.
    pub async fn escalate(&self, id: IncidentId, by: Who) -> Reply {
        self.change(id, vec![Command::EscalateNow { by }], Along::default()).await?;
        Ok(format!("{id}: the next step is taken now"))
    }

    /// Silences the incident's alerts for a while.
    pub async fn silence_for(&self, id: IncidentId, length: SignedDuration, by: Who) -> Reply {
        let until = self.now().saturating_add(length).unwrap_or(Timestamp::MAX);
        self.silence(id, until, by).await
    }

    /// Silences the incident's alerts in Alertmanager until `until`.
    pub async fn silence(&self, id: IncidentId, until: Timestamp, by: Who) -> Reply {
        let stored = self.store.incident(id).await?.ok_or(Error::NoSuchIncident(id))?;
        let source = self.options.sources.get(&stored.incident.source);
        let instances = source.map(|s| s.alertmanagers.as_slice()).unwrap_or_default();
        if instances.is_empty() {
            return Err(not_silenced(&format!(
                "no Alertmanager is configured for source `{}`; add `sources.{}.alertmanagers`",
                stored.incident.source, stored.incident.source
            )));
        }
        let silence = Silence {
            matchers: scope(&stored.incident),
            starts_at: self.now(),
            ends_at: until,
            created_by: by.name.clone(),
            comment: format!("{id}, by {} through Paramedic", by.name),
        };
        let mut last = String::new();
        for instance in instances {
            match instance.silence(&silence).await {
                Ok(silence) => {
                    let command = Command::Silenced { by: by.clone(), id: silence, until };
                    self.change(id, vec![command], Along::default()).await?;
                    return Ok(format!(
                        "{id} silenced in Alertmanager until {}",
                        show::clock(until)
                    ));
                }
                Err(error) => last = error.to_string(),
            }
        }
        Err(not_silenced(&last))
    }

    /// A person declares an incident.
    pub async fn declare(
        &self,
        title: &str,
        severity: Severity,
        labels: Labels,
        by: Who,
    ) -> Result<Incident, Error> {
        let title: String = title.chars().take(200).collect();
        let id = self.store.next_incident().await?;
        let opening = Opening {
            source: correlate::DECLARED.to_owned(),
            key: format!("declared/{id}"),
            title,
            cluster: labels.get("cluster").cloned().unwrap_or_default(),
            labels: labels.clone(),
            annotations: Labels::new(),
            generator_url: String::new(),
            external_url: String::new(),
            since: self.now(),
        };
        let routing = self.routing(&labels);
        self.open(id, opening, severity, Command::Declare { by, routing }).await
    }

    /// The person behind a chat user, or what to tell them.
    pub fn person_behind(&self, transport: &str, address: &str) -> Result<Who, String> {
        let oncall = self.oncall.get();
        match oncall.person_by_contact(transport, address) {
            Some(Person { id, name, .. }) => {
                Ok(Who { id: id.to_string(), name: name.clone(), via: transport.to_owned() })
            }
            None => Err(format!(
                "nothing done: nobody in the on-call files has this contact. Add to your entry under `people`:  contacts: {{ {transport}: \"{address}\" }}"
            )),
        }
    }

    fn zone_of(&self, who: &Who) -> TimeZone {
        let oncall = self.oncall.get();
        let person = oncall.person(&PersonId(who.id.clone()));
        person.and_then(|person| person.zone.clone()).unwrap_or(TimeZone::UTC)
    }
}

fn not_silenced(reason: &str) -> Error {
    Error::Refused(Refusal::NotDone(format!("not silenced: {reason}")))
}

/// Which alerts a silence covers: what makes them belong to the incident.
fn scope(incident: &Incident) -> Vec<(String, String)> {
    let of = |name: &str| {
        let value = incident.labels.get(name).filter(|value| !value.is_empty())?;
        Some((name.to_owned(), value.clone()))
    };
    let scope: Vec<_> = ["alertname", "cluster", "namespace"].into_iter().filter_map(of).collect();
    // Nothing in common: every label there is, rather than a silence of everything.
    if scope.iter().any(|(name, _)| name == "alertname") {
        return scope;
    }
    incident.labels.iter().map(|(n, v)| (n.clone(), v.clone())).collect()
}

/// The next 09:00 in a zone.
fn morning(now: Timestamp, zone: &TimeZone) -> Timestamp {
    let local = now.to_zoned(zone.clone());
    let today = local.date().at(MORNING_HOUR, 0, 0, 0).to_zoned(zone.clone());
    let tomorrow = local.date().saturating_add(jiff::Span::new().days(1));
    let tomorrow = tomorrow.at(MORNING_HOUR, 0, 0, 0).to_zoned(zone.clone());
    let candidates = [today, tomorrow].into_iter().filter_map(Result::ok).map(|z| z.timestamp());
    let fallback = now.saturating_add(SignedDuration::from_hours(8)).unwrap_or(now);
    candidates.into_iter().find(|at| *at > now).unwrap_or(fallback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn morning_is_the_next_nine_o_clock_there() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let at = |text: &str| morning(text.parse().unwrap(), &zone).to_string();
        assert_eq!(at("2026-11-23T02:12:00Z"), "2026-11-23T08:00:00Z");
        assert_eq!(at("2026-11-23T08:00:00Z"), "2026-11-24T08:00:00Z");
    }
}
