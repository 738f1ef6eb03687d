//! Two replicas at the same rows at the same time. On one process the same holds, trivially.

use std::{collections::BTreeSet, time::Duration};

use paramedic::{
    domain::ids::IncidentId,
    store::{Changes, Claim, Error, IncidentChange, NewJob, Repeat, Store},
};

use super::{
    backend::{self, Backend, Shop, on_every_backend},
    end, incident, saved,
};

on_every_backend!(
    every_job_is_claimed_by_one_replica,
    every_change_of_an_incident_is_made_on_the_newest_state,
    of_two_that_open_the_same_incident_one_wins,
    a_job_asked_for_while_it_ends_runs_once_more,
    jobs_that_plan_each_other_anew_wait_in_line,
);

async fn two(shop: &Shop) -> [Store; 2] {
    let other = if shop.is_shared() { shop.replica().await } else { shop.store.clone() };
    [shop.store.clone(), other]
}

async fn every_job_is_claimed_by_one_replica(shop: Shop) {
    let jobs = (0..200).map(|i| shop.job(&format!("j{i}"), Repeat::Keep)).collect();
    shop.commit(Changes { jobs, ..Changes::default() }).await.unwrap();
    let replicas = two(&shop).await;
    let claim_all = async |store: &Store| {
        let mut claimed = vec![];
        let mut empty = 0;
        // Nothing may be found while the other one is just claiming the rest.
        while empty < 3 {
            let claim =
                Claim { owner: "w", kinds: &["post"], limit: 7, lease: Duration::from_secs(30) };
            let jobs = store.claim(claim).await.unwrap();
            assert!(jobs.len() <= 7, "{}", jobs.len());
            empty = if jobs.is_empty() { empty + 1 } else { 0 };
            claimed.extend(jobs.into_iter().map(|job| job.key));
        }
        claimed
    };
    let all = futures::future::join_all(
        [&replicas[0], &replicas[1], &replicas[0], &replicas[1]].map(claim_all),
    );
    let all = all.await.concat();
    assert_eq!(all.len(), 200, "none twice");
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>().len(), 200, "none left");
}

async fn every_change_of_an_incident_is_made_on_the_newest_state(shop: Shop) {
    let opened = incident(1, "k", shop.store.now());
    shop.commit(saved(&opened)).await.unwrap();
    let replicas = two(&shop).await;
    let change = async |store: &Store| {
        for _ in 0..10 {
            loop {
                let stored = store.incident(IncidentId(1)).await.unwrap().unwrap();
                let mut state = stored.incident;
                state.title.push('x');
                let change =
                    IncidentChange { state, version: Some(stored.version), events: vec![] };
                match store.commit(saved(&change), store.now()).await {
                    Ok(()) => break,
                    Err(error) => assert_eq!(error, Error::Conflict),
                }
            }
        }
    };
    futures::future::join_all([&replicas[0], &replicas[1], &replicas[0], &replicas[1]].map(change))
        .await;
    let stored = shop.store.incident(IncidentId(1)).await.unwrap().unwrap();
    assert_eq!(stored.version, 41);
    assert_eq!(stored.incident.title, format!("t{}", "x".repeat(40)));
}

async fn of_two_that_open_the_same_incident_one_wins(shop: Shop) {
    let replicas = two(&shop).await;
    for round in 0..10 {
        let key = format!("k{round}");
        let open = async |store: &Store| {
            let id = store.next_incident().await.unwrap();
            store.commit(saved(&incident(id.0, &key, store.now())), store.now()).await
        };
        let (one, two) = futures::join!(open(&replicas[0]), open(&replicas[1]));
        let outcomes = [one, two];
        assert!(outcomes.contains(&Ok(())), "{outcomes:?}");
        assert!(outcomes.contains(&Err(Error::Conflict)), "{outcomes:?}");
    }
    assert_eq!(shop.store.open_count().await.unwrap(), 10);
}

async fn a_job_asked_for_while_it_ends_runs_once_more(shop: Shop) {
    let replicas = two(&shop).await;
    for _ in 0..20 {
        shop.add("a", Repeat::Replace).await;
        let running = shop.claim().await.remove(0);
        let done = Changes { job: Some(end(&running)), ..Changes::default() };
        let asked = Changes { jobs: vec![shop.job("a", Repeat::Replace)], ..Changes::default() };
        let now = shop.store.now();
        let (ended, added) =
            futures::join!(replicas[0].commit(done, now), replicas[1].commit(asked, now));
        assert_eq!((ended, added), (Ok(()), Ok(())));
        let again = shop.claim().await.remove(0);
        shop.commit(Changes { job: Some(end(&again)), ..Changes::default() }).await.unwrap();
        assert!(shop.claim().await.is_empty());
    }
}

/// A wake-up plans the card anew, and the card's refusal plans the wake-up anew, both with the incident.
async fn jobs_that_plan_each_other_anew_wait_in_line(shop: Shop) {
    let opened = incident(1, "k", shop.store.now());
    shop.commit(saved(&opened)).await.unwrap();
    let replicas = two(&shop).await;
    for _ in 0..20 {
        let jobs = vec![shop.job("wake", Repeat::Replace), shop.job("card", Repeat::Replace)];
        shop.commit(Changes { jobs, ..Changes::default() }).await.unwrap();
        let claimed = shop.claim().await;
        let finish = async |store: &Store, key: &str, other: &str| {
            let job = claimed.iter().find(|job| job.key == key).unwrap();
            let plan = NewJob { due: store.now(), ..shop.job(other, Repeat::Replace) };
            loop {
                let stored = store.incident(IncidentId(1)).await.unwrap().unwrap();
                let change = IncidentChange {
                    state: stored.incident,
                    version: Some(stored.version),
                    events: vec![],
                };
                let changes =
                    Changes { job: Some(end(job)), jobs: vec![plan.clone()], ..saved(&change) };
                match store.commit(changes, store.now()).await {
                    Ok(()) => break,
                    Err(error) => assert_eq!(error, Error::Conflict),
                }
            }
        };
        futures::join!(finish(&replicas[0], "wake", "card"), finish(&replicas[1], "card", "wake"));
        let again = shop.claim().await;
        assert!(!again.is_empty(), "whoever ended first was asked for by the other");
        for job in again {
            shop.commit(Changes { job: Some(end(&job)), ..Changes::default() }).await.unwrap();
        }
        for job in shop.claim().await {
            shop.commit(Changes { job: Some(end(&job)), ..Changes::default() }).await.unwrap();
        }
    }
    if shop.settings.url.starts_with("postgres:") {
        let sql = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
        assert_eq!(backend::sql(&shop.settings.url, sql).trim(), "0");
    }
}

/// Jobs alone have no order of their own: the database finds the circle, and the one that gives way begins again.
#[tokio::test]
async fn transactions_that_wait_for_each_other_both_happen_in_the_end() {
    let shop = Shop::opens(Backend::Postgres).await;
    let replicas = two(&shop).await;
    let keys: Vec<String> = (0..40).map(|i| format!("j{i}")).collect();
    let ask = async |store: &Store, keys: Vec<&String>| {
        for _ in 0..3 {
            let jobs = keys.iter().map(|key| shop.job(key, Repeat::Replace)).collect();
            let changes = Changes { jobs, ..Changes::default() };
            assert_eq!(store.commit(changes, store.now()).await, Ok(()));
        }
    };
    let (forth, back) = (keys.iter().collect(), keys.iter().rev().collect());
    futures::join!(ask(&replicas[0], forth), ask(&replicas[1], back));
    assert_eq!(shop.store.job_counts().await.unwrap(), [("post".to_owned(), 40)]);
}
