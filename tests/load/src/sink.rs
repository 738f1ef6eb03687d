//! Where pages arrive: when the first one of each id came, and how many came twice.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::post};

use crate::{alerts, drive::Outcome};

/// A receiver of webhooks in this process.
pub struct Sink {
    /// `127.0.0.1:port`.
    pub address: String,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    pages: HashMap<u64, Instant>,
    ids: HashSet<String>,
    twice: u64,
}

impl Sink {
    /// Starts it.
    pub async fn start() -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let app = Router::new().route("/{person}", post(take)).with_state(Arc::clone(&seen));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address").to_string();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, seen }
    }

    /// From due to paged, of those that were paged.
    pub fn waits(&self, sent: &Outcome) -> Vec<std::time::Duration> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        sent.taken
            .iter()
            .filter_map(|(id, due)| Some(seen.pages.get(id)?.saturating_duration_since(*due)))
            .collect()
    }

    /// Pages whose key came a second time.
    pub fn twice(&self) -> u64 {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).twice
    }
}

async fn take(State(seen): State<Arc<Mutex<Seen>>>, headers: HeaderMap, body: Bytes) {
    let now = Instant::now();
    let Some(id) = alerts::id(&body) else { return };
    if memchr::memmem::find(&body, b"incident.page").is_none() {
        return;
    }
    let key =
        headers.get("webhook-id").and_then(|key| key.to_str().ok()).unwrap_or_default().to_owned();
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    seen.pages.entry(id).or_insert(now);
    if !seen.ids.insert(key) {
        seen.twice += 1;
    }
}
