//! An S3 bucket, asked with signed requests, just enough to know how it is and what lies below a prefix.
//!
//! Requests are signed in their query (a presigned URL that is good for a minute); the HTTP client never repeats a URL in
//! an error, and what a server says back is searched for our own keys before anybody sees it.

mod answer;
mod ladder;

use std::{fmt, time::Duration};

use rusty_s3::{
    Bucket, BucketError, Credentials, S3Action as _, UrlStyle,
    actions::{DeleteObject, GetObject, HeadBucket, HeadObject, ListObjectsV2, PutObject},
};
use secrecy::{ExposeSecret as _, SecretString};

pub use self::{
    answer::{FailureKind, Fault},
    ladder::{Canary, Deadlines, Ladder, Rung, RungName, RungState},
};
use super::{
    Error, Kind, Result,
    http::{self, Method, Request, Response, Trust, Url},
    one_line,
};
use crate::ops::clock::Clock;

/// How long a signature is good for.
const SIGNED_FOR: Duration = Duration::from_mins(1);
/// Longest wait for one answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Most bytes read of one page of a list: a thousand keys of a thousand bytes, and their tags.
const MAX_PAGE: usize = 4 * 1024 * 1024;
/// After so long no further page is asked for.
const LISTING: Duration = Duration::from_secs(12);
/// Objects asked for in one page.
const PAGE: usize = 1_000;

/// Where a bucket is.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The server, such as `http://minio:9000`.
    pub endpoint: Url,
    /// The bucket's name.
    pub bucket: String,
    /// The region the signature names.
    pub region: String,
    /// Access key and secret key; `None` asks without a signature.
    pub keys: Option<(SecretString, SecretString)>,
    /// The bucket is part of the path and not of the host name.
    pub path_style: bool,
}

/// One bucket; cheap to clone.
#[derive(Clone)]
pub struct Client {
    http: http::Client,
    endpoint: Url,
    bucket: Bucket,
    credentials: Option<Credentials>,
}

/// What lies below a prefix, as far as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Objects.
    pub objects: u64,
    /// Their bytes together.
    pub bytes: u64,
    /// The object that changed last: key, RFC 3339 time, bytes.
    pub newest: Option<(String, String, u64)>,
    /// Objects below a `_temporary/`: a writer is at work, or died.
    pub temporary: u64,
    /// There is more than was read.
    pub cut: bool,
}

impl Client {
    /// A client of the bucket. Nothing is contacted yet; fails when no request for it could be made.
    pub fn new(http: http::Client, settings: Settings) -> Result<Self> {
        let Settings { endpoint, bucket, region, keys, path_style } = settings;
        let style = if path_style { UrlStyle::Path } else { UrlStyle::VirtualHost };
        let made = Bucket::new(endpoint.clone(), style, bucket, region);
        let bucket = made.map_err(|error: BucketError| {
            let hint = if path_style { "" } else { "; try `path_style: true`" };
            Error::new(Kind::Malformed, "use a bucket", format!("{error}{hint}"))
        })?;
        let credentials = keys.map(|(access, secret)| {
            Credentials::new(access.expose_secret().trim(), secret.expose_secret().trim())
        });
        Ok(Self { http, endpoint, bucket, credentials })
    }

    /// The bucket's own name.
    pub fn bucket(&self) -> &str {
        self.bucket.name()
    }

    /// Counts what lies below `prefix`, at most `pages` pages of a thousand objects, and for about twelve seconds.
    pub async fn list(
        &self,
        prefix: &str,
        pages: usize,
        clock: &Clock,
    ) -> std::result::Result<Listing, Fault> {
        let mut listing = Listing::default();
        let started = clock.monotonic();
        let mut token: Option<String> = None;
        for page in 0..pages {
            let mut action = ListObjectsV2::new(&self.bucket, self.credentials.as_ref());
            action.with_prefix(prefix);
            action.with_max_keys(PAGE);
            if let Some(token) = &token {
                action.with_continuation_token(token.as_str());
            }
            let url = action.sign_with_time(SIGNED_FOR, &clock.now());
            let answer = self.send(Method::GET, url, None, MAX_PAGE).await?;
            let text = self.accepted(&answer)?;
            let parsed = ListObjectsV2::parse_response(&text).map_err(|error| {
                Fault::new(FailureKind::NotS3, format!("the list is not readable: {error}"))
            })?;
            for object in parsed.contents {
                let modified = object.last_modified.as_deref();
                listing.add(&object.key, modified, object.size.unwrap_or(0));
            }
            token = parsed.next_continuation_token;
            listing.cut = token.is_some();
            let late = clock.monotonic().saturating_sub(started) > LISTING;
            if token.is_none() || late || page + 1 == pages {
                break;
            }
        }
        Ok(listing)
    }

