//! Asking the API server what we, or a service account, may do.

use axum::http;
use serde_json::{Value, json};

use super::{Access, Client};
use crate::clients::Result;

/// One permission in question.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Asked {
    /// `get`, `list`, `create`.
    pub verb: String,
    /// API group; "" is the core group.
    pub group: String,
    /// Resource, with its subresource: `pods/log`.
    pub resource: String,
    /// Namespace; empty for the whole cluster.
    pub namespace: String,
    /// One object; empty for all.
    pub name: String,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// It may.
    pub allowed: bool,
    /// Why, in the server's words; often empty.
    pub reason: String,
}

impl Asked {
    /// `list pods`, `get sparkapplications.sparkoperator.k8s.io`.
    pub fn what(&self) -> String {
        let dot = if self.group.is_empty() { String::new() } else { format!(".{}", self.group) };
        let name = if self.name.is_empty() { String::new() } else { format!(" {}", self.name) };
        format!("{} {}{dot}{name}", self.verb, self.resource)
    }

    /// `list pods in namespace spark-prod`, `get nodes in the whole cluster`.
    pub fn label(&self) -> String {
        let place = match self.namespace.as_str() {
            "" => "the whole cluster".to_owned(),
            namespace => format!("namespace {namespace}"),
        };
        format!("{} in {place}", self.what())
    }

    fn attributes(&self) -> Value {
        let (resource, sub) = self.resource.split_once('/').unwrap_or((&self.resource, ""));
        json!({ "verb": self.verb, "group": self.group, "resource": resource, "subresource": sub,
            "namespace": self.namespace, "name": self.name })
    }
}

impl Client {
    /// May we? A `SelfSubjectAccessReview`, which every account may ask for.
    pub async fn may_we(&self, asked: &Asked) -> Result<Answered> {
        let body = json!({ "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": { "resourceAttributes": asked.attributes() } });
        self.review("selfsubjectaccessreviews", "", &body, asked).await
    }

    /// May this service account, in the namespace it is asked about? A `LocalSubjectAccessReview`, which needs a
    /// permission of its own.
    pub async fn may_account(&self, account: (&str, &str), asked: &Asked) -> Result<Answered> {
        let (namespace, name) = account;
        let user = format!("system:serviceaccount:{namespace}:{name}");
        let groups = json!([
            "system:serviceaccounts",
            format!("system:serviceaccounts:{namespace}"),
            "system:authenticated"
        ]);
        let spec =
            json!({ "user": user, "groups": groups, "resourceAttributes": asked.attributes() });
        let body = json!({ "apiVersion": "authorization.k8s.io/v1", "kind": "LocalSubjectAccessReview",
            "metadata": { "namespace": asked.namespace }, "spec": spec });
        self.review("localsubjectaccessreviews", &asked.namespace, &body, asked).await
    }

    async fn review(
        &self,
        resource: &str,
        namespace: &str,
        body: &Value,
        asked: &Asked,
    ) -> Result<Answered> {
        let operation = format!("ask whether it may {}", asked.label());
        let group = "authorization.k8s.io";
        let place = match namespace {
            "" => super::path(&["apis", group, "v1", resource], &operation)?,
            namespace => {
                super::path(&["apis", group, "v1", "namespaces", namespace, resource], &operation)?
            }
        };
        let access = Access { verb: "create", group, resource, namespace };
        let request =
            http::Request::post(place).header(http::header::CONTENT_TYPE, "application/json");
        let answer: Value = self
            .ask(request, body.to_string().into_bytes(), &operation, &access, super::MAX_BYTES)
            .await?
            .json(&operation)?;
        let status = &answer["status"];
        let said = [&status["reason"], &status["evaluationError"]];
        let said = said.iter().filter_map(|v| v.as_str()).find(|text| !text.is_empty());
        Ok(Answered {
            allowed: status["allowed"] == Value::Bool(true)
                && status["denied"] != Value::Bool(true),
            reason: super::one_line(said.unwrap_or_default(), 300),
        })
    }
}
