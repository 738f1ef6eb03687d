//! The bed's homeserver as every Matrix story finds it.

use crate::bed::{
    Bed,
    synapse::{Limits, Synapse},
};

#[tokio::test]
async fn a_fresh_homeserver_knows_an_account_that_was_registered_until_it_is_stopped() {
    for limits in [Limits::Loose, Limits::Default] {
        let bed = Bed::new();
        let mut synapse = Synapse::start(&bed, limits).await;
        let profile = format!("{}/_matrix/client/v3/profile/@medic:localhost", synapse.url);
        assert_eq!(bed.get(&profile).await.unwrap().status, 404, "{limits:?}");
        synapse.register("medic", "a-long-password");
        assert_eq!(bed.json(&profile).await.unwrap()["displayname"], "medic", "{limits:?}");
        assert!(synapse.process.stop("TERM").await.success(), "{}", synapse.process.output());
        assert!(bed.get(&profile).await.is_none(), "{limits:?}");
    }
}
