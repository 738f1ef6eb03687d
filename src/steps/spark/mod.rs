//! Steps that read one Spark application: its operator's record, its driver, its REST API.

pub mod application;
pub mod environment;
pub mod executors;
pub mod history;
pub mod jobs;
pub mod sql;
pub mod stages;
pub mod streaming;
pub mod threads;

use super::Need;

/// What reaching an application needs: its driver pod, and the record of whoever runs it.
const NEEDS: &[Need] = &[
    Need { group: "", resource: "pods", verb: "get" },
    Need { group: "", resource: "pods", verb: "list" },
    Need { group: "sparkoperator.k8s.io", resource: "sparkapplications", verb: "get" },
    Need { group: "sparkoperator.k8s.io", resource: "sparkconnects", verb: "get" },
    Need { group: "spark.apache.org", resource: "sparkapplications", verb: "get" },
];

/// `1.5 GiB`, for people.
pub(in crate::steps) fn bytes(count: i64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut whole = count.max(0);
    let (mut unit, mut tenths) = (0, 0);
    while whole >= 1024 && unit + 1 < UNITS.len() {
        tenths = whole % 1024 * 10 / 1024;
        whole /= 1024;
        unit += 1;
    }
    let name = UNITS[unit];
    if tenths == 0 { format!("{whole} {name}") } else { format!("{whole}.{tenths} {name}") }
}

/// Milliseconds as `850 ms`, `12.3 s` or `4 m 5 s`, for people.
fn duration(ms: i64) -> String {
    match ms.max(0) {
        ms @ 0..1_000 => format!("{ms} ms"),
        ms @ 1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        ms => format!("{} m {} s", ms / 60_000, ms % 60_000 / 1_000),
    }
}

/// `part` of `whole` in per cent, rounded down; 0 when there is no whole.
fn percent(part: i64, whole: i64) -> i64 {
    if whole <= 0 { 0 } else { part.max(0).saturating_mul(100) / whole }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::Step;

    #[test]
    fn every_example_is_read_and_bad_inputs_are_not() {
        fn read<S: Step>(inputs: &str) -> bool {
            serde_saphyr::from_str::<S>(inputs).is_ok()
        }
        assert!(read::<application::Application>(application::Application::EXAMPLE));
        assert!(read::<executors::Executors>(executors::Executors::EXAMPLE));
        assert!(read::<stages::Stages>(stages::Stages::EXAMPLE));
        assert!(read::<jobs::Jobs>(jobs::Jobs::EXAMPLE));
        assert!(read::<sql::Sql>(sql::Sql::EXAMPLE));
        assert!(read::<environment::Environment>(environment::Environment::EXAMPLE));
        assert!(read::<streaming::Streaming>(streaming::Streaming::EXAMPLE));
        assert!(read::<history::History>(history::History::EXAMPLE));
        assert!(read::<threads::Threads>(threads::Threads::EXAMPLE));
        assert!(!read::<jobs::Jobs>("{ limit: 0 }") && !read::<sql::Sql>("{ status: lost }"));
        assert!(!read::<threads::Threads>("{ executor: \"../x\" }"));
        assert!(!read::<application::Application>("{ a: 1 }"));
        assert!(!read::<executors::Executors>("{ state: gone }"));
        assert!(
            !read::<stages::Stages>("{ limit: 21 }") && !read::<stages::Stages>("{ limit: 0 }")
        );
    }

    #[test]
    fn sizes_times_and_shares_read_as_people_write_them() {
        let sizes = [0, 1_023, 1_024, 1_610_612_736, i64::MAX, -5].map(bytes);
        assert_eq!(sizes, ["0 B", "1023 B", "1 KiB", "1.5 GiB", "8388607.9 TiB", "0 B"]);
        let times = [0, 850, 12_345, 245_000, -1].map(duration);
        assert_eq!(times, ["0 ms", "850 ms", "12.3 s", "4 m 5 s", "0 ms"]);
        assert_eq!((percent(1, 3), percent(5, 0), percent(i64::MAX, 1)), (33, 0, i64::MAX));
    }
}
