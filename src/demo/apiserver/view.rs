//! In what form objects are shown: whole, as the table kubectl prints, or their metadata only.

use axum::http::{HeaderMap, header};
use serde_json::{Value, json};

use super::{Parameters, convert, discovery::Resource, parameter, status::Failure, table};
use jiff::Timestamp;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Whole,
    Table,
    Metadata,
}

/// The form a client asks for in `Accept`; the first one that is known counts.
#[derive(Clone, Debug)]
pub(super) struct View {
    resource: &'static Resource,
    form: Form,
    /// What a table's row has of its object: `Metadata`, `Object`, `None`.
    include: String,
    now: Timestamp,
}

impl View {
    pub(super) fn new(
        headers: &HeaderMap,
        parameters: &Parameters,
        resource: &'static Resource,
        now: Timestamp,
    ) -> Result<Self, Failure> {
        let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or("*/*");
        let form = accept.split(',').find_map(|kind| {
            let mut parts = kind.split(';').map(str::trim);
            if !matches!(parts.next()?, "application/json" | "application/*" | "*/*") {
                return None;
            }
            let options: Vec<&str> = parts.collect();
            let is = |option: &str| options.contains(&option);
            match options.iter().find_map(|option| option.strip_prefix("as=")) {
                None => Some(Form::Whole),
                Some("Table") if is("g=meta.k8s.io") && is("v=v1") => Some(Form::Table),
                Some("PartialObjectMetadata" | "PartialObjectMetadataList")
                    if is("g=meta.k8s.io") && is("v=v1") =>
                {
                    Some(Form::Metadata)
                }
                Some(_) => None,
            }
        });
        let form = form.ok_or_else(|| {
            let why = "only the following media types are accepted: application/json";
            Failure::new(406, "NotAcceptable", why)
        })?;
        Ok(Self { resource, form, include: parameter(parameters, "includeObject").to_owned(), now })
    }

    /// One object.
    pub(super) fn one(&self, object: &Value) -> Value {
        match self.form {
            Form::Whole => convert::out(self.resource, object),
            Form::Table => self.table(&[object], &object["metadata"]["resourceVersion"]),
            Form::Metadata => partial(object),
        }
    }

    /// A list with its `metadata`.
    pub(super) fn list(&self, items: &[&Value], metadata: Value) -> Value {
        match self.form {
            Form::Whole => json!({
                "kind": format!("{}List", self.resource.kind), "apiVersion": self.resource.api_version(),
                "metadata": metadata,
                "items": items.iter().map(|o| convert::out(self.resource, o)).collect::<Vec<_>>(),
            }),
            Form::Table => {
                let mut table = self.table(items, &Value::Null);
                table["metadata"] = metadata;
                table
            }
            Form::Metadata => json!({
                "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
                "items": items.iter().map(|object| partial(object)).collect::<Vec<_>>(),
            }),
        }
    }

    fn table(&self, items: &[&Value], version: &Value) -> Value {
        let (columns, rows) = table::rows(self.resource, items, self.now);
        let rows: Vec<Value> = rows
            .into_iter()
            .zip(items)
            .map(|(cells, object)| match self.include.as_str() {
                "None" => json!({ "cells": cells }),
                "Object" => {
                    json!({ "cells": cells, "object": convert::out(self.resource, object) })
                }
                _ => json!({ "cells": cells, "object": partial(object) }),
            })
            .collect();
        json!({
            "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": { "resourceVersion": version },
            "columnDefinitions": columns, "rows": rows,
        })
    }
}

fn partial(object: &Value) -> Value {
    json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"] })
}
