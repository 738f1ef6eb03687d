//! What a container does: the command that the image's entry point would run, as a process of this machine.

use std::{collections::BTreeMap, path::PathBuf, process::Command};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use paramedic::demo::apiserver::Cluster;
use serde_json::Value;

use super::{super::spark, volumes::Volumes};

/// An image that can be pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Image {
    /// `spark:3…`, `spark:4…`: Spark with Python.
    Spark(spark::Version),
    /// `busybox…`: the machine's own programs.
    Tools,
}

impl Image {
    pub(super) fn find(name: &str) -> Option<Self> {
        let name = name.rsplit('/').next()?;
        if name.starts_with("busybox") {
            return Some(Self::Tools);
        }
        spark::Version::ALL.into_iter().find(|v| name == v.image()).map(Self::Spark)
    }
}

/// The process of a pod's container.
pub(super) fn command(
    cluster: &Cluster,
    pod: &Value,
    ip: &str,
    api: &str,
    volumes: &Volumes,
) -> Command {
    let container = &pod["spec"]["containers"][0];
    let variables = variables(cluster, pod, ip, volumes);
    let list = |field: &str| -> Vec<String> {
        let items = container[field].as_array().into_iter().flatten();
        items.map(|item| volumes.rewrite(item.as_str().unwrap())).collect()
    };
    let mut words = list("command");
    words.extend(list("args"));
    let image = Image::find(container["image"].as_str().unwrap()).expect("it was pulled");
    let mut command = match image {
        Image::Tools => {
            let mut command = Command::new(words.first().map_or("true", String::as_str));
            command.args(words.iter().skip(1));
            command
        }
        Image::Spark(version) => match words.first().map(String::as_str) {
            Some("driver") => driver(version, &words[1..], &variables, ip, api),
            Some("executor") => executor(version, &variables, ip, volumes),
            _ => panic!("the Spark image has no entry point for {words:?}"),
        },
    };
    command.envs(variables);
    command
}

/// `spark-submit` in client mode, as the entry point calls it. Names of services do not resolve here, so the driver is
/// called by its address, and the API server by its own.
fn driver(
    version: spark::Version,
    arguments: &[String],
    variables: &BTreeMap<String, String>,
    ip: &str,
    api: &str,
) -> Command {
    let mut command = Command::new(spark::home(version).join("bin/spark-submit"));
    image_environment(&mut command, version, ip);
    let bind = variables.get("SPARK_DRIVER_BIND_ADDRESS").map_or(ip, String::as_str);
    for setting in [
        format!("spark.driver.bindAddress={bind}"),
        format!("spark.driver.host={bind}"),
        format!("spark.executorEnv.SPARK_DRIVER_POD_IP={bind}"),
        format!("spark.kubernetes.driver.master={api}"),
    ] {
        command.args(["--conf", &setting]);
    }
    command.args(["--deploy-mode", "client"]).args(arguments);
    command
}

/// The executor's JVM, as the entry point calls it.
fn executor(
    version: spark::Version,
    variables: &BTreeMap<String, String>,
    ip: &str,
    volumes: &Volumes,
) -> Command {
    let value =
        |name: &str| variables.get(name).unwrap_or_else(|| panic!("no variable {name}")).as_str();
    let mut command = Command::new("java");
    image_environment(&mut command, version, ip);
    let number =
        |name: &str| name.strip_prefix("SPARK_JAVA_OPT_").and_then(|n| n.parse::<u32>().ok());
    let mut options: Vec<(u32, &String)> =
        variables.iter().filter_map(|(name, value)| Some((number(name)?, value))).collect();
    options.sort();
    command.args(options.into_iter().map(|(_, option)| option));
    let memory = value("SPARK_EXECUTOR_MEMORY");
    let mut classes = vec![spark::home(version).join("jars/*")];
    classes.extend(volumes.at("/opt/spark/conf").map(PathBuf::from));
    let classes: Vec<String> = classes.iter().rev().map(|c| c.display().to_string()).collect();
    command.arg(format!("-Xms{memory}")).arg(format!("-Xmx{memory}"));
    command.args(["-cp", &classes.join(":")]);
    command.arg("org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend");
    for (option, name) in [
        ("--driver-url", "SPARK_DRIVER_URL"),
        ("--executor-id", "SPARK_EXECUTOR_ID"),
        ("--cores", "SPARK_EXECUTOR_CORES"),
        ("--app-id", "SPARK_APPLICATION_ID"),
        ("--hostname", "SPARK_EXECUTOR_POD_IP"),
        ("--resourceProfileId", "SPARK_RESOURCE_PROFILE_ID"),
        ("--podName", "SPARK_EXECUTOR_POD_NAME"),
    ] {
        command.args([option, value(name)]);
    }
    command
}

/// What the image itself sets, and what keeps the process on its own loopback address.
fn image_environment(command: &mut Command, version: spark::Version, ip: &str) {
    let python = version.venv().join("bin/python");
    command
        .env("SPARK_HOME", spark::home(version))
        .env("PYSPARK_PYTHON", &python)
        .env("PYSPARK_DRIVER_PYTHON", &python)
        .env("SPARK_LOCAL_IP", ip)
        .env("SPARK_LOCAL_HOSTNAME", ip)
        .env("SPARK_PUBLIC_DNS", ip)
        .env("KUBECONFIG", "/dev/null");
}

/// The container's environment, with paths of mounts rewritten.
fn variables(
    cluster: &Cluster,
    pod: &Value,
    ip: &str,
    volumes: &Volumes,
) -> BTreeMap<String, String> {
    let namespace = pod["metadata"]["namespace"].as_str().unwrap();
    let list = pod["spec"]["containers"][0]["env"].as_array().into_iter().flatten();
    list.map(|variable| {
        let name = variable["name"].as_str().unwrap().to_owned();
        let from = &variable["valueFrom"];
        let value = if let Some(path) = from["fieldRef"]["fieldPath"].as_str() {
            match path {
                "status.podIP" => ip.to_owned(),
                "status.hostIP" => "127.0.0.1".to_owned(),
                _ => {
                    let pointer = format!("/{}", path.replace('.', "/"));
                    let found = pod.pointer(&pointer).and_then(Value::as_str);
                    found.unwrap_or_else(|| panic!("no field {path}")).to_owned()
                }
            }
        } else if from["configMapKeyRef"].is_object() || from["secretKeyRef"].is_object() {
            reference(cluster, namespace, from)
        } else {
            variable["value"].as_str().unwrap_or_default().to_owned()
        };
        (name, volumes.rewrite(&value))
    })
    .collect()
}

fn reference(cluster: &Cluster, namespace: &str, from: &Value) -> String {
    let (plural, source) = match &from["configMapKeyRef"] {
        Value::Null => ("secrets", &from["secretKeyRef"]),
        source => ("configmaps", source),
    };
    let (name, key) = (source["name"].as_str().unwrap(), source["key"].as_str().unwrap());
    let object = cluster.get(plural, namespace, name);
    let value = object.as_ref().and_then(|object| object["data"][key].as_str());
    let value = value.unwrap_or_else(|| panic!("no key {key} in {plural}/{name}"));
    match plural {
        "secrets" => String::from_utf8(STANDARD.decode(value).unwrap()).unwrap(),
        _ => value.to_owned(),
    }
}
