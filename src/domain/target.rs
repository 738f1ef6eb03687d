//! The object a run is about. Alerts that resolve to the same target share one run.

use serde::{Deserialize, Serialize};

/// What a playbook run looks at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// A Spark application on Kubernetes.
    SparkApp(SparkApp),
    /// One pod.
    Pod(Pod),
    /// A Hive Metastore named in the cluster's configuration.
    Metastore(Metastore),
}

/// A Spark application; `app_id` or `driver_pod` is always known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SparkApp {
    /// The configured cluster's name.
    pub cluster: String,
    /// Namespace of its pods.
    pub namespace: String,
    /// `spark.app.id`, the value of the `spark-app-selector` label; empty when not known.
    pub app_id: String,
    /// The driver pod's name; empty when not known (client mode, or gone).
    pub driver_pod: String,
    /// `SparkApplication` resource or `spark.app.name`; empty when not known.
    pub name: String,
}

/// A pod by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// The configured cluster's name.
    pub cluster: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// A metastore by its configured name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metastore {
    /// The configured cluster's name.
    pub cluster: String,
    /// Key in the cluster's `metastores` map.
    pub name: String,
}

impl Target {
    /// The configured cluster it lives in.
    pub fn cluster(&self) -> &str {
        match self {
            Self::SparkApp(t) => &t.cluster,
            Self::Pod(t) => &t.cluster,
            Self::Metastore(t) => &t.cluster,
        }
    }

    /// A key that is equal exactly for equal objects; part of a run's identity.
    pub fn key(&self) -> String {
        match self {
            Self::SparkApp(t) => {
                let id = if t.app_id.is_empty() { &t.driver_pod } else { &t.app_id };
                format!("spark_app/{}/{}/{id}", t.cluster, t.namespace)
            }
            Self::Pod(t) => format!("pod/{}/{}/{}", t.cluster, t.namespace, t.name),
            Self::Metastore(t) => format!("metastore/{}/{}", t.cluster, t.name),
        }
    }

    /// How a person would name it.
    pub fn label(&self) -> String {
        match self {
            Self::SparkApp(t) => {
                let name = [&t.name, &t.app_id, &t.driver_pod].into_iter().find(|n| !n.is_empty());
                format!("Spark application {}/{}", t.namespace, name.map_or("?", |n| n))
            }
            Self::Pod(t) => format!("pod {}/{}", t.namespace, t.name),
            Self::Metastore(t) => format!("Hive Metastore {}", t.name),
        }
    }
}
