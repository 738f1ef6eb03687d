//! A small, strict Kubernetes API server, for `paramedic demo` and for tests.
//!
//! Discovery, list with selectors and pages, get, watch with resource versions, bookmarks and 410; create, update, the
//! four patches, delete with grace, owners and finalizers; pod logs, the pod proxy; and `Status` errors in the words of the
//! real server, so that a client proven here behaves the same there. Anything it does not model is an error **and**
//! recorded ([`Cluster::unexpected`]): a fake that shrugs hides bugs. There are no controllers: what a kubelet does, the
//! test does through [`Cluster`].

mod admission;
mod apply;
mod auth;
mod convert;
mod delete;
mod discovery;
mod gc;
mod logs;
mod objects;
mod openapi;
mod patch;
mod protobuf;
mod quantity;
mod quota;
mod schema;
mod selector;
mod state;
mod status;
mod table;
mod tls;
mod view;
mod watch;
mod websocket;
mod write;

use axum::{
    Router,
    extract::{Query, Request, State},
    http::{Method, header, request::Parts},
    response::{IntoResponse as _, Response},
};
use percent_encoding::percent_decode_str;
use tokio::net::TcpListener;

pub(super) use self::state::stamp;
use self::{
    discovery::Resource,
    status::{Failure, Outcome},
    tls::TlsListener,
    view::View,
};
pub use self::{quantity::quantity, state::Cluster, tls::Identity};
use crate::{
    clients::http::{Client, Guard, Url},
    ops::lifecycle::Tasks,
};

/// Longest body of a request, bytes.
const MAX_BODY: usize = 3 << 20;

/// A running server.
#[derive(Clone, Debug)]
pub struct ApiServer {
    /// Its address, on loopback.
    pub url: Url,
}

impl ApiServer {
    /// Serves a cluster until the process drains.
    pub async fn start(tasks: &Tasks, cluster: Cluster) -> anyhow::Result<Self> {
        Self::on(TcpListener::bind("127.0.0.1:0").await?, tasks, cluster)
    }

    /// The same on a port of the caller's.
    pub fn on(listener: TcpListener, tasks: &Tasks, cluster: Cluster) -> anyhow::Result<Self> {
        let url = format!("http://{}/", listener.local_addr()?).parse()?;
        Self::serve(tasks, cluster, listener)?;
        Ok(Self { url })
    }

    /// The same behind TLS.
    pub async fn start_tls(
        tasks: &Tasks,
        cluster: Cluster,
        identity: Identity<'_>,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("https://{}/", listener.local_addr()?).parse()?;
        Self::serve(tasks, cluster, TlsListener::new(listener, identity)?)?;
        Ok(Self { url })
    }

    fn serve<L>(tasks: &Tasks, cluster: Cluster, listener: L) -> anyhow::Result<()>
    where
        L: axum::serve::Listener,
        L::Addr: std::fmt::Debug,
    {
        let stop = tasks.stop().draining.clone();
        let http = Client::new(Guard::default())?;
        let server = Server { cluster, http, tasks: tasks.clone() };
        let app = Router::new().fallback(answer).with_state(server);
        tasks.spawn("demo.apiserver", async move {
            axum::serve(listener, app)
                .with_graceful_shutdown(async move { stop.cancelled().await })
                .await?;
            Ok(())
        });
        Ok(())
    }
}

#[derive(Clone)]
struct Server {
    cluster: Cluster,
    /// For the proxy to pods.
    http: Client,
    tasks: Tasks,
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

/// One request to an object or a collection.
struct Call<'a> {
    cluster: &'a Cluster,
    address: &'a Address,
    parameters: &'a Parameters,
    content_type: &'a str,
    /// The client's `User-Agent`.
    agent: &'a str,
    body: &'a [u8],
}

