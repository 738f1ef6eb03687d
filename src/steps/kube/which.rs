//! Which pods a step means: by name, by selector, or those of the run's target.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Selector;
use crate::{
    clients::{self, kube},
    domain::{
        target::Target,
        template::{Input, Name},
    },
    steps::{
        Context, Failure,
        recorded::{Recall, Recorded},
        target::label_namespace,
    },
};

/// A Spark pod's role: the label `spark-role`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The driver.
    Driver,
    /// Executors.
    Executor,
}

impl Role {
    /// The label's value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Driver => "driver",
            Self::Executor => "executor",
        }
    }
}

/// The inputs that together say which pods.
pub(super) struct Which<'a> {
    pub name: Option<&'a Input<Name>>,
    pub selector: Option<&'a Selector>,
    pub role: Option<Role>,
    pub namespace: Option<&'a Input<Name>>,
}

/// How the pods are asked for in a list, by kinds that list something else beside them.
pub(super) struct Listing {
    pub namespace: String,
    pub labels: String,
    pub fields: String,
    /// For messages.
    pub what: String,
}

/// What was found.
pub(super) struct Found {
    pub pods: Vec<kube::Pod>,
    /// There were more.
    pub cut: bool,
    /// What was looked for, for messages: `executor pods of Spark application spark-prod/etl`.
    pub what: String,
}

impl<'a> Which<'a> {
    /// The run's target, perhaps only its driver or its executors.
    pub(super) fn target(role: Option<Role>) -> Self {
        Self { name: None, selector: None, role, namespace: None }
    }

    /// No pods: only a namespace is looked for.
    pub(super) fn of_namespace(namespace: Option<&'a Input<Name>>) -> Self {
        Self { name: None, selector: None, role: None, namespace }
    }

    /// Finds them. A pod asked for by name that does not exist is an empty list.
    pub(super) async fn pods(&self, context: &Context<'_>) -> Result<Found, Failure> {
        let kube = context.kube()?;
        if let Some(name) = self.name {
            let Name(name) = name.fill(context.scope)?;
            return by_name(kube, self.namespace(context)?, &name).await;
        }
        if let Some(selector) = self.selector {
            let labels = self.with_role(selector.fill(context.scope)?);
            let what = format!("pods with {labels}");
            return by_labels(kube, self.namespace(context)?, labels, what).await;
        }
        match context.target {
            Some(Target::Pod(pod)) => by_name(kube, pod.namespace.clone(), &pod.name).await,
            Some(Target::SparkApp(app)) => {
                let role = self.role.map(|role| format!("{} ", role.label())).unwrap_or_default();
                let target = Target::SparkApp(app.clone()).label();
                if app.app_id.is_empty() {
                    if self.role == Some(Role::Driver) {
                        return by_name(kube, app.namespace.clone(), &app.driver_pod).await;
                    }
                    return Err(Failure::Skipped(format!(
                        "the id of {target} is not known, and only its id finds its pods"
                    )));
                }
                // A Connect server's pod has another role; by its name it is found all the same. A driver that was made
                // again has that name too, and is of another application.
                if self.role == Some(Role::Driver) && !app.driver_pod.is_empty() {
                    let mut found = by_name(kube, app.namespace.clone(), &app.driver_pod).await?;
                    found.pods.retain(|pod| pod.app_id.is_empty() || pod.app_id == app.app_id);
                    return Ok(found);
                }
                let labels = self.with_role(format!("spark-app-selector={}", app.app_id));
                let what = format!("{role}pods of {target}");
                by_labels(kube, app.namespace.clone(), labels, what).await
            }
            Some(Target::Metastore(_)) | None => Err(Failure::Skipped(
                "the alert leads to no pods; set `name` or `selector`".to_owned(),
            )),
        }
    }

    /// The same pods, as the parameters of a list.
    pub(super) fn listing(&self, context: &Context<'_>) -> Result<Listing, Failure> {
        let by_name = |namespace: String, name: &str| Listing {
            fields: format!("metadata.name={name}"),
            labels: String::new(),
            what: format!("pod {namespace}/{name}"),
            namespace,
        };
        let by_labels = |namespace: String, labels: String| {
            let what = format!("pods with {labels}");
            Listing { namespace, labels, fields: String::new(), what }
        };
        if let Some(name) = self.name {
            let Name(name) = name.fill(context.scope)?;
            return Ok(by_name(self.namespace(context)?, &name));
        }
        if let Some(selector) = self.selector {
            let labels = self.with_role(selector.fill(context.scope)?);
            return Ok(by_labels(self.namespace(context)?, labels));
        }
        match context.target {
            Some(Target::Pod(pod)) => Ok(by_name(pod.namespace.clone(), &pod.name)),
            Some(Target::SparkApp(app)) if !app.app_id.is_empty() => {
                let labels = self.with_role(format!("spark-app-selector={}", app.app_id));
                Ok(by_labels(app.namespace.clone(), labels))
            }
            Some(Target::SparkApp(_) | Target::Metastore(_)) | None => Err(Failure::Skipped(
                "the alert leads to no pods; set `name` or `selector`".to_owned(),
            )),
        }
    }

