//! On-call files as people write them: any text.
//!
//! Reading ends, tells the same each time, and every mistake has a place inside the text.
#![no_main]

use std::{collections::BTreeSet, fs, path::PathBuf, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use paramedic::playbook::{
    diagnostic::Diagnostic,
    oncall::{Outside, load},
};
use paramedic_fuzz::{NOW, check_place};

/// One file per process, in memory where there is `/dev/shm`.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let shared = PathBuf::from("/dev/shm");
    let folder = if shared.is_dir() { shared } else { std::env::temp_dir() };
    folder.join(format!("paramedic-fuzz-{}.yaml", std::process::id()))
});

fuzz_target!(|text: &str| {
    // A calendar's holidays are another file, by any path: not this target's to open.
    if text.contains("holidays") {
        return;
    }
    let names = |list: &[&str]| list.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let outside = Outside {
        channels: names(&["ops", "team-data"]),
        transports: names(&["slack", "matrix", "webhook", "console"]),
        default_policy: None,
        now: NOW,
    };
    fs::write(&*FILE, text).expect("the text is written");
    let first = load(&FILE, &outside);
    let second = load(&FILE, &outside);
    fs::remove_file(&*FILE).expect("the file is there");
    match (first, second) {
        (Ok(first), Ok(second)) => {
            assert_eq!(first.warnings, second.warnings);
            first.warnings.iter().for_each(|one| check_place(one, text));
        }
        (Err(first), Err(second)) => {
            assert_eq!(first, second);
            assert!(first.iter().any(Diagnostic::is_error));
            first.iter().for_each(|one| check_place(one, text));
        }
        (first, second) => panic!("once so, once so: {first:?} {second:?}"),
    }
});
