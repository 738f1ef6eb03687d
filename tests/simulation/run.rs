//! One run: a world with a store, replicas, an Alertmanager, a network and people, driven by one seed.
//!
//! Only this driver polls. After each poll the store's writer works off what it was asked, so a poll finds the same answers in
//! every run of a seed. Time moves when nothing is left to do now, or, while there is chaos, a little before.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use paramedic::{
    domain::ids::IncidentId,
    ops::{
        guard,
        lifecycle::{self, Tasks},
    },
    store::{
        Settings, Store,
        sim::{Kind, World},
    },
};

use crate::{
    alertmanager::{Alertmanager, SOURCES},
    clocks::Clocks,
    diagnosis,
    matrix::{self, Matrix},
    network::Network,
    oracle,
    phone::{Page, Phone},
    replica::{Done, Plan, Replica, Role},
    rng::Rng,
    slack::{self, Slack},
    trace::Trace,
    trouble::{Disk, Rates},
};

/// When each run begins.
pub const EPOCH: &str = "2026-11-23T03:00:00Z";
/// How long faults are played.
pub const CHAOS: Duration = Duration::from_mins(12);
/// How long the world is left alone afterwards.
const QUIET: Duration = Duration::from_mins(14);
/// Between two replacements of a process in peace.
const UPGRADES: Duration = Duration::from_mins(4);
/// Two polls of Alertmanager, and what they need: by then what notifies has its incident.
const ADOPTED: Duration = Duration::from_secs(200);
/// Between two looks for that.
const LOOKS: Duration = Duration::from_mins(1);
/// Polls at one instant, at most.
const POLLS: usize = 20_000;

/// How a run ended.
pub struct Ended {
    pub hash: u64,
    pub faults: u64,
    pub wrong: Vec<String>,
    pub lines: Vec<String>,
}

pub struct Run {
    pub rng: Rng,
    pub rates: Rates,
    pub clocks: Clocks,
    pub world: Arc<World>,
    pub is_file: bool,
    name: String,
    pub store: Store,
    plan: &'static Plan,
    pub disk: Arc<Mutex<Disk>>,
    pub replicas: Vec<Replica>,
    pub network: Network,
    pub ams: Vec<Alertmanager>,
    /// When processes died or ended.
    pub deaths: Vec<Duration>,
    /// From when to when the network carried nothing.
    pub partitions: Vec<(Duration, Duration)>,
    /// The last time that something was wrong, and the last look at what must be right after a while without that.
    troubled: Duration,
    calm: Duration,
    faults: u64,
    wrong: Vec<String>,
    pub phone: Phone,
    pub slack: Slack,
    pub matrix: Matrix,
    people: BTreeMap<(Duration, u64), Page>,
    pub trace: Trace,
    chaos: bool,
}

/// Plays a seed, without one guard if one is named.
pub fn play(seed: u64, away: Option<guard::Guard>) -> Ended {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    guard::take_away(away);
    lifecycle::block_in_place(true);
    let ended = runtime.block_on(async {
        let tasks = Tasks::default();
        let mut run = Run::begin(seed, &tasks).await;
        let mut wrong = run.drive().await;
        wrong.extend(oracle::judge(&run).await);
        if !wrong.is_empty() {
            run.trace.lines.extend(oracle::timelines(&run).await);
        }
        run.replicas.iter_mut().for_each(|replica| drop(replica.die()));
        tasks.stop().stopped.cancel();
        let faults = run.trace.faults + run.disk.lock().unwrap().played;
        Ended { hash: run.trace.hash, faults, wrong, lines: run.trace.lines }
    });
    guard::take_away(None);
    lifecycle::block_in_place(false);
    ended
}

