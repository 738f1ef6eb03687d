//! Get, list and proxy.

use std::ops::Bound;

use axum::{
    Json,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};

use super::{
    Address, Parameters, Resource, Server, number, only, parameter,
    selector::Selector,
    state::{Cluster, Key},
    status::{Failure, Outcome},
    view::View,
};
use crate::clients::http::Request;

pub(super) fn get(
    cluster: &Cluster,
    address: &Address,
    parameters: &Parameters,
    view: &View,
) -> Outcome {
    only(parameters, &["resourceVersion", "pretty", "timeout", "includeObject"])?;
    Ok(Json(view.one(&find(cluster, address)?)).into_response())
}

/// The addressed object, or the real server's 404.
pub(super) fn find(cluster: &Cluster, address: &Address) -> Result<Value, Failure> {
    let Address { resource, namespace, name, .. } = address;
    let name = name.split(':').next().unwrap_or_default();
    let key = (resource.store, namespace.clone(), name.to_owned());
    let found = cluster.lock().objects.get(&key).cloned();
    found.ok_or_else(|| Failure::not_found(resource, name))
}

pub(super) fn list(
    cluster: &Cluster,
    address: &Address,
    parameters: &Parameters,
    view: &View,
) -> Outcome {
    let known = [
        "labelSelector",
        "fieldSelector",
        "limit",
        "continue",
        "resourceVersion",
        "resourceVersionMatch",
        "pretty",
        "timeout",
        "includeObject",
        // kubectl says so of a plain list too.
        "watch",
    ];
    only(parameters, &known)?;
    let Resource { plural, store, .. } = *address.resource;
    let selector = Selector::parse(
        plural,
        parameter(parameters, "labelSelector"),
        parameter(parameters, "fieldSelector"),
    )?;
    let limit = number(parameters, "limit")?.filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    let state = cluster.lock();
    version(parameters, state.version)?;
    let start = match parameter(parameters, "continue") {
        "" => Bound::Included((store, String::new(), String::new())),
        token => Bound::Excluded(read_token(token, store, state.oldest)?),
    };
    let mut matching = state
        .objects
        .range((start, Bound::Unbounded))
        .take_while(|(key, _)| key.0 == store)
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
    Ok(Json(view.list(&items, metadata)).into_response())
}

/// The state is always the newest; only a list at exactly an older version is more than it can give.
pub(super) fn version(parameters: &Parameters, newest: u64) -> Result<(), Failure> {
    let asked = number(parameters, "resourceVersion")?.unwrap_or(0) as u64;
    let how = parameter(parameters, "resourceVersionMatch");
    if asked > newest {
        let why = format!("Too large resource version: {asked}, current: {newest}");
        return Err(Failure::new(504, "Timeout", why));
    }
    match how {
        "" | "NotOlderThan" => Ok(()),
        "Exact" if asked == newest => Ok(()),
        "Exact" => {
            let why = format!("The resourceVersion for the provided list is too old: {asked}");
            Err(Failure::new(410, "Expired", why))
        }
        other => {
            let why = format!("resourceVersionMatch: Unsupported value: \"{other}\"");
            Err(Failure::new(422, "Invalid", why))
        }
    }
}

/// A page token is the version it was made at, and the last object shown.
fn read_token(token: &str, store: &'static str, oldest: u64) -> Result<Key, Failure> {
    let bad = || Failure::new(400, "BadRequest", "continue key is not valid");
    let mut parts = token.splitn(3, '/');
    let mut next = || parts.next().ok_or_else(bad);
    let (version, namespace, name) = (next()?, next()?, next()?);
    if version.parse::<u64>().map_err(|_| bad())? < oldest {
        return Err(Failure::expired());
    }
    Ok((store, namespace.to_owned(), name.to_owned()))
}

/// Forwards to a pod's port: to what a test has scripted, else to the pod's own address when that is on this machine.
pub(super) async fn proxy(server: &Server, address: &Address, parameters: Parameters) -> Outcome {
    let pod = find(&server.cluster, address)?;
    let (name, port) = address.name.split_once(':').unwrap_or((&address.name, "80"));
    let port: u16 = port
        .parse()
        .map_err(|_| Failure::new(400, "BadRequest", format!("invalid port {port:?}")))?;
    if pod["status"]["phase"] != "Running" {
        return Err(refused());
    }
    let path: String = address.sub[1..].iter().flat_map(|s| ["/", s]).collect();
    let query: Vec<String> = parameters.into_iter().map(|(k, v)| format!("{k}={v}")).collect();
    let query = query.join("&");
    if let Some(scripted) =
        scripted(&server.cluster, &address.namespace, name, port, &path, &query)?
    {
        return Ok(scripted);
    }
    let ip: Option<std::net::Ipv4Addr> =
        pod["status"]["podIP"].as_str().and_then(|ip| ip.parse().ok());
    let Some(ip) = ip.filter(std::net::Ipv4Addr::is_loopback) else { return Err(refused()) };
    let path = if path.is_empty() { "/" } else { &path };
    let url = format!("http://{ip}:{port}{path}{}{query}", if query.is_empty() { "" } else { "?" });
    let url = url.parse().map_err(|_| Failure::new(400, "BadRequest", "not a URL"))?;
    let answer = server.http.send(Request::get(url, "forward to a pod")).await;
    let answer = answer.map_err(|_| refused())?;
    let code = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let kind = answer.headers.get(header::CONTENT_TYPE).cloned();
    let kind = kind.map(|kind| [(header::CONTENT_TYPE, kind)]);
    Ok((code, kind.map_or_else(Default::default, HeaderMap::from_iter), answer.body)
        .into_response())
}

fn refused() -> Failure {
    let why = "error trying to reach service: dial tcp: connect: connection refused";
    Failure::new(503, "ServiceUnavailable", why)
}

/// The scripted answer; `None` when nothing is scripted for this port at all.
fn scripted(
    cluster: &Cluster,
    namespace: &str,
    pod: &str,
    port: u16,
    path: &str,
    query: &str,
) -> Result<Option<Response>, Failure> {
    let state = cluster.lock();
    let key = |path: String| (namespace.to_owned(), pod.to_owned(), port, path);
    let exact = state.answers.get(&key(format!("{path}?{query}")));
    if let Some(answer) = exact.or_else(|| state.answers.get(&key(path.to_owned()))) {
        let code = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
        let kind = [(header::CONTENT_TYPE, answer.content_type)];
        return Ok(Some((code, kind, answer.body.clone()).into_response()));
    }
    let open =
        |(ns, p, o, _): &(String, String, u16, String)| ns == namespace && p == pod && *o == port;
    if state.answers.keys().any(open) {
        return Err(Failure::unexpected(404, "", format!("nothing is scripted for {path}")));
    }
    Ok(None)
}
