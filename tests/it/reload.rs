//! Files edited while the daemon runs: a good edit is in force, a bad one is said wherever people look.

use paramedic::domain::incident::Status;

use crate::app::TestApp;

const ONCALL: &str = "people: [{ id: ana, name: Ana, contacts: { console: ana }, notify: { default: [{ at: 0m, by: [console] }] } }]\n\
    policies: [{ id: default, steps: [{ at: 0m, page: [person:ana] }], then: { page: [person:ana], every: 30m } }]\n";

fn playbook(name: &str) -> String {
    format!(
        "name: {name}\ntitle: T\nowner: team:x\nmatch: [alertname={name}]\nsteps:\n  - id: a\n    incident.note: {{ text: hi }}\n"
    )
}

async fn app() -> TestApp {
    let files = [("playbooks/a.yaml", &*playbook("alpha")), ("oncall.yaml", ONCALL)];
    TestApp::start("default_policy: default", &files, vec![]).await
}

#[tokio::test]
async fn a_bad_edit_is_in_the_ui_and_the_chat_pages_nobody_and_resolves_when_it_is_corrected() {
    let app = app().await;
    app.edit("playbooks/a.yaml", "name: [alpha").await;
    app.edit("playbooks/b.yaml", "").await;
    app.pump_until_quiet().await;
    let page = app.page("/incidents").await.body;
    assert!(page.contains("The playbooks were changed and are wrong"), "{page}");
    assert!(page.contains("a.yaml:1:"), "with its place: {page}");
    let incident = app.incident(1).await;
    assert_eq!((incident.severity.to_string(), incident.rounds), ("P3".to_owned(), 0));
    let console = app.console();
    assert!(
        console.contains("An edit is not in force") && console.contains("a.yaml:1:"),
        "{console}"
    );
    assert!(console.contains("nobody is paged: it is only posted"), "{console}");
    assert!(!console.contains("PAGE"), "{console}");
    assert_eq!(app.engine.catalog.get().playbooks.len(), 6, "the last good ones are in force");

    app.edit("playbooks/a.yaml", &playbook("beta")).await;
    std::fs::remove_file(app.database().with_file_name("playbooks/b.yaml")).unwrap();
    app.edit("playbooks/c.yaml", &playbook("gamma")).await;
    app.pump_until_quiet().await;
    assert_eq!(app.incident(1).await.status, Status::Resolved);
    assert!(!app.page("/incidents").await.body.contains("changed and are wrong"));
}

#[tokio::test]
async fn the_same_mistake_is_said_once_and_a_restart_with_corrected_files_resolves_it() {
    let app = app().await;
    for _ in 0..3 {
        app.edit("oncall.yaml", "people: 7").await;
    }
    app.pump_until_quiet().await;
    let events = app.engine.store.timeline(app.incident(1).await.id, 0, 100).await.unwrap();
    let notes = events.iter().filter(|(_, _, event)| format!("{event:?}").starts_with("Noted"));
    assert_eq!(notes.count(), 0, "{events:?}");
    std::fs::write(app.database().with_file_name("oncall.yaml"), ONCALL).unwrap();
    let app = app.dies_and_restarts().await;
    app.edit("playbooks/a.yaml", &playbook("alpha")).await;
    app.pump_until_quiet().await;
    assert_eq!(app.incident(1).await.status, Status::Resolved);
}
