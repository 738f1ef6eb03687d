//! Stories of one incident, told through commands and a clock in hand.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::domain::{
    oncall::{
        HoldRule, NotifyRule, NotifyRules, OnCall, PageTarget, Parts, Person, PolicyStep, Repeat,
        Then,
    },
    schedule::PersonId,
    verdict::{Owner, Verdict},
};

struct Story {
    state: Incident,
    events: Vec<(Timestamp, Event)>,
    now: Timestamp,
    oncall: OnCall,
    settings: Settings,
}

fn person(id: &str, name: &str) -> Person {
    Person {
        id: PersonId(id.to_owned()),
        name: name.to_owned(),
        zone: None,
        contacts: [("console".to_owned(), id.to_owned())].into(),
        notify: NotifyRules {
            by_severity: BTreeMap::default(),
            default: vec![NotifyRule { at: Duration::ZERO, by: vec!["console".to_owned()] }],
        },
    }
}

fn step(minutes: u64, who: &str) -> PolicyStep {
    let page = vec![PageTarget::Person(PersonId(who.to_owned()))];
    PolicyStep { at: Duration::from_mins(minutes), page, post: vec![], only: vec![] }
}

fn policy() -> Policy {
    Policy {
        id: "p".to_owned(),
        steps: vec![step(0, "ana"), step(5, "raj")],
        repeat: Some(Repeat { every: Duration::from_mins(15), times: 1 }),
        then: Some(Then {
            page: vec![PageTarget::Person(PersonId("lead".to_owned()))],
            every: Duration::from_mins(30),
        }),
        ack_expires: [(Severity::P1, Duration::from_hours(1))].into(),
        hold: BTreeMap::default(),
    }
}

fn oncall(policy: Policy) -> OnCall {
    OnCall::new(Parts {
        people: vec![person("ana", "Ana"), person("raj", "Raj"), person("lead", "Lead")],
        policies: vec![policy],
        ..Parts::default()
    })
}

fn who(id: &str) -> Who {
    Who { id: id.to_owned(), name: id.to_owned(), via: "test".to_owned() }
}

fn fired(count: u64) -> Observation {
    Observation {
        new: count,
        again: 0,
        ended: 0,
        firing: count,
        members: count,
        severity: Some(Severity::P1),
        targets: BTreeSet::from(["app a".to_owned()]),
        truncated: 0,
        matched: vec![],
        routing: Routing {
            policy: "p".to_owned(),
            channels: BTreeSet::from(["chat".to_owned()]),
            user_channel: Some("data-eng".to_owned()),
            ..Routing::default()
        },
    }
}

fn diagnosed(hold: u64) -> Observation {
    let matched = Matched {
        playbook: "spark".to_owned(),
        severity: None,
        hold_page: Duration::from_secs(hold),
        post_to: vec![],
    };
    Observation { matched: vec![matched], ..fired(1) }
}

fn ended(count: u64, firing: u64) -> Observation {
    Observation {
        new: 0,
        ended: count,
        firing,
        severity: None,
        targets: BTreeSet::new(),
        ..fired(1)
    }
}

fn again() -> Observation {
    Observation { new: 0, again: 1, ..fired(1) }
}

fn verdict(owner: Owner, confidence: f64) -> RunEnd {
    let verdict = Verdict {
        id: "spark/sql/analysis-error".to_owned(),
        title: "Table missing".to_owned(),
        confidence,
        owner,
        evidence: vec![],
        remedy: String::new(),
        explains: vec![],
        docs: None,
    };
    RunEnd {
        playbook: "spark".to_owned(),
        target: String::new(),
        verdicts: vec![verdict],
        caveats: vec![],
        incomplete: false,
    }
}

impl Story {
    fn begins(seen: Observation) -> Self {
        Self::with(policy(), seen)
    }

