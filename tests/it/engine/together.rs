//! Deliveries that wait together are applied together, and mean what they mean one by one.

use super::*;

type Said<'a> = (&'a str, &'a str, i64);

fn alert((status, name, minutes): Said<'_>) -> Value {
    payload(&[(status, &[("alertname", name)], minutes)])
}

/// Delivers all, applies once, and says how many still wait.
async fn left(app: &TestApp, said: &[Said<'_>]) -> i64 {
    for said in said {
        app.post_alerts(&alert(*said)).await;
    }
    assert_eq!(app.engine.apply_next().await.unwrap(), Applied::Something);
    app.engine.store.backlog().await.unwrap().0
}

#[tokio::test]
async fn what_changes_different_incidents_is_one_transaction() {
    let app = TestApp::new().await;
    assert_eq!(left(&app, &[("firing", "A", 0), ("firing", "B", 0), ("firing", "C", 0)]).await, 0);
    for (number, name) in (1..).zip(["A", "B", "C"]) {
        let title = app.incident(number).await.title;
        assert!(title.contains(name), "{title}");
    }
    app.pump_until_quiet().await;
    assert_eq!(app.console().matches("PAGE for").count(), 3);
    assert_sound(&app).await;
}

#[tokio::test]
async fn a_delivery_that_goes_on_with_what_an_earlier_one_began_waits_for_it() {
    let app = TestApp::new().await;
    let said = [("firing", "A", 0), ("firing", "B", 0), ("resolved", "A", 1), ("firing", "C", 0)];
    assert_eq!(left(&app, &said).await, 2, "the end of A and what is behind it");
    assert_eq!(app.incident(1).await.firing, 1, "it fired, and that is on record");
    assert_eq!(app.engine.apply_next().await.unwrap(), Applied::Something);
    assert_eq!(app.engine.store.backlog().await.unwrap().0, 0);
    assert_eq!((app.incident(1).await.firing, app.incident(2).await.firing), (0, 1));
    assert_eq!(incidents(&app).await, 3);
    app.pump_until_quiet().await;
    assert_sound(&app).await;
}

#[tokio::test]
async fn one_that_cannot_be_applied_takes_nobody_with_it() {
    let app = TestApp::new().await;
    for name in ["A", "B", "C"] {
        app.post_alerts(&alert(("firing", name, 0))).await;
    }
    app.sql("UPDATE deliveries SET body = x'00' WHERE id = ?1", 2);
    app.pump_until_quiet().await;
    for _ in 0..3 {
        app.advance(Duration::from_secs(2));
        app.pump_until_quiet().await;
    }
    let titles: Vec<String> = app
        .engine
        .store
        .incidents(Filter { open: Some(true), before: None, limit: 10 })
        .await
        .unwrap()
        .into_iter()
        .map(|incident| incident.title)
        .collect();
    assert!(["A", "C"].iter().all(|name| titles.iter().any(|t| t.contains(name))), "{titles:?}");
    assert_eq!(titles.len(), 3, "and one incident says what was set aside: {titles:?}");
    assert_sound(&app).await;
}
