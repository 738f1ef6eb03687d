//! The only HTTP client of the daemon.
//!
//! One place decides what every outgoing call has in common: a deadline, a bound on the body, no redirects (a redirect
//! would carry a token, or an untrusted request, to a place nobody configured), errors without URLs (userinfo and query
//! hold secrets), and the egress guard for addresses that no operator wrote (see [`Guard`]).

mod guard;
mod outcome;
#[cfg(feature = "simulation")]
pub mod sim;

use std::{net::IpAddr, sync::Arc, time::Duration};

pub use guard::{Cidr, Guard};
pub use reqwest::{
    Method, Url,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use reqwest::{header, redirect};
use secrecy::{ExposeSecret as _, SecretString};

use super::{Error, Kind, Result};

/// Longest body that is read when a request does not say otherwise, bytes.
pub const MAX_BYTES: usize = 8 * 1024 * 1024;
/// A request's deadline when it does not say otherwise: connect, send, and read the whole answer.
pub const TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends requests; cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    configured: reqwest::Client,
    untrusted: reqwest::Client,
    guard: Guard,
}

/// Who wrote the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// An operator, in the configuration: no guard.
    Configured,
    /// A playbook, a label or a cluster object: the egress guard decides.
    Untrusted,
}

/// One request.
#[derive(Clone)]
pub struct Request {
    /// Method.
    pub method: Method,
    /// Address; `http` or `https`.
    pub url: Url,
    /// Headers, in order.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Body, if any.
    pub body: Option<Vec<u8>>,
    /// Deadline for everything, the answer's body included.
    pub timeout: Duration,
    /// Reading stops here.
    pub max_bytes: usize,
    /// What this is for, with its operands and without secrets: `post to Slack channel #spark`.
    pub operation: String,
    /// Who wrote the address.
    pub trust: Trust,
}

/// An answer of any status.
#[derive(Clone, Debug)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body, at most the request's `max_bytes`.
    pub body: Vec<u8>,
    /// True when there was more body.
    pub cut: bool,
}

impl Client {
    /// A client whose untrusted requests obey `guard`. Fails when the machine's TLS trust store cannot be read.
    pub fn new(guard: Guard) -> Result<Self> {
        // A no-op after main has done it; tests and tools have no main of ours.
        drop(rustls::crypto::ring::default_provider().install_default());
        let resolver = Arc::new(guard::Resolver(guard.clone()));
        // A proxy would resolve and connect in our place, where the guard does not reach.
        let untrusted = build(builder().no_proxy().dns_resolver(resolver))?;
        Ok(Self { configured: build(builder())?, untrusted, guard })
    }

    /// Sends one request and reads its answer. Every HTTP status is an answer; errors are failures of the transport,
    /// and refusals of the egress guard ([`Kind::Denied`]).
    #[allow(clippy::disallowed_methods, reason = "the one place that sends")]
    pub async fn send(&self, request: Request) -> Result<Response> {
        let Request { method, url, headers, body, timeout, max_bytes, operation, trust } = request;
        self.check(&url, &headers, trust)
            .map_err(|(kind, why)| Error::new(kind, &operation, why))?;
        #[cfg(feature = "simulation")]
        if let Some(network) = sim::network(&url) {
            return network(Request {
                method,
                url,
                headers,
                body,
                timeout,
                max_bytes,
                operation,
                trust,
            })
            .await;
        }
        let client = match trust {
            Trust::Configured => &self.configured,
            Trust::Untrusted => &self.untrusted,
        };
        let mut builder = client.request(method, url).timeout(timeout);
        for (name, value) in headers {
            builder = builder.header(name, value);
        }
        if let Some(body) = body {
            builder = builder.body(body);
        }
        let failed = |error: reqwest::Error| transport(error, &operation);
        let mut answer = builder.send().await.map_err(failed)?;
        let mut body = vec![];
        let mut cut = false;
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            let room = max_bytes - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() > room {
                cut = true;
                break;
            }
        }
        Ok(Response {
            status: answer.status().as_u16(),
            headers: std::mem::take(answer.headers_mut()),
            body,
            cut,
        })
    }

    /// Asks the egress guard about a connection that is not HTTP. The caller resolves the name, checks the address here,
    /// and connects to this very address.
    pub fn check_address(&self, address: IpAddr, operation: &str) -> Result<()> {
        let denied = |why: guard::Refused| Error::new(Kind::Denied, operation, why.to_string());
        self.guard.check(address).map_err(denied)
    }

    /// Asks the egress guard about a look-up alone. Where no network is allowed, no name of a playbook or a label leaves this
    /// machine either.
    pub fn check_name(&self, host: &str, operation: &str) -> Result<()> {
        let denied = |why: guard::Refused| Error::new(Kind::Denied, operation, why.to_string());
        self.guard.check_name(host).map_err(denied)
    }

    fn check(
        &self,
        url: &Url,
        headers: &[(HeaderName, HeaderValue)],
        trust: Trust,
    ) -> std::result::Result<(), (Kind, String)> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err((Kind::Denied, "only http and https addresses can be called".to_owned()));
        }
        if headers.iter().any(|(name, value)| *name == header::AUTHORIZATION && value == NO_TOKEN) {
            let why = "the token is empty or holds a character that no HTTP header can carry";
            return Err((Kind::Denied, why.to_owned()));
        }
        match trust {
            Trust::Configured => Ok(()),
            Trust::Untrusted => {
                self.guard.check_literal(url).map_err(|why| (Kind::Denied, why.to_string()))
            }
        }
    }
}

