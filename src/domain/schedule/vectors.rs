//! Handoffs around clock changes, checked against two independent time zone libraries, and properties over all zones.

use jiff::{Timestamp, ToSpan as _, civil::DateTime};
use proptest::prelude::*;

use super::{zone::database, *};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn rotation(cadence: Cadence, since: &str, name: &str) -> Rotation {
    let civil: DateTime = since.parse().unwrap();
    Rotation::new(cadence, civil, zone(name).unwrap()).unwrap()
}

fn weekly(day: &str, clock: &str, since: &str, name: &str) -> Rotation {
    let cadence = Cadence::Weekly { day: weekday(day).unwrap(), at: time(clock).unwrap() };
    rotation(cadence, since, name)
}

fn daily(clock: &str, since: &str, name: &str) -> Rotation {
    rotation(Cadence::Daily { at: time(clock).unwrap() }, since, name)
}

fn starts(rotation: &Rotation, turns: std::ops::Range<i64>) -> Vec<String> {
    turns.map(|turn| rotation.start(turn).to_string()).collect()
}

fn people(ids: &[&str]) -> Vec<Version> {
    vec![Version {
        from: None,
        people: ids.iter().map(|id| PersonId::from(*id)).collect(),
        first: None,
    }]
}

fn schedule(rotation: Rotation, ids: &[&str], name: &str) -> Schedule {
    let zone = zone(name).unwrap();
    let layer = Layer::new(rotation, people(ids), None, zone.clone()).unwrap();
    Schedule::new("primary", zone, vec![layer], Vec::new())
}

