//! Hurting an application on the story's cluster, one named way each.

use std::{fs, path::Path, process::Command};

use serde_json::json;

use super::cluster::{Cluster, NAMESPACE};

impl Cluster {
    /// The pod of a running executor.
    pub fn executor(&self, id: u32) -> String {
        let (pods, id) = (self.api.list("pods"), id.to_string());
        let own = pods.iter().find(|pod| pod["metadata"]["labels"]["spark-exec-id"] == id.as_str());
        let own = own.unwrap_or_else(|| panic!("there is no executor {id}"));
        own["metadata"]["name"].as_str().unwrap().to_owned()
    }

    /// SIGKILL: the container ends with 137 and the reason `Error`.
    pub fn kill_executor(&self, id: u32) {
        self.kubelet.signal(NAMESPACE, &self.executor(id), "KILL");
    }

    /// SIGKILL by the kernel over the memory limit: 137 and the reason `OOMKilled`.
    pub fn oom_executor(&self, id: u32) {
        self.kubelet.out_of_memory(NAMESPACE, &self.executor(id));
    }

    /// Evicted by its node: the phase `Failed`, the reason `Evicted`.
    pub fn evict_executor(&self, id: u32) {
        let why =
            "The node was low on resource: memory. Threshold quantity: 100Mi, available: 88Mi. ";
        self.kubelet.evict(NAMESPACE, &self.executor(id), why);
    }

    /// All its threads stand still, as in an endless garbage collection, until [`Self::thaw_executor`].
    pub fn freeze_executor(&self, id: u32) {
        self.kubelet.signal(NAMESPACE, &self.executor(id), "STOP");
    }

    /// It goes on.
    pub fn thaw_executor(&self, id: u32) {
        self.kubelet.signal(NAMESPACE, &self.executor(id), "CONT");
    }

    /// Deletes a pod as a person does, with its grace.
    pub async fn delete_pod(&self, name: &str) {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{name}");
        let answer = self.call("DELETE", &path, None).await;
        assert_eq!(answer.0, 200, "{}", answer.1);
    }

    /// Deletes what a running executor wrote for others to read, as a broken disk or a cleaner of `/tmp` does.
    pub fn lose_shuffle_files(&self, id: u32) {
        let pod = format!("{NAMESPACE}-{}", self.executor(id));
        let lost = delete(&self.folder.join("pods").join(pod), "shuffle_");
        assert!(lost > 0, "executor {id} has written nothing yet");
    }

    /// Limits the namespace: `[("limits.memory", "1Gi")]`.
    pub fn quota(&self, hard: &[(&str, &str)]) {
        let hard: serde_json::Map<_, _> =
            hard.iter().map(|(item, limit)| ((*item).to_owned(), json!(limit))).collect();
        let quota = json!({
            "apiVersion": "v1", "kind": "ResourceQuota",
            "metadata": { "name": "compute-quota", "namespace": NAMESPACE }, "spec": { "hard": hard },
        });
        self.api.put(quota).unwrap();
    }
}

/// The same command with a folder of its own file system of so many MiB, which nobody else sees and which ends with it.
pub fn with_small_disk(command: &Command, folder: &Path, mib: u32) -> Command {
    let mut small = Command::new(super::program("/usr/bin/unshare"));
    let root = super::process::run(Command::new("id").arg("-u")).trim() == "0";
    small.args(if root { &["--mount"][..] } else { &["--mount", "--map-root-user"] });
    let script = "mount -t tmpfs -o size=$0m tmpfs \"$1\" && shift && exec \"$@\"";
    small.args(["sh", "-c", script, &mib.to_string()]).arg(folder);
    small.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        small.env(name, value.expect("a bed only sets variables"));
    }
    if let Some(folder) = command.get_current_dir() {
        small.current_dir(folder);
    }
    small
}

/// Deletes every file below a folder whose name begins so; how many.
fn delete(folder: &Path, prefix: &str) -> usize {
    let mut deleted = 0;
    for entry in fs::read_dir(folder).unwrap().flatten() {
        // A temporary file may go while we look.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            deleted += delete(&entry.path(), prefix);
        } else if entry.file_name().to_string_lossy().starts_with(prefix) {
            fs::remove_file(entry.path()).unwrap();
            deleted += 1;
        }
    }
    deleted
}
