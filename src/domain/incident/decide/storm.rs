//! What storms change: for the storm itself, and for an incident that joins or leaves one.

use std::time::Duration;

use super::Deciding;
use crate::domain::{
    incident::{
        Event, NoWake, Routing, Status, Wake,
        storm::{Membership, Size},
    },
    severity::Severity,
};

impl Deciding<'_> {
    /// A storm begins.
    pub(super) fn gather(&mut self, routing: Routing, size: Size) {
        self.push(Event::routed(routing));
        let reason = format!("{} incidents of one cause", size.members);
        self.size(size);
        self.start_round(reason, Duration::ZERO, None);
    }

    /// The storm's members were looked at.
    pub(super) fn resize(&mut self, size: Size) {
        let (open, severity) = (size.open, size.severity);
        self.size(size);
        let over = self.state.wake == Wake::Never(NoWake::Over);
        if !self.state.is_open() && over && open > 0 {
            // Somebody joined while it resolved: nobody else would wake for them.
            let reason = "an incident of its cause is open".to_owned();
            self.push(Event::Reopened { reason: reason.clone() });
            return self.start_round(reason, Duration::ZERO, None);
        }
        let from = self.state.severity;
        let rise = severity.filter(|to| self.state.is_open() && *to > from);
        if let Some(to) = rise {
            let reason = "a more severe incident joined".to_owned();
            self.push(Event::SeverityChanged { from, to, reason });
            let assignee = self.state.ack.clone().map(|ack| ack.by);
            self.start_round(format!("severity rose to {to}"), Duration::ZERO, assignee);
        }
        self.settle_or_not(open);
    }

    fn size(&mut self, size: Size) {
        let Size { members, open, severity: _, named, verdicts } = size;
        let known = &self.state;
        let same = (known.members, known.firing) == (members, open)
            && known.named == named
            && known.verdicts == verdicts;
        if !same {
            self.push(Event::StormSized { members, open, named, verdicts });
        }
    }

    /// This incident joins a storm, which wakes for it from now on.
    pub(super) fn join_storm(&mut self, place: Membership) {
        let fits = self.state.status == Status::Triggered
            && self.state.storm.is_none()
            && self.state.firing > 0
            && self.state.severity < Severity::P0;
        if fits {
            self.push(Event::JoinedStorm(place));
        }
    }

    /// It wakes by itself again.
    pub(super) fn leave_storm(&mut self, reason: &str) {
        if let Some(place) = self.state.storm.clone() {
            self.push(Event::LeftStorm { storm: place.storm, reason: reason.to_owned() });
        }
    }
}