fn primary(schedule: &Schedule, when: &str) -> String {
    schedule.on_call(at(when)).iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn hours(rotation: &Rotation, turn: i64) -> i64 {
    rotation.start(turn + 1).duration_since(rotation.start(turn)).as_hours()
}

#[test]
fn berlin_weekly_in_spring_shifts_once_and_comes_back() {
    let rotation = weekly("Sun", "02:30", "2026-03-22", "Europe/Berlin");
    let expected = ["2026-03-22T01:30:00Z", "2026-03-29T01:30:00Z", "2026-04-05T00:30:00Z"];
    assert_eq!(starts(&rotation, 0..3), expected);
}

#[test]
fn berlin_weekly_in_autumn_takes_the_first_pass() {
    let rotation = weekly("Sun", "02:30", "2026-10-18", "Europe/Berlin");
    assert_eq!(starts(&rotation, 1..3), ["2026-10-25T00:30:00Z", "2026-11-01T01:30:00Z"]);
    assert_eq!(hours(&rotation, 1), 169);
}

#[test]
fn in_the_second_pass_of_the_hour_nobody_hands_over_again() {
    let rotation = weekly("Sun", "02:30", "2026-10-18", "Europe/Berlin");
    assert_eq!(rotation.next_start(at("2026-10-25T00:30:00Z")), at("2026-11-01T01:30:00Z"));
    let schedule = schedule(rotation, &["ana", "raj"], "Europe/Berlin");
    assert_eq!(primary(&schedule, "2026-10-25T00:29:59Z"), "ana");
    assert_eq!(primary(&schedule, "2026-10-25T00:30:00Z"), "raj", "the interval is half-open");
    assert_eq!(primary(&schedule, "2026-10-25T01:15:00Z"), "raj");
}

#[test]
fn wall_clock_shifts_are_short_in_spring_and_long_in_autumn() {
    let times = ["06:00", "14:00", "22:00"].map(|text| time(text).unwrap()).to_vec();
    let rotation = rotation(Cadence::Shifts { at: times }, "2026-01-01", "Europe/Berlin");
    let spring = rotation.turn_at(at("2026-03-28T21:00:00Z")).unwrap();
    assert_eq!(
        (rotation.start(spring + 1), hours(&rotation, spring)),
        (at("2026-03-29T04:00:00Z"), 7)
    );
    let autumn = rotation.turn_at(at("2026-10-24T20:00:00Z")).unwrap();
    assert_eq!(
        (rotation.start(autumn + 1), hours(&rotation, autumn)),
        (at("2026-10-25T05:00:00Z"), 9)
    );
}

#[test]
fn elapsed_turns_keep_their_length_and_move_on_the_clock() {
    let every = std::time::Duration::from_hours(8);
    let rotation = rotation(Cadence::Elapsed { every }, "2026-03-28T22:00", "Europe/Berlin");
    assert_eq!(starts(&rotation, 0..2), ["2026-03-28T21:00:00Z", "2026-03-29T05:00:00Z"]);
    assert_eq!(rotation.turn_at(at("2026-03-29T04:59:59Z")), Some(0));
    assert_eq!(rotation.turn_at(at("2026-03-28T20:59:59Z")), None);
}

#[test]
fn a_zone_without_changes_hands_over_at_the_same_instant_all_year() {
    let rotation = daily("09:00", "2026-01-01", "America/Sao_Paulo");
    assert!(starts(&rotation, 0..365).iter().all(|start| start.ends_with("T12:00:00Z")));
}

#[test]
fn a_midnight_that_does_not_exist_is_one_o_clock() {
    let rotation = daily("00:00", "2018-11-01", "America/Sao_Paulo");
    assert_eq!(rotation.start(3), at("2018-11-04T03:00:00Z"));
    assert_eq!((hours(&rotation, 2), hours(&rotation, 3)), (24, 23));
    for (name, date, expected) in [
        ("Asia/Beirut", "2026-03-29", "2026-03-28T22:00:00Z"),
        ("America/Santiago", "2026-09-06", "2026-09-06T04:00:00Z"),
    ] {
        assert_eq!(daily("00:00", date, name).start(0), at(expected), "{name}");
    }
}

#[test]
fn a_half_hour_gap_shifts_by_half_an_hour() {
    let rotation = daily("02:15", "2026-10-04", "Australia/Lord_Howe");
    assert_eq!(rotation.start(0), at("2026-10-03T15:45:00Z"));
}

#[test]
fn new_york_weekly_in_spring_is_half_past_three() {
    let rotation = weekly("Sun", "02:30", "2027-03-14", "America/New_York");
    assert_eq!(rotation.start(0), at("2027-03-14T07:30:00Z"));
}

#[test]
fn the_last_day_of_the_month_does_not_drift() {
    let cadence = Cadence::Monthly { day: 31, at: time("00:00").unwrap() };
    let rotation = rotation(cadence, "2027-01-31", "UTC");
    let expected = ["2027-01-31T00:00:00Z", "2027-02-28T00:00:00Z", "2027-03-31T00:00:00Z"];
    assert_eq!(starts(&rotation, 0..3), expected);
}

#[test]
fn a_date_the_zone_skipped_has_no_length_but_counts_as_a_turn() {
    let rotation = daily("09:00", "2011-12-28", "Pacific/Apia");
    assert_eq!(rotation.start(2), rotation.start(3));
    let schedule = schedule(rotation, &["a", "b", "c"], "Pacific/Apia");
    // 28 a, 29 b, 30 c (skipped), 31 a.
    assert_eq!(primary(&schedule, "2011-12-30T18:59:59Z"), "b");
    assert_eq!(primary(&schedule, "2011-12-30T19:00:00Z"), "a");
}

#[test]
fn the_first_turn_starts_on_the_first_fitting_day_and_nobody_is_on_call_before() {
    let rotation = weekly("Mon", "09:00", "2026-01-07", "UTC");
    assert_eq!(rotation.start(0), at("2026-01-12T09:00:00Z"));
    assert_eq!(rotation.turn_at(at("2026-01-12T08:59:59Z")), None);
    let monthly = Cadence::Monthly { day: 5, at: time("00:00").unwrap() };
    assert_eq!(self::rotation(monthly, "2026-01-06", "UTC").start(0), at("2026-02-05T00:00:00Z"));
}

#[test]
fn what_is_no_rotation_is_refused() {
    let zone = zone("UTC").unwrap();
    let since: DateTime = "2026-01-01".parse().unwrap();
    let clock = |text| time(text).unwrap();
    for cadence in [
        Cadence::Monthly { day: 0, at: clock("00:00") },
        Cadence::Monthly { day: 32, at: clock("00:00") },
        Cadence::Shifts { at: Vec::new() },
        Cadence::Shifts { at: vec![clock("14:00"), clock("06:00")] },
        Cadence::Shifts { at: vec![clock("14:00"), clock("14:00")] },
        Cadence::Elapsed { every: std::time::Duration::from_secs(59) },
    ] {
        assert!(Rotation::new(cadence.clone(), since, zone.clone()).is_err(), "{cadence:?}");
    }
    let last = Rotation::new(Cadence::Daily { at: clock("00:00") }, DateTime::MAX, zone).unwrap();
    assert_eq!(last.start(10), Timestamp::MAX);
}

/// Every 9th zone of the database, and those with the odd rules.
fn zones() -> Vec<String> {
    let odd = [
        "Pacific/Apia",
        "Australia/Lord_Howe",
        "Africa/Casablanca",
        "Asia/Beirut",
        "Antarctica/Troll",
    ];
    let all = database().available().map(|name| name.to_string());
    let sampled = all.enumerate().filter(|(index, _)| index % 9 == 0).map(|(_, name)| name);
    odd.iter().map(ToString::to_string).chain(sampled).filter(|name| zone(name).is_ok()).collect()
}

#[test]
fn handoffs_strictly_increase_except_on_skipped_dates() {
    for name in zones() {
        let rotation = daily("02:30", "2009-01-01", &name);
        let mut skipped = 0;
        for turn in 0..1200 {
            let (this, next) = (rotation.start(turn), rotation.start(turn + 1));
            assert!(this <= next, "{name} {turn}");
            skipped += usize::from(this == next);
        }
        assert!(skipped <= usize::from(name == "Pacific/Apia"), "{name}: {skipped}");
    }
}

#[test]
fn exactly_one_person_is_on_call_at_every_instant_and_it_is_the_one_a_linear_walk_finds() {
    let team = ["a", "b", "c"];
    for (index, name) in zones().iter().enumerate() {
        let rotation = daily(["00:00", "02:30", "23:45"][index % 3], "2026-01-01", name);
        let schedule = schedule(rotation.clone(), &team, name);
        let mut turn = 0;
        let mut now = rotation.start(0);
        let mut person = 0;
        while turn < 400 {
            while rotation.start(turn + 1) <= now {
                turn += 1;
                person = (person + 1) % team.len();
            }
            assert_eq!(schedule.on_call(now), [PersonId::from(team[person])], "{name} {now}");
            now += 11.hours().minutes(45);
        }
    }
}

fn cadences() -> impl Strategy<Value = Cadence> {
    let clock = (0i8..24, 0i8..60).prop_map(|(h, m)| jiff::civil::time(h, m, 0, 0));
    let shifts = proptest::collection::btree_set(clock.clone(), 1..5);
    prop_oneof![
        clock.clone().prop_map(|at| Cadence::Daily { at }),
        (0i8..7, clock.clone()).prop_map(|(day, at)| Cadence::Weekly {
            day: jiff::civil::Weekday::from_monday_zero_offset(day).unwrap(),
            at
        }),
        (1i8..=31, clock).prop_map(|(day, at)| Cadence::Monthly { day, at }),
        shifts.prop_map(|at| Cadence::Shifts { at: at.into_iter().collect() }),
        (1u64..200)
            .prop_map(|hours| Cadence::Elapsed { every: std::time::Duration::from_hours(hours) }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn asking_once_and_walking_from_handoff_to_handoff_agree(
        cadence in cadences(), zone_index in 0usize..60, seconds in 0i64..15_000_000,
    ) {
        let zones = zones();
        let name = &zones[zone_index % zones.len()];
        let rotation = rotation(cadence, "2026-01-05", name);
        let schedule = schedule(rotation.clone(), &["a", "b", "c"], name);
        let goal = at("2026-01-05T00:00:00Z") + jiff::SignedDuration::from_secs(seconds);
        let mut walked = at("2026-01-03T00:00:00Z");
        while let Some(next) = schedule.next_handoff(walked, Timestamp::MAX).filter(|next| *next <= goal) {
            walked = next;
        }
        prop_assert_eq!(schedule.on_call(walked), schedule.on_call(goal));
        if let Some(turn) = rotation.turn_at(goal) {
            prop_assert!(rotation.start(turn) <= goal);
            prop_assert!(rotation.next_start(goal) > goal);
        }
    }

    #[test]
    fn a_later_anchor_by_whole_cycles_changes_nothing(
        weeks in 0i32..60, hour in 0i8..24, minutes in 0i64..500_000, zone_index in 0usize..60,
    ) {
        let zones = zones();
        let name = &zones[zone_index % zones.len()];
        let clock = format!("{hour:02}:30");
        let early = schedule(weekly("Mon", &clock, "2025-01-06", name), &["a", "b", "c"], name);
        let since: jiff::civil::Date = "2025-01-06".parse().unwrap();
        let since = (since + (weeks * 3).weeks()).to_string();
        let late = schedule(weekly("Mon", &clock, &since, name), &["a", "b", "c"], name);
        let now = at("2028-07-01T00:00:00Z") + jiff::SignedDuration::from_mins(minutes);
        prop_assert_eq!(early.on_call(now), late.on_call(now));
    }
}
