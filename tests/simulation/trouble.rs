//! What goes wrong: kills, freezes, a store that takes no writes, partitions, clocks, silences. How often is drawn from the seed.

use std::time::Duration;

use paramedic::store::sim::Fault;

use crate::{
    alertmanager::SOURCES,
    replica::{Replica, Role},
    rng::Rng,
    run::Run,
};

/// What a process that is told to end has for what it does.
const GRACE: Duration = Duration::from_secs(20);

/// In 10 000 chances each, if not said otherwise.
pub struct Rates {
    /// All are zero.
    pub calm: bool,
    pub kill: u64,
    pub freeze: u64,
    /// In the middle of a job; four times as often of a delivery, which takes fewer steps.
    pub halt: u64,
    pub early: u64,
    pub outage: u64,
    pub silence: u64,
    /// A process is replaced in good order.
    pub upgrade: u64,
    /// A clock is set.
    pub clock: u64,
    /// What a clock gains or loses in a second, at most, microseconds.
    pub drift: u64,
    pub network: u64,
    pub disk: u64,
}

impl Rates {
    pub fn draw(rng: &mut Rng) -> Self {
        // Now and then nothing goes wrong: then everything is in time.
        let calm = rng.chance(500);
        let mut level = |high| if calm || rng.chance(3_000) { 0 } else { rng.between(1, high) };
        Self {
            calm,
            kill: level(60),
            freeze: level(100),
            halt: level(100),
            early: level(2_000),
            outage: level(30),
            silence: level(60),
            upgrade: level(20),
            clock: level(40),
            drift: level(5_000),
            network: level(3_000),
            disk: level(300),
        }
    }
}

/// A time in which the store took no writes.
#[derive(Clone, Copy, Debug)]
pub struct Outage {
    pub from: Duration,
    pub to: Duration,
    /// Some replica saw all of it, and of the time before.
    pub seen: bool,
    /// All replicas did, and the store had been in order for a while.
    pub seen_by_all: bool,
}

/// Faults of the store, in 10 000 writes, and until when it takes none.
pub struct Disk {
    rate: u64,
    full: Option<Duration>,
    again: Duration,
    pub played: u64,
    pub outages: Vec<Outage>,
}

/// A replica knows the store's generation after so long.
const LEARNS: Duration = Duration::from_secs(20);

impl Disk {
    pub fn new(rate: u64) -> Self {
        Self { rate, full: None, again: Duration::ZERO, played: 0, outages: vec![] }
    }

    /// Nothing goes wrong any more.
    pub fn heal(&mut self, now: Duration, replicas: &[Replica]) {
        self.rate = 0;
        self.takes_writes(now, replicas);
    }

    /// True while it takes no writes.
    pub fn is_full(&self) -> bool {
        self.full.is_some()
    }

    fn takes_writes(&mut self, now: Duration, replicas: &[Replica]) {
        let Some(from) = self.full.take() else { return };
        let saw = |replica: &Replica| replica.is_up(now) && replica.steady + LEARNS <= from;
        let before = self.outages.last().map_or(Duration::ZERO, |outage| outage.to);
        self.outages.push(Outage {
            from,
            to: now,
            seen: replicas.iter().any(saw),
            seen_by_all: replicas.iter().all(saw) && before + Duration::from_mins(1) <= from,
        });
    }

    pub fn fault(&mut self, rng: &mut Rng) -> Option<Fault> {
        if self.full.is_some() {
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
            Role::Apply => (1_000, self.rates.halt * 4),
            Role::Start
            | Role::Watch
            | Role::Clock
            | Role::Claim(_)
            | Role::Intake(_)
            | Role::Person
            | Role::End => (1_000, 0),
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
        let starts = now + Duration::from_millis(self.rng.between(10, 40_000));
        self.die(r, starts);
    }

    /// It is gone, and whoever waited for it sees the connection break.
    pub fn die(&mut self, r: usize, starts: Duration) {
        let now = self.now();
        for ticket in self.replicas[r].die() {
            self.ams[ticket.source].answered(ticket, false, now);
        }
        self.replicas[r].starts = starts;
        self.deaths.push(now);
    }

    /// It is told to end, and another process takes its place.
    pub fn replace(&mut self, r: usize) {
        if self.replicas[r].engine.is_some() {
            self.trace.note(&format!("r{r} is to end"));
            let until = self.now() + GRACE;
            self.replicas[r].drain(until);
        }
    }

    /// It stands still, in the middle of whatever it does.
    fn freeze(&mut self, r: usize) {
        let long = Duration::from_millis(self.rng.between(500, 60_000));
        self.trace.fault(&format!("r{r} FROZEN for {long:?}"));
        let replica = &mut self.replicas[r];
        replica.frozen = self.clocks.now() + long;
        replica.steady = replica.steady.max(replica.frozen);
    }

    /// What goes wrong now, besides kills.
    pub fn trouble(&mut self) {
        let now = self.now();
        let r = self.rng.index(self.replicas.len());
        if self.rng.chance(self.rates.freeze) {
            self.freeze(r);
        }
        if self.rng.chance(self.rates.upgrade) {
            self.replace(r);
        }
        let am = self.rng.index(self.ams.len());
        if self.rng.chance(self.rates.silence) {
            let said = self.ams[am].silence(now);
            self.trace.note(&said);
        }
        if self.rng.chance(self.rates.silence / 20) {
            self.trace.fault(&format!("ALERTMANAGER {} restarts with nothing", SOURCES[am]));
            self.ams[am].restart(now);
        }
        if self.rng.chance(self.rates.clock) {
            let said = self.clocks.set(&mut self.rng);
            self.trace.fault(&said);
            // Each replica asks the store what time it is at least once a second.
            self.replicas.iter_mut().for_each(|replica| replica.must_look = true);
        }
        let mut disk = self.disk.lock().unwrap();
        if disk.is_full() && now >= disk.again {
            disk.takes_writes(now, &self.replicas);
            self.trace.note("the store takes writes again");
        } else if self.rng.chance(self.rates.outage) {
            disk.full.get_or_insert(now);
            disk.again = now + Duration::from_millis(self.rng.between(1_000, 150_000));
            self.trace.fault("THE STORE IS FULL");
        }
        drop(disk);
        if self.rng.chance(self.rates.outage) {
            let long = Duration::from_millis(self.rng.between(500, 40_000));
            self.network.state().partition = now + long;
            self.partitions.push((now, now + long));
            self.trace.fault(&format!("PARTITION for {long:?}"));
        }
        if self.world.stalling() > 0 && self.rng.chance(1_000) {
            self.world.release();
        }
    }
}