    fn with(policy: Policy, seen: Observation) -> Self {
        let now: Timestamp = "2026-11-23T03:12:00Z".parse().unwrap();
        let (oncall, settings) = (oncall(policy), Settings::default());
        let opening = Opening {
            source: "prod".to_owned(),
            key: "k".to_owned(),
            title: "SparkExecutorLost · spark-prod".to_owned(),
            cluster: String::new(),
            labels: Labels::new(),
            annotations: Labels::new(),
            generator_url: String::new(),
            external_url: String::new(),
            since: now,
        };
        let env = Env { now, oncall: &oncall, settings: &settings };
        let severity = seen.severity.unwrap();
        let opened = open(IncidentId(1), opening, severity, Command::Observe(seen), &env).unwrap();
        let events = opened.events.into_iter().map(|event| (now, event)).collect();
        Self { state: opened.state, events, now, oncall, settings }
    }

    fn ask(&mut self, command: Command) -> Result<Vec<Event>, Refusal> {
        let env = Env { now: self.now, oncall: &self.oncall, settings: &self.settings };
        let decision = decide(&self.state, command, &env)?;
        self.events.extend(decision.events.iter().map(|event| (self.now, event.clone())));
        self.state = decision.state;
        Ok(decision.events)
    }

    fn tell(&mut self, command: Command) -> Vec<Event> {
        self.ask(command).unwrap()
    }

    fn after(&mut self, minutes: i64) -> Vec<Event> {
        self.now += SignedDuration::from_mins(minutes);
        self.tell(Command::Wake)
    }

    /// Who is paged by the events.
    fn paged(events: &[Event]) -> Vec<String> {
        let pages = events.iter().filter_map(|event| match event {
            Event::StepTaken { page, .. } => Some(page),
            _ => None,
        });
        pages.flatten().map(ToString::to_string).collect()
    }

    fn refolded(&self) -> Incident {
        let fold_one =
            |state, (at, event): &(Timestamp, Event)| Some(fold(state, self.state.id, *at, event));
        self.events.iter().fold(None, fold_one).unwrap()
    }
}

#[test]
fn a_round_pages_step_by_step_and_never_goes_silent() {
    let mut story = Story::begins(fired(1));
    assert_eq!(Story::paged(&story.after(0)), ["person:ana"]);
    assert_eq!(Story::paged(&story.after(4)), [""; 0]);
    assert_eq!(Story::paged(&story.after(1)), ["person:raj"]);
    assert_eq!(Story::paged(&story.after(15)), ["person:ana"]);
    assert_eq!(Story::paged(&story.after(5)), ["person:raj"]);
    for _ in 0..50 {
        assert_eq!(Story::paged(&story.after(30)), ["person:lead"]);
    }
    assert_eq!(story.refolded(), story.state);
}

#[test]
fn a_policy_without_then_starts_over_rather_than_going_silent() {
    let quiet = Policy { then: None, repeat: None, ..policy() };
    let mut story = Story::with(quiet, fired(1));
    story.after(0);
    story.after(5);
    story.after(30);
    assert_eq!(story.state.rounds, 2);
    assert_eq!(Story::paged(&story.after(0)), ["person:ana"]);
}

#[test]
fn steps_found_late_collapse_to_the_one_of_now_and_say_how_late() {
    let mut story = Story::begins(fired(1));
    let events = story.after(6);
    assert_eq!(Story::paged(&events), ["person:raj"]);
    assert_eq!(story.state.lines.last().unwrap().text, "this step is late by 6m");
}

#[test]
fn an_ack_ends_the_round_asks_before_it_expires_and_then_pages_the_acker_first() {
    let mut story = Story::begins(fired(1));
    story.after(0);
    story.tell(Command::Ack { by: who("raj"), round: Some(1) });
    assert_eq!(story.state.status, Status::Acknowledged);
    assert!(Story::paged(&story.after(5)).is_empty());
    let events = story.after(45);
    assert!(matches!(events[..], [Event::AckReminded { .. }]), "{events:?}");
    story.after(10);
    assert_eq!((story.state.rounds, story.state.status), (2, Status::Triggered));
    assert_eq!(Story::paged(&story.after(0)), ["person:raj", "person:ana"]);
}

#[test]
fn any_action_of_the_acker_extends_the_ack() {
    let mut story = Story::begins(fired(1));
    story.tell(Command::Ack { by: who("raj"), round: None });
    story.after(50);
    story.tell(Command::Note { by: who("raj"), text: "looking".to_owned() });
    assert!(story.after(10).is_empty(), "the old expiry is void");
}

