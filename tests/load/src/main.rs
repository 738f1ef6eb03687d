//! Measures Paramedic: `./tests/bench` builds and runs it. Nothing here is a test: numbers are reported, never asserted. What is
//! asserted is the ledger: what was answered 2xx is in the store, and paged.

mod alerts;
mod cases;
mod drive;
mod floor;
mod machine;
mod report;
mod servers;
mod sink;

use std::path::PathBuf;

use crate::{cases::Bench, report::Report};

#[tokio::main]
async fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "floor") {
        return floor::serve(&arguments[1], &PathBuf::from(&arguments[2])).await;
    }
    let quick = arguments.iter().any(|argument| argument == "--quick");
    arguments.retain(|argument| argument != "--quick");
    let [program, results, wanted @ ..] = arguments.as_slice() else {
        eprintln!(
            "load <paramedic> <results.json> [--quick] [case…]; cases: {}",
            cases::names().join(" ")
        );
        std::process::exit(2);
    };
    if let Some(unknown) = wanted.iter().find(|name| !cases::names().contains(&name.as_str())) {
        eprintln!("no case named {unknown}; there are: {}", cases::names().join(" "));
        std::process::exit(2);
    }
    let bench = Bench { program: PathBuf::from(program), quick };
    let busy = machine::Busy::now();
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let machine =
        format!("{}; {:.2} CPUs were busy before the first case", machine::describe(), busy.cpus());
    eprintln!("{machine}");
    let mut report = Report::default();
    cases::run(&bench, wanted, &mut report).await;
    report.publish(&PathBuf::from(results), &machine);
}
