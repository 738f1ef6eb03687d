//! What has been over for long is forgotten, with everything that belongs to it.

use jiff::{SignedDuration, Timestamp};
use paramedic::{
    domain::{
        alert::{self, Alert, Labels, Rejected},
        evidence::{Evidence, Findings, StepState},
        ids::IncidentId,
        incident::{NoWake, Status, Wake, correlate, storm::Membership},
    },
    store::{IncidentChange, NewJob, Repeat, Sent},
};

use super::{
    backend::{Shop, on_every_backend},
    incident, saved,
};

on_every_backend!(
    an_old_incident_goes_with_all_that_belongs_to_it,
    what_is_not_over_or_not_for_long_stays,
    a_storm_and_its_members_go_when_all_are_old,
    batches_are_small_and_oldest_first,
    evidence_of_what_is_over_goes_oldest_first_and_makes_room,
);

/// Resolved at this time.
fn over(id: i64, at: Timestamp) -> IncidentChange {
    let mut change = incident(id, &format!("k{id}"), at);
    change.state.status = Status::Resolved;
    change.state.resolved_at = Some(at);
    change.state.wake = Wake::Never(NoWake::Over);
    change
}

/// An alert of this incident, seen last at this time.
fn member(id: i64, at: Timestamp) -> correlate::Member {
    let alert = Alert {
        status: alert::Status::Firing,
        labels: Labels::new(),
        annotations: Labels::new(),
        starts_at: at,
        generator_url: String::new(),
        fingerprint: format!("f{id}"),
    };
    let (mut member, _) = correlate::observe(None, "prod", &alert, &[], 1, at);
    member.incident = Some(IncidentId(id));
    member
}

fn days(shop: &Shop, ago: i64) -> Timestamp {
    shop.store.now() - SignedDuration::from_hours(24 * ago)
}

/// The incidents that are left after those that are older than 90 days are forgotten.
async fn left(shop: &Shop) -> Vec<i64> {
    shop.store.forget_incidents(days(shop, 90), 100).await.unwrap();
    let all = paramedic::store::Filter { open: None, before: None, limit: 500 };
    let mut left: Vec<i64> = shop
        .store
        .incidents(all)
        .await
        .unwrap()
        .iter()
        .map(|summary| summary.id.parse::<IncidentId>().unwrap().0)
        .collect();
    left.sort_unstable();
    left
}

async fn an_old_incident_goes_with_all_that_belongs_to_it(shop: Shop) {
    let long_ago = days(&shop, 91);
    let mut changes = saved(&over(1, long_ago));
    changes.messages.push(Sent {
        key: "post:INC-1:ops".to_owned(),
        incident: IncidentId(1),
        is_page: false,
        channel: "ops".to_owned(),
        address: "C1".to_owned(),
        remote_id: "1".to_owned(),
        round: 1,
        revision: 1,
        person: String::new(),
        state: "sent".to_owned(),
        remark: String::new(),
        at: long_ago,
    });
    let rejected = Rejected { path: "alerts[0]".to_owned(), reason: "no labels".to_owned() };
    changes.rejected.push(("s".to_owned(), rejected));
    changes.runs.push(super::runs::run(&shop, "1/1/p/a", "a"));
    changes.members.push(member(1, long_ago));
    shop.store.commit(changes, long_ago).await.unwrap();
    let (count, deleted) = shop.store.forget_incidents(days(&shop, 90), 100).await.unwrap();
    assert_eq!(count, 1);
    let of = |table: &str| deleted.iter().find(|(name, _)| *name == table).unwrap().1;
    for table in ["incidents", "timeline", "members", "runs", "messages", "rejected"] {
        assert!(of(table) > 0, "nothing of {table} in {deleted:?}");
    }
    assert_eq!(shop.store.incident(IncidentId(1)).await.unwrap(), None);
    assert_eq!(shop.store.timeline(IncidentId(1), 0, 9).await.unwrap(), []);
    assert_eq!(shop.store.messages(IncidentId(1)).await.unwrap(), []);
    assert_eq!(shop.store.orphans().await.unwrap(), []);
    assert_eq!(shop.store.forget_incidents(days(&shop, 90), 100).await.unwrap().0, 0);
}