#[test]
fn a_click_on_a_card_of_an_earlier_round_is_told_so() {
    let mut story = Story::begins(fired(1));
    story.tell(Command::Ack { by: who("raj"), round: Some(1) });
    story.after(50);
    story.after(10);
    let refusal = story.ask(Command::Ack { by: who("ana"), round: Some(1) }).unwrap_err();
    insta::assert_snapshot!(refusal, @"that button is from round 1; INC-1 is in round 2 now because the ack of raj expired. Press the button on the newest card");
}

#[test]
fn a_severity_rise_starts_a_new_round_and_the_acker_stays_first() {
    let mut story = Story::begins(fired(1));
    story.tell(Command::Ack { by: who("raj"), round: None });
    let worse = Observation { severity: Some(Severity::P0), members: 2, firing: 2, ..fired(1) };
    story.tell(Command::Observe(worse));
    assert_eq!((story.state.severity, story.state.rounds), (Severity::P0, 2));
    assert_eq!(Story::paged(&story.after(0)), ["person:raj", "person:ana"]);
}

#[test]
fn a_new_member_pages_an_acknowledged_incident_only_for_a_new_target() {
    let mut story = Story::begins(fired(1));
    story.tell(Command::Ack { by: who("raj"), round: None });
    story.tell(Command::Observe(Observation { firing: 2, members: 2, ..fired(1) }));
    assert_eq!(story.state.rounds, 1);
    let other = BTreeSet::from(["app b".to_owned()]);
    story.tell(Command::Observe(Observation { targets: other, firing: 3, members: 3, ..fired(1) }));
    assert_eq!(story.state.rounds, 2);
}

#[test]
fn settling_pauses_the_round_and_a_refire_resumes_it_where_it_was() {
    let mut story = Story::begins(fired(1));
    story.after(0);
    story.now += SignedDuration::from_mins(4);
    story.tell(Command::Observe(ended(1, 0)));
    assert!(matches!(story.state.wake, Wake::Settle(_)));
    story.now += SignedDuration::from_secs(90);
    story.tell(Command::Observe(again()));
    assert_eq!(story.state.wake, Wake::Step(story.now), "due a moment ago: at once");
    assert_eq!(story.state.flaps, 1);
}

#[test]
fn it_resolves_after_settling_and_reopens_on_a_refire() {
    let mut story = Story::begins(fired(1));
    story.after(0);
    story.tell(Command::Observe(ended(1, 0)));
    story.after(2);
    assert_eq!(
        (story.state.status, &story.state.wake),
        (Status::Resolved, &Wake::Never(NoWake::Over))
    );
    story.tell(Command::Observe(again()));
    assert_eq!(
        (story.state.status, story.state.opening, story.state.rounds),
        (Status::Triggered, 2, 2)
    );
    assert_eq!(Story::paged(&story.after(0)), ["person:ana"]);
}

#[test]
fn resolving_by_hand_while_alerts_fire_asks_first_and_looks_again_later() {
    let mut story = Story::begins(fired(3));
    let refusal = story.ask(Command::Resolve { by: who("ana"), anyway: false }).unwrap_err();
    insta::assert_snapshot!(refusal, @"3 alerts of INC-1 still fire: silence them in Alertmanager, or resolve anyway");
    story.tell(Command::Resolve { by: who("ana"), anyway: true });
    assert_eq!(story.state.status, Status::Resolved);
    assert!(story.after(14).is_empty());
    story.after(1);
    assert_eq!(story.state.status, Status::Triggered);
    let said = story
        .state
        .lines
        .iter()
        .any(|l| l.text == "reopened: 3 alerts still fire; ana had resolved it");
    assert!(said, "{:?}", story.state.lines);
}

#[test]
fn the_first_page_waits_for_a_verdict_but_not_for_long_and_a_verdict_brings_it_forward() {
    let mut story = Story::begins(diagnosed(600));
    let due = story.state.wake.due().unwrap();
    assert_eq!(due.duration_since(story.now), SignedDuration::from_secs(60), "capped");
    story.tell(Command::RunStarted { playbook: "spark".to_owned(), target: String::new() });
    story.now += SignedDuration::from_secs(5);
    story.tell(Command::RunEnded(verdict(Owner::Platform, 0.95)));
    assert_eq!(story.state.wake, Wake::Step(story.now));
}

