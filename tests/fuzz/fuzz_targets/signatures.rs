//! A log of anybody's program, searched for the shipped signatures: any text.
//!
//! A verdict quotes few, short lines that are in the text, and is the same each time.
#![no_main]

use libfuzzer_sys::fuzz_target;
use paramedic::domain::{evidence::Origin, verdict::Verdict};
use paramedic_fuzz::BOOK;

fuzz_target!(|text: &str| {
    for origin in [Origin::DriverLog, Origin::ExecutorLog, Origin::Event] {
        let verdicts = search(text, origin);
        assert_eq!(verdicts, search(text, origin));
        let lines = 1 + text.matches('\n').count();
        for verdict in &verdicts {
            assert!((1..=5).contains(&verdict.evidence.len()));
            assert!((0.0..=1.0).contains(&verdict.confidence));
            assert!(!verdict.title.contains('\n'));
            for quote in &verdict.evidence {
                let line = usize::try_from(quote.line).unwrap();
                assert!((1..=lines).contains(&line), "line {line} of {lines}");
                assert!(quote.quote.chars().count() <= 500);
            }
        }
    }
});

fn search(text: &str, origin: Origin) -> Vec<Verdict> {
    let mut search = BOOK.search();
    let source = search.source(origin, "the log", false);
    search.read(source, 1, text);
    search.end()
}
