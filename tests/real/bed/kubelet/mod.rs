//! A mini-kubelet and scheduler: pods of the test's API server become real processes on this machine, and what happens to
//! a process is what its pod's status says.
//!
//! Level-triggered, as the real one: every look compares all pods with all processes. It runs on the story's own thread,
//! so its processes die with the story, even by SIGKILL. It knows the restart policies, grace, and images it cannot pull;
//! it does not know probes, init containers, or more than one container of a pod.

mod image;
mod node;
mod status;
mod volumes;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use paramedic::{
    demo::apiserver::Cluster,
    ops::{clock::Clock, lifecycle::Tasks},
};
use serde_json::Value;

use self::node::Verdict;
pub use self::node::nodes;
use super::process::Process;

/// Between two looks at processes, which say nothing of themselves.
const LOOK: Duration = Duration::from_millis(50);
/// How long a crashed container waits for its restart. The real one starts at 10 s.
const BACK_OFF: Duration = Duration::from_secs(1);

/// A handle; cheap to clone.
#[derive(Clone)]
pub struct Kubelet {
    inner: Arc<Inner>,
}

struct Inner {
    cluster: Cluster,
    clock: Clock,
    /// Where pods have their volumes and logs.
    folder: PathBuf,
    /// The API server, as pods reach it.
    url: String,
    pods: Mutex<BTreeMap<String, Pod>>,
    /// Size of every `emptyDir`, MiB; 0 when only the machine's disk bounds it.
    disk: AtomicU32,
}

/// What the kubelet knows of a pod, by its uid.
struct Pod {
    namespace: String,
    name: String,
    container: String,
    ip: String,
    state: State,
    restarts: u32,
    /// The memory limit is to blame for the next SIGKILL.
    oom: bool,
    /// Evicted: the reason's message.
    evicted: Option<String>,
    /// When grace is over; it has been asked to end.
    deadline: Option<Duration>,
}

enum State {
    /// No node has room.
    Unplaced,
    /// Its image cannot be pulled; how often it was tried.
    NoImage(u32),
    Running(Running),
    /// Starts again at this monotonic time.
    Waiting(Duration),
    Ended,
}

struct Running {
    process: Process,
    started: String,
    log: PathBuf,
    /// How much of the log is with the API server.
    read: u64,
}

impl Kubelet {
    /// Starts to look at the cluster's pods.
    pub fn start(
        tasks: &Tasks,
        clock: &Clock,
        cluster: &Cluster,
        folder: PathBuf,
        url: &str,
    ) -> Self {
        let inner = Inner {
            cluster: cluster.clone(),
            clock: clock.clone(),
            folder,
            url: url.trim_end_matches('/').to_owned(),
            pods: Mutex::default(),
            disk: AtomicU32::new(0),
        };
        let kubelet = Self { inner: Arc::new(inner) };
        let (own, stop) = (kubelet.clone(), tasks.stop().draining.clone());
        tasks.spawn("test.kubelet", async move {
            let mut changes = own.inner.cluster.changes();
            loop {
                changes.mark_unchanged();
                own.look();
                tokio::select! {
                    moved = changes.changed() => moved?,
                    () = own.inner.clock.sleep(LOOK) => {}
                    () = stop.cancelled() => return Ok(()),
                }
            }
        });
        kubelet
    }

    /// Sends a signal to all processes of a running pod: `STOP`, `CONT`, `TERM`, `KILL`.
    pub fn signal(&self, namespace: &str, name: &str, signal: &str) {
        self.with(namespace, name, |pod| match &pod.state {
            State::Running(running) => running.process.signal(signal),
            _ => panic!("pod {name} does not run"),
        });
    }

    /// Kills a running pod as the kernel does when it is over its memory limit.
    pub fn out_of_memory(&self, namespace: &str, name: &str) {
        self.with(namespace, name, |pod| pod.oom = true);
        self.signal(namespace, name, "KILL");
    }

    /// Ends a running pod as a kubelet does that runs out of something: `The node was low on resource: memory.`
    pub fn evict(&self, namespace: &str, name: &str, message: &str) {
        self.with(namespace, name, |pod| pod.evicted = Some(message.to_owned()));
        self.signal(namespace, name, "KILL");
    }

    /// Gives every pod from now on a local disk of so many MiB.
    pub fn small_disks(&self, mib: u32) {
        self.inner.disk.store(mib, Ordering::Relaxed);
    }

