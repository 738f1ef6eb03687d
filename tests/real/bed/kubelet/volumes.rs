//! A pod's volumes as folders. Nothing is mounted: paths in the container's arguments and environment are rewritten to them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use paramedic::demo::apiserver::Cluster;
use serde_json::Value;

/// The folders of a pod.
#[derive(Default)]
pub(super) struct Volumes {
    /// By mount path.
    folders: BTreeMap<String, PathBuf>,
    /// Those that are scratch space.
    empty: Vec<PathBuf>,
}

impl Volumes {
    /// A text with its mount paths replaced by the folders; the longest path first.
    pub(super) fn rewrite(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (path, folder) in self.folders.iter().rev() {
            text = text.replace(path.as_str(), &folder.display().to_string());
        }
        text
    }

    /// The first scratch folder: Spark's local disk.
    pub(super) fn empty_dir(&self) -> Option<&Path> {
        self.empty.first().map(PathBuf::as_path)
    }

    /// The folder of a mount path.
    pub(super) fn at(&self, path: &str) -> Option<&Path> {
        self.folders.get(path).map(PathBuf::as_path)
    }
}

/// Makes the folders; `None` while a config map or secret is not there, as the kubelet waits for it.
pub(super) fn mount(cluster: &Cluster, pod: &Value, folder: &Path) -> Option<Volumes> {
    let namespace = pod["metadata"]["namespace"].as_str()?;
    let mut made = Volumes::default();
    for mount in pod["spec"]["containers"][0]["volumeMounts"].as_array().into_iter().flatten() {
        let (name, path) = (mount["name"].as_str()?, mount["mountPath"].as_str()?);
        let volumes = pod["spec"]["volumes"].as_array().into_iter().flatten();
        let volume = volumes.clone().find(|volume| volume["name"] == name)?;
        let place = match volume["hostPath"]["path"].as_str() {
            Some(host) => PathBuf::from(host),
            None => folder.join("volumes").join(name),
        };
        fs::create_dir_all(&place).unwrap();
        for (field, plural, key) in
            [("configMap", "configmaps", "name"), ("secret", "secrets", "secretName")]
        {
            let source = &volume[field];
            let Some(object) = source[key].as_str() else { continue };
            let Some(object) = cluster.get(plural, namespace, object) else {
                if source["optional"] == true {
                    continue;
                }
                return None;
            };
            for (key, value) in object["data"].as_object().into_iter().flatten() {
                let value = value.as_str().unwrap();
                let bytes = match field {
                    "secret" => STANDARD.decode(value).unwrap(),
                    _ => value.as_bytes().to_vec(),
                };
                fs::write(place.join(key), bytes).unwrap();
            }
        }
        if volume["emptyDir"].is_object() {
            made.empty.push(place.clone());
        }
        made.folders.insert(path.to_owned(), place);
    }
    Some(made)
}
