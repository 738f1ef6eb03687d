//! Thousands of pods that come and go through the real watch: what is held stays within its limits, whatever happens.

use super::*;

const PODS: usize = 5_000;
/// Pods that come and go before the recorder gets a word in: less than the API server's history.
const WAVE: usize = 250;

/// Resident memory of this process, KiB; for the person who reads the output, asserted on by nobody.
fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or("VmRSS: unknown").to_owned()
}

#[tokio::test]
async fn five_thousand_pods_that_come_and_go_are_all_kept_in_bounded_memory_and_few_commits() {
    let yaml = "recorder: { follow: all, max_streams: 50, max_memory: 4MiB }";
    let rig = Rig::new(yaml).await;
    println!("before: {}", resident());
    for wave in 0..PODS / WAVE {
        let seen = (wave + 1) * WAVE;
        for n in 0..WAVE {
            let name = format!("job-{wave}-exec-{n}");
            rig.cluster.put(running(&name, "executor")).unwrap();
            say(&rig.cluster, &name, "executor", &"INFO a line of a log that goes on\n".repeat(40));
            rig.cluster
                .put(event(&name, &format!("e-{name}"), "Started", "Started container"))
                .unwrap();
            rig.cluster.put(killed(&name, "executor")).unwrap();
        }
        // Of every other wave the logs are read in time: both ways must be bounded.
        if wave % 2 == 0 {
            rig.until_later("it is read", |rig| {
                rig.counts().kept >= (seen - WAVE * (wave / 2)) as u64
            })
            .await;
        }
        for n in 0..WAVE {
            assert!(rig.cluster.delete("pods", "spark-prod", &format!("job-{wave}-exec-{n}")));
            rig.cluster.delete("events", "spark-prod", &format!("e-job-{wave}-exec-{n}"));
            if n % 25 == 0 {
                tokio::task::yield_now().await;
            }
        }
        rig.until_later("the wave is over", |rig| {
            let counts = rig.counts();
            assert!(counts.bytes <= 4 << 20 && counts.pods <= 10_000, "{counts:?}");
            assert!(counts.streams <= 50, "{counts:?}");
            counts.unread == 0 && counts.streams == 0 && counts.kept + counts.lost >= seen as u64
        })
        .await;
        while rig.counts().unsaved > 0 {
            rig.app.engine.recorder.flush().await.unwrap();
        }
    }
    let counts = rig.counts();
    println!("after: {}; {counts:?}", resident());
    assert_eq!((counts.dropped, counts.unsaved), (0, 0), "{counts:?}");
    assert!(counts.kept >= 2_500 && counts.lost > 0, "{counts:?}");
    let (rows, bytes) = rig.app.engine.store.recorded_size().await.unwrap();
    assert!(rows >= 2 * i64::try_from(PODS).unwrap(), "each pod and its log: {rows}");
    assert!(bytes > 0 && counts.batches < 400, "{counts:?}");
    // The first and the last are both remembered, wherever they are now.
    for name in ["job-0-exec-0", &format!("job-{}-exec-{}", PODS / WAVE - 1, WAVE - 1)] {
        let known = rig.recall(name).await.unwrap();
        assert!(known.is_gone() && known.pod.containers[0].exit_code == Some(137), "{known:?}");
    }
    rig.app.pump_until_quiet().await;
}
