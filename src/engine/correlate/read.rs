//! A delivery as it is read: redacted, with its source's labels, heartbeats taken out.

use crate::{
    domain::{
        alert::{self, Alert, Envelope, Labels, Rejected},
        redact,
    },
    engine::{Engine, Source, heartbeats},
    store::Delivery,
};

/// What a stored delivery holds.
pub struct Read<'d> {
    pub delivery: &'d Delivery,
    pub source: Source,
    pub envelope: Envelope,
    pub alerts: Vec<Alert>,
    /// Alerts that could not be read.
    pub rejected: Vec<Rejected>,
    /// The cursor of a heartbeat that was among the alerts.
    pub beat: Option<(String, String)>,
}

impl Engine {
    /// Reads a delivery; fails when its body is no webhook at all.
    pub(super) fn read<'d>(&self, delivery: &'d Delivery) -> anyhow::Result<Read<'d>> {
        let payload = alert::parse(&delivery.body, delivery.received_at)?;
        let mut envelope = payload.envelope;
        clean(&mut envelope);
        let source = self.options.sources.get(&delivery.source).cloned().unwrap_or_default();
        let (mut alerts, mut rejected) = (Vec::with_capacity(payload.alerts.len()), vec![]);
        for alert in payload.alerts {
            match alert {
                Ok(alert) => alerts.push(prepared(alert, &source)),
                Err(bad) => rejected.push(bad),
            }
        }
        let (name, at) = (&delivery.source, delivery.received_at);
        let beat = heartbeats::take_out(&mut alerts, &source, name, at);
        Ok(Read { delivery, source, envelope, alerts, rejected, beat })
    }
}

/// Redacted, with the source's labels where it lacks them.
pub fn prepared(mut alert: Alert, source: &Source) -> Alert {
    for (name, value) in &source.labels {
        alert.labels.entry(name.clone()).or_insert_with(|| value.clone());
    }
    without_secrets(&mut alert.labels);
    without_secrets(&mut alert.annotations);
    alert.generator_url = redact::redact(&alert.generator_url).into_owned();
    alert
}

/// Redacted, before anything of it becomes part of a key.
fn clean(envelope: &mut Envelope) {
    without_secrets(&mut envelope.group_labels);
    envelope.external_url = redact::redact(&envelope.external_url).into_owned();
}

fn without_secrets(labels: &mut Labels) {
    for (name, value) in labels {
        // kube-state-metrics names Secret objects in a label `secret`: a name, not the secret.
        if name != "secret" && !value.is_empty() && redact::is_secret_name(name) {
            redact::MASK.clone_into(value);
        } else if let std::borrow::Cow::Owned(clean) = redact::redact(value) {
            *value = clean;
        }
    }
}
