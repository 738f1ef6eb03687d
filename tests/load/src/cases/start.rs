//! How large it is, how soon it is ready, what it holds when nothing happens.

use std::{fs, time::Duration};

use super::Bench;
use crate::{
    machine::memory,
    report::{Report, Target, median},
};

/// After the start, until everything that starts has started.
const QUIET: Duration = Duration::from_secs(5);

/// The binary, the start with an empty store, and idle memory.
pub async fn measure(bench: &Bench, report: &mut Report) {
    let size = fs::metadata(&bench.program).expect("the binary").len();
    report.aim("release binary", size as f64 / 1_048_576.0, "MiB", Target::AtMost(30.0));
    let (mut ready, mut idle) = (vec![], vec![]);
    for _ in 0..bench.times() {
        let (setup, _folder) = bench.setup("127.0.0.1:9");
        let product = setup.start().await;
        ready.push(product.ready.as_secs_f64());
        tokio::time::sleep(QUIET).await;
        idle.push(memory(product.process.id()));
    }
    report.aim("start to ready, empty store", median(ready), "s", Target::AtMost(0.15));
    report.aim("memory, idle, 500 teams", median(idle), "MiB", Target::AtMost(25.0));
}
