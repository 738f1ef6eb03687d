//! A real Prometheus that scrapes, evaluates and re-sends every second, so that a story need not wait minutes.

use std::process::Command;

use super::{Bed, ports, process::Process, program};

/// A running Prometheus.
pub struct Prometheus {
    /// `http://127.0.0.1:port`.
    pub url: String,
    _process: Process,
}

impl Prometheus {
    /// Starts one that scrapes `target` (`host:port`, job `spark`, labels as exposed), evaluates `rules` (the YAML of a
    /// rules file) and sends its alerts to the Alertmanagers (`host:port` each).
    pub async fn start(bed: &Bed, target: &str, rules: &str, alertmanagers: &[&str]) -> Self {
        let port = ports::free();
        let url = format!("http://127.0.0.1:{port}");
        let rules = bed.file("prometheus/rules.yml", rules);
        let config = bed.file(
            "prometheus/prometheus.yml",
            &format!(
                "global: {{scrape_interval: 1s, evaluation_interval: 1s, external_labels: {{cluster: testbed}}}}\n\
                 rule_files: [ '{}' ]\n\
                 alerting: {{alertmanagers: [ {{static_configs: [ {{targets: {alertmanagers:?}}} ]}} ]}}\n\
                 scrape_configs: [ {{job_name: spark, honor_labels: true, static_configs: [ {{targets: ['{target}']}} ]}} ]\n",
                rules.display(),
            ),
        );
        let folder = bed.folder("prometheus");
        let mut command = Command::new(program("/usr/bin/prometheus"));
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg(format!("--web.external-url={url}"))
            .args(["--storage.tsdb.retention.time=1h", "--rules.alert.resend-delay=1s"]);
        let mut process = Process::start("prometheus", &mut command, folder.join("log"));
        let ready = format!("{url}/-/ready");
        process.until_ready(async || bed.get(&ready).await.filter(|r| r.status == 200)).await;
        Self { url, _process: process }
    }
}
