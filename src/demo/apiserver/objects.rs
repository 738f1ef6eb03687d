//! Get, list and proxy.

use std::ops::Bound;

use axum::{
    Json,
    http::{StatusCode, header},
    response::IntoResponse as _,
};
use serde_json::{Value, json};

use super::{
    Address, Parameters, number, only, parameter,
    selector::Selector,
    state::{Cluster, Key},
    status::{Failure, Outcome},
};

pub(super) fn get(cluster: &Cluster, address: &Address, parameters: &Parameters) -> Outcome {
    only(parameters, &["resourceVersion", "pretty", "timeout"])?;
    let object = find(cluster, address)?;
    Ok(Json(object).into_response())
}

/// The addressed object, or the real server's 404.
pub(super) fn find(cluster: &Cluster, address: &Address) -> Result<Value, Failure> {
    let Address { resource, namespace, name, .. } = address;
    let name = name.split(':').next().unwrap_or_default();
    let key = (resource.key(), namespace.clone(), name.to_owned());
    let found = cluster.lock().objects.get(&key).cloned();
    found.ok_or_else(|| Failure::not_found(resource.plural, resource.group, name))
}

pub(super) fn list(cluster: &Cluster, address: &Address, parameters: &Parameters) -> Outcome {
    let known = [
        "labelSelector",
        "fieldSelector",
        "limit",
        "continue",
        "resourceVersion",
        "resourceVersionMatch",
        "pretty",
        "timeout",
    ];
    only(parameters, &known)?;
    let plural = address.resource.key();
    let selector = Selector::parse(
        plural,
        parameter(parameters, "labelSelector"),
        parameter(parameters, "fieldSelector"),
    )?;
    let limit = number(parameters, "limit")?.filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    let state = cluster.lock();
    let start = match parameter(parameters, "continue") {
        "" => Bound::Included((plural, String::new(), String::new())),
        token => Bound::Excluded(read_token(token, plural, state.oldest)?),
    };
    let mut matching = state
        .objects
        .range((start, Bound::Unbounded))
        .take_while(|(key, _)| key.0 == plural)
        .filter(|(key, _)| address.namespace.is_empty() || key.1 == address.namespace)
        .filter(|(_, object)| selector.matches(object));
    let page: Vec<_> = matching.by_ref().take(limit).collect();
    let left = matching.count();
    let mut metadata = json!({ "resourceVersion": state.version.to_string() });
    if let (true, Some((key, _))) = (left > 0, page.last()) {
        metadata["continue"] = json!(format!("{}/{}/{}", state.version, key.1, key.2));
        metadata["remainingItemCount"] = json!(left);
    }
    let items: Vec<&Value> = page.into_iter().map(|(_, object)| object).collect();
    let body = json!({
        "kind": format!("{}List", address.resource.kind),
        "apiVersion": address.resource.api_version(),
        "metadata": metadata,
        "items": items,
    });
    Ok(Json(body).into_response())
}

/// A page token is the version it was made at, and the last object shown.
fn read_token(token: &str, plural: &'static str, oldest: u64) -> Result<Key, Failure> {
    let bad = || Failure::new(400, "BadRequest", "continue key is not valid");
    let mut parts = token.splitn(3, '/');
    let mut next = || parts.next().ok_or_else(bad);
    let (version, namespace, name) = (next()?, next()?, next()?);
    if version.parse::<u64>().map_err(|_| bad())? < oldest {
        return Err(Failure::expired());
    }
    Ok((plural, namespace.to_owned(), name.to_owned()))
}

pub(super) fn proxy(cluster: &Cluster, address: &Address, parameters: Parameters) -> Outcome {
    let pod = find(cluster, address)?;
    let (name, port) = address.name.split_once(':').unwrap_or((&address.name, "80"));
    let port: u16 = port
        .parse()
        .map_err(|_| Failure::new(400, "BadRequest", format!("invalid port {port:?}")))?;
    let refused = || {
        let why = "error trying to reach service: dial tcp: connect: connection refused";
        Failure::new(503, "ServiceUnavailable", why)
    };
    if pod["status"]["phase"] != "Running" {
        return Err(refused());
    }
    let path: String = address.sub[1..].iter().flat_map(|s| ["/", s]).collect();
    let query: Vec<String> = parameters.into_iter().map(|(k, v)| format!("{k}={v}")).collect();
    let exact = format!("{path}?{}", query.join("&"));
    let state = cluster.lock();
    let key = |path: String| (address.namespace.clone(), name.to_owned(), port, path);
    let open = state
        .answers
        .keys()
        .any(|(ns, p, o, _)| *ns == address.namespace && p == name && *o == port);
    let scripted = state.answers.get(&key(exact)).or_else(|| state.answers.get(&key(path.clone())));
    match scripted {
        Some(answer) => {
            let code = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
            let kind = [(header::CONTENT_TYPE, answer.content_type)];
            Ok((code, kind, answer.body.clone()).into_response())
        }
        None if !open => Err(refused()),
        None => Err(Failure::unexpected(404, "", format!("nothing is scripted for {path}"))),
    }
}
