//! Layers, versions of lists, overrides, shifts.

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn id(text: &str) -> PersonId {
    text.into()
}

fn berlin() -> TimeZone {
    zone("Europe/Berlin").unwrap()
}

fn version(from: Option<&str>, people: &[&str], first: Option<&str>) -> Version {
    Version {
        from: from.map(|date| date.parse().unwrap()),
        people: people.iter().copied().map(PersonId::from).collect(),
        first: first.map(PersonId::from),
    }
}

fn layer(day: &str, clock: &str, versions: Vec<Version>, only: Option<Window>) -> Layer {
    let cadence = Cadence::Weekly { day: weekday(day).unwrap(), at: time(clock).unwrap() };
    let since = "2026-01-05".parse().unwrap();
    Layer::new(Rotation::new(cadence, since, berlin()).unwrap(), versions, only, berlin()).unwrap()
}

fn week(people: &[&str]) -> Layer {
    layer("Mon", "09:00", vec![version(None, people, None)], None)
}

fn replace(from: &str, to: &str, who: &str, with: &str) -> Override {
    let change = Change::Replace { who: who.into(), with: with.into() };
    Override { from: at(from), to: at(to), change, reason: String::new(), created: None }
}

fn names(schedule: &Schedule, when: &str) -> String {
    schedule.on_call(at(when)).iter().map(|p| p.0.as_str()).collect::<Vec<_>>().join("+")
}

#[test]
fn the_later_layer_wins_where_it_covers() {
    let days = Days::parse(["Fri", "Sat"]).unwrap();
    let nights = Window::new(days, time("22:00").unwrap(), time("06:00").unwrap());
    let night = layer("Fri", "22:00", vec![version(None, &["raj", "mei"], None)], Some(nights));
    let schedule = Schedule::new("primary", berlin(), vec![week(&["ana"]), night], Vec::new());
    assert_eq!(names(&schedule, "2026-01-09T20:59:59Z"), "ana");
    assert_eq!(names(&schedule, "2026-01-09T21:00:00Z"), "raj");
    assert_eq!(names(&schedule, "2026-01-10T05:00:00Z"), "ana", "the night is over");
    assert_eq!(names(&schedule, "2026-01-16T21:00:00Z"), "mei", "the next week's nights");
    let handoff = schedule.next_handoff(at("2026-01-09T12:00:00Z"), Timestamp::MAX);
    assert_eq!(handoff, Some(at("2026-01-09T21:00:00Z")));
}

#[test]
fn a_new_version_of_the_people_does_not_move_the_present_shift() {
    let before = vec![version(None, &["ana", "raj"], None)];
    let mut after = before.clone();
    after.push(version(Some("2026-01-21"), &["ana", "raj", "mei"], Some("mei")));
    let old = Schedule::new("p", berlin(), vec![layer("Mon", "09:00", before, None)], Vec::new());
    let new = Schedule::new("p", berlin(), vec![layer("Mon", "09:00", after, None)], Vec::new());
    // Until the first turn that starts on or after the date.
    for when in ["2026-01-05T08:00:00Z", "2026-01-14T00:00:00Z", "2026-01-26T07:59:59Z"] {
        assert_eq!(names(&old, when), names(&new, when), "{when}");
    }
    assert_eq!(names(&new, "2026-01-26T08:00:00Z"), "mei");
    assert_eq!(names(&new, "2026-02-02T08:00:00Z"), "ana");
}

#[test]
fn a_list_of_people_that_makes_no_sense_is_refused() {
    let make = |versions: Vec<Version>| {
        let cadence = Cadence::Daily { at: time("09:00").unwrap() };
        let rotation = Rotation::new(cadence, "2026-01-05".parse().unwrap(), berlin()).unwrap();
        Layer::new(rotation, versions, None, berlin())
    };
    for versions in [
        vec![],
        vec![version(None, &[], None)],
        vec![version(None, &["ana"], Some("raj"))],
        vec![
            version(Some("2026-02-01"), &["ana"], None),
            version(Some("2026-01-01"), &["raj"], None),
        ],
        vec![version(None, &["ana"], None), version(None, &["raj"], None)],
    ] {
        assert!(make(versions.clone()).is_err(), "{versions:?}");
    }
}

