//! The catalog in force, replaced while running.
//!
//! The directory is polled by a digest of names and contents, so that every way of changing it is seen: editors, `git
//! pull`, and the symlink swap of a mounted `ConfigMap`. A change takes effect as a whole or not at all: when anything in it
//! is wrong, the last good catalog stays and the mistakes are kept for the UI, the log and the metric.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::civil::Date;
use tokio::sync::watch;

use super::{
    catalog::{Catalog, Shipped},
    diagnostic::Diagnostic,
    source,
};

/// Holds the catalog in force.
#[derive(Debug)]
pub struct Reloader {
    dir: Option<PathBuf>,
    shipped: Shipped,
    current: watch::Sender<Arc<Catalog>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Of the files last looked at, good or bad.
    seen: String,
    errors: Vec<Diagnostic>,
}

/// What a poll found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polled {
    /// The files are as they were.
    Unchanged,
    /// A new catalog is in force.
    Swapped,
    /// The files changed and are wrong; the last good catalog stays. See [`Reloader::errors`].
    Refused,
}

impl Reloader {
    /// Loads a directory for the first time; without one, the shipped playbooks alone.
    pub fn new(
        dir: Option<PathBuf>,
        shipped: Shipped,
        today: Date,
    ) -> Result<Self, Vec<Diagnostic>> {
        let files = match &dir {
            Some(dir) => source::read(dir)?,
            None => Vec::new(),
        };
        let catalog = Catalog::over_shipped(&files, shipped, today)?;
        let state = State { seen: source::digest(&files), errors: Vec::new() };
        let current = watch::Sender::new(Arc::new(catalog));
        Ok(Self { dir, shipped, current, state: Mutex::new(state) })
    }

    /// The catalog in force.
    pub fn current(&self) -> Arc<Catalog> {
        Arc::clone(&self.current.borrow())
    }

    /// Told of every swap.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Catalog>> {
        self.current.subscribe()
    }

    /// What is wrong with the files as they are now; empty when they are in force.
    pub fn errors(&self) -> Vec<Diagnostic> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).errors.clone()
    }

    /// Looks at the directory. Reads files: call it off the async threads.
    pub fn poll(&self, today: Date) -> Polled {
        let Some(dir) = &self.dir else { return Polled::Unchanged };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let files = match source::read(dir) {
            Ok(files) => files,
            Err(errors) if errors == state.errors => return Polled::Unchanged,
            Err(errors) => {
                *state = State { seen: String::new(), errors };
                return Polled::Refused;
            }
        };
        let digest = source::digest(&files);
        if digest == state.seen {
            return Polled::Unchanged;
        }
        match Catalog::over_shipped(&files, self.shipped, today) {
            Ok(catalog) => {
                *state = State { seen: digest, errors: Vec::new() };
                self.current.send_replace(Arc::new(catalog));
                Polled::Swapped
            }
            Err(errors) => {
                *state = State { seen: digest, errors };
                Polled::Refused
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    const DAY: Date = jiff::civil::date(2026, 11, 23);

    fn playbook(name: &str) -> String {
        format!(
            "name: {name}\ntitle: T\nowner: team:x\nmatch: [alertname={name}]\nsteps:\n  - id: a\n    incident.note: {{ text: hi }}\n"
        )
    }

    fn names(reloader: &Reloader) -> Vec<String> {
        reloader.current().playbooks.iter().map(|p| p.name.clone()).collect()
    }

    fn reloader(dir: &std::path::Path) -> Reloader {
        Reloader::new(Some(dir.to_owned()), Shipped::SignaturesOnly, DAY).unwrap()
    }

    #[test]
    fn a_change_swaps_and_a_mistake_keeps_the_last_good() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a.yaml"), playbook("a")).unwrap();
        let reloader = reloader(dir.path());
        let told = reloader.subscribe();
        assert_eq!((reloader.poll(DAY), names(&reloader)), (Polled::Unchanged, vec!["a".into()]));
        fs::write(dir.path().join("b.yaml"), playbook("b")).unwrap();
        assert_eq!(reloader.poll(DAY), Polled::Swapped);
        assert!(told.has_changed().unwrap());
        fs::write(dir.path().join("b.yaml"), "name: [").unwrap();
        fs::remove_file(dir.path().join("a.yaml")).unwrap();
        assert_eq!(reloader.poll(DAY), Polled::Refused);
        assert_eq!(names(&reloader), ["a", "b"], "all or nothing");
        assert_eq!((reloader.poll(DAY), reloader.errors().len()), (Polled::Unchanged, 1));
        fs::write(dir.path().join("b.yaml"), playbook("b")).unwrap();
        assert_eq!(reloader.poll(DAY), Polled::Swapped);
        assert_eq!((names(&reloader), reloader.errors().len()), (vec!["b".into()], 0));
    }

    #[test]
    fn the_symlink_swap_of_a_configmap_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        for (version, name) in [("..v1", "a"), ("..v2", "b")] {
            fs::create_dir(dir.path().join(version)).unwrap();
            fs::write(dir.path().join(version).join("p.yaml"), playbook(name)).unwrap();
        }
        symlink("..v1", dir.path().join("..data")).unwrap();
        symlink("..data/p.yaml", dir.path().join("p.yaml")).unwrap();
        let reloader = reloader(dir.path());
        assert_eq!(names(&reloader), ["a"]);
        symlink("..v2", dir.path().join("..tmp")).unwrap();
        fs::rename(dir.path().join("..tmp"), dir.path().join("..data")).unwrap();
        assert_eq!((reloader.poll(DAY), names(&reloader)), (Polled::Swapped, vec!["b".into()]));
    }

    #[test]
    fn a_directory_that_vanishes_is_told_once_and_heals() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("p");
        fs::create_dir(&inner).unwrap();
        fs::write(inner.join("a.yaml"), playbook("a")).unwrap();
        let reloader = reloader(&inner);
        fs::rename(&inner, dir.path().join("gone")).unwrap();
        assert_eq!((reloader.poll(DAY), reloader.poll(DAY)), (Polled::Refused, Polled::Unchanged));
        assert_eq!(names(&reloader), ["a"]);
        fs::rename(dir.path().join("gone"), &inner).unwrap();
        assert_eq!((reloader.poll(DAY), reloader.errors().len()), (Polled::Swapped, 0));
    }
}
