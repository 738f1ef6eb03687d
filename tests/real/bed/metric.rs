//! A page of metrics that the story switches, for a real Prometheus to scrape.
#![allow(clippy::disallowed_methods, reason = "the page is served beside the story")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{Router, extract::State, routing::get};

/// Series and their values.
type Series = Arc<Mutex<BTreeMap<String, f64>>>;

/// The page.
pub struct Metrics {
    /// `127.0.0.1:port`.
    pub address: String,
    series: Series,
}

impl Metrics {
    /// An empty page at `/metrics`.
    pub async fn start() -> Self {
        async fn page(State(series): State<Series>) -> String {
            let series = series.lock().unwrap();
            let lines: Vec<String> =
                series.iter().map(|(n, value)| format!("{n} {value}")).collect();
            lines.join("\n") + "\n"
        }
        let series = Series::default();
        let app = Router::new().route("/metrics", get(page)).with_state(Arc::clone(&series));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, series }
    }

    /// Sets a series, written as in PromQL: `spark_executor_lost{pod="etl-exec-1"}`.
    pub fn set(&self, series: &str, value: f64) {
        self.series.lock().unwrap().insert(series.to_owned(), value);
    }
}