#[test]
fn overrides_replace_add_and_remove_for_a_while() {
    let (from, to) = ("2026-01-06T00:00:00Z", "2026-01-07T00:00:00Z");
    let add = Override { change: Change::Add(id("mei")), ..replace(from, to, "", "") };
    let remove = Override { change: Change::Remove(id("ana")), ..replace(from, to, "", "") };
    let with = |overrides| Schedule::new("p", berlin(), vec![week(&["ana"])], overrides);
    for (overrides, expected) in [
        (vec![replace(from, to, "ana", "raj")], "raj"),
        (vec![replace(from, to, "raj", "mei")], "ana"),
        (vec![add.clone()], "ana+mei"),
        (vec![remove.clone()], ""),
        (vec![add.clone(), remove.clone()], "mei"),
        (vec![replace(from, to, "ana", "mei"), add], "mei"),
    ] {
        let schedule = with(overrides);
        assert_eq!(names(&schedule, from), expected);
        assert_eq!(names(&schedule, "2026-01-05T23:59:59Z"), "ana");
        assert_eq!(names(&schedule, to), "ana", "the end is not part of it");
    }
    let gap = at(from)..at(to);
    assert_eq!(
        with(vec![remove]).gaps(at("2026-01-06T00:00:00Z")..at("2026-02-06T00:00:00Z")),
        [gap]
    );
}

#[test]
fn the_later_created_override_wins_whatever_the_order_of_the_files() {
    let (from, to) = ("2026-01-06T00:00:00Z", "2026-01-07T00:00:00Z");
    let made = |hour: u8, who: &str, with: &str| Override {
        created: Some(at(&format!("2026-01-01T{hour:02}:00:00Z"))),
        ..replace(from, to, who, with)
    };
    for (overrides, expected) in [
        (vec![made(1, "ana", "raj"), made(2, "ana", "mei")], "mei"),
        (vec![made(2, "ana", "mei"), made(1, "ana", "raj")], "mei"),
        (vec![made(1, "ana", "raj"), made(2, "raj", "mei")], "mei"),
        (vec![made(1, "ana", "raj"), made(2, "raj", "ana")], "ana"),
        (vec![made(1, "ana", "raj"), replace(from, to, "ana", "lee")], "raj"),
    ] {
        let schedule = Schedule::new("p", berlin(), vec![week(&["ana"])], overrides.clone());
        assert_eq!(names(&schedule, from), expected, "{overrides:?}");
    }
}

#[test]
fn shifts_cover_a_window_without_holes() {
    let schedule = Schedule::new("p", berlin(), vec![week(&["ana", "raj"])], Vec::new());
    let window = at("2026-01-04T00:00:00Z")..at("2026-01-20T00:00:00Z");
    let shifts = schedule.shifts(window);
    let shown: Vec<String> = shifts
        .iter()
        .map(|s| format!("{} {}", s.when.start, s.people.first().map_or("nobody", |p| &p.0)))
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @r"
    2026-01-04T00:00:00Z nobody
    2026-01-05T08:00:00Z ana
    2026-01-12T08:00:00Z raj
    2026-01-19T08:00:00Z ana
    ");
    assert!(shifts.windows(2).all(|pair| pair[0].when.end == pair[1].when.start));
}

#[test]
fn one_person_alone_never_hands_over() {
    let schedule = Schedule::new("p", berlin(), vec![week(&["ana"])], Vec::new());
    let horizon = at("2027-01-01T00:00:00Z");
    assert_eq!(schedule.next_handoff(at("2026-02-01T00:00:00Z"), horizon), None);
    let nobody = Schedule::new("p", berlin(), Vec::new(), Vec::new());
    assert_eq!(nobody.next_handoff(at("2026-02-01T00:00:00Z"), Timestamp::MAX), None);
    assert!(nobody.on_call(Timestamp::MIN).is_empty() && nobody.on_call(Timestamp::MAX).is_empty());
}
