//! A replica: a real engine, and its futures, which nobody polls but the driver. Dropped in the middle, it died there.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use futures::future::LocalBoxFuture;
use paramedic::{
    cli::wire::{Parts, wire},
    clients::http::{Client, Guard},
    config::Config,
    domain::{ids::IncidentId, incident::Who},
    engine::{
        Engine, Inner, Shared, channels::Channels, correlate::Applied, outage::Outage,
        outage::Watcher, recorder::Recorder, teams::NamespaceTeams,
    },
    notify::{
        Channel,
        console::Console,
        matrix::{Matrix, MatrixSettings},
        slack::{Slack, SlackSettings},
        webhook::{Webhook, WebhookSettings},
    },
    ops::{clock::Clock, lifecycle::Tasks},
    store::{Job, Settings, Store, sim::World},
};

use crate::{
    alertmanager::{SOURCES, Ticket},
    diagnosis, matrix,
    run::EPOCH,
    slack,
};

const SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const CONFIG: &str = "
default_policy: data
playbooks: { dir: playbooks }
egress: { allow: ['192.0.2.0/24'] }
webhook: { secret: { env: HOOK } }
slack: { token: { env: HOOK }, api_url: 'http://slack.sim/api/' }
matrix: { homeserver: 'http://matrix.sim', token: { env: HOOK } }
channels: { ops: { webhook: 'http://phone.sim/ops' }, chat: { slack: C0SIMOPS }, room: { matrix: '!ops:matrix.sim' } }
sources:
  default:
    receiver: paramedic
    alertmanagers: ['http://default.sim']
    heartbeat: { match: [alertname=Watchdog], every: 1m, miss: 2 }
  other: { receiver: paramedic, alertmanagers: ['http://other.sim'] }
";
const ONCALL: &str = "
people:
  - { id: ana, name: Ana Lima, contacts: { webhook: 'http://phone.sim/ana', matrix: '@ana:matrix.sim' }, notify: { default: [ { at: 0m, by: [webhook, matrix] } ] } }
  - { id: raj, name: Raj Patel, contacts: { webhook: 'http://phone.sim/raj', slack: U0RAJPATEL }, notify: { default: [ { at: 0m, by: [webhook, slack] } ] } }
schedules:
  - { id: primary, time_zone: UTC, layers: [ { rotate: weekly, handoff: 'Mon 09:00', since: 2026-01-05, people: [ana] } ] }
policies:
  - id: data
    steps: [ { at: 0m, page: ['schedule:primary'] }, { at: 3m, page: ['person:raj'] } ]
    then: { page: ['person:ana', 'person:raj'], every: 5m }
    ack_expires: { P0: 15m, P1: 15m, P2: 15m }
";

/// Between two looks at the clock.
const CHECK: Duration = Duration::from_secs(15);

/// What all replicas of all runs have in common; made once, because playbooks and certificates take long to read.
pub struct Plan {
    engine: Engine,
    config: Config,
    http: Client,
}

