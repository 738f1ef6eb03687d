//! Two daemons on one store that goes away.

use super::*;
use crate::fakes::webhook_receiver::WebhookReceiver;

const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";

#[tokio::test]
async fn replicas_say_it_under_one_key_and_the_next_outage_under_another() {
    let tasks = Tasks::default();
    let world = World::begin("two", &tasks).await.unwrap();
    let clock = Clock::manual(START.parse().unwrap());
    let hook = WebhookReceiver::start(clock.0.clone(), KEY).await;
    let people = format!(
        "people: [ {{ id: ana, name: Ana, contacts: {{ webhook: \"{}\" }}, notify: {{ default: [ {{ at: 0m, by: [webhook] }} ] }} }} ]\n\
         policies: [ {{ id: data, steps: [ {{ at: 0m, page: [\"person:ana\"] }} ], then: {{ page: [\"person:ana\"], every: 30m }} }} ]\n",
        hook.url
    );
    let yaml =
        "default_policy: data\noncall: { dir: oncall.yaml }\nwebhook: { secret: { env: HOOK } }\n";
    let files = [("oncall.yaml", people.as_str())];
    let mut apps = vec![];
    for _ in 0..2 {
        let app = TestApp::on(Some("sim:two"), clock.clone(), yaml, &files, vec![]).await;
        apps.push((Watcher::new(&app.engine), app));
    }
    let mut outages = vec![];
    for _ in 0..2 {
        for broken in [false, true, false] {
            world.plan(move |_| broken.then_some(Fault::Full));
            for _ in 0..10 {
                clock.1.advance(TICK);
                for (watcher, _) in &mut apps {
                    watcher.turn().await;
                }
            }
        }
        let keys: Vec<String> = hook.kept().into_iter().map(|(id, _)| id).collect();
        outages.push(keys);
    }
    // Each replica said it lost and back, twice; the receiver kept each once.
    assert_eq!(
        (hook.attempts().len(), outages[0].len(), outages[1].len()),
        (8, 2, 4),
        "{outages:?}"
    );
    assert!(
        outages[1][0].ends_with(":0:ana") && outages[1][1].ends_with(":back:ana"),
        "{outages:?}"
    );
    let page = &hook.kept()[0].1;
    assert_eq!((&page["type"], &page["data"]["incident"]), (&"incident.page".into(), &"".into()));
}
