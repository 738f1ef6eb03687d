//! What a person sees in Slack, and that no text makes Slack refuse a message.

use proptest::prelude::*;

use super::{super::super::samples, *};

/// Everything a reader sees, in order, without the JSON around it.
fn shown(payload: &Payload) -> String {
    let mut out = vec![format!("[text] {}", payload.text)];
    for block in &payload.blocks {
        let kind = block["type"].as_str().unwrap();
        let texts = match kind {
            "context" => block["elements"][0]["text"].as_str().unwrap().to_owned(),
            "actions" => block["elements"]
                .as_array()
                .unwrap()
                .iter()
                .map(element)
                .collect::<Vec<_>>()
                .join(" "),
            _ => block["text"]["text"].as_str().unwrap().to_owned(),
        };
        out.push(format!("[{kind}] {texts}"));
    }
    out.join("\n")
}

fn element(element: &Value) -> String {
    match element["options"].as_array() {
        None => format!("({} {})", element["text"]["text"], element["value"]),
        Some(options) => {
            let values: Vec<_> = options.iter().map(|o| o["value"].as_str().unwrap()).collect();
            format!("({} {})", element["placeholder"]["text"], values.join(" "))
        }
    }
}

/// Slack's documented limits, written down a second time: the reason a block would be refused.
fn refused(payload: &Payload) -> Option<String> {
    let len = |value: &Value| value.as_str().map_or(0, |s| s.encode_utf16().count());
    let mut total = payload.text.encode_utf16().count();
    if total == 0 || total > 4_000 {
        return Some(format!("text of {total}"));
    }
    total = 0;
    if payload.blocks.is_empty() || payload.blocks.len() > 50 {
        return Some(format!("{} blocks", payload.blocks.len()));
    }
    for block in &payload.blocks {
        let (texts, max) = match block["type"].as_str()? {
            "header" => (vec![&block["text"]["text"]], 150),
            "section" => (vec![&block["text"]["text"]], 3_000),
            "context" => (vec![&block["elements"][0]["text"]], 3_000),
            "actions" => {
                let elements = block["elements"].as_array()?;
                if elements.is_empty() || elements.len() > 25 || len(&block["block_id"]) > 255 {
                    return Some("actions".to_owned());
                }
                (elements.iter().map(|e| &e["action_id"]).collect(), 255)
            }
            other => return Some(format!("block {other}")),
        };
        for text in texts {
            let n = len(text);
            total += n;
            if n == 0 || n > max {
                return Some(format!("{} of {n}", block["type"]));
            }
        }
    }
    (total > 12_000).then(|| format!("{total} characters in all"))
}

