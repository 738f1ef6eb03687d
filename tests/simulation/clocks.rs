//! Clocks: each machine has a wall clock of its own, which drifts, and which somebody sets by minutes or hours, ahead and back.
//! Monotonic time is the same for all of them.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use paramedic::ops::clock::{Clock, Manual};

use crate::rng::Rng;

/// One machine's clock.
struct Machine {
    clock: Clock,
    hand: Manual,
    /// By how much its wall clock is ahead.
    ahead: SignedDuration,
    /// What it gains in a second, microseconds.
    drift: i32,
}

/// The clock that is right, the server's, and each machine's.
pub struct Clocks {
    truth: (Clock, Manual),
    machines: Vec<Machine>,
    /// When a machine's time leapt ahead, and which.
    leaps: Vec<(usize, Duration)>,
}

/// Place of the server's machine; replicas follow.
const SERVER: usize = 0;

impl Clocks {
    pub fn new(epoch: Timestamp, replicas: usize, drift: u64, rng: &mut Rng) -> Self {
        let machine = |_| {
            let (clock, hand) = Clock::manual(epoch);
            let drift =
                i32::try_from(rng.between(0, 2 * drift)).unwrap() - i32::try_from(drift).unwrap();
            Machine { clock, hand, ahead: SignedDuration::ZERO, drift }
        };
        let machines = (0..=replicas).map(machine).collect();
        Self { truth: Clock::manual(epoch), machines, leaps: vec![] }
    }

    /// What time it is.
    pub fn truth(&self) -> &Clock {
        &self.truth.0
    }

    /// The database server's.
    pub fn server(&self) -> &Clock {
        &self.machines[SERVER].clock
    }

    /// A replica's.
    pub fn replica(&self, number: usize) -> &Clock {
        &self.machines[SERVER + 1 + number].clock
    }

    /// Time passes, everywhere.
    pub fn advance(&mut self, by: Duration) {
        self.truth.1.advance(by);
        for machine in &mut self.machines {
            machine.ahead += SignedDuration::try_from(by).unwrap() * machine.drift / 1_000_000;
            machine.hand.advance(by);
            machine.hand.set_wall(self.truth.0.now() + machine.ahead);
        }
    }

    /// Somebody sets a clock: right, or by minutes to hours wrong.
    pub fn set(&mut self, rng: &mut Rng) -> String {
        let place = rng.index(self.machines.len());
        let machine = &mut self.machines[place];
        let (least, most) = if rng.chance(5_000) { (5, 600) } else { (600, 3 * 3_600) };
        let by = i64::try_from(rng.between(least, most)).unwrap();
        let by = SignedDuration::from_secs(if rng.chance(5_000) { by } else { -by });
        let before = machine.ahead;
        machine.ahead = if rng.chance(4_000) { SignedDuration::ZERO } else { by };
        if machine.ahead > before {
            self.leaps.push((place, self.truth.0.monotonic()));
        }
        machine.hand.set_wall(self.truth.0.now() + machine.ahead);
        let name = if place == SERVER {
            "the store's server".to_owned()
        } else {
            format!("r{}", place - SERVER - 1)
        };
        format!("CLOCK of {name} is {:?} ahead", machine.ahead)
    }

    /// All of them are right, and stay so.
    pub fn make_right(&mut self) {
        for (place, machine) in self.machines.iter_mut().enumerate() {
            if machine.ahead < SignedDuration::ZERO {
                self.leaps.push((place, self.truth.0.monotonic()));
            }
            (machine.ahead, machine.drift) = (SignedDuration::ZERO, 0);
            machine.hand.set_wall(self.truth.0.now());
        }
    }

    /// When the store's time leapt ahead: the leases of workers at work ended then.
    pub fn leaps(&self, is_file: bool) -> Vec<Duration> {
        let place = if is_file { SERVER + 1 } else { SERVER };
        self.leaps.iter().filter(|(of, _)| *of == place).map(|(_, at)| *at).collect()
    }

    /// Since the beginning.
    pub fn now(&self) -> Duration {
        self.truth.0.monotonic()
    }
}
