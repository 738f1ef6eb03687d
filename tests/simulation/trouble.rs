//! What goes wrong: kills, freezes, a store that takes no writes, partitions, clocks, silences. How often is drawn from the seed.

use std::time::Duration;

use paramedic::store::sim::Fault;

use crate::{replica::Role, rng::Rng, run::Run};

/// In 10 000 chances each, if not said otherwise.
pub struct Rates {
    pub kill: u64,
    pub freeze: u64,
    /// In the middle of a job.
    pub halt: u64,
    pub early: u64,
    pub outage: u64,
    pub silence: u64,
    /// A clock is set.
    pub clock: u64,
    /// What a clock gains or loses in a second, at most, microseconds.
    pub drift: u64,
    pub network: u64,
    pub disk: u64,
}

impl Rates {
    pub fn draw(rng: &mut Rng) -> Self {
        let mut level = |high| if rng.chance(3_000) { 0 } else { rng.between(1, high) };
        Self {
            kill: level(60),
            freeze: level(100),
            halt: level(100),
            early: level(2_000),
            outage: level(30),
            silence: level(60),
            clock: level(40),
            drift: level(5_000),
            network: level(3_000),
            disk: level(300),
        }
    }
}

/// Faults of the store, in 10 000 writes, and until when it takes none.
pub struct Disk {
    rate: u64,
    full: bool,
    again: Duration,
    pub played: u64,
}

impl Disk {
    pub fn new(rate: u64) -> Self {
        Self { rate, full: false, again: Duration::ZERO, played: 0 }
    }

    /// Nothing goes wrong any more.
    pub fn heal(&mut self) {
        (self.rate, self.full) = (0, false);
    }

    pub fn fault(&mut self, rng: &mut Rng) -> Option<Fault> {
        if self.full {
            self.played += 1;
            return Some(Fault::Full);
        }
        if !rng.chance(self.rate) {
            return None;
        }
        self.played += 1;
        let faults = [
            Fault::Before,
            Fault::During,
            Fault::After,
            Fault::After,
            Fault::StallBefore,
            Fault::StallAfter,
        ];
        Some(faults[rng.index(faults.len())])
    }
}

impl Run {
    /// After a poll the replica may die, or stand still in the middle of what it does; true when it stands still.
    pub fn strikes(&mut self, r: usize, role: Role) -> bool {
        let (kills, halts) = match role {
            Role::Job => (3_000, self.rates.halt),
            Role::Apply => (1_000, self.rates.freeze * 2 / 5),
            Role::Start
            | Role::Watch
            | Role::Clock
            | Role::Claim(_)
            | Role::Intake(_)
            | Role::Person => (1_000, 0),
        };
        if self.rng.chance(self.rates.kill) && self.rng.chance(kills) {
            self.kill(r);
        }
        let halts = self.rng.chance(halts);
        if halts {
            self.freeze(r);
        }
        halts
    }

    pub fn kill(&mut self, r: usize) {
        let now = self.now();
        self.trace.fault(&format!("r{r} KILLED"));
        for id in self.replicas[r].die() {
            self.am.answered(id, false, now);
        }
        self.replicas[r].starts = now + Duration::from_millis(self.rng.between(10, 40_000));
    }

    /// It stands still, in the middle of whatever it does.
    fn freeze(&mut self, r: usize) {
        let long = Duration::from_millis(self.rng.between(500, 60_000));
        self.trace.fault(&format!("r{r} FROZEN for {long:?}"));
        self.replicas[r].frozen = self.now() + long;
    }

    /// What goes wrong now, besides kills.
    pub fn trouble(&mut self) {
        let now = self.now();
        let r = self.rng.index(self.replicas.len());
        if self.rng.chance(self.rates.freeze) {
            self.freeze(r);
        }
        if self.rng.chance(self.rates.silence) {
            let said = self.am.silence(now);
            self.trace.note(&said);
        }
        if self.rng.chance(self.rates.silence / 20) {
            self.trace.fault("ALERTMANAGER restarts with nothing");
            self.am.restart(now);
        }
        if self.rng.chance(self.rates.clock) {
            let said = self.clocks.set(&mut self.rng);
            self.trace.fault(&said);
            // Each replica asks the store what time it is at least once a second.
            self.replicas.iter_mut().for_each(|replica| replica.must_look = true);
        }
        let mut disk = self.disk.lock().unwrap();
        if disk.full && now >= disk.again {
            disk.full = false;
            self.trace.note("the store takes writes again");
        } else if self.rng.chance(self.rates.outage) {
            disk.full = true;
            disk.again = now + Duration::from_millis(self.rng.between(1_000, 90_000));
            self.trace.fault("THE STORE IS FULL");
        }
        drop(disk);
        if self.rng.chance(self.rates.outage) {
            let long = Duration::from_millis(self.rng.between(500, 40_000));
            self.network.state().partition = now + long;
            self.trace.fault(&format!("PARTITION for {long:?}"));
        }
        if self.world.stalling() > 0 && self.rng.chance(1_000) {
            self.world.release();
        }
    }
}
