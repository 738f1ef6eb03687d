//! Who calls, and whether they may: bearer tokens, and RBAC rules evaluated as the real server does.
//!
//! A cluster without tokens lets everybody do everything, as the demo and most tests want it. With the first token
//! ([`Cluster::token`]) authentication and RBAC are on: no token is `system:anonymous`, a wrong one is 401.

use axum::{
    Json,
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse as _,
};
use serde_json::{Value, json};

use super::{
    Address, Call, Parameters, parameter,
    state::{Cluster, State},
    status::{Failure, Outcome},
    write,
};

/// A caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    pub name: String,
    pub groups: Vec<String>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
struct Attributes<'a> {
    verb: &'a str,
    group: &'a str,
    /// With its subresource: `pods/log`.
    resource: &'a str,
    namespace: &'a str,
    name: &'a str,
}

impl Cluster {
    /// From now on only callers with a token come in. A service account is `system:serviceaccount:namespace:name`; the group
    /// `system:masters` may do everything.
    pub fn token(&self, token: &str, user: &str, groups: &[&str]) {
        let mut groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        if let Some((namespace, _)) =
            user.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'))
        {
            groups.push("system:serviceaccounts".to_owned());
            groups.push(format!("system:serviceaccounts:{namespace}"));
        }
        groups.push("system:authenticated".to_owned());
        self.lock().tokens.insert(token.to_owned(), User { name: user.to_owned(), groups });
    }

    /// The caller; `None` when the cluster asks nobody.
    pub(super) fn caller(&self, headers: &HeaderMap) -> Result<Option<User>, Failure> {
        let state = self.lock();
        if state.tokens.is_empty() {
            return Ok(None);
        }
        let Some(sent) = headers.get(header::AUTHORIZATION) else {
            let groups = vec!["system:unauthenticated".to_owned()];
            return Ok(Some(User { name: "system:anonymous".to_owned(), groups }));
        };
        let token = sent.to_str().ok().and_then(|sent| sent.strip_prefix("Bearer "));
        let user = token.and_then(|token| state.tokens.get(token.trim()));
        user.cloned().map(Some).ok_or_else(|| Failure::new(401, "Unauthorized", "Unauthorized"))
    }

    /// Refuses what a test has denied, or what no rule allows.
    pub(super) fn allow(
        &self,
        user: Option<&User>,
        verb: &str,
        address: &Address,
        parameters: &Parameters,
    ) -> Result<(), Failure> {
        let Address { resource, namespace, name, sub } = address;
        let full = match sub.first() {
            Some(sub) => format!("{}/{sub}", resource.plural),
            None => resource.plural.to_owned(),
        };
        // A list of one name is a question about that name.
        let selected = parameter(parameters, "fieldSelector").strip_prefix("metadata.name=");
        let name = name.split(':').next().unwrap_or_default();
        let asked = Attributes {
            verb,
            group: resource.group,
            resource: &full,
            namespace,
            name: if name.is_empty() { selected.unwrap_or_default() } else { name },
        };
        let state = self.lock();
        let denied = state.denied.contains(&(verb.to_owned(), full.clone()));
        if !denied && user.is_none_or(|user| decide(&state, user, asked).is_some()) {
            return Ok(());
        }
        let anybody = "system:serviceaccount:paramedic:paramedic";
        let who = user.map_or(anybody, |user| &user.name);
        let named = if name.is_empty() { String::new() } else { format!(" \"{name}\"") };
        let place = match namespace.as_str() {
            "" => "at the cluster scope".to_owned(),
            namespace => format!("in the namespace \"{namespace}\""),
        };
        let message = format!(
            "{}{named} is forbidden: User \"{who}\" cannot {verb} resource \"{full}\" in API group \"{}\" {place}",
            resource.full_name(),
            resource.group
        );
        Err(Failure::new(403, "Forbidden", message))
    }
}

/// Who is known may see what there is; anybody may ask for health and version.
pub(super) fn path(user: Option<&User>, path: &str) -> Result<(), Failure> {
    let open = ["/healthz", "/livez", "/readyz", "/version"].contains(&path);
    match user {
        Some(user) if user.name == "system:anonymous" && !open => {
            let why = format!("forbidden: User \"system:anonymous\" cannot get path \"{path}\"");
            Err(Failure::new(403, "Forbidden", why))
        }
        _ => Ok(()),
    }
}

/// The rule that allows it, in the words of the real server; `None` when there is none.
fn decide(state: &State, user: &User, asked: Attributes<'_>) -> Option<String> {
    if user.groups.iter().any(|group| group == "system:masters") {
        return Some(String::new());
    }
    // Everybody may ask what they may do.
    if asked.group == "authorization.k8s.io" && asked.verb == "create" {
        return Some(String::new());
    }
    bound(state, user, asked.namespace)
        .into_iter()
        .find_map(|(rules, why)| rules.iter().any(|rule| matches(rule, asked)).then_some(why))
}