async fn what_is_not_over_or_not_for_long_stays(shop: Shop) {
    let long_ago = days(&shop, 200);
    // Open for 200 days; over since 89 days; watched; with work left; an alert of it was seen last week.
    shop.commit(saved(&incident(1, "k1", long_ago))).await.unwrap();
    let mut recent = over(2, long_ago);
    recent.state.resolved_at = Some(days(&shop, 89));
    shop.commit(saved(&recent)).await.unwrap();
    let mut watched = over(3, long_ago);
    watched.state.wake = Wake::StillFiring(long_ago);
    shop.commit(saved(&watched)).await.unwrap();
    let mut worked = saved(&over(4, long_ago));
    let job = NewJob { incident: Some(IncidentId(4)), ..shop.job("post:4", Repeat::Keep) };
    worked.jobs.push(job);
    shop.commit(worked).await.unwrap();
    let mut seen = saved(&over(5, long_ago));
    seen.members.push(member(5, days(&shop, 7)));
    shop.commit(seen).await.unwrap();
    shop.commit(saved(&over(6, long_ago))).await.unwrap();
    assert_eq!(left(&shop).await, [1, 2, 3, 4, 5]);
}

async fn a_storm_and_its_members_go_when_all_are_old(shop: Shop) {
    let long_ago = days(&shop, 200);
    let part = |id: i64, of: i64| {
        let mut change = over(id, long_ago);
        let (storm, cause) = (IncidentId(of), "node n1".to_owned());
        change.state.storm = Some(Membership { storm, cause, quiet: true });
        change
    };
    // An open storm with an old member, a storm that is over since a week, one that is long over.
    let mut recent = over(2, long_ago);
    recent.state.resolved_at = Some(days(&shop, 7));
    for change in [
        incident(1, "k1", long_ago),
        recent,
        over(3, long_ago),
        part(11, 1),
        part(12, 2),
        part(13, 3),
        part(14, 3),
    ] {
        shop.commit(saved(&change)).await.unwrap();
    }
    // Members first, then their storm.
    assert_eq!(left(&shop).await, [1, 2, 3, 11, 12]);
    assert_eq!(left(&shop).await, [1, 2, 11, 12]);
}

async fn batches_are_small_and_oldest_first(shop: Shop) {
    let long_ago = days(&shop, 100);
    for id in 1..=7 {
        shop.commit(saved(&over(id, long_ago))).await.unwrap();
    }
    let mut counts = vec![];
    for _ in 0..4 {
        counts.push(shop.store.forget_incidents(days(&shop, 90), 3).await.unwrap().0);
    }
    assert_eq!(counts, [3, 3, 1, 0]);
}

async fn evidence_of_what_is_over_goes_oldest_first_and_makes_room(shop: Shop) {
    // Open; over for 5, 10 and 20 days, the last with work left.
    let mut worked = saved(&over(4, days(&shop, 20)));
    let job = NewJob { incident: Some(IncidentId(4)), ..shop.job("post:4", Repeat::Keep) };
    worked.jobs.push(job);
    let open = saved(&incident(1, "k1", days(&shop, 30)));
    let all = [open, saved(&over(2, days(&shop, 5))), saved(&over(3, days(&shop, 10))), worked];
    for (id, mut changes) in (1..).zip(all) {
        let run = super::runs::run(&shop, &format!("{id}/1/p/a"), "a");
        changes.runs.push(paramedic::store::Run { incident: IncidentId(id), ..run });
        changes.steps.push((format!("{id}/1/p/a"), evidence("logs", 400_000)));
        shop.commit(changes).await.unwrap();
    }
    let kept = async || {
        let mut kept = vec![];
        for id in 1..=4 {
            if !shop.store.steps(&format!("{id}/1/p/a")).await.unwrap().is_empty() {
                kept.push(id);
            }
        }
        kept
    };
    // The rows are asked for, not the files: PostgreSQL would answer with those.
    let before = shop.store.size(0).await.unwrap();
    assert!(before > 1_500_000, "{before}");
    let (steps, bytes) = shop.store.forget_evidence(1).await.unwrap();
    assert!(steps == 1 && bytes > 400_000, "{steps} {bytes}");
    assert_eq!(kept().await, [1, 2, 4]);
    assert_eq!(shop.store.forget_evidence(10).await.unwrap().0, 1);
    assert_eq!(kept().await, [1, 4]);
    assert_eq!(shop.store.forget_evidence(10).await.unwrap(), (0, 0));
    let after = shop.store.size(0).await.unwrap();
    assert!(after + 700_000 < before, "{before} to {after}");
    assert!(shop.store.size(i64::MAX).await.unwrap() >= after);
    assert_eq!(shop.store.runs(IncidentId(2)).await.unwrap().len(), 1, "what it found stays");
    assert_eq!(shop.store.orphans().await.unwrap(), []);
}

/// Evidence of so many bytes that no database can make smaller.
pub fn evidence(step: &str, bytes: usize) -> Evidence {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let noise = (0..bytes).map(|_| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(LETTERS[usize::try_from(seed >> 58).unwrap()])
    });
    Evidence {
        step: step.to_owned(),
        kind: "kube.logs".to_owned(),
        state: StepState::Failed,
        reason: noise.collect(),
        findings: Findings::default(),
        duration_ms: 7,
    }
}
