//! What is only computing: which of many playbooks an alert leads to, and all signatures over a log.

use std::{
    collections::BTreeMap,
    hint::black_box,
    time::{Duration, Instant},
};

use jiff::civil::date;
use paramedic::{
    domain::{evidence::Origin, template::Scope},
    playbook::{
        catalog::Catalog,
        source::{File, Kind},
    },
};

use super::Bench;
use crate::report::{Report, Target, median};

const PLAYBOOKS: usize = 1_000;
/// Bytes of the log.
const LOG: usize = 32 << 20;

/// Both, on one core.
pub fn measure(bench: &Bench, report: &mut Report) {
    let files: Vec<File> = (0..PLAYBOOKS).map(playbook).collect();
    let catalog = Catalog::build(&[], &files, date(2026, 11, 30)).expect("the playbooks are right");
    let labels: BTreeMap<String, String> = [
        ("alertname", "KubePodCrashLooping"),
        ("cluster", "prod-eu1"),
        ("namespace", "spark-500"),
        ("severity", "critical"),
        ("pod", "etl-daily-93c1a78b2f4d6e10-exec-2"),
        ("container", "spark-kubernetes-executor"),
        ("team", "data"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let scope = Scope::default();
    assert_eq!(catalog.matching(&labels, &scope).len(), 1, "one of them answers");
    let rounds = if bench.quick { 100 } else { 2_000 };
    let matched = (0..bench.times()).map(|_| {
        let begin = Instant::now();
        for _ in 0..rounds {
            black_box(catalog.matching(black_box(&labels), &scope));
        }
        begin.elapsed().as_secs_f64() * 1e6 / f64::from(rounds)
    });
    let measure = format!("one alert against {PLAYBOOKS} playbooks");
    report.aim(measure, median(matched.collect()), "µs", Target::AtMost(50.0));

    let shipped = Catalog::shipped(date(2026, 11, 30)).expect("what is shipped is right");
    let log = log();
    let read = (0..bench.times())
        .map(|_| log.len() as f64 / 1_048_576.0 / search(&shipped, &log).as_secs_f64());
    report.aim(
        "all shipped signatures over a log, one core",
        median(read.collect()),
        "MiB/s",
        Target::AtLeast(200.0),
    );
}

/// Each answers one namespace.
fn playbook(number: usize) -> File {
    let text = format!(
        "name: p{number}\ntitle: Playbook {number}\nowner: team:data\nreviewed: 2026-11-30\n\
         match: [ 'alertname=~\"KubePod.*\"', 'namespace=\"spark-{number}\"' ]\nsteps: [ {{ id: similar, incident.similar: {{}} }} ]\n"
    );
    File { name: format!("p{number}.yaml"), kind: Kind::Playbook, text }
}

/// A driver's log in which nothing is wrong: that is what is read most.
fn log() -> String {
    let lines = [
        "26/11/23 03:12:01 INFO TaskSetManager: Starting task 41.0 in stage 7.0 (TID 913) (10.244.3.17, executor 2, partition 41, PROCESS_LOCAL, 9214 bytes)\n",
        "26/11/23 03:12:02 INFO TaskSetManager: Finished task 40.0 in stage 7.0 (TID 912) in 812 ms on 10.244.3.16 (executor 1) (40/200)\n",
        "26/11/23 03:12:02 INFO BlockManagerInfo: Added broadcast_12_piece0 in memory on 10.244.3.17:38217 (size: 34.1 KiB, free: 2.8 GiB)\n",
        "26/11/23 03:12:03 WARN ProcfsMetricsGetter: Exception when trying to compute pagesize, as a result reporting of ProcessTree metrics is stopped\n",
        "26/11/23 03:12:04 INFO ShuffleBlockFetcherIterator: Getting 200 (412.7 MiB) non-empty blocks including 20 (41.3 MiB) local\n",
    ];
    lines
        .into_iter()
        .cycle()
        .scan(0, |size, line| {
            *size += line.len();
            (*size <= LOG).then_some(line)
        })
        .collect()
}

fn search(catalog: &Catalog, log: &str) -> Duration {
    let begin = Instant::now();
    let mut search = catalog.signatures.search();
    let source = search.source(Origin::DriverLog, "driver", true);
    for (number, line) in (1..).zip(log.lines()) {
        search.read(source, number, line);
    }
    black_box(search.end());
    begin.elapsed()
}
