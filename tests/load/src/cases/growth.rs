//! What changes when a store has a million incidents. They are made from real ones: a few hundred that went all the way, copied in the
//! file under other numbers.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use super::{Bench, flow};
use crate::{
    alerts::Template,
    drive::{fresh_ids, get, open},
    report::{Report, Target, median},
    servers::Setup,
    sink::Sink,
};

/// Incidents that are made by the product itself.
const REAL: i64 = 250;

struct Measured {
    ready: f64,
    pages: Vec<(&'static str, f64)>,
    flow: flow::Flow,
}

/// Start, list and flow with few and with many incidents.
pub async fn measure(bench: &Bench, report: &mut Report) {
    let many = if bench.quick { 50_000 } else { 1_000_000 };
    let mut measured = vec![];
    for incidents in [1_000, many] {
        let sink = Sink::start().await;
        let (setup, _folder) = bench.setup(&sink.address);
        fill(&setup, &sink).await;
        copy(&setup.file(), incidents);
        let size = std::fs::metadata(setup.file()).expect("the store's file").len();
        report.say(
            format!("{incidents} incidents: size of the store"),
            size as f64 / 1_048_576.0,
            "MiB",
        );
        measured.push(look(&setup, &sink, bench, incidents).await);
    }
    let [few, many_measured] = measured.as_slice() else { unreachable!("two sizes") };
    report.aim(
        format!("start to ready with {many} incidents"),
        many_measured.ready,
        "s",
        Target::AtMost(1.0),
    );
    for ((page, few), (_, many)) in few.pages.iter().zip(&many_measured.pages) {
        report.say(format!("{page}, 1000 incidents"), *few, "ms");
        report.aim(format!("{page}, all incidents"), *many, "ms", Target::AtMost(50.0));
    }
    report.say("webhook to page at 50/s, p50, 1000 incidents", few.flow.p50 * 1_000.0, "ms");
    report.say(
        "webhook to page at 50/s, p50, all incidents",
        many_measured.flow.p50 * 1_000.0,
        "ms",
    );
    report.say(
        "webhook to page at 50/s, p99, all incidents",
        many_measured.flow.p99 * 1_000.0,
        "ms",
    );
    report.say("CPU per alert, 1000 incidents", few.flow.cpu, "ms");
    report.say("CPU per alert, all incidents", many_measured.flow.cpu, "ms");
    report.aim(
        "CPU per alert, all to 1000",
        many_measured.flow.cpu / few.flow.cpu,
        "",
        Target::AtMost(1.2),
    );
}

async fn look(setup: &Setup, sink: &Sink, bench: &Bench, incidents: i64) -> Measured {
    let product = setup.start().await;
    let ready = product.ready.as_secs_f64();
    let mut pages = vec![];
    for (name, path) in [
        ("list of open incidents", "/api/v1/incidents?status=open&limit=50".to_owned()),
        ("list, first page", "/api/v1/incidents?status=all&limit=50".to_owned()),
        (
            "list, a page in the middle",
            format!("/api/v1/incidents?status=all&limit=50&before={}", incidents / 2),
        ),
        ("list, the last page", "/api/v1/incidents?status=all&limit=50&before=51".to_owned()),
        ("web page", "/incidents".to_owned()),
        ("metrics", "/metrics".to_owned()),
    ] {
        let mut times = vec![];
        for _ in 0..5 {
            let begin = Instant::now();
            let answer = get(&product.address, &path).await;
            assert!(matches!(answer, Some((200, _))), "{path}: {answer:?}");
            times.push(begin.elapsed().as_secs_f64() * 1_000.0);
        }
        pages.push((name, median(times)));
    }
    let flow = flow::at(&product, sink, 50.0, bench.time()).await;
    product.process.stop();
    Measured { ready, pages, flow }
}

/// Incidents that open, are paged and diagnosed, and resolve.
async fn fill(setup: &Setup, sink: &Sink) {
    let product = setup.start().await;
    let (ids, total) = (fresh_ids(), REAL.unsigned_abs());
    let first = ids.load(std::sync::atomic::Ordering::Relaxed);
    let fire = Template::new(1);
    let sent = open(&product.target(), (100.0, total), 16, &fire, &ids, true).await;
    flow::all_paged(sink, &sent).await;
    product.until_metric("paramedic_steps_total", total as f64).await;
    ids.store(first, std::sync::atomic::Ordering::Relaxed);
    open(&product.target(), (100.0, total), 16, &fire.resolved(), &ids, true).await;
    setup.until_applied().await;
    setup.until_no("incidents WHERE is_open = 1").await;
    product.process.stop();
}

/// Copies what belongs to the real ones until there are so many.
fn copy(file: &Path, incidents: i64) {
    let db = rusqlite::Connection::open(file).expect("the store's file");
    let run = |sql: &str| db.execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    // Only here: a file that is lost is made again.
    run("PRAGMA synchronous = OFF; PRAGMA cache_size = -200000; BEGIN");
    let copies = incidents / REAL - 1;
    run(&format!(
        "CREATE TEMP TABLE copies AS WITH RECURSIVE c (k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM c WHERE k < {copies}) SELECT k, k * {REAL} AS off FROM c"
    ));
    for (table, changed) in [
        (
            "incidents",
            &[
                ("id", "id + off"),
                ("incident_key", "incident_key || '-' || k"),
                ("state", "json_set(state, '$.id', id + off)"),
            ][..],
        ),
        ("timeline", &[("incident_id", "incident_id + off")]),
        (
            "members",
            &[("incident_id", "incident_id + off"), ("fingerprint", "fingerprint || '-' || k")],
        ),
        ("runs", &[("id", "id || '-' || k"), ("incident_id", "incident_id + off")]),
        ("steps", &[("run_id", "run_id || '-' || k")]),
        (
            "messages",
            &[
                ("message_key", "message_key || '-' || k"),
                ("incident_id", "incident_id + off"),
                ("remote_id", "remote_id || '-' || k"),
            ],
        ),
    ] {
        let mut columns = db
            .prepare(&format!("SELECT name FROM pragma_table_info('{table}')"))
            .expect("the columns");
        let columns: Vec<String> =
            columns.query_map([], |row| row.get(0)).expect("the columns").flatten().collect();
        let values = columns.iter().map(|column| {
            changed
                .iter()
                .find(|(name, _)| name == column)
                .map_or(column.as_str(), |(_, value)| *value)
        });
        let values: Vec<&str> = values.collect();
        run(&format!(
            "INSERT INTO {table} ({}) SELECT {} FROM copies CROSS JOIN (SELECT * FROM {table}) ORDER BY k",
            columns.join(", "),
            values.join(", ")
        ));
    }
    run(
        "UPDATE meta SET value = (SELECT max(id) FROM incidents) WHERE name = 'incident'; COMMIT; PRAGMA wal_checkpoint(TRUNCATE)",
    );
}