impl Run {
    async fn begin(seed: u64, tasks: &Tasks) -> Self {
        let mut rng = Rng::new(seed);
        let epoch = EPOCH.parse().unwrap();
        let rates = Rates::draw(&mut rng);
        // A file has one process, and its time; a server has replicas, and a time of its own.
        let is_file = rng.chance(2_000);
        let replicas = if is_file { 1 } else { usize::try_from(rng.between(1, 3)).unwrap() };
        let clocks = Clocks::new(epoch, replicas, rates.drift, &mut rng);
        let name = format!("{seed}-{:?}", std::thread::current().id());
        let kind = if is_file { Kind::File } else { Kind::Server(clocks.server().clone()) };
        let world = World::of(kind, &name, tasks).await.unwrap();
        oracle::keep_history(&world).await;
        // The world's own look at the store; a file's has the process's time.
        let settings = Settings::at(format!("sim:{name}"));
        let clock = if is_file { clocks.replica(0) } else { clocks.server() };
        let store = Store::open(&settings, clock.clone(), tasks).await.unwrap();
        let network = Network::start(rng.fork(), clocks.truth().clone());
        network.state().rate = rates.network;
        let disk = Arc::new(Mutex::new(Disk::new(rates.disk)));
        let (mut of_disk, told) = (rng.fork(), Arc::clone(&disk));
        world.plan(move |_| told.lock().unwrap().fault(&mut of_disk));
        let names = if rng.chance(5_000) { 2 } else { 0 };
        let ams = [(0, 4), (1, names)];
        let ams = ams.map(|(source, names)| Alertmanager::start(source, names, rng.fork(), epoch));
        let ams = ams.into_iter().collect();
        Self {
            replicas: (0..replicas).map(Replica::new).collect(),
            ams,
            deaths: vec![],
            partitions: vec![],
            troubled: Duration::ZERO,
            calm: Duration::ZERO,
            faults: 0,
            wrong: vec![],
            rates,
            clocks,
            world,
            is_file,
            name,
            store,
            plan: Plan::get().await,
            disk,
            network,
            phone: Phone::default(),
            slack: Slack::default(),
            matrix: Matrix::default(),
            people: BTreeMap::new(),
            trace: Trace::new(),
            chaos: true,
            rng,
        }
    }

    pub fn now(&self) -> Duration {
        self.clocks.now()
    }

    /// Chaos, then peace; what went wrong with the driving itself.
    async fn drive(&mut self) -> Vec<String> {
        let (mut upgrades, mut next) = (CHAOS + UPGRADES, 0);
        while self.now() < CHAOS + QUIET {
            if self.chaos && self.now() >= CHAOS {
                self.make_peace();
            }
            if !self.chaos && self.now() >= upgrades {
                self.replace(next % self.replicas.len());
                (upgrades, next) = (upgrades + UPGRADES, next + 1);
            }
            if let Err(why) = self.instant().await {
                return vec![why];
            }
            self.look_if_calm().await;
            self.advance().await;
        }
        std::mem::take(&mut self.wrong)
    }

    /// What must hold whenever nothing went wrong for a while.
    async fn look_if_calm(&mut self) {
        let now = self.now();
        let faults = self.trace.faults + self.disk.lock().unwrap().played;
        let is_calm = faults == self.faults
            && self.replicas.iter().any(|replica| replica.is_up(now))
            && !self.disk.lock().unwrap().is_full()
            && self.network.state().partition <= now
            && self.world.stalling() == 0;
        self.faults = faults;
        if !is_calm {
            self.troubled = now;
        }
        if now < self.troubled + ADOPTED || now < self.calm + LOOKS {
            return;
        }
        self.calm = now;
        let missing = oracle::not_adopted(self, ADOPTED).await;
        self.wrong.extend(missing.into_iter().map(|what| format!("{what} (at {now:?})")));
    }

    fn make_peace(&mut self) {
        self.trace.note("peace");
        self.chaos = false;
        self.ams.iter_mut().for_each(|am| am.lively = false);
        self.disk.lock().unwrap().heal(self.now(), &self.replicas);
        let mut network = self.network.state();
        (network.rate, network.partition) = (0, Duration::ZERO);
        drop(network);
        self.world.release();
        self.clocks.make_right();
        let now = self.now();
        for replica in &mut self.replicas {
            (replica.frozen, replica.starts) = (now, replica.starts.min(now));
            (replica.steady, replica.must_look) = (replica.steady.min(now), true);
        }
    }

