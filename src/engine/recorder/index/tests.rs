//! What the index keeps of pods that come, fail and go, without a cluster and without a clock.

use k8s_openapi::api::core::v1 as core;

use super::*;
use crate::{clients::kube::Container, engine::recorder::stored::StoredPod};

/// What real Spark 3.5 makes an API server send: a driver that fails, and one whose executor is deleted.
const REAL: &str = include_str!("../../../../tests/fixtures/spark-3.5/watch-events.jsonl");

fn at(seconds: i64) -> Timestamp {
    "2026-11-23T03:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
}

fn index() -> Index {
    with(Limits { pods: 100, bytes: 1 << 20, streams: 2, follow: Follow::Drivers })
}

fn with(limits: Limits) -> Index {
    let mut index = Index::new(limits, 1);
    index.pod(0, Seen::Relisting, at(0));
    index.pod(0, Seen::Complete, at(0));
    index
}

fn pod(name: &str) -> Pod {
    let labels = [("spark-role", "executor"), ("spark-app-selector", "spark-1")];
    Pod {
        name: name.to_owned(),
        namespace: "n".to_owned(),
        uid: format!("uid-{name}"),
        role: "executor".to_owned(),
        app_id: "spark-1".to_owned(),
        phase: "Running".to_owned(),
        labels: labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        containers: vec![Container {
            name: "c".to_owned(),
            state: ContainerState::Running,
            ..Container::default()
        }],
        ..Pod::default()
    }
}

fn driver(name: &str) -> Pod {
    Pod { role: "driver".to_owned(), ..pod(name) }
}

fn ended(name: &str, code: i32) -> Pod {
    let mut pod = pod(name);
    pod.phase = if code == 0 { "Succeeded" } else { "Failed" }.to_owned();
    pod.containers[0].state = ContainerState::Terminated;
    pod.containers[0].exit_code = Some(code);
    pod
}

/// Running again after so many restarts, the last of them with this exit code.
fn restarted(name: &str, restarts: i32, code: i32) -> Pod {
    let mut pod = pod(name);
    pod.containers[0].restarts = restarts;
    pod.containers[0].last_exit_code = Some(code);
    pod
}

fn leaving(mut pod: Pod) -> Pod {
    pod.deleted = "2026-11-23T03:00:05Z".to_owned();
    pod
}

fn text(text: &str) -> Log {
    Log { text: text.to_owned(), cut: false }
}

fn fails(how: Unread, why: &str) -> Result<Log, (Unread, String)> {
    Err((how, why.to_owned()))
}

