//! Load, decide, commit. The loser of a race loads and decides again: the core is pure.

use jiff::Timestamp;

use super::{Engine, effects};
use crate::{
    domain::{
        ids::IncidentId,
        incident::{self, Command, Decision, Env, Event, Incident, Opening, Refusal},
        severity::Severity,
    },
    store::{self, Changes, IncidentChange, JobEnd},
};

/// Races lost in a row before giving up; the job runs again later.
const MAX_RACES: usize = 20;

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The core said no; a person is told.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// There is no such incident.
    #[error("there is no incident {0}")]
    NoSuchIncident(IncidentId),
    /// The store failed, or the job is not ours any more.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// What else is committed together with a decision.
#[derive(Clone, Debug, Default)]
pub struct Along {
    /// The job whose outcome this is.
    pub job: Option<JobEnd>,
    /// Everything else.
    pub changes: Changes,
    /// It is this late at least: a clock that is set back meanwhile makes nothing early that was found due.
    pub not_before: Timestamp,
}

impl Along {
    /// With the end of a job.
    pub fn job(job: JobEnd) -> Self {
        Self { job: Some(job), ..Self::default() }
    }
}

impl Engine {
    /// Applies commands to an incident in one transaction, together with `along`. Commands that change nothing still
    /// commit `along`.
    pub async fn change(
        &self,
        id: IncidentId,
        commands: Vec<Command>,
        along: Along,
    ) -> Result<Incident, Error> {
        for _ in 0..MAX_RACES {
            let stored = self.store.incident(id).await?.ok_or(Error::NoSuchIncident(id))?;
            let now = self.now().max(along.not_before);
            let decision = self.decide(&stored.incident, commands.clone(), now)?;
            let mut changes = along.changes.clone();
            changes.job.clone_from(&along.job);
            include(&mut changes, Some(&stored.incident), &decision, Some(stored.version), now);
            match self.store.commit(changes, now).await {
                Ok(()) => return Ok(decision.state),
                Err(store::Error::Conflict) => {}
                Err(other) => return Err(other.into()),
            }
        }
        Err(store::Error::Conflict.into())
    }

    /// Opens the incident of this number with its first command; `Conflict` when another one with its key is open.
    pub async fn open(
        &self,
        id: IncidentId,
        opening: Opening,
        severity: Severity,
        first: Command,
    ) -> Result<Incident, Error> {
        let now = self.now();
        let oncall = self.oncall.get();
        let env = Env { now, oncall: &oncall, settings: &self.options.incidents };
        let decision = incident::open(id, opening, severity, first, &env)?;
        let mut changes = Changes::default();
        include(&mut changes, None, &decision, None, now);
        self.store.commit(changes, now).await?;
        Ok(decision.state)
    }

    /// Decides several commands in a row.
    pub(super) fn decide(
        &self,
        state: &Incident,
        commands: Vec<Command>,
        now: Timestamp,
    ) -> Result<Decision, Refusal> {
        let oncall = self.oncall.get();
        let env = Env { now, oncall: &oncall, settings: &self.options.incidents };
        let mut all = Decision { state: state.clone(), events: vec![] };
        for command in commands {
            let next = incident::decide(&all.state, command, &env)?;
            all.state = next.state;
            all.events.extend(next.events);
        }
        Ok(all)
    }
}

/// Adds a decision and everything that follows from it to a transaction.
pub(super) fn include(
    changes: &mut Changes,
    before: Option<&Incident>,
    decision: &Decision,
    version: Option<i64>,
    now: Timestamp,
) {
    if decision.events.is_empty() {
        return;
    }
    effects::add(changes, before, decision, now);
    let set_back = |event: &Event| match event {
        Event::SetBack { by_ms } => Some((decision.state.id, *by_ms)),
        _ => None,
    };
    changes.pulled_in.extend(decision.events.iter().filter_map(set_back));
    changes.incidents.push(IncidentChange {
        state: decision.state.clone(),
        version,
        events: decision.events.clone(),
    });
}
