//! A real S3 protocol: moto's server, from the Python index. It keeps buckets in memory and does not check signatures.

use std::process::Command;

use super::{Bed, ports, process::Process, venv};

/// A running moto.
pub struct Moto {
    /// `http://127.0.0.1:port`.
    pub url: String,
    /// Its process, to freeze and to kill.
    pub process: Process,
}

impl Moto {
    /// Starts one and waits until it answers.
    pub async fn start(bed: &Bed) -> Self {
        let port = ports::free();
        let url = format!("http://127.0.0.1:{port}");
        let mut command = Command::new(venv("moto").join("bin/python"));
        command.arg(venv("moto").join("bin/moto_server"));
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        let mut process = Process::start("moto", &mut command, bed.folder("moto").join("log"));
        let ready = format!("{url}/moto-api/");
        process.until_ready(async || bed.get(&ready).await.filter(|r| r.status == 200)).await;
        Self { url, process }
    }
}
