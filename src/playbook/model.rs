//! A playbook as the engine runs it. Every value here has been checked; positions were used up by the linter.

use std::time::Duration;

use crate::{
    domain::severity::Severity,
    steps::{Effect, Spec, target::TargetSpec},
};

use crate::domain::{expr::Expr, matcher::Matcher};

/// One checked playbook.
#[derive(Clone, Debug)]
pub struct Playbook {
    /// Unique: `[a-z][a-z0-9-]*`.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// What it finds out.
    pub summary: String,
    /// Who keeps it true: `team:…` or `person:…`.
    pub owner: String,
    /// When a person last checked it.
    pub reviewed: Option<jiff::civil::Date>,
    /// File it was read from, as given.
    pub file: String,
    /// SHA-256 of the file, hex; stored with every run.
    pub digest: String,
    /// All must hold, per alert.
    pub matches: Vec<Matching>,
    /// Holds after `matches`, per alert.
    pub condition: Option<Expr>,
    /// How alerts lead to targets; none: the run is about the alert itself.
    pub target: Option<TargetSpec>,
    /// What this playbook says of severity.
    pub severity: Option<SeverityRule>,
    /// Bounds.
    pub limits: Limits,
    /// In file order.
    pub steps: Vec<StepDef>,
    /// Signature ids or globs (`*` one segment, `**` any); empty: all signatures.
    pub verdicts: Vec<String>,
    /// Extra channels.
    pub post_to: Vec<String>,
}

/// One entry of `match:`.
#[derive(Clone, Debug)]
pub enum Matching {
    /// One matcher.
    One(Matcher),
    /// `any:` of these.
    Any(Vec<Matcher>),
}

/// What a playbook says of severity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeverityRule {
    /// Always this.
    Fixed(Severity),
    /// By a label's value; a value without an entry says nothing.
    Map {
        /// Label name.
        label: String,
        /// Value to severity.
        map: std::collections::BTreeMap<String, Severity>,
    },
}

/// Bounds of a playbook's runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A run ends by then; 1s to 30m, default 90s.
    pub deadline: Duration,
    /// A re-fire starts a new run only after this; default 10m.
    pub cooldown: Duration,
    /// The first page waits at most this for a verdict; 0 to 60s, default 0.
    pub hold_page: Duration,
    /// Targets per incident; 1 to 20, default 5.
    pub max_targets: usize,
}

/// One step.
#[derive(Clone, Debug)]
pub struct StepDef {
    /// `[a-z][a-z0-9_]*`, unique in the playbook.
    pub id: String,
    /// Run only when this holds; not known counts as not.
    pub condition: Option<Expr>,
    /// Run once per item.
    pub for_each: Option<ForEach>,
    /// Indices of steps that must have ended first: explicit `needs` and those referenced.
    pub needs: Vec<usize>,
    /// Each attempt's limit; default 20s.
    pub timeout: Duration,
    /// Attempts after the first, on transient failures; 0 to 5, default 1.
    pub retries: u32,
    /// What repeating it may do: as its kind says.
    pub effect: Effect,
    /// The kind and its inputs.
    pub spec: Spec,
}

/// `for_each: { pod: steps.pods.failed, max: 5 }`.
#[derive(Clone, Debug)]
pub struct ForEach {
    /// The name each item is bound to.
    pub binding: String,
    /// A list.
    pub list: Expr,
    /// Items beyond are dropped, and the card says so; 1 to 50, default 5.
    pub max: usize,
}
