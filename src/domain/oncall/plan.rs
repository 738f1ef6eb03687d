//! What a policy does next, lazily and without end.
//!
//! The steps of the list that apply to the severity are grouped by `at`. They run once, then `repeat.times` more passes,
//! each `every` after the last step of the one before, then `then` for ever. Every due time is an offset from the
//! round's start, computed from the step's reference alone, so that lateness never accumulates.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::policy::{PageTarget, Policy, PolicyStep};
use crate::domain::severity::Severity;

/// Where a round is in its policy. Ordered as time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepRef {
    /// A step of the list: those with equal `at` are one.
    List {
        /// 0 is the first time, 1 the first repeat.
        pass: u32,
        /// From 0, among the steps that apply to the severity.
        index: u32,
    },
    /// The fallback.
    Then {
        /// From 0.
        turn: u32,
    },
}

/// One step of a round.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedStep {
    /// Which one.
    pub step: StepRef,
    /// Due this long after the round's start.
    pub at: Duration,
    /// Who is paged, each once; may be empty.
    pub page: Vec<PageTarget>,
    /// Channels that get the card, each once; may be empty.
    pub post: Vec<String>,
}

impl StepRef {
    /// True for `then`.
    pub fn is_fallback(self) -> bool {
        matches!(self, Self::Then { .. })
    }

    /// How often the list was begun before: 0 for the first pass. The fallback counts its own turns.
    pub fn repeat(self) -> u32 {
        match self {
            Self::List { pass, .. } => pass,
            Self::Then { turn } => turn,
        }
    }
}

impl std::fmt::Display for StepRef {
    /// `step 2`, `step 2, repeat 1`, `fallback 1`: as a page explains itself.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::List { pass: 0, index } => write!(f, "step {}", index + 1),
            Self::List { pass, index } => write!(f, "step {}, repeat {pass}", index + 1),
            Self::Then { turn } => write!(f, "fallback {}", u64::from(turn) + 1),
        }
    }
}

impl Policy {
    /// All steps in order; endless when there is a `then`.
    pub fn plan(&self, severity: Severity) -> impl Iterator<Item = PlannedStep> {
        std::iter::successors(self.next_step(severity, None), move |step| {
            self.next_step(severity, Some(step.step))
        })
    }

    /// The step after `after`, or the first; `None` at the end of a policy without `then`.
    pub fn next_step(&self, severity: Severity, after: Option<StepRef>) -> Option<PlannedStep> {
        let list = List::of(self, severity);
        let next = match after {
            None => StepRef::List { pass: 0, index: 0 },
            Some(StepRef::List { pass, index }) if index.saturating_add(1) < list.len() => {
                StepRef::List { pass, index: index + 1 }
            }
            Some(StepRef::List { pass, .. }) => {
                StepRef::List { pass: pass.saturating_add(1), index: 0 }
            }
            Some(StepRef::Then { turn }) => StepRef::Then { turn: turn.checked_add(1)? },
        };
        match next {
            StepRef::List { pass, .. } if list.len() == 0 || pass > list.repeats() => {
                list.step(StepRef::Then { turn: 0 })
            }
            StepRef::List { .. } | StepRef::Then { .. } => list.step(next),
        }
    }

    /// The last step that is due this long after the round's start; `None` before the first.
    pub fn step_at(&self, severity: Severity, elapsed: Duration) -> Option<PlannedStep> {
        let list = List::of(self, severity);
        list.step(list.reference_at(elapsed)?)
    }

    /// What to do now for a round that last did `after`: the steps found late collapse into one. It is the current step;
    /// it posts what the skipped ones would have posted, and when it pages nobody itself it pages for the latest skipped
    /// step that does. `None` when nothing is due.
    pub fn collapse(
        &self,
        severity: Severity,
        after: Option<StepRef>,
        elapsed: Duration,
    ) -> Option<PlannedStep> {
        let list = List::of(self, severity);
        let mut current = list.step(list.reference_at(elapsed)?)?;
        if after.is_some_and(|after| after >= current.step) {
            return None;
        }
        // One pass back is enough: before it, the list says the same again. Turns of the fallback all say the same.
        let from = match current.step {
            StepRef::List { .. } => current.step,
            StepRef::Then { .. } => StepRef::Then { turn: 0 },
        };
        let skipped = std::iter::successors(list.before(from), |step| list.before(*step))
            .take_while(|step| after.is_none_or(|after| *step > after))
            .take(list.groups.len());
        for step in skipped.filter_map(|step| list.step(step)) {
            if current.page.is_empty() {
                current.page = step.page;
            }
            add_new(&mut current.post, &step.post);
        }
        Some(current)
    }
}