async fn answer(
    State(server): State<Server>,
    Query(parameters): Query<Parameters>,
    request: Request,
) -> Response {
    let (mut head, body) = request.into_parts();
    let call = format!("{} {}", head.method, head.uri);
    server.cluster.note_request(call.clone());
    let outcome = match axum::body::to_bytes(body, MAX_BODY).await {
        Ok(body) => dispatch(&server, &mut head, parameters, &body).await,
        Err(_) => Err(Failure::new(
            413,
            "RequestEntityTooLarge",
            "Request entity too large: limit is 3145728",
        )),
    };
    outcome.unwrap_or_else(|failure| {
        if failure.unexpected {
            server.cluster.note_unexpected(format!("{call}: {}", failure.message));
        }
        failure.into_response()
    })
}

async fn dispatch(
    server: &Server,
    head: &mut Parts,
    parameters: Parameters,
    body: &[u8],
) -> Outcome {
    let segments: Vec<String> = head
        .uri
        .path()
        .split('/')
        .filter(|segment| !segment.is_empty())
        .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
        .collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let user = server.cluster.caller(&head.headers)?;
    if head.method == Method::GET
        && let Some(known) = discovery::answer(&server.cluster, &segments)
    {
        auth::path(user.as_ref(), head.uri.path())?;
        return Ok(known);
    }
    let address = Address::parse(&segments)?;
    if !server.cluster.serves(address.resource) {
        return Err(Failure::page_not_found());
    }
    let verb = verb(&head.method, &address, &parameters)?;
    let cluster = &server.cluster;
    cluster.allow(user.as_ref(), verb, &address, &parameters)?;
    let socket = websocket::asked(head)?;
    let now = cluster.clock().now();
    let view = View::new(&head.headers, &parameters, address.resource, now);
    let header = |name| head.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let call = Call {
        cluster,
        address: &address,
        parameters: &parameters,
        content_type: header(header::CONTENT_TYPE),
        agent: header(header::USER_AGENT),
        body,
    };
    if socket.is_some() && verb != "watch" {
        let why = "only a watch is served through a websocket";
        return Err(Failure::unexpected(400, "BadRequest", why));
    }
    if address.resource.reviews() {
        return match (verb, address.sub.as_slice()) {
            ("create", []) => auth::review(&call, user.as_ref()),
            _ => Err(Failure::unexpected(405, "MethodNotAllowed", "a review is only created")),
        };
    }
    match (verb, address.sub.first().map(String::as_str)) {
        ("get", None) => objects::get(cluster, &address, &parameters, &view?),
        ("get", Some("status")) if address.resource.has_status() => {
            objects::get(cluster, &address, &parameters, &view?)
        }
        ("get", Some("log")) if address.resource.plural == "pods" => {
            logs::read(server, &address, &parameters)
        }
        ("get", Some("proxy")) if address.resource.plural == "pods" => {
            objects::proxy(server, &address, parameters).await
        }
        ("list", None) => objects::list(cluster, &address, &parameters, &view?),
        ("watch", None) => watch::start(server, address, &parameters, view?, socket),
        ("create", None) => write::create(&call),
        ("update", None) => write::update(&call),
        ("patch", None) => write::patch(&call),
        ("update", Some("status")) if address.resource.has_status() => write::update(&call),
        ("patch", Some("status")) if address.resource.has_status() => write::patch(&call),
        ("delete", None) => delete::one(&call),
        ("deletecollection", None) => delete::collection(&call),
        (_, sub) => {
            let why = format!("no subresource `{}` here", sub.unwrap_or_default());
            Err(Failure::unexpected(404, "NotFound", why))
        }
    }
}

/// What a method means at an address, in the words of RBAC.
fn verb(
    method: &Method,
    address: &Address,
    parameters: &Parameters,
) -> Result<&'static str, Failure> {
    let watching = matches!(parameter(parameters, "watch"), "1" | "true");
    Ok(match (method, address.name.is_empty()) {
        (&Method::GET, false) => "get",
        (&Method::GET, true) if watching => "watch",
        (&Method::GET, true) => "list",
        (&Method::POST, true) => "create",
        (&Method::PUT, false) => "update",
        (&Method::PATCH, false) => "patch",
        (&Method::DELETE, false) => "delete",
        (&Method::DELETE, true) => "deletecollection",
        (method, _) => {
            let why = format!("the server does not allow {method} here");
            return Err(Failure::unexpected(405, "MethodNotAllowed", why));
        }
    })
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
