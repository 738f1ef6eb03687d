//! Messages: one row per card and page, found by either side's name for it.

use paramedic::{
    domain::ids::IncidentId,
    store::{Changes, Sent},
};

use super::backend::{Shop, on_every_backend};

on_every_backend!(a_message_is_updated_in_place_and_found_by_both_names);

async fn a_message_is_updated_in_place_and_found_by_both_names(shop: Shop) {
    let card = Sent {
        key: "post:INC-1:ops".to_owned(),
        incident: IncidentId(1),
        is_page: false,
        channel: "ops".to_owned(),
        address: "C1".to_owned(),
        remote_id: "1.1".to_owned(),
        round: 1,
        revision: 1,
        person: String::new(),
        state: "sent".to_owned(),
        remark: String::new(),
        at: shop.store.now(),
    };
    let page = Sent {
        key: "page:1".to_owned(),
        is_page: true,
        person: "ann".to_owned(),
        remote_id: "$e".to_owned(),
        ..card.clone()
    };
    let save = |messages| Changes { messages, ..Changes::default() };
    shop.commit(save(vec![card.clone(), page.clone()])).await.unwrap();
    let edited = Sent { revision: 2, remote_id: "1.2".to_owned(), ..card.clone() };
    shop.commit(save(vec![edited.clone()])).await.unwrap();
    assert_eq!(shop.store.message(&card.key).await.unwrap(), Some(edited.clone()));
    assert_eq!(shop.store.message("post:INC-2:ops").await.unwrap(), None);
    assert_eq!(shop.store.message_by_remote_id("$e").await.unwrap(), Some(page.clone()));
    assert_eq!(shop.store.message_by_remote_id("1.1").await.unwrap(), None);
    assert_eq!(shop.store.messages(IncidentId(1)).await.unwrap(), [edited, page]);
}
