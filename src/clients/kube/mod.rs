//! A narrow client of one Kubernetes API server: it reads, and asks what may be read.
//!
//! The kube crate does authentication, TLS and connection; every request is built here, because each one needs a
//! deadline, a bound on what is read, and an error that names the permission it lacked. Nothing is cached and nothing is
//! retried: that is the engine's.

mod failure;
mod follow;
mod objects;
mod pod;
mod pods;
mod quantity;
mod read;
mod review;
mod stream;
mod watch;

use std::{path::PathBuf, sync::Arc, time::Duration};

use axum::http;
use futures::StreamExt as _;
use kube::{
    Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;

use self::failure::Access;
pub use self::{
    follow::Following,
    objects::Event,
    pod::{Condition, Container, ContainerState, Pod, one_line},
    pods::{Listed, Log, LogQuery, PodQuery, newest},
    quantity::Quantity,
    read::{Groups, ListQuery, Resource, ServerVersion},
    review::{Answered, Asked},
    watch::{Seen, Watch},
};
use super::{
    Error, Kind, Result,
    http::{MAX_BYTES, Response, Url},
};

/// Deadline of one request, the answer's body included.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Reads from one API server; cheap to clone.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

enum Inner {
    Ready(kube::Client),
    WhenNeeded { cluster: String, source: Source, client: OnceCell<kube::Client> },
}

/// Where access to an API server comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// The context of the kubeconfig with this name; the name `in-cluster` means the pod's own service account. Without a
    /// name: the kubeconfig's current context, and without a kubeconfig the service account.
    Inferred(Option<String>),
    /// A kubeconfig at this path, and a context in it (without one: the current context).
    Kubeconfig(PathBuf, Option<String>),
}

impl Client {
    /// Around a client that is configured already.
    pub fn new(client: kube::Client) -> Self {
        Self(Arc::new(Inner::Ready(client)))
    }

    /// With access that is read now.
    pub async fn open(source: &Source) -> Result<Self> {
        source.open().await.map(Self::new)
    }

    /// Of a configured cluster. Its access is read when it is first needed, and again with every call until it can be used:
    /// a mistake in it fails these calls and nothing else, and once it is corrected they work.
    pub fn when_needed(cluster: &str, source: Source) -> Self {
        let (cluster, client) = (cluster.to_owned(), OnceCell::new());
        Self(Arc::new(Inner::WhenNeeded { cluster, source, client }))
    }

    /// An API server at a plain address, without credentials: tests and the demo.
    pub fn from_url(url: &Url) -> Result<Self> {
        let operation = "configure Kubernetes access by address";
        let uri: http::Uri = url
            .as_str()
            .parse()
            .map_err(|_| Error::new(Kind::Refused, operation, "the address is not usable"))?;
        client(Config::new(uri), operation).map(Self::new)
    }

    /// The kube crate's client, or why the cluster cannot be reached.
    pub async fn connect(&self) -> Result<&kube::Client> {
        let (cluster, source, client) = match &*self.0 {
            Inner::Ready(client) => return Ok(client),
            Inner::WhenNeeded { cluster, source, client } => (cluster, source, client),
        };
        let open = async || {
            let operation = format!("reach cluster {cluster}");
            let opened = tokio::time::timeout(TIMEOUT, source.open()).await;
            let late =
                |_| Error::new(Kind::Timeout, &operation, "its credentials were not ready in time");
            let failed = |error: Error| Error::new(error.kind, &operation, error.to_string());
            opened.map_err(late)?.map_err(failed)
        };
        client.get_or_try_init(open).await
    }

    /// The namespace of the context, or of the pod's own service account; `default` while it cannot be reached.
    pub fn default_namespace(&self) -> &str {
        let client = match &*self.0 {
            Inner::Ready(client) => Some(client),
            Inner::WhenNeeded { client, .. } => client.get(),
        };
        client.map_or("default", kube::Client::default_namespace)
    }

    /// One GET: any 2xx is an answer, cut at `max_bytes`.
    async fn get(
        &self,
        path: &str,
        operation: &str,
        access: &Access<'_>,
        max_bytes: usize,
    ) -> Result<Response> {
        self.ask(http::Request::get(path), vec![], operation, access, max_bytes).await
    }

    /// One request: any 2xx is an answer, cut at `max_bytes`.
    async fn ask(
        &self,
        request: http::request::Builder,
        body: Vec<u8>,
        operation: &str,
        access: &Access<'_>,
        max_bytes: usize,
    ) -> Result<Response> {
        let fetch = self.fetch(request, body, operation, max_bytes);
        let answer = tokio::time::timeout(TIMEOUT, fetch).await;
        let answer = answer.map_err(|_| {
            Error::new(Kind::Timeout, operation, "the API server gave no complete answer in time")
        })??;
        if (200..300).contains(&answer.status) {
            Ok(answer)
        } else {
            Err(failure::refusal(&answer, operation, access))
        }
    }