#[test]
fn a_card_in_slack() {
    insta::assert_snapshot!(shown(&render(&Message::Card(samples::card()), "C1")), @r#"
    [text] P1 triggered · SparkExecutorLost · spark-prod · INC-12: Executor killed by the kernel: container memory limit (96 %)
    [header] 🟠 P1 · SparkExecutorLost · spark-prod
    [section] etl-nightly keeps losing executors
    [context] *triggered* · INC-12 · since 03:12:05 UTC (4m 10s) · 3 firing, 1 resolved
    [context] `namespace=spark-prod`  `app=etl-nightly`
    [section] *Verdict: Executor killed by the kernel: container memory limit*
    96 % sure, for the platform team
    _executor 3 (pod etl-exec-3)_
    ```
    pod etl-exec-3 container spark-kubernetes-executor terminated: reason=OOMKilled exitCode=137
    ```
    _driver etl-driver, line 118_
    ```
    ERROR TaskSchedulerImpl: Lost executor 3 on 10.1.2.3: exit code 137 (SIGKILL, possible container OOM)
    ```
    [section] *Do:* Raise `spark.executor.memoryOverhead` to *2g*.
    • see <https://docs.example.org/oom|tuning>
    • or fewer cores per executor
    <https://docs.example.org/oom|more about this>
    [section] *Also: Shuffle files lost with their executor*
    60 % sure, for the job's author, explained by the first
    _driver etl-driver, line 131_
    ```
    FetchFailed(BlockManagerId(3, 10.1.2.3, 7079, None), shuffleId=0, mapId=1)
    ```
    [context] diagnosis finished
    [context] :warning: log of executor 3 was already gone; its last 200 lines come from the recorder
    [section] *Next:* Raj Patel at 03:17:05 UTC by slack, then sms
    [context] 03:12:10 paged Ana Lima by slack: delivered
    03:13:02 playbook spark-executor-lost: 2 verdicts
    [context] <https://runbooks.example.org/spark?a=1&amp;b=2|Runbook> · <https://paramedic.example.org/incidents/12|Incident>
    [context] :white_check_mark: Ack: Ana Lima 03:14
    [actions] ("Silence…" 12:3:silence_1h 12:3:silence_4h 12:3:silence_morning) ("Resolve" "12:3:resolve")
    "#);
}

#[test]
fn a_page_calls_the_person_first() {
    let page = render(&Message::Page(samples::page()), "U024BE7LH");
    let shown = shown(&page);
    insta::assert_snapshot!(shown.lines().take(5).collect::<Vec<_>>().join("\n"), @r"
    [text] PAGE for Ana Lima (late by 4m: the store was unreachable) · P1 triggered · SparkExecutorLost · spark-prod · INC-12: Executor killed by the kernel: container memory limit (96 %)
    [section] :rotating_light: <@U024BE7LH> *PAGE for Ana Lima (late by 4m: the store was unreachable)*
    step 1 of policy data-platform, on call for schedule primary
    [header] 🟠 P1 · SparkExecutorLost · spark-prod
    [section] etl-nightly keeps losing executors
    ");
    insta::assert_snapshot!(shown.lines().last().unwrap(), @r#"[actions] ("Ack" "12:3:ack") ("Silence…" 12:3:silence_1h 12:3:silence_4h 12:3:silence_morning) ("Resolve" "12:3:resolve")"#);
}

#[test]
fn evidence_with_a_fence_in_it_stays_in_its_fence() {
    let note = Note { mention: "U024BE7LH".to_owned(), ..samples::note() };
    insta::assert_snapshot!(shown(&render(&Message::Evidence(note), "C1")), @r"
    [text] driver etl-driver, log, last 2 lines
    [section] <@U024BE7LH> *driver etl-driver, log, last 2 lines*
    [section] ```
    03:12:01 WARN  TaskSetManager: Lost task 3.0 in stage 1.0 (TID 7)
    03:12:02 ERROR a &lt; b &amp;&amp; c '''rm -rf'''
    ```
    ");
}

#[test]
fn only_a_slack_user_is_mentioned() {
    for bad in ["", "channel", "!channel", "U1", "U024BE7LH>", "u024be7lh", "@ana:example.org"] {
        assert_eq!(user_id(bad), None, "{bad}");
    }
    assert_eq!(user_id("W024BE7LH"), Some("W024BE7LH"));
}

#[test]
fn a_card_without_buttons_has_no_empty_block() {
    let card = Card { actions: vec![], ..samples::card() };
    assert!(actions(&card).is_none());
}

#[test]
fn long_evidence_keeps_its_end_within_the_limits() {
    let body = (0..5_000).map(|n| format!("line {n} <&>")).collect::<Vec<_>>().join("\n");
    let payload = render(&Message::Evidence(Note { body, ..samples::note() }), "C1");
    assert_eq!(refused(&payload), None);
    let shown = shown(&payload);
    assert!(shown.contains("line 0 ") && shown.contains("line 4999 "), "{shown}");
    assert!(shown.contains("characters cut"), "{shown}");
    assert!((3..=6).contains(&payload.blocks.len()), "{}", payload.blocks.len());
}

#[test]
fn hostile_texts_make_valid_blocks_without_mentions() {
    for message in samples::all_hostile() {
        let payload = render(&message, "C1");
        assert_eq!(refused(&payload), None, "{payload:?}");
        let all = serde_json::to_string(&payload.blocks).unwrap() + &payload.text;
        assert!(!all.contains("<!") && !all.contains("<@") && !all.contains("<script"), "{all}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn no_card_is_ever_refused(text in "[a<>&`*\n🧯 ]{0,200}", many in 0_usize..20, times in 1_usize..10) {
        for message in samples::hostile(&text.repeat(times), many) {
            prop_assert_eq!(refused(&render(&message, "C1")), None);
        }
    }
}
