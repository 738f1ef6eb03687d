//! What was measured, as a table for people and JSON for programs.

use std::{fs, path::Path};

use serde::Serialize;

/// One number.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    case: &'static str,
    measure: String,
    value: f64,
    unit: &'static str,
    /// The same of the floor, in the same window.
    floor: Option<f64>,
    target: Option<Target>,
    is_met: Option<bool>,
}

/// What a number should be.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// This or less.
    AtMost(f64),
    /// This or more.
    AtLeast(f64),
    /// This part of the floor, or more.
    OfFloor(f64),
}

/// All numbers of a run.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<Row>,
    case: &'static str,
}

impl Report {
    /// What follows belongs to this case.
    pub fn begin(&mut self, case: &'static str) {
        self.case = case;
        eprintln!("== {case}");
    }

    /// A number that is only reported.
    pub fn say(&mut self, measure: impl Into<String>, value: f64, unit: &'static str) {
        self.add(measure.into(), (value, unit), None, None);
    }

    /// A number that has a target.
    pub fn aim(
        &mut self,
        measure: impl Into<String>,
        value: f64,
        unit: &'static str,
        target: Target,
    ) {
        self.add(measure.into(), (value, unit), None, Some(target));
    }

    /// A number beside the floor's of the same window.
    pub fn beside(
        &mut self,
        measure: impl Into<String>,
        value: f64,
        unit: &'static str,
        floor: f64,
        target: Target,
    ) {
        self.add(measure.into(), (value, unit), Some(floor), Some(target));
    }

    fn add(
        &mut self,
        measure: String,
        (value, unit): (f64, &'static str),
        floor: Option<f64>,
        target: Option<Target>,
    ) {
        let is_met = target.map(|target| match target {
            Target::AtMost(most) => value <= most,
            Target::AtLeast(least) => value >= least,
            Target::OfFloor(part) => floor.is_some_and(|floor| value >= part * floor),
        });
        let row = Row { case: self.case, measure, value, unit, floor, target, is_met };
        eprintln!("{}", line(&row));
        self.rows.push(row);
    }

    /// Prints the table; writes everything to a file.
    pub fn publish(&self, file: &Path, machine: &str) {
        println!("{machine}\n");
        println!("| case | measure | Paramedic | floor | target | |\n|---|---|---|---|---|---|");
        for row in &self.rows {
            println!("{}", line(row));
        }
        let all = serde_json::json!({ "machine": machine, "rows": self.rows });
        fs::write(file, format!("{all:#}\n")).expect("the results are written");
    }
}

fn line(row: &Row) -> String {
    let floor = row.floor.map_or(String::new(), |floor| {
        format!("{} ({:.0} %)", short(floor), 100.0 * row.value / floor)
    });
    let target = match row.target {
        None => String::new(),
        Some(Target::AtMost(most)) => format!("≤ {}", short(most)),
        Some(Target::AtLeast(least)) => format!("≥ {}", short(least)),
        Some(Target::OfFloor(part)) => format!("≥ {:.0} % of the floor", 100.0 * part),
    };
    let met = match row.is_met {
        None => "",
        Some(true) => "met",
        Some(false) => "missed",
    };
    format!(
        "| {} | {} | {} {} | {floor} | {target} | {met} |",
        row.case,
        row.measure,
        short(row.value),
        row.unit
    )
}

/// Three digits that mean something.
fn short(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

/// The one in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
