//! Plans as people read them, and their properties over generated policies.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;

use super::{
    plan::{PlannedStep, StepRef},
    policy::{PageTarget, Policy, PolicyStep, Repeat, Then},
};
use crate::domain::{duration, severity::Severity};

fn minutes(minutes: u64) -> Duration {
    Duration::from_mins(minutes)
}

fn step(at: u64, page: &[&str], post: &[&str], only: &[Severity]) -> PolicyStep {
    PolicyStep {
        at: minutes(at),
        page: page.iter().map(|target| target.parse().unwrap()).collect(),
        post: post.iter().map(ToString::to_string).collect(),
        only: only.to_vec(),
    }
}

fn policy(steps: Vec<PolicyStep>, repeat: Option<(u64, u32)>, then: Option<u64>) -> Policy {
    Policy {
        id: "p".to_owned(),
        steps,
        repeat: repeat.map(|(every, times)| Repeat { every: minutes(every), times }),
        then: then.map(|every| Then {
            page: vec![PageTarget::Person("lead".into())],
            every: minutes(every),
        }),
        ack_expires: BTreeMap::new(),
        hold: BTreeMap::new(),
    }
}

fn data_platform() -> Policy {
    let steps = vec![
        step(0, &["schedule:primary"], &[], &[]),
        step(0, &["schedule:secondary"], &[], &[Severity::P0]),
        step(5, &["schedule:secondary"], &["spark-oncall"], &[]),
        step(15, &["person:lead"], &[], &[]),
    ];
    policy(steps, Some((15, 1)), Some(30))
}

fn shown(step: &PlannedStep) -> String {
    let at = duration::format(step.at);
    let page: Vec<_> = step.page.iter().map(ToString::to_string).collect();
    format!("{at:<7} {:<16} {} {}", step.step.to_string(), page.join(" "), step.post.join(" "))
        .trim_end()
        .to_owned()
}

