//! The store's story: every verb, on a real file, with a clock in hand.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use paramedic::{
    domain::{
        alert::{Alert, Labels, Status},
        ids::IncidentId,
        incident::{
            Command, Env, Incident, Observation, Opening, Routing, Settings, correlate, open,
        },
        oncall::OnCall,
        severity::Severity,
    },
    ops::{
        clock::{Clock, Manual},
        lifecycle::Tasks,
    },
    store::{
        Again, Changes, Claim, Error, Filter, IncidentChange, JobEnd, NewDelivery, NewJob,
        Progress, Repeat, Store,
    },
};
use serde_json::json;

struct Shop {
    store: Store,
    hand: Manual,
    tasks: Tasks,
    folder: tempfile::TempDir,
    clock: Clock,
}

impl Shop {
    async fn opens() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (clock, hand) = Clock::manual("2026-11-23T03:12:00Z".parse().unwrap());
        let tasks = Tasks::default();
        let store = Store::open(&url(&folder), clock.clone(), &tasks).await.unwrap();
        Self { store, hand, tasks, folder, clock }
    }

    /// The process dies and another one opens the file.
    async fn restarts(self) -> Self {
        let Self { store, hand, tasks, folder, clock } = self;
        drop(store);
        tasks.shut_down(Duration::from_secs(5)).await;
        let tasks = Tasks::default();
        let store = Store::open(&url(&folder), clock.clone(), &tasks).await.unwrap();
        Self { store, hand, tasks, folder, clock }
    }

    async fn claim(&self) -> Vec<paramedic::store::Job> {
        let claim =
            Claim { owner: "w", kinds: &["post"], limit: 10, lease: Duration::from_secs(30) };
        self.store.claim(claim).await.unwrap()
    }

    async fn commit(&self, changes: Changes) -> Result<(), Error> {
        self.store.commit(changes, self.store.now()).await
    }

    async fn add(&self, key: &str, repeat: Repeat) {
        let job = NewJob {
            key: key.to_owned(),
            kind: "post",
            incident: None,
            due: self.store.now(),
            priority: 1,
            payload: json!({}),
            repeat,
        };
        self.commit(Changes { jobs: vec![job], ..Changes::default() }).await.unwrap();
    }
}

fn url(folder: &tempfile::TempDir) -> String {
    format!("sqlite:{}", folder.path().join("p.db").display())
}

fn end(job: &paramedic::store::Job) -> JobEnd {
    JobEnd { id: job.id, fence: job.fence, again: None }
}

fn incident(id: i64, key: &str, now: Timestamp) -> IncidentChange {
    let oncall = OnCall::builtin();
    let settings = Settings::default();
    let env = Env { now, oncall: &oncall, settings: &settings };
    let opening = Opening {
        source: "prod".to_owned(),
        key: key.to_owned(),
        title: "t".to_owned(),
        cluster: String::new(),
        labels: Labels::new(),
        annotations: Labels::new(),
        generator_url: String::new(),
        external_url: String::new(),
        since: now,
    };
    let seen = Observation {
        new: 1,
        again: 0,
        ended: 0,
        firing: 1,
        members: 1,
        severity: Some(Severity::P1),
        targets: std::collections::BTreeSet::new(),
        truncated: 0,
        matched: vec![],
        routing: Routing { policy: "default".to_owned(), ..Routing::default() },
    };
    let opened = open(IncidentId(id), opening, Severity::P1, Command::Observe(seen), &env).unwrap();
    IncidentChange { state: opened.state, version: None, events: opened.events }
}

fn saved(change: &IncidentChange) -> Changes {
    Changes { incidents: vec![change.clone()], ..Changes::default() }
}

#[tokio::test]
async fn a_delivery_is_there_after_a_restart_until_it_is_applied() {
    let shop = Shop::opens().await;
    let received_at = shop.store.now();
    let bodies = vec![b"{\"alerts\":[]}".to_vec(), vec![0, 159, 146, 150]];
    let new = NewDelivery { source: "prod".to_owned(), received_at, bodies };
    shop.store.deliver(new).await.unwrap();
    let shop = shop.restarts().await;
    let first = shop.store.next_delivery().await.unwrap().unwrap();
    assert_eq!((first.body.as_slice(), first.source.as_str()), (&b"{\"alerts\":[]}"[..], "prod"));
    let applied = Changes { delivery: Some(Progress::Done(first.id)), ..Changes::default() };
    shop.commit(applied).await.unwrap();
    let second = shop.store.next_delivery().await.unwrap().unwrap();
    assert_eq!(second.body, [0, 159, 146, 150], "bytes stay as they came");
    for attempt in 1..=3 {
        assert_eq!(shop.store.delivery_failed(second.id).await.unwrap(), attempt);
    }
    let aside = Changes { delivery: Some(Progress::Poisoned(second.id)), ..Changes::default() };
    shop.commit(aside).await.unwrap();
    assert_eq!(shop.store.next_delivery().await.unwrap(), None);
}

