//! What a process costs, and how busy the machine is, from `/proc`.

use std::{fs, time::Instant};

/// Clock ticks per second: the kernel's, for user space, on every Linux.
const TICKS: f64 = 100.0;

/// CPU seconds of a process so far.
pub fn cpu(process: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields: Vec<&str> =
        text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks =
        |place: usize| fields.get(place).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / TICKS
}

/// A line of `/proc/<process>/<file>` that is a number, as it stands there: `status` has kB, `io` bytes.
pub fn number(process: u32, file: &str, name: &str) -> f64 {
    let text = fs::read_to_string(format!("/proc/{process}/{file}")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0.0)
}

/// Memory in use now, MiB.
pub fn memory(process: u32) -> f64 {
    number(process, "status", "VmRSS") / 1_024.0
}

/// The most memory that was ever in use, MiB.
pub fn peak(process: u32) -> f64 {
    number(process, "status", "VmHWM") / 1_024.0
}

/// How much of the machine all processes use.
pub struct Busy {
    since: Instant,
    ticks: f64,
}

impl Busy {
    /// From now.
    pub fn now() -> Self {
        Self { since: Instant::now(), ticks: ticks() }
    }

    /// CPUs in use since then, on average.
    pub fn cpus(&self) -> f64 {
        (ticks() - self.ticks) / TICKS / self.since.elapsed().as_secs_f64()
    }
}

/// Ticks that any CPU was not idle.
fn ticks() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<f64> = text
        .lines()
        .next()
        .unwrap_or("")
        .split_whitespace()
        .skip(1)
        .filter_map(|text| text.parse().ok())
        .collect();
    fields.iter().take(8).sum::<f64>()
        - fields.get(3).unwrap_or(&0.0)
        - fields.get(4).unwrap_or(&0.0)
}

/// Processor, CPUs, memory and kernel.
pub fn describe() -> String {
    let text = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let field = |file: &str, name: &str| {
        let text = text(file);
        let line = text.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
        line.map(|line| line.trim_start_matches([' ', '\t', ':']).to_owned()).unwrap_or_default()
    };
    let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let memory = field("/proc/meminfo", "MemTotal");
    let kernel = text("/proc/sys/kernel/osrelease");
    format!(
        "{cpus} CPUs ({}), {memory}, Linux {}",
        field("/proc/cpuinfo", "model name"),
        kernel.trim()
    )
}
