//! Deliveries: durable when answered, applied in the order they came, by one replica at a time.

use std::time::Duration;

use paramedic::store::{Changes, Error, NewDelivery, Progress};

use super::backend::{Shop, on_every_backend};

on_every_backend!(
    a_delivery_is_there_after_a_restart_until_it_is_applied,
    many_deliveries_at_once_are_all_stored_in_the_order_of_each_sender,
    of_two_that_apply_one_delivery_one_wins,
    a_source_is_one_replicas_turn_and_goes_to_another_when_it_dies,
    a_named_turn_goes_on_while_it_is_asked_for_and_is_free_after_four_seconds_or_at_once,
);

async fn a_delivery_is_there_after_a_restart_until_it_is_applied(shop: Shop) {
    let received_at = shop.store.now();
    let bodies = vec![b"{\"alerts\":[]}".to_vec(), vec![0, 159, 146, 150]];
    let new = NewDelivery { source: "prod".to_owned(), received_at, bodies };
    shop.store.deliver(new).await.unwrap();
    let shop = shop.restarts().await;
    let (count, oldest) = shop.store.backlog().await.unwrap();
    assert_eq!((count, oldest), (2, Some(received_at)));
    let first = shop.store.next_deliveries("a", 1).await.unwrap().remove(0);
    assert_eq!((first.body.as_slice(), first.source.as_str()), (&b"{\"alerts\":[]}"[..], "prod"));
    let applied = Changes { deliveries: vec![Progress::Done(first.id, 0)], ..Changes::default() };
    shop.commit(applied).await.unwrap();
    let second = shop.store.next_deliveries("a", 1).await.unwrap().remove(0);
    assert_eq!(second.body, [0, 159, 146, 150], "bytes stay as they came");
    for attempt in 1..=3 {
        assert_eq!(shop.store.delivery_failed(second.id).await.unwrap(), attempt);
    }
    let aside = Changes { deliveries: vec![Progress::Poisoned(second.id)], ..Changes::default() };
    shop.commit(aside).await.unwrap();
    assert_eq!(shop.store.next_deliveries("a", 1).await.unwrap(), []);
    assert_eq!(shop.store.set_aside().await.unwrap(), 1);
    assert_eq!(shop.store.delivery_failed(second.id).await.unwrap(), 0, "nobody's any more");
    shop.store.forget().await.unwrap();
}

async fn many_deliveries_at_once_are_all_stored_in_the_order_of_each_sender(shop: Shop) {
    let received_at = shop.store.now();
    let send = async |sender: usize| {
        for i in 0..5 {
            let bodies = vec![
                format!("{sender} {i} a").into_bytes(),
                format!("{sender} {i} b").into_bytes(),
            ];
            let new = NewDelivery { source: "prod".to_owned(), received_at, bodies };
            shop.store.deliver(new).await.unwrap();
        }
    };
    futures::future::join_all((0..60).map(send)).await;
    assert_eq!(shop.store.backlog().await.unwrap().0, 600);
    let mut seen = vec![vec![]; 60];
    while let Some(next) = shop.store.next_deliveries("a", 1).await.unwrap().pop() {
        let text = String::from_utf8(next.body).unwrap();
        let (sender, rest) = text.split_once(' ').unwrap();
        seen[sender.parse::<usize>().unwrap()].push(rest.to_owned());
        let done = Changes { deliveries: vec![Progress::Done(next.id, 0)], ..Changes::default() };
        shop.commit(done).await.unwrap();
    }
    let wanted: Vec<String> = (0..5).flat_map(|i| [format!("{i} a"), format!("{i} b")]).collect();
    assert!(seen.iter().all(|one| *one == wanted), "{seen:?}");
}