fn only(index: &Index) -> RecordedPod {
    let mut all = index.recall(&Recall { logs: true, ..Recall::default() }, 9);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

fn save(index: &mut Index, now: Timestamp) -> usize {
    let rows = index.unsaved(usize::MAX, usize::MAX);
    index.saved(&rows, now);
    rows.len()
}

/// What is derived is what can be derived.
fn assert_sound(index: &Index) {
    let records = || index.pods.values();
    assert_eq!(index.counts.bytes, records().map(Record::size).sum::<usize>());
    assert_eq!(index.order, records().map(place).collect());
    assert_eq!(index.wanted, records().flat_map(wanted).collect());
    let follow = index.limits.follow;
    assert_eq!(index.followable, records().flat_map(|r| followable(r, follow)).collect());
    let unsaved = records().filter_map(|r| Some((r.unsaved?, r.pod.uid.clone())));
    assert_eq!(index.unsaved, unsaved.collect());
    assert!(index.pods.len() <= index.limits.pods && index.counts.bytes <= index.limits.bytes);
    assert!(index.orphans.len() <= MAX_ORPHANS && index.counts().streams <= index.limits.streams);
}

#[test]
fn real_sparks_deleted_executor_keeps_status_exit_code_and_node() {
    let mut index = index();
    let mut wanted_at_deletion = None;
    for (n, line) in (1..).zip(REAL.lines()) {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let pod: Pod = serde_json::from_value::<core::Pod>(event["object"].clone()).unwrap().into();
        let (name, deleted) = (pod.name.clone(), !pod.deleted.is_empty());
        let seen = if event["type"] == "DELETED" { Seen::Deleted(pod) } else { Seen::Changed(pod) };
        index.pod(0, seen, at(n));
        if name.ends_with("exec-1") && deleted && wanted_at_deletion.is_none() {
            wanted_at_deletion = index.take_read(at(n));
        }
        assert_sound(&index);
    }
    let job = wanted_at_deletion.unwrap();
    assert_eq!((job.pod.as_str(), job.ended), ("nightly-report-6e7d8ca206ebcca9-exec-1", false));
    let asked = Recall { name: job.pod.clone(), ..Recall::default() };
    let executor = index.recall(&asked, 9).remove(0);
    assert!(executor.is_gone());
    assert_eq!((executor.pod.node.as_str(), executor.pod.phase.as_str()), ("node-1", "Failed"));
    assert_eq!(executor.pod.containers[0].exit_code, Some(143));
    let drivers = Recall::default().with_labels("spark-role=driver");
    let codes: Vec<_> =
        index.recall(&drivers, 9).iter().map(|d| d.pod.containers[0].exit_code).collect();
    assert_eq!(codes.len(), 2);
    assert!(codes.iter().all(|code| code.is_some_and(|code| code != 0)), "{codes:?}");
}

#[test]
fn a_pod_deleted_before_anybody_could_read_says_so_and_keeps_the_rest() {
    let mut index = index();
    index.pod(0, Seen::Changed(pod("a")), at(1));
    assert_eq!(index.take_read(at(1)), None);
    index.pod(0, Seen::Deleted(leaving(ended("a", 137))), at(2));
    let known = only(&index);
    assert_eq!(known.pod.gone, at(2).to_string());
    assert_eq!(known.pod.containers[0].exit_code, Some(137));
    assert_eq!((known.logs[0].lost.as_str(), known.logs[0].read_at), (TOO_LATE, None));
    assert_eq!((index.counts().lost, index.take_read(at(9))), (1, None));
    assert_sound(&index);
}

#[test]
fn a_log_is_read_once_at_the_first_bad_end() {
    let mut index = index();
    index.pod(0, Seen::Changed(ended("a", 1)), at(1));
    let job = index.take_read(at(1)).unwrap();
    assert_eq!((job.ended, job.previous, index.take_read(at(1))), (true, false, None));
    index.read(&job, Ok(text("last words")), at(2));
    index.pod(0, Seen::Changed(leaving(ended("a", 1))), at(3));
    assert_eq!(index.take_read(at(3)), None, "it is complete already");
    index.pod(0, Seen::Deleted(leaving(ended("a", 1))), at(4));
    let log = &only(&index).logs[0];
    assert_eq!(
        (log.text.as_str(), log.read_at, log.lost.as_str()),
        ("last words", Some(at(2)), "")
    );
    assert_eq!((index.counts().kept, index.counts().lost), (1, 0));
}

#[test]
fn a_log_read_while_it_was_written_is_read_again_at_its_end() {
    let mut index = index();
    index.pod(0, Seen::Changed(leaving(pod("a"))), at(1));
    let early = index.take_read(at(1)).unwrap();
    // It ends badly while that read is under way.
    index.pod(0, Seen::Changed(leaving(ended("a", 137))), at(2));
    assert_eq!(index.take_read(at(2)), None);
    index.read(&early, Ok(text("first half")), at(3));
    let late = index.take_read(at(3)).unwrap();
    assert!(late.ended);
    // And if it is gone by then, the first half stays.
    index.pod(0, Seen::Deleted(leaving(ended("a", 137))), at(4));
    index.read(&late, fails(Unread::Gone, ""), at(5));
    let log = &only(&index).logs[0];
    assert_eq!((log.text.as_str(), log.read_at), ("first half", Some(at(3))));
    assert_eq!(index.counts().lost, 0);
    assert_sound(&index);
}

#[test]
fn a_pod_about_to_go_is_read_before_others() {
    let mut index = index();
    index.pod(0, Seen::Changed(ended("a", 1)), at(1));
    index.pod(0, Seen::Changed(ended("b", 1)), at(2));
    index.pod(0, Seen::Changed(leaving(ended("b", 1))), at(3));
    assert_eq!(index.take_read(at(3)).unwrap().pod, "b");
    assert_eq!(index.take_read(at(3)).unwrap().pod, "a");
}

#[test]
fn the_run_before_a_restart_is_read_as_previous() {
    let mut index = index();
    index.pod(0, Seen::Changed(restarted("a", 3, 1)), at(1));
    let job = index.take_read(at(1)).unwrap();
    assert_eq!((job.key.restarts, job.previous, job.ended), (2, true, true));
    index.read(&job, Ok(text("x")), at(1));
    // A healthy run since then is not read.
    assert_eq!(index.take_read(at(1)), None);
}

#[test]
fn failures_to_read_are_tried_again_as_far_as_that_helps() {
    let mut index = index();
    index.pod(0, Seen::Changed(ended("a", 1)), at(0));
    let mut tries = 0;
    for second in 0..100 {
        if let Some(job) = index.take_read(at(second)) {
            tries += 1;
            index.read(&job, fails(Unread::Later, "refused"), at(second));
        }
        assert_sound(&index);
    }
    assert_eq!((tries, index.counts().lost), (5, 1));
    assert_eq!(only(&index).logs[0].lost, "refused");
    // A missing permission may be granted: asked once a minute as long as the pod is there.
    let mut index = super::tests::index();
    index.pod(0, Seen::Changed(ended("a", 1)), at(0));
    for minute in 0..20 {
        let job = index.take_read(at(minute * 60)).unwrap();
        index.read(&job, fails(Unread::Denied, "grant pods/log"), at(minute * 60));
        assert_eq!(index.take_read(at(minute * 60 + 59)), None);
    }
    index.pod(0, Seen::Deleted(ended("a", 1)), at(2_000));
    assert_eq!(only(&index).logs[0].lost, "grant pods/log");
    assert_eq!(index.take_read(at(9_000)), None);
    // What cannot work is not tried again, and what is said of the pod afterwards changes nothing.
    let mut index = super::tests::index();
    index.pod(0, Seen::Changed(ended("a", 1)), at(0));
    let job = index.take_read(at(0)).unwrap();
    index.read(&job, fails(Unread::Never, "no such container"), at(0));
    index.pod(0, Seen::Changed(leaving(ended("a", 1))), at(1));
    assert_eq!(index.take_read(at(500)), None);
}

#[test]
fn what_a_list_does_not_show_is_gone() {
    let mut index = Index::new(index().limits, 2);
    for watch in 0..2 {
        index.pod(watch, Seen::Relisting, at(0));
        index.pod(watch, Seen::Complete, at(0));
    }
    index.pod(0, Seen::Changed(pod("stays")), at(1));
    index.pod(0, Seen::Changed(ended("dies", 9)), at(1));
    index.pod(1, Seen::Changed(pod("other-watch")), at(1));
    index.pod(0, Seen::Relisting, at(5));
    index.pod(0, Seen::Listed(pod("stays")), at(5));
    // Appears and dies between two lists, seen by the watch in between or not at all: what was seen is kept.
    index.pod(0, Seen::Complete, at(6));
    let gone = |name: &str| {
        let asked = Recall { name: name.to_owned(), logs: true, ..Recall::default() };
        index.recall(&asked, 9).remove(0)
    };
    assert!(!gone("stays").is_gone() && !gone("other-watch").is_gone());
    let dead = gone("dies");
    assert_eq!((dead.pod.gone, dead.pod.containers[0].exit_code), (at(6).to_string(), Some(9)));
    assert_eq!(dead.logs[0].lost, UNSEEN);
    // A list that broke off and begins again does not bury what only the second one showed.
    index.pod(0, Seen::Relisting, at(7));
    index.pod(0, Seen::Expired, at(7));
    index.pod(0, Seen::Relisting, at(8));
    index.pod(0, Seen::Listed(pod("stays")), at(8));
    index.pod(0, Seen::Complete, at(8));
    assert_eq!(index.pods.values().filter(|r| r.gone.is_some()).count(), 1);
    assert_sound(&index);
}

#[test]
fn what_an_earlier_process_knew_is_gone_only_when_every_watch_has_shown_all() {
    let mut before = index();
    before.pod(0, Seen::Changed(pod("a")), at(0));
    before.pod(0, Seen::Changed(pod("b")), at(0));
    let stored = before.pods.values().map(|record| {
        let json = serde_json::to_string(&StoredPod::of(record)).unwrap();
        let stored: StoredPod = serde_json::from_str(&json).unwrap();
        stored.into_record(&record.pod.uid, record.seen, record.gone)
    });
    let mut index = Index::new(before.limits, 2);
    index.restore(stored.collect::<Vec<_>>());
    assert_eq!(index.counts().unsaved, 0, "it is stored already");
    index.pod(0, Seen::Relisting, at(50));
    index.pod(0, Seen::Listed(pod("a")), at(50));
    index.pod(0, Seen::Complete, at(50));
    assert!(index.pods.values().all(|record| record.gone.is_none()));
    index.pod(1, Seen::Relisting, at(51));
    index.pod(1, Seen::Complete, at(51));
    let gone: Vec<_> = index.pods.values().filter(|r| r.gone.is_some()).collect();
    assert_eq!((gone.len(), gone[0].pod.name.as_str()), (1, "b"));
    assert_eq!(gone[0].logs[&("c".to_owned(), 0)].lost, UNSEEN);
    assert_sound(&index);
}

#[test]
fn a_pod_with_five_thousand_restarts_keeps_its_newest_runs() {
    let mut index = index();
    for n in 1..=5_000 {
        index.pod(0, Seen::Changed(restarted("a", n, 1)), at(i64::from(n)));
        if n % 2 == 0 {
            let job = index.take_read(at(i64::from(n))).unwrap();
            index.read(&job, Ok(text(&"x".repeat(TAIL))), at(i64::from(n)));
        }
    }
    let runs: Vec<_> = index.pods["uid-a"].logs.keys().map(|(_, run)| *run).collect();
    assert_eq!(runs, [4_997, 4_998, 4_999]);
    assert!(index.counts().bytes < 4 * TAIL);
    assert_sound(&index);
}

#[test]
fn whatever_a_pod_says_it_takes_a_bounded_place() {
    let long = "é".repeat(64 * 1024);
    let mut hostile = ended("a", 1);
    hostile.labels.extend((0..100).map(|n| (format!("{n}{long}"), long.clone())));
    hostile.labels.insert("spark-app-selector".to_owned(), "<!channel>\0\u{202e}".to_owned());
    (hostile.message, hostile.reason, hostile.exit_exception) =
        (long.clone(), long.clone(), long.clone());
    hostile.containers = vec![hostile.containers[0].clone(); 100];
    for c in &mut hostile.containers {
        (c.message, c.name) = (long.clone(), long.clone());
    }
    hostile.conditions =
        vec![crate::clients::kube::Condition { message: long.clone(), ..Default::default() }; 100];
    let mut index = index();
    index.pod(0, Seen::Changed(hostile), at(1));
    for n in 0..100 {
        let event = Event {
            about: "uid-a".to_owned(),
            uid: n.to_string(),
            message: long.clone(),
            reason: long.clone(),
            ..Event::default()
        };
        index.event(Seen::Changed(event), at(2));
    }
    assert!(index.counts().bytes < 400_000, "{}", index.counts().bytes);
    let known = only(&index);
    assert_eq!(known.pod.labels["spark-app-selector"], "<!channel>\0\u{202e}");
    assert_eq!((known.events.len(), known.events.last().unwrap().uid.as_str()), (50, "99"));
    assert_sound(&index);
}

#[test]
fn a_pod_without_a_uid_is_one_pod_by_its_name() {
    let mut index = index();
    for name in ["a", "b", "a"] {
        index.pod(0, Seen::Changed(Pod { uid: String::new(), ..pod(name) }), at(1));
    }
    assert_eq!(index.counts().pods, 2);
}

#[test]
fn events_find_their_pod_whichever_came_first_and_repeats_are_one() {
    let event = |uid: &str, about: &str, count| Event {
        uid: uid.to_owned(),
        about: about.to_owned(),
        reason: "BackOff".to_owned(),
        count,
        ..Event::default()
    };
    let mut index = index();
    index.event(Seen::Listed(event("e1", "uid-a", 1)), at(1));
    index.event(Seen::Changed(event("e9", "uid-never-seen", 1)), at(1));
    index.pod(0, Seen::Changed(pod("a")), at(2));
    index.event(Seen::Changed(event("e1", "uid-a", 7)), at(3));
    index.event(Seen::Deleted(event("e1", "uid-a", 7)), at(4));
    assert_eq!(only(&index).events.iter().map(|e| e.count).collect::<Vec<_>>(), [7]);
    for n in 0..5_000 {
        index.event(Seen::Changed(event(&n.to_string(), "uid-x", 1)), at(5));
    }
    assert_sound(&index);
}

#[test]
fn the_same_news_twice_is_no_news() {
    let mut index = index();
    index.pod(0, Seen::Changed(ended("a", 0)), at(1));
    save(&mut index, at(1));
    index.pod(0, Seen::Changed(ended("a", 0)), at(2));
    index.pod(0, Seen::Relisting, at(3));
    index.pod(0, Seen::Listed(ended("a", 0)), at(3));
    index.pod(0, Seen::Complete, at(3));
    assert_eq!((index.counts().unsaved, only(&index).seen), (0, at(1)));
}

#[test]
fn a_change_while_it_is_stored_is_stored_next_time() {
    let mut index = index();
    index.pod(0, Seen::Changed(pod("a")), at(1));
    let rows = index.unsaved(10, usize::MAX);
    index.pod(0, Seen::Changed(ended("a", 1)), at(2));
    index.saved(&rows, at(3));
    assert_eq!(index.counts().unsaved_since, Some(at(1)));
    let rows = index.unsaved(10, usize::MAX);
    // The pod, and the log that is not read yet only once there is something to say.
    assert_eq!((rows.len(), rows[0].failed), (1, true));
    index.saved(&rows, at(4));
    assert_eq!(index.counts().unsaved, 0);
    let job = index.take_read(at(5)).unwrap();
    index.read(&job, Ok(text("x")), at(5));
    let rows = index.unsaved(10, usize::MAX);
    assert!(matches!(rows[1].body, Body::Log(_)) && rows.len() == 2);
    assert_eq!((save(&mut index, at(6)), save(&mut index, at(7))), (2, 0));
}

#[test]
fn a_batch_is_whole_pods_within_its_limits_longest_waiting_first() {
    let mut index = index();
    for n in (0..50).rev() {
        index.pod(0, Seen::Changed(pod(&format!("p{n:02}"))), at(100 - n));
    }
    let rows = index.unsaved(10, usize::MAX);
    assert_eq!((rows.len(), rows[0].name.as_str()), (10, "p49"));
    assert_eq!(index.unsaved(usize::MAX, 1).len(), 1);
}

#[test]
fn when_there_is_too_much_what_is_stored_and_over_goes_first() {
    let mut index = with(Limits { pods: 4, ..index().limits });
    index.pod(0, Seen::Changed(ended("failed", 1)), at(1));
    index.pod(0, Seen::Changed(pod("runs")), at(2));
    index.pod(0, Seen::Deleted(ended("gone", 1)), at(3));
    save(&mut index, at(4));
    index.pod(0, Seen::Changed(ended("new", 1)), at(5));
    let names = |index: &Index| {
        index.pods.values().map(|r| r.pod.name.clone()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(&index), "failed gone new runs");
    index.pod(0, Seen::Changed(ended("newer", 1)), at(6));
    assert_eq!(names(&index), "failed new newer runs");
    index.pod(0, Seen::Changed(ended("newest", 1)), at(7));
    assert_eq!(names(&index), "failed new newer newest");
    index.pod(0, Seen::Changed(pod("x")), at(8));
    assert_eq!((index.counts().dropped, names(&index).as_str()), (0, "new newer newest x"));
    // With a store that takes nothing, memory stays bounded and the loss is counted.
    index.pod(0, Seen::Changed(pod("y")), at(9));
    assert_eq!(index.counts().dropped, 1);
    assert_sound(&index);
}

#[test]
fn logs_are_followed_as_far_as_there_is_room_and_rest_when_they_break_off() {
    let mut index = index();
    for name in ["d1", "d2", "d3"] {
        index.pod(0, Seen::Changed(driver(name)), at(1));
    }
    index.pod(0, Seen::Changed(pod("executor")), at(1));
    let first = index.take_stream(at(1)).unwrap();
    let second = index.take_stream(at(1)).unwrap();
    assert_eq!((first.pod.as_str(), second.pod.as_str()), ("d1", "d2"));
    assert_eq!(index.take_stream(at(1)), None, "two are all that may be");
    index.streamed(&first, "old\n", true, at(2));
    index.stream_ended(&first, at(3), at(8));
    assert_eq!(index.take_stream(at(3)).unwrap().pod, "d3");
    index.stream_ended(&second, at(4), at(9));
    assert_eq!(index.take_stream(at(7)), None);
    assert_eq!(index.take_stream(at(8)).unwrap(), first);
    // Followed anew, it begins with its last lines: they replace what was there.
    index.streamed(&first, "old\nnew\n", true, at(8));
    for _ in 0..100 {
        index.streamed(&first, &"y".repeat(TAIL / 4), false, at(9));
        index.streamed(&first, "\n", false, at(9));
    }
    assert!(index.pods["uid-d1"].logs[&("c".to_owned(), 0)].text.len() <= 2 * TAIL + TAIL / 4);
    // It ends and is deleted before it can be read: what was followed stays.
    index.pod(0, Seen::Deleted(Pod { role: "driver".to_owned(), ..ended("d1", 1) }), at(10));
    index.stream_ended(&first, at(10), at(15));
    let asked = Recall { name: "d1".to_owned(), logs: true, ..Recall::default() };
    let log = index.recall(&asked, 9).remove(0).logs.remove(0);
    assert_eq!((log.read_at, log.lost.as_str()), (Some(at(9)), ""));
    assert_eq!(index.counts().lost, 0);
    assert_sound(&index);
}

#[test]
fn whose_logs_are_followed_is_a_setting() {
    let followed = |follow: Follow| {
        let mut index = with(Limits { streams: 10, follow, ..index().limits });
        index.pod(0, Seen::Changed(driver("driver")), at(1));
        index.pod(0, Seen::Changed(pod("executor")), at(1));
        index.pod(0, Seen::Changed(restarted("crashes", 2, 1)), at(1));
        index.pod(0, Seen::Changed(ended("ended", 1)), at(1));
        let mut names = vec![];
        while let Some(job) = index.take_stream(at(1)) {
            names.push(job.pod);
        }
        names.join(" ")
    };
    assert_eq!(followed(Follow::None), "");
    assert_eq!(followed(Follow::Drivers), "driver");
    assert_eq!(followed(Follow::Failing), "crashes");
    assert_eq!(followed(Follow::All), "crashes driver executor");
}

#[test]
fn an_empty_answer_does_not_replace_what_was_followed() {
    let mut index = index();
    index.pod(0, Seen::Changed(driver("d")), at(1));
    let stream = index.take_stream(at(1)).unwrap();
    index.streamed(&stream, "words\n", true, at(2));
    index.pod(0, Seen::Changed(Pod { role: "driver".to_owned(), ..ended("d", 1) }), at(3));
    let job = index.take_read(at(3)).unwrap();
    index.read(&job, Ok(text("")), at(4));
    assert_eq!(only(&index).logs[0].text, "words\n");
    assert_eq!(index.take_read(at(5)), None);
}

#[test]
fn whoever_does_not_lead_takes_and_loses_nothing_and_has_it_all_when_it_leads() {
    let mut index = index();
    assert!(index.lead(false) && !index.lead(false));
    for pod in [ended("a", 1), driver("d"), pod("b")] {
        index.pod(0, Seen::Changed(pod), at(1));
    }
    index.pod(0, Seen::Deleted(ended("b", 137)), at(2));
    assert_eq!((index.take_read(at(2)), index.take_stream(at(2))), (None, None));
    assert_eq!((index.counts().lost, index.counts().unsaved), (0, 3));
    assert!(index.lead(true));
    assert!(index.take_read(at(3)).is_some() && index.take_stream(at(3)).is_some());
}

#[test]
fn after_any_order_of_news_everything_derived_is_right_and_bounded() {
    let mut index = with(Limits { pods: 12, bytes: 200_000, streams: 3, follow: Follow::All });
    let (mut reads, mut streams): (Vec<LogJob>, Vec<LogJob>) = (vec![], vec![]);
    // A walk that is the same every time: a small generator, no clock and no luck.
    let mut state = 42_u64;
    let mut next = |bound: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    };
    for step in 0..4_000 {
        let (name, now) = (format!("p{}", next(30)), at(step / 4));
        match next(16) {
            0..4 => index.pod(0, Seen::Changed(pod(&name)), now),
            4 => index.pod(0, Seen::Changed(ended(&name, 1)), now),
            5 => index.pod(0, Seen::Changed(leaving(pod(&name))), now),
            6 => index.pod(0, Seen::Deleted(ended(&name, 137)), now),
            7 => index.pod(
                0,
                Seen::Changed(restarted(&name, 1 + i32::try_from(next(9)).unwrap(), 1)),
                now,
            ),
            8 => {
                index.pod(0, Seen::Relisting, now);
                index.pod(0, Seen::Listed(pod(&name)), now);
                index.pod(0, Seen::Complete, now);
            }
            9 => reads.extend(index.take_read(now)),
            10 => streams.extend(index.take_stream(now)),
            11 => {
                if let Some(job) = reads.pop() {
                    let how = [
                        Ok(text("words")),
                        fails(Unread::Later, "l"),
                        fails(Unread::Gone, "g"),
                        fails(Unread::Denied, "d"),
                    ];
                    index.read(&job, how[usize::try_from(next(4)).unwrap()].clone(), now);
                }
            }
            12 => {
                if let Some(job) = streams.last() {
                    index.streamed(
                        job,
                        &"z\n".repeat(usize::try_from(next(20_000)).unwrap()),
                        next(3) == 0,
                        now,
                    );
                }
            }
            13 => {
                if let Some(job) = streams.pop() {
                    index.stream_ended(&job, now, now);
                }
            }
            14 => {
                let event = Event {
                    uid: next(90).to_string(),
                    about: format!("uid-{name}"),
                    ..Event::default()
                };
                index.event(Seen::Changed(event), now);
            }
            _ => drop(save(&mut index, now)),
        }
        assert_sound(&index);
    }
    assert!(index.counts().kept > 10 && index.counts().lost > 10, "{:?}", index.counts());
    assert!(index.counts().dropped > 0, "{:?}", index.counts());
}
