//! What a file may look like, and what is printed.

use std::io::Write as _;

use paramedic::cli::Output;

use super::{all, fixtures, ids, ids_of, printed, verdicts};

const LOST: &str = "26/11/23 05:32:00 ERROR TaskSchedulerImpl: Lost executor 1 on 127.0.0.1: \nThe executor with id 1 exited with exit code 137(SIGKILL, possible container OOM).\n\t exit code: 137\n\t termination reason: OOMKilled\n26/11/23 05:32:01 INFO X: y\n";
const OOM: &str = "spark/executor/oom-killed";

#[test]
fn the_text_is_for_a_tired_engineer() {
    let driver = fixtures("spark/driver-k8slost.log");
    let text = printed(&[driver], b"", Output::Text).unwrap();
    let text = text.replace(&fixtures("spark").display().to_string(), "logs");
    insta::assert_snapshot!(text, @r"
        Executor 1 was killed for using more memory than its container may (OOMKilled)
          spark/executor/oom-killed, 95 % sure, the platform team acts
          logs/driver-k8slost.log:121  The executor with id 1 exited with exit code 137(SIGKILL, possible container OOM).
          logs/driver-k8slost.log:134  termination reason: OOMKilled
          What to do:
            The container needed more than heap plus overhead: Python workers, Arrow and off-heap buffers live outside the heap.
            - Raise `spark.executor.memoryOverheadFactor` (or `spark.executor.memoryOverhead`); for PySpark set `spark.executor.pyspark.memory`.
            - Run fewer tasks at once: lower `spark.executor.cores`.
            - Make partitions smaller: raise `spark.sql.shuffle.partitions`, or lower `spark.sql.files.maxPartitionBytes`.
            https://spark.apache.org/docs/latest/configuration.html#application-properties
        ");
    insta::assert_snapshot!(printed(&["-".into()], b"26/11/23 05:32:01 INFO X: y\n", Output::Text).unwrap(), @"
    No known failure found.
      stdin: driver log, 1 lines
    This says that no signature matched, not that all is well. Add what is missing: the driver's log, the executors' logs, `kubectl get pod -o json`, `kubectl get events -o json`.
    ");
}

#[test]
fn the_json_has_the_documented_form() {
    insta::assert_snapshot!(printed(&["-".into()], LOST.as_bytes(), Output::Json).unwrap(), @r#"
        {
          "verdicts": [
            {
              "id": "spark/executor/oom-killed",
              "title": "Executor 1 was killed for using more memory than its container may (OOMKilled)",
              "confidence": 0.95,
              "owner": "platform",
              "evidence": [
                {
                  "source": "stdin:2",
                  "quote": "The executor with id 1 exited with exit code 137(SIGKILL, possible container OOM)."
                },
                {
                  "source": "stdin:4",
                  "quote": "termination reason: OOMKilled"
                }
              ],
              "remedy": "The container needed more than heap plus overhead: Python workers, Arrow and off-heap buffers live outside the heap.\n- Raise `spark.executor.memoryOverheadFactor` (or `spark.executor.memoryOverhead`); for PySpark set `spark.executor.pyspark.memory`.\n- Run fewer tasks at once: lower `spark.executor.cores`.\n- Make partitions smaller: raise `spark.sql.shuffle.partitions`, or lower `spark.sql.files.maxPartitionBytes`.\n"
            }
          ]
        }
        "#);
    insta::assert_snapshot!(printed(&["-".into()], b"fine\n", Output::Json).unwrap(), @r#"
        {
          "verdicts": []
        }
        "#);
}

#[test]
fn several_files_are_one_incident() {
    let driver = fixtures("spark/driver-py-crash.log");
    assert_eq!(ids(&verdicts(std::slice::from_ref(&driver), b"")), "spark/user/exception");
    assert_eq!(ids(&verdicts(&[driver, "-".into()], LOST.as_bytes())), OOM);
}

#[test]
fn a_log_may_be_in_any_shape() {
    let crlf = LOST.replace('\n', "\r\n");
    let colour = LOST.replace("ERROR", "\u{1b}[31mERROR\u{1b}[0m");
    let nul = LOST.replace("ERROR", "ER\0ROR");
    let before_each =
        |words: &str| LOST.lines().map(|l| [words, l, "\n"].concat()).collect::<String>();
    let prefixed = before_each("[pod/etl-driver/spark-kubernetes-driver] ");
    let runtime = before_each("2026-11-23T05:32:00.000000001Z stderr F ");
    let stamped = before_each("2026-11-23T05:32:00.000000001Z ");
    let docker: String = LOST
        .lines()
        .map(|l| {
            serde_json::json!({ "log": format!("{l}\n"), "stream": "stderr" }).to_string() + "\n"
        })
        .collect();
    let json = serde_json::json!({ "ts": "2026-11-23T05:32:00.000Z", "level": "ERROR", "logger": "org.apache.spark.scheduler.TaskSchedulerImpl",
        "msg": "Lost executor 1 on 127.0.0.1: \nThe executor with id 1 exited with exit code 137(SIGKILL, possible container OOM).\n\t termination reason: OOMKilled" });
    for (what, text) in [
        ("plain", LOST.to_owned()),
        ("without a last line end", LOST.trim_end().to_owned()),
        ("carriage returns", crlf),
        ("colours", colour),
        ("NUL bytes", nul),
        ("a prefix of kubectl", prefixed),
        ("a container runtime's lines", runtime),
        ("timestamps of kubectl", stamped),
        ("docker's lines", docker),
        ("structured", format!("{json}\n")),
        ("structured, among plain lines", format!("starting\n{json}\nTraceback\n")),
        (
            "lines of a megabyte",
            format!("{}\n{LOST}{}\n", "x".repeat(1 << 20), "y".repeat(1 << 20)),
        ),
        (
            "a megabyte before the words",
            format!("26/11/23 05:32:00 INFO Y: {}\n{LOST}", "x".repeat(1 << 20)),
        ),
    ] {
        assert_eq!(ids_of(text), OOM, "{what}");
    }
    let utf16: Vec<u8> =
        [0xff, 0xfe].into_iter().chain(LOST.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    assert_eq!(ids_of(utf16), OOM, "UTF-16");
    let mut broken = b"\xff\xfe\x80\n".to_vec();
    broken.extend_from_slice(LOST.as_bytes());
    assert_eq!(ids_of(broken), OOM, "not UTF-8");
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(LOST.as_bytes()).unwrap();
    assert_eq!(ids_of(gz.finish().unwrap()), OOM, "gzip");
}

#[test]
fn a_log_of_many_pieces_is_one_log_with_its_line_numbers() {
    let filler = "26/11/23 05:31:00 INFO BlockManagerInfo: Removed broadcast_1_piece0 on 127.0.0.1:45771 in memory\n".repeat(40_000);
    let text = format!("{filler}{LOST}{filler}");
    let found = verdicts(&["-".into()], text.as_bytes());
    assert_eq!(ids(&found), OOM);
    assert_eq!(found[0]["evidence"][0]["source"], "stdin:40002");
}

#[test]
fn objects_are_read_as_json_yaml_lists_and_streams() {
    let pod = |state: &str| {
        serde_json::json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "etl-exec-1", "namespace": "a",
            "labels": { "spark-role": "executor", "spark-exec-id": "1" } },
            "spec": { "containers": [{ "name": "spark-kubernetes-executor" }] },
            "status": { "phase": "Failed", "containerStatuses": [{ "name": "spark-kubernetes-executor", "image": "i", "imageID": "", "ready": false,
                "restartCount": 0, "state": { "terminated": { "exitCode": 137, "reason": state } } }] } })
    };
    let one = pod("OOMKilled");
    let list = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": [one] });
    let mut bare = one.clone();
    bare.as_object_mut().unwrap().remove("kind");
    let typed = serde_json::json!({ "kind": "PodList", "items": [bare] });
    let yaml = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata:\n    name: etl-exec-1\n  status:\n    phase: Failed\n    containerStatuses:\n    - name: spark-kubernetes-executor\n      image: i\n      imageID: \"\"\n      ready: false\n      restartCount: 0\n      state:\n        terminated:\n          exitCode: 137\n          reason: OOMKilled\n";
    let pretty = serde_json::to_string_pretty(&list).unwrap();
    for text in [
        one.to_string(),
        list.to_string(),
        pretty,
        typed.to_string(),
        format!("[{one}]"),
        yaml.to_owned(),
        format!("---\n{yaml}---\nkind: Service\n"),
        format!("{one}\n{one}\n"),
        format!("\u{feff}{one}"),
    ] {
        assert_eq!(ids_of(&text), OOM, "{text}");
    }
    let watch = format!(
        "{}\n{}\n",
        serde_json::json!({ "type": "ADDED", "object": pod("OOMKilled") }),
        serde_json::json!({ "type": "MODIFIED", "object": pod("Error") })
    );
    assert_eq!(ids_of(watch), "spark/executor/killed", "the last state counts");
    assert_eq!(ids_of("{\"kind\":\"Pod\",\"metadata\":7}"), "");
    assert_eq!(ids_of("{ not json\n26/11/23"), "");
}

#[test]
fn a_trouble_that_a_pod_got_over_is_none() {
    let event = |reason: &str, at: &str, message: &str| {
        serde_json::json!({ "kind": "Event", "metadata": { "name": "x" }, "involvedObject": { "kind": "Pod", "name": "etl-exec-1" },
            "reason": reason, "message": message, "type": "Warning", "lastTimestamp": at })
    };
    let failed = event(
        "FailedScheduling",
        "2026-11-23T05:00:00Z",
        "0/3 nodes are available: 3 Insufficient cpu.",
    );
    let placed =
        event("Scheduled", "2026-11-23T05:01:00Z", "Successfully assigned a/etl-exec-1 to node-1");
    assert_eq!(ids_of(format!("[{failed}]")), "kube/scheduling/insufficient-resources");
    assert_eq!(ids_of(format!("[{failed},{placed}]")), "");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    for path in [dir.path().join("none.log"), dir.path().to_owned()] {
        let error = printed(std::slice::from_ref(&path), b"", Output::Json).unwrap_err();
        assert!(format!("{error:#}").contains(&path.display().to_string()), "{error:#}");
    }
    let error = printed(&["-".into()], &[0x1f, 0x8b, 0, 0], Output::Json).unwrap_err();
    assert!(format!("{error:#}").starts_with("read stdin: "), "{error:#}");
}

#[test]
fn a_secret_in_a_quoted_line_is_masked() {
    let text = LOST.replace("on 127.0.0.1", "on 127.0.0.1 password=hunter2hunter2");
    let said = printed(&["-".into()], text.as_bytes(), Output::Json).unwrap();
    assert!(said.contains(OOM) && !said.contains("hunter2"), "{said}");
}

#[test]
fn no_quote_is_longer_than_its_bound_or_steers_the_terminal() {
    for (name, path) in all("diagnose/failures") {
        for verdict in verdicts(std::slice::from_ref(&path), b"") {
            let quotes = verdict["evidence"].as_array().unwrap();
            assert!(!quotes.is_empty() && quotes.len() <= 5, "{name}");
            assert!(
                quotes.iter().all(|quote| quote["quote"].as_str().unwrap().chars().count() <= 500),
                "{name}"
            );
        }
        let text = printed(&[path], b"", Output::Text).unwrap();
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{name}");
        assert!(!text.contains("{{"), "{name}: {text}");
    }
}
