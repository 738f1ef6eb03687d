//! Steps that read and write what Paramedic itself knows.

pub mod changes;
pub mod note;
pub mod similar;

use super::{Context, Earlier, Failure, target};
use crate::{
    clients::{self, one_line},
    domain::duration,
};

/// The target's namespace, else the alert's; "" when there is none.
fn namespace(context: &Context<'_>) -> String {
    use crate::domain::target::Target;
    let of_target = match context.target {
        Some(Target::SparkApp(app)) => Some(app.namespace.clone()),
        Some(Target::Pod(pod)) => Some(pod.namespace.clone()),
        Some(Target::Metastore(_)) | None => None,
    };
    let of_target = of_target.filter(|namespace| !namespace.is_empty());
    of_target.or_else(|| target::label_namespace(context.scope)).unwrap_or_default()
}

fn failed(reason: String) -> Failure {
    clients::Error::new(clients::Kind::Unreachable, "look into earlier incidents", reason).into()
}

/// The canonical line of an incident.
fn line(incident: &Earlier) -> String {
    let Earlier { id, title, severity, status, opened_at, because, verdicts, notes, .. } = incident;
    let because = because.join(", ");
    let title = one_line(title, 200);
    let mut text =
        vec![format!("incident {id} ({because}) {severity} {status}, opened {opened_at}: {title}")];
    if let Some(resolved_at) = incident.resolved_at {
        let took = resolved_at.duration_since(*opened_at).unsigned_abs();
        let took = std::time::Duration::from_secs(took.as_secs());
        text.push(format!("; over after {}: {}", duration::format(took), incident.ended));
    }
    if let Some(best) = verdicts.first() {
        text.push(format!("; verdict {best}"));
    }
    if !incident.acknowledged_by.is_empty() {
        text.push(format!("; acknowledged by {}", one_line(&incident.acknowledged_by, 100)));
    }
    if let Some(last) = notes.last() {
        text.push(format!("; note: {}", one_line(last, 300)));
    }
    text.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incident_is_one_line_with_how_it_ended() {
        let incident = Earlier {
            id: "INC-3".to_owned(),
            title: "SparkExecutorLost\nin spark-prod".to_owned(),
            severity: "P1".to_owned(),
            status: "resolved".to_owned(),
            opened_at: "2026-11-20T01:00:00Z".parse().unwrap(),
            resolved_at: Some("2026-11-20T01:12:00Z".parse().unwrap()),
            ended: "resolved by Ana".to_owned(),
            acknowledged_by: "Ana".to_owned(),
            verdicts: vec!["spark/executor/oom-killed".to_owned()],
            because: vec!["same alerts".to_owned(), "same target".to_owned()],
            notes: vec!["Ana: raised the overhead".to_owned()],
        };
        insta::assert_snapshot!(line(&incident), @"incident INC-3 (same alerts, same target) P1 resolved, opened 2026-11-20T01:00:00Z: SparkExecutorLost in spark-prod; over after 12m: resolved by Ana; verdict spark/executor/oom-killed; acknowledged by Ana; note: Ana: raised the overhead");
    }
}
