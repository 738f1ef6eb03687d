//! Very many alerts that are open at the same time.

use std::time::Instant;

use super::Bench;
use crate::{
    alerts::Template,
    drive::{fresh_ids, open},
    machine::{cpu, memory, peak},
    report::{Report, Target},
    sink::Sink,
};

/// Alerts in a webhook; it is one incident.
const EACH: usize = 1_000;

/// What 100 000 open alerts hold and cost.
pub async fn measure(bench: &Bench, report: &mut Report) {
    let incidents = if bench.quick { 10 } else { 100 };
    let sink = Sink::start().await;
    let (setup, _folder) = bench.setup(&sink.address);
    let product = setup.start().await;
    let begin = Instant::now();
    let sent =
        open(&product.target(), (50.0, incidents), 4, &Template::new(EACH), &fresh_ids(), true)
            .await;
    setup.until_applied().await;
    let open_alerts = incidents as usize * EACH;
    assert_eq!(sent.taken.len() as u64, incidents, "all were taken");
    report.say(
        format!("{open_alerts} alerts in {incidents} incidents: applied after"),
        begin.elapsed().as_secs_f64(),
        "s",
    );
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    let process = product.process.id();
    report.aim(
        format!("memory with {open_alerts} open alerts"),
        memory(process),
        "MiB",
        Target::AtMost(150.0),
    );
    report.say("peak memory on the way there", peak(process), "MiB");
    let before = cpu(process);
    tokio::time::sleep(bench.time()).await;
    report.say(
        "CPU while nothing happens",
        (cpu(process) - before) / bench.time().as_secs_f64() * 100.0,
        "%",
    );
    product.process.stop();
    let product = setup.start().await;
    report.say("start to ready with these", product.ready.as_secs_f64(), "s");
}