#[test]
fn a_sure_user_error_replaces_the_page_only_once_its_owner_took_it() {
    let p2 = Observation { severity: Some(Severity::P2), ..diagnosed(60) };
    let mut story = Story::begins(p2);
    story.tell(Command::RunStarted { playbook: "spark".to_owned(), target: String::new() });
    story.tell(Command::RunEnded(verdict(Owner::User, 0.95)));
    assert!(story.state.wake.due().is_some(), "the page is still due");
    assert!(story.state.channels.contains("data-eng"));
    story.tell(Command::PostAccepted { channel: "data-eng".to_owned() });
    assert_eq!(story.state.wake, Wake::Never(NoWake::UserErrorAccepted));
}

#[test]
fn an_unsure_incomplete_or_severe_user_error_pages() {
    let run = |severity, end: RunEnd| {
        let mut story = Story::begins(Observation { severity: Some(severity), ..diagnosed(60) });
        story.tell(Command::RunStarted { playbook: "spark".to_owned(), target: String::new() });
        story.tell(Command::RunEnded(end));
        story.state.wake == Wake::Step(story.now)
    };
    assert!(run(Severity::P2, verdict(Owner::User, 0.8)));
    assert!(run(Severity::P1, verdict(Owner::User, 0.95)));
    assert!(run(Severity::P2, RunEnd { incomplete: true, ..verdict(Owner::User, 0.95) }));
}

#[test]
fn a_card_that_stands_in_the_owners_channel_anyway_replaces_no_page() {
    let mut story = Story::begins(Observation { severity: Some(Severity::P2), ..diagnosed(60) });
    story.tell(Command::RunStarted { playbook: "spark".to_owned(), target: String::new() });
    let unsure = RunEnd { incomplete: true, ..verdict(Owner::User, 0.95) };
    story.tell(Command::RunEnded(unsure));
    story.tell(Command::PostAccepted { channel: "data-eng".to_owned() });
    assert_eq!(Story::paged(&story.after(0)), ["person:ana"]);
}

#[test]
fn a_page_nobody_can_get_brings_the_next_step_forward() {
    let mut story = Story::begins(fired(1));
    story.after(0);
    let page = Pager {
        round: 1,
        person: "ana".to_owned(),
        name: "Ana".to_owned(),
        transport: "slack".to_owned(),
    };
    let failed =
        Command::PageFailed { page, reason: "channel_not_found".to_owned(), last_hope: true };
    story.tell(failed);
    assert_eq!(Story::paged(&story.after(0)), ["person:raj"]);
}

#[test]
fn a_step_with_nobody_on_call_is_skipped_at_once() {
    let mut story = Story::begins(fired(1));
    story.after(0);
    let target = PageTarget::Schedule("empty".to_owned());
    story.tell(Command::Nobody { round: 1, target });
    assert_eq!(Story::paged(&story.after(0)), ["person:raj"]);
}

#[test]
fn a_held_page_waits_for_the_calendar_only_at_its_severity() {
    let digest = crate::domain::oncall::Digest::new("Mon-Fri 09:30", "UTC", "chat").unwrap();
    let held = Policy { hold: [(Severity::P3, HoldRule::Digest(digest))].into(), ..policy() };
    let p3 = Observation { severity: Some(Severity::P3), ..fired(1) };
    let story = Story::with(held.clone(), p3);
    assert_eq!(story.state.wake.due().unwrap().to_string(), "2026-11-23T09:30:00Z");
    assert!(Story::with(held, fired(1)).state.round.is_some());
}

#[test]
fn suppression_pauses_and_its_end_pages_at_once() {
    let mut story = Story::begins(fired(1));
    story.after(0);
    let until = story.now + SignedDuration::from_hours(1);
    story.tell(Command::Suppress { by: "silence abc of ana".to_owned(), until });
    assert!(story.after(10).is_empty());
    story.after(50);
    assert_eq!(Story::paged(&story.after(0)), ["person:ana"]);
}

