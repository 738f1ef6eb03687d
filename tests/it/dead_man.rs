//! The ping to the outside: it leaves while everything works, and only then. And what the daemon itself does about a page that
//! nobody takes.
#![allow(clippy::disallowed_methods, reason = "fake servers are spawned as they are")]

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{Method, StatusCode, Uri},
};
use paramedic::{
    engine::outage::{TICK, Watcher},
    ops::{clock::Clock, lifecycle::Tasks},
    store::sim::{Fault, World},
};

use crate::app::{START, TestApp, firing};

/// A checker that alarms when it hears nothing; it knows one address and one method.
#[derive(Clone, Default)]
struct Checker(Arc<Mutex<Heard>>);

#[derive(Default)]
struct Heard {
    pings: usize,
    refusals: VecDeque<u16>,
    surprises: Vec<String>,
}

impl Checker {
    async fn start() -> (Self, String) {
        let checker = Self::default();
        let app = Router::new().fallback(hear).with_state(checker.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/ping/5b1f", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        (checker, format!("dead_man: {{ url: \"{url}\", every: 1m }}\n"))
    }

    fn pings(&self) -> usize {
        let heard = self.0.lock().unwrap();
        assert!(heard.surprises.is_empty(), "{:?}", heard.surprises);
        heard.pings
    }
}

async fn hear(State(checker): State<Checker>, method: Method, uri: Uri) -> StatusCode {
    let mut heard = checker.0.lock().unwrap();
    heard.pings += 1;
    if (method.as_str(), uri.path()) != ("GET", "/ping/5b1f") {
        heard.surprises.push(format!("{method} {uri}"));
    }
    let refusal = heard.refusals.pop_front();
    refusal.map_or(StatusCode::OK, |code| StatusCode::from_u16(code).unwrap())
}

async fn minutes(app: &TestApp, minutes: u64) {
    for _ in 0..minutes {
        app.advance(Duration::from_mins(1));
        app.pump_until_quiet().await;
    }
}

/// The watcher looks as often as in the daemon.
async fn looks(app: &TestApp, watcher: &mut Watcher, seconds: u64) {
    for _ in 0..seconds / TICK.as_secs() {
        app.advance(TICK);
        watcher.turn().await;
    }
}

#[tokio::test]
async fn it_pings_at_its_times_and_a_refused_ping_waits_for_the_next() {
    let (checker, yaml) = Checker::start().await;
    let app = TestApp::with(&yaml).await;
    app.engine.plant_loops().await.unwrap();
    app.pump_until_quiet().await;
    assert_eq!(checker.pings(), 1);
    minutes(&app, 10).await;
    assert_eq!(checker.pings(), 11);
    checker.0.lock().unwrap().refusals.extend([500, 404, 301]);
    minutes(&app, 3).await;
    assert_eq!(checker.pings(), 14, "no ping is repeated");
}

#[tokio::test]
async fn without_a_checker_or_with_one_no_more_nobody_is_pinged() {
    let (checker, yaml) = Checker::start().await;
    let app = TestApp::with("").await;
    app.engine.plant_loops().await.unwrap();
    app.engine.ping_dead_man().await;
    // The row is left from a configuration that had one.
    let row = paramedic::store::NewJob {
        key: "periodic:dead-man".to_owned(),
        kind: "periodic",
        incident: None,
        due: app.engine.now(),
        priority: 1,
        payload: serde_json::json!({}),
        repeat: paramedic::store::Repeat::Keep,
    };
    let changes = paramedic::store::Changes { jobs: vec![row], ..Default::default() };
    app.engine.store.commit(changes, app.engine.now()).await.unwrap();
    minutes(&app, 3).await;
    assert_eq!((checker.pings(), yaml.is_empty()), (0, false));
}

#[tokio::test]
async fn a_store_that_takes_no_write_keeps_the_ping_in() {
    let (checker, yaml) = Checker::start().await;
    let tasks = Tasks::default();
    let world = World::begin("dead-man", &tasks).await.unwrap();
    let clock = Clock::manual(START.parse().unwrap());
    let app = TestApp::on(Some("sim:dead-man"), clock, &yaml, &[], vec![]).await;
    world.plan(|_| Some(Fault::Full));
    app.engine.ping_dead_man().await;
    assert_eq!(checker.pings(), 0);
    world.plan(|_| None);
    app.engine.ping_dead_man().await;
    assert_eq!(checker.pings(), 1);
}

#[tokio::test]
async fn webhooks_that_nobody_applies_keep_the_ping_in() {
    let (checker, yaml) = Checker::start().await;
    let app = TestApp::with(&yaml).await;
    app.post_alerts(&firing(&[&[("alertname", "A")]])).await;
    app.engine.ping_dead_man().await;
    assert_eq!(checker.pings(), 1);
    app.advance(Duration::from_secs(61));
    app.engine.ping_dead_man().await;
    assert_eq!(checker.pings(), 1);
    app.pump_until_quiet().await;
    app.engine.ping_dead_man().await;
    assert_eq!(checker.pings(), 2);
}

#[tokio::test]
async fn a_page_that_nobody_takes_keeps_the_ping_in_and_is_said_once() {
    let (checker, yaml) = Checker::start().await;
    let app = TestApp::with(&yaml).await;
    let mut watcher = Watcher::new(&app.engine);
    looks(&app, &mut watcher, 180).await;
    app.post_alerts(&firing(&[&[("alertname", "A"), ("severity", "critical")]])).await;
    // The wake-up runs and asks for the page, which no worker takes.
    while app.engine.apply_next().await.unwrap() != paramedic::engine::correlate::Applied::Nothing {
    }
    assert!(app.engine.pump().await.unwrap() > 0);
    looks(&app, &mut watcher, 120).await;
    app.engine.check_invariants().await.unwrap();
    app.engine.ping_dead_man().await;
    assert_eq!((open(&app).await, checker.pings()), (1, 1), "2 min are not more than 2 min");
    looks(&app, &mut watcher, 10).await;
    for _ in 0..3 {
        app.engine.check_invariants().await.unwrap();
        app.engine.ping_dead_man().await;
    }
    assert_eq!((open(&app).await, checker.pings()), (2, 1));
    let alarm = app.incident(2).await;
    assert_eq!(alarm.title, "Paramedic: A page is not delivered");
    let text = &alarm.annotations["summary"];
    assert!(text.contains("page:INC-1:") && text.contains("is due for 2m 10s"), "{text}");
    app.pump_until_quiet().await;
    app.engine.check_invariants().await.unwrap();
    app.engine.ping_dead_man().await;
    assert_eq!((open(&app).await, checker.pings()), (1, 2), "the alarm ends by itself");
    app.pump_until_quiet().await;
}

#[tokio::test]
async fn after_a_pause_or_a_lost_store_pages_have_their_two_minutes_anew() {
    let app = TestApp::new().await;
    let mut watcher = Watcher::new(&app.engine);
    app.post_alerts(&firing(&[&[("alertname", "A"), ("severity", "critical")]])).await;
    while app.engine.apply_next().await.unwrap() != paramedic::engine::correlate::Applied::Nothing {
    }
    app.engine.pump().await.unwrap();
    looks(&app, &mut watcher, 60).await;
    // The process stood still for an hour.
    app.advance(Duration::from_hours(1));
    app.engine.check_invariants().await.unwrap();
    looks(&app, &mut watcher, 60).await;
    app.engine.check_invariants().await.unwrap();
    assert_eq!(open(&app).await, 1, "nothing was late by our fault");
    app.pump_until_quiet().await;
}

async fn open(app: &TestApp) -> i64 {
    app.engine.store.open_count().await.unwrap()
}
