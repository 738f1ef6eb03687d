//! Files that are reloaded while running: what is wrong with them, where people look.
//!
//! A bad edit keeps the last good files in force, so nothing fails: it must be said. Every page of the UI shows it, and an
//! incident that pages nobody carries it to the chat; it resolves when the files are right again, also after a restart.

use std::{collections::BTreeMap, sync::Arc};

use super::{Engine, alarm::Alarm};

/// What is wrong now, by what is wrong (`playbooks`, `on-call files`).
pub type WrongFiles = BTreeMap<&'static str, String>;

impl Engine {
    /// Takes the result of a look at `what`; "" when it is right. Cheap when nothing changed. An error means that it could not
    /// be said in the store; call it again with the next look.
    pub async fn files_are(&self, what: &'static str, errors: &str) -> anyhow::Result<()> {
        let known = self.wrong_files.get();
        let before = known.get(what).map(String::as_str);
        if before == Some(errors) {
            return Ok(());
        }
        let alarm = Alarm::wrong_files(what, errors);
        match errors {
            "" => self.put_right(&alarm).await?,
            _ => self.self_alarm(&alarm).await?,
        }
        let mut files = (*known).clone();
        files.insert(what, errors.to_owned());
        self.wrong_files.set(Arc::new(files));
        Ok(())
    }
}
