//! The faults that simulations play.

use std::sync::Arc;

use paramedic::{
    domain::ids::IncidentId,
    ops::lifecycle::Tasks,
    store::{
        Changes, Error, NewDelivery, Repeat, Settings, Store,
        sim::{Fault, World},
    },
};

use super::{
    backend::{Backend, Place, Shop},
    incident, saved,
};

fn cursor(value: &str) -> Changes {
    Changes { cursors: vec![("c".to_owned(), value.to_owned())], ..Changes::default() }
}

async fn shop_in_a_world() -> (Shop, Arc<World>) {
    let shop = Shop::opens(Backend::Sim).await;
    let Place::World { world, .. } = &shop.place else { panic!("the wrong place") };
    let world = Arc::clone(world);
    (shop, world)
}

/// The first write goes wrong, those after it do not.
fn once(world: &World, fault: Fault) {
    world.plan(move |number| (number == 1).then_some(fault));
}

#[tokio::test]
async fn what_fails_before_or_during_the_commit_did_not_happen_and_after_it_did() {
    let (shop, world) = shop_in_a_world().await;
    for (fault, happened) in
        [(Fault::Before, false), (Fault::During, false), (Fault::Full, false), (Fault::After, true)]
    {
        let value = format!("{fault:?}");
        once(&world, fault);
        let failed = shop.commit(cursor(&value)).await;
        assert!(matches!(failed, Err(Error::Failed(_))), "{fault:?}: {failed:?}");
        let seen = shop.store.cursor("c").await.unwrap();
        assert_eq!(seen.as_deref() == Some(&value), happened, "{fault:?}: {seen:?}");

        once(&world, fault);
        let before = shop.store.backlog().await.unwrap().0;
        let received_at = shop.store.now();
        let new = NewDelivery { source: "s".to_owned(), received_at, bodies: vec![vec![1]] };
        assert!(shop.store.deliver(new).await.is_err());
        let after = shop.store.backlog().await.unwrap().0;
        assert_eq!(after - before, i64::from(happened), "{fault:?}");
        shop.commit(cursor("fine")).await.unwrap();
    }
}

#[tokio::test]
async fn a_conflict_is_a_conflict_although_the_commit_would_have_failed() {
    let (shop, world) = shop_in_a_world().await;
    shop.commit(saved(&incident(1, "k", shop.store.now()))).await.unwrap();
    once(&world, Fault::During);
    let twin = saved(&incident(2, "k", shop.store.now()));
    assert_eq!(shop.commit(twin).await, Err(Error::Conflict));
    assert_eq!(shop.store.incident(IncidentId(2)).await.unwrap(), None);
}

#[tokio::test]
async fn what_stalls_goes_on_when_it_is_released() {
    let (shop, world) = shop_in_a_world().await;
    for (fault, seen_while_it_stalls) in [(Fault::StallBefore, false), (Fault::StallAfter, true)] {
        once(&world, fault);
        let value = format!("{fault:?}");
        let stalled = shop.commit(cursor(&value));
        let mut stalled = std::pin::pin!(stalled);
        // Its own task runs in between.
        for _ in 0..50 {
            assert!(futures::poll!(&mut stalled).is_pending());
            tokio::task::yield_now().await;
            shop.store.backlog().await.unwrap();
        }
        let seen = shop.store.cursor("c").await.unwrap();
        assert_eq!(seen.as_deref() == Some(&value), seen_while_it_stalls, "{seen:?}");
        world.release();
        stalled.await.unwrap();
        assert_eq!(shop.store.cursor("c").await.unwrap(), Some(value));
    }
}

#[tokio::test]
async fn replicas_share_a_world_that_outlives_them() {
    let (shop, _world) = shop_in_a_world().await;
    let other = shop.replica().await;
    shop.add("a", Repeat::Keep).await;
    assert_eq!(other.job_counts().await.unwrap(), [("post".to_owned(), 1)]);
    drop(other);
    let shop = shop.restarts().await;
    assert_eq!(shop.store.job_counts().await.unwrap(), [("post".to_owned(), 1)]);
    let nowhere = Settings::at("sim:nowhere");
    let missing = Store::open(&nowhere, shop.clock.clone(), &Tasks::default()).await;
    assert_eq!(missing.err(), Some(Error::Missing("sim:nowhere".to_owned())));
}
