//! The least that a durable receiver can do: parse, one commit for all that wait, answer. And less: the same without a store.

use std::{collections::HashMap, path::Path, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    routing::post,
};
use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};

#[derive(Deserialize)]
struct Webhook {
    alerts: Vec<Alert>,
}

/// Everything is read, as a receiver that uses it would.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "parsed as a receiver would, and not used")]
struct Alert {
    status: String,
    labels: HashMap<String, String>,
    annotations: HashMap<String, String>,
    starts_at: String,
    ends_at: String,
    fingerprint: String,
}

type Row = (Bytes, Vec<(String, String)>, oneshot::Sender<()>);

/// Deliveries that share one commit at most, as in the product.
const BATCH: usize = 256;

/// Serves `/durable` and `/floor` until it is killed.
pub async fn serve(address: &str, file: &Path) {
    let (rows, queue) = mpsc::channel(4_096);
    let file = file.to_owned();
    std::thread::spawn(move || write(&file, queue));
    let app = Router::new()
        .route("/durable", post(durable))
        .route("/floor", post(floor))
        .layer(DefaultBodyLimit::disable())
        .with_state(Arc::new(rows));
    let listener = tokio::net::TcpListener::bind(address).await.expect("a free port");
    axum::serve(listener, app).await.expect("it serves");
}

async fn floor(body: Bytes) -> StatusCode {
    match serde_json::from_slice::<Webhook>(&body) {
        Ok(webhook) if !webhook.alerts.is_empty() => StatusCode::OK,
        Ok(_) | Err(_) => StatusCode::BAD_REQUEST,
    }
}

async fn durable(State(rows): State<Arc<mpsc::Sender<Row>>>, body: Bytes) -> StatusCode {
    let Ok(webhook) = serde_json::from_slice::<Webhook>(&body) else {
        return StatusCode::BAD_REQUEST;
    };
    let key = |alert: Alert| (format!("{}:{}", alert.fingerprint, alert.starts_at), alert.status);
    let keys = webhook.alerts.into_iter().map(key).collect();
    let (done, stored) = oneshot::channel();
    if rows.send((body, keys, done)).await.is_err() {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    if stored.await.is_ok() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

fn write(file: &Path, mut queue: mpsc::Receiver<Row>) {
    let mut db = rusqlite::Connection::open(file).expect("the floor's file");
    let tables = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                  CREATE TABLE inbox (id INTEGER PRIMARY KEY, body BLOB NOT NULL); \
                  CREATE TABLE alerts (name TEXT PRIMARY KEY, status TEXT NOT NULL, inbox INTEGER NOT NULL) WITHOUT ROWID";
    db.execute_batch(tables).expect("the floor's tables");
    let mut batch = Vec::with_capacity(BATCH);
    while queue.blocking_recv_many(&mut batch, BATCH) > 0 {
        store(&mut db, &batch).expect("the floor's commit");
        for (_, _, done) in batch.drain(..) {
            // Whoever asked may be gone.
            let _ = done.send(());
        }
    }
}

fn store(db: &mut rusqlite::Connection, batch: &[Row]) -> rusqlite::Result<()> {
    let transaction = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    {
        let mut inbox = transaction.prepare_cached("INSERT INTO inbox (body) VALUES (?1)")?;
        let mut alerts = transaction.prepare_cached(
            "INSERT INTO alerts (name, status, inbox) VALUES (?1, ?2, ?3) ON CONFLICT (name) DO UPDATE SET status = excluded.status",
        )?;
        for (body, keys, _) in batch {
            inbox.execute([&body[..]])?;
            let id = transaction.last_insert_rowid();
            for (name, status) in keys {
                alerts.execute(rusqlite::params![name, status, id])?;
            }
        }
    }
    transaction.commit()
}