    async fn fetch(
        &self,
        request: http::request::Builder,
        body: Vec<u8>,
        operation: &str,
        max_bytes: usize,
    ) -> Result<Response> {
        let request = request
            .header(http::header::ACCEPT, "*/*")
            .body(kube::client::Body::from(body))
            .map_err(|error| Error::new(Kind::Refused, operation, error.to_string()))?;
        let failed = |error: kube::Error| failure::transport(&error, operation);
        let client = self.connect().await?;
        let (parts, body) = client.send(request).await.map_err(failed)?.into_parts();
        let mut chunks = axum::body::Body::new(body).into_data_stream();
        let (mut body, mut cut) = (vec![], false);
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| {
                Error::new(Kind::Unreachable, operation, failure::innermost(&error))
            })?;
            let room = max_bytes - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() > room {
                cut = true;
                break;
            }
        }
        Ok(Response { status: parts.status.as_u16(), headers: parts.headers, body, cut })
    }

    async fn get_json<T: DeserializeOwned>(
        &self,
        path: &str,
        operation: &str,
        access: &Access<'_>,
    ) -> Result<T> {
        self.get(path, operation, access, MAX_BYTES).await?.json(operation)
    }
}

impl Source {
    async fn open(&self) -> Result<kube::Client> {
        let operation = match self {
            Self::Inferred(Some(name)) => {
                format!("configure Kubernetes access `{}`", name.escape_debug())
            }
            Self::Inferred(None) => "configure Kubernetes access".to_owned(),
            Self::Kubeconfig(path, _) => format!("read the kubeconfig {}", path.display()),
        };
        let failed = |reason: String| Error::new(Kind::Refused, &operation, reason);
        let options = |context: &Option<String>| KubeConfigOptions {
            context: context.clone(),
            ..KubeConfigOptions::default()
        };
        let config = match self {
            Self::Inferred(None) => Config::infer().await.map_err(|e| failed(e.to_string()))?,
            Self::Inferred(Some(name)) if name == "in-cluster" => {
                Config::incluster().map_err(|e| {
                    failed(format!(
                        "{e}; `in-cluster` works only inside a pod with a service account"
                    ))
                })?
            }
            Self::Inferred(context) => Config::from_kubeconfig(&options(context))
                .await
                .map_err(|e| failed(e.to_string()))?,
            Self::Kubeconfig(path, context) => {
                let file = Kubeconfig::read_from(path).map_err(|e| failed(e.to_string()))?;
                Config::from_custom_kubeconfig(file, &options(context))
                    .await
                    .map_err(|e| failed(e.to_string()))?
            }
        };
        client(config, &operation)
    }
}

fn client(mut config: Config, operation: &str) -> Result<kube::Client> {
    // Retries are the engine's: hidden ones would eat a step's deadline.
    config.default_retry = false;
    // A no-op after main has done it.
    drop(rustls::crypto::ring::default_provider().install_default());
    kube::Client::try_from(config).map_err(|error| failure::transport(&error, operation))
}

/// Joins path segments, each encoded; a segment that could climb or vanish is refused.
fn path(segments: &[&str], operation: &str) -> Result<String> {
    const KEEP: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b':');
    let mut path = String::new();
    for segment in segments {
        if matches!(*segment, "" | "." | "..") {
            let reason = format!("`{segment}` cannot be part of an address");
            return Err(Error::new(Kind::Refused, operation, reason));
        }
        path.push('/');
        path.extend(utf8_percent_encode(segment, KEEP));
    }
    Ok(path)
}

/// `?a=b&c=d` of the parameters that have a value.
fn query(parameters: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
        text.push(if text.is_empty() { '?' } else { '&' });
        text.push_str(name);
        text.push('=');
        text.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_segment_climbs_out_of_its_place() {
        let made = path(&["api", "v1", "a/../../b?x=1#y", "etl-driver:4040"], "ask").unwrap();
        assert_eq!(made, "/api/v1/a%2F..%2F..%2Fb%3Fx%3D1%23y/etl-driver:4040");
        for bad in ["", ".", ".."] {
            assert!(path(&["api", bad], "ask").is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_parameter_cannot_add_another() {
        let made = query(&[("labelSelector", "a=b&limit=1"), ("continue", ""), ("limit", "5")]);
        assert_eq!(made, "?labelSelector=a%3Db%26limit%3D1&limit=5");
    }

    #[tokio::test]
    async fn an_unknown_context_is_an_error_that_names_it() {
        let error = Client::open(&Source::Inferred(Some("no-such-context".to_owned())))
            .await
            .err()
            .unwrap();
        assert!(error.operation.contains("no-such-context"), "{error}");
    }
}