/// The rules that are bound to a user for a namespace, each with the reason.
fn bound(state: &State, user: &User, namespace: &str) -> Vec<(Vec<Value>, String)> {
    let mut found = vec![];
    for (key, binding) in &state.objects {
        let wide = key.0 == "clusterrolebindings";
        let here = key.0 == "rolebindings" && key.1 == namespace && !namespace.is_empty();
        if !wide && !here {
            continue;
        }
        let subjects = binding["subjects"].as_array().into_iter().flatten();
        let Some(subject) = subjects.clone().find(|subject| is(subject, user)) else { continue };
        let role = &binding["roleRef"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let of_role = match role["kind"].as_str() {
            Some("ClusterRole") => ("clusterroles", String::new(), text(&role["name"])),
            _ => ("roles", key.1.clone(), text(&role["name"])),
        };
        let rules = state.objects.get(&of_role).and_then(|role| role["rules"].as_array());
        let place = if wide { key.2.clone() } else { format!("{}/{}", key.2, key.1) };
        let why = format!(
            "RBAC: allowed by {} \"{place}\" of {} \"{}\" to {} \"{}\"",
            text(&binding["kind"]),
            text(&role["kind"]),
            text(&role["name"]),
            text(&subject["kind"]),
            match subject["namespace"].as_str() {
                Some(namespace) => format!("{}/{namespace}", text(&subject["name"])),
                None => text(&subject["name"]),
            }
        );
        found.push((rules.cloned().unwrap_or_default(), why));
    }
    found
}

fn is(subject: &Value, user: &User) -> bool {
    let text = |field: &str| subject[field].as_str().unwrap_or_default();
    match text("kind") {
        "User" => text("name") == user.name,
        "Group" => user.groups.iter().any(|group| group == text("name")),
        "ServiceAccount" => {
            format!("system:serviceaccount:{}:{}", text("namespace"), text("name")) == user.name
        }
        _ => false,
    }
}

fn matches(rule: &Value, asked: Attributes<'_>) -> bool {
    let list = |field: &str| rule[field].as_array().into_iter().flatten().filter_map(Value::as_str);
    let any = |field: &str, value: &str| list(field).any(|have| have == "*" || have == value);
    let resource = any("resources", asked.resource)
        || asked
            .resource
            .split_once('/')
            .is_some_and(|(_, sub)| any("resources", &format!("*/{sub}")));
    let names = list("resourceNames").count() == 0
        || (!asked.name.is_empty() && list("resourceNames").any(|name| name == asked.name));
    any("verbs", asked.verb) && any("apiGroups", asked.group) && resource && names
}

/// `SelfSubjectAccessReview` and `SelfSubjectRulesReview`.
pub(super) fn review(call: &Call<'_>, user: Option<&User>) -> Outcome {
    super::only(
        call.parameters,
        &["fieldManager", "dryRun", "fieldValidation", "pretty", "timeout"],
    )?;
    let mut review = write::body(call)?;
    super::admission::kind(call, &review)?;
    let state = call.cluster.lock();
    review["metadata"] = json!({});
    review["status"] = match call.address.resource.kind {
        "SelfSubjectAccessReview" => access(&state, user, &review["spec"])?,
        _ => rules(&state, user, &review["spec"]),
    };
    Ok((StatusCode::CREATED, Json(review)).into_response())
}

fn access(state: &State, user: Option<&User>, spec: &Value) -> Result<Value, Failure> {
    let wanted = &spec["resourceAttributes"];
    if !wanted.is_object() {
        let why = "only resourceAttributes are modelled";
        return Err(Failure::unexpected(400, "BadRequest", why));
    }
    let text = |field: &str| wanted[field].as_str().unwrap_or_default();
    let full = match text("subresource") {
        "" => text("resource").to_owned(),
        sub => format!("{}/{sub}", text("resource")),
    };
    let asked = Attributes {
        verb: text("verb"),
        group: text("group"),
        resource: &full,
        namespace: text("namespace"),
        name: text("name"),
    };
    let denied = state.denied.contains(&(asked.verb.to_owned(), full.clone()));
    let reason = match user {
        _ if denied => None,
        Some(user) => decide(state, user, asked),
        None => Some(String::new()),
    };
    Ok(match reason {
        Some(reason) if reason.is_empty() => json!({ "allowed": true }),
        Some(reason) => json!({ "allowed": true, "reason": reason }),
        None => json!({ "allowed": false }),
    })
}

fn rules(state: &State, user: Option<&User>, spec: &Value) -> Value {
    let namespace = spec["namespace"].as_str().unwrap_or_default();
    let everything = json!([{ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"] }]);
    let master = |user: &User| user.groups.iter().any(|group| group == "system:masters");
    let resources = match user {
        Some(user) if !master(user) => {
            bound(state, user, namespace).into_iter().flat_map(|(rules, _)| rules).collect()
        }
        _ => everything,
    };
    json!({ "resourceRules": resources, "nonResourceRules": [], "incomplete": false })
}