    /// True when the object is there.
    pub async fn exists(&self, key: &str, clock: &Clock) -> std::result::Result<bool, Fault> {
        let action = HeadObject::new(&self.bucket, self.credentials.as_ref(), key);
        let url = action.sign_with_time(SIGNED_FOR, &clock.now());
        let answer = self.send(Method::HEAD, url, None, 0).await?;
        match answer.status {
            404 => Ok(false),
            _ => self.accepted(&answer).map(|_| true),
        }
    }

    async fn head_bucket(&self, clock: &Clock) -> std::result::Result<Response, Fault> {
        let action = HeadBucket::new(&self.bucket, self.credentials.as_ref());
        let url = action.sign_with_time(SIGNED_FOR, &clock.now());
        self.send(Method::HEAD, url, None, 0).await
    }

    /// One key of the list: what a HEAD cannot say, an error's code, is in the body of this.
    async fn list_one(&self, clock: &Clock) -> std::result::Result<Response, Fault> {
        let mut action = ListObjectsV2::new(&self.bucket, self.credentials.as_ref());
        action.with_max_keys(1);
        let url = action.sign_with_time(SIGNED_FOR, &clock.now());
        self.send(Method::GET, url, None, 64 * 1024).await
    }

    async fn put(&self, key: &str, body: &[u8], clock: &Clock) -> std::result::Result<(), Fault> {
        let action = PutObject::new(&self.bucket, self.credentials.as_ref(), key);
        let url = action.sign_with_time(SIGNED_FOR, &clock.now());
        let answer = self.send(Method::PUT, url, Some(body.to_vec()), 64 * 1024).await?;
        self.accepted(&answer).map(drop)
    }

    async fn get(&self, key: &str, clock: &Clock) -> std::result::Result<Vec<u8>, Fault> {
        let action = GetObject::new(&self.bucket, self.credentials.as_ref(), key);
        let url = action.sign_with_time(SIGNED_FOR, &clock.now());
        let answer = self.send(Method::GET, url, None, 64 * 1024).await?;
        self.accepted(&answer)?;
        Ok(answer.body)
    }

    async fn delete(&self, key: &str, clock: &Clock) -> std::result::Result<(), Fault> {
        let action = DeleteObject::new(&self.bucket, self.credentials.as_ref(), key);
        let url = action.sign_with_time(SIGNED_FOR, &clock.now());
        let answer = self.send(Method::DELETE, url, None, 64 * 1024).await?;
        self.accepted(&answer).map(drop)
    }

    /// A page of MinIO's own, which takes no signature.
    async fn page(&self, path: &str) -> std::result::Result<Response, Fault> {
        let mut url = self.endpoint.clone();
        url.set_path(path);
        url.set_query(None);
        self.send(Method::GET, url, None, 4 * 1024).await
    }

    async fn send(
        &self,
        method: Method,
        url: Url,
        body: Option<Vec<u8>>,
        max_bytes: usize,
    ) -> std::result::Result<Response, Fault> {
        let mut request = Request::new(method, url, "ask the bucket")
            .timeout(TIMEOUT)
            .max_bytes(max_bytes)
            .trust(Trust::Configured);
        request.body = body;
        self.http.send(request).await.map_err(|error| {
            let kind = match error.kind {
                Kind::Timeout => FailureKind::Timeout,
                Kind::Unreachable => FailureKind::Unreachable,
                Kind::Denied
                | Kind::NotFound
                | Kind::Throttled { .. }
                | Kind::Malformed
                | Kind::Refused => FailureKind::Unexpected,
            };
            Fault::new(kind, self.clean(&error.reason))
        })
    }

    /// The body of an answer of success, else the fault it means, without our keys in it.
    fn accepted(&self, answer: &Response) -> std::result::Result<String, Fault> {
        answer::accepted(answer).map_err(|mut fault| {
            fault.reason = self.clean(&fault.reason);
            fault
        })
    }

    /// A text of the server without our keys. Some servers repeat them in errors.
    fn clean(&self, text: &str) -> String {
        let mut clean = text.to_owned();
        if let Some(credentials) = &self.credentials {
            for secret in [credentials.secret(), credentials.key()] {
                if !secret.is_empty() {
                    clean = clean.replace(secret, "***");
                }
            }
        }
        clean
    }
}

impl Listing {
    fn add(&mut self, key: &str, modified: Option<&str>, size: u64) {
        self.objects += 1;
        self.bytes = self.bytes.saturating_add(size);
        if key.contains("_temporary/") {
            self.temporary += 1;
        }
        let Some(modified) = modified else { return };
        // RFC 3339 in UTC, all of one length on one server: the order of the text is the order of the time.
        let newer = self.newest.as_ref().is_none_or(|(_, newest, _)| newest.as_str() < modified);
        if newer {
            self.newest = Some((one_line(key, 1_024), one_line(modified, 40), size));
        }
    }
}

/// Never with keys.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("bucket", &self.bucket.name()).finish_non_exhaustive()
    }
}
