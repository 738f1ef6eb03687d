//! Owner references: what loses its last owner goes too.
//!
//! The real garbage collector works after the fact; this one works in the same transaction, so a test never sees the gap.

use serde_json::Value;

use super::{
    delete::terminate,
    state::{Key, State},
};

/// Deletes every object that has owners and none of them is there any more, and what those owned.
pub(super) fn collect(state: &mut State) {
    // Pods that end gracefully stay, marked; each removal looks again, so one pass is enough.
    for key in orphans(state) {
        terminate(state, &key, None);
    }
}

fn orphans(state: &State) -> Vec<Key> {
    let uids: std::collections::BTreeSet<&str> =
        state.objects.values().filter_map(|object| object["metadata"]["uid"].as_str()).collect();
    let orphan = |object: &Value| {
        let owners = object["metadata"]["ownerReferences"].as_array();
        let mut owners = owners.into_iter().flatten().peekable();
        owners.peek().is_some()
            && object["metadata"]["deletionTimestamp"].is_null()
            && owners.all(|owner| !owner["uid"].as_str().is_some_and(|uid| uids.contains(uid)))
    };
    state.objects.iter().filter(|(_, o)| orphan(o)).map(|(key, _)| key.clone()).collect()
}

/// Takes an owner out of what it owns, so that it stays (`propagationPolicy: Orphan`).
pub(super) fn release(state: &mut State, uid: &str) {
    let owned: Vec<Key> = state
        .objects
        .iter()
        .filter(|(_, object)| {
            let owners = object["metadata"]["ownerReferences"].as_array();
            owners.into_iter().flatten().any(|owner| owner["uid"] == uid)
        })
        .map(|(key, _)| key.clone())
        .collect();
    for key in owned {
        let Some(mut object) = state.objects.get(&key).cloned() else { continue };
        if let Some(owners) = object["metadata"]["ownerReferences"].as_array_mut() {
            owners.retain(|owner| owner["uid"] != uid);
        }
        state.write(key, object);
    }
}
