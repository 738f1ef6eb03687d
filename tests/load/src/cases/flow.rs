//! From webhook to page, and one step of a playbook: how long it takes, and how many of them it bears.

use std::time::Duration;

use super::Bench;
use crate::{
    alerts::Template,
    drive::{Outcome, fresh_ids, open, percentile},
    machine::{cpu, number, peak},
    report::{Report, Target, median},
    servers::{Product, until},
    sink::Sink,
};

/// What a rate costs.
pub struct Flow {
    /// From due to paged, seconds.
    pub p50: f64,
    /// The same.
    pub p99: f64,
    /// CPU for one alert with everything that it starts, milliseconds.
    pub cpu: f64,
    /// Written for one alert, KiB.
    pub written: f64,
    /// Done this long after the last request was due, seconds.
    pub drained: f64,
}

const CONNECTIONS: usize = 32;
/// An alert a second more or less than asked for is borne when its page is not later than this at p99, and nothing waits long after.
const BORNE: Duration = Duration::from_secs(2);

/// Latency at 50/s, and the highest rate that is borne.
pub async fn measure(bench: &Bench, report: &mut Report) {
    let mut runs = vec![];
    for _ in 0..bench.times() {
        let sink = Sink::start().await;
        let (setup, _folder) = bench.setup(&sink.address);
        runs.push(at(&setup.start().await, &sink, 50.0, bench.time()).await);
    }
    let of = |value: fn(&Flow) -> f64| median(runs.iter().map(value).collect());
    report.aim("webhook to page at 50/s, p50", of(|f| f.p50) * 1_000.0, "ms", Target::AtMost(3.0));
    report.aim("webhook to page at 50/s, p99", of(|f| f.p99) * 1_000.0, "ms", Target::AtMost(10.0));
    report.say("CPU per alert, step and page included", of(|f| f.cpu), "ms");
    report.say("written per alert, step and page included", of(|f| f.written), "KiB");

    let (mut best, mut memory) = (0.0, 0.0);
    for rate in [100.0, 200.0, 400.0, 600.0, 800.0, 1_200.0, 1_600.0, 2_000.0, 4_000.0] {
        let sink = Sink::start().await;
        let (setup, _folder) = bench.setup(&sink.address);
        let product = setup.start().await;
        let flow = at(&product, &sink, rate, bench.time()).await;
        eprintln!(
            "{rate}/s: p50 {:.1} ms, p99 {:.1} ms, done {:.1} s later, CPU {:.2} ms",
            flow.p50 * 1e3,
            flow.p99 * 1e3,
            flow.drained,
            flow.cpu
        );
        if flow.p99 > BORNE.as_secs_f64() || flow.drained > BORNE.as_secs_f64() {
            break;
        }
        (best, memory) = (rate, peak(product.process.id()));
    }
    report.aim(
        "alerts per second that are borne, step and page included",
        best,
        "/s",
        Target::AtLeast(2_000.0),
    );
    report.aim("peak memory at that rate", memory, "MiB", Target::AtMost(80.0));
}

/// One alert per webhook at this rate. Each must be paged and have its step, whatever the rate.
pub async fn at(product: &Product, sink: &Sink, rate: f64, time: Duration) -> Flow {
    let process = product.process.id();
    let (cpu_before, written) = (cpu(process), number(process, "io", "write_bytes"));
    let steps = product.metric("paramedic_steps_total").await;
    let total = (rate * time.as_secs_f64()) as u64;
    let sent =
        open(&product.target(), (rate, total), CONNECTIONS, &Template::new(1), &fresh_ids(), true)
            .await;
    let last = sent.taken.iter().map(|(_, due)| *due).max().expect("something was sent");
    let mut waits = all_paged(sink, &sent).await;
    product.until_metric("paramedic_steps_total", steps + total as f64).await;
    Flow {
        drained: last.elapsed().as_secs_f64(),
        p50: percentile(&mut waits, 50).as_secs_f64(),
        p99: percentile(&mut waits, 99).as_secs_f64(),
        cpu: (cpu(process) - cpu_before) * 1_000.0 / total as f64,
        written: (number(process, "io", "write_bytes") - written) / 1024.0 / total as f64,
    }
}

/// Waits until every alert that was taken is paged; none is twice.
pub async fn all_paged(sink: &Sink, sent: &Outcome) -> Vec<Duration> {
    let paged = async || sink.waits(sent).len() == sent.taken.len();
    until("every alert is paged", Duration::from_millis(50), paged).await;
    assert_eq!(sink.twice(), 0, "no page came twice");
    sink.waits(sent)
}
