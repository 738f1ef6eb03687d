//! Webhooks as Alertmanager sends them for kube-state-metrics: some 1.6 kB per alert, nine labels, three annotations. Each has an id of
//! its own, so it is an incident of its own; the id is found again in what is sent out.

use serde_json::{Value, json};

/// What every id begins with in a body.
pub const MARK: &str = "load-";
/// Hexadecimal digits of an id.
pub const DIGITS: usize = 12;
/// Teams; each has a person with an address of its own, because an address gets only five messages a second.
pub const TEAMS: u64 = 500;

/// A webhook of `alerts` alerts, without its id.
#[derive(Clone)]
pub struct Template {
    parts: Vec<String>,
}

const ID: &str = "@@ID@@";
const TEAM: &str = "@@TEAM@@";

impl Template {
    /// All alerts in one namespace, so in one incident.
    pub fn new(alerts: usize) -> Self {
        let body = webhook(alerts).to_string().replace(TEAM, &format!("{ID}{TEAM}"));
        Self { parts: body.split(ID).map(str::to_owned).collect() }
    }

    /// The same alerts, over.
    pub fn resolved(&self) -> Self {
        let over = |part: &String| {
            let part = part.replace("\"firing\"", "\"resolved\"");
            part.replace("0001-01-01T00:00:00Z", "2026-11-23T04:22:33.117Z")
        };
        Self { parts: self.parts.iter().map(over).collect() }
    }

    /// The body with this id.
    pub fn body(&self, id: u64) -> Vec<u8> {
        let (id, team) = (format!("{id:0DIGITS$x}"), format!("t{}", id % TEAMS));
        let mut body = String::with_capacity(self.parts.len() * 64 + 4_096);
        for (place, part) in self.parts.iter().enumerate() {
            match part.strip_prefix(TEAM) {
                Some(rest) => body.extend([&team, rest]),
                None if place == 0 => body.push_str(part),
                None => body.extend([id.as_str(), part]),
            }
        }
        body.into_bytes()
    }
}

fn webhook(alerts: usize) -> Value {
    let runbook = "https://runbooks.example.org/kubernetes/KubePodCrashLooping";
    let namespace = format!("{MARK}{ID}");
    let common = json!({
        "alertname": "KubePodCrashLooping", "cluster": "prod-eu1", "namespace": namespace, "job": "kube-state-metrics",
        "severity": "critical", "team": TEAM,
    });
    let alert = |number: usize| {
        let pod = format!("checkout-7d9f8c6b5d-{ID}-{number:04}");
        let mut labels = common.clone();
        labels["pod"] = json!(pod);
        labels["container"] = json!("checkout");
        labels["instance"] = json!(format!("10.42.{}.17:8080", number % 250));
        json!({
            "status": "firing",
            "labels": labels,
            "annotations": {
                "summary": format!("Pod {pod} is crash looping"),
                "description": format!("Pod {namespace}/{pod} (checkout) is in waiting state (reason: \"CrashLoopBackOff\") on cluster prod-eu1 for more than 15 minutes."),
                "runbook_url": runbook,
            },
            "startsAt": "2026-11-23T04:12:33.117Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://prometheus.monitoring.svc:9090/graph?g0.expr=max_over_time%28kube_pod_container_status_waiting_reason%7Breason%3D%22CrashLoopBackOff%22%2Cjob%3D%22kube-state-metrics%22%7D%5B5m%5D%29+%3E%3D+1&g0.tab=1",
            "fingerprint": format!("{number:04x}{ID}"),
        })
    };
    json!({
        "receiver": "paramedic", "status": "firing", "alerts": (0..alerts).map(alert).collect::<Vec<_>>(),
        "groupLabels": { "alertname": "KubePodCrashLooping", "namespace": namespace },
        "commonLabels": common,
        "commonAnnotations": { "runbook_url": runbook },
        "externalURL": "http://alertmanager.monitoring.svc:9093", "version": "4",
        "groupKey": format!("{{}}/{{severity=\"critical\"}}:{{alertname=\"KubePodCrashLooping\", namespace=\"{namespace}\"}}"),
        "truncatedAlerts": 0,
    })
}

/// The id in a message, if there is one.
pub fn id(body: &[u8]) -> Option<u64> {
    let at = memchr::memmem::find(body, MARK.as_bytes())? + MARK.len();
    let digits = std::str::from_utf8(body.get(at..at + DIGITS)?).ok()?;
    u64::from_str_radix(digits, 16).ok()
}
