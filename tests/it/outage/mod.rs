//! The store is away: people are told without it, once, and again when it is back.

mod alarm;
mod replicas;

use std::{sync::Arc, time::Duration};

use paramedic::{
    engine::outage::{TICK, Watcher},
    ops::{clock::Clock, lifecycle::Tasks},
    store::sim::{Fault, World},
};

use crate::{
    app::{START, TestApp, firing},
    fakes::slack::Slack,
};

/// Slack id of Ana, who is on call.
const ANA: &str = "U024BE7LH";
/// Slack id of Raj, the last hope.
const RAJ: &str = "U024BE7RP";
const PEOPLE: &str = "
people:
  - { id: ana, name: Ana Lima, contacts: { slack: U024BE7LH, console: ana }, notify: { default: [ { at: 0m, by: [slack] } ] } }
  - { id: raj, name: Raj Patel, contacts: { slack: U024BE7RP, console: raj }, notify: { default: [ { at: 0m, by: [slack] } ] } }
schedules:
  - { id: primary, time_zone: UTC, layers: [ { rotate: weekly, handoff: \"Mon 09:00\", since: 2026-01-05, people: [ana] } ] }
policies:
  - { id: data, steps: [ { at: 0m, page: [\"schedule:primary\"] } ], then: { page: [\"person:raj\"], every: 30m } }
";

/// A daemon on a store that fails when told to, with a Slack workspace.
struct Rig {
    app: TestApp,
    slack: Slack,
    world: Arc<World>,
    watcher: Watcher,
    _tasks: Tasks,
}

impl Rig {
    async fn new(name: &str) -> Self {
        let tasks = Tasks::default();
        let world = World::begin(name, &tasks).await.unwrap();
        let clock = Clock::manual(START.parse().unwrap());
        let slack = Slack::start(clock.0.clone()).await;
        slack.person(ANA);
        slack.person(RAJ);
        let yaml = format!(
            "default_policy: data\noncall: {{ dir: oncall.yaml }}\n\
             slack: {{ token: {{ env: FAKE_SLACK }}, api_url: \"{}\" }}\n",
            slack.api_url
        );
        let files = [("oncall.yaml", PEOPLE)];
        let app = TestApp::on(Some(&format!("sim:{name}")), clock, &yaml, &files, vec![]).await;
        let mut watcher = Watcher::new(&app.engine);
        watcher.turn().await;
        Self { app, slack, world, watcher, _tasks: tasks }
    }

    fn breaks(&self) {
        self.world.plan(|_| Some(Fault::Full));
    }

    fn works(&self) {
        self.world.plan(|_| None);
    }

    /// Time passes in looks.
    async fn looks(&mut self, seconds: u64) {
        for _ in 0..seconds / TICK.as_secs() {
            self.app.advance(TICK);
            self.watcher.turn().await;
        }
    }

    /// Texts of direct messages.
    fn told(&self, user: &str) -> Vec<String> {
        self.slack.messages(user).into_iter().map(|message| message.text).collect()
    }
}

/// A P1 that pages Ana.
async fn alert(rig: &Rig, name: &str) {
    let labels = [("alertname", name), ("severity", "critical")];
    rig.app.post_alerts(&firing(&[&labels])).await;
    rig.app.pump_until_quiet().await;
}