fn place(quiet: bool) -> storm::Membership {
    storm::Membership { storm: IncidentId(9), cause: "node n1".to_owned(), quiet }
}

#[test]
fn a_member_of_a_storm_pages_nobody_by_itself_whatever_happens_below_p0() {
    let mut story = Story::begins(fired(1));
    story.tell(Command::JoinStorm(place(false)));
    assert_eq!(story.state.wake, Wake::Never(NoWake::InStorm));
    assert!(Story::paged(&story.after(120)).is_empty());
    story.tell(Command::Observe(Observation { severity: Some(Severity::P1), ..fired(2) }));
    story.tell(Command::Observe(ended(2, 0)));
    story.tell(Command::Observe(again()));
    assert!(Story::paged(&story.after(120)).is_empty());
    story.tell(Command::Ack { by: who("ana"), round: None });
    story.after(180);
    assert!(Story::paged(&story.after(60)).is_empty(), "its ack expired: the storm wakes for it");
    assert_eq!(story.state.wake, Wake::Never(NoWake::InStorm));
    story.tell(Command::Observe(Observation { severity: Some(Severity::P0), ..fired(3) }));
    assert_eq!(Story::paged(&story.after(0)), ["person:ana"], "P0 never waits in a storm");
    assert_eq!(story.state.storm, None);
}

#[test]
fn who_asks_for_a_member_by_itself_gets_its_round() {
    let mut story = Story::begins(fired(1));
    story.tell(Command::JoinStorm(place(true)));
    story.tell(Command::EscalateNow { by: who("lead") });
    assert_eq!(story.state.storm, None);
    assert_eq!(Story::paged(&story.after(0)), ["person:ana"]);
}

#[test]
fn only_what_nobody_has_joins_a_storm() {
    let mut acked = Story::begins(fired(1));
    acked.tell(Command::Ack { by: who("ana"), round: None });
    assert!(acked.tell(Command::JoinStorm(place(false))).is_empty());
    let mut worst = Story::begins(Observation { severity: Some(Severity::P0), ..fired(1) });
    assert!(worst.tell(Command::JoinStorm(place(false))).is_empty());
    let mut over = Story::begins(fired(1));
    over.tell(Command::Observe(ended(1, 0)));
    assert!(over.tell(Command::JoinStorm(place(false))).is_empty());
}

#[test]
fn a_member_that_reopens_after_its_storm_is_on_its_own_again() {
    let mut story = Story::begins(fired(1));
    story.tell(Command::JoinStorm(place(true)));
    story.tell(Command::Observe(ended(1, 0)));
    story.after(3);
    assert_eq!(story.state.status, Status::Resolved);
    story.tell(Command::Observe(again()));
    assert_eq!(story.state.storm, None);
    assert_eq!(Story::paged(&story.after(0)), ["person:ana"]);
}

fn sized(members: u64, open: u64, severity: Severity) -> Command {
    let named = vec!["INC-1".to_owned()];
    Command::Resize(storm::Size {
        members,
        open,
        severity: Some(severity),
        named,
        verdicts: vec![],
    })
}

#[test]
fn a_storm_pages_once_rises_with_its_worst_member_and_ends_with_the_last() {
    let mut story = Story::begins(fired(1));
    story.tell(sized(4, 4, Severity::P1));
    assert_eq!(Story::paged(&story.after(0)), ["person:ana"]);
    story.tell(Command::Ack { by: who("ana"), round: None });
    story.tell(sized(9, 9, Severity::P1));
    assert!(Story::paged(&story.after(1)).is_empty(), "more of the same pages nobody again");
    assert!(story.tell(sized(9, 9, Severity::P1)).is_empty(), "looking again changes nothing");
    story.tell(sized(10, 10, Severity::P0));
    assert_eq!(Story::paged(&story.after(0)), ["person:ana"]);
    story.tell(sized(10, 0, Severity::P0));
    story.after(3);
    assert_eq!(story.state.status, Status::Resolved);
    story.tell(sized(11, 1, Severity::P1));
    assert_eq!(story.state.status, Status::Triggered, "somebody joined as it resolved");
    assert!(story.state.wake.due().is_some());
}

