//! `s3.*`: buckets of the cluster's configuration.

pub mod health;
pub mod prefix;

use super::{Context, Failure};
use crate::{
    clients::{one_line, s3::Client},
    domain::template::Input,
};

/// The name that is meant when the playbook says none and there are several.
const DEFAULT_NAME: &str = "main";

/// The bucket that is meant: the named one, else the only one, else `main`; or why the step is skipped.
fn bucket<'a>(
    context: &Context<'a>,
    name: Option<&Input<String>>,
) -> Result<(String, &'a Client), Failure> {
    let cluster = context.cluster()?;
    let name = match (name, cluster.buckets.len()) {
        (Some(name), _) => name.fill(context.scope)?,
        (None, 1) => cluster.buckets.keys().next().cloned().unwrap_or_default(),
        (None, _) => DEFAULT_NAME.to_owned(),
    };
    let Some(client) = cluster.buckets.get(&name) else {
        let known: Vec<&str> = cluster.buckets.keys().map(String::as_str).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(Failure::Skipped(format!(
            "cluster {} has no bucket named `{}` under `s3:` (configured: {known})",
            cluster.name,
            one_line(&name, 80),
        )));
    };
    Ok((name, client))
}