#[tokio::test]
async fn many_deliveries_at_once_are_all_stored() {
    let shop = Shop::opens().await;
    let deliver = (0..300).map(|i| {
        let (store, received_at) = (shop.store.clone(), shop.store.now());
        async move {
            let bodies = vec![format!("{i}").into_bytes()];
            store.deliver(NewDelivery { source: "prod".to_owned(), received_at, bodies }).await
        }
    });
    let all = futures::future::join_all(deliver).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(shop.store.backlog().await.unwrap().0, 300);
}

#[tokio::test]
async fn two_writers_of_one_incident_never_both_win() {
    let shop = Shop::opens().await;
    let now = shop.store.now();
    let opened = incident(1, "k", now);
    shop.commit(saved(&opened)).await.unwrap();
    let change = IncidentChange { version: Some(1), events: vec![], ..opened.clone() };
    shop.commit(saved(&change)).await.unwrap();
    assert_eq!(shop.commit(saved(&change)).await, Err(Error::Conflict));
    let twin = incident(2, "k", now);
    assert_eq!(shop.commit(saved(&twin)).await, Err(Error::Conflict), "one open incident per key");
    let stored = shop.store.incident(IncidentId(1)).await.unwrap().unwrap();
    assert_eq!((stored.version, stored.incident), (2, opened.state));
}

#[tokio::test]
async fn a_lost_race_leaves_nothing_behind() {
    let shop = Shop::opens().await;
    let stale = IncidentChange { version: Some(7), ..incident(1, "k", shop.store.now()) };
    let mut changes = saved(&stale);
    changes.cursors.push(("c".to_owned(), "v".to_owned()));
    assert_eq!(shop.commit(changes).await, Err(Error::Conflict));
    assert_eq!(shop.store.cursor("c").await.unwrap(), None);
}

#[tokio::test]
async fn the_timeline_folds_back_into_the_stored_state() {
    let shop = Shop::opens().await;
    let opened = incident(1, "k", shop.store.now());
    shop.commit(saved(&opened)).await.unwrap();
    let timeline = shop.store.timeline(IncidentId(1), 0, 100).await.unwrap();
    let fold = |state: Option<Incident>, (_, at, event): &(i64, Timestamp, _)| {
        Some(paramedic::domain::incident::fold(state, IncidentId(1), *at, event))
    };
    assert_eq!(timeline.iter().fold(None, fold), Some(opened.state));
}