    /// The same pods as the recorder knows them, also those that exist no more. Nothing when the inputs lead to no pods.
    pub(super) async fn recorded(
        &self,
        context: &Context<'_>,
        logs: bool,
    ) -> Result<Recorded, Failure> {
        let Some(cluster) = context.cluster else { return Ok(Recorded::default()) };
        let mut asked = Recall { cluster: cluster.name.clone(), logs, ..Recall::default() };
        if let Some(role) = self.role.filter(|_| self.name.is_none()) {
            asked.labels.push(("spark-role".to_owned(), role.label().to_owned()));
        }
        match (self.name, self.selector, context.target) {
            (Some(name), _, target) => {
                asked.name = name.fill(context.scope)?.0;
                asked.namespace = self.namespace(context)?;
                // A driver that is started again has the name of the one before, and is of another application.
                if let Some(Target::SparkApp(app)) = target {
                    asked.app_id.clone_from(&app.app_id);
                }
            }
            (None, Some(selector), _) => {
                asked = asked.with_labels(&selector.fill(context.scope)?);
                asked.namespace = self.namespace(context)?;
            }
            (None, None, Some(Target::Pod(pod))) => {
                (asked.namespace, asked.name) = (pod.namespace.clone(), pod.name.clone());
            }
            (None, None, Some(Target::SparkApp(app))) if !app.app_id.is_empty() => {
                (asked.namespace, asked.app_id) = (app.namespace.clone(), app.app_id.clone());
            }
            (None, None, Some(Target::SparkApp(app))) if !app.driver_pod.is_empty() => {
                (asked.namespace, asked.name) = (app.namespace.clone(), app.driver_pod.clone());
            }
            (None, None, _) => return Ok(Recorded::default()),
        }
        Ok(context.memory.recorded(&asked).await)
    }

    fn with_role(&self, labels: String) -> String {
        match self.role {
            Some(role) => format!("{labels},spark-role={}", role.label()),
            None => labels,
        }
    }

    /// The namespace: the input, else the target's, else the alert's label.
    pub(super) fn namespace(&self, context: &Context<'_>) -> Result<String, Failure> {
        if let Some(input) = self.namespace {
            return Ok(input.fill(context.scope)?.0);
        }
        let targets = match context.target {
            Some(Target::SparkApp(app)) => Some(&app.namespace),
            Some(Target::Pod(pod)) => Some(&pod.namespace),
            Some(Target::Metastore(_)) | None => None,
        };
        let known = targets.filter(|n| !n.is_empty()).cloned();
        known.or_else(|| label_namespace(context.scope)).ok_or_else(|| {
            Failure::Skipped(
                "no namespace: set `namespace`, or label the alert with one".to_owned(),
            )
        })
    }
}

async fn by_name(kube: &kube::Client, namespace: String, name: &str) -> Result<Found, Failure> {
    let what = format!("pod {namespace}/{name}");
    let pods = match kube.pod(&namespace, name).await {
        Ok(pod) => vec![pod],
        Err(error) if error.kind == clients::Kind::NotFound => vec![],
        Err(error) => return Err(error.into()),
    };
    Ok(Found { pods, cut: false, what })
}

async fn by_labels(
    kube: &kube::Client,
    namespace: String,
    labels: String,
    what: String,
) -> Result<Found, Failure> {
    let query = kube::PodQuery { namespace, labels, ..kube::PodQuery::default() };
    let kube::Listed { items: mut pods, cut } = kube.pods(&query).await?;
    in_order(&mut pods);
    Ok(Found { pods, cut, what })
}

/// Drivers first, then executors by number, so that lists read as people count.
pub(super) fn in_order(pods: &mut [kube::Pod]) {
    pods.sort_by_key(|pod| {
        (pod.role != "driver", pod.exec_id.parse::<u64>().unwrap_or(u64::MAX), pod.name.clone())
    });
}