#[test]
fn a_storm_resolved_by_hand_with_open_members_is_looked_at_again() {
    let mut story = Story::begins(fired(1));
    story.tell(sized(4, 4, Severity::P1));
    story.tell(Command::Resolve { by: who("raj"), anyway: true });
    story.tell(sized(4, 3, Severity::P1));
    assert!(matches!(story.state.wake, Wake::StillFiring(_)));
    story.after(15);
    assert_eq!(story.state.status, Status::Triggered);
    story.tell(Command::Resolve { by: who("raj"), anyway: true });
    story.tell(sized(4, 0, Severity::P1));
    assert_eq!(story.state.wake, Wake::Never(NoWake::Over));
}

fn any_command() -> impl Strategy<Value = Command> {
    let severity = prop_oneof![Just(Severity::P0), Just(Severity::P1), Just(Severity::P3)];
    prop_oneof![
        4 => Just(Command::Wake),
        1 => (0u64..3, severity).prop_map(|(firing, severity)| Command::Observe(Observation {
            firing: firing + 1, severity: Some(severity), ..fired(1) })),
        1 => Just(Command::Observe(ended(1, 0))),
        1 => Just(Command::Observe(again())),
        1 => Just(Command::Ack { by: who("ana"), round: None }),
        1 => any::<bool>().prop_map(|anyway| Command::Resolve { by: who("raj"), anyway }),
        1 => Just(Command::EscalateNow { by: who("lead") }),
        1 => Just(Command::RunStarted { playbook: "spark".to_owned(), target: String::new() }),
        1 => Just(Command::RunEnded(verdict(Owner::User, 0.95))),
        1 => Just(Command::PostAccepted { channel: "data-eng".to_owned() }),
        1 => Just(Command::Nobody { round: 1, target: PageTarget::Schedule("x".to_owned()) }),
        1 => (1i64..100).prop_map(|m| Command::Suppress {
            by: "s".to_owned(), until: "2026-11-23T04:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_mins(m) }),
        2 => Just(Command::JoinStorm(place(true))),
        1 => (0u64..4, 0u64..4).prop_map(|(open, more)| Command::Resize(storm::Size {
            members: open + more, open, severity: Some(Severity::P1), ..storm::Size::default() })),
        1 => Just(Command::Unsuppress { reason: "gone".to_owned() }),
        1 => (1u64..100).prop_map(|m| Command::SetBack(std::time::Duration::from_secs(m * 60))),
        1 => Just(Command::Found),
        1 => Just(Command::Stale { since: "2026-11-23T04:00:00Z".parse().unwrap() }),
        1 => Just(Command::Missing { ended: 1 }),
        1 => (1i64..100).prop_map(|m| Command::Snooze {
            by: who("ana"), until: "2026-11-23T05:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_mins(m) }),
    ]
}

proptest! {
    #[test]
    fn an_open_incident_always_owns_a_wake_up_or_a_reason_and_is_the_fold_of_its_timeline(
        commands in prop::collection::vec((any_command(), 0i64..40), 1..40)
    ) {
        let mut story = Story::begins(diagnosed(30));
        for (command, minutes) in commands {
            story.now += SignedDuration::from_mins(minutes);
            drop(story.ask(command));
            let over = story.state.wake == Wake::Never(NoWake::Over);
            prop_assert!(!(story.state.is_open() && over), "open and nothing will happen: {:?}", story.state);
            let waits = [Some(&story.state.wake), story.state.paused.as_deref()];
            let in_storm = waits.contains(&Some(&Wake::Never(NoWake::InStorm)));
            prop_assert!(!in_storm || story.state.storm.is_some() || !story.state.is_open(), "{:?}", story.state);
            prop_assert!(!(in_storm && story.state.severity == Severity::P0 && story.state.is_open()), "{:?}", story.state);
            prop_assert!(story.state.wake.due().is_none_or(|due| due < Timestamp::MAX));
            prop_assert_eq!(&story.refolded(), &story.state);
        }
    }
}