    /// Kills everything, at the end of the story.
    pub fn power_off(&self) {
        self.pods().clear();
    }

    /// How many processes run.
    pub fn running(&self) -> usize {
        let pods = self.pods();
        pods.values().filter(|pod| matches!(pod.state, State::Running(_))).count()
    }

    fn with(&self, namespace: &str, name: &str, work: impl FnOnce(&mut Pod)) {
        let mut pods = self.pods();
        let pod = pods.values_mut().find(|pod| pod.namespace == namespace && pod.name == name);
        work(pod.unwrap_or_else(|| panic!("the kubelet has no pod {namespace}/{name}")));
    }

    fn pods(&self) -> MutexGuard<'_, BTreeMap<String, Pod>> {
        self.inner.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look(&self) {
        let objects = self.inner.cluster.list("pods");
        let mut pods = self.pods();
        for object in &objects {
            let uid = object["metadata"]["uid"].as_str().unwrap().to_owned();
            let ended = matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
            if !pods.contains_key(&uid) && !ended {
                pods.insert(uid.clone(), Pod::new(object));
            }
            let Some(pod) = pods.get_mut(&uid) else { continue };
            self.inner.step(pod, object);
        }
        // What is gone from the API is killed: a forced deletion does not wait.
        pods.retain(|uid, _| objects.iter().any(|object| object["metadata"]["uid"] == **uid));
    }
}

impl Pod {
    fn new(object: &Value) -> Self {
        let text =
            |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
        let count = |list: &str| object["spec"][list].as_array().map_or(0, Vec::len);
        let counts = (count("containers"), count("initContainers"));
        assert_eq!(
            counts,
            (1, 0),
            "the kubelet runs pods of one container, without init containers"
        );
        Self {
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name"),
            container: text("/spec/containers/0/name"),
            ip: super::ports::address(),
            state: State::Unplaced,
            restarts: 0,
            oom: false,
            evicted: None,
            deadline: None,
        }
    }
}

impl Inner {
    /// One look at one pod.
    fn step(&self, pod: &mut Pod, object: &Value) {
        let leaving = !object["metadata"]["deletionTimestamp"].is_null();
        if leaving && !matches!(pod.state, State::Running(_)) {
            pod.state = State::Ended;
            self.cluster.delete("pods", &pod.namespace, &pod.name);
            return;
        }
        let now = self.clock.monotonic();
        match &pod.state {
            State::Unplaced => self.place(pod, object),
            State::NoImage(tries) => {
                let tries = *tries;
                self.pull(pod, object, tries);
            }
            State::Waiting(until) if *until <= now => self.begin(pod, object),
            State::Waiting(_) | State::Ended => {}
            State::Running(_) => {
                if leaving {
                    self.ask_to_end(pod, object);
                }
                self.watch(pod, object);
            }
        }
    }

    fn place(&self, pod: &mut Pod, object: &Value) {
        match node::choose(&self.cluster, object) {
            Verdict::Fits(node) => {
                status::placed(&self.cluster, pod, &node);
                self.event(
                    pod,
                    "Normal",
                    "Scheduled",
                    &format!("Successfully assigned {}/{} to {node}", pod.namespace, pod.name),
                );
                self.pull(pod, object, 0);
            }
            Verdict::No(why) => {
                if status::unplaced(&self.cluster, pod, &why) {
                    self.event(pod, "Warning", "FailedScheduling", &why);
                }
            }
        }
    }

    fn pull(&self, pod: &mut Pod, object: &Value, tries: u32) {
        let name = object["spec"]["containers"][0]["image"].as_str().unwrap();
        if image::Image::find(name).is_some() {
            self.event(
                pod,
                "Normal",
                "Pulled",
                &format!("Container image \"{name}\" already present on machine"),
            );
            return self.begin(pod, object);
        }
        let why = format!(
            "Failed to pull image \"{name}\": failed to resolve reference \"{name}\": {name}: not found"
        );
        match tries {
            0 => {
                self.event(pod, "Normal", "Pulling", &format!("Pulling image \"{name}\""));
                self.event(pod, "Warning", "Failed", &why);
                self.event(pod, "Warning", "Failed", "Error: ErrImagePull");
                status::waiting(&self.cluster, pod, "ErrImagePull", &why);
            }
            1 => {
                let back_off = format!("Back-off pulling image \"{name}\"");
                self.event(pod, "Normal", "BackOff", &back_off);
                self.event(pod, "Warning", "Failed", "Error: ImagePullBackOff");
                status::waiting(&self.cluster, pod, "ImagePullBackOff", &back_off);
            }
            _ => {}
        }
        pod.state = State::NoImage((tries + 1).min(2));
    }

