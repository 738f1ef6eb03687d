//! How a diagnosis is shown: for an engineer who was just woken, or for a program.

use std::io::Write;

use serde::Serialize;

use crate::{
    cli::Output,
    domain::verdict::{Owner, Quote, Verdict},
};

/// A diagnosis.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Best first.
    verdicts: Vec<Shown>,
    /// What the diagnosis is about; empty for files.
    #[serde(skip_serializing_if = "String::is_empty")]
    target: String,
    /// What could not be asked, with the reason; empty for files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    steps: Vec<Asked>,
    #[serde(skip)]
    seen: Vec<Seen>,
}

/// What was read of one file.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its name.
    pub name: String,
    /// `driver log`, `2 pods`.
    pub what: String,
    /// Lines, for a log.
    pub lines: Option<u32>,
}

/// One step of a playbook that was asked.
#[derive(Clone, Debug, Serialize)]
pub struct Asked {
    /// `kube.logs`.
    pub step: String,
    /// `done`, `skipped`, `failed`.
    pub state: &'static str,
    /// What it found, or why it brought nothing.
    pub said: String,
}

/// A verdict as it is printed.
#[derive(Clone, Debug, Serialize)]
struct Shown {
    id: String,
    title: String,
    confidence: f64,
    owner: Owner,
    evidence: Vec<Said>,
    remedy: String,
    #[serde(skip)]
    docs: Option<String>,
    #[serde(skip)]
    explained_by: Option<String>,
}

/// A quoted line.
#[derive(Clone, Debug, Serialize)]
struct Said {
    /// `driver.log:120`; a source that is one line has no number.
    source: String,
    quote: String,
}

impl Report {
    /// Of files.
    pub fn new(verdicts: Vec<Verdict>, seen: Vec<Seen>) -> Self {
        let explained = |id: &str| {
            let mut causes = verdicts.iter().filter(|v| v.explains.iter().any(|e| e == id));
            causes.next().map(|cause| cause.id.clone())
        };
        let by: Vec<Option<String>> = verdicts.iter().map(|v| explained(&v.id)).collect();
        let verdicts =
            verdicts.into_iter().zip(by).map(|(verdict, by)| Shown::new(verdict, by)).collect();
        Self { verdicts, target: String::new(), steps: Vec::new(), seen }
    }

    /// Of a cluster's application.
    #[must_use]
    pub fn about(self, target: String, steps: Vec<Asked>) -> Self {
        Self { target, steps, ..self }
    }

    /// Prints it.
    pub fn print(&self, output: Output, out: &mut impl Write) -> anyhow::Result<()> {
        match output {
            Output::Json => writeln!(out, "{}", serde_json::to_string_pretty(self)?)?,
            Output::Text => self.text(out)?,
        }
        Ok(())
    }

    fn text(&self, out: &mut impl Write) -> anyhow::Result<()> {
        if !self.target.is_empty() {
            writeln!(out, "{}\n", self.target)?;
        }
        let (causes, symptoms): (Vec<&Shown>, Vec<&Shown>) =
            self.verdicts.iter().partition(|verdict| verdict.explained_by.is_none());
        for (index, verdict) in causes.iter().enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            verdict.text(out)?;
            for symptom in &symptoms {
                if symptom.explained_by.as_deref() == Some(verdict.id.as_str()) {
                    writeln!(out, "  It also explains: {} ({})", symptom.title, symptom.id)?;
                }
            }
        }
        let asked: Vec<&Asked> = self.steps.iter().filter(|step| step.state != "done").collect();
        if self.verdicts.is_empty() {
            writeln!(out, "No known failure found.")?;
            for Seen { name, what, lines } in &self.seen {
                let lines = lines.map_or(String::new(), |n| format!(", {n} lines"));
                writeln!(out, "  {name}: {what}{lines}")?;
            }
            let next = if self.steps.is_empty() {
                "This says that no signature matched, not that all is well. Add what is missing: the driver's log, the \
                 executors' logs, `kubectl get pod -o json`, `kubectl get events -o json`."
            } else {
                "This says that no signature matched, not that all is well."
            };
            writeln!(out, "{next}")?;
        }
        if !self.steps.is_empty() {
            writeln!(out, "\nAsked:")?;
            for step in self.steps.iter().filter(|step| step.state == "done") {
                writeln!(out, "  {}: {}", step.step, step.said)?;
            }
        }
        if !asked.is_empty() {
            writeln!(out, "\nNot answered:")?;
            for step in asked {
                writeln!(out, "  {} {}: {}", step.step, step.state, step.said)?;
            }
        }
        Ok(())
    }
}

impl Shown {
    fn new(verdict: Verdict, explained_by: Option<String>) -> Self {
        let Verdict { id, title, confidence, owner, evidence, remedy, explains: _, docs } = verdict;
        let evidence = evidence.into_iter().map(Said::new).collect();
        Self { id, title, confidence, owner, evidence, remedy, docs, explained_by }
    }

    fn text(&self, out: &mut impl Write) -> anyhow::Result<()> {
        let whose = match self.owner {
            Owner::User => "the job's author acts",
            Owner::Platform => "the platform team acts",
            Owner::Data => "the data's owner acts",
            Owner::Infra => "the infrastructure team acts",
        };
        let sure = (self.confidence * 100.0).round();
        writeln!(out, "{}\n  {}, {sure} % sure, {whose}", self.title, self.id)?;
        for Said { source, quote } in &self.evidence {
            writeln!(out, "  {source}  {}", printable(quote))?;
        }
        writeln!(out, "  What to do:")?;
        for line in self.remedy.trim_end().lines() {
            writeln!(out, "    {line}")?;
        }
        if let Some(docs) = &self.docs {
            writeln!(out, "    {docs}")?;
        }
        Ok(())
    }
}

impl Said {
    fn new(quote: Quote) -> Self {
        let Quote { origin: _, source, line, quote } = quote;
        let source = if line == 0 { source } else { format!("{source}:{line}") };
        Self { source, quote: quote.trim().to_owned() }
    }
}

/// A quote from a log must not steer the terminal.
fn printable(quote: &str) -> String {
    quote.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
