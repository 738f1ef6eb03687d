//! What a clock planned that was ahead is found and planned earlier.

use std::time::Duration;

use jiff::SignedDuration;
use paramedic::{
    domain::ids::IncidentId,
    store::{Again, Changes, Claim, JobEnd, NewJob, Repeat},
};

use super::{
    backend::{Shop, on_every_backend},
    incident, saved,
};

on_every_backend!(
    incidents_decided_by_a_clock_that_was_ahead_are_found_and_their_jobs_come_earlier,
    a_loop_that_is_planned_too_late_is_planned_for_now,
    a_next_attempt_that_is_planned_too_late_is_planned_for_now,
    a_lease_given_by_a_clock_that_was_ahead_ends_as_others_do,
    a_turn_taken_by_a_clock_that_was_ahead_is_over,
);

async fn incidents_decided_by_a_clock_that_was_ahead_are_found_and_their_jobs_come_earlier(
    shop: Shop,
) {
    let now = shop.store.now();
    let ahead = now + SignedDuration::from_hours(1);
    shop.commit(saved(&incident(1, "k1", now))).await.unwrap();
    shop.store.commit(saved(&incident(2, "k2", ahead)), ahead).await.unwrap();
    let found = shop.store.decided_after(now, 10).await.unwrap();
    assert_eq!(found, [(IncidentId(2), ahead)]);
    let due = ahead + SignedDuration::from_mins(2);
    let job = NewJob { incident: Some(IncidentId(2)), due, ..shop.job("later", Repeat::Keep) };
    let pulled_in = vec![(IncidentId(2), 3_600_000)];
    shop.commit(Changes { jobs: vec![job], ..Changes::default() }).await.unwrap();
    shop.commit(Changes { pulled_in, ..Changes::default() }).await.unwrap();
    assert_eq!(
        shop.store.next_due(&["post"]).await.unwrap(),
        Some(now + SignedDuration::from_mins(2))
    );
}

async fn a_loop_that_is_planned_too_late_is_planned_for_now(shop: Shop) {
    let now = shop.store.now();
    let latest = now + SignedDuration::from_mins(1);
    let due = now + SignedDuration::from_hours(1);
    let job = NewJob { due, ..shop.job("periodic:x", Repeat::Keep) };
    shop.commit(Changes { jobs: vec![job], ..Changes::default() }).await.unwrap();
    assert!(shop.store.pull_in_loop("periodic:x", latest, now).await.unwrap());
    assert_eq!(shop.store.next_due(&["post"]).await.unwrap(), Some(now));
    assert!(!shop.store.pull_in_loop("periodic:x", latest, now).await.unwrap());
    assert!(!shop.store.pull_in_loop("periodic:y", latest, now).await.unwrap());
}

async fn a_next_attempt_that_is_planned_too_late_is_planned_for_now(shop: Shop) {
    let now = shop.store.now();
    let latest = now + SignedDuration::from_mins(10);
    let due = now + SignedDuration::from_hours(1);
    // A first attempt may be planned for as late as anybody wants.
    let first = NewJob { due, ..shop.job("first", Repeat::Keep) };
    let jobs = vec![first, shop.job("next", Repeat::Keep)];
    shop.commit(Changes { jobs, ..Changes::default() }).await.unwrap();
    let job = shop.claim().await.remove(0);
    let again = Again::later(due, "not now");
    let end = JobEnd { id: job.id, fence: job.fence, again: Some(again) };
    shop.commit(Changes { job: Some(end), ..Changes::default() }).await.unwrap();
    assert_eq!(shop.store.pull_in_attempts(&["page"], latest, now).await.unwrap(), 0);
    assert_eq!(shop.store.pull_in_attempts(&["post"], latest, now).await.unwrap(), 1);
    assert_eq!(shop.store.pull_in_attempts(&["post"], latest, now).await.unwrap(), 0);
    let claimed = shop.claim().await;
    assert_eq!(claimed.iter().map(|job| job.key.as_str()).collect::<Vec<_>>(), ["next"]);
}

async fn a_lease_given_by_a_clock_that_was_ahead_ends_as_others_do(shop: Shop) {
    let right = shop.store.now();
    let (lease, hour) = (Duration::from_secs(30), SignedDuration::from_hours(1));
    let until = right + SignedDuration::from_secs(30);
    shop.commit(Changes { jobs: vec![shop.job("x", Repeat::Keep)], ..Changes::default() })
        .await
        .unwrap();
    shop.hand.set_wall(right + hour);
    let claim = Claim { owner: "a", kinds: &["post"], limit: 1, lease };
    assert_eq!(shop.store.claim(claim).await.unwrap().len(), 1);
    shop.hand.set_wall(right);
    assert_eq!(shop.store.pull_in_leases(until, until).await.unwrap(), 1);
    assert_eq!(shop.store.pull_in_leases(until, until).await.unwrap(), 0);
    assert!(shop.store.claim(claim).await.unwrap().is_empty(), "its worker may be alive");
    shop.hand.advance(lease + Duration::from_millis(1));
    let again = shop.store.claim(claim).await.unwrap();
    assert!(again.len() == 1 && again[0].unclear);
}

async fn a_turn_taken_by_a_clock_that_was_ahead_is_over(shop: Shop) {
    if !shop.is_shared() {
        // One process has every turn.
        assert!(shop.store.has_turn("recorder/prod", "a").await.unwrap());
        return;
    }
    let other = shop.replica().await;
    shop.hand.advance(Duration::from_hours(2));
    let right = shop.clock.now() - SignedDuration::from_hours(1);
    assert!(shop.store.has_turn("recorder/prod", "a").await.unwrap());
    assert!(!other.has_turn("recorder/prod", "b").await.unwrap());
    shop.hand.set_wall(right);
    assert!(other.has_turn("recorder/prod", "b").await.unwrap(), "it is an hour old");
    assert!(!shop.store.has_turn("recorder/prod", "a").await.unwrap());
}