    fn begin(&self, pod: &mut Pod, object: &Value) {
        let folder = self.folder.join(format!("{}-{}", pod.namespace, pod.name));
        std::fs::create_dir_all(&folder).unwrap();
        let Some(volumes) = volumes::mount(&self.cluster, object, &folder) else {
            status::waiting(&self.cluster, pod, "ContainerCreating", "");
            return;
        };
        status::waiting(&self.cluster, pod, "ContainerCreating", "");
        self.event(pod, "Normal", "Created", &format!("Created container: {}", pod.container));
        let mut command = image::command(&self.cluster, object, &pod.ip, &self.url, &volumes);
        command.current_dir(&folder);
        let disk = self.disk.load(Ordering::Relaxed);
        if let (true, Some(local)) = (disk > 0, volumes.empty_dir()) {
            command = super::chaos::with_small_disk(&command, local, disk);
        }
        let log = folder.join(format!("{}.log", pod.restarts));
        let process = Process::start(&pod.name, &mut command, log.clone());
        let started = status::now(&self.clock);
        status::running(&self.cluster, pod, &started);
        self.event(pod, "Normal", "Started", &format!("Started container {}", pod.container));
        pod.state = State::Running(Running { process, started, log, read: 0 });
    }

    fn ask_to_end(&self, pod: &mut Pod, object: &Value) {
        let now = self.clock.monotonic();
        let State::Running(running) = &pod.state else { return };
        match pod.deadline {
            None => {
                running.process.signal("TERM");
                let seconds =
                    object["metadata"]["deletionGracePeriodSeconds"].as_u64().unwrap_or(30);
                pod.deadline = Some(now + Duration::from_secs(seconds));
                self.event(
                    pod,
                    "Normal",
                    "Killing",
                    &format!("Stopping container {}", pod.container),
                );
            }
            Some(deadline) if deadline <= now => running.process.signal("KILL"),
            Some(_) => {}
        }
    }

    fn watch(&self, pod: &mut Pod, object: &Value) {
        let State::Running(running) = &mut pod.state else { return };
        let exit = running.process.exit_code();
        // Once more after the end: the last lines are often the only ones that matter.
        let (log, ended) = (running.log.clone(), exit.is_some());
        let lines = super::process::new_lines(&log, &mut running.read, ended);
        if !lines.is_empty() {
            let now = self.clock.now();
            self.cluster.log(&pod.namespace, &pod.name, &pod.container, now, &lines);
        }
        let Some(code) = exit else { return };
        let started = running.started.clone();
        let ended = status::Ended {
            code,
            reason: match (code, pod.oom) {
                (137, true) => "OOMKilled",
                (0, _) => "Completed",
                _ => "Error",
            },
            started,
            finished: status::now(&self.clock),
        };
        pod.oom = false;
        let policy = object["spec"]["restartPolicy"].as_str().unwrap_or("Always");
        let again = match policy {
            "Always" => true,
            "OnFailure" => code != 0,
            _ => false,
        };
        let leaving = !object["metadata"]["deletionTimestamp"].is_null();
        if again && !leaving && pod.evicted.is_none() {
            pod.restarts += 1;
            self.cluster.rotate_log(&pod.namespace, &pod.name, &pod.container);
            status::restarts(&self.cluster, pod, &ended);
            self.event(
                pod,
                "Warning",
                "BackOff",
                &format!(
                    "Back-off restarting failed container {} in pod {}",
                    pod.container, pod.name
                ),
            );
            pod.state = State::Waiting(self.clock.monotonic() + BACK_OFF);
            return;
        }
        status::ended(&self.cluster, pod, &ended);
        if let Some(message) = &pod.evicted {
            self.event(pod, "Warning", "Evicted", message);
        }
        pod.state = State::Ended;
        if leaving {
            // The watchers have seen it fail; now it goes.
            self.cluster.delete("pods", &pod.namespace, &pod.name);
        }
    }

    fn event(&self, pod: &Pod, kind: &str, reason: &str, message: &str) {
        status::event(&self.cluster, &self.clock, pod, kind, reason, message);
    }
}