fn plan(policy: &Policy, severity: Severity) -> String {
    policy.plan(severity).take(9).map(|step| shown(&step)).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_list_repeats_and_then_the_fallback_goes_on_for_ever() {
    insta::assert_snapshot!(plan(&data_platform(), Severity::P1), @r"
    0s      step 1           schedule:primary
    5m      step 2           schedule:secondary spark-oncall
    15m     step 3           person:lead
    30m     step 1, repeat 1 schedule:primary
    35m     step 2, repeat 1 schedule:secondary spark-oncall
    45m     step 3, repeat 1 person:lead
    1h 15m  fallback 1       person:lead
    1h 45m  fallback 2       person:lead
    2h 15m  fallback 3       person:lead
    ");
}

#[test]
fn steps_due_together_are_one_step_and_only_applies_by_severity() {
    let first = |severity| shown(&data_platform().next_step(severity, None).unwrap());
    assert_eq!(first(Severity::P0), "0s      step 1           schedule:primary schedule:secondary");
    assert_eq!(first(Severity::P1), "0s      step 1           schedule:primary");
}

#[test]
fn without_a_fallback_the_plan_ends() {
    let short = policy(vec![step(0, &["person:ana"], &[], &[])], Some((15, 1)), None);
    insta::assert_snapshot!(plan(&short, Severity::P1), @r"
    0s      step 1           person:ana
    15m     step 1, repeat 1 person:ana
    ");
    assert_eq!(policy(vec![], None, None).next_step(Severity::P0, None), None);
    assert_eq!(
        short.step_at(Severity::P1, minutes(100)).unwrap().step,
        StepRef::List { pass: 1, index: 0 }
    );
}

#[test]
fn a_policy_whose_list_is_for_others_starts_with_the_fallback() {
    let others =
        policy(vec![step(5, &["person:ana"], &[], &[Severity::P0])], Some((15, 2)), Some(30));
    let first = others.next_step(Severity::P3, None).unwrap();
    assert_eq!((first.at, first.step), (Duration::ZERO, StepRef::Then { turn: 0 }));
    assert_eq!(others.step_at(Severity::P3, minutes(30)).unwrap().step, StepRef::Then { turn: 1 });
}

#[test]
fn steps_found_late_collapse_to_the_current_one_and_lose_no_page() {
    let policy = policy(
        vec![
            step(0, &["person:ana"], &["first"], &[]),
            step(5, &[], &["second"], &[]),
            step(10, &["person:raj"], &[], &[]),
        ],
        None,
        Some(30),
    );
    let late =
        |after, elapsed| policy.collapse(Severity::P1, after, minutes(elapsed)).map(|s| shown(&s));
    assert_eq!(late(None, 7).as_deref(), Some("5m      step 2           person:ana second first"));
    assert_eq!(late(None, 10).as_deref(), Some("10m     step 3           person:raj second first"));
    let first = Some(StepRef::List { pass: 0, index: 0 });
    assert_eq!(late(first, 7).as_deref(), Some("5m      step 2            second"));
    assert_eq!(late(first, 4), None, "nothing new is due");
    assert_eq!(
        late(first, 100_000).as_deref(),
        Some("69d 10h 40m fallback 3333    person:lead second")
    );
}

#[test]
fn a_reference_survives_storage() {
    for step in [StepRef::List { pass: 1, index: 2 }, StepRef::Then { turn: u32::MAX }] {
        let stored = serde_json::to_string(&step).unwrap();
        assert_eq!(serde_json::from_str::<StepRef>(&stored).unwrap(), step);
    }
    let policy = data_platform();
    let stored = serde_json::to_string(&policy).unwrap();
    assert_eq!(serde_json::from_str::<Policy>(&stored).unwrap(), policy);
    assert_eq!(policy.next_step(Severity::P1, Some(StepRef::Then { turn: u32::MAX })), None);
}

prop_compose! {
    fn policies()(
        gaps in proptest::collection::vec((0u64..20, any::<bool>(), any::<bool>(), 0usize..3), 0..6),
        repeat in proptest::option::of((1u64..30, 0u32..4)),
        then in proptest::option::of(1u64..60),
    ) -> Policy {
        let mut at = 0;
        let steps = gaps.into_iter().enumerate().map(|(index, (gap, pages, posts, only))| {
            at += gap;
            let page = format!("person:p{index}");
            let channel = format!("c{index}");
            let only: &[Severity] = [&[][..], &[Severity::P0], &[Severity::P0, Severity::P1]][only];
            step(at, if pages { std::slice::from_ref(&page) } else { &[] }.iter().map(String::as_str).collect::<Vec<_>>().as_slice(),
                 if posts { std::slice::from_ref(&channel) } else { &[] }.iter().map(String::as_str).collect::<Vec<_>>().as_slice(), only)
        }).collect();
        policy(steps, repeat, then)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn due_times_never_decrease_and_references_always_increase(policy in policies(), severity in 0usize..4) {
        let severity = Severity::ALL[severity];
        let steps: Vec<_> = policy.plan(severity).take(60).collect();
        for pair in steps.windows(2) {
            prop_assert!(pair[0].at <= pair[1].at, "{:?}", pair);
            prop_assert!(pair[0].step < pair[1].step, "{:?}", pair);
        }
        if policy.then.is_some() {
            prop_assert_eq!(steps.len(), 60, "a fallback is never silent");
        }
    }

    #[test]
    fn the_current_step_is_the_last_one_a_walk_finds_due(policy in policies(), elapsed in 0u64..600) {
        let walked = policy.plan(Severity::P1).take(1000).take_while(|step| step.at <= minutes(elapsed)).last();
        prop_assert_eq!(policy.step_at(Severity::P1, minutes(elapsed)), walked);
    }

    #[test]
    fn a_collapse_skips_no_post_and_pages_when_a_skipped_step_would_have(
        policy in policies(), done in 0usize..12, elapsed in 0u64..300,
    ) {
        let all: Vec<_> = policy.plan(Severity::P0).take(1000).collect();
        let after = done.checked_sub(1).and_then(|index| all.get(index)).map(|step| step.step);
        let due: Vec<_> = all.iter().filter(|step| step.at <= minutes(elapsed) && after.is_none_or(|after| step.step > after)).collect();
        let collapsed = policy.collapse(Severity::P0, after, minutes(elapsed));
        prop_assert_eq!(collapsed.as_ref().map(|step| step.step), due.last().map(|step| step.step));
        if let Some(collapsed) = collapsed {
            for step in &due {
                prop_assert!(step.post.iter().all(|post| collapsed.post.contains(post)), "{:?}", step);
            }
            prop_assert_eq!(collapsed.page.is_empty(), due.iter().all(|step| step.page.is_empty()));
        }
    }
}