impl Plan {
    pub async fn get() -> &'static Self {
        static PLAN: tokio::sync::OnceCell<Plan> = tokio::sync::OnceCell::const_new();
        PLAN.get_or_init(Self::new).await
    }

    async fn new() -> Self {
        let tasks = Tasks::default();
        let (clock, _) = Clock::manual(EPOCH.parse().unwrap());
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("paramedic.yaml"), CONFIG).unwrap();
        std::fs::write(path("oncall.yaml"), ONCALL).unwrap();
        diagnosis::write(&path("playbooks"));
        let name = format!("plan-{}", folder.path().display());
        let _world = World::begin(&name, &tasks).await.unwrap();
        let env = [
            ("HOOK", SECRET.to_owned()),
            ("PARAMEDIC__STORE__URL", format!("sim:{name}")),
            ("PARAMEDIC__ONCALL__DIR", path("oncall.yaml").display().to_string()),
        ];
        let env = env.into_iter().map(|(name, value)| (name.to_owned(), value));
        let config = Config::load(Some(&path("paramedic.yaml")), env).unwrap();
        let console = Console::new(std::io::sink(), false);
        let parts = Parts { clock, console, clusters: vec![] };
        let engine = wire(&config, parts, &tasks).await.unwrap().engine;
        engine.catalog.set(Arc::new(diagnosis::with_repair_once(&engine.catalog.get())));
        tasks.stop().stopped.cancel();
        // Names may be asked where some network may.
        let allow = vec!["192.0.2.0/24".parse().unwrap()];
        Self { engine, config, http: Client::new(Guard { allow }).unwrap() }
    }

    /// A process starts; it may fail, as the store may.
    async fn starts(&self, clock: Clock, world: String, owner: String) -> Option<Engine> {
        let settings = Settings::at(format!("sim:{world}"));
        let store = Store::open(&settings, clock.clone(), &Tasks::default()).await.ok()?;
        let (plan, http) = (self, self.http.clone());
        let secrets = WebhookSettings { secrets: vec![SECRET.to_owned().into()] };
        let webhook = Webhook::new(http.clone(), &secrets, clock.clone()).unwrap();
        let slack = SlackSettings {
            token: SECRET.into(),
            api_url: format!("http://{}/api/", slack::HOST).parse().unwrap(),
        };
        let matrix = MatrixSettings {
            homeserver: format!("http://{}", matrix::HOST).parse().unwrap(),
            token: SECRET.into(),
            clear_text_in_encrypted_rooms: false,
            per_second: 1.0,
            burst: 10,
        };
        let slack = Channel::Slack(Slack::new(http.clone(), slack));
        let matrix = Channel::Matrix(Matrix::new(http.clone(), matrix, clock.clone()));
        let mut channels = Channels::new([Channel::Webhook(webhook), slack, matrix], &clock);
        assert!(channels.add("ops", "webhook", "http://phone.sim/ops"));
        assert!(channels.add("chat", "slack", slack::CHANNEL));
        assert!(channels.add("room", "matrix", matrix::ROOM));
        let clusters = plan.engine.clusters.clone();
        let (recorder, time) = (&plan.config.recorder, clock.clone());
        let recorder = Recorder::new(recorder, &clusters, store.clone(), time, owner.clone());
        let engine = Engine::new(Inner {
            recorder,
            options: plan.engine.options.clone(),
            catalog: Shared::from(plan.engine.catalog.get()),
            oncall: Shared::from(plan.engine.oncall.get()),
            clusters,
            wrong_files: Shared::default(),
            namespace_teams: NamespaceTeams::new(std::iter::empty()),
            channels,
            owner,
            outage: Outage::new(clock.monotonic()),
            started_at: clock.monotonic(),
            http,
            clock,
            store,
        });
        engine.plant_loops().await.ok()?;
        Some(engine)
    }
}

/// What an actor was for, and what came of it.
pub enum Done {
    Started(Option<Box<Engine>>),
    Applied,
    /// And when they were asked for.
    Claimed(Vec<Job>, Duration),
    Ran,
    /// A webhook, answered 2xx or not.
    Took(Ticket, bool),
    /// It ended in good order.
    Ended,
    /// A person's ack went through, or not.
    Acked(String),
}

/// Which loop of a process an actor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Start,
    Watch,
    Clock,
    Apply,
    Claim(usize),
    Job,
    Intake(Ticket),
    Person,
    /// The last thing that a process does.
    End,
}

/// Wakes by raising a flag.
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// One future of a process.
pub struct Actor {
    pub role: Role,
    pub name: String,
    pub job: Option<(String, i64)>,
    flag: Arc<Flag>,
    future: LocalBoxFuture<'static, Done>,
}

impl Actor {
    fn new(role: Role, name: String, future: impl Future<Output = Done> + 'static) -> Self {
        let flag = Arc::new(Flag(AtomicBool::new(true)));
        // Without the runtime's budget, which would end a poll when it likes.
        let future = Box::pin(tokio::task::unconstrained(future));
        Self { role, name, job: None, flag, future }
    }

    pub fn is_ready(&self) -> bool {
        self.flag.0.load(Ordering::SeqCst)
    }

    pub fn poll(&mut self) -> Poll<Done> {
        self.flag.0.store(false, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(&self.flag));
        Pin::new(&mut self.future).poll(&mut Context::from_waker(&waker))
    }
}

/// A process, alive or not.
pub struct Replica {
    pub number: usize,
    lives: u32,
    pub engine: Option<Engine>,
    pub actors: Vec<Actor>,
    /// It stands still until then.
    pub frozen: Duration,
    /// It ends in good order, and then at the latest.
    drains: Option<Duration>,
    /// It runs since then without a pause.
    pub steady: Duration,
    /// It does not look for work before.
    pub looks: Duration,
    /// It looks for work although nothing seems due.
    pub must_look: bool,
    /// It starts then, if it is dead.
    pub starts: Duration,
}

impl Replica {
    pub fn new(number: usize) -> Self {
        let zero = Duration::ZERO;
        Self {
            number,
            lives: 0,
            engine: None,
            actors: vec![],
            frozen: zero,
            drains: None,
            steady: zero,
            looks: zero,
            must_look: false,
            starts: zero,
        }
    }

    pub fn has(&self, role: Role) -> bool {
        self.actors.iter().any(|actor| actor.role == role)
    }