    /// Everything that happens now.
    async fn instant(&mut self) -> Result<(), String> {
        self.trace.now = self.now();
        self.outside();
        if self.chaos {
            self.trouble();
        }
        let now = self.now();
        for replica in &mut self.replicas {
            if replica.is_dead() && replica.starts <= now {
                replica.start(self.plan, self.clocks.replica(replica.number), &self.name);
            }
            replica.end(now);
        }
        self.look_for_work().await;
        for _ in 0..POLLS {
            let now = self.now();
            let ready: Vec<(usize, usize)> = self
                .replicas
                .iter()
                .enumerate()
                .filter(|(_, replica)| replica.frozen <= now)
                .flat_map(|(r, replica)| {
                    replica
                        .actors
                        .iter()
                        .enumerate()
                        .filter(|(_, a)| a.is_ready())
                        .map(move |(a, _)| (r, a))
                })
                .collect();
            if ready.is_empty() {
                return Ok(());
            }
            let (r, a) = ready[self.rng.index(ready.len())];
            let role = self.replicas[r].actors[a].role;
            self.poll(r, a).await;
            if self.chaos && (self.strikes(r, role) || self.rng.chance(self.rates.early / 20)) {
                return Ok(());
            }
        }
        Err(format!("at {:?} it never comes to rest", self.now()))
    }

    async fn poll(&mut self, r: usize, a: usize) {
        let actor = &mut self.replicas[r].actors[a];
        self.network.state().current.clone_from(&actor.job);
        let polled = actor.poll();
        self.network.state().current = None;
        self.world.settled().await.unwrap();
        for fault in std::mem::take(&mut self.network.state().faults) {
            self.trace.fault(&format!("r{r} {fault}"));
        }
        let Poll::Ready(done) = polled else { return };
        let actor = self.replicas[r].actors.remove(a);
        let (name, now) = (actor.name.clone(), self.now());
        match done {
            Done::Started(Some(engine)) => {
                self.trace.note(&format!("r{r} {name} started"));
                self.replicas[r].lives(*engine, now);
            }
            Done::Started(None) => self.replicas[r].starts = now + Duration::from_secs(1),
            Done::Applied => {}
            Done::Claimed(jobs, asked) => {
                for job in jobs {
                    self.trace.note(&format!(
                        "r{r} claims {} #{} attempt {}{}",
                        job.key,
                        job.fence,
                        job.attempt,
                        if job.unclear { " unclear" } else { "" }
                    ));
                    self.replicas[r].run(job, asked);
                }
            }
            Done::Ran => self.trace.note(&format!("r{r} ran {name}")),
            Done::Took(ticket, taken) => {
                let answer = if taken { "200" } else { "503" };
                self.trace.note(&format!("r{r} webhook {ticket}: {answer}"));
                self.ams[ticket.source].answered(ticket, taken, now);
            }
            Done::Ended => {
                self.trace.note(&format!("r{r} ended"));
                let starts = now + Duration::from_secs(self.rng.between(1, 10));
                self.die(r, starts);
            }
            Done::Acked(said) => self.trace.note(&format!("r{r} {name}: {said}")),
        }
    }

