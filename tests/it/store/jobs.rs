//! Jobs: claimed with a lease and a fence, ended with their effects.

use std::time::Duration;

use jiff::SignedDuration;
use paramedic::{
    domain::ids::IncidentId,
    store::{Again, Changes, Claim, Error, JobEnd, NewJob, Repeat},
};
use serde_json::json;

use super::{
    backend::{Shop, on_every_backend},
    end,
};

on_every_backend!(
    an_outcome_commits_only_while_the_lease_is_ours,
    a_job_asked_for_while_it_runs_runs_once_more,
    a_job_put_off_waits_and_keeps_what_it_knows,
    after_a_restart_running_jobs_are_taken_up,
    the_most_urgent_are_claimed_first_and_only_of_the_kinds_asked_for,
    a_lease_that_ends_is_due_then,
    the_page_that_nobody_takes_is_found,
);

async fn an_outcome_commits_only_while_the_lease_is_ours(shop: Shop) {
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

async fn a_job_asked_for_while_it_runs_runs_once_more(shop: Shop) {
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

async fn a_job_put_off_waits_and_keeps_what_it_knows(shop: Shop) {
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

async fn after_a_restart_running_jobs_are_taken_up(shop: Shop) {
    shop.add("a", Repeat::Keep).await;
    shop.claim().await;
    let shop = shop.restarts().await;
    if shop.is_shared() {
        assert!(shop.claim().await.is_empty(), "their owner may be another replica, and alive");
        shop.hand.advance(Duration::from_secs(31));
    }
    let job = shop.claim().await.remove(0);
    assert!(job.unclear);
}

async fn the_most_urgent_are_claimed_first_and_only_of_the_kinds_asked_for(shop: Shop) {
    let now = shop.store.now();
    let job = |key: &str, kind, priority, seconds| NewJob {
        kind,
        priority,
        due: now - SignedDuration::from_secs(seconds),
        incident: Some(IncidentId(7)),
        ..shop.job(key, Repeat::Keep)
    };
    let jobs = vec![
        job("late", "post", 4, 10),
        job("p0", "wake", 0, 1),
        job("other", "run", 0, 9),
        job("later", "post", 4, 5),
        job("future", "post", 0, -5),
    ];
    shop.commit(Changes { jobs, ..Changes::default() }).await.unwrap();
    let claim = |limit| Claim {
        owner: "w",
        kinds: &["post", "wake"],
        limit,
        lease: Duration::from_secs(4),
    };
    let keys = |jobs: Vec<paramedic::store::Job>| -> Vec<String> {
        jobs.into_iter().map(|job| job.key).collect()
    };
    assert_eq!(keys(shop.store.claim(claim(2)).await.unwrap()), ["p0", "late"]);
    assert_eq!(keys(shop.store.claim(claim(9)).await.unwrap()), ["later"]);
    let none = Claim { kinds: &[], ..claim(9) };
    assert!(shop.store.claim(none).await.unwrap().is_empty());
    let jobs = shop.store.jobs_of(IncidentId(7)).await.unwrap();
    assert_eq!(jobs.len(), 5);
    let counts = shop.store.job_counts().await.unwrap();
    assert_eq!(counts, [("post".to_owned(), 3), ("run".to_owned(), 1), ("wake".to_owned(), 1)]);
}

async fn a_lease_that_ends_is_due_then(shop: Shop) {
    assert_eq!(shop.store.next_due(&["post"]).await.unwrap(), None);
    shop.add("a", Repeat::Keep).await;
    assert_eq!(shop.store.next_due(&["post"]).await.unwrap(), Some(shop.store.now()));
    let job = shop.claim().await.remove(0);
    let end_of_lease = shop.store.now() + SignedDuration::from_millis(30_001);
    assert_eq!(shop.store.next_due(&["post"]).await.unwrap(), Some(end_of_lease));
    shop.hand.advance(Duration::from_secs(20));
    assert!(shop.store.renew(job.id, job.fence, Duration::from_secs(30)).await.unwrap());
    shop.hand.advance(Duration::from_secs(20));
    assert!(shop.claim().await.is_empty(), "renewed");
    shop.hand.advance(Duration::from_millis(10_001));
    assert_eq!(shop.claim().await.len(), 1);
}

async fn the_page_that_nobody_takes_is_found(shop: Shop) {
    let start = shop.store.now();
    let seconds = |seconds| start + SignedDuration::from_secs(seconds);
    let job = |key: &str, kind, due| NewJob { kind, due, ..shop.job(key, Repeat::Keep) };
    let jobs = vec![
        job("card", "post", start),
        job("tomorrow", "page", seconds(86_400)),
        job("second", "deliver", seconds(20)),
        job("first", "page", seconds(10)),
    ];
    shop.commit(Changes { jobs, ..Changes::default() }).await.unwrap();
    let oldest = async || shop.store.oldest_page(shop.store.now()).await.unwrap();
    assert_eq!(oldest().await, None, "none is due");
    shop.hand.advance(Duration::from_secs(30));
    assert_eq!(oldest().await, Some(("first".to_owned(), seconds(10))));
    let lease = Duration::from_mins(1);
    let claim = Claim { owner: "w", kinds: &["page"], limit: 9, lease };
    assert_eq!(shop.store.claim(claim).await.unwrap().len(), 1);
    assert_eq!(oldest().await, Some(("second".to_owned(), seconds(20))), "the first is in work");
    shop.hand.advance(Duration::from_secs(61));
    let claim = Claim { kinds: &["deliver"], ..claim };
    shop.store.claim(claim).await.unwrap();
    assert_eq!(oldest().await, Some(("first".to_owned(), seconds(90))), "its worker is gone");
}
