//! Many at once, as after an outage of Alertmanager; and one webhook that holds very many.

use std::time::Instant;

use super::{Bench, flow::all_paged};
use crate::{
    alerts::Template,
    drive::{fresh_ids, open, post},
    machine::peak,
    report::{Report, Target},
    sink::Sink,
};

/// Webhooks of the burst, and how many of them a second.
const BURST: (f64, u64) = (20_000.0, 10_000);
/// Alerts of the one webhook.
const STORM: usize = 10_000;

/// What is lost, and when everything is done.
pub async fn measure(bench: &Bench, report: &mut Report) {
    let sink = Sink::start().await;
    let (setup, _folder) = bench.setup(&sink.address);
    let product = setup.start().await;
    let (rate, total) = if bench.quick { (BURST.0, BURST.1 / 10) } else { BURST };
    let begin = Instant::now();
    let sent =
        open(&product.target(), (rate, total), 64, &Template::new(1), &fresh_ids(), true).await;
    report.say(
        format!("{total} webhooks at {rate}/s: all answered after"),
        sent.took.as_secs_f64(),
        "s",
    );
    report.say("of these refused at first, and sent again", sent.refused as f64, "");
    setup.until_applied().await;
    report.say("all are incidents after", begin.elapsed().as_secs_f64(), "s");
    let paged = all_paged(&sink, &sent).await.len();
    report.say("all are paged after", begin.elapsed().as_secs_f64(), "s");
    report.aim("alerts lost", total as f64 - paged as f64, "", Target::AtMost(0.0));
    report.say("peak memory", peak(product.process.id()), "MiB");
    drop(product);

    let (setup, _folder) = bench.setup(&sink.address);
    let product = setup.start().await;
    let body = Template::new(STORM).body(1);
    let (size, begin) = (body.len(), Instant::now());
    let status = post(&product.target(), &mut None, body).await;
    assert_eq!(status, Some(200), "the webhook of {STORM} alerts is taken");
    let measure = format!("one webhook of {STORM} alerts ({} MiB): answered after", size >> 20);
    report.say(measure, begin.elapsed().as_secs_f64() * 1_000.0, "ms");
    setup.until_applied().await;
    report.say("applied after", begin.elapsed().as_secs_f64(), "s");
    report.say("peak memory", peak(product.process.id()), "MiB");
}
