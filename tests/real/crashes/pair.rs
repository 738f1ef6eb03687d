//! Two Alertmanagers that do not hear of each other deliver everything twice.

use super::{PATIENCE, all_are_paged, fire, pages};
use crate::bed::{
    Bed,
    alertmanager::{Alertmanager, Receiver},
    daemon::Daemon,
    metric_value, ports, until,
};

#[tokio::test]
async fn what_a_pair_of_alertmanagers_delivers_twice_is_one_incident_and_one_page() {
    let bed = Bed::new();
    let port = ports::free();
    let webhook = format!("http://127.0.0.1:{port}/api/v1/alertmanager");
    let receiver = Receiver { url: &webhook, token: None };
    let a = Alertmanager::start(&bed, &receiver).await;
    let b = Alertmanager::start_another(&bed, &receiver, "peer").await;
    let asks = format!(
        "storm: {{ by: [] }}\nsources: {{ default: {{ alertmanagers: ['{}', '{}'] }} }}",
        a.url, b.url
    );
    let daemon = Daemon::start_at(&bed, port, &asks).await;
    let names: Vec<String> = (0..5).map(|number| format!("Broken{number}")).collect();
    for name in &names {
        tokio::join!(fire(&a, name), fire(&b, name));
    }
    all_are_paged(&daemon, &names).await;
    // Both have delivered every alert, and all of it is applied.
    let both = async || {
        let seen = bed.get(&format!("{}/metrics", daemon.url)).await?;
        let text = String::from_utf8(seen.body).unwrap();
        let all = metric_value(&text, "paramedic_alerts_received_total")? >= 10.0;
        let waiting = metric_value(&text, "paramedic_deliveries_waiting")?;
        (all && waiting.abs() < 0.5).then_some(())
    };
    until("both deliver", PATIENCE, both).await;
    all_are_paged(&daemon, &names).await;
    for (name, (first, repeat)) in pages(&daemon) {
        assert_eq!((first, repeat), (1, 0), "{name}");
    }
}