#[tokio::test]
async fn an_outcome_commits_only_while_the_lease_is_ours() {
    let shop = Shop::opens().await;
    shop.add("a", Repeat::Keep).await;
    let mine = shop.claim().await.remove(0);
    assert_eq!((mine.attempt, mine.unclear), (1, false));
    assert!(shop.claim().await.is_empty(), "it is leased");
    shop.hand.advance(Duration::from_secs(31));
    let theirs = shop.claim().await.remove(0);
    assert!(theirs.unclear, "the first attempt may have had its effect");
    assert!(!shop.store.renew(mine.id, mine.fence, Duration::from_secs(30)).await.unwrap());
    let late = Changes { job: Some(end(&mine)), ..Changes::default() };
    assert_eq!(shop.commit(late).await, Err(Error::LostJob));
    let ok = Changes { job: Some(end(&theirs)), ..Changes::default() };
    shop.commit(ok).await.unwrap();
    assert!(shop.store.job_counts().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_job_asked_for_while_it_runs_runs_once_more() {
    let shop = Shop::opens().await;
    shop.add("a", Repeat::Replace).await;
    let first = shop.claim().await.remove(0);
    shop.add("a", Repeat::Replace).await;
    shop.add("a", Repeat::Keep).await;
    let done = Changes { job: Some(end(&first)), ..Changes::default() };
    shop.commit(done).await.unwrap();
    let again = shop.claim().await.remove(0);
    assert_eq!((again.id, again.attempt, again.unclear), (first.id, 1, false));
    shop.commit(Changes { job: Some(end(&again)), ..Changes::default() }).await.unwrap();
    assert!(shop.claim().await.is_empty());
}

#[tokio::test]
async fn a_job_put_off_waits_and_keeps_what_it_knows() {
    let shop = Shop::opens().await;
    shop.add("a", Repeat::Keep).await;
    let job = shop.claim().await.remove(0);
    let due = shop.store.now() + SignedDuration::from_secs(5);
    let again = Again {
        due,
        unclear: true,
        free: false,
        reason: "timeout".to_owned(),
        payload: Some(json!({ "n": 1 })),
    };
    let put_off = JobEnd { again: Some(again), ..end(&job) };
    shop.commit(Changes { job: Some(put_off), ..Changes::default() }).await.unwrap();
    assert!(shop.claim().await.is_empty());
    shop.hand.advance(Duration::from_secs(5));
    let job = shop.claim().await.remove(0);
    assert_eq!((job.attempt, job.unclear, job.payload), (2, true, json!({ "n": 1 })));
}

#[tokio::test]
async fn after_a_restart_running_jobs_are_taken_up_at_once() {
    let shop = Shop::opens().await;
    shop.add("a", Repeat::Keep).await;
    shop.claim().await;
    let shop = shop.restarts().await;
    let job = shop.claim().await.remove(0);
    assert!(job.unclear);
}

#[tokio::test]
async fn a_second_process_on_the_same_file_is_refused() {
    let shop = Shop::opens().await;
    let second = Store::open(&url(&shop.folder), shop.clock.clone(), &Tasks::default()).await;
    assert!(matches!(second.err(), Some(Error::InUse(_))));
}

#[tokio::test]
async fn members_are_counted_and_old_tombstones_buried() {
    let shop = Shop::opens().await;
    let alert = |status| Alert {
        status,
        labels: Labels::from([("pod".to_owned(), "a".to_owned())]),
        annotations: Labels::new(),
        starts_at: shop.store.now(),
        generator_url: String::new(),
        fingerprint: "f".to_owned(),
    };
    let now = shop.store.now();
    let (mut firing, _) = correlate::observe(None, "prod", &alert(Status::Firing), &[], 1, now);
    firing.incident = Some(IncidentId(1));
    let (mut tombstone, change) =
        correlate::observe(None, "prod", &alert(Status::Resolved), &[], 1, now);
    assert_eq!(change, correlate::Change::EndedUnseen);
    tombstone.fingerprint = "other".to_owned();
    let members = vec![firing.clone(), tombstone];
    shop.commit(Changes { members, ..Changes::default() }).await.unwrap();
    assert_eq!(shop.store.member_counts(IncidentId(1)).await.unwrap(), (1, 1));
    shop.hand.advance(Duration::from_hours(25));
    assert_eq!(shop.store.bury_tombstones(shop.store.now()).await.unwrap(), 1);
    assert_eq!(shop.store.member("prod", "f").await.unwrap(), Some(firing));
}

#[tokio::test]
async fn the_list_is_paged_newest_first() {
    let shop = Shop::opens().await;
    for id in 1..=3 {
        let change = incident(id, &format!("k{id}"), shop.store.now());
        shop.commit(saved(&change)).await.unwrap();
    }
    let page = |before| Filter { open: Some(true), before, limit: 2 };
    let ids = |items: Vec<paramedic::store::Summary>| {
        items.into_iter().map(|item| item.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(shop.store.incidents(page(None)).await.unwrap()), ["INC-3", "INC-2"]);
    assert_eq!(ids(shop.store.incidents(page(Some(2))).await.unwrap()), ["INC-1"]);
    let closed = Filter { open: Some(false), before: None, limit: 2 };
    assert!(shop.store.incidents(closed).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_incident_without_its_wake_up_is_found() {
    let shop = Shop::opens().await;
    let change = incident(1, "k", shop.store.now());
    shop.commit(saved(&change)).await.unwrap();
    assert_eq!(shop.store.without_wake_up().await.unwrap(), [IncidentId(1)]);
}

#[tokio::test]
async fn a_store_that_is_no_store_is_named() {
    let tasks = Tasks::default();
    let error = Store::open("mysql://x", Clock::System, &tasks).await.err().unwrap();
    insta::assert_snapshot!(error, @"the store failed: `mysql://x` is not a store; write sqlite:PATH (PostgreSQL comes with a later version)");
}
