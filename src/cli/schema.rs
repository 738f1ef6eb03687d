//! `paramedic schema`: JSON Schemas of what people write, generated from the types that read it.
//!
//! The same are committed under `docs/reference/`; a test fails when they drift.

use std::{collections::BTreeSet, io::Write, process::ExitCode};

use serde_json::Value;

use crate::{
    domain::signature::spec,
    playbook::{cassette, raw::RawPlaybook},
};

/// Prints a JSON Schema for your editor.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Of which kind of file.
    #[arg(value_enum)]
    pub kind: Kind,
}

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// `playbooks/*.yaml`.
    Playbook,
    /// `signatures/*.yaml`.
    Signatures,
    /// `playbooks/*.test.yaml`.
    Test,
}

/// Runs it.
pub fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    out.write_all(schema(args.kind)?.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// The schema, as it is committed.
pub fn schema(kind: Kind) -> anyhow::Result<String> {
    let schema = match kind {
        Kind::Playbook => schemars::schema_for!(RawPlaybook),
        Kind::Signatures => schemars::schema_for!(spec::File),
        Kind::Test => schemars::schema_for!(cassette::File),
    };
    let mut schema = schema.to_value();
    prune(&mut schema);
    Ok(format!("{}\n", serde_json::to_string_pretty(&schema)?))
}

/// Drops definitions nothing refers to: listing the step kinds also registers their outputs.
fn prune(schema: &mut Value) {
    let mut wanted = BTreeSet::new();
    let mut root = schema.clone();
    let definitions = root.as_object_mut().and_then(|root| root.remove("$defs"));
    let Some(Value::Object(definitions)) = definitions else { return };
    let mut next = vec![&root];
    while let Some(value) = next.pop() {
        match value {
            Value::Object(map) => {
                if let Some(name) = map.get("$ref").and_then(Value::as_str)
                    && let Some(name) = name.strip_prefix("#/$defs/")
                    && wanted.insert(name.to_owned())
                {
                    next.extend(definitions.get(name));
                }
                next.extend(map.values());
            }
            Value::Array(items) => next.extend(items),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    if let Some(Value::Object(all)) = schema.get_mut("$defs") {
        all.retain(|name, _| wanted.contains(name));
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn the_committed_schemas_are_those_of_the_types() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference");
        for (kind, name) in
            [(Kind::Playbook, "playbook"), (Kind::Signatures, "signatures"), (Kind::Test, "test")]
        {
            let path = dir.join(format!("{name}.schema.json"));
            let committed = fs::read_to_string(&path).unwrap_or_default();
            assert!(
                committed == schema(kind).unwrap(),
                "{name}.schema.json is not up to date: paramedic schema {name} > docs/reference/{name}.schema.json"
            );
        }
    }

    #[test]
    fn every_step_kind_is_in_the_playbook_schema_with_its_documentation() {
        let schema: Value = serde_json::from_str(&schema(Kind::Playbook).unwrap()).unwrap();
        let step = &schema["$defs"]["Step"]["properties"];
        for kind in crate::steps::KINDS {
            assert!(step.get(kind).is_some(), "{kind}");
        }
        let text = schema.to_string();
        for reference in text.split("\"#/$defs/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(schema["$defs"].get(name).is_some(), "{name} is not defined");
        }
    }
}