    /// Alertmanager, the network, people.
    fn outside(&mut self) {
        let now = self.now();
        let sent: Vec<_> = self.ams.iter_mut().flat_map(|am| am.step(now)).collect();
        // Alertmanager hangs up on what it gave up, and the server drops the request.
        for replica in &mut self.replicas {
            replica.actors.retain(|actor| match actor.role {
                Role::Intake(ticket) => self.ams[ticket.source].waits_for(ticket),
                Role::Start
                | Role::Watch
                | Role::Clock
                | Role::Apply
                | Role::Claim(_)
                | Role::Job
                | Role::Person
                | Role::End => true,
            });
        }
        for (ticket, body, says) in sent {
            let up: Vec<usize> =
                self.replicas.iter().filter(|r| r.is_up(now)).map(|r| r.number).collect();
            let lost = self.chaos && self.rng.chance(self.network.state().rate / 2);
            if lost || up.is_empty() {
                self.trace.note(&format!("webhook {ticket} finds nobody"));
                self.ams[ticket.source].answered(ticket, false, now);
                continue;
            }
            let r = up[self.rng.index(up.len())];
            self.trace.note(&format!("webhook {ticket} to r{r}: {says}"));
            self.replicas[r].take_in(ticket, body);
        }
        let (ams, phone, trace, rng, people) =
            (&mut self.ams, &mut self.phone, &mut self.trace, &mut self.rng, &mut self.people);
        let (slack, matrix) = (&mut self.slack, &mut self.matrix);
        self.network.carry(now, |request| {
            let host = request.url.host_str().unwrap_or_default();
            let source = SOURCES.iter().position(|source| host == format!("{source}.sim"));
            if let Some(source) = source {
                return ams[source].answer(request);
            }
            match host {
                slack::HOST => return slack.answer(request, now, EPOCH.parse().unwrap()),
                matrix::HOST => return matrix.answer(request, now),
                diagnosis::HOST => return diagnosis::answer(rng),
                _ => {}
            }
            let (answer, page) = phone.receive(request, now);
            if let Some(page) = page {
                trace.note(&format!(
                    "{} is paged: {} round {} {}",
                    page.person, page.incident, page.round, page.title
                ));
                if rng.chance(4_000) && page.incident.starts_with("INC-") {
                    let at = now + Duration::from_millis(rng.between(1_000, 90_000));
                    people.insert((at, rng.next()), page);
                }
            }
            answer
        });
        while let Some(entry) = self.people.first_entry().filter(|entry| entry.key().0 <= now) {
            let page = entry.remove();
            let r = self.rng.index(self.replicas.len());
            if let Ok(id) = page.incident.parse::<IncidentId>() {
                self.replicas[r].ack(id, page.round, &page.person);
            }
        }
    }

    async fn look_for_work(&mut self) {
        let now = self.now();
        let waiting = self.store.backlog().await.unwrap().0 > 0;
        let is_due = self.next_due().await.is_some_and(|due| due <= now);
        for replica in &mut self.replicas {
            if !replica.is_up(now) || replica.looks > now {
                continue;
            }
            replica.looks = now + Duration::from_millis(self.rng.between(50, 1_000));
            if waiting {
                replica.apply();
            }
            if is_due || std::mem::take(&mut replica.must_look) {
                (0..3).for_each(|lane| replica.claim(lane));
            }
        }
    }

    /// When the store's next job is due, as the store's time goes.
    async fn next_due(&self) -> Option<Duration> {
        let clock = if self.is_file { self.clocks.replica(0) } else { self.clocks.server() };
        // Nobody polls Matrix here.
        let kinds = paramedic::engine::worker::kinds().filter(|kind| *kind != "sync");
        let kinds: Vec<&str> = kinds.collect();
        let due = self.store.next_due(&kinds).await.unwrap()?;
        Some(self.now() + Duration::try_from(due.duration_since(clock.now())).unwrap_or_default())
    }

    /// Time passes until something may happen.
    async fn advance(&mut self) {
        let now = self.now();
        let idle = |role| matches!(role, Role::Watch | Role::Clock);
        let busy = self.replicas.iter().any(|r| r.actors.iter().any(|a| !idle(a.role)));
        let due = self.next_due().await.map(|due| due.max(now + Duration::from_millis(100)));
        let dead = self.replicas.iter().filter(|r| r.is_dead()).map(|r| r.starts);
        let outside = [self.network.next(), due, self.people.keys().next().map(|(at, _)| *at)];
        let outside = outside.into_iter().chain(self.ams.iter().map(Alertmanager::next));
        let next = outside.flatten().chain(dead).min().unwrap_or(now);
        let most = if busy { self.rng.between(50, 500) } else { self.rng.between(1_000, 5_000) };
        let step =
            next.saturating_sub(now).clamp(Duration::from_millis(10), Duration::from_millis(most));
        self.clocks.advance(Duration::from_millis(u64::try_from(step.as_millis()).unwrap()));
        self.world.settled().await.unwrap();
    }
}
