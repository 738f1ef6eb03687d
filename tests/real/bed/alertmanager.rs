//! A real Alertmanager with short intervals and one webhook receiver.

use std::process::Command;

use super::{Bed, ports, process::Process, program};

/// A running Alertmanager.
pub struct Alertmanager {
    /// `http://127.0.0.1:port`.
    pub url: String,
    /// `127.0.0.1:port`, as Prometheus wants it.
    pub address: String,
    _process: Process,
}

/// Where notifications go.
pub struct Receiver<'a> {
    /// The webhook's URL.
    pub url: &'a str,
    /// Its bearer token, if it wants one.
    pub token: Option<&'a str>,
}

impl Alertmanager {
    /// Starts one that groups by `alertname` and `namespace` and notifies within a second.
    pub async fn start(bed: &Bed, receiver: &Receiver<'_>) -> Self {
        Self::start_another(bed, receiver, "alertmanager").await
    }

    /// The same with a name of its own in the bed. It hears nothing of others.
    pub async fn start_another(bed: &Bed, receiver: &Receiver<'_>, name: &str) -> Self {
        let port = ports::free();
        let address = format!("127.0.0.1:{port}");
        let url = format!("http://{address}");
        let token = receiver.token.map_or(String::new(), |token| {
            format!(", http_config: {{authorization: {{credentials: '{token}'}}}}")
        });
        let config = bed.file(
            &format!("{name}/alertmanager.yml"),
            &format!(
                "route: {{receiver: paramedic, group_by: [alertname, namespace], group_wait: 1s, group_interval: 2s, repeat_interval: 1h}}\n\
                 receivers: [ {{name: paramedic, webhook_configs: [ {{url: '{}', send_resolved: true{token}}} ]}} ]\n",
                receiver.url,
            ),
        );
        let folder = bed.folder(name);
        let mut command = Command::new(program("/usr/bin/prometheus-alertmanager"));
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", folder.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg(format!("--web.external-url={url}"))
            // The default listens on every interface.
            .arg("--cluster.listen-address=");
        let mut process = Process::start(name, &mut command, folder.join("log"));
        let ready = format!("{url}/-/ready");
        process.until_ready(async || bed.get(&ready).await.filter(|r| r.status == 200)).await;
        Self { url, address, _process: process }
    }
}
