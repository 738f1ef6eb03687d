//! The store cannot be reached: the one thing that no job and no incident can say, because both live in it.
//!
//! Every replica writes to the store every 5 s, and keeps in memory whom it would have to tell what ([`brief`]). When no write
//! succeeds for more than 30 s ([`watch`]), it tells people by itself ([`voice`]), every 15 min, and once more when the store is
//! back. Pages need nothing of this: they are jobs, and go on by themselves.
//!
//! The key of an alarm is made of the store's **generation**, a number that changes with every start and every recovery and that
//! all replicas read while they can: so their alarms of one outage have one key, and those of two outages never the same, also
//! after an older backup was restored.
//!
//! A probe that hangs is left to hang: the looks go on, and only one write waits in a store that does not answer.

mod brief;
mod voice;
mod watch;

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;
use jiff::Timestamp;

pub use self::watch::TICK;
use self::{
    brief::Brief,
    voice::{Voice, Words, lasted},
    watch::{News, Watch},
};
use super::Engine;
use crate::{
    domain::{incident::show, redact::redact, schedule::PersonId},
    ops::{lifecycle::Tasks, metrics as names},
    store::{self, Store},
};

/// Between two attempts to reach somebody.
const ANEW: Duration = Duration::from_secs(30);
/// Without a look for longer than this, the process stood still.
const STALE: Duration = Duration::from_secs(20);
/// Characters of the store's reason.
const REASON: usize = 200;

/// What others may know of it.
#[derive(Debug)]
pub struct Outage(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Since when no write succeeds, and for how long.
    lost: Option<(Timestamp, Duration)>,
    /// The start, or the end of the last trouble, in monotonic time.
    in_order: Duration,
    /// The last look.
    looked: Duration,
}

impl Outage {
    /// Begins with a process.
    pub fn new(now: Duration) -> Self {
        Self(Mutex::new(State { lost: None, in_order: now, looked: now }))
    }

    /// `since 03:12:05 UTC (4m 10s)`; `None` while the store is in order, as far as was looked.
    pub fn since(&self) -> Option<String> {
        let lost = self.0.lock().unwrap_or_else(PoisonError::into_inner).lost;
        lost.map(|(at, silence)| format!("since {} ({})", show::clock(at), lasted(silence)))
    }

    /// For how long this process has run without a pause and the store has been in order.
    pub(super) fn in_order(&self, now: Duration) -> Duration {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody looks: we have just woken up, or there are no looks at all.
        if now.saturating_sub(state.looked) > STALE {
            Duration::ZERO
        } else {
            now.saturating_sub(state.in_order)
        }
    }

    fn set(&self, lost: Option<(Timestamp, Duration)>, now: Duration) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lost.is_some() || now.saturating_sub(state.looked) > STALE {
            state.in_order = now;
        }
        (state.lost, state.looked) = (lost, now);
    }
}

/// Looks at the store, and says when it is lost and when it is back.
pub struct Watcher {
    engine: Engine,
    watch: Watch,
    brief: Brief,
    probe: Option<BoxFuture<'static, store::Result<Option<Brief>>>>,
    /// This process has made no generation yet.
    is_new: bool,
    /// When a write succeeded last, for people.
    written_at: Timestamp,
    /// What the store answered instead.
    reason: String,
    saying: Option<Saying>,
    /// Who was told of this outage.
    told: BTreeSet<PersonId>,
    /// The generation that this outage ended.
    generation: Option<i64>,
}

/// What is said until everybody heard it.
struct Saying {
    words: Words,
    waiting: Vec<PersonId>,
    tried: Option<Duration>,
}

impl Watcher {
    /// Nothing was looked at yet.
    pub fn new(engine: &Engine) -> Self {
        Self {
            watch: Watch::new(engine.clock.monotonic()),
            brief: Brief::default(),
            probe: None,
            is_new: true,
            written_at: engine.now(),
            reason: String::new(),
            saying: None,
            told: BTreeSet::new(),
            generation: None,
            engine: engine.clone(),
        }
    }

    /// Looks for ever.
    pub async fn watch(mut self) {
        loop {
            self.turn().await;
            // One that hangs has waited its tick already.
            if self.probe.is_none() {
                self.engine.clock.sleep(TICK).await;
            }
        }
    }

    /// One look, and what there is to say after it. Ends within one tick, and longer only while it talks to people.
    pub async fn turn(&mut self) {
        let written = self.look().await;
        let now = self.engine.clock.monotonic();
        if written {
            self.written_at = self.engine.now();
        }
        let news = self.watch.look(now, written);
        let silence = self.watch.silence();
        metrics::gauge!(names::STORE_OUTAGE_SECONDS).set(silence.as_secs_f64());
        self.engine.outage.set((!silence.is_zero()).then_some((self.written_at, silence)), now);
        match news {
            News::None => {}
            News::Lost { turn } => self.lost(turn, silence),
            News::Back { lasted } => self.back(lasted),
        }
        self.talk(now).await;
    }

