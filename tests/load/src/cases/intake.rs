//! Durable answers per second, beside the floor in the same window: A B A B.

use std::time::Duration;

use super::{Bench, folder};
use crate::{
    alerts::Template,
    drive::{Outcome, Target as Load, closed, fresh_ids, percentile},
    machine::{cpu, number, peak},
    report::{Report, Target, median},
    servers::{Floor, Process, Setup},
    sink::Sink,
};

/// Alerts in a webhook, and connections.
const SHAPES: [(usize, usize); 6] = [(1, 1), (1, 16), (1, 64), (20, 1), (20, 16), (20, 64)];
/// Long enough for hundreds of commits, and short of the 50 000 webhooks that may wait.
const TIME: Duration = Duration::from_secs(3);

struct Measured {
    per_second: f64,
    p99: f64,
    cpu_per_alert: f64,
    bytes_per_alert: f64,
    peak: f64,
}

/// For each shape: answers per second, and what one alert costs.
pub async fn measure(bench: &Bench, report: &mut Report) {
    let sink = Sink::start().await;
    for (alerts, connections) in SHAPES {
        if bench.quick && connections == 1 {
            continue;
        }
        let (mut ours, mut floors, mut nothing) = (vec![], vec![], vec![]);
        for _ in 0..bench.times() {
            let place = folder();
            let floor = Floor::start(place.path()).await;
            floors
                .push(load(&floor.process, &floor.target, alerts, connections).await.0.per_second);
            let undurable = Load { path: "/floor", ..floor.target.clone() };
            nothing.push(load(&floor.process, &undurable, alerts, connections).await.0.per_second);
            drop(floor);
            let (setup, _folder) = bench.setup(&sink.address);
            ours.push(product(&setup, alerts, connections).await);
        }
        let of = |value: fn(&Measured) -> f64| median(ours.iter().map(value).collect());
        let shape = format!(
            "{alerts} alert{}, {connections} connections",
            if alerts == 1 { "" } else { "s" }
        );
        let target = Target::OfFloor(0.6);
        report.beside(
            format!("webhooks per second, {shape}"),
            of(|m| m.per_second),
            "/s",
            median(floors),
            target,
        );
        report.say(format!("floor that stores nothing, {shape}"), median(nothing), "/s");
        report.say(format!("answer, p99, {shape}"), of(|m| m.p99), "ms");
        report.say(
            format!("CPU per alert, intake and what it starts, {shape}"),
            of(|m| m.cpu_per_alert),
            "ms",
        );
        report.say(
            format!("written per alert, {shape}"),
            of(|m| m.bytes_per_alert) / 1024.0,
            "KiB",
        );
        report.say(format!("peak memory, {shape}"), of(|m| m.peak), "MiB");
    }
}

async fn load(
    process: &Process,
    target: &Load,
    alerts: usize,
    connections: usize,
) -> (Measured, Outcome) {
    let (cpu_before, written) = (cpu(process.id()), number(process.id(), "io", "write_bytes"));
    let mut outcome = closed(target, connections, TIME, &Template::new(alerts), &fresh_ids()).await;
    let taken = (outcome.taken.len() * alerts) as f64;
    let measured = Measured {
        per_second: outcome.per_second(),
        p99: percentile(&mut outcome.waits, 99).as_secs_f64() * 1_000.0,
        cpu_per_alert: (cpu(process.id()) - cpu_before) * 1_000.0 / taken,
        bytes_per_alert: (number(process.id(), "io", "write_bytes") - written) / taken,
        peak: peak(process.id()),
    };
    (measured, outcome)
}

/// The product, killed in the end: the store must hold exactly what was answered.
async fn product(setup: &Setup, alerts: usize, connections: usize) -> Measured {
    let product = setup.start().await;
    let (measured, outcome) = load(&product.process, &product.target(), alerts, connections).await;
    assert_eq!(outcome.refused, 0, "nothing is refused at this load");
    drop(product.process);
    assert_eq!(stored(setup), outcome.taken.len(), "the store holds what was answered");
    measured
}

/// Webhooks that the store ever took.
fn stored(setup: &Setup) -> usize {
    let db = rusqlite::Connection::open(setup.file()).expect("the store's file");
    let sql = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'deliveries'";
    let count: i64 = db.query_row(sql, [], |row| row.get(0)).expect("the number of webhooks");
    let waiting = "SELECT count(*) FROM deliveries WHERE state = 'new'";
    let waiting: i64 = db.query_row(waiting, [], |row| row.get(0)).expect("those that wait");
    let incidents: i64 =
        db.query_row("SELECT count(*) FROM incidents", [], |row| row.get(0)).expect("incidents");
    assert_eq!(waiting + incidents, count, "each webhook waits or has its incident");
    usize::try_from(count).expect("a count")
}