/// The steps of one severity, grouped by `at`.
struct List<'a> {
    policy: &'a Policy,
    groups: Vec<Vec<&'a PolicyStep>>,
}

impl<'a> List<'a> {
    fn of(policy: &'a Policy, severity: Severity) -> Self {
        let mut groups: Vec<Vec<&PolicyStep>> = Vec::new();
        for step in &policy.steps {
            if !step.only.is_empty() && !step.only.contains(&severity) {
                continue;
            }
            match groups.last_mut() {
                Some(group) if group.first().is_some_and(|first| first.at >= step.at) => {
                    group.push(step);
                }
                Some(_) | None => groups.push(vec![step]),
            }
        }
        Self { policy, groups }
    }

    fn len(&self) -> u32 {
        u32::try_from(self.groups.len()).unwrap_or(u32::MAX)
    }

    fn repeats(&self) -> u32 {
        self.policy.repeat.map_or(0, |repeat| repeat.times)
    }

    fn at(&self, index: u32) -> Duration {
        let group = self.groups.get(usize::try_from(index).unwrap_or(usize::MAX));
        group.and_then(|group| group.first()).map_or(Duration::ZERO, |step| step.at)
    }

    fn first(&self) -> Duration {
        self.at(0)
    }

    fn last(&self) -> Duration {
        self.at(self.len().saturating_sub(1))
    }

    /// From a step to the same step of the next pass.
    fn period(&self) -> Duration {
        let every = self.policy.repeat.map_or(Duration::ZERO, |repeat| repeat.every);
        self.last().saturating_sub(self.first()).saturating_add(every)
    }

    /// When the last step of the last pass is due; the fallback counts from it.
    fn end(&self) -> Duration {
        if self.groups.is_empty() {
            return Duration::ZERO;
        }
        self.last().saturating_add(self.period().saturating_mul(self.repeats()))
    }

    fn step(&self, step: StepRef) -> Option<PlannedStep> {
        match step {
            StepRef::List { pass, index } => {
                let group = self.groups.get(usize::try_from(index).ok()?)?;
                let at = self.at(index).saturating_add(self.period().saturating_mul(pass));
                let (mut page, mut post) = (Vec::new(), Vec::new());
                for step in group {
                    add_new(&mut page, &step.page);
                    add_new(&mut post, &step.post);
                }
                Some(PlannedStep { step, at, page, post })
            }
            StepRef::Then { turn } => {
                let then = self.policy.then.as_ref()?;
                // Without a list the fallback is all there is, and starts at once.
                let waits = turn.saturating_add(u32::from(!self.groups.is_empty()));
                let at = self.end().saturating_add(then.every.saturating_mul(waits));
                Some(PlannedStep { step, at, page: then.page.clone(), post: Vec::new() })
            }
        }
    }

    fn reference_at(&self, elapsed: Duration) -> Option<StepRef> {
        if let Some(then) = &self.policy.then {
            let since = elapsed.checked_sub(self.end());
            let turns = since.map_or(0, |since| since.as_millis() / then.every.as_millis().max(1));
            let turns = turns + u128::from(since.is_some() && self.groups.is_empty());
            if let Some(turn) = turns.checked_sub(1) {
                return Some(StepRef::Then { turn: u32::try_from(turn).unwrap_or(u32::MAX) });
            }
        }
        let into = elapsed.checked_sub(self.first()).filter(|_| !self.groups.is_empty())?;
        let pass = into.as_millis().checked_div(self.period().as_millis()).unwrap_or(u128::MAX);
        let pass = u32::try_from(pass).unwrap_or(u32::MAX).min(self.repeats());
        let begun = self.period().saturating_mul(pass);
        let index = (0..self.len()).rev().find(|i| self.at(*i).saturating_add(begun) <= elapsed)?;
        Some(StepRef::List { pass, index })
    }

    fn before(&self, step: StepRef) -> Option<StepRef> {
        let last = self.len().checked_sub(1);
        match step {
            StepRef::List { pass: 0, index: 0 } => None,
            StepRef::List { pass, index: 0 } => {
                Some(StepRef::List { pass: pass - 1, index: last? })
            }
            StepRef::List { pass, index } => Some(StepRef::List { pass, index: index - 1 }),
            StepRef::Then { turn: 0 } => Some(StepRef::List { pass: self.repeats(), index: last? }),
            StepRef::Then { turn } => Some(StepRef::Then { turn: turn - 1 }),
        }
    }
}

fn add_new<T: Clone + PartialEq>(to: &mut Vec<T>, from: &[T]) {
    for item in from {
        if !to.contains(item) {
            to.push(item.clone());
        }
    }
}
