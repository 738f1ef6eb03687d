//! `hive.*`: the Hive Metastore and the database behind it.

pub mod database;
pub mod metastore;

use super::{Context, Failure};
use crate::domain::{target::Target, template::Input};

/// The name that is meant when neither the playbook nor the target says one.
const DEFAULT_NAME: &str = "main";

/// The metastore that is meant: the playbook's, else the target's, else `main`.
fn metastore_name(name: Option<&Input<String>>, context: &Context<'_>) -> Result<String, Failure> {
    match (name, context.target) {
        (Some(name), _) => Ok(name.fill(context.scope)?),
        (None, Some(Target::Metastore(target))) => Ok(target.name.clone()),
        (None, Some(Target::SparkApp(_) | Target::Pod(_)) | None) => Ok(DEFAULT_NAME.to_owned()),
    }
}