    pub fn start(&mut self, plan: &'static Plan, clock: &Clock, world: &str) {
        self.lives += 1;
        let owner = format!("r{}.{}", self.number, self.lives);
        let starts = plan.starts(clock.clone(), world.to_owned(), owner.clone());
        let start = async move { Done::Started(starts.await.map(Box::new)) };
        self.actors.push(Actor::new(Role::Start, owner, start));
    }

    pub fn is_dead(&self) -> bool {
        self.engine.is_none() && self.actors.is_empty()
    }

    /// It lives.
    pub fn lives(&mut self, engine: Engine, now: Duration) {
        self.steady = now;
        let watcher = Watcher::new(&engine);
        let watch = async move {
            watcher.watch().await;
            Done::Ran
        };
        self.actors.push(Actor::new(Role::Watch, "watch".to_owned(), watch));
        let own = engine.clone();
        let check = async move {
            loop {
                // One that fails is made again.
                drop(own.check_clock().await);
                own.clock.sleep(CHECK).await;
            }
        };
        self.actors.push(Actor::new(Role::Clock, "clock".to_owned(), check));
        self.engine = Some(engine);
    }

    /// From now on it takes nothing new, and ends when it has nothing left to do, or then.
    pub fn drain(&mut self, until: Duration) {
        self.drains = Some(until);
    }

    /// True while it takes requests and looks for work.
    pub fn is_up(&self, now: Duration) -> bool {
        self.engine.is_some() && self.frozen <= now && self.drains.is_none()
    }

    /// The last step of an end in good order, once its time has come.
    pub fn end(&mut self, now: Duration) {
        let Some(until) = self.drains else { return };
        let idle = |actor: &Actor| matches!(actor.role, Role::Watch | Role::Clock);
        let is_over = now >= until || self.actors.iter().all(idle);
        let Some(engine) = self.engine.clone().filter(|_| is_over && !self.has(Role::End)) else {
            return;
        };
        let end = async move {
            // If it fails, turns end by themselves.
            drop(engine.store.end_turns(&engine.owner).await);
            Done::Ended
        };
        self.actors.push(Actor::new(Role::End, "end".to_owned(), end));
    }

    /// Dies at once; the webhooks that it held.
    pub fn die(&mut self) -> Vec<Ticket> {
        (self.engine, self.drains) = (None, None);
        let held = self.actors.drain(..).filter_map(|actor| match actor.role {
            Role::Intake(ticket) => Some(ticket),
            Role::Start
            | Role::Watch
            | Role::Clock
            | Role::Apply
            | Role::Claim(_)
            | Role::Job
            | Role::Person
            | Role::End => None,
        });
        held.collect()
    }

    pub fn apply(&mut self) {
        let Some(engine) = self.engine.clone().filter(|_| !self.has(Role::Apply)) else { return };
        let apply = async move {
            while matches!(engine.apply_next().await, Ok(Applied::Something)) {}
            Done::Applied
        };
        self.actors.push(Actor::new(Role::Apply, "apply".to_owned(), apply));
    }

    pub fn claim(&mut self, lane: usize) {
        let role = Role::Claim(lane);
        let Some(engine) = self.engine.clone().filter(|_| !self.has(role)) else { return };
        let claim = async move {
            let asked = engine.clock.monotonic();
            Done::Claimed(engine.claim_lane(lane).await.unwrap_or_default(), asked)
        };
        self.actors.push(Actor::new(role, format!("claim {lane}"), claim));
    }

    pub fn run(&mut self, job: Job, asked: Duration) {
        let Some(engine) = self.engine.clone() else { return };
        let (name, claimed) = (format!("{} #{}", job.key, job.fence), (job.key.clone(), job.fence));
        let run = async move {
            engine.run_leased(job, asked).await;
            Done::Ran
        };
        let mut actor = Actor::new(Role::Job, name, run);
        actor.job = Some(claimed);
        self.actors.push(actor);
    }

    pub fn take_in(&mut self, ticket: Ticket, body: Vec<u8>) {
        let Some(engine) = self.engine.clone() else { return };
        let take = async move {
            let source = SOURCES[ticket.source].to_owned();
            let taken =
                engine.check_backlog().await.is_ok() && engine.take_in(source, body).await.is_ok();
            Done::Took(ticket, taken)
        };
        self.actors.push(Actor::new(Role::Intake(ticket), format!("webhook {ticket}"), take));
    }

    pub fn ack(&mut self, incident: IncidentId, round: i64, person: &str) {
        let Some(engine) = self.engine.clone() else { return };
        let who = Who { id: String::new(), name: person.to_owned(), via: "api".to_owned() };
        let ack = async move {
            let said = engine.ack(incident, Some(round), who).await;
            Done::Acked(said.unwrap_or_else(|error| error.to_string()))
        };
        self.actors.push(Actor::new(Role::Person, format!("ack {incident}"), ack));
    }
}
