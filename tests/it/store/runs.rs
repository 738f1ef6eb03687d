//! Runs and the evidence of their steps.

use jiff::SignedDuration;
use paramedic::{
    domain::{
        evidence::{Evidence, Findings, StepState},
        ids::IncidentId,
        target::{Pod, Target},
        verdict::{Owner, Verdict},
    },
    store::{Changes, Run, RunState},
};
use serde_json::json;

use super::backend::{Shop, on_every_backend};

on_every_backend!(
    a_run_and_its_steps_are_kept_and_the_last_word_counts,
    targets_with_the_same_verdict_are_counted_once_each,
);

pub fn run(shop: &Shop, id: &str, pod: &str) -> Run {
    let now = shop.store.now();
    Run {
        id: id.to_owned(),
        incident: IncidentId(1),
        playbook: "p".to_owned(),
        digest: "d".to_owned(),
        opening: 1,
        target: Some(Target::Pod(Pod {
            cluster: "c".to_owned(),
            namespace: "n".to_owned(),
            name: pod.to_owned(),
        })),
        cluster: "c".to_owned(),
        state: RunState::Running,
        started_at: now,
        deadline: now + SignedDuration::from_mins(5),
        ended_at: None,
        scope: json!({}),
        verdicts: vec![],
        caveats: vec![],
    }
}

fn ended(run: Run, verdict: &str) -> Run {
    let best = Verdict {
        id: verdict.to_owned(),
        title: "t".to_owned(),
        confidence: 0.9,
        owner: Owner::User,
        evidence: vec![],
        remedy: String::new(),
        explains: vec![],
        docs: None,
    };
    Run { state: RunState::Ended, ended_at: Some(run.started_at), verdicts: vec![best], ..run }
}

async fn a_run_and_its_steps_are_kept_and_the_last_word_counts(shop: Shop) {
    let (first, second) = (run(&shop, "1/1/p/b", "b"), run(&shop, "1/1/p/a", "a"));
    let step = |reason: &str| Evidence {
        step: "logs".to_owned(),
        kind: "kube.logs".to_owned(),
        state: StepState::Failed,
        reason: reason.to_owned(),
        findings: Findings::default(),
        duration_ms: 7,
    };
    let changes = Changes {
        runs: vec![first.clone(), second.clone()],
        steps: vec![(first.id.clone(), step("once")), (first.id.clone(), step("twice"))],
        ..Changes::default()
    };
    shop.commit(changes).await.unwrap();
    assert_eq!(shop.store.run(&first.id).await.unwrap(), Some(first.clone()));
    assert_eq!(shop.store.run("1/1/p/c").await.unwrap(), None);
    assert_eq!(shop.store.runs(IncidentId(1)).await.unwrap(), [second, first.clone()]);
    let steps = shop.store.steps(&first.id).await.unwrap();
    assert_eq!(steps.into_values().collect::<Vec<_>>(), [step("twice")]);
}

async fn targets_with_the_same_verdict_are_counted_once_each(shop: Shop) {
    let runs = vec![
        ended(run(&shop, "1", "a"), "oom"),
        ended(run(&shop, "2", "a"), "oom"),
        ended(run(&shop, "3", "b"), "oom"),
        ended(run(&shop, "4", "c"), "quota"),
        run(&shop, "5", "d"),
    ];
    shop.commit(Changes { runs, ..Changes::default() }).await.unwrap();
    let (now, second) = (shop.store.now(), SignedDuration::from_secs(1));
    assert_eq!(shop.store.targets_with_verdict("oom", now - second).await.unwrap(), 2);
    assert_eq!(shop.store.targets_with_verdict("oom", now + second).await.unwrap(), 0);
}
