//! The store's story: every verb, on every database, with a clock in hand. What holds of one must hold of all.

mod ahead;
mod asked;
pub mod backend;
mod deliveries;
mod file;
mod incidents;
mod jobs;
mod messages;
mod meta;
mod opening;
mod pods;
mod races;
pub mod retention;
mod runs;
mod schema;
mod server;
mod similar;
mod simulated;
mod storms;

use jiff::Timestamp;
use paramedic::{
    domain::{
        alert::Labels,
        ids::IncidentId,
        incident::{Command, Env, Observation, Opening, Routing, Settings, open},
        oncall::OnCall,
        severity::Severity,
    },
    store::{Changes, IncidentChange, Job, JobEnd},
};

pub fn end(job: &Job) -> JobEnd {
    JobEnd { id: job.id, fence: job.fence, again: None }
}

pub fn incident(id: i64, key: &str, now: Timestamp) -> IncidentChange {
    let oncall = OnCall::builtin();
    let settings = Settings::default();
    let env = Env { now, oncall: &oncall, settings: &settings };
    let opening = Opening {
        source: "prod".to_owned(),
        key: key.to_owned(),
        title: "t".to_owned(),
        cluster: String::new(),
        labels: Labels::new(),
        annotations: Labels::new(),
        generator_url: String::new(),
        external_url: String::new(),
        since: now,
    };
    let seen = Observation {
        new: 1,
        again: 0,
        ended: 0,
        firing: 1,
        members: 1,
        severity: Some(Severity::P1),
        targets: std::collections::BTreeSet::new(),
        truncated: 0,
        matched: vec![],
        routing: Routing { policy: "default".to_owned(), ..Routing::default() },
    };
    let opened = open(IncidentId(id), opening, Severity::P1, Command::Observe(seen), &env).unwrap();
    IncidentChange { state: opened.state, version: None, events: opened.events }
}

pub fn saved(change: &IncidentChange) -> Changes {
    Changes { incidents: vec![change.clone()], ..Changes::default() }
}
