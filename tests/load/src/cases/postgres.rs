//! The same on PostgreSQL, with one and with two replicas, beside inserts that only PostgreSQL itself makes.

use std::{sync::Arc, time::Instant};

use super::{Bench, flow, folder};
use crate::{
    alerts::Template,
    drive::{Target as Load, closed, fresh_ids},
    report::{Report, Target, median},
    servers::{Postgres, Product, Setup},
    sink::Sink,
};

const CONNECTIONS: usize = 64;

/// Durable answers of one and of two replicas, and the flow to a page.
pub async fn measure(bench: &Bench, report: &mut Report) {
    let place = folder();
    let server = Postgres::start(place.path()).await;
    let sink = Sink::start().await;
    let (mut floors, mut ones, mut twos) = (vec![], vec![], vec![]);
    for time in 0..bench.times() {
        floors.push(inserts(&server, bench, &format!("floor{time}")).await);
        ones.push(answers(&server, bench, &sink, &format!("one{time}"), 1).await);
        twos.push(answers(&server, bench, &sink, &format!("two{time}"), 2).await);
    }
    let (floor, one, two) = (median(floors), median(ones), median(twos));
    let shape = format!("1 alert, {CONNECTIONS} connections");
    report.beside(
        format!("webhooks per second, {shape}, one replica"),
        one,
        "/s",
        floor,
        Target::OfFloor(0.5),
    );
    report.beside(
        format!("webhooks per second, {shape}, two replicas"),
        two,
        "/s",
        floor,
        Target::OfFloor(0.5),
    );
    report.say("two replicas to one", two / one, "");

    let store = server.database("flow").await;
    let (mut setup, _folder) = bench.setup(&sink.address);
    setup.store = Some(store);
    let flow = flow::at(&setup.start().await, &sink, 50.0, bench.time()).await;
    report.say("webhook to page at 50/s, p50", flow.p50 * 1_000.0, "ms");
    report.say("webhook to page at 50/s, p99", flow.p99 * 1_000.0, "ms");
    report.say("CPU per alert of the replica, step and page included", flow.cpu, "ms");
}

/// Rows that as many clients insert, each with a commit of its own, per second.
async fn inserts(server: &Postgres, bench: &Bench, database: &str) -> f64 {
    use sqlx::Connection as _;
    let url = server.database(database).await;
    server
        .run(database, "CREATE TABLE inbox (id BIGSERIAL PRIMARY KEY, body BYTEA NOT NULL)")
        .await
        .expect("a table");
    let (begin, time) = (Instant::now(), bench.time());
    let body = Arc::new(Template::new(1).body(1));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (url, body) = (url.clone(), Arc::clone(&body));
        tasks.spawn(async move {
            let mut db = sqlx::PgConnection::connect(&url).await.expect("a connection");
            let mut rows = 0_u32;
            while begin.elapsed() < time {
                sqlx::query("INSERT INTO inbox (body) VALUES ($1)")
                    .bind(&body[..])
                    .execute(&mut db)
                    .await
                    .expect("a row");
                rows += 1;
            }
            f64::from(rows)
        });
    }
    let rows = tasks.join_all().await;
    rows.iter().sum::<f64>() / begin.elapsed().as_secs_f64()
}

/// Webhooks that so many replicas answer together, per second. The store must hold exactly these.
async fn answers(
    server: &Postgres,
    bench: &Bench,
    sink: &Sink,
    database: &str,
    replicas: usize,
) -> f64 {
    let store = server.database(database).await;
    let mut running = vec![];
    for _ in 0..replicas {
        let (mut setup, folder) = bench.setup(&sink.address);
        setup.store = Some(store.clone());
        running.push(replica(&setup, folder).await);
    }
    let (ids, template) = (fresh_ids(), Template::new(1));
    let loads = running.iter().map(|(product, _)| {
        let (target, ids, template): (Load, _, _) =
            (product.target(), Arc::clone(&ids), template.clone());
        let time = bench.time();
        tokio::spawn(
            async move { closed(&target, CONNECTIONS / replicas, time, &template, &ids).await },
        )
    });
    let (mut taken, mut per_second) = (0, 0.0);
    for load in loads.collect::<Vec<_>>() {
        let outcome = load.await.expect("a load ended");
        assert_eq!(outcome.refused, 0, "nothing is refused at this load");
        taken += outcome.taken.len();
        per_second += outcome.per_second();
    }
    drop(running);
    let sql = "SELECT (SELECT count(*) FROM deliveries WHERE state = 'new') + (SELECT count(*) FROM incidents)";
    let stored = server.number(database, sql).await.expect("a count");
    assert_eq!(usize::try_from(stored), Ok(taken), "the store holds what was answered");
    per_second
}

async fn replica(setup: &Setup, folder: tempfile::TempDir) -> (Product, tempfile::TempDir) {
    (setup.start().await, folder)
}
