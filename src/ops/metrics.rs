//! Every metric name, with help and labels. `/metrics`, the docs and the shipped rules are compared with this list.

use std::sync::{Mutex, PoisonError};

use metrics::Unit;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// One metric: name, kind, unit, help, labels.
pub struct Metric {
    /// Prometheus name.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// For people.
    pub help: &'static str,
    /// From closed sets only.
    pub labels: &'static [&'static str],
}

macro_rules! metrics {
    ($($constant:ident = $name:literal $kind:literal [$($label:literal),*] $help:literal;)*) => {
        $(#[doc = $help] pub const $constant: &str = $name;)*

        /// All of them.
        pub const ALL: &[Metric] = &[$(Metric { name: $name, kind: $kind, help: $help, labels: &[$($label),*] }),*];
    };
}

metrics! {
    WEBHOOKS = "paramedic_webhooks_total" "counter" ["source", "code"] "Webhooks received, by source and answer.";
    ALERTS_RECEIVED = "paramedic_alerts_received_total" "counter" [] "Alerts in webhooks that were stored.";
    ALERTMANAGER_POLLS = "paramedic_alertmanager_polls_total" "counter" ["source", "outcome"] "Times a source's Alertmanagers were asked back (ok, error).";
    ALERTS_ADOPTED = "paramedic_alerts_adopted_total" "counter" ["source"] "Alerts taken in because Alertmanager has them and no webhook brought them; any value above 0 means lost webhooks or a lost store.";
    WEBHOOK_SECONDS = "paramedic_webhook_duration_seconds" "histogram" [] "From a webhook's arrival to its answer after the commit.";
    DELIVERIES_WAITING = "paramedic_deliveries_waiting" "gauge" [] "Stored webhooks not applied yet.";
    DELIVERIES_OLDEST_SECONDS = "paramedic_deliveries_oldest_age_seconds" "gauge" [] "Age of the oldest of them.";
    INCIDENTS_OPEN = "paramedic_incidents_open" "gauge" [] "Incidents that are not resolved.";
    STORMS = "paramedic_storms_total" "counter" [] "Storms begun: many incidents of one cause, paged once.";
    JOBS = "paramedic_jobs_total" "counter" ["kind", "outcome"] "Jobs run, by kind and outcome (ok, error).";
    JOBS_WAITING = "paramedic_jobs_waiting" "gauge" ["kind"] "Jobs that are not done, by kind.";
    STEPS = "paramedic_steps_total" "counter" ["kind", "state"] "Playbook steps ended, by kind and state.";
    STEP_SECONDS = "paramedic_step_duration_seconds" "histogram" ["kind"] "How long steps took.";
    MESSAGES = "paramedic_messages_total" "counter" ["channel", "kind", "outcome"] "Sends by channel kind, message kind (card, evidence, page) and outcome (ok, retry, unclear, permanent, gone).";
    INVARIANT_VIOLATIONS = "paramedic_invariant_violations_total" "counter" ["invariant"] "Broken invariants found and mended; any value above 0 is a bug.";
    STORE_OUTAGE_SECONDS = "paramedic_store_outage_seconds" "gauge" [] "For how long no write to the store has succeeded; 0 while it takes them.";
    DEAD_MAN_PINGS = "paramedic_dead_man_pings_total" "counter" ["outcome"] "Turns of the dead-man ping by outcome (ok, failed, withheld: something did not work).";
    RETENTION_DELETED = "paramedic_retention_deleted_total" "counter" ["table"] "Rows of old incidents that were deleted, by table.";
    STORE_BYTES = "paramedic_store_bytes" "gauge" [] "Bytes that the store's rows take, about; counted each minute where there is a largest size.";
    RECORDER_PODS = "paramedic_recorder_pods" "gauge" ["cluster"] "Pods the recorder holds in memory.";
    RECORDER_BYTES = "paramedic_recorder_bytes" "gauge" ["cluster"] "Bytes of evidence it holds in memory, about.";
    RECORDER_STORED_BYTES = "paramedic_recorder_stored_bytes" "gauge" [] "Bytes of evidence in the store; counted every 10 minutes.";
    RECORDER_STREAMS = "paramedic_recorder_streams" "gauge" ["cluster"] "Logs that are followed.";
    RECORDER_UNREAD = "paramedic_recorder_logs_waiting" "gauge" ["cluster"] "Logs waiting to be read.";
    RECORDER_WRITE_LAG = "paramedic_recorder_write_lag_seconds" "gauge" ["cluster"] "Age of the oldest evidence that is not stored yet.";
    RECORDER_TROUBLES = "paramedic_recorder_troubles" "gauge" ["cluster"] "Things the recorder cannot do now (watches, logs, store); /readyz says which.";
    RECORDER_LEADS = "paramedic_recorder_leads" "gauge" ["cluster"] "1 where this replica reads the logs and stores the evidence, 0 where another one does.";
    RECORDER_RELISTS = "paramedic_recorder_relists_total" "counter" ["cluster"] "Lists begun: one per watch at start, more after a lost watch.";
    RECORDER_LOGS = "paramedic_recorder_logs_total" "counter" ["cluster", "outcome"] "Logs of failed or deleted containers (kept, lost).";
    RECORDER_UNREADABLE = "paramedic_recorder_unreadable_total" "counter" ["cluster"] "Objects that could not be read and were skipped.";
    RECORDER_DROPPED = "paramedic_recorder_dropped_total" "counter" ["cluster"] "Pods forgotten before they were stored, because memory was full.";
    RELOADS = "paramedic_reloads_total" "counter" ["what", "outcome"] "Reloads of playbooks and on-call files (ok, error).";
}

/// Buckets of every duration histogram, seconds.
const BUCKETS: &[f64] =
    &[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0];

/// The recorder of this process, if there is one.
static INSTALLED: Mutex<Option<PrometheusHandle>> = Mutex::new(None);

/// Installs the recorder for this process. Another call finds it installed and returns a handle on the same.
pub fn install() -> anyhow::Result<PrometheusHandle> {
    // Held until it is installed: of two callers at once the second one waits and finds it.
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = &*installed {
        return Ok(handle.clone());
    }
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), BUCKETS)?;
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder)
        .map_err(|_| anyhow::anyhow!("this process has another recorder of metrics"))?;
    for metric in ALL {
        match metric.kind {
            "counter" => metrics::describe_counter!(metric.name, Unit::Count, metric.help),
            "gauge" => metrics::describe_gauge!(metric.name, metric.help),
            _ => metrics::describe_histogram!(metric.name, Unit::Seconds, metric.help),
        }
    }
    Ok(installed.insert(handle).clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_installs_it_again_reads_the_same_metrics() {
        let (first, second) = (install().unwrap(), install().unwrap());
        metrics::counter!(RELOADS, "what" => "story", "outcome" => "ok").increment(1);
        for handle in [first, second] {
            assert!(handle.render().contains(r#"what="story""#), "{}", handle.render());
        }
    }

    #[test]
    fn names_follow_the_conventions_and_are_unique() {
        let mut seen = std::collections::BTreeSet::new();
        for metric in ALL {
            assert!(metric.name.starts_with("paramedic_"), "{}", metric.name);
            assert_eq!(
                metric.kind == "counter",
                metric.name.ends_with("_total"),
                "{}",
                metric.name
            );
            assert!(metric.kind != "histogram" || metric.name.ends_with("_seconds"));
            assert!(metric.help.ends_with('.'), "{}", metric.name);
            assert!(seen.insert(metric.name), "{} twice", metric.name);
        }
    }
}