    /// Whether a write succeeded. A write that is still on its way counts when it arrives.
    async fn look(&mut self) -> bool {
        let anew = self.is_new || self.watch.is_lost();
        let engine = &self.engine;
        let probe = self.probe.get_or_insert_with(|| Box::pin(probe(engine.clone(), anew)));
        let answer = tokio::select! {
            biased;
            answer = probe => answer,
            () = engine.clock.sleep(TICK) => {
                "the store does not answer".clone_into(&mut self.reason);
                return false;
            }
        };
        self.probe = None;
        match answer {
            Ok(brief) => {
                self.is_new = false;
                self.brief = brief.unwrap_or_else(|| std::mem::take(&mut self.brief));
                true
            }
            Err(error) => {
                self.reason = redact(&error.to_string()).chars().take(REASON).collect();
                false
            }
        }
    }

    /// The same for all of one outage, although a store that comes and goes is given new generations meanwhile.
    fn key(&mut self, what: &str) -> String {
        let generation = *self.generation.get_or_insert(self.brief.generation);
        format!("outage:{generation}:{what}")
    }

    fn lost(&mut self, turn: u32, silence: Duration) {
        let (since, silence) = (show::clock(self.written_at), lasted(silence));
        tracing::error!(since, silence, reason = self.reason, "the store is lost: people are told");
        let oncall = self.engine.oncall.get();
        let policy = self.engine.options.default_policy.clone();
        let mut parts = self.brief.urgent.clone();
        if parts.is_empty() {
            parts.push("no P0 or P1 was without an answer then".to_owned());
        }
        let words = Words {
            key: self.key(&turn.to_string()),
            title: "its store cannot be reached".to_owned(),
            summary: format!(
                "No write has succeeded for {silence}: {}. New alerts are refused, which Alertmanager repeats; pages wait. \
                 Repair the store, and look at Alertmanager until then. Nobody had answered at {since}:",
                self.reason
            ),
            parts,
            over: false,
            why: "on call, or the last step of the default policy",
            since: self.written_at,
        };
        let waiting = self.brief.people(&oncall, &policy, self.engine.now());
        self.saying = Some(Saying { words, waiting, tried: None });
    }

    fn back(&mut self, outage: Duration) {
        let after = lasted(outage);
        tracing::info!(after, "the store is back");
        let since = self.saying.as_ref().map_or(self.written_at, |saying| saying.words.since);
        let words = Words {
            key: self.key("back"),
            title: format!("its store is back after {after}"),
            summary:
                "Alerts are taken and pages go out again; those that waited say how late they are."
                    .to_owned(),
            parts: vec![],
            over: true,
            why: "was told that it could not be reached",
            since,
        };
        let waiting = std::mem::take(&mut self.told).into_iter().collect();
        self.saying = Some(Saying { words, waiting, tried: None });
        self.generation = None;
    }

    /// Says it to whoever has not heard it.
    async fn talk(&mut self, now: Duration) {
        let Some(saying) = &mut self.saying else { return };
        let is_due = saying.tried.is_none_or(|tried| now.saturating_sub(tried) >= ANEW);
        if saying.waiting.is_empty() || !is_due {
            return;
        }
        saying.tried = Some(now);
        let oncall = self.engine.oncall.get();
        let voice = Voice {
            channels: &self.engine.channels,
            oncall: &oncall,
            public_url: &self.engine.options.public_url,
            others: self.engine.store.is_shared(),
        };
        let reached = voice.tell(&saying.waiting, &saying.words, self.engine.now()).await;
        saying.waiting.retain(|person| !reached.contains(person));
        if !saying.words.over {
            self.told.extend(reached);
        }
    }
}

/// A write, and what is to be remembered; without the latter when only reading failed.
async fn probe(engine: Engine, anew: bool) -> store::Result<Option<Brief>> {
    let store: &Store = &engine.store;
    if anew {
        store.begin_generation().await?;
    } else {
        store.check().await?;
    }
    let policy = &engine.options.default_policy;
    let brief = Brief::read(store, &engine.oncall.get(), policy).await;
    Ok(brief.inspect_err(|error| tracing::warn!(%error, "what is open is not known anew")).ok())
}

impl Engine {
    /// Starts to look at the store.
    pub(super) fn watch_store(&self, tasks: &Tasks) {
        let watcher = Watcher::new(self);
        let stop = tasks.stop().draining.clone();
        tasks.spawn("engine.outage", async move {
            tokio::select! {
                () = watcher.watch() => {}
                () = stop.cancelled() => {}
            }
            Ok(())
        });
    }
}