async fn of_two_that_apply_one_delivery_one_wins(shop: Shop) {
    let received_at = shop.store.now();
    let new = NewDelivery { source: "prod".to_owned(), received_at, bodies: vec![b"x".to_vec()] };
    shop.store.deliver(new).await.unwrap();
    let id = shop.store.next_deliveries("a", 1).await.unwrap().remove(0).id;
    let moves = |progress| Changes {
        deliveries: vec![progress],
        cursors: vec![("c".to_owned(), format!("{progress:?}"))],
        ..Changes::default()
    };
    shop.commit(moves(Progress::Applied(id, 0, 500))).await.unwrap();
    assert_eq!(shop.store.next_deliveries("a", 1).await.unwrap().remove(0).applied, 500);
    let late = shop.commit(moves(Progress::Applied(id, 0, 500))).await;
    assert_eq!(late, Err(Error::LostDelivery));
    assert_eq!(shop.commit(moves(Progress::Done(id, 0))).await, Err(Error::LostDelivery));
    let cursor = shop.store.cursor("c").await.unwrap();
    assert_eq!(
        cursor,
        Some(format!("{:?}", Progress::Applied(id, 0, 500))),
        "nothing of the loser"
    );
    shop.commit(moves(Progress::Done(id, 500))).await.unwrap();
    assert_eq!(shop.commit(moves(Progress::Poisoned(id))).await, Err(Error::LostDelivery));
    assert_eq!(shop.store.backlog().await.unwrap().0, 0);
}

async fn a_source_is_one_replicas_turn_and_goes_to_another_when_it_dies(shop: Shop) {
    for source in ["prod", "test"] {
        let (received_at, bodies) = (shop.store.now(), vec![source.as_bytes().to_vec()]);
        shop.store
            .deliver(NewDelivery { source: source.to_owned(), received_at, bodies })
            .await
            .unwrap();
    }
    if !shop.is_shared() {
        // One process has every turn, also after it was another one.
        assert!(!shop.store.next_deliveries("a", 1).await.unwrap().is_empty());
        assert!(!shop.store.next_deliveries("b", 1).await.unwrap().is_empty());
        return shop.store.end_turns("a").await.unwrap();
    }
    let other = shop.replica().await;
    let source = async |store: &paramedic::store::Store, owner: &str| {
        store.next_deliveries(owner, 1).await.unwrap().pop().map(|delivery| delivery.source)
    };
    assert_eq!(source(&shop.store, "a").await.as_deref(), Some("prod"));
    assert_eq!(source(&other, "b").await.as_deref(), Some("test"), "the other source is free");
    shop.hand.advance(Duration::from_secs(3));
    assert_eq!(source(&shop.store, "a").await.as_deref(), Some("prod"), "its turn goes on");
    shop.hand.advance(Duration::from_secs(3));
    assert_eq!(source(&other, "b").await.as_deref(), Some("test"));
    shop.hand.advance(Duration::from_secs(5));
    assert_eq!(source(&other, "b").await.as_deref(), Some("prod"), "the first one is silent");
    assert_eq!(source(&shop.store, "a").await.as_deref(), Some("test"), "nobody's turn any more");
    other.end_turns("b").await.unwrap();
    let prod = source(&shop.store, "a").await;
    assert_eq!(prod.as_deref(), Some("prod"), "given up: at once");
}

async fn a_named_turn_goes_on_while_it_is_asked_for_and_is_free_after_four_seconds_or_at_once(
    shop: Shop,
) {
    let name = "recorder/prod";
    if !shop.is_shared() {
        assert!(shop.store.has_turn(name, "a").await.unwrap());
        return assert!(shop.store.has_turn(name, "b").await.unwrap());
    }
    let other = shop.replica().await;
    let has = async |store: &paramedic::store::Store, owner: &str| {
        store.has_turn(name, owner).await.unwrap()
    };
    for _ in 0..5 {
        assert_eq!((has(&shop.store, "a").await, has(&other, "b").await), (true, false));
        shop.hand.advance(Duration::from_millis(3_999));
    }
    assert!(!has(&other, "b").await, "not a moment earlier");
    shop.hand.advance(Duration::from_millis(1));
    assert_eq!((has(&other, "b").await, has(&shop.store, "a").await), (true, false));
    other.end_turns("b").await.unwrap();
    assert_eq!((has(&shop.store, "a").await, has(&other, "b").await), (true, false));
}
