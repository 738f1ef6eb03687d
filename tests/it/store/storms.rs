//! Storms: how fast incidents open, and who is in one.

use std::time::Duration;

use jiff::SignedDuration;
use paramedic::{
    domain::{
        ids::IncidentId,
        incident::{Incident, NoWake, Status, Wake, storm::Membership},
    },
    store::IncidentChange,
};

use super::{
    backend::{Shop, on_every_backend},
    incident, saved,
};

on_every_backend!(
    the_rate_of_new_incidents_is_counted_no_further_than_needed,
    members_of_a_storm_are_found_and_counted,
    a_storm_that_is_over_with_open_members_is_found,
);

async fn opens(shop: &Shop, id: i64, change: impl FnOnce(&mut Incident)) {
    let mut opened = incident(id, &format!("k{id}"), shop.store.now());
    change(&mut opened.state);
    shop.commit(saved(&opened)).await.unwrap();
}

fn joins(storm: i64) -> impl Fn(&mut Incident) {
    move |state| {
        let place =
            Membership { storm: IncidentId(storm), cause: "node n1".to_owned(), quiet: true };
        state.storm = Some(place);
    }
}

async fn the_rate_of_new_incidents_is_counted_no_further_than_needed(shop: Shop) {
    opens(&shop, 1, |_| ()).await;
    shop.hand.advance(Duration::from_mins(10));
    let lately = shop.store.now() - SignedDuration::from_mins(1);
    for id in 2..7 {
        opens(&shop, id, |_| ()).await;
    }
    opens(&shop, 7, joins(1)).await;
    assert_eq!(shop.store.opened_since(lately, 100).await.unwrap(), 6);
    assert_eq!(shop.store.opened_since(lately, 3).await.unwrap(), 3);
    let alone = shop.store.open_alone(lately, 4).await.unwrap();
    let ids: Vec<i64> = alone.iter().map(|stored| stored.incident.id.0).collect();
    assert_eq!(ids, [6, 5, 4, 3]);
}

async fn members_of_a_storm_are_found_and_counted(shop: Shop) {
    assert_eq!(shop.store.storm_counts(IncidentId(1)).await.unwrap(), (0, 0));
    opens(&shop, 1, |_| ()).await;
    opens(&shop, 2, joins(1)).await;
    opens(&shop, 3, joins(1)).await;
    opens(&shop, 4, |state| {
        joins(1)(state);
        state.status = Status::Resolved;
    })
    .await;
    opens(&shop, 5, joins(9)).await;
    assert_eq!(shop.store.storm_counts(IncidentId(1)).await.unwrap(), (3, 2));
    let members = shop.store.storm_members(IncidentId(1), 10).await.unwrap();
    let ids: Vec<i64> = members.iter().map(|stored| stored.incident.id.0).collect();
    assert_eq!(ids, [3, 2, 4], "open ones first");
    let left =
        IncidentChange { version: Some(1), events: vec![], ..incident(3, "k3", shop.store.now()) };
    shop.commit(saved(&left)).await.unwrap();
    assert_eq!(shop.store.storm_counts(IncidentId(1)).await.unwrap(), (2, 1));
}

async fn a_storm_that_is_over_with_open_members_is_found(shop: Shop) {
    let over = |state: &mut Incident| {
        (state.status, state.wake) = (Status::Resolved, Wake::Never(NoWake::Over));
    };
    opens(&shop, 1, over).await;
    opens(&shop, 2, joins(1)).await;
    opens(&shop, 3, joins(1)).await;
    opens(&shop, 4, |_| ()).await;
    opens(&shop, 5, joins(4)).await;
    assert_eq!(shop.store.storms_over_with_open_members().await.unwrap(), [IncidentId(1)]);
}
