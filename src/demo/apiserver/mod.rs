//! A small, strict Kubernetes API server, for `paramedic demo` and for tests.
//!
//! It speaks what read-only clients speak: discovery, list with selectors and pages, get, watch with resource versions,
//! bookmarks and 410, pod logs, the pod proxy, and `Status` errors in the words of the real server, so that a client
//! proven here behaves the same there. Anything it does not model is an error **and** recorded
//! ([`Cluster::unexpected`]): a fake that shrugs hides bugs. Writes come through [`Cluster`], not over HTTP.

mod discovery;
mod follow;
mod logs;
mod objects;
mod selector;
mod state;
mod status;
mod watch;

use axum::{
    Router,
    extract::{Query, State},
    http::{Method, Uri},
    response::{IntoResponse as _, Response},
};
use percent_encoding::percent_decode_str;

pub use self::state::Cluster;
pub(super) use self::state::stamp;
use self::{
    discovery::Resource,
    status::{Failure, Outcome},
};
use crate::{clients::http::Url, ops::lifecycle::Tasks};

/// A running server.
#[derive(Clone, Debug)]
pub struct ApiServer {
    /// Its address, on loopback.
    pub url: Url,
}

impl ApiServer {
    /// Serves a cluster until the process drains.
    pub async fn start(tasks: &Tasks, cluster: Cluster) -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        Self::on(listener, tasks, cluster)
    }

    /// The same on a port of the caller's.
    pub fn on(
        listener: tokio::net::TcpListener,
        tasks: &Tasks,
        cluster: Cluster,
    ) -> anyhow::Result<Self> {
        let url = format!("http://{}/", listener.local_addr()?).parse()?;
        let stop = tasks.stop().draining.clone();
        let server = Server { cluster, stop: stop.clone() };
        let app = Router::new().fallback(answer).with_state(server);
        tasks.spawn("demo.apiserver", async move {
            axum::serve(listener, app)
                .with_graceful_shutdown(async move { stop.cancelled().await })
                .await?;
            Ok(())
        });
        Ok(Self { url })
    }
}

#[derive(Clone)]
struct Server {
    cluster: Cluster,
    stop: tokio_util::sync::CancellationToken,
}

/// Query parameters, decoded.
type Parameters = Vec<(String, String)>;

/// What a path addresses.
struct Address {
    resource: &'static Resource,
    namespace: String,
    name: String,
    sub: Vec<String>,
}

async fn answer(
    State(server): State<Server>,
    method: Method,
    uri: Uri,
    Query(parameters): Query<Parameters>,
) -> Response {
    server.cluster.note_request(format!("{method} {uri}"));
    match dispatch(&server, &method, uri.path(), parameters) {
        Ok(response) => response,
        Err(failure) => {
            if failure.unexpected {
                server.cluster.note_unexpected(format!("{method} {uri}: {}", failure.message));
            }
            failure.into_response()
        }
    }
}

fn dispatch(server: &Server, method: &Method, path: &str, parameters: Parameters) -> Outcome {
    if method != Method::GET {
        return Err(Failure::unexpected(405, "MethodNotAllowed", "this server is read-only"));
    }
    let segments: Vec<String> = path
        .split('/')
        .filter(|segment| !segment.is_empty())
        .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
        .collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    if let Some(known) = discovery::answer(&segments) {
        return Ok(known);
    }
    let address = Address::parse(&segments)?;
    let cluster = &server.cluster;
    match address.sub.first().map(String::as_str) {
        None if !address.name.is_empty() => {
            cluster.allow("get", &address)?;
            objects::get(cluster, &address, &parameters)
        }
        None if parameters
            .iter()
            .any(|(k, v)| k == "watch" && matches!(v.as_str(), "1" | "true")) =>
        {
            cluster.allow("watch", &address)?;
            watch::start(server, address, &parameters)
        }
        None => {
            cluster.allow("list", &address)?;
            objects::list(cluster, &address, &parameters)
        }
        Some("log") if address.resource.plural == "pods" => {
            cluster.allow("get", &address)?;
            logs::read(server, &address, &parameters)
        }
        Some("proxy") if address.resource.plural == "pods" => {
            cluster.allow("get", &address)?;
            objects::proxy(cluster, &address, parameters)
        }
        Some(other) => {
            Err(Failure::unexpected(404, "NotFound", format!("no subresource `{other}` here")))
        }
    }
}

impl Address {
    fn parse(segments: &[&str]) -> Result<Self, Failure> {
        let (group, version, rest) = match segments {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return Err(Failure::page_not_found()),
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            rest => ("", rest),
        };
        let [plural, rest @ ..] = rest else { return Err(Failure::page_not_found()) };
        let resource =
            discovery::find(group, version, plural).ok_or_else(Failure::page_not_found)?;
        let (name, sub) = match rest {
            [] => ("", [].as_slice()),
            [name, sub @ ..] => (*name, sub),
        };
        Ok(Self {
            resource,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            sub: sub.iter().map(|s| (*s).to_owned()).collect(),
        })
    }
}

/// Refuses parameters that nothing here understands.
fn only(parameters: &Parameters, known: &[&str]) -> Result<(), Failure> {
    match parameters.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some((name, _)) => Err(Failure::unexpected(
            400,
            "BadRequest",
            format!("query parameter `{name}` is not modelled"),
        )),
    }
}

fn parameter<'a>(parameters: &'a Parameters, name: &str) -> &'a str {
    parameters.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
}

/// A whole number; absent is `None`, anything else a `BadRequest`.
fn number(parameters: &Parameters, name: &str) -> Result<Option<usize>, Failure> {
    match parameter(parameters, name) {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| {
            Failure::new(400, "BadRequest", format!("{name}: invalid value {text:?}"))
        }),
    }
}

#[cfg(test)]
mod tests;
