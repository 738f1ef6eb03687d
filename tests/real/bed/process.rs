//! One server process with all its children: started in a process group of its own, its output in a file, killed as a
//! group when it is dropped, on panic too.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use super::until;

/// A running server.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with its output in `log`. The kernel kills it when the starting thread dies.
    pub fn start(name: &str, command: &mut Command, log: PathBuf) -> Self {
        let mut out = File::options().create(true).append(true).open(&log).unwrap();
        out.seek(SeekFrom::End(0)).unwrap();
        let mut guarded = Command::new(super::program("/usr/bin/setpriv"));
        guarded.args(["--pdeathsig", "KILL"]).arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            guarded.env(key, value.expect("a bed only sets variables"));
        }
        if let Some(folder) = command.get_current_dir() {
            guarded.current_dir(folder);
        }
        let child = guarded
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self { name: name.to_owned(), child, log }
    }

    /// Waits until `look` sees it ready. Fails at once, with its last output, when it ended instead.
    pub async fn until_ready<T>(&mut self, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        let name = self.name.clone();
        until(&format!("{name} is ready\n{}", self.log.display()), super::READY, async || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("{name} ended with {status} instead of getting ready");
            }
            look().await
        })
        .await
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Stops all its threads where they are, as a hypervisor or a long garbage collection does.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// Kills it with all its children, at once.
    pub fn kill(&mut self) -> ExitStatus {
        self.signal("KILL");
        self.child.wait().unwrap()
    }

    /// Waits until it ends by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        let what = format!("{} ends", self.name);
        until(&what, super::READY, async || child.try_wait().unwrap()).await
    }

    /// Asks it to end with `signal`, and waits for it.
    pub async fn stop(&mut self, signal: &str) -> ExitStatus {
        kill(signal, &self.child.id().to_string());
        self.ended().await
    }

    /// What it has written so far.
    pub fn output(&self) -> String {
        read(&self.log)
    }

    /// The whole lines it has written since `from`, which moves on.
    pub fn news(&self, from: &mut u64) -> String {
        new_lines(&self.log, from, false)
    }

    /// The exit code as a container runtime gives it (128 and the signal's number after a signal); `None` while it runs.
    pub fn exit_code(&mut self) -> Option<i32> {
        let status = self.child.try_wait().unwrap()?;
        status.code().or_else(|| status.signal().map(|signal| 128 + signal))
    }

    /// Sends a signal to it and all its children.
    pub fn signal(&self, signal: &str) {
        kill(signal, &format!("-{}", self.child.id()));
    }
}

impl Drop for Process {
    #[allow(clippy::print_stdout, reason = "the story has failed; this is why")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let output = self.output();
            let lines: Vec<&str> = output.lines().collect();
            let last = &lines[lines.len().saturating_sub(40)..];
            println!("--- the last output of {}:\n{}", self.name, last.join("\n"));
        }
        // Children may be left although the leader is gone; a group that is gone too is fine.
        self.signal("KILL");
        drop(self.child.wait());
    }
}

/// Sends a signal to a process, or with a leading minus to a group.
pub fn kill(signal: &str, target: &str) {
    let script = format!("kill -s {signal} -- {target} 2>/dev/null");
    let status = Command::new("/bin/sh").args(["-c", &script]).status().unwrap();
    // 1: there is no such process any more.
    assert!(matches!(status.code(), Some(0 | 1)), "`{script}` ended with {status}");
}

/// Ids of processes whose command line holds all of `parts`.
pub fn find(parts: &[&str]) -> Vec<String> {
    let mut found = vec![];
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let id = entry.file_name().to_string_lossy().into_owned();
        if !id.bytes().all(|b| b.is_ascii_digit()) {
            continue;
        }
        // A process may end while we look.
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if parts.iter().all(|part| line.contains(part)) {
            found.push(id);
        }
    }
    found
}

/// Runs a short command to its end, and gives its output.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// What was written since the last look: whole lines, or all of it when there comes no more.
pub fn new_lines(path: &Path, from: &mut u64, all: bool) -> String {
    let mut file = File::open(path).unwrap();
    file.seek(SeekFrom::Start(*from)).unwrap();
    let mut bytes = vec![];
    file.read_to_end(&mut bytes).unwrap();
    if !all {
        bytes.truncate(bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1));
    }
    *from += bytes.len() as u64;
    String::from_utf8_lossy(&bytes).into_owned()
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}
