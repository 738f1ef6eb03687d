//! What happened, in order: a hash of it proves that a seed replays, its lines tell a person the story.

use std::time::Duration;

/// The story of one run.
pub struct Trace {
    pub hash: u64,
    pub lines: Vec<String>,
    pub now: Duration,
    /// Faults that were played.
    pub faults: u64,
}

impl Trace {
    pub fn new() -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, lines: vec![], now: Duration::ZERO, faults: 0 }
    }

    pub fn note(&mut self, line: &str) {
        let line = format!("{:>10.3}  {line}", self.now.as_secs_f64());
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.lines.push(line);
    }

    pub fn fault(&mut self, line: &str) {
        self.faults += 1;
        self.note(line);
    }
}