/// What an unusable token leaves behind; [`Client::send`] refuses it, so that the builders cannot fail.
const NO_TOKEN: &str = "Bearer";

impl Request {
    /// A GET.
    pub fn get(url: Url, operation: impl Into<String>) -> Self {
        Self::new(Method::GET, url, operation)
    }

    /// A POST with a body.
    pub fn post(
        url: Url,
        operation: impl Into<String>,
        body: impl Into<Vec<u8>>,
        content_type: &'static str,
    ) -> Self {
        let mut request = Self::new(Method::POST, url, operation);
        request.body = Some(body.into());
        request.header(header::CONTENT_TYPE, HeaderValue::from_static(content_type))
    }

    /// Any method, without a body, to a configured address.
    pub fn new(method: Method, url: Url, operation: impl Into<String>) -> Self {
        Self {
            method,
            url,
            headers: vec![],
            body: None,
            timeout: TIMEOUT,
            max_bytes: MAX_BYTES,
            operation: operation.into(),
            trust: Trust::Configured,
        }
    }

    /// Adds `Authorization: Bearer …`. Surrounding white space (a file's last newline) is dropped; an unusable token
    /// fails the request when it is sent.
    #[must_use]
    pub fn bearer(self, token: &SecretString) -> Self {
        let token = token.expose_secret().trim();
        let mut value = match HeaderValue::from_str(&format!("Bearer {token}")) {
            Ok(value) if !token.is_empty() => value,
            Ok(_) | Err(_) => HeaderValue::from_static(NO_TOKEN),
        };
        value.set_sensitive(true);
        self.header(header::AUTHORIZATION, value)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Sets the deadline.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the bound on the body.
    #[must_use]
    pub fn max_bytes(mut self, max_bytes: usize) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// Says who wrote the address.
    #[must_use]
    pub fn trust(mut self, trust: Trust) -> Self {
        self.trust = trust;
        self
    }
}

#[allow(clippy::disallowed_methods, reason = "the one place that builds clients")]
fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .redirect(redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .user_agent(concat!("paramedic/", env!("CARGO_PKG_VERSION")))
}

fn build(builder: reqwest::ClientBuilder) -> Result<reqwest::Client> {
    builder.build().map_err(|error| transport(error, "set up the HTTP client"))
}

/// A failure of the transport, in the words of its innermost cause; never with the URL.
fn transport(error: reqwest::Error, operation: &str) -> Error {
    let error = error.without_url();
    let mut cause: &(dyn std::error::Error + 'static) = &error;
    while let Some(inner) = cause.source() {
        if let Some(refused) = inner.downcast_ref::<guard::Refused>() {
            return Error::new(Kind::Denied, operation, refused.to_string());
        }
        cause = inner;
    }
    let (kind, reason) = if error.is_connect() && error.is_timeout() {
        (Kind::Unreachable, "no connection in time".to_owned())
    } else if error.is_timeout() {
        (Kind::Timeout, "no complete answer in time".to_owned())
    } else if error.is_builder() {
        (Kind::Refused, format!("the request cannot be built: {cause}"))
    } else {
        (Kind::Unreachable, cause.to_string())
    };
    Error::new(kind, operation, reason)
}

#[cfg(test)]
mod tests;
