//! `playbooks:` and `oncall:` where the other files are.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Your playbooks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Playbooks {
    /// A folder, relative to the configuration file; reloaded when it changes. None: the shipped playbooks.
    pub dir: Option<PathBuf>,
}

/// Your people, schedules and policies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OnCall {
    /// A folder or one file, relative to the configuration file; reloaded when it changes. None: one person, `operator`,
    /// paged on the console by the policy `default`.
    pub dir: Option<PathBuf>,
}

/// Makes a path relative to the folder of the configuration file.
pub(super) fn relative_to(folder: &Path, path: &mut Option<PathBuf>) {
    if let Some(path) = path {
        *path = folder.join(&*path);
    }
}
