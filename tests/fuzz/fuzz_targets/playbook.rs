//! Playbooks as people write them: any text.
//!
//! Reading ends, tells the same each time, and every mistake has a place inside the text. What was read can be asked.
#![no_main]

use std::{collections::BTreeMap, sync::Arc};

use libfuzzer_sys::fuzz_target;
use paramedic::playbook::{diagnostic::Diagnostic, lint, needs::Needs};
use paramedic_fuzz::{BOOK, SCOPE, TODAY, check_place};

fuzz_target!(|text: &str| {
    let (playbook, found) = lint::playbook("fuzz.yaml", text, &BOOK, TODAY);
    for one in &found {
        check_place(one, text);
    }
    assert_eq!(playbook.is_none(), found.iter().any(Diagnostic::is_error));
    let (again, found_again) = lint::playbook("fuzz.yaml", text, &BOOK, TODAY);
    assert_eq!(found, found_again);
    let (Some(playbook), Some(again)) = (playbook, again) else { return };
    assert_eq!(playbook.digest, again.digest);
    let labels = BTreeMap::from([("alertname".to_owned(), "SparkExecutorLost".to_owned())]);
    assert_eq!(playbook.answer(&labels, &SCOPE), again.answer(&labels, &SCOPE));
    drop(Needs::of(&[Arc::new(playbook)]));
});
